//! The gate before a mount: where the configuration has a program that must succeed before this node becomes active, such
//! as one that promotes a database, it is run when everything else speaks for a claim.
//!
//! While it runs, the node holds nothing; it goes on asking who answers for the VIPs, and tells the peers that it is
//! claiming, so that they wait for it. When it has succeeded the claim is decided anew, on what is known then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::action::Cause;
use crate::group::{Because, State};
use crate::node::{Node, spell};
use crate::time::Timestamp;
use crate::timer::Timer;

/// How far a group is on its way through the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Gate {
    /// Nothing is on its way.
    #[default]
    Shut,
    /// The program runs, for the claim that has this reason.
    Asked {
        number: u64,
        since: Timestamp,
        until: Timestamp,
        reason: String,
        #[serde(default)]
        held: Held,
    },
    /// It has succeeded.
    Open {
        reason: String,
        took: Duration,
        #[serde(default)]
        held: Held,
    },
}

/// How the group comes to this node, and the last sign of the holder before.
type Held = (Option<Cause>, Option<Timestamp>);

impl Node {
    /// Claims a group, once the gate is open.
    pub(crate) fn claim(&mut self, group: usize, mut because: Because) {
        let Some(limit) = self.config.groups[group].gate else { return self.begin_mounting(group, because) };
        match std::mem::take(&mut self.groups[group].gate) {
            Gate::Open { reason, took, held: (cause, held_until) } => {
                self.timers.cancel(Timer::Gate(group));
                because.evidence.insert(0, format!("before_active succeeded after {}", spell(took)));
                // What set this off may be forgotten by now.
                because.reason = reason;
                (because.cause, because.held_until) =
                    (cause.or(because.cause), held_until.or(because.held_until));
                self.begin_mounting(group, because);
            }
            asked @ Gate::Asked { .. } => self.groups[group].gate = asked,
            Gate::Shut => {
                // Not to be taken for one that an earlier brain has asked for.
                let (number, since) = (self.random.next(), self.now);
                let until = since + limit;
                let held = (because.cause, because.held_until);
                let reason = because.reason;
                let (name, term) = (self.group_name(group).to_owned(), self.groups[group].term + 1);
                self.note(format!("{name}: {reason}; before_active runs first"));
                let index = self.group_index(group);
                self.act(Action::Prepare { group: index, number, term, reason: reason.clone() });
                let g = &mut self.groups[group];
                g.gate = Gate::Asked { number, since, until, reason, held };
                // It is this node now that takes the group; whoever was asked or named before does not.
                g.request = None;
                g.reserved = None;
                g.resigned = false;
                self.timers.set_sooner(Timer::Gate(group), until);
                self.touch(group);
            }
        }
    }

    /// The program runs, or has succeeded for a claim that is still to be made.
    pub(crate) fn is_preparing(&self, group: usize) -> bool {
        self.groups[group].gate != Gate::Shut
    }

    /// It still runs.
    pub(crate) fn awaits_gate(&self, group: usize) -> bool {
        matches!(self.groups[group].gate, Gate::Asked { .. })
    }

    /// This node will not be active after all; what the program has done is to be undone.
    pub(crate) fn shut_gate(&mut self, group: usize) {
        if std::mem::take(&mut self.groups[group].gate) == Gate::Shut {
            return;
        }
        self.timers.cancel(Timer::Gate(group));
        self.touch(group);
        self.unprepare(group);
    }

    /// The hook of this node's role is to run: what the program has done is not wanted any more.
    pub(crate) fn unprepare(&mut self, group: usize) {
        let index = self.group_index(group);
        let (role, term) = (self.idle_role(group), self.groups[group].term);
        self.act(Action::Unprepare { group: index, role, term });
    }

    /// The program is over.
    pub(crate) fn on_prepared(&mut self, group: usize, number: u64, outcome: Result<(), String>) {
        let now = self.now;
        let Some(Gate::Asked { number: asked, since, reason, held, .. }) =
            self.groups.get(group).map(|g| &g.gate)
        else {
            return;
        };
        if *asked != number {
            return;
        }
        match outcome {
            Ok(()) => {
                let (reason, took, held) = (reason.clone(), now.since(*since), *held);
                self.groups[group].gate = Gate::Open { reason, took, held };
                // Peers do not wait for ever for a claim that comes to nothing.
                self.timers.set(Timer::Gate(group), now + self.reservation());
                self.revisit(group);
            }
            Err(why) => self.fail_gate(group, &why),
        }
    }

    pub(crate) fn on_gate_due(&mut self, group: usize) {
        if let Gate::Asked { since, .. } = self.groups[group].gate {
            let why = format!("no end after {}", spell(self.now.since(since)));
            self.fail_gate(group, &why);
        } else {
            self.shut_gate(group);
            self.revisit(group);
        }
    }

    fn fail_gate(&mut self, group: usize, why: &str) {
        debug_assert!(matches!(self.groups[group].state, State::Standby));
        self.note_mount_fault(group, format!("before_active failed: {why}"));
        self.shut_gate(group);
        self.revisit(group);
    }
}

#[cfg(test)]
mod tests;
