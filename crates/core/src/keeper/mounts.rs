//! What is to be mounted, what is, and the next step from the one to the other.

use std::collections::{BTreeMap, BTreeSet};

/// VIPs handled in one request to the kernel: each batch is reported before the next begins.
pub const BATCH: usize = 64;
/// Where one batch is not enough the first is smaller, and each twice the last: the first VIPs are announced while the others are
/// mounted.
const FIRST: usize = 4;

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take these off.
    Unmount(Vec<usize>),
    /// Put these on.
    Mount(Vec<usize>),
    /// Nothing, until something changes.
    Rest,
}

/// How the kernel differs from what was believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Believed mounted, and gone.
    pub gone: Vec<usize>,
    /// There, though not mounted from here.
    pub come: Vec<usize>,
}

/// A report for the brain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number of the plan.
    pub plan: u64,
    /// VIPs that the kernel has.
    pub mounted: Vec<usize>,
    /// VIPs that it refused to mount or unmount, and why.
    pub failed: Vec<(usize, String)>,
    /// Nothing of the plan is left to do.
    pub complete: bool,
}

/// VIPs by their position in the configuration.
#[derive(Debug, Default)]
pub struct Mounts {
    plan: u64,
    desired: BTreeSet<usize>,
    held: BTreeSet<usize>,
    /// Steps that the kernel refused; not tried again before [`Mounts::retry`].
    failed: BTreeMap<usize, String>,
    /// VIPs in one request at most, if fewer than [`BATCH`].
    limit: Option<usize>,
    /// Wanted, but lost while nobody could answer for them; not mounted again before the next plan.
    lost: BTreeSet<usize>,
}

impl Mounts {
    /// A new plan replaces whatever is left of the last.
    pub fn order(&mut self, plan: u64, desired: BTreeSet<usize>) {
        self.plan = plan;
        self.desired = desired;
        self.failed.clear();
        self.lost.clear();
    }

    /// No more VIPs than this in one request to the kernel.
    pub fn limit(&mut self, vips: usize) {
        self.limit = Some(vips);
    }

    /// These are gone, and only the brain may say that they are to be mounted again.
    pub fn lose(&mut self, vips: &[usize]) {
        self.lost.extend(vips);
    }

    /// Whoever ordered this is gone: what it wanted and has not got is not mounted any more. It was wanted by somebody who
    /// knew what the network looked like then.
    pub fn keep_only_held(&mut self) {
        self.desired.retain(|vip| self.held.contains(vip));
    }

    /// For a brain that counts its plans from `plan`.
    pub fn renumber(&mut self, plan: u64) {
        self.plan = plan;
    }

    /// VIPs that the kernel has, as far as known.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<usize> {
        &self.held
    }

    /// VIPs that are wanted and there: those whose lease is to be renewed.
    pub fn to_renew(&self) -> Vec<usize> {
        self.held.intersection(&self.desired).copied().collect()
    }

    /// Whether `vip` is one of them.
    pub fn renews(&self, vip: usize) -> bool {
        self.held.contains(&vip) && self.desired.contains(&vip)
    }

    /// Whether `vip` is wanted.
    pub fn wants(&self, vip: usize) -> bool {
        self.desired.contains(&vip)
    }

    /// What comes next: nothing is mounted while something is still to be taken off.
    pub fn next(&self) -> Step {
        let waiting = |vip: &&usize| !self.failed.contains_key(vip);
        let most = self.limit.unwrap_or(BATCH).clamp(1, BATCH);
        let off: Vec<_> = self.held.difference(&self.desired).filter(waiting).take(most).copied().collect();
        if !off.is_empty() {
            return Step::Unmount(off);
        }
        let missing = self.desired.difference(&self.held).filter(|vip| !self.lost.contains(vip));
        let size = if self.desired.len() > BATCH { self.held.len().max(FIRST).min(most) } else { most };
        let on: Vec<_> = missing.filter(waiting).take(size).copied().collect();
        if on.is_empty() { Step::Rest } else { Step::Mount(on) }
    }

    /// What comes next where nothing may be mounted: taking off is always right.
    pub fn next_without_mounting(&self) -> Step {
        match self.next() {
            Step::Mount(_) => Step::Rest,
            step => step,
        }
    }

    /// The kernel took `vip`, or did not.
    pub fn mounted(&mut self, vip: usize, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.held.insert(vip);
                self.failed.remove(&vip);
            }
            Err(why) => {
                self.failed.insert(vip, why);
            }
        }
    }

    /// The kernel let `vip` go, or did not.
    pub fn unmounted(&mut self, vip: usize, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.held.remove(&vip);
                self.failed.remove(&vip);
            }
            Err(why) => {
                self.failed.insert(vip, why);
            }
        }
    }

    /// The kernel was asked: this is what it has. Answers how that differs from what was believed.
    pub fn observe(&mut self, real: BTreeSet<usize>) -> Differences {
        let gone = self.held.difference(&real).copied().collect();
        let come = real.difference(&self.held).copied().collect();
        self.held = real;
        Differences { gone, come }
    }

    /// Whether something was refused and waits for another try.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Tries again what was refused.
    pub fn retry(&mut self) {
        self.failed.clear();
    }

    /// What the brain is to know now.
    pub fn report(&self) -> Report {
        Report {
            plan: self.plan,
            mounted: self.held.iter().copied().collect(),
            failed: self.failed.iter().map(|(vip, why)| (*vip, why.clone())).collect(),
            complete: self.next() == Step::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(vips: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        vips.into_iter().collect()
    }

    /// Carries out steps on a kernel that takes everything, until there is rest; the steps.
    fn carry_out(mounts: &mut Mounts) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = mounts.next();
            match &step {
                Step::Rest => return steps,
                Step::Unmount(vips) => vips.iter().for_each(|v| mounts.unmounted(*v, Ok(()))),
                Step::Mount(vips) => vips.iter().for_each(|v| mounts.mounted(*v, Ok(()))),
            }
            steps.push(step);
        }
    }

    #[test]
    fn unmounts_before_it_mounts() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0, 1]));
        assert_eq!(carry_out(&mut mounts), [Step::Mount(vec![0, 1])]);
        mounts.order(2, set([1, 2]));
        assert_eq!(carry_out(&mut mounts), [Step::Unmount(vec![0]), Step::Mount(vec![2])]);
        assert_eq!(mounts.held(), &set([1, 2]));
    }

    #[test]
    fn many_go_in_batches_and_the_newest_plan_wins() {
        let mut mounts = Mounts::default();
        mounts.order(1, set(0..150));
        let Step::Mount(first) = mounts.next() else { panic!("nothing to mount") };
        assert_eq!(first, (0..4).collect::<Vec<_>>());
        first.iter().for_each(|v| mounts.mounted(*v, Ok(())));
        assert!(!mounts.report().complete);
        assert_eq!(mounts.report().mounted.len(), 4);
        mounts.order(2, set([]));
        assert_eq!(carry_out(&mut mounts), [Step::Unmount((0..4).collect())]);
        mounts.order(3, set(0..150));
        let sizes: Vec<usize> = carry_out(&mut mounts)
            .iter()
            .map(|step| match step {
                Step::Mount(vips) => vips.len(),
                step => panic!("{step:?}"),
            })
            .collect();
        assert_eq!(sizes, [4, 4, 8, 16, 32, 64, 22]);
        mounts.limit(16);
        mounts.order(2, set(50..150));
        assert!(carry_out(&mut mounts).iter().all(|step| match step {
            Step::Mount(vips) | Step::Unmount(vips) => vips.len() <= 16,
            Step::Rest => false,
        }));
        mounts.order(2, set([]));
        carry_out(&mut mounts);
        assert_eq!(mounts.report(), Report { plan: 2, mounted: vec![], failed: vec![], complete: true });
    }

    #[test]
    fn an_order_can_wait_while_what_is_too_much_goes() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0]));
        carry_out(&mut mounts);
        mounts.order(2, set([1]));
        assert_eq!(mounts.next_without_mounting(), Step::Unmount(vec![0]));
        mounts.unmounted(0, Ok(()));
        assert_eq!(mounts.next_without_mounting(), Step::Rest);
        assert!(!mounts.report().complete, "it is still to come");
        assert_eq!(mounts.next(), Step::Mount(vec![1]));
    }

    #[test]
    fn what_the_kernel_refuses_is_reported_and_not_tried_again_by_itself() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0, 1]));
        mounts.mounted(0, Ok(()));
        mounts.mounted(1, Err("no such device".into()));
        let report = mounts.report();
        assert!(report.complete);
        assert_eq!(report.failed, [(1, "no such device".to_owned())]);
        mounts.retry();
        assert_eq!(mounts.next(), Step::Mount(vec![1]));
    }

    #[test]
    fn what_was_lost_waits_for_the_next_plan() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0, 1]));
        carry_out(&mut mounts);
        let differences = mounts.observe(set([1]));
        mounts.lose(&differences.gone);
        assert_eq!(mounts.next(), Step::Rest);
        assert_eq!(mounts.report(), Report { plan: 1, mounted: vec![1], failed: vec![], complete: true });
        mounts.order(2, set([0, 1]));
        assert_eq!(mounts.next(), Step::Mount(vec![0]));
    }

    #[test]
    fn an_order_of_somebody_who_is_gone_mounts_nothing_more() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0]));
        carry_out(&mut mounts);
        mounts.order(2, set([0, 1]));
        mounts.keep_only_held();
        assert_eq!(mounts.next(), Step::Rest);
        mounts.observe(set([]));
        mounts.lose(&[0]);
        mounts.keep_only_held();
        mounts.order(3, set([1]));
        assert_eq!(mounts.next(), Step::Mount(vec![1]));
    }

    #[test]
    fn what_others_do_shows_and_is_set_right() {
        let mut mounts = Mounts::default();
        mounts.order(1, set([0, 1]));
        carry_out(&mut mounts);
        let differences = mounts.observe(set([1, 2]));
        assert_eq!(differences, Differences { gone: vec![0], come: vec![2] });
        assert_eq!(carry_out(&mut mounts), [Step::Unmount(vec![2]), Step::Mount(vec![0])]);
        assert_eq!(mounts.observe(set([0, 1])), Differences::default());
    }
}
