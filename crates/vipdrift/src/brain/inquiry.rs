//! Asking the network who uses addresses that this node does not know yet, before they become its VIPs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipdrift_core::Timestamp;
use vipdrift_wire::{Frame, Mac, arp, ndp, parse_frame};

/// Every address is asked for so often.
const ROUNDS: u32 = 4;
/// An answer is there by then; after the last question it has this time too.
const PAUSE: Duration = Duration::from_millis(10);

/// Questions under way.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// Position of the interface, and the address.
    wanted: Vec<(usize, IpAddr)>,
    /// Nobody known where it could not be asked.
    answers: BTreeMap<IpAddr, Option<Mac>>,
    rounds: u32,
    next: Timestamp,
}

impl Inquiry {
    pub(super) fn new(wanted: Vec<(usize, IpAddr)>, now: Timestamp) -> Self {
        Self { wanted, answers: BTreeMap::new(), rounds: 0, next: now }
    }

    /// Frames to send now, with the positions of their interfaces. `mac` is that of an interface.
    pub(super) fn due(
        &mut self,
        now: Timestamp,
        mac: impl Fn(usize) -> Option<Mac>,
    ) -> Vec<(usize, Vec<u8>)> {
        if now < self.next || self.rounds > ROUNDS {
            return Vec::new();
        }
        self.next = now + PAUSE;
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Vec::new();
        }
        let answers = &mut self.answers;
        let open: Vec<_> = self.wanted.iter().filter(|(_, address)| !answers.contains_key(address)).collect();
        open.into_iter()
            .filter_map(|(interface, address)| {
                let Some(own) = mac(*interface) else {
                    answers.insert(*address, None);
                    return None;
                };
                let frame = match address {
                    IpAddr::V4(address) => arp::probe(own, *address),
                    IpAddr::V6(address) => ndp::probe(own, *address),
                };
                Some((*interface, frame))
            })
            .collect()
    }

    /// A frame was seen on an interface, never one of this node's own.
    pub(super) fn heard(&mut self, interface: usize, bytes: &[u8]) {
        let Ok((header, frame)) = parse_frame(bytes) else { return };
        let (address, mac) = match frame {
            Frame::Arp(packet) => match packet.claims() {
                Some(address) => (IpAddr::V4(address), packet.sender_mac),
                None => return,
            },
            Frame::Neighbor(ndp::Message::Advertisement { target, target_mac, .. }) => {
                (IpAddr::V6(target), target_mac.unwrap_or(header.source))
            }
            Frame::Neighbor(_) => return,
        };
        if self.wanted.contains(&(interface, address)) {
            self.answers.insert(address, Some(mac));
        }
    }

    /// Who answered, once every address has been asked for and given its time.
    pub(super) fn finished(&self) -> Option<Vec<(IpAddr, Option<Mac>)>> {
        let over = self.rounds > ROUNDS || self.answers.len() == self.wanted.len();
        over.then(|| self.answers.iter().map(|(address, mac)| (*address, *mac)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn asked_often_enough_and_answered_by_whoever_has_it() {
        let v4: std::net::Ipv4Addr = [192, 0, 2, 102].into();
        let free: IpAddr = [192, 0, 2, 103].into();
        let mut now = Timestamp::from_nanos(1);
        let mut inquiry = Inquiry::new(vec![(0, v4.into()), (0, free)], now);
        assert_eq!(inquiry.due(now, |_| Some(OWN)).len(), 2);
        assert_eq!(inquiry.due(now, |_| Some(OWN)).len(), 0, "not at once again");
        let claim = arp::announcement(OTHER, v4, arp::Operation::Reply);
        inquiry.heard(1, &claim);
        assert_eq!(inquiry.finished(), None, "on another interface it says nothing");
        inquiry.heard(0, &claim);
        for _ in 1..ROUNDS {
            now = now + PAUSE;
            assert_eq!(inquiry.due(now, |_| Some(OWN)).len(), 1, "what is answered is not asked for again");
            assert_eq!(inquiry.finished(), None);
        }
        now = now + PAUSE;
        assert_eq!(inquiry.due(now, |_| Some(OWN)).len(), 0);
        assert_eq!(inquiry.finished(), Some(vec![(v4.into(), Some(OTHER))]));
    }

    #[test]
    fn what_cannot_be_asked_is_not_free() {
        let now = Timestamp::from_nanos(1);
        let address: IpAddr = [192, 0, 2, 102].into();
        let mut inquiry = Inquiry::new(vec![(0, address)], now);
        assert_eq!(inquiry.due(now, |_| None).len(), 0);
        assert_eq!(inquiry.finished(), Some(vec![(address, None)]));
    }
}
