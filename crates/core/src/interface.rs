//! An interface that carries VIPs: its facts, its references, and whether this node is cut off behind it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;

use crate::event::LinkFacts;
use crate::time::Timestamp;
use crate::tuning::{ANSWERED_LATELY, REFERENCES_MAX, ROUNDS};

/// How a reference came to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// Named in the configuration.
    Named,
    /// The default gateway.
    Gateway,
    /// A neighbour seen on the segment.
    Seen,
}

/// A machine outside the cluster whose answer proves that the network works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Referee {
    pub(crate) address: IpAddr,
    pub(crate) origin: Origin,
    mac: Option<Mac>,
    pub(crate) last_answer: Option<Timestamp>,
    unanswered: u32,
    first_unanswered: Timestamp,
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// `None` until the keeper has reported.
    pub(crate) facts: Option<LinkFacts>,
    /// Since when the link is running.
    pub(crate) running_since: Timestamp,
    /// Somebody has been heard since then, or the wait for it is over.
    pub(crate) proven: bool,
    pub(crate) isolated: bool,
    pub(crate) references: Vec<Referee>,
    /// Neighbours seen on the segment become references.
    pub(crate) learns_neighbours: bool,
    /// The references are wanted at once, whatever the routine says.
    pub(crate) hurry: bool,
    /// When the references were last asked.
    pub(crate) asked_at: Timestamp,
}

impl Interface {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            facts: None,
            running_since: Timestamp::ZERO,
            proven: false,
            isolated: false,
            references: Vec::new(),
            learns_neighbours: false,
            hurry: false,
            asked_at: Timestamp::ZERO,
        }
    }

    pub(crate) fn running(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.present && facts.running)
    }

    pub(crate) fn mac(&self) -> Option<Mac> {
        self.facts.as_ref().and_then(|facts| facts.mac)
    }

    /// This node's address in the same subnet as `other`, which is then on-link.
    pub(crate) fn address_near(&self, other: IpAddr) -> Option<IpAddr> {
        let facts = self.facts.as_ref()?;
        facts.addresses.iter().find(|net| net.contains(&other)).map(ipnet::IpNet::addr)
    }

    /// There is an address of this node from which `other` can be asked: one of the same family that reaches as far.
    pub(crate) fn can_ask(&self, other: IpAddr) -> bool {
        let local =
            |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let reaches = |own: IpAddr| own.is_ipv4() == other.is_ipv4() && (local(other) || !local(own));
        self.facts.as_ref().is_some_and(|facts| facts.addresses.iter().any(|net| reaches(net.addr())))
    }

    /// Adds a reference, or renews its origin. Seen neighbours never push out named ones.
    pub(crate) fn learn_reference(&mut self, address: IpAddr, origin: Origin, mac: Option<Mac>) {
        if let Some(known) = self.references.iter_mut().find(|referee| referee.address == address) {
            known.origin = known.origin.min(origin);
            known.mac = mac.or(known.mac);
            return;
        }
        if self.references.len() >= REFERENCES_MAX {
            // A neighbour that has never answered, or answered longest ago, makes room.
            let Some(oldest) = self
                .references
                .iter()
                .enumerate()
                .filter(|(_, referee)| referee.origin == Origin::Seen && referee.unanswered > 0)
                .min_by_key(|(_, referee)| referee.last_answer)
                .map(|(index, _)| index)
            else {
                return;
            };
            self.references.remove(oldest);
        }
        self.references.push(Referee {
            address,
            origin,
            mac,
            last_answer: None,
            unanswered: 0,
            first_unanswered: Timestamp::ZERO,
        });
    }

    /// The neighbour with this MAC address turns out to be a node: its silence proves nothing about this one.
    pub(crate) fn forget_neighbour(&mut self, mac: Mac) {
        self.references.retain(|referee| referee.origin != Origin::Seen || referee.mac != Some(mac));
    }

    /// A question to `address` goes out.
    pub(crate) fn asked(&mut self, address: IpAddr, now: Timestamp) {
        if let Some(referee) = self.references.iter_mut().find(|referee| referee.address == address) {
            if referee.unanswered == 0 {
                referee.first_unanswered = now;
            }
            referee.unanswered = referee.unanswered.saturating_add(1);
        }
    }

    /// The last question to `address` did not go out.
    pub(crate) fn unasked(&mut self, address: IpAddr) {
        if let Some(referee) = self.references.iter_mut().find(|referee| referee.address == address) {
            referee.unanswered = referee.unanswered.saturating_sub(1);
        }
    }

    /// What went unanswered so far counts no more; the references are asked at once.
    pub(crate) fn ask_anew(&mut self) {
        self.references.iter_mut().for_each(|referee| referee.unanswered = 0);
        self.hurry = true;
    }

    /// Silence that began before `at` counts no more.
    pub(crate) fn count_from(&mut self, at: Timestamp) {
        for referee in self.references.iter_mut().filter(|referee| referee.first_unanswered <= at) {
            referee.unanswered = 0;
        }
    }

    /// `address` answered; true if it is a reference.
    pub(crate) fn answered(&mut self, address: IpAddr, now: Timestamp) -> bool {
        let Some(referee) = self.references.iter_mut().find(|referee| referee.address == address) else {
            return false;
        };
        referee.last_answer = Some(now);
        referee.unanswered = 0;
        true
    }

    /// A reference has answered since `since`.
    pub(crate) fn reference_answered_since(&self, since: Timestamp) -> Option<IpAddr> {
        self.references
            .iter()
            .find(|referee| referee.last_answer.is_some_and(|at| at >= since))
            .map(|referee| referee.address)
    }

    /// No reference that ever answered has answered the last questions.
    pub(crate) fn questions_open(&self) -> bool {
        let mut known = self.references.iter().filter(|referee| referee.last_answer.is_some()).peekable();
        known.peek().is_some() && known.all(|referee| referee.unanswered > 0)
    }

    /// Forgets neighbours that have not answered for long while others have.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        if self.questions_open() {
            return;
        }
        self.references.retain(|referee| {
            referee.origin != Origin::Seen
                || referee.unanswered < 2 * ROUNDS
                || referee.last_answer.is_some_and(|at| now.since(at) < ANSWERED_LATELY)
        });
    }

    /// All references that ever answered have stayed silent through enough rounds, the first of which went out at
    /// the time returned; `None` when that is not so or when there never was a reference.
    pub(crate) fn references_silent(&self, now: Timestamp, patience: Duration) -> Option<Timestamp> {
        let mut first = None;
        for referee in self.references.iter().filter(|referee| referee.last_answer.is_some()) {
            let silent = referee.unanswered >= ROUNDS && now.since(referee.first_unanswered) >= patience;
            if !silent {
                return None;
            }
            first = Some(
                first.map_or(referee.first_unanswered, |at: Timestamp| at.min(referee.first_unanswered)),
            );
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn nothing_is_concluded_where_no_reference_ever_answered() {
        let mut interface = Interface::new("eth0".into());
        interface.learn_reference(address(1), Origin::Gateway, None);
        for at in 0..5 {
            interface.asked(address(1), Timestamp::from_nanos(at * 2_000_000));
        }
        let now = Timestamp::from_nanos(1_000_000_000);
        assert_eq!(interface.references_silent(now, Duration::from_millis(6)), None);
        assert!(interface.answered(address(1), now));
        assert!(!interface.answered(address(2), now));
        for at in 0..3 {
            interface.asked(address(1), now + Duration::from_millis(2 * at));
        }
        assert_eq!(
            interface.references_silent(now + Duration::from_millis(5), Duration::from_millis(6)),
            None
        );
        assert_eq!(
            interface.references_silent(now + Duration::from_millis(6), Duration::from_millis(6)),
            Some(now)
        );
    }

    #[test]
    fn named_references_are_not_pushed_out() {
        let mut interface = Interface::new("eth0".into());
        interface.learn_reference(address(250), Origin::Named, None);
        interface.asked(address(250), Timestamp::ZERO);
        for last in 0..100 {
            interface.learn_reference(address(last), Origin::Seen, None);
            interface.asked(address(last), Timestamp::ZERO);
        }
        assert_eq!(interface.references.len(), REFERENCES_MAX);
        assert!(interface.references.iter().any(|referee| referee.address == address(250)));
    }
}
