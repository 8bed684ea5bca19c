//! Packet faults as a whole: which frames the switch drops.

use std::collections::{BTreeMap, BTreeSet};

use crate::nft::{At, Match, Rule};

/// UDP port of the heartbeats.
pub const HEARTBEAT_PORT: u16 = 5798;

/// A kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// UDP (IPv4 or IPv6) from or to this port.
    Udp(u16),
    /// IPv4 or IPv6 with this protocol number (IANA, "Protocol Numbers").
    Protocol(u8),
}

impl Traffic {
    /// Each of these is it.
    fn matches(self) -> Vec<Match> {
        match self {
            Self::Udp(port) => vec![Match::UdpDestination(port), Match::UdpSource(port)],
            Self::Protocol(number) => vec![Match::Protocol(number)],
        }
    }
}

/// Frames that the switch drops now. Ports are interface indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Ports to which nothing is sent.
    pub(crate) deaf: BTreeSet<u32>,
    /// Ports from which nothing is taken.
    pub(crate) mute: BTreeSet<u32>,
    /// Ports at which frames get lost both ways, in ten thousandths.
    pub(crate) loss: BTreeMap<u32, u32>,
    /// None of these passes.
    pub(crate) blocked: BTreeSet<Traffic>,
    /// No heartbeat passes at all.
    pub(crate) no_heartbeats: bool,
    /// No heartbeat passes from the first port to the second.
    pub(crate) heartbeats: BTreeSet<(u32, u32)>,
    /// Nothing passes from one side to another. A port on no side hears everybody.
    pub(crate) sides: Vec<BTreeSet<u32>>,
}

impl Faults {
    /// The rules that make it so.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut drop = |at, matches: &[Match]| rules.push(Rule { at, matches: matches.to_vec() });
        for &port in &self.mute {
            drop(At::Entry, &[Match::From(port)]);
        }
        for (&port, &chance) in &self.loss {
            drop(At::Entry, &[Match::From(port), Match::Chance(chance)]);
            drop(At::Exit, &[Match::To(port), Match::Chance(chance)]);
        }
        for &port in &self.deaf {
            drop(At::Exit, &[Match::To(port)]);
        }
        for (number, side) in self.sides.iter().enumerate() {
            let others = self.sides.iter().enumerate().filter(|(other, _)| *other != number);
            for (&from, &to) in others.flat_map(|(_, other)| {
                side.iter().flat_map(move |from| other.iter().map(move |to| (from, to)))
            }) {
                drop(At::Exit, &[Match::From(from), Match::To(to)]);
            }
        }
        for what in self.blocked.iter().flat_map(|traffic| traffic.matches()) {
            drop(At::Exit, &[what]);
        }
        let heartbeat = [Match::UdpDestination(HEARTBEAT_PORT), Match::UdpSource(HEARTBEAT_PORT)];
        for what in heartbeat {
            if self.no_heartbeats {
                drop(At::Exit, &[what]);
            }
            for &(from, to) in &self.heartbeats {
                drop(At::Exit, &[Match::From(from), Match::To(to), what]);
            }
        }
        rules
    }

    /// Forgets every fault that names one of these ports alone.
    pub(crate) fn mend(&mut self, ports: &BTreeSet<u32>) {
        self.deaf.retain(|port| !ports.contains(port));
        self.mute.retain(|port| !ports.contains(port));
        self.loss.retain(|port, _| !ports.contains(port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fault_no_rule() {
        assert_eq!(Faults::default().rules(), []);
    }

    #[test]
    fn sides_are_kept_apart_both_ways_and_a_port_on_no_side_hears_all() {
        let faults = Faults { sides: vec![BTreeSet::from([1]), BTreeSet::from([2, 3])], ..Faults::default() };
        let pairs: BTreeSet<_> = faults
            .rules()
            .into_iter()
            .map(|rule| match rule.matches[..] {
                [Match::From(from), Match::To(to)] if rule.at == At::Exit => (from, to),
                _ => panic!("{rule:?}"),
            })
            .collect();
        assert_eq!(pairs, BTreeSet::from([(1, 2), (1, 3), (2, 1), (3, 1)]));
    }

    #[test]
    fn traffic_is_blocked_by_its_kind() {
        let blocked = BTreeSet::from([Traffic::Protocol(112), Traffic::Udp(5405)]);
        let rules = Faults { blocked, ..Faults::default() }.rules();
        let matches: Vec<_> = rules.iter().map(|rule| rule.matches.clone()).collect();
        let expected = [Match::UdpDestination(5405), Match::UdpSource(5405), Match::Protocol(112)];
        assert_eq!(matches, expected.map(|what| vec![what]));
    }

    #[test]
    fn mending_a_port_leaves_the_others() {
        let mut faults = Faults {
            deaf: BTreeSet::from([1, 2]),
            mute: BTreeSet::from([2]),
            loss: BTreeMap::from([(1, 500)]),
            no_heartbeats: true,
            ..Faults::default()
        };
        faults.mend(&BTreeSet::from([2]));
        assert_eq!(faults.deaf, BTreeSet::from([1]));
        assert!(faults.mute.is_empty() && faults.no_heartbeats && faults.loss.len() == 1);
    }
}
