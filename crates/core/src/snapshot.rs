//! A node as it sees itself, for status output.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::Health;

use crate::action::Cause;
use crate::config::{Effect, InterfaceIndex};
use crate::pace::LateOften;
use crate::round_trips::RoundTrips;
use crate::time::Timestamp;

/// Everything that `vipdrift status` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// The node's own health.
    pub health: HealthSnapshot,
    /// The peers, in the order of the configuration.
    pub peers: Vec<PeerSnapshot>,
    /// The groups, in the order of the configuration.
    pub groups: Vec<GroupSnapshot>,
    /// This machine is late so often that it does not keep the heartbeat interval.
    pub late_often: Option<LateOften>,
    /// What has been counted.
    pub counters: Counters,
}

/// State and reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthSnapshot {
    /// Eligible.
    Healthy,
    /// Not eligible, and why.
    Fault(Vec<String>),
    /// Not eligible because an operator said so.
    Drained,
}

/// A peer as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: PeerStateName,
    /// It says that it hears this node.
    pub hears_us: bool,
    /// Round-trip time of the last heartbeat that was echoed.
    pub rtt: Option<Duration>,
    /// All of them.
    pub round_trips: RoundTrips,
    /// It has the same configuration; `None` until it has said so.
    pub same_config: Option<bool>,
    /// Paths of the settings that differ between its configuration and this node's, as far as known, not too many of them.
    pub differs: Vec<String>,
    /// When it was last heard.
    pub last_heard: Option<Timestamp>,
    /// Its daemon restarts, and has said that its kernel holds until then at most.
    pub absent_until: Option<Timestamp>,
    /// It was given up because its machine did not answer either.
    pub machine_dead: bool,
    /// How often it sends a heartbeat; what it has announced, or this node's own interval before.
    pub interval: Duration,
    /// What it last said of its own health.
    pub health: Option<Health>,
    /// What it last said of each group, in the order of the configuration; `None` where it has said nothing.
    pub groups: Vec<Option<PeerGroupSnapshot>>,
}

/// A group as a peer last described it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerGroupSnapshot {
    /// Its role.
    pub role: RoleName,
    /// The highest term that it knows.
    pub term: u64,
    /// Its kernel holds the VIPs.
    pub mounted: bool,
    /// It is taking the group over.
    pub claiming: bool,
    /// It comes only behind nodes that are not demoted.
    pub demoted: bool,
}

/// State of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerStateName {
    /// Heard.
    Alive,
    /// A heartbeat is missing; it is being asked.
    Suspect,
    /// Not heard.
    Silent,
    /// It said that it leaves.
    Left,
}

/// Role of a node in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleName {
    /// Holds the group's VIPs.
    Active,
    /// Ready to.
    Standby,
    /// Not eligible.
    Fault,
    /// Not eligible because an operator said so.
    Drained,
}

/// A group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Its name.
    pub name: String,
    /// This node's role.
    pub role: RoleName,
    /// Name of the active node, if one is known.
    pub active_node: Option<String>,
    /// The highest term known.
    pub term: u64,
    /// When the role last changed.
    pub since: Timestamp,
    /// Why, in a sentence.
    pub reason: String,
    /// Who answers for a VIP though nobody in the cluster is known to hold it, or beside the holder.
    pub occupied_by: Option<Mac>,
    /// Its health checks.
    pub checks: Vec<CheckSnapshot>,
    /// The VIPs.
    pub vips: Vec<VipSnapshot>,
    /// How often it has come to this node, by how.
    pub takeovers: BTreeMap<Cause, u64>,
    /// The outage of the last takeover, if it had one; see [`Takeover`](crate::Takeover).
    pub outage: Option<Duration>,
}

/// A health check as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSnapshot {
    /// Its name.
    pub name: String,
    /// What follows when it fails.
    pub effect: Effect,
    /// Why it fails; `None`: it passes.
    pub failing: Option<String>,
    /// Since when it passes or fails; `None` before its first result.
    pub since: Option<Timestamp>,
}

/// A VIP as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipSnapshot {
    /// The address.
    pub address: IpNet,
    /// Where it goes.
    pub interface: InterfaceIndex,
    /// This node's kernel has it.
    pub mounted: bool,
}

/// Counted observations since start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Heartbeat datagrams sent.
    pub heartbeats_sent: u64,
    /// Heartbeat datagrams accepted.
    pub heartbeats_heard: u64,
    /// Datagrams rejected, by reason, in a fixed order.
    #[serde(skip)]
    pub datagrams_rejected: Vec<(&'static str, u64)>,
    /// Times that a peer said something new of a group.
    #[serde(default)]
    pub states_heard: u64,
    /// Frames that could not be parsed.
    pub frames_rejected: u64,
    /// Occupancy probes sent.
    pub probes_sent: u64,
    /// Answers to occupancy probes.
    pub probe_answers: u64,
    /// Announcements sent.
    pub announcements_sent: u64,
    /// Other claimants seen while active.
    pub conflicts: u64,
    /// Times that this node found itself late for a deadline by more than half a heartbeat.
    pub late: u64,
    /// Largest lateness.
    pub lateness_max: Duration,
}
