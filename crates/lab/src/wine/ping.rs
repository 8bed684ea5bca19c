//! ICMP echo (RFC 792, RFC 4443): wine 8 crashes at that of IPv6, and its driver for that of IPv4 is silent on some hosts.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage, recvfrom,
    sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Whether `to` answers within so long.
pub(super) fn ping(interface: u32, to: IpAddr, patience: Duration) -> io::Result<bool> {
    static IDENT: AtomicU16 = AtomicU16::new(1);
    let label = IDENT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let fd = open(to)?;
    let scope = match to {
        IpAddr::V6(to) if to.is_unicast_link_local() => interface,
        _ => 0,
    };
    let address = match to {
        IpAddr::V4(_) => SocketAddr::new(to, 0),
        IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, scope).into(),
    };
    sendto(fd.as_raw_fd(), &request(to, label), &SockaddrStorage::from(address), MsgFlags::empty())?;
    let begun = Instant::now();
    let mut message = [0; 256];
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        let millis = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis.max(1)))?;
        match recvfrom::<SockaddrStorage>(fd.as_raw_fd(), &mut message) {
            Ok((length, from)) => {
                if from.and_then(sender) == Some(to) && is_reply(to, label, &message[..length]) {
                    return Ok(true);
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn open(to: IpAddr) -> nix::Result<OwnedFd> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
}

fn sender(from: SockaddrStorage) -> Option<IpAddr> {
    match from.family()? {
        AddressFamily::Inet => Some(from.as_sockaddr_in()?.ip().into()),
        AddressFamily::Inet6 => Some(from.as_sockaddr_in6()?.ip().into()),
        _ => None,
    }
}

fn request(to: IpAddr, [high, low]: [u8; 2]) -> [u8; 8] {
    if to.is_ipv6() {
        // The kernel fills in the sum.
        return [128, 0, 0, 0, high, low, 0, 1];
    }
    let sum = u32::from(u16::from_be_bytes([8, 0])) + u32::from(u16::from_be_bytes([high, low])) + 1;
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default();
    let [first, second] = (!folded).to_be_bytes();
    [8, 0, first, second, high, low, 0, 1]
}

/// IPv4 comes with its header.
fn is_reply(to: IpAddr, label: [u8; 2], packet: &[u8]) -> bool {
    let (start, kind) = match to {
        IpAddr::V4(_) => (usize::from(packet.first().unwrap_or(&0) & 0xf) * 4, 0),
        IpAddr::V6(_) => (0, 129),
    };
    packet.get(start) == Some(&kind) && packet.get(start + 4..start + 6) == Some(&label)
}
