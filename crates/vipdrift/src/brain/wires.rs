//! The sockets of a brain: what comes in, and where things go out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use vipdrift_core::PathIndex;
use vipdrift_platform::echo::EchoSocket;
use vipdrift_platform::frames::{FrameKind, FrameSocket};
use vipdrift_platform::poll::Poller;
use vipdrift_platform::process;
use vipdrift_wire::icmp;

use super::now;
use crate::config::Resolved;
use crate::message::Descriptors;

/// More from one socket in one go would keep the others waiting.
const BURST: usize = 1024;
/// Nor may reading one socket take longer than this in one go: every forged datagram costs a hash, and where that is slow a burst
/// of them must not keep this node's own heartbeats and beats waiting.
const READING: Duration = Duration::from_millis(20);
/// Longer than any frame that is understood.
const LONGEST: usize = 2048;

/// Everything that connects this node with others.
#[derive(Debug)]
pub(super) struct Wires {
    heartbeat: Vec<UdpSocket>,
    pub(super) arp: FrameSocket,
    pub(super) neighbor: FrameSocket,
    echo_v4: EchoSocket,
    echo_v6: Option<EchoSocket>,
    /// Which socket and which remote address a path means, and the other way round.
    paths: Vec<(usize, SocketAddr)>,
    by_address: HashMap<(usize, IpAddr), PathIndex>,
    buffer: Box<[u8]>,
    ident: u16,
    sequence: u16,
}

impl Wires {
    /// Takes over what the keeper has opened.
    ///
    /// # Errors
    /// Something was not handed over.
    pub(super) fn open(descriptors: &Descriptors, resolved: &Resolved) -> Result<Self, process::Error> {
        let heartbeat = descriptors
            .heartbeat
            .iter()
            .map(|number| process::inherited(*number).map(UdpSocket::from))
            .collect::<Result<Vec<_>, _>>()?;
        let mut paths = Vec::new();
        let mut by_address = HashMap::new();
        for (index, path) in resolved.paths.iter().enumerate() {
            let socket = resolved.own.iter().position(|own| own.ip() == path.local).unwrap_or(0);
            paths.push((socket, SocketAddr::new(path.remote, resolved.port)));
            by_address.insert((socket, path.remote), PathIndex(index));
        }
        let mut ident = [0; 2];
        // Nothing rests on it but telling echo replies to this brain from others.
        let _ = getrandom::fill(&mut ident);
        Ok(Self {
            heartbeat,
            arp: FrameSocket::from(process::inherited(descriptors.arp)?),
            neighbor: FrameSocket::from(process::inherited(descriptors.neighbor)?),
            echo_v4: EchoSocket::from(process::inherited(descriptors.echo_v4)?),
            echo_v6: descriptors.echo_v6.map(process::inherited).transpose()?.map(EchoSocket::from),
            paths,
            by_address,
            buffer: vec![0; LONGEST].into_boxed_slice(),
            ident: u16::from_ne_bytes(ident),
            sequence: 0,
        })
    }

    /// Prepares for the interfaces of the configuration. Answers what this system adds to the time that an answer takes.
    pub(super) fn attend(&mut self, resolved: &Resolved) -> Duration {
        let arp = self.arp.attend(FrameKind::Arp, &resolved.interfaces);
        arp.max(self.neighbor.attend(FrameKind::Neighbor, &resolved.interfaces))
    }

    /// Has the poller wait for all of them: datagrams, frames and echoes as these tokens.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn poll(&self, poller: &Poller, [datagrams, frames, echoes]: [u64; 3]) -> io::Result<()> {
        for socket in &self.heartbeat {
            poller.add(socket, datagrams)?;
        }
        poller.add(&self.arp, frames)?;
        poller.add(&self.neighbor, frames)?;
        poller.add(&self.echo_v4, echoes)?;
        self.echo_v6.as_ref().map_or(Ok(()), |socket| poller.add(socket, echoes))
    }

    /// Hands every datagram that waits to `take`, with the path whose addresses it bears.
    pub(super) fn datagrams(&mut self, mut take: impl FnMut(Option<PathIndex>, &[u8])) {
        for (number, socket) in self.heartbeat.iter().enumerate() {
            let begun = now();
            for _ in 0..BURST {
                if now().since(begun) > READING {
                    break;
                }
                match socket.recv_from(&mut self.buffer) {
                    Ok((length, from)) => {
                        let path = self.by_address.get(&(number, from.ip())).copied();
                        take(path, &self.buffer[..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP error about something sent earlier; it is not about what waits here.
                    Err(_) => {}
                }
            }
        }
    }

    /// Hands every frame that waits to `take`, with the index of its interface.
    pub(super) fn frames(&mut self, mut take: impl FnMut(u32, &[u8])) {
        for socket in [&self.arp, &self.neighbor] {
            for _ in 0..BURST {
                match socket.receive(&mut self.buffer) {
                    Ok(Some((index, length))) => take(index, &self.buffer[..length]),
                    Ok(None) => break,
                    // An interface went down; what waits on others is still to be read.
                    Err(_) => {}
                }
            }
        }
    }

    /// Hands the sender of every answer to an echo request of this brain to `take`.
    pub(super) fn echoes(&mut self, mut take: impl FnMut(IpAddr)) {
        let v6 = self.echo_v6.as_ref().map(|socket| (socket, false));
        for (socket, v4) in [(&self.echo_v4, true)].into_iter().chain(v6) {
            for _ in 0..BURST {
                match socket.receive(&mut self.buffer) {
                    Ok(Some((from, length))) => {
                        let bytes = &self.buffer[..length];
                        let parsed = if v4 {
                            icmp::parse_echo_reply_v4(bytes)
                        } else {
                            icmp::parse_echo_reply_v6(bytes)
                        };
                        if parsed.is_ok_and(|(ident, _)| ident == self.ident) {
                            take(from);
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
        }
    }

    /// Sends a heartbeat datagram.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub(super) fn send_datagram(&self, path: PathIndex, bytes: &[u8]) -> io::Result<()> {
        let Some((socket, to)) = self.paths.get(path.0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.heartbeat[*socket].send_to(bytes, to).map(drop)
    }

    /// Sends an echo request; `interface` is the index to use for link-local addresses.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub(super) fn send_echo(&mut self, interface: u32, to: IpAddr) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        match (to, &self.echo_v6) {
            (IpAddr::V4(_), _) => self.echo_v4.send(to, &icmp::echo_request_v4(self.ident, self.sequence)),
            (IpAddr::V6(_), Some(socket)) => {
                socket.send_through(interface, to, &icmp::echo_request_v6(self.ident, self.sequence))
            }
            (IpAddr::V6(_), None) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
