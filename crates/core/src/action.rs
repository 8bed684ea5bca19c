//! What a node wants done.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{GroupIndex, InterfaceIndex, PathIndex, VipIndex};
use crate::event::{Carry, Ticket};
use crate::snapshot::RoleName;

/// Numbers the desired sets of a brain; a later one replaces all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Plan(pub u64);

/// One thing to do. The driver does them in order and never waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram on a heartbeat path.
    SendDatagram {
        /// Between which addresses.
        path: PathIndex,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// Send a frame on an interface.
    SendFrame {
        /// Where.
        interface: InterfaceIndex,
        /// The frame with its Ethernet header.
        bytes: Vec<u8>,
    },
    /// Send an ICMP or ICMPv6 echo request.
    SendEcho {
        /// To whom.
        to: IpAddr,
    },
    /// Make exactly these VIPs be mounted. The whole set, always. Answered by [`crate::Event::Applied`].
    Apply {
        /// Its number.
        plan: Plan,
        /// VIPs to hold; every other VIP of the configuration is to be off.
        desired: BTreeSet<VipIndex>,
    },
    /// Prove to the keeper that this brain is alive.
    Beat {
        /// The lease may be renewed.
        renew: bool,
    },
    /// Hand the keeper the datagrams that it sends when this brain is dead (once, at start).
    Words(Words),
    /// Hand the keeper what the next brain must know.
    Remember(Carry),
    /// Run the program that has to succeed before this node mounts a group's VIPs. Answered by
    /// [`crate::Event::Prepared`].
    Prepare {
        /// Which group.
        group: GroupIndex,
        /// Tells this time from others.
        number: u64,
        /// The term that is to come.
        term: u64,
        /// Why it is claimed.
        reason: String,
    },
    /// The VIPs are not mounted after all: whatever has been prepared is to be as it is for this role.
    Unprepare {
        /// Which group.
        group: GroupIndex,
        /// The role of this node.
        role: RoleName,
        /// The highest term known.
        term: u64,
    },
    /// Keep this decision, with its evidence.
    Record(Decision),
    /// Tell the log.
    Note(Note),
    /// Answer a command: what was done, or why not.
    Reply {
        /// Which command.
        ticket: Ticket,
        /// What was done, or why not.
        outcome: Result<String, String>,
    },
    /// Answer [`crate::Command::Drill`]: it went there and back.
    Drilled {
        /// Which command.
        ticket: Ticket,
        /// There, and back.
        legs: Vec<Leg>,
    },
    /// Everything is released and said: end the process.
    Exit,
}

/// A way of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Who gave the group away.
    pub from: String,
    /// Who took it.
    pub to: String,
    /// VIPs that were asked for every millisecond, and the longest time in which nobody answered for each.
    pub vips: Vec<(IpAddr, Duration)>,
}

impl Leg {
    /// The longest time in which nobody answered for one of the VIPs.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.vips.iter().map(|(_, longest)| *longest).max().unwrap_or_default()
    }
}

/// Signed datagrams that a keeper, which holds no key, sends to every peer on behalf of a dead brain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// "Holding, at most the hold time more."
    pub holding: Vec<u8>,
    /// "Everything is unmounted."
    pub resigned: Vec<u8>,
}

/// A change of role, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which group.
    pub group: GroupIndex,
    /// Role before.
    pub from: RoleName,
    /// Role after.
    pub to: RoleName,
    /// The term in which it happened.
    pub term: u64,
    /// One sentence for people.
    pub reason: String,
    /// What it rests on, a line each.
    pub evidence: Vec<String>,
    /// This node has taken the group over with it.
    #[serde(default)]
    pub takeover: Option<Takeover>,
}

/// A group has come to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// How.
    pub cause: Cause,
    /// From the last sign of the holder before it until the kernel had confirmed the mount, as this node saw it: its last heartbeat if
    /// it fell silent, its word if it let go. `None`: nobody is known to have held it.
    pub outage: Option<Duration>,
}

/// How a group comes to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The holder fell silent.
    Silent,
    /// The holder let go and said so.
    Released,
    /// The holder had this node mount before it unmounted.
    HandedOver,
    /// Nobody was known to hold it.
    Unheld,
    /// Somebody answered for a VIP, and it was claimed all the same.
    Occupied,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Silent, Self::Released, Self::HandedOver, Self::Unheld, Self::Occupied];

    /// In a word, as events and metrics have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Released => "released",
            Self::HandedOver => "handed_over",
            Self::Unheld => "unheld",
            Self::Occupied => "occupied",
        }
    }
}

impl Decision {
    /// The VIPs come or go with it; else only what this node could do has changed.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.from != self.to && (self.from == RoleName::Active || self.to == RoleName::Active)
    }
}

/// Something worth a log line that is not a change of role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Somebody should look at it.
    pub warning: bool,
    /// The line.
    pub text: String,
}
