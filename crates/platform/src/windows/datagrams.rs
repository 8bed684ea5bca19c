//! UDP sockets for heartbeats.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::windows::io::{AsRawSocket as _, AsSocket as _};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{
    SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAEACCES, WSAGetLastError, WSAIoctl,
    setsockopt,
};

/// Room for what comes while the daemon is kept from reading.
const BUFFER: usize = 4 << 20;

/// Why a socket could not be opened; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the port on that address.
    #[error("{0} is in use by another program")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("cannot {step} for {local}: {source}")]
    Open {
        /// What was being done.
        step: &'static str,
        /// The address asked for.
        local: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// A UDP socket at `local` that never blocks, and that nobody else can share (`SO_EXCLUSIVEADDRUSE`). An IPv6 socket hears
/// IPv6 only. The address has to exist (`WSAEADDRNOTAVAIL`), and datagrams leave without a DSCP: Windows takes
/// none from a socket (`IP_TOS` has no effect), only from a policy for quality of service.
///
/// # Errors
/// [`Error`]. `WSAEACCES` counts as [`Error::InUse`]: so the system answers where somebody else has the port for himself
/// alone. It does as well for ports that are reserved (`netsh int ipv4 show excludedportrange udp`).
pub fn bind(local: SocketAddr) -> Result<UdpSocket, Error> {
    let step = |step: &'static str| move |source| Error::Open { step, local, source };
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))
        .map_err(step("open a UDP socket"))?;
    socket.set_nonblocking(true).map_err(step("open a UDP socket"))?;
    be_exclusive(&socket).map_err(step("refuse to share a port"))?;
    if local.is_ipv6() {
        socket.set_only_v6(true).map_err(step("turn IPv4 off"))?;
    }
    // Otherwise a peer whose port is closed would fail the next read.
    ignore_unreachable(&socket).map_err(step("ignore who is unreachable"))?;
    // As much as the system gives.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.bind(&local.into()).map_err(|source| {
        let taken = source.kind() == io::ErrorKind::AddrInUse || source.raw_os_error() == Some(WSAEACCES);
        if taken { Error::InUse(local) } else { Error::Open { step: "bind a UDP socket", local, source } }
    })?;
    Ok(socket.into())
}

fn raw(socket: &Socket) -> SOCKET {
    #[expect(clippy::cast_possible_truncation, reason = "a handle, as wide as a pointer")]
    let raw = socket.as_socket().as_raw_socket() as SOCKET;
    raw
}

fn last() -> io::Error {
    // SAFETY: takes no pointer.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

pub(super) fn be_exclusive(socket: &Socket) -> io::Result<()> {
    let on = 1i32.to_ne_bytes();
    // SAFETY: the socket is open; the system reads four bytes.
    let set = unsafe { setsockopt(raw(socket), SOL_SOCKET, SO_EXCLUSIVEADDRUSE, on.as_ptr(), 4) };
    if set == 0 { Ok(()) } else { Err(last()) }
}

fn ignore_unreachable(socket: &Socket) -> io::Result<()> {
    let (off, mut length) = (0u32, 0);
    // SAFETY: the socket is open; the system reads four bytes and writes to `length`; nothing is overlapped.
    let set = unsafe {
        WSAIoctl(
            raw(socket),
            SIO_UDP_CONNRESET,
            (&raw const off).cast(),
            4,
            ptr::null_mut(),
            0,
            &raw mut length,
            ptr::null_mut(),
            None,
        )
    };
    if set == 0 { Ok(()) } else { Err(last()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That an absent address is refused, and that nobody can share the port, cannot be seen under wine 8, which binds every
    // UDP socket to all addresses.
    #[test]
    fn a_port_is_had_once_and_an_unreachable_peer_is_no_error() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let local = socket.local_addr().unwrap();
        assert!(matches!(bind(local), Err(Error::InUse(at)) if at == local));
        let mut buffer = [0; 16];
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.send_to(b"anybody?", nobody).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(socket.recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn ipv6_hears_ipv6_only() {
        let Ok(socket) = bind("[::]:0".parse().unwrap()) else { return };
        let port = socket.local_addr().unwrap().port();
        bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    }
}
