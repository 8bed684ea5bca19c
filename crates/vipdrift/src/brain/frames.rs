//! Frames on their way out: collected while they follow one another, sent in one go.

use std::net::IpAddr;

use vipdrift_platform::frames::FrameSocket;
use vipdrift_wire::{Frame, ndp, parse_frame};

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];

/// Frames that wait to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    arp: Vec<(u32, Vec<u8>)>,
    neighbor: Vec<(u32, Vec<u8>)>,
}

impl Outgoing {
    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.arp.is_empty() && self.neighbor.is_empty()
    }

    /// Adds a frame for the interface with this index.
    pub(super) fn push(&mut self, index: u32, frame: Vec<u8>) {
        if frame.get(12..14) == Some(&ETHERTYPE_ARP) {
            self.arp.push((index, frame));
        } else {
            self.neighbor.push((index, frame));
        }
    }

    /// Sends what is there. Answers what the system refused.
    pub(super) fn flush(&mut self, arp: &FrameSocket, neighbor: &FrameSocket) -> Vec<Refused> {
        let mut refused = send(&mut self.arp, arp);
        refused.extend(send(&mut self.neighbor, neighbor));
        refused
    }
}

/// A frame that was refused: the interface with this index, and who was asked for, if anybody was.
pub(super) type Refused = (u32, Option<IpAddr>);

fn send(frames: &mut Vec<(u32, Vec<u8>)>, socket: &FrameSocket) -> Vec<Refused> {
    if frames.is_empty() {
        return Vec::new();
    }
    let borrowed: Vec<_> = frames.iter().map(|(index, frame)| (*index, frame.as_slice())).collect();
    let burst = socket.send_many(&borrowed);
    let refused = burst.refused.iter().filter_map(|(position, _)| frames.get(*position));
    let refused = refused.map(|(index, frame)| (*index, target(frame))).collect();
    frames.clear();
    refused
}

/// Whom a frame asks for.
fn target(frame: &[u8]) -> Option<IpAddr> {
    match parse_frame(frame).ok()?.1 {
        Frame::Arp(packet) if packet.sender_ip != packet.target_ip => Some(packet.target_ip.into()),
        Frame::Neighbor(ndp::Message::Solicitation { target, .. }) => Some(target.into()),
        _ => None,
    }
}
