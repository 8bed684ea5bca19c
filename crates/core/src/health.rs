//! Health checks, as far as decisions go: what a failing one means for its group.

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::NodeId;

use crate::action::{Action, Decision};
use crate::config::{AllUnhealthy, Effect};
use crate::event::CarryCheck;
use crate::group::State;
use crate::node::Node;
use crate::snapshot::RoleName;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tuning::REMEMBER;

/// Why a check fails that has not been looked at.
const NO_RESULT: &str = "no result yet";

/// What is known of a check.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Why it fails; `None`: it passes.
    pub(crate) failing: Option<String>,
    /// Since when.
    pub(crate) since: Timestamp,
    /// It has had a result.
    pub(crate) reported: bool,
    /// It has, or an earlier brain knew one, or none is needed: what is said of it is not for want of a look.
    pub(crate) known: bool,
}

impl Check {
    pub(crate) fn new(passing: bool) -> Self {
        let failing = if passing { None } else { Some(NO_RESULT.to_owned()) };
        Self { failing, since: Timestamp::ZERO, reported: false, known: passing }
    }
}

impl Node {
    /// What an earlier brain knew holds until something else is heard: a VIP does not move for a result that is on its
    /// way.
    pub(crate) fn resume_checks(&mut self, failing: &[CarryCheck]) {
        for (config, check) in self.config.checks.iter().zip(&mut self.checks) {
            let group = self.groups[config.group.0].id.0;
            let known = failing.iter().find(|known| known.group == group && known.check == config.name);
            check.failing = known.map(|known| known.why.clone());
            check.known = true;
        }
    }

    pub(crate) fn on_check(&mut self, index: usize, failing: Option<String>) {
        let Some(check) = self.checks.get_mut(index) else { return };
        let first = !std::mem::replace(&mut check.known, true);
        let (fails, reported) = (failing.is_some(), std::mem::replace(&mut check.reported, true));
        let changed = check.failing.is_some() != fails;
        if changed || !reported {
            check.since = self.now;
        }
        if first {
            let group = self.config.checks[index].group.0;
            self.touch(group);
            self.revisit(group);
        }
        let check = &mut self.checks[index];
        if check.failing == failing {
            return;
        }
        check.failing = failing;
        let config = &self.config.checks[index];
        let (group, name) = (config.group.0, config.name.clone());
        if changed {
            // Many may change at once, and each carries them all.
            self.timers.set_sooner(Timer::Remember, self.now + REMEMBER);
        }
        self.touch(group);
        self.revisit(group);
        if !changed && reported {
            return;
        }
        let of = self.group_name(group).to_owned();
        match self.checks[index].failing.clone() {
            None => self.note(format!("{of}: check {name} passes")),
            Some(why) => {
                let effect = match self.config.checks[index].effect {
                    Effect::Fault if self.keeps_unhealthy(group) => {
                        "; no other node is healthy, keeping the VIPs"
                    }
                    Effect::Fault => "",
                    Effect::Demote => "; this node comes behind healthy ones",
                };
                self.warn(format!("{of}: check {name} fails: {why}{effect}"));
            }
        }
    }

    /// Checks of the group with this effect that fail, a sentence each. One that has had no result fails if it is required.
    pub(crate) fn failing_checks(&self, group: usize, effect: Effect) -> impl Iterator<Item = String> {
        let of_group = self.groups[group].checks.iter();
        let counts = move |index: usize| {
            self.config.checks[index].effect == effect
                && (effect == Effect::Fault || self.checks[index].known)
        };
        of_group.filter(move |&&index| counts(index)).filter_map(|&index| {
            let (why, name) = (self.checks[index].failing.as_ref()?, &self.config.checks[index].name);
            // An earlier brain may have left it so.
            let known = why != NO_RESULT;
            Some(if known {
                format!("check {name} fails: {why}")
            } else {
                format!("check {name} has no result yet")
            })
        })
    }

    /// A required check of the group has not been looked at yet. One that demotes is not waited for: it keeps nobody from
    /// the group who is the only one left.
    pub(crate) fn awaits_checks(&self, group: usize) -> bool {
        self.awaited(group) > 0
    }

    fn awaited(&self, group: usize) -> usize {
        let required = |index: usize| self.config.checks[index].effect == Effect::Fault;
        let checks = self.groups[group].checks.iter();
        checks.filter(|&&index| required(index) && !self.checks[index].known).count()
    }

    /// Nothing is known to be wrong: all that keeps this node from the group are looks that are still to come.
    pub(crate) fn only_awaits_checks(&self, group: usize) -> bool {
        self.set_of(group).any(|one| self.awaits_checks(one))
            && self.set_of(group).all(|one| self.own_faults(one).len() == self.awaited(one))
    }

    /// Some check says that this node should hold the group only if no other can.
    pub(crate) fn is_demoted(&self, group: usize) -> bool {
        self.set_of(group).flat_map(|one| &self.groups[one].checks).any(|&index| {
            let check = &self.checks[index];
            self.config.checks[index].effect == Effect::Demote && check.known && check.failing.is_some()
        })
    }

    /// The same of any node.
    pub(crate) fn is_node_demoted(&self, group: usize, id: NodeId) -> bool {
        if id == self.config.id {
            return self.is_demoted(group);
        }
        let peer = self.peer_index(id).map(|index| &self.peers[index]);
        peer.and_then(|peer| peer.remote(self.groups[group].id)).is_some_and(|state| state.demoted)
    }

    /// This node holds the group, and nobody is known who could hold it better: a failing check is no reason to leave the
    /// clients with nobody at all.
    pub(crate) fn keeps_unhealthy(&self, group: usize) -> bool {
        self.config.groups[group].all_unhealthy == AllUnhealthy::Keep
            && self.holds_of_set(group)
            && !self.config.groups[group]
                .order
                .iter()
                .any(|&id| self.heir_is_ready(group, id) && !self.groups[group].refused.contains_key(&id))
    }

    /// A demoted holder hands the group to a node that is not. True if it does. One that only waits for a result is not
    /// demoted, and neither is the other, which waits as well and would hand it back at once.
    pub(crate) fn gives_way(&mut self, group: usize) -> bool {
        if !self.is_demoted(group) {
            return false;
        }
        let Some(why) = self.failing_checks(group, Effect::Demote).next() else { return false };
        for node in self.config.groups[group].order.clone() {
            let reason = format!("{why}; {} is healthy", self.node_name(node));
            if self.offers(group, node, false, reason) {
                return true;
            }
        }
        false
    }

    /// Hands the group to a peer that can take it now, unless that was in vain a moment ago. True if it does.
    pub(crate) fn offers(&mut self, group: usize, node: NodeId, even_demoted: bool, reason: String) -> bool {
        let (now, id) = (self.now, self.groups[group].id);
        let Some(index) = self.peer_index(node).filter(|_| self.heir_is_ready(group, node)) else {
            return false;
        };
        // Not set for one that is demoted itself; later than now for one that was offered the group in vain.
        let since = self.peers[index].groups.get(&id).and_then(|remote| remote.standby_since);
        let Some(since) = since.or(even_demoted.then_some(now)) else { return false };
        let refused = self.groups[group].refused.get(&node).map(|refused| refused.until);
        let due = refused.map_or(since, |until| until.max(since));
        if now < due {
            self.timers.set_sooner(Timer::Revisit(group), due);
            return false;
        }
        self.groups[group].failing_back = Some(node);
        self.begin_handover(group, node, reason);
        true
    }

    /// Records what has become of groups that this node does not hold.
    pub(crate) fn record_idle(&mut self, touched: &std::collections::BTreeSet<usize>) {
        for &group in touched {
            let known = self.interfaces[self.config.groups[group].interface.0].facts.is_some();
            if !known || self.leaving || !matches!(self.groups[group].state, State::Standby) {
                continue;
            }
            let to = self.idle_role(group);
            let from = std::mem::replace(&mut self.groups[group].shown, to);
            if from == to {
                continue;
            }
            let reason = match (from, to) {
                (_, RoleName::Drained) => "drained by an operator".to_owned(),
                (_, RoleName::Fault) => self.ineligible_reason(group),
                (RoleName::Drained, _) => "undrained by an operator".to_owned(),
                (_, RoleName::Standby | RoleName::Active) => "nothing is wrong any more".to_owned(),
            };
            let (term, group) = (self.groups[group].term, self.group_index(group));
            let evidence = Vec::new();
            self.act(Action::Record(Decision { group, from, to, term, reason, evidence, takeover: None }));
        }
    }
}

#[cfg(test)]
mod tests;
