//! What must hold, one file each. An invariant is shown what happens, and says when it is broken.

mod announcements;
mod blocked_heartbeats;
mod commands;
mod configuration;
mod dead_time;
mod foreign_holder;
mod forgery;
mod fresh_start;
mod graceful_moves;
mod held_is_wanted;
mod isolated;
mod liveness;
mod outages;
mod placement;
mod prepared;
mod progress;
mod renewal;
mod sticky;
mod thawed;
mod transitions;
mod two_holders;
mod unheld;

use std::collections::BTreeSet;
use std::time::Duration;

use vipdrift_core::{Deadline, Decision, NodeSnapshot, VipIndex};

use crate::figures::Figures;
use crate::scenario::{Planned, Scenario};
use crate::world::{Standstill, World};

pub(crate) use outages::Sample;

/// Something that happens in the world.
#[derive(Debug)]
pub(crate) enum Sight<'a> {
    /// Who holds what, or who reaches whom, has changed.
    Scene,
    /// A fault comes or goes.
    Fault { index: usize, comes: bool },
    /// A brain begins.
    Born { host: usize },
    /// A brain has had its timeout, for this deadline.
    TimedOut { host: usize, before: Option<Deadline> },
    /// A brain sends a datagram (shown only where it matters: a fresh one's first, and after a machine stood still).
    Said { host: usize, bytes: &'a [u8] },
    /// A brain was sent what nobody had sent to it; what it looked like before.
    Fooled { host: usize, before: &'a NodeSnapshot },
    /// A brain announces a VIP.
    Announced { host: usize, vip: VipIndex },
    /// A brain orders a set of VIPs.
    Ordered { host: usize, desired: &'a BTreeSet<VipIndex> },
    /// A brain records a decision.
    Decided { host: usize, decision: &'a Decision },
    /// A brain has the program run that comes before a mount, or what it has done undone.
    Prepares { host: usize, group: usize, yes: bool },
    /// A brain answers a command; whether it had one to answer.
    Replied { host: usize, known: bool },
    /// A brain ends with so many commands unanswered.
    Exited { host: usize, open: usize },
    /// A kernel takes a VIP for its keeper.
    Mounted { host: usize, vip: VipIndex },
    /// A keeper renews the lifetime of what it holds.
    Renewed { host: usize },
    /// A machine goes on that stood still for so long.
    Thawed { host: usize, stood: Duration, how: Standstill },
    /// The client was without an answer for so long.
    Outage { vip: VipIndex, lasted: Duration },
    /// The faults of an episode are over for as long as it takes to recover.
    Settled,
    /// And for a while longer.
    Rested { episode: &'a [Planned] },
}

/// An invariant is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When, after the world began.
    pub at: Duration,
    /// Where, if at one node.
    pub node: Option<usize>,
    /// How.
    pub text: String,
}

/// What one invariant says of a sight.
pub(crate) type Finding = Result<(), (Option<usize>, String)>;

/// Broken, at a node.
pub(crate) fn broken<T>(node: usize, text: impl Into<String>) -> Result<T, (Option<usize>, String)> {
    Err((Some(node), text.into()))
}

/// Broken, at none in particular.
pub(crate) fn broken_everywhere<T>(text: impl Into<String>) -> Result<T, (Option<usize>, String)> {
    Err((None, text.into()))
}

/// Something that must hold.
pub(crate) trait Invariant {
    fn name(&self) -> &'static str;
    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding;
    /// What was measured on the way.
    fn figures(&self, _figures: &mut Figures) {}
}

/// All of them.
pub(crate) struct Invariants(pub(crate) Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(crate) fn all(scenario: &Scenario) -> Self {
        Self(vec![
            Box::new(progress::Progress::default()),
            Box::new(two_holders::TwoHolders::default()),
            Box::new(dead_time::DeadTime::new(scenario)),
            Box::new(unheld::Unheld::new(scenario)),
            Box::new(isolated::Isolated::new(scenario)),
            Box::new(graceful_moves::GracefulMoves::default()),
            Box::new(blocked_heartbeats::BlockedHeartbeats::default()),
            Box::new(foreign_holder::ForeignHolder::new(scenario)),
            Box::new(announcements::Announcements::new(scenario)),
            Box::new(configuration::Configuration),
            Box::new(fresh_start::FreshStart),
            Box::new(thawed::Thawed::new(scenario)),
            Box::new(renewal::Renewal),
            Box::new(forgery::Forgery),
            Box::new(commands::Commands),
            Box::new(transitions::Transitions::new(scenario)),
            Box::new(sticky::Sticky::default()),
            Box::new(held_is_wanted::HeldIsWanted),
            Box::new(liveness::Liveness::default()),
            Box::new(outages::Outages::default()),
            Box::new(placement::Placement::new(scenario)),
            Box::new(prepared::Prepared::new(scenario)),
        ])
    }

    pub(crate) fn see(&mut self, world: &World, sight: &Sight<'_>) -> Option<Violation> {
        self.0.iter_mut().find_map(|invariant| {
            let (node, text) = invariant.see(world, sight).err()?;
            Some(Violation { invariant: invariant.name(), at: world.now, node, text })
        })
    }

    pub(crate) fn figures(&self, figures: &mut Figures) {
        for invariant in &self.0 {
            invariant.figures(figures);
        }
    }
}
