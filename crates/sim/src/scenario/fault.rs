//! What goes wrong in a scenario, or what an operator wants.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::setup::NAMES;
use super::span;

/// A node, by its position. In text it has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub usize);

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.get(self.0).copied().unwrap_or("nobody"))
    }
}

impl Serialize for NodeNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let known = NAMES.iter().position(|known| *known == name);
        known.map(Self).ok_or_else(|| D::Error::custom(format!("no node is called {name}")))
    }
}

/// On which side of a torn LAN client and gateway are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bystanders {
    /// They reach both sides: only the way between the two is broken.
    Both,
    /// With the nodes named.
    Inside,
    /// With the others.
    Outside,
}

/// Something that comes and, most of them, goes. `on` is the node it befalls, `group` counts the groups of the
/// configuration from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "what is said of a fault says what its fields are")]
pub enum Fault {
    // ---- Operators ----
    /// A planned switchover, asked for on `on`.
    Switchover { on: NodeNumber, group: usize, to: Option<NodeNumber> },
    /// Drained; undrained when it is over.
    Drained { on: NodeNumber },
    /// Stopped with grace; started when it is over.
    Stopped { on: NodeNumber },
    /// Restarted with a different file, in which the orders are reversed; and back when it is over.
    OtherFile { on: NodeNumber },
    /// The service that a group's check looks at fails on `on`.
    ServiceFails { on: NodeNumber, group: usize },
    // ---- Processes ----
    /// The brain is killed. `slow`: the next one needs longer than it has.
    BrainKilled { on: NodeNumber, slow: bool },
    /// The brain stands still.
    BrainFrozen { on: NodeNumber },
    /// The brain is kept waiting again and again, up to `longest` each time.
    BrainStalls {
        on: NodeNumber,
        #[serde(with = "span")]
        longest: Duration,
    },
    /// Keeper and brain are killed; started when it is over.
    DaemonKilled { on: NodeNumber },
    /// The keeper is killed; started when it is over.
    KeeperKilled { on: NodeNumber },
    /// The keeper stands still.
    KeeperFrozen { on: NodeNumber },
    /// The kernel takes its time for addresses, up to `longest`.
    KeeperSlow {
        on: NodeNumber,
        #[serde(with = "span")]
        longest: Duration,
    },
    /// The brain's slow thread hangs.
    SlowSideHangs { on: NodeNumber },
    // ---- Machines ----
    /// The power is cut; back when it is over.
    PowerCut { on: NodeNumber },
    /// The machine is suspended: its clock goes on, its timers and address lifetimes do not.
    Suspended { on: NodeNumber },
    /// The machine is paused from outside: its clock stands still as well.
    Paused { on: NodeNumber },
    /// The kernel takes no address.
    MountsFail { on: NodeNumber },
    /// The kernel gives up no address before its lease ends.
    UnmountsFail { on: NodeNumber },
    /// Somebody removes a VIP by hand.
    VipRemoved { on: NodeNumber, group: usize },
    /// Somebody adds a VIP by hand, for ever.
    VipAdded { on: NodeNumber, group: usize },
    /// The interface loses the machine's own address.
    AddressLost { on: NodeNumber },
    /// The interface is gone, and everything on it.
    InterfaceGone { on: NodeNumber },
    // ---- The network ----
    /// The machine sees that its cable is pulled.
    CablePulled { on: NodeNumber },
    /// The machine is cut off, its link stays up.
    SilentCut { on: NodeNumber },
    /// No heartbeat passes, everything else does.
    HeartbeatsBlocked,
    /// No heartbeat passes from one to another.
    HeartbeatsBlockedOneWay { from: NodeNumber, to: NodeNumber },
    /// No ICMP echo passes.
    EchoesBlocked,
    /// The LAN falls apart.
    Partition { inside: Vec<NodeNumber>, bystanders: Bystanders },
    /// Nothing passes from one to another.
    OneWayCut { from: NodeNumber, to: NodeNumber },
    /// Every cross link is cut.
    CrossLinkCut,
    /// Packets are lost, so many in a thousand.
    Loss { per_mille: u64 },
    /// Packets take up to `longest` more and overtake each other.
    Delay {
        #[serde(with = "span")]
        longest: Duration,
    },
    /// Packets come twice, so many in a thousand.
    Twice { per_mille: u64 },
    /// A machine outside the cluster holds a group's VIPs.
    ForeignHolder { group: usize },
    /// A switch answers ARP and Neighbor Solicitations for the VIPs from its memory.
    Proxy,
    // ---- Attackers ----
    /// Datagrams recorded lately, changed ones, invented ones and those of another cluster arrive at every node.
    Forgery,
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it comes, after the world began.
    #[serde(with = "span")]
    pub at: Duration,
    /// How long it stays.
    #[serde(with = "span")]
    pub lasts: Duration,
    /// What it is.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Planned {
    /// When it is over.
    #[must_use]
    pub fn over(&self) -> Duration {
        self.at + self.lasts
    }
}

impl Fault {
    /// Its name in scenarios and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Switchover { .. } => "switchover",
            Self::Drained { .. } => "drained",
            Self::Stopped { .. } => "stopped",
            Self::OtherFile { .. } => "other-file",
            Self::ServiceFails { .. } => "service-fails",
            Self::BrainKilled { .. } => "brain-killed",
            Self::BrainFrozen { .. } => "brain-frozen",
            Self::BrainStalls { .. } => "brain-stalls",
            Self::DaemonKilled { .. } => "daemon-killed",
            Self::KeeperKilled { .. } => "keeper-killed",
            Self::KeeperFrozen { .. } => "keeper-frozen",
            Self::KeeperSlow { .. } => "keeper-slow",
            Self::SlowSideHangs { .. } => "slow-side-hangs",
            Self::PowerCut { .. } => "power-cut",
            Self::Suspended { .. } => "suspended",
            Self::Paused { .. } => "paused",
            Self::MountsFail { .. } => "mounts-fail",
            Self::UnmountsFail { .. } => "unmounts-fail",
            Self::VipRemoved { .. } => "vip-removed",
            Self::VipAdded { .. } => "vip-added",
            Self::AddressLost { .. } => "address-lost",
            Self::InterfaceGone { .. } => "interface-gone",
            Self::CablePulled { .. } => "cable-pulled",
            Self::SilentCut { .. } => "silent-cut",
            Self::HeartbeatsBlocked => "heartbeats-blocked",
            Self::HeartbeatsBlockedOneWay { .. } => "heartbeats-blocked-one-way",
            Self::EchoesBlocked => "echoes-blocked",
            Self::Partition { .. } => "partition",
            Self::OneWayCut { .. } => "one-way-cut",
            Self::CrossLinkCut => "cross-link-cut",
            Self::Loss { .. } => "loss",
            Self::Delay { .. } => "delay",
            Self::Twice { .. } => "twice",
            Self::ForeignHolder { .. } => "foreign-holder",
            Self::Proxy => "proxy",
            Self::Forgery => "forgery",
        }
    }

    /// The nodes that it names.
    pub(crate) fn nodes(&self) -> Vec<NodeNumber> {
        match self {
            Self::Switchover { on, to, .. } => to.iter().copied().chain([*on]).collect(),
            Self::Drained { on }
            | Self::Stopped { on }
            | Self::OtherFile { on }
            | Self::ServiceFails { on, .. }
            | Self::BrainKilled { on, .. }
            | Self::BrainFrozen { on }
            | Self::BrainStalls { on, .. }
            | Self::DaemonKilled { on }
            | Self::KeeperKilled { on }
            | Self::KeeperFrozen { on }
            | Self::KeeperSlow { on, .. }
            | Self::SlowSideHangs { on }
            | Self::PowerCut { on }
            | Self::Suspended { on }
            | Self::Paused { on }
            | Self::MountsFail { on }
            | Self::UnmountsFail { on }
            | Self::VipRemoved { on, .. }
            | Self::VipAdded { on, .. }
            | Self::AddressLost { on }
            | Self::InterfaceGone { on }
            | Self::CablePulled { on }
            | Self::SilentCut { on } => vec![*on],
            Self::HeartbeatsBlockedOneWay { from, to } | Self::OneWayCut { from, to } => vec![*from, *to],
            Self::Partition { inside, .. } => inside.clone(),
            _ => vec![],
        }
    }

    /// The group that it names.
    pub(crate) fn group(&self) -> Option<usize> {
        match self {
            Self::Switchover { group, .. }
            | Self::ServiceFails { group, .. }
            | Self::VipRemoved { group, .. }
            | Self::VipAdded { group, .. }
            | Self::ForeignHolder { group } => Some(*group),
            _ => None,
        }
    }

    /// The node on which alone it happens.
    pub(crate) fn on(&self) -> Option<usize> {
        match (self, self.nodes().as_slice()) {
            (Self::Partition { .. } | Self::Switchover { .. }, _) => None,
            (_, [on]) => Some(on.0),
            _ => None,
        }
    }
}
