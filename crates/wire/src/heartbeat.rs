//! Heartbeats: the datagrams by which nodes know of each other, UDP port 5798.
//!
//! A datagram is authenticated, not encrypted. All numbers are big-endian:
//!
//! | Bytes | Field |
//! |---|---|
//! | 4 | magic `vipd` |
//! | 1 | version, 1 |
//! | 4 | cluster tag: tells a datagram of another cluster from one with a wrong key |
//! | 1 | kind: 1 heartbeat, 2 word, 3 part of an outline |
//! | … | body |
//! | 16 | HMAC-SHA-256 over everything before it, cut to 16 bytes; the key depends on secret and cluster name |
//!
//! The authentication code is verified, in constant time, before kind and body are looked at. The encoding is
//! canonical: each message has one, and [`decode`] rejects every other (bytes left over, unknown flags,
//! numbers out of range, settings out of order).
//!
//! A part of an outline lists settings: for each the length of its path in a byte, the path, and 8 bytes: the hash of its
//! value, exclusive-or the first 8 bytes of HMAC-SHA-256, by the key of the datagram, over `vipdrift setting `, sender,
//! incarnation and path. Who listens can read what the settings are called; what was hashed can be guessed only with
//! the key.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Mac;

mod codec;
mod keys;
mod outline;
mod rejected;

pub use codec::{decode, encode, resign, without_code};
pub use keys::Keys;
pub use outline::{OUTLINE_PARTS_MAX, OutlinePart, PATH_MAX, Setting, fold, in_parts};
pub use rejected::{Malformed, Rejected};

/// The UDP port of heartbeats.
pub const PORT: u16 = 5798;
/// Largest datagram that is sent or accepted, in bytes of UDP payload: fits an Ethernet frame without
/// fragments.
pub const MAX_DATAGRAM: usize = 1400;
/// As many [`States::groups`] fit a datagram whatever they say.
pub const GROUPS_PER_DATAGRAM: usize = (MAX_DATAGRAM - codec::HEARTBEAT_MAX) / codec::GROUP_MAX;

/// A node on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The id of the node with this name: the first 8 bytes of a hash of it.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(u64::from_be_bytes(hash("vipdrift node", name)))
    }
}

/// A group on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The id of the group with this name: the first 8 bytes of a hash of it.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(u64::from_be_bytes(hash("vipdrift group", name)))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The first bytes of SHA-256 over domain, a zero byte and name, so that a node and a group of one name
/// differ.
fn hash<const N: usize>(domain: &str, name: &str) -> [u8; N] {
    let digest: [u8; 32] =
        Sha256::new().chain_update(domain).chain_update([0]).chain_update(name).finalize().into();
    std::array::from_fn(|position| digest[position])
}

/// What a datagram says.
///
/// Durations travel as 64-bit microseconds: a fraction of a microsecond is dropped, and half a million years
/// is the longest that can be said (longer ones become that). No other field is ever shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// I am alive, and this is how things are.
    Heartbeat(Heartbeat),
    /// A word about a node whose brain may be dead.
    Word(Word),
    /// What my configuration consists of, told to somebody whose configuration differs.
    Outline(OutlinePart),
}

/// A sign of life from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// From whom.
    pub sender: NodeId,
    /// To whom.
    pub receiver: NodeId,
    /// Which life of the sender this is.
    pub incarnation: u64,
    /// Numbers the heartbeats of an incarnation to this receiver.
    pub sequence: u64,
    /// What the sender last heard from the receiver, if it ever did.
    pub echo: Option<Echo>,
    /// The sender's heartbeat interval.
    pub interval: Duration,
    /// Digest of the sender's configuration.
    pub config_digest: u64,
    /// The sender's own health.
    pub health: Health,
    /// Please answer at once.
    pub solicit: bool,
    /// The sender is about to end.
    pub leaving: bool,
    /// The sender's slow side (control, log) has shown itself lately.
    pub slow_side_alive: bool,
    /// Answers of the segment reach the sender up to 100 ms late: it needs that longer to notice that it is cut off.
    pub hears_slowly: bool,
    /// Version of the sender's group states.
    pub states_version: u32,
    /// Version of the receiver's group states that the sender has whole; 0 for none.
    pub states_seen: u32,
    /// Group states, only while the receiver lacks them: steady heartbeats carry versions alone.
    pub states: Option<States>,
    /// What an operator wants of the receiver, repeated until it is answered.
    pub errand: Option<Errand>,
    /// What has become of the receiver's last errand, repeated for as long as the receiver repeats that.
    pub outcome: Option<ErrandOutcome>,
}

/// An operator's order for the receiver of a heartbeat, given to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Tells it from others of the sender's present incarnation.
    pub number: u32,
    /// What is to be done.
    pub order: Order,
    /// To this group; to the whole node if absent.
    pub group: Option<GroupId>,
}

/// What a node is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// Not to be eligible any more.
    Drain,
    /// To be eligible again.
    Undrain,
}

/// What has become of an [`Errand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrandOutcome {
    /// Of which.
    pub number: u32,
    /// How far it is.
    pub progress: Progress,
}

/// How far an [`Errand`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// Taken, and under way.
    Working,
    /// Done.
    Done,
    /// Not done: there is no such group here.
    Refused,
}

/// What was last heard from somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Its incarnation.
    pub incarnation: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// Time since it was heard.
    pub age: Duration,
}

/// A node's own health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Health {
    /// Eligible.
    Healthy,
    /// Not eligible.
    Fault,
    /// Not eligible because an operator said so.
    Drained,
}

/// Changes of group states since an earlier version, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    /// The version on top of which these changes are whole; 0 when they are all there is.
    pub base: u32,
    /// Which part this is, below `count`.
    pub index: u16,
    /// How many parts there are, at least 1.
    pub count: u16,
    /// The groups that changed, at most [`GROUPS_PER_DATAGRAM`] in a part.
    pub groups: Vec<GroupState>,
}

/// A group as the sender of a heartbeat sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Which group.
    pub group: GroupId,
    /// The version of the sender's states in which this last changed.
    pub version: u32,
    /// The sender's role.
    pub role: Role,
    /// The highest term that the sender knows.
    pub term: u64,
    /// The sender's kernel holds the VIPs.
    pub mounted: bool,
    /// The sender is taking the group over.
    pub claiming: bool,
    /// The sender cannot take the group over, or go on with it, before it has proved that it may: it has just started,
    /// its link has just come up, or it was away.
    pub proving: bool,
    /// The move to the heir is to be hitless: it mounts first.
    pub hitless: bool,
    /// It comes only behind nodes that are not demoted.
    pub demoted: bool,
    /// The node that is to take over.
    pub heir: Option<NodeId>,
    /// The sender's MAC address on the group's interface.
    pub mac: Option<Mac>,
    /// The MAC address that answers the sender for the group's VIPs.
    pub answered_by: Option<Mac>,
}

/// A node's role in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Holds the group's VIPs.
    Active,
    /// Ready to.
    Standby,
    /// Not eligible.
    Fault,
    /// Not eligible because an operator said so.
    Drained,
}

/// Signed beforehand and sent by a keeper, which holds no key, when its brain is dead or makes way; not addressed
/// to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Whose word it is.
    pub sender: NodeId,
    /// The life of the sender to which it applies, and to no other.
    pub incarnation: u64,
    /// What it says.
    pub kind: WordKind,
}

/// What a [`Word`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind {
    /// The brain is dead; the VIPs stay mounted while a new one starts.
    Holding {
        /// No longer than this.
        at_most: Duration,
    },
    /// The VIPs are unmounted.
    Resigned,
    /// The keeper is dead; the kernel drops the VIPs when their lease ends.
    LeaseEnds {
        /// No later than this.
        within: Duration,
    },
    /// The whole daemon makes way for another one. The kernel holds the VIPs meanwhile, each with a lifetime of its own.
    Absent {
        /// No longer than this.
        at_most: Duration,
    },
}
