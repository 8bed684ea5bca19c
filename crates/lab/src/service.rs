//! The service that clients ask for: tells who answered.
//!
//! UDP and TCP port 7000, IPv4 and IPv6. A request is an 8 byte number; the answer is the same number, one byte with
//! the length of the host's name, and the name. Answers leave from the address that was asked, which the kernel would
//! not choose by itself for a VIP.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};

use crate::error::{Result, While};
use crate::namespace::Namespace;
use crate::realtime::{Rank, real_time};

/// The port of the service, UDP and TCP.
pub const SERVICE_PORT: u16 = 7000;

/// A running service; stops when dropped, and its connections are reset.
pub(crate) struct Service {
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Result<Self> {
        let (udp, tcp) = namespace.run(open)?.doing(|| format!("start the service of {name}"))?;
        let wake = Arc::new(waker()?);
        let waker = Arc::clone(&wake);
        let tail = tail(name);
        let thread = std::thread::Builder::new()
            .name("lab-service".into())
            .spawn(move || {
                real_time(Rank::Service);
                serve(&udp, &tcp, &waker, &tail);
            })
            .doing(|| "start a thread".into())?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

/// Serves in this process, on the host on which it runs, under this name, until it is killed.
///
/// # Errors
/// The port is taken.
pub fn serve_as(name: &str) -> Result<()> {
    let (udp, tcp) = open().doing(|| format!("start the service of {name}"))?;
    real_time(Rank::Service);
    serve(&udp, &tcp, &waker()?, &tail(name));
    Ok(())
}

fn open() -> io::Result<(UdpSocket, TcpListener)> {
    let all = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, SERVICE_PORT, 0, 0);
    let udp = UdpSocket::bind(all)?;
    udp.set_nonblocking(true)?;
    setsockopt(&udp, sockopt::Ipv6RecvPacketInfo, &true)?;
    let tcp = TcpListener::bind(all)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

fn waker() -> Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).doing(|| "make an eventfd".into())
}

/// What follows the number in an answer.
fn tail(name: &str) -> Vec<u8> {
    let mut tail = vec![u8::try_from(name.len()).unwrap_or(u8::MAX)];
    tail.extend_from_slice(&name.as_bytes()[..usize::from(tail[0])]);
    tail
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: VecDeque<u8>,
    unsent: Vec<u8>,
}

fn serve(udp: &UdpSocket, tcp: &TcpListener, wake: &EventFd, tail: &[u8]) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let mut waiting: Vec<PollFd> = [wake.as_fd(), udp.as_fd(), tcp.as_fd()]
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        waiting.extend(connections.iter().map(|connection| {
            let mut wanted = PollFlags::POLLIN;
            wanted.set(PollFlags::POLLOUT, !connection.unsent.is_empty());
            PollFd::new(connection.stream.as_fd(), wanted)
        }));
        if poll(&mut waiting, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = waiting.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready[0] {
            // Whoever stops a service wants its clients to notice: reset instead of a polite end.
            for connection in &connections {
                let now = libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(&connection.stream, sockopt::Linger, &now);
            }
            return;
        }
        if ready[1] {
            while answer_datagram(udp, tail) {}
        }
        let mut asked = ready[3..].iter();
        connections.retain_mut(|connection| {
            !asked.next().copied().unwrap_or(false) || answer_stream(connection, tail).is_ok()
        });
        if ready[2] {
            while let Ok((stream, _)) = tcp.accept() {
                let _ = stream.set_nodelay(true);
                if stream.set_nonblocking(true).is_ok() {
                    connections.push(Connection { stream, received: VecDeque::new(), unsent: Vec::new() });
                }
            }
        }
    }
}

/// Answers one datagram; false if there was none.
fn answer_datagram(udp: &UdpSocket, tail: &[u8]) -> bool {
    let mut request = [0; 64];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut buffers = [IoSliceMut::new(&mut request)];
    let received =
        recvmsg::<SockaddrIn6>(udp.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty());
    let Ok(received) = received else { return false };
    let (from, length) = (received.address, received.bytes);
    let asked = received.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
            _ => None,
        })
    });
    let (Some(from), Some(mut asked), 8) = (from, asked, length) else { return true };
    // The way back is the routing table's business, except where an address means nothing without its interface.
    if !Ipv6Addr::from(asked.ipi6_addr.s6_addr).is_unicast_link_local() {
        asked.ipi6_ifindex = 0;
    }
    let answer = [IoSlice::new(&request[..8]), IoSlice::new(tail)];
    let source = [ControlMessage::Ipv6PacketInfo(&asked)];
    // Fails if the address has just gone: then there is nobody to answer as.
    let _ = sendmsg(udp.as_raw_fd(), &answer, &source, MsgFlags::empty(), Some(&from));
    true
}

fn answer_stream(connection: &mut Connection, tail: &[u8]) -> io::Result<()> {
    let mut part = [0; 512];
    loop {
        match connection.stream.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => connection.received.extend(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    while connection.received.len() >= 8 {
        connection.unsent.extend(connection.received.drain(..8));
        connection.unsent.extend_from_slice(tail);
    }
    while !connection.unsent.is_empty() {
        match connection.stream.write(&connection.unsent) {
            Ok(count) => drop(connection.unsent.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
