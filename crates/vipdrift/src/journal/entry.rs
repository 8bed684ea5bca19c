//! What stands in a journal, as `MessagePack`: heads of segments with the names of all fields, so that the state of
//! another version of the core is refused by name and not misread; the many steps without.

use serde::{Deserialize, Serialize};
use vipdrift_core::{
    Action, Decision, Event, Node, NodeConfig, Note, Plan, Start, Ticket, Timestamp, VipIndex,
};
use vipdrift_wire::heartbeat::{Keys, without_code};

/// As long as the output of the hash that authenticates heartbeats.
pub(crate) const KEY: usize = 32;

/// One entry of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry<'f> {
    /// A segment begins.
    #[serde(borrow)]
    Segment(Box<Segment<'f>>),
    /// Something happened.
    #[serde(borrow)]
    Step(Step<'f>),
    /// The wall clock was set.
    Wall(Wall),
    /// The brain ended in good order, with the core in a state of this hash.
    End {
        /// By [`state_hash`].
        state: u64,
    },
}

/// What the wall clock said at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wall {
    /// The moment, on the clock of the core.
    pub(crate) at: Timestamp,
    /// Microseconds since 1970, UTC.
    pub(crate) micros: i64,
}

/// Everything that a replay needs to begin here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Segment<'f> {
    /// Version of the program.
    pub(crate) program: String,
    pub(crate) cluster: String,
    pub(crate) node: String,
    /// Numbers the segments of a node, over all its lives.
    pub(crate) serial: u64,
    /// Which life of the node this is, as its peers know it.
    pub(crate) incarnation: u64,
    pub(crate) wall: Wall,
    /// What authentic datagrams of this segment are signed with. Made for it, and of no use elsewhere.
    pub(crate) key: [u8; KEY],
    #[serde(borrow)]
    pub(crate) origin: Origin<'f>,
}

impl Segment<'_> {
    /// Accepts what was signed for this segment.
    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.cluster, &self.key, None)
    }
}

/// What a segment begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Origin<'f> {
    /// The birth of a brain, and what its core did at once.
    Birth {
        /// What it decides by; without keys.
        config: Box<NodeConfig>,
        /// Names its incarnation.
        seed: u64,
        /// How it began.
        start: Start,
        /// See [`Step::hash`].
        hash: u64,
        /// See [`Step::said`].
        said: Vec<Said>,
    },
    /// The middle of its life.
    State {
        /// Steps that are missing since the segment before.
        lost: u64,
        /// The core as it was, by [`state`].
        #[serde(borrow, serialize_with = "as_bytes")]
        state: &'f [u8],
    },
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// One event, and what the core did with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Step<'f> {
    /// The time that the core was told.
    pub(crate) at: Timestamp,
    #[serde(borrow)]
    pub(crate) event: Event<'f>,
    /// Of everything that it did, by [`Hash`].
    pub(crate) hash: u64,
    /// What of that people want to read.
    pub(crate) said: Vec<Said>,
}

/// An action that is kept in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    Decision(Decision),
    Note(Note),
    Plan(Plan, Vec<VipIndex>),
    Reply(Ticket, Result<String, String>),
    Exit,
    /// It panicked, and that was the end of it. Nothing that it wanted done for this event was done.
    Panic,
}

impl Said {
    pub(crate) fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Record(decision) => Some(Self::Decision(decision.clone())),
            Action::Note(note) => Some(Self::Note(note.clone())),
            Action::Apply { plan, desired } => Some(Self::Plan(*plan, desired.iter().copied().collect())),
            Action::Reply { ticket, outcome } => Some(Self::Reply(*ticket, outcome.clone())),
            Action::Exit => Some(Self::Exit),
            Action::SendDatagram { .. }
            | Action::SendFrame { .. }
            | Action::SendEcho { .. }
            | Action::Beat { .. }
            | Action::Words(_)
            | Action::Drilled { .. }
            | Action::Prepare { .. }
            | Action::Unprepare { .. }
            | Action::Remember(_) => None,
        }
    }
}

/// The state of a core between two events, for [`Origin::State`].
pub(crate) fn state(node: &Node) -> Vec<u8> {
    // Into memory, and every part has a representation: there is nothing that could fail.
    rmp_serde::to_vec_named(&node.checkpoint()).unwrap_or_default()
}

/// For [`Entry::End`].
pub(crate) fn state_hash(state: &[u8]) -> u64 {
    let mut hash = Hash::default();
    hash.bytes(state);
    hash.0
}

/// Encodes an entry as the payload of a frame.
pub(crate) fn encode(entry: &Entry<'_>) -> Vec<u8> {
    match entry {
        Entry::Segment(_) => rmp_serde::to_vec_named(entry),
        Entry::Step(_) | Entry::Wall(_) | Entry::End { .. } => rmp_serde::to_vec(entry),
    }
    .unwrap_or_default()
}

/// # Errors
/// What does not fit, in a sentence.
pub(crate) fn decode(payload: &[u8]) -> Result<Entry<'_>, String> {
    rmp_serde::from_slice(payload).map_err(|error| error.to_string())
}

/// A hash of actions, the same on every machine and with every compiler. What a datagram's code is does not count: a
/// replay has other keys. Fast rather than strong: nobody gains by a collision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(bytes.len() as u64);
    }

    /// Adds an action.
    pub(crate) fn action(&mut self, action: &Action) {
        match action {
            Action::SendDatagram { path, bytes } => {
                self.word(1);
                self.word(path.0 as u64);
                self.bytes(without_code(bytes));
            }
            Action::SendFrame { interface, bytes } => {
                self.word(2);
                self.word(interface.0 as u64);
                self.bytes(bytes);
            }
            Action::SendEcho { to } => {
                self.word(3);
                match to {
                    std::net::IpAddr::V4(to) => self.bytes(&to.octets()),
                    std::net::IpAddr::V6(to) => self.bytes(&to.octets()),
                }
            }
            Action::Apply { plan, desired } => {
                self.word(4);
                self.word(plan.0);
                self.word(desired.len() as u64);
                desired.iter().for_each(|vip| self.word(vip.0 as u64));
            }
            Action::Beat { renew } => self.word(5 | u64::from(*renew) << 8),
            Action::Words(words) => {
                self.word(6);
                self.bytes(without_code(&words.holding));
                self.bytes(without_code(&words.resigned));
            }
            Action::Remember(carry) => {
                self.word(7 | u64::from(carry.drained.node) << 8);
                carry.drained.groups.iter().for_each(|group| self.word(*group));
                self.word(carry.plan);
                for group in &carry.groups {
                    self.word(group.group);
                    self.word(group.term);
                    self.word(u64::from(group.active));
                }
            }
            Action::Record(decision) => {
                self.word(8 | (decision.from as u64) << 8 | (decision.to as u64) << 16);
                self.word(decision.group.0 as u64);
                self.word(decision.term);
                self.bytes(decision.reason.as_bytes());
                decision.evidence.iter().for_each(|line| self.bytes(line.as_bytes()));
            }
            Action::Note(note) => {
                self.word(9 | u64::from(note.warning) << 8);
                self.bytes(note.text.as_bytes());
            }
            Action::Reply { ticket, outcome } => {
                self.word(10 | u64::from(outcome.is_ok()) << 8);
                self.word(ticket.0);
                self.bytes(outcome.as_ref().unwrap_or_else(|why| why).as_bytes());
            }
            Action::Exit => self.word(11),
            Action::Prepare { group, number, term, reason } => {
                self.word(13);
                self.word(group.0 as u64);
                self.word(*number);
                self.word(*term);
                self.bytes(reason.as_bytes());
            }
            Action::Unprepare { group, role, term } => {
                self.word(14 | (*role as u64) << 8);
                self.word(group.0 as u64);
                self.word(*term);
            }
            Action::Drilled { ticket, legs } => {
                self.word(12);
                self.word(ticket.0);
                for leg in legs {
                    self.bytes(leg.from.as_bytes());
                    self.bytes(leg.to.as_bytes());
                    leg.vips.iter().for_each(|(_, longest)| {
                        self.word(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX))
                    });
                }
            }
        }
    }
}
