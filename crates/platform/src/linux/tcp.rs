//! TCP sockets that listen.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that nobody has taken yet; more are refused.
const WAITING: i32 = 64;

/// Listens at `local`, without blocking. The address need not exist yet (`IP_FREEBIND`, ip(7)); an IPv6 socket hears IPv6 only.
///
/// # Errors
/// The system's; [`io::ErrorKind::AddrInUse`] if somebody listens there. Nothing is left behind.
pub fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of an earlier life that have not died away do not keep the port (tcp(7)).
    socket.set_reuse_address(true)?;
    match local {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&local.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}
