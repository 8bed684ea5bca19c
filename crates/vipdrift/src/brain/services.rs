//! What the runner says of checks, and what it is told for the hooks.

use std::collections::BTreeMap;
use std::time::Duration;

use vipdrift_checks::Report;
use vipdrift_core::{CheckIndex, Decision, Event, GroupIndex, Node, RoleName, Timestamp};
use vipdrift_platform::pipe::{MessagePipe, Received};

use crate::config::{Resolved, ServiceCheck};
use crate::message::encode;
use crate::runner::message::{FromRunner, ToRunner, Turn};

/// A runner that is silent for so long looks at nothing, and what is not looked at has failed.
const SILENT: Duration = Duration::from_secs(3);
/// A node that has just begun does not know its roles: hooks are told of them after this, or when something is decided.
const FIRST: Duration = Duration::from_secs(1);

/// Lines of a check's output that are kept with a decision.
const OUTPUT: usize = 5;

/// The runner as the brain sees it.
#[derive(Debug)]
pub(super) struct Services {
    pipe: MessagePipe,
    /// The last report of each check.
    pub(super) reports: Vec<Option<Report>>,
    /// When the runner was last heard.
    heard: Timestamp,
    /// When each last had a look that bears out what is thought of it, and after how long without nobody can be looking.
    seen: Vec<(Timestamp, Duration)>,
    /// Which have been said to be unseen.
    unseen: Vec<bool>,
    /// From then on the runner is told the roles.
    tells_from: Timestamp,
    /// It has been told.
    told: bool,
    /// What it is to answer; a runner that begins anew is asked again.
    asked: BTreeMap<usize, Turn>,
    buffer: Vec<u8>,
}

impl Services {
    /// Says that a brain has begun. One that `resumed` knows its roles.
    pub(super) fn new(pipe: MessagePipe, checks: &[ServiceCheck], resumed: bool, now: Timestamp) -> Self {
        let _ = pipe.send(&encode(&ToRunner::Hello));
        let tells_from = if resumed { now } else { now + FIRST };
        Self {
            pipe,
            reports: vec![None; checks.len()],
            heard: now,
            // That many looks may speak against it before it is thought otherwise.
            seen: checks
                .iter()
                .map(|entry| {
                    let look = entry.check.interval + entry.check.timeout;
                    (now, look * (entry.check.fall.max(entry.check.rise) + 1) + SILENT)
                })
                .collect(),
            unseen: vec![false; checks.len()],
            tells_from,
            told: false,
            asked: BTreeMap::new(),
            buffer: vec![0; 256 * 1024],
        }
    }

    /// To be polled for [`Services::listen`].
    pub(super) fn pipe(&self) -> &MessagePipe {
        &self.pipe
    }

    /// The next thing that the runner says, if it has said anything, and what follows from it.
    pub(super) fn listen(&mut self, node: &Node, now: Timestamp) -> Option<Option<Event<'static>>> {
        let Ok(Received::Message(length)) = self.pipe.receive(&mut self.buffer) else { return None };
        let Ok(message) = serde_json::from_slice(&self.buffer[..length]) else { return Some(None) };
        self.heard = now;
        match message {
            FromRunner::Hello => {
                // A runner that has just begun knows no role.
                if now >= self.tells_from {
                    self.tell_all(node);
                }
                self.asked.values().for_each(|turn| self.say(turn.clone()));
                Some(None)
            }
            FromRunner::Pulse => Some(None),
            FromRunner::Prepared { group, number, outcome } => {
                self.asked.remove(&group);
                Some(Some(Event::Prepared { group: GroupIndex(group), number, outcome }))
            }
            FromRunner::Report { check, report } => {
                let event = event(check, &report);
                if let Some((seen, _)) = self.seen.get_mut(check)
                    && report.passing == Some(report.outcome.good)
                {
                    *seen = now;
                    self.unseen[check] = false;
                }
                if let Some(known) = self.reports.get_mut(check) {
                    *known = Some(report);
                }
                Some(event)
            }
        }
    }

    /// What failing checks of a group last said, a line each.
    pub(super) fn evidence(&self, resolved: &Resolved, group: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (check, report) in resolved.checks.iter().zip(&self.reports) {
            let Some(report) =
                report.as_ref().filter(|report| check.config.group.0 == group && !report.outcome.good)
            else {
                continue;
            };
            let name = &check.config.name;
            lines.push(format!(
                "check {name}: look {} took {} ms: {}",
                report.looks,
                report.took.as_millis(),
                report.outcome.summary
            ));
            let said = report.outcome.output.lines().rev().take(OUTPUT).collect::<Vec<_>>();
            lines.extend(said.into_iter().rev().map(|line| format!("check {name} said: {line}")));
        }
        lines
    }

    /// Tells the runner of a change of role.
    pub(super) fn on_decision(&mut self, decision: &Decision) {
        if decision.from == decision.to {
            return;
        }
        self.say(Turn {
            group: decision.group.0,
            from: decision.from,
            to: decision.to,
            term: decision.term,
            reason: decision.reason.clone(),
            before: None,
        });
    }

    /// Has the hook run that is to succeed before this node is active.
    pub(super) fn prepare(&mut self, group: GroupIndex, number: u64, term: u64, reason: String) {
        let (from, to) = (RoleName::Standby, RoleName::Active);
        let turn = Turn { group: group.0, from, to, term, reason, before: Some(number) };
        self.asked.insert(group.0, turn.clone());
        self.say(turn);
    }

    /// The node is not active after all, and has this role.
    pub(super) fn unprepare(&mut self, group: GroupIndex, role: RoleName, term: u64) {
        self.asked.remove(&group.0);
        let reason = "not active after all".to_owned();
        self.say(Turn { group: group.0, from: RoleName::Standby, to: role, term, reason, before: None });
    }

    /// Tells a runner that has not been told by then.
    pub(super) fn tick(&mut self, node: &Node, now: Timestamp) {
        if !self.told && now >= self.tells_from {
            self.tell_all(node);
        }
    }

    fn tell_all(&mut self, node: &Node) {
        self.told = true;
        for (group, state) in node.snapshot().groups.into_iter().enumerate() {
            self.say(Turn {
                group,
                from: state.role,
                to: state.role,
                term: state.term,
                reason: state.reason,
                before: None,
            });
        }
    }

    fn say(&self, turn: Turn) {
        // A runner that is not there, or does not read, says hello when it is, and is told everything.
        let _ = self.pipe.send(&encode(&ToRunner::Role(turn)));
    }

    /// This thread did not run for a while, so nothing could be heard.
    pub(super) fn forgive(&mut self, now: Timestamp) {
        self.heard = now;
        self.seen.iter_mut().for_each(|(seen, _)| *seen = now);
    }

    /// Checks that nobody looks at any more fail: the runner is silent, or dies again and again before it has looked often
    /// enough. Each is told once.
    pub(super) fn unseen(&mut self, now: Timestamp) -> Vec<Event<'static>> {
        let mut events = Vec::new();
        for (check, (seen, limit)) in self.seen.iter().enumerate() {
            let (silent, limit) = match now.since(self.heard) {
                silent if silent >= SILENT => (silent, &SILENT),
                _ => (now.since(*seen), limit),
            };
            if silent >= *limit && !std::mem::replace(&mut self.unseen[check], true) {
                let why = format!("nobody looks: no result for {} s", silent.as_secs());
                events.push(Event::Check { check: CheckIndex(check), failing: Some(why) });
            }
        }
        events
    }
}

/// What a report means. Before there is a verdict, it means nothing: an earlier one, of an earlier runner, holds.
fn event(check: usize, report: &Report) -> Option<Event<'static>> {
    let failing = match report.passing? {
        // A runner that has begun anew takes a check for passing until it has looked often enough; an earlier one knew better.
        true if !report.outcome.good => return None,
        true => None,
        false if report.outcome.good => return None,
        false => Some(report.outcome.summary.clone()),
    };
    Some(Event::Check { check: CheckIndex(check), failing })
}

#[cfg(test)]
mod tests {
    use vipdrift_checks::Outcome;

    use super::*;

    fn report(passing: Option<bool>, good: bool) -> Report {
        let outcome = Outcome { good, summary: "status 503".into(), output: String::new() };
        Report { passing, outcome, took: Duration::ZERO, looks: 1 }
    }

    #[test]
    fn what_a_report_means() {
        let failing = |why: &str| Some(Event::Check { check: CheckIndex(3), failing: Some(why.to_owned()) });
        let passing = Some(Event::Check { check: CheckIndex(3), failing: None });
        assert_eq!(event(3, &report(None, false)), None);
        assert_eq!(event(3, &report(None, true)), None);
        assert_eq!(event(3, &report(Some(true), true)), passing);
        assert_eq!(event(3, &report(Some(true), false)), None, "not often enough yet: what was known holds");
        assert_eq!(event(3, &report(Some(false), false)), failing("status 503"));
        assert_eq!(event(3, &report(Some(false), true)), None, "not often enough yet: the old reason holds");
    }
}
