//! Running hooks.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use vipdrift_checks::{Outcome, Rest, Slot, run_program};
use vipdrift_core::RoleName;

use super::message::{GroupHooks, HookSet, RunnerSetup, Told, Turn};
use super::roles::Roles;
use super::turns::Turns;
use crate::journal::replay::role;
use crate::log::Log;

/// All hooks of a node.
pub(super) struct Hooks {
    cluster: String,
    node: String,
    groups: Vec<GroupHooks>,
    turns: Vec<Turns>,
    /// One program at a time, even where one does not start.
    starts: Vec<Slot>,
    roles: Roles,
    ended: UnboundedSender<Ended>,
    log: Log,
}

/// A hook is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) group: usize,
    /// What the brain waits for: number of its question, and why the node is not to be active.
    pub(super) prepared: Option<(u64, Result<(), String>)>,
}

/// What a hook reads on its standard input.
#[derive(Debug, Serialize)]
struct Document<'d> {
    cluster: &'d str,
    node: &'d str,
    group: &'d str,
    from: &'d str,
    to: &'d str,
    term: u64,
    reason: &'d str,
    interface: &'d str,
    vips: &'d [String],
}

impl Hooks {
    /// Says to `ended` which group's hook is over. Nothing begins before [`Hooks::begin_all`].
    pub(super) fn new(setup: &RunnerSetup, roles: Roles, ended: UnboundedSender<Ended>, log: Log) -> Self {
        Self {
            cluster: setup.cluster.clone(),
            node: setup.node.clone(),
            groups: setup.groups.clone(),
            turns: setup.groups.iter().map(|_| Turns::held()).collect(),
            starts: setup.groups.iter().map(|_| Slot::default()).collect(),
            roles,
            ended,
            log,
        }
    }

    /// No earlier runner has hooks any more.
    pub(super) fn begin_all(&mut self) {
        let known = self.roles.read();
        for group in 0..self.groups.len() {
            let last = known.get(&self.groups[group].group).copied();
            if let Some(next) = self.turns[group].release(last) {
                self.begin(next);
            }
        }
    }

    /// The node has taken a role.
    pub(super) fn turn(&mut self, turn: Turn) {
        let Some(turns) = self.turns.get_mut(turn.group) else { return };
        if self.groups[turn.group].hooks.is_none() {
            return;
        }
        if let Some(next) = turns.add(turn) {
            self.begin(next);
        }
    }

    /// The hook of a group is over.
    pub(super) fn ended(&mut self, group: usize) {
        let next = self.turns[group].ended();
        let left_out = std::mem::take(&mut self.turns[group].left_out);
        if left_out > 0 {
            let name = &self.groups[group].group;
            let text =
                format!("{name}: {left_out} changes of role were over before a hook could run for them");
            self.log.about(name, false, text);
        }
        if let Some(next) = next {
            self.begin(next);
        }
    }

    /// Some hook runs or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.turns.iter().any(Turns::is_busy)
    }

    fn begin(&self, turn: Turn) {
        let index = turn.group;
        let group = &self.groups[index];
        let hook = group.hooks.as_ref().and_then(|hooks| Some((which(hooks, turn.told())?, hooks.timeout)));
        let over =
            move |outcome| Ended { group: index, prepared: turn.before.map(|number| (number, outcome)) };
        let Some(((what, hook), timeout)) = hook else {
            let _ = self.ended.send(over(Ok(())));
            return;
        };
        self.roles.set(&group.group, turn.told());
        let title = format!("{}: hook {what}", group.group);
        let mut exec = match hook {
            Ok(exec) => exec,
            Err(why) => {
                self.log.about(&group.group, true, format_args!("{title}: {why}"));
                let _ = self.ended.send(over(Err(why)));
                return;
            }
        };
        let document = Document {
            cluster: &self.cluster,
            node: &self.node,
            group: &group.group,
            from: role(turn.from),
            to: role(turn.to),
            term: turn.term,
            reason: &turn.reason,
            interface: &group.interface,
            vips: &group.vips,
        };
        let mut input = serde_json::to_vec(&document).unwrap_or_default();
        input.push(b'\n');
        exec.environment = environment(&document);
        let (ended, log, start) = (self.ended.clone(), self.log.clone(), self.starts[index].clone());
        let group = group.group.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let outcome = run_program(&exec, &start, input, timeout, Rest::Stays).await;
            tell(&log, &group, &title, &outcome, begun.elapsed());
            let _ = ended.send(over(if outcome.good { Ok(()) } else { Err(outcome.summary) }));
        });
    }
}

fn tell(log: &Log, group: &str, title: &str, outcome: &Outcome, took: Duration) {
    let millis = took.as_millis();
    log.about(group, !outcome.good, format_args!("{title}: {} after {millis} ms", outcome.summary));
}

/// The hook for a role. A node that is in fault or drained holds nothing, as a standby does: where that has no hook of its
/// own, the standby's serves.
fn which(hooks: &HookSet, told: Told) -> Option<(&'static str, Result<vipdrift_checks::Exec, String>)> {
    let to = match told {
        Told::Before => return hooks.before_active.clone().map(|hook| ("before_active", hook)),
        Told::Role(to) => to,
    };
    let standby = || hooks.standby.clone().map(|hook| ("standby", hook));
    match to {
        RoleName::Active => hooks.active.clone().map(|hook| ("active", hook)),
        RoleName::Standby => standby(),
        RoleName::Fault => hooks.fault.clone().map(|hook| ("fault", hook)).or_else(standby),
        RoleName::Drained => hooks.drained.clone().map(|hook| ("drained", hook)).or_else(standby),
    }
}

fn environment(document: &Document<'_>) -> Vec<(String, String)> {
    [
        ("VIPDRIFT_CLUSTER", document.cluster),
        ("VIPDRIFT_NODE", document.node),
        ("VIPDRIFT_GROUP", document.group),
        ("VIPDRIFT_FROM", document.from),
        ("VIPDRIFT_TO", document.to),
        ("VIPDRIFT_TERM", &document.term.to_string()),
        ("VIPDRIFT_REASON", document.reason),
        ("VIPDRIFT_INTERFACE", document.interface),
        ("VIPDRIFT_VIPS", &document.vips.join(" ")),
    ]
    .map(|(name, value)| (name.to_owned(), value.replace('\0', "")))
    .into()
}
