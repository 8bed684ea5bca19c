//! What a node has been told: resolved for this node and validated before it gets here.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId};

use crate::outline::Outline;
use crate::tuning::ASK_AT_ONCE;

/// Position of a peer in [`NodeConfig::peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub usize);
/// Position of a group in [`NodeConfig::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupIndex(pub usize);
/// Position of an interface in [`NodeConfig::interfaces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterfaceIndex(pub usize);
/// Position of a VIP in [`NodeConfig::vips`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VipIndex(pub usize);
/// Position of a check in [`NodeConfig::checks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckIndex(pub usize);
/// Position of a heartbeat path in [`NodeConfig::paths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PathIndex(pub usize);

/// Everything a node decides by. Indexes in it are valid; the driver has checked the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeConfig {
    /// This node's name.
    pub name: String,
    /// This node's id on the wire.
    pub id: NodeId,
    /// Keys that authenticate heartbeats; they carry the cluster's identity. Never written down: what is read back has
    /// those of no cluster until others are put in.
    #[serde(skip, default = "crate::checkpoint::no_keys")]
    pub keys: Keys,
    /// What the configuration consists of, as far as the nodes have to agree; compared among peers, never elected on.
    pub outline: Outline,
    /// Interval between heartbeats (H).
    pub heartbeat: Duration,
    /// What this system adds to the time that an answer of the segment takes; zero where frames are sent and heard as they are.
    #[serde(default)]
    pub answers_within: Duration,
    /// Missed heartbeats after which a peer is dead; the dead time is this times `heartbeat`.
    pub dead_after: u32,
    /// Lifetime of a mounted address in the kernel; `None` when addresses are mounted without one.
    pub lease: Option<Duration>,
    /// How long a keeper may hold the VIP over the death of its brain.
    pub hold: Duration,
    /// Longest wait at start for proof that the link works (a peer or a reference answers).
    pub start_wait: Duration,
    /// The other nodes.
    pub peers: Vec<PeerConfig>,
    /// Heartbeat paths to the peers.
    pub paths: Vec<Path>,
    /// Names of this node's interfaces that carry VIPs.
    pub interfaces: Vec<String>,
    /// Every VIP of every group.
    pub vips: Vec<Vip>,
    /// The groups.
    pub groups: Vec<GroupConfig>,
    /// The health checks of all groups.
    pub checks: Vec<CheckConfig>,
    /// Ask for VIPs as if they were very many, though they are not: for trials.
    #[serde(default)]
    pub sparing: bool,
}

impl NodeConfig {
    /// The dead time: `dead_after` heartbeat intervals.
    #[must_use]
    pub fn dead_time(&self) -> Duration {
        self.heartbeat * self.dead_after
    }

    /// There are so many VIPs that they are asked for by those on whom it depends, and only when it does.
    pub(crate) fn asks_sparingly(&self) -> bool {
        self.sparing || self.vips.len() > ASK_AT_ONCE
    }
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Its name.
    pub name: String,
    /// Its id on the wire.
    pub id: NodeId,
}

/// One pair of addresses between this node and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The peer at the other end.
    pub peer: NodeIndex,
    /// This node's address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
}

/// A virtual address and where it goes on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The interface.
    pub interface: InterfaceIndex,
    /// Address and prefix length.
    pub address: IpNet,
}

/// VIPs that always move together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// Its id on the wire.
    pub id: GroupId,
    /// The interface that carries it.
    pub interface: InterfaceIndex,
    /// Its VIPs.
    pub vips: Vec<VipIndex>,
    /// All nodes that may hold it, most preferred first, this one among them if it may. Ids on the wire.
    pub order: Vec<NodeId>,
    /// All others that must be on the same node; symmetric and transitive, with the same `order`, `failback` and
    /// `switchover`.
    #[serde(default)]
    pub together: Vec<GroupIndex>,
    /// All that must never be on the same node; symmetric, and alike for groups that are together.
    #[serde(default)]
    pub apart: Vec<GroupIndex>,
    /// When to go back to a preferred node.
    pub failback: Failback,
    /// What to do when a foreign host answers for a VIP.
    pub occupied: OccupiedPolicy,
    /// How a planned switchover goes.
    pub switchover: Switchover,
    /// Whose answers prove that this node is not isolated.
    pub references: Vec<Reference>,
    /// What an isolated active node does.
    pub isolated: IsolatedPolicy,
    /// What an active node does whose checks fail while nobody else is healthy.
    pub all_unhealthy: AllUnhealthy,
    /// A program has to succeed before this node mounts the VIPs, within this time.
    pub gate: Option<Duration>,
}

/// A health check, as far as decisions are concerned: somebody else runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConfig {
    /// Its name, unique within the group.
    pub name: String,
    /// Whose check it is.
    pub group: GroupIndex,
    /// What follows when it fails.
    pub effect: Effect,
    /// Whether it counts as passing before its first result.
    pub initially_passing: bool,
}

/// What follows when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The node must not hold the group.
    Fault,
    /// The node holds the group only if no other can.
    Demote,
}

/// What an active node does whose checks fail while no other node is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllUnhealthy {
    /// Keep the VIPs.
    Keep,
    /// Let them go.
    Release,
}

/// When an active node hands the group back to a more preferred one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failback {
    /// Only when asked.
    Never,
    /// After the preferred node has been healthy for this long.
    After(Duration),
}

/// What to do when a host outside the cluster answers for a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OccupiedPolicy {
    /// Stay standby and say so.
    Wait,
    /// Take the VIP all the same.
    Claim,
}

/// How a planned switchover goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switchover {
    /// The holder unmounts before the heir mounts.
    Strict,
    /// The heir mounts and announces before the holder unmounts.
    Hitless,
}

/// A machine outside the cluster whose answer proves that the network works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reference {
    /// The gateway and neighbours seen on the segment lately.
    Auto,
    /// The interface's default gateway.
    Gateway,
    /// A named address on the interface's segment.
    Address(IpAddr),
}

/// What an active node does when it finds itself isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IsolatedPolicy {
    /// Let the VIPs go.
    Release,
    /// Keep them.
    Keep,
}
