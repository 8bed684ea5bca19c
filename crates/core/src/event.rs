//! What happens to a node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::Order;

use crate::action::Plan;
use crate::config::{CheckIndex, GroupIndex, InterfaceIndex, PathIndex, VipIndex};

/// One thing that happened. The driver drains its sockets before it reports [`Event::Timeout`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<'a> {
    /// The deadline has come (early or spurious reports are harmless).
    Timeout,
    /// A datagram arrived on the heartbeat port.
    Datagram {
        /// The path whose addresses it bears; `None` when it comes from no known address.
        path: Option<PathIndex>,
        /// The UDP payload.
        #[serde(borrow, serialize_with = "crate::checkpoint::as_bytes")]
        bytes: &'a [u8],
    },
    /// An ARP or Neighbor Discovery frame was seen on an interface (never one of this node's own).
    Frame {
        /// Where.
        interface: InterfaceIndex,
        /// The frame with its Ethernet header.
        #[serde(borrow, serialize_with = "crate::checkpoint::as_bytes")]
        bytes: &'a [u8],
    },
    /// An ICMP echo that [`crate::Action::SendEcho`] asked for was answered.
    EchoReply {
        /// By whom.
        from: IpAddr,
    },
    /// The facts about an interface: reported at start and whenever any of them changes.
    Link {
        /// Which interface.
        interface: InterfaceIndex,
        /// All that is known of it now.
        facts: LinkFacts,
    },
    /// The keeper has applied (part of) a plan.
    Applied {
        /// Which plan.
        plan: Plan,
        /// VIPs of the configuration that the kernel holds now.
        mounted: Vec<VipIndex>,
        /// VIPs that could not be mounted or unmounted, with the kernel's error.
        failed: Vec<(VipIndex, String)>,
        /// Nothing of the plan is left to do.
        complete: bool,
    },
    /// Somebody else changed a VIP in the kernel; the keeper has already set it right.
    Drifted {
        /// Which VIP.
        vip: VipIndex,
        /// What was found.
        drift: Drift,
    },
    /// A check has had a result: reported when it changes, and anew to a node that has just begun.
    Check {
        /// Which check.
        check: CheckIndex,
        /// Why it fails, in a line; `None`: it passes.
        failing: Option<String>,
    },
    /// The program has ended that [`crate::Action::Prepare`] asked for.
    Prepared {
        /// Which group.
        group: GroupIndex,
        /// Which time.
        number: u64,
        /// Why this node is not to be active.
        outcome: Result<(), String>,
    },
    /// The keeper or the driver saw time go missing (suspend, a frozen machine), or the keeper was late.
    ClockGap {
        /// About how much.
        missing: Duration,
    },
    /// The daemon's slow thread makes progress, or no longer does.
    SlowSide {
        /// It does.
        alive: bool,
    },
    /// The system would not take a frame that [`crate::Action::SendFrame`] gave to the driver: what nobody answers was not asked.
    Unasked {
        /// Which interface.
        interface: InterfaceIndex,
        /// Who was to be asked for.
        target: IpAddr,
    },
    /// The keeper is gone: nobody renews the lease or unmounts any more.
    KeeperGone,
    /// Somebody asks for something.
    Command(Command),
}

/// What was found wrong with a VIP in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drift {
    /// It had been removed; it is mounted again.
    Removed,
    /// It had been added without our wish; it is unmounted again.
    Added,
}

/// Everything known of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkFacts {
    /// The interface exists.
    pub present: bool,
    /// It is administratively up and has carrier.
    pub running: bool,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// Its addresses, VIPs of the configuration left out.
    pub addresses: Vec<IpNet>,
    /// Default gateways reached through it.
    pub gateways: Vec<IpAddr>,
}

/// Ties an [`crate::Action::Reply`] to the command that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What an operator or the driver asks for. Each is answered by exactly one [`crate::Action::Reply`],
/// but for `Shutdown`, which ends in [`crate::Action::Exit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Move a group to `to`, or to the next healthy node. Answered when the heir is active or it has failed.
    Switchover {
        /// Answer to this.
        ticket: Ticket,
        /// Which group.
        group: GroupIndex,
        /// Name of the heir.
        to: Option<String>,
    },
    /// Move a group to `to`, or to the next healthy node, and back, and measure. Answered by
    /// [`crate::Action::Drilled`], or by a reply that says what went wrong.
    Drill {
        /// Answer to this.
        ticket: Ticket,
        /// Which group.
        group: GroupIndex,
        /// Name of the node that takes it for a while.
        to: Option<String>,
        /// How long it stays there.
        stay: Duration,
    },
    /// Make a node ineligible until `Undrain`; whatever it holds goes to the next healthy node.
    Drain {
        /// Answer to this.
        ticket: Ticket,
        /// Which node, and of what.
        scope: Scope,
    },
    /// Make it eligible again.
    Undrain {
        /// Answer to this.
        ticket: Ticket,
        /// Which node, and of what.
        scope: Scope,
    },
    /// Release everything, resign, then [`crate::Action::Exit`].
    Shutdown,
}

/// What a drain is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Name of the node; this one if absent.
    pub node: Option<String>,
    /// The group; all of them if absent.
    pub group: Option<GroupIndex>,
}

/// What an operator has drained on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drained {
    /// The node as a whole.
    pub node: bool,
    /// Groups, by their ids on the wire.
    pub groups: BTreeSet<u64>,
}

/// How a node begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// From nothing: leftovers have been released by the keeper.
    Fresh {
        /// What an operator had drained in an earlier life.
        drained: Drained,
    },
    /// After the death of an earlier brain whose VIPs the keeper still holds.
    Resumed(Carry),
}

/// What the keeper hands from a dead brain to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Carry {
    /// What an operator has drained.
    pub drained: Drained,
    /// Number of the last plan.
    pub plan: u64,
    /// One for each group that has had a term.
    pub groups: Vec<CarryGroup>,
    /// Checks that fail; all others pass until something else is heard of them.
    pub failing: Vec<CarryCheck>,
    /// Orders for other nodes of which the outcome is not known yet, the oldest first.
    #[serde(default)]
    pub errands: Vec<CarryErrand>,
    /// The earlier brain has not died but made way, as an operator had ordered.
    #[serde(default)]
    pub ordered: Option<CarryOrder>,
}

/// Why there is another brain, in a [`Carry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryOrder {
    /// `reload` or `restart`.
    pub what: String,
    /// What is different now.
    pub changes: String,
}

/// An order for another node in a [`Carry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryErrand {
    /// The other node's id on the wire.
    pub node: u64,
    /// What it is to do.
    pub order: Order,
    /// The group's id on the wire; the whole node if absent.
    pub group: Option<u64>,
}

/// A failing check in a [`Carry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryCheck {
    /// The group's id on the wire.
    pub group: u64,
    /// Name of the check.
    pub check: String,
    /// Why it fails.
    pub why: String,
}

/// A group in a [`Carry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryGroup {
    /// The group's id on the wire.
    pub group: u64,
    /// The highest term known.
    pub term: u64,
    /// This node was active in that term.
    pub active: bool,
}
