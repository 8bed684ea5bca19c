//! Asking who has an address, as the daemon asks.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipdrift_platform::frames::{FrameKind, FrameSocket};
use vipdrift_platform::poll::Poller;
use vipdrift_wire::{Frame, Mac, arp, ndp, parse_frame};

use super::parts::Bench;

/// An answer that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(1);
/// From one question to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to the segment.
pub(super) struct Segment {
    arp: FrameSocket,
    neighbor: FrameSocket,
    poller: Poller,
    own: Mac,
    interface: u32,
}

impl Segment {
    /// # Errors
    /// In a sentence.
    pub(super) fn open(bench: &Bench) -> Result<Self, String> {
        let own = bench.link.mac.ok_or_else(|| format!("{} has no Ethernet address", bench.link.name))?;
        let arp = FrameSocket::open(FrameKind::Arp).map_err(|error| error.to_string())?;
        let neighbor = FrameSocket::open(FrameKind::Neighbor).map_err(|error| error.to_string())?;
        let poller = Poller::new().map_err(|error| error.to_string())?;
        poller.add(&arp, 0).and_then(|()| poller.add(&neighbor, 0)).map_err(|error| error.to_string())?;
        Ok(Self { arp, neighbor, poller, own: Mac(own), interface: bench.link.index })
    }

    /// Who has an address, and how long the answer took; nobody within a second is `None`.
    ///
    /// # Errors
    /// It could not be asked.
    pub(super) fn ask(&self, address: IpAddr) -> Result<Option<(Mac, Duration)>, String> {
        let (begun, mut ready) = (Instant::now(), Vec::new());
        let mut next = begun;
        while begun.elapsed() < PATIENCE {
            if Instant::now() >= next {
                next += PAUSE;
                let (socket, frame) = match address {
                    IpAddr::V4(address) => (&self.arp, arp::probe(self.own, address)),
                    IpAddr::V6(address) => (&self.neighbor, ndp::probe(self.own, address)),
                };
                socket.send(self.interface, &frame).map_err(|error| format!("cannot ask: {error}"))?;
            }
            self.poller
                .wait(&mut ready, Some(Duration::from_millis(10)))
                .map_err(|error| error.to_string())?;
            if let Some(mac) = self.heard(address) {
                return Ok(Some((mac, begun.elapsed())));
            }
        }
        Ok(None)
    }

    fn heard(&self, wanted: IpAddr) -> Option<Mac> {
        let mut buffer = [0; 2048];
        for socket in [&self.arp, &self.neighbor] {
            while let Ok(Some((interface, length))) = socket.receive(&mut buffer) {
                let Ok((header, frame)) = parse_frame(&buffer[..length]) else { continue };
                let (address, mac) = match frame {
                    Frame::Arp(packet) => (packet.claims().map(IpAddr::V4), packet.sender_mac),
                    Frame::Neighbor(ndp::Message::Advertisement { target, target_mac, .. }) => {
                        (Some(IpAddr::V6(target)), target_mac.unwrap_or(header.source))
                    }
                    Frame::Neighbor(_) => continue,
                };
                if interface == self.interface && address == Some(wanted) {
                    return Some(mac);
                }
            }
        }
        None
    }
}
