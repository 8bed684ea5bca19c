//! UDP sockets for heartbeats.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::{BUFFER, set_option, widen_buffers};

/// Class selector 6, network control (RFC 2474, RFC 4594), in the six upper bits of the traffic class.
const CS6: u32 = 0x30 << 2;

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

/// A UDP socket at `local` that never blocks. The address need not exist yet (`IP_FREEBIND`, ip(7)), datagrams leave
/// with DSCP CS6 and priority 6, and an IPv6 socket hears IPv6 only.
///
/// # Errors
/// [`Error`].
pub fn bind(local: SocketAddr) -> Result<UdpSocket, Error> {
    let step = |step: &'static str| move |source| Error::Open { step, local, source };
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
        .map_err(step("open a UDP socket"))?;
    match local {
        SocketAddr::V4(_) => {
            socket.set_freebind_v4(true).map_err(step("allow an absent address"))?;
            socket.set_tos_v4(CS6).map_err(step("set DSCP CS6"))?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true).map_err(step("turn IPv4 off"))?;
            socket.set_freebind_v6(true).map_err(step("allow an absent address"))?;
            socket.set_tclass_v6(CS6).map_err(step("set DSCP CS6"))?;
        }
    }
    // After the DSCP, which sets a priority of its own (socket(7)).
    set_option::<libc::c_int>(socket.as_fd(), libc::SOL_SOCKET, libc::SO_PRIORITY, &6)
        .map_err(step("set the priority"))?;
    widen_buffers(socket.as_fd(), BUFFER);
    socket.bind(&local.into()).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse(local),
        _ => Error::Open { step: "bind a UDP socket", local, source },
    })?;
    Ok(socket.into())
}
