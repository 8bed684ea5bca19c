//! A group as this node runs it.
//!
//! ```text
//!            claim: holder gone, eligible, not occupied
//!  Standby ------------------------------------------------> Mounting
//!     ^                                                         |  kernel confirms: announce
//!     |  kernel confirms: resign                                v
//!  Releasing <---------------------------------------------- Active
//!     ^         fault, drain, switchover, better rival          |  this node was away
//!     |                                                         v
//!     +------------------------------------------------------ Proving --(nobody else)--> Mounting
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{GroupId, GroupState, NodeId, Role};

use crate::action::{Cause, Plan};
use crate::config::VipIndex;
use crate::drain::Client;
use crate::gate::Gate;
use crate::occupancy::{Answer, Occupancy};
use crate::snapshot::RoleName;
use crate::time::Timestamp;

/// Why a step is taken, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Because {
    pub(crate) reason: String,
    pub(crate) evidence: Vec<String>,
    /// Who is known to answer for a VIP meanwhile.
    pub(crate) despite: Option<Mac>,
    /// How the group comes to this node; `None`: it has it already.
    #[serde(default)]
    pub(crate) cause: Option<Cause>,
    /// The last sign of the holder before it.
    #[serde(default)]
    pub(crate) held_until: Option<Timestamp>,
}

/// Stands for the plan that this step is about to make.
pub(crate) const NEXT_PLAN: Plan = Plan(u64::MAX);

/// State of a group on this node; see the module's picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Holds nothing.
    Standby,
    /// The keeper has been asked to mount.
    Mounting { plan: Plan, from: RoleName, because: Because },
    /// Mounted, announced, served.
    Active,
    /// Still mounted, but this node was away and says nothing as active until it has asked around.
    Proving { since: Timestamp },
    /// The keeper has been asked to unmount; then `heir` is named.
    Releasing { plan: Plan, heir: Option<NodeId> },
}

/// One answer for each address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

/// A holder that unmounted and said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Released {
    pub(crate) by: NodeId,
    pub(crate) at: Timestamp,
    /// It is this node's to take, with nothing to ask.
    pub(crate) ours: bool,
    /// What it did and of what kind its reason was, for people.
    pub(crate) how: String,
}

/// A planned move under way on the node that gives the group away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) heir: NodeId,
    pub(crate) hitless: bool,
    pub(crate) reason: String,
    /// Since when the heir is known to serve.
    pub(crate) served: Option<Timestamp>,
    /// VIPs that the heir was seen to claim.
    pub(crate) claimed: BTreeSet<VipIndex>,
}

/// A planned move that this node has been asked for and another node must make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) heir: NodeId,
    pub(crate) until: Timestamp,
}

/// Somebody waits to be told when a group is active on `heir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) client: Client,
    pub(crate) heir: NodeId,
    pub(crate) until: Timestamp,
}

/// The last known holder fell silent without having let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ghost {
    pub(crate) node: NodeId,
    pub(crate) since: Timestamp,
}

/// A preferred node could not mount what was handed back to it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) times: u32,
    /// It is not offered the group again before.
    pub(crate) until: Timestamp,
}

/// A claim that is to be yielded to, unless whoever made it says a word or makes it no more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Contested {
    pub(crate) mac: Mac,
    pub(crate) vip: VipIndex,
    pub(crate) since: Timestamp,
    /// When this node last asked whether it goes on.
    pub(crate) asked: Timestamp,
    /// It has been made again since it was asked about.
    pub(crate) confirmed: bool,
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) state: State,
    /// The highest term known.
    pub(crate) term: u64,
    /// The term of this node's own last claim.
    pub(crate) reign: u64,
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    /// The role that was last recorded.
    pub(crate) shown: RoleName,
    /// Its checks, by their position in the configuration.
    pub(crate) checks: Vec<usize>,
    pub(crate) occupancy: Occupancy,
    pub(crate) released: Option<Released>,
    /// The heir named in a resignation has the right to the group until then.
    pub(crate) reserved: Option<(NodeId, Timestamp)>,
    /// The reservation is this node's own doing, and told to the peers.
    pub(crate) resigned: bool,
    pub(crate) ghost: Option<Ghost>,
    /// Since when nothing but the head start of other nodes keeps this one from a claim.
    pub(crate) free_since: Option<Timestamp>,
    /// Since when it is free and the node whose turn it is does nothing.
    pub(crate) idle_since: Option<Timestamp>,
    /// Whose offer to mount first has been taken, until it is withdrawn: it is taken once.
    pub(crate) offer_taken: Option<NodeId>,
    /// The wish of an operator that a peer passes on and that has been granted, until it is withdrawn: it is granted once. By whom
    /// it is passed on, and the heir.
    #[serde(default)]
    pub(crate) granted: Option<(usize, NodeId)>,
    pub(crate) handover: Option<Handover>,
    /// Whom the group was last handed back to, until somebody is active again.
    pub(crate) failing_back: Option<NodeId>,
    /// Nodes that could not mount it then, until they are active.
    pub(crate) refused: BTreeMap<NodeId, Refused>,
    pub(crate) request: Option<Request>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) gate: Gate,
    /// Why the last mount failed.
    pub(crate) mount_fault: Option<String>,
    pub(crate) mount_failures: u32,
    /// An operator has drained it on this node.
    pub(crate) drained: bool,
    /// An address of the VIPs' subnet has been seen on the interface.
    pub(crate) subnet_seen: Families,
    /// Families of which there is one now, by what was last heard of the interface: looked at with every answer of the
    /// segment, and there may be thousands of VIPs.
    pub(crate) subnet_near: Families,
    /// Since when there is none any more.
    pub(crate) subnet_lost: Option<Timestamp>,
    /// Announcements of this reign so far.
    pub(crate) announced: usize,
    /// VIPs still to be announced in the present round.
    pub(crate) to_announce: VecDeque<VipIndex>,
    pub(crate) last_defence: Option<Timestamp>,
    /// Defences since the last calm.
    pub(crate) defences: u32,
    /// Another claimant seen while active.
    pub(crate) conflict: Option<Answer>,
    /// A node that is not heard and comes before this one has claimed a VIP.
    pub(crate) contested: Option<Contested>,
    /// The MAC of a node that is not heard and was yielded to, and when it was last seen to claim a VIP.
    pub(crate) yielded: Option<(Mac, Timestamp)>,
    /// Who answers for the active node's VIPs, as seen from here.
    pub(crate) answered_by: Option<Mac>,
    /// The same as the peers are told: in one go for all groups, since many may move at once.
    pub(crate) reported: Option<Mac>,
    pub(crate) verifications: u32,
    /// What the peers have been told, with its version.
    pub(crate) published: GroupState,
    /// How often it has come to this node, by how.
    #[serde(default)]
    pub(crate) takeovers: BTreeMap<Cause, u64>,
    /// The outage of the last takeover, if it had one.
    #[serde(default)]
    pub(crate) outage: Option<Duration>,
    /// The last waiting reason that was noted, so that it is noted once, and when.
    pub(crate) noted: String,
    pub(crate) noted_at: Timestamp,
    /// Term, and whether this node is active, as the keeper was last told.
    pub(crate) remembered: (u64, bool),
}

impl Group {
    pub(crate) fn new(id: GroupId, checks: Vec<usize>, now: Timestamp) -> Self {
        Self {
            id,
            state: State::Standby,
            term: 0,
            reign: 0,
            since: now,
            reason: "started".into(),
            shown: RoleName::Standby,
            checks,
            occupancy: Occupancy::default(),
            released: None,
            reserved: None,
            resigned: false,
            ghost: None,
            free_since: None,
            idle_since: None,
            offer_taken: None,
            granted: None,
            handover: None,
            failing_back: None,
            refused: BTreeMap::new(),
            takeovers: BTreeMap::new(),
            outage: None,
            request: None,
            waiting: Vec::new(),
            gate: Gate::Shut,
            mount_fault: None,
            mount_failures: 0,
            drained: false,
            subnet_seen: Families::default(),
            subnet_near: Families::default(),
            subnet_lost: None,
            announced: 0,
            to_announce: VecDeque::new(),
            last_defence: None,
            defences: 0,
            conflict: None,
            contested: None,
            yielded: None,
            answered_by: None,
            reported: None,
            verifications: 0,
            published: GroupState {
                group: id,
                version: 0,
                role: Role::Standby,
                term: 0,
                mounted: false,
                claiming: false,
                proving: false,
                hitless: false,
                demoted: false,
                heir: None,
                mac: None,
                answered_by: None,
            },
            noted: String::new(),
            noted_at: Timestamp::ZERO,
            remembered: (0, false),
        }
    }

    /// The VIPs belong in the kernel.
    pub(crate) fn wants_vips(&self) -> bool {
        matches!(self.state, State::Mounting { .. } | State::Active | State::Proving { .. })
    }
}
