//! What the keeper is told: the whole set of VIPs to hold, and what a next brain must know.

use std::collections::BTreeSet;

use crate::action::{Action, Plan};
use crate::event::{Carry, CarryCheck, CarryGroup};
use crate::group::{NEXT_PLAN, State};
use crate::node::Node;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tuning::TOGETHER;

/// Characters of a check's reason that the next brain is told.
const CARRIED: usize = 80;

impl Node {
    /// Orders the whole set of VIPs that the groups want, if it has changed.
    pub(crate) fn plan_addresses(&mut self, touched: &BTreeSet<usize>) {
        let mut changed = std::mem::take(&mut self.replan);
        for &group in touched {
            let wanted = self.groups[group].wants_vips();
            // A step that waits for a plan needs one, even if it asks for nothing new.
            changed |= matches!(
                self.groups[group].state,
                State::Mounting { plan: NEXT_PLAN, .. } | State::Releasing { plan: NEXT_PLAN, .. }
            );
            // What was lost while this node was away is not to be mounted with the next plan of another group.
            let proving = matches!(self.groups[group].state, State::Proving { .. });
            for vip in &self.config.groups[group].vips {
                changed |= if !wanted || proving && self.reported && !self.mounted.contains(vip) {
                    self.desired.remove(vip)
                } else {
                    !proving && self.desired.insert(*vip)
                };
            }
        }
        if !changed {
            return;
        }
        self.unplanned.extend(touched);
        if self.is_put_off(self.planned_at) {
            self.replan = true;
            return;
        }
        self.planned_at = self.now;
        self.plan = Plan(self.plan.0 + 1);
        for group in std::mem::take(&mut self.unplanned) {
            match &mut self.groups[group].state {
                State::Mounting { plan, .. } | State::Releasing { plan, .. } if *plan == NEXT_PLAN => {
                    *plan = self.plan;
                }
                _ => {}
            }
        }
        self.act(Action::Apply { plan: self.plan, desired: self.desired.clone() });
    }

    /// What was last done at `last` is not to be done again yet, but soon.
    pub(crate) fn is_put_off(&mut self, last: Timestamp) -> bool {
        let next = last + TOGETHER;
        let wait = self.config.asks_sparingly() && self.now < next && !self.leaving;
        if wait {
            self.timers.set_sooner(Timer::Together, next);
        }
        wait
    }

    /// Hands the keeper what a next brain must know, if that has changed.
    pub(crate) fn remember(&mut self, touched: &BTreeSet<usize>) {
        let now = (self.drained_state(), self.plan.0);
        let mut changed = std::mem::take(&mut self.forgotten) || self.remembered != now;
        self.remembered = now;
        for &group in touched {
            let group = &mut self.groups[group];
            let now = (group.term, group.wants_vips());
            changed |= std::mem::replace(&mut group.remembered, now) != now;
        }
        if !changed {
            return;
        }
        if self.is_put_off(self.remembered_at) {
            self.forgotten = true;
            return;
        }
        self.remembered_at = self.now;
        let groups = self
            .groups
            .iter()
            .filter(|group| group.term > 0)
            .map(|group| CarryGroup { group: group.id.0, term: group.term, active: group.wants_vips() })
            .collect();
        let failing = self.config.checks.iter().zip(&self.checks).filter_map(|(config, check)| {
            // Long enough for people, short enough for a thousand of them.
            let why = check.failing.as_ref()?.chars().take(CARRIED).collect();
            let group = self.groups[config.group.0].id.0;
            Some(CarryCheck { group, check: config.name.clone(), why })
        });
        let failing = failing.collect();
        let (drained, errands) = (self.drained_state(), self.errands_to_carry());
        self.act(Action::Remember(Carry {
            drained,
            plan: self.plan.0,
            groups,
            failing,
            errands,
            ordered: None,
        }));
    }
}
