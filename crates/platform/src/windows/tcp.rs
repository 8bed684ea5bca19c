//! TCP sockets that listen.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::datagrams::be_exclusive;

/// Connections that nobody has taken yet; more are refused.
const WAITING: i32 = 64;

/// Listens at `local`, without blocking, on a port that nobody else can share (`SO_EXCLUSIVEADDRUSE`). The address has to exist;
/// an IPv6 socket hears IPv6 only.
///
/// # Errors
/// The system's; [`io::ErrorKind::AddrInUse`] if somebody listens there. Nothing is left behind.
pub fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    be_exclusive(&socket)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&local.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}
