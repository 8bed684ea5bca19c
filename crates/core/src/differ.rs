//! Nodes whose configurations differ tell each other what theirs consist of, so that each can say what differs.
//!
//! Nothing of this is sent while all agree, nothing is decided by it, and what a peer says of itself is believed only if it
//! is what the digest in its heartbeats was made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{Message, OutlinePart, Setting, encode};

use crate::action::Action;
use crate::node::Node;
use crate::outline::digest;
use crate::peer::Peer;
use crate::timer::Timer;
use crate::tuning::{OUTLINE_AGAIN, OUTLINE_PACE};

#[cfg(test)]
mod tests;

/// Differences that are shown one by one.
const SHOWN: usize = 20;
/// And in a line of the log.
const SHOWN_IN_LINE: usize = 6;

/// How a peer's configuration differs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Differences {
    /// Which part of this node's outline it is told next.
    next: usize,
    /// Parts of its outline, for the digest of which they are said to be, until all are there.
    collected: Option<(u64, u16, BTreeMap<u16, Vec<Setting>>)>,
    /// What is known, and for which digest.
    known: Option<(u64, Vec<String>)>,
}

impl Peer {
    /// What differs, as far as known.
    pub(crate) fn differences(&self) -> &[String] {
        let current = self.differ.known.as_ref().filter(|(digest, _)| Some(*digest) == self.config_digest);
        current.map_or(&[], |(_, differences)| differences)
    }
}

impl Node {
    fn differs(&self, peer: usize) -> bool {
        self.peers[peer].config_digest.is_some_and(|digest| digest != self.config.outline.digest())
    }

    /// A peer has been heard: if its configuration differs, it is told this node's outline. `anew`: it has just begun, and
    /// knows nothing.
    pub(crate) fn tell_outline(&mut self, peer: usize, anew: bool) {
        if !self.differs(peer) {
            self.peers[peer].differ = Differences::default();
            return self.timers.cancel(Timer::Outline(peer));
        }
        if anew {
            self.peers[peer].differ.next = 0;
        }
        // What it does not know to be of this life it would not believe.
        if self.peers[peer].hears_us && (anew || self.timers.get(Timer::Outline(peer)).is_none()) {
            self.on_outline_due(peer);
        }
    }

    /// One part, and the next a little later: a burst would be lost together.
    pub(crate) fn on_outline_due(&mut self, peer: usize) {
        let Peer { id, incarnation, paths, differ, .. } = &self.peers[peer];
        let (parts, next) = (self.config.outline.parts(), differ.next);
        // Begun again when it is heard again.
        let (true, Some(receiver_incarnation)) =
            (self.peers[peer].is_up() && self.differs(peer), *incarnation)
        else {
            return;
        };
        let Some(settings) = parts.get(next) else { return };
        let part = OutlinePart {
            sender: self.config.id,
            receiver: *id,
            incarnation: self.incarnation,
            receiver_incarnation,
            config_digest: self.config.outline.digest(),
            index: u16::try_from(next).unwrap_or(u16::MAX),
            count: u16::try_from(parts.len()).unwrap_or(u16::MAX),
            settings: settings.clone(),
        };
        let (next, pause) =
            if next + 1 < parts.len() { (next + 1, OUTLINE_PACE) } else { (0, OUTLINE_AGAIN) };
        let (bytes, paths) = (encode(&Message::Outline(part), &self.config.keys), paths.clone());
        for path in paths {
            self.act(Action::SendDatagram { path, bytes: bytes.clone() });
        }
        self.peers[peer].differ.next = next;
        self.timers.set(Timer::Outline(peer), self.now + pause);
    }

    /// Sent in this life of the peer to this life of this node, of the configuration that the peer has.
    pub(crate) fn is_of_now(&self, peer: usize, part: &OutlinePart) -> bool {
        let peer = &self.peers[peer];
        peer.incarnation == Some(part.incarnation)
            && part.receiver_incarnation == self.incarnation
            && peer.config_digest == Some(part.config_digest)
    }

    /// A part of a peer's outline.
    pub(crate) fn on_outline(&mut self, peer: usize, part: OutlinePart) {
        let OutlinePart { config_digest, index, count, settings, .. } = part;
        let known =
            self.peers[peer].differ.known.as_ref().is_some_and(|(digest, _)| *digest == config_digest);
        if known || !self.differs(peer) {
            return;
        }
        let collected = self.peers[peer].differ.collected.take();
        let (_, _, mut parts) = collected
            .filter(|(digest, parts, _)| (*digest, *parts) == (config_digest, count))
            .unwrap_or((config_digest, count, BTreeMap::new()));
        parts.insert(index, settings);
        if parts.len() < usize::from(count) {
            self.peers[peer].differ.collected = Some((config_digest, count, parts));
            return;
        }
        let theirs: Vec<Setting> = parts.into_values().flatten().collect();
        // Else it is not what it is said to be; it is collected anew.
        if theirs.is_sorted_by(|one, next| one.path < next.path) && digest(&theirs) == config_digest {
            let differences = self.config.outline.differences(&theirs);
            let line = shortened(&differences, SHOWN_IN_LINE).join(", ");
            self.warn(format!("{} has a different configuration: {line}", self.peers[peer].name));
            self.peers[peer].differ.known = Some((config_digest, shortened(&differences, SHOWN)));
        }
    }
}

/// The first of them, and how many more there are.
fn shortened(differences: &[String], most: usize) -> Vec<String> {
    let mut shown: Vec<String> = differences.iter().take(most).cloned().collect();
    let more = differences.len() - shown.len();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}
