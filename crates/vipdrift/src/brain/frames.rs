//! Frames on their way out: collected while they follow one another, sent in one go.

use vipdrift_platform::frames::FrameSocket;

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

    /// Sends what is there. Answers how many frames the kernel refused.
    pub(super) fn flush(&mut self, arp: &FrameSocket, neighbor: &FrameSocket) -> u64 {
        send(&mut self.arp, arp) + send(&mut self.neighbor, neighbor)
    }
}

fn send(frames: &mut Vec<(u32, Vec<u8>)>, socket: &FrameSocket) -> u64 {
    if frames.is_empty() {
        return 0;
    }
    let borrowed: Vec<_> = frames.iter().map(|(index, frame)| (*index, frame.as_slice())).collect();
    let burst = socket.send_many(&borrowed);
    let refused = frames.len() - burst.sent;
    frames.clear();
    refused as u64
}
