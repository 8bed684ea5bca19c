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

    /// Sends what is there. Answers for which interface each frame was that the system refused.
    pub(super) fn flush(&mut self, arp: &FrameSocket, neighbor: &FrameSocket) -> Vec<u32> {
        let mut refused = send(&mut self.arp, arp);
        refused.extend(send(&mut self.neighbor, neighbor));
        refused
    }
}

fn send(frames: &mut Vec<(u32, Vec<u8>)>, socket: &FrameSocket) -> Vec<u32> {
    if frames.is_empty() {
        return Vec::new();
    }
    let borrowed: Vec<_> = frames.iter().map(|(index, frame)| (*index, frame.as_slice())).collect();
    let burst = socket.send_many(&borrowed);
    let refused = burst.refused.iter().map(|(position, _)| frames[*position].0).collect();
    frames.clear();
    refused
}
