//! The decisions of a vipdrift node, and nothing else.
//!
//! [`Node`] takes an [`Event`] and the time, and answers with [`Action`]s. It does no input or output, reads no
//! clock, starts no thread and draws no randomness of its own, so the same code runs in the daemon, in the
//! simulator and under a fuzzer.
//!
//! Words used here are those of the design: a *group* of VIPs is *active* on one node and *standby* on the
//! others; *mount* puts an address on a network card; *occupancy* is whether anybody on the segment answers for a
//! VIP; a *term* numbers the reign of an active node.

mod absence;
mod act;
mod action;
#[cfg(test)]
mod bench;
mod checkpoint;
mod claim;
mod config;
mod decide;
mod differ;
mod drain;
mod drill;
mod event;
mod exchange;
mod gate;
mod group;
mod health;
mod interface;
pub mod keeper;
mod node;
mod occupancy;
mod outline;
mod pace;
mod peer;
mod placement;
mod plan;
#[cfg(test)]
mod properties;
mod random;
mod round_trips;
mod sabotage;
mod segment;
mod snapshot;
mod strain;
#[cfg(test)]
mod table;
mod time;
mod timer;
mod tuning;
mod view;
mod watch;

pub use absence::ABSENCE_MAX;
pub use action::{Action, Cause, Decision, Leg, Note, Plan, Takeover, Words};
pub use checkpoint::Checkpoint;
pub use config::{
    AllUnhealthy, CheckConfig, CheckIndex, Effect, Failback, GroupConfig, GroupIndex, InterfaceIndex,
    IsolatedPolicy, NodeConfig, NodeIndex, OccupiedPolicy, Path, PathIndex, PeerConfig, Reference,
    Switchover, Vip, VipIndex,
};
pub use drill::{DRILL_PACE, drill_limit};
pub use event::{
    Carry, CarryCheck, CarryErrand, CarryGroup, CarryOrder, Command, Drained, Drift, Event, LinkFacts, Scope,
    Start, Ticket,
};
pub use node::Node;
pub use outline::{NODES_ORDER, Outline};
pub use pace::LateOften;
pub use round_trips::RoundTrips;
#[cfg(feature = "sabotage")]
pub use sabotage::Sabotage;
pub use snapshot::{
    CheckSnapshot, Counters, GroupSnapshot, HealthSnapshot, NodeSnapshot, PeerGroupSnapshot, PeerSnapshot,
    PeerStateName, RoleName, VipSnapshot,
};
pub use time::Timestamp;
pub use tuning::{beat_interval, move_limit};

/// The moment at which [`Node`] next wants [`Event::Timeout`], and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Timestamp,
    /// The timer's name, for logs and simulator traces.
    pub why: &'static str,
}
