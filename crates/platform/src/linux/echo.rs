//! Raw ICMP sockets for echo requests ("ping") to gateways and references (raw(7), icmp(7), RFC 792, RFC 4443).

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::socket::{nothing_now, set_option};

/// Why a socket could not be opened; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Raw sockets need `CAP_NET_RAW`.
    #[error("not permitted to open a raw ICMP socket (needs CAP_NET_RAW)")]
    NotPermitted,
    /// Anything else.
    #[error("cannot {step}: {source}")]
    Open {
        /// What was being done.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A raw ICMP socket that never blocks and hears echo replies only: the kernel filters.
#[derive(Debug)]
pub struct EchoSocket {
    fd: OwnedFd,
}

impl EchoSocket {
    /// A socket for IPv4. [`EchoSocket::receive`] gives whole IP packets.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_v4() -> Result<Self, Error> {
        const ICMP_FILTER: libc::c_int = 1;
        const ECHO_REPLY: u32 = 0;
        let socket = open(Domain::IPV4, Protocol::ICMPV4)?;
        // A set bit blocks that type.
        set_option::<u32>(socket.as_fd(), libc::SOL_RAW, ICMP_FILTER, &!(1 << ECHO_REPLY))
            .map_err(|source| Error::Open { step: "filter for echo replies", source })?;
        Ok(Self { fd: socket.into() })
    }

    /// A socket for IPv6. [`EchoSocket::receive`] gives ICMPv6 messages without the IP header; the kernel fills in
    /// and verifies the checksum (RFC 3542 section 3.1).
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_v6() -> Result<Self, Error> {
        const ICMP6_FILTER: libc::c_int = 1;
        const ECHO_REPLY: usize = 129;
        let socket = open(Domain::IPV6, Protocol::ICMPV6)?;
        // struct icmp6_filter: 256 bits, a set bit blocks that type (RFC 3542 section 3.2).
        let mut blocked = [u32::MAX; 8];
        blocked[ECHO_REPLY / 32] &= !(1 << (ECHO_REPLY % 32));
        set_option(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
            .map_err(|source| Error::Open { step: "filter for echo replies", source })?;
        Ok(Self { fd: socket.into() })
    }

    /// Sends one ICMP message.
    ///
    /// # Errors
    /// No route, wrong address family, queue full ([`io::ErrorKind::WouldBlock`]): nothing was sent.
    pub fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()> {
        self.send_through(0, to, message)
    }

    /// As [`EchoSocket::send`], for IPv6 link-local addresses, which mean nothing without an interface (RFC 4007).
    /// `interface` is its index; other addresses take the routes and ignore it.
    ///
    /// # Errors
    /// As [`EchoSocket::send`].
    pub fn send_through(&self, interface: u32, to: IpAddr, message: &[u8]) -> io::Result<()> {
        let to: SocketAddr = match to {
            IpAddr::V4(address) => (address, 0).into(),
            IpAddr::V6(address) => {
                let scope = if address.is_unicast_link_local() { interface } else { 0 };
                SocketAddrV6::new(address, 0, 0, scope).into()
            }
        };
        SockRef::from(&self.fd).send_to(message, &to.into()).map(drop)
    }

    /// The next echo reply, if there is one: who sent it and how many bytes of `buffer` it fills. IPv4: with the IP
    /// header in front. IPv6: the ICMPv6 message.
    ///
    /// # Errors
    /// Faults of the socket.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(IpAddr, usize)>> {
        let socket = SockRef::from(&self.fd);
        // SAFETY: the same bytes seen as possibly uninitialised; socket2 promises to write initialised bytes only.
        let buffer: &mut [MaybeUninit<u8>] =
            unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
        let Some((length, from)) = nothing_now(|| socket.recv_from(buffer))? else { return Ok(None) };
        let from = from.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some((from.ip(), length)))
    }
}

fn open(domain: Domain, protocol: Protocol) -> Result<Socket, Error> {
    Socket::new(domain, Type::RAW.nonblocking(), Some(protocol)).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NotPermitted,
            _ => Error::Open { step: "open a raw ICMP socket", source },
        }
    })
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for EchoSocket {
    /// Takes over a socket opened by [`EchoSocket::open_v4`] or [`EchoSocket::open_v6`], here or in the parent process.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<EchoSocket> for OwnedFd {
    fn from(socket: EchoSocket) -> Self {
        socket.fd
    }
}
