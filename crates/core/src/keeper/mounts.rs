//! What is to be mounted, what is, and the next step from the one to the other.

use std::collections::{BTreeMap, BTreeSet};

/// VIPs handled in one request to the kernel: what is done by then is reported before the next begins.
pub const BATCH: usize = 64;
/// Where one batch is not enough the first is smaller, and each twice the last: the first VIPs are announced while the others are
/// mounted.
const FIRST: usize = 4;

/// While a plan is carried out, the brain hears of it each time that a sixteenth more is done: of very many VIPs every report
/// takes as long as what it reports.
const PART: usize = 16;

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
    /// Held and not wanted, refused or not.
    surplus: BTreeSet<usize>,
    /// Wanted, neither held nor lost, refused or not.
    missing: BTreeSet<usize>,
    /// The brain is to hear of it whatever it knows.
    must_report: bool,
    /// Results since the plan, and those of them that no report has told of.
    done: usize,
    untold: usize,
    /// The last report.
    told: Option<Report>,
    /// Something may be different from that.
    changed: bool,
}

impl Mounts {
    /// A new plan replaces whatever is left of the last.
    pub fn order(&mut self, plan: u64, desired: BTreeSet<usize>) {
        self.plan = plan;
        self.desired = desired;
        self.failed.clear();
        self.lost.clear();
        self.compare();
        (self.done, self.untold) = (0, 0);
        self.must_report = true;
    }

    /// What is to be done, from what is wanted and what is there.
    fn compare(&mut self) {
        self.surplus = self.held.difference(&self.desired).copied().collect();
        self.missing =
            self.desired.difference(&self.held).filter(|vip| !self.lost.contains(vip)).copied().collect();
        self.changed = true;
    }

    /// No more VIPs than this in one request to the kernel.
    pub fn limit(&mut self, vips: usize) {
        self.limit = Some(vips);
    }

    /// These are gone, and only the brain may say that they are to be mounted again.
    pub fn lose(&mut self, vips: &[usize]) {
        self.lost.extend(vips);
        self.compare();
    }

    /// Whoever ordered this is gone: what it wanted and has not got is not mounted any more. It was wanted by somebody who
    /// knew what the network looked like then.
    pub fn keep_only_held(&mut self) {
        self.desired.retain(|vip| self.held.contains(vip));
        self.compare();
    }

    /// For a brain that counts its plans from `plan`.
    pub fn renumber(&mut self, plan: u64) {
        self.plan = plan;
        self.told = None;
        self.changed = true;
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
        let off: Vec<_> = self.surplus.iter().filter(waiting).take(most).copied().collect();
        if !off.is_empty() {
            return Step::Unmount(off);
        }
        let size = if self.desired.len() > BATCH { self.held.len().max(FIRST).min(most) } else { most };
        let on: Vec<_> = self.missing.iter().filter(waiting).take(size).copied().collect();
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
                self.missing.remove(&vip);
                if !self.desired.contains(&vip) {
                    self.surplus.insert(vip);
                }
            }
            Err(why) => {
                self.failed.insert(vip, why);
            }
        }
        self.count();
    }

    /// The kernel let `vip` go, or did not.
    pub fn unmounted(&mut self, vip: usize, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.held.remove(&vip);
                self.failed.remove(&vip);
                self.surplus.remove(&vip);
                if self.desired.contains(&vip) && !self.lost.contains(&vip) {
                    self.missing.insert(vip);
                }
            }
            Err(why) => {
                self.failed.insert(vip, why);
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.done += 1;
        self.untold += 1;
        self.changed = true;
    }

    /// The kernel was asked: this is what it has. Answers how that differs from what was believed.
    pub fn observe(&mut self, real: BTreeSet<usize>) -> Differences {
        let gone = self.held.difference(&real).copied().collect();
        let come = real.difference(&self.held).copied().collect();
        if self.held != real {
            self.held = real;
            self.compare();
        }
        Differences { gone, come }
    }

    /// Whether something was refused and waits for another try.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Tries again what was refused.
    pub fn retry(&mut self) {
        self.changed |= !self.failed.is_empty();
        self.failed.clear();
    }

    /// Tell the brain what is mounted, even if nothing has changed.
    pub fn report_anyway(&mut self) {
        self.must_report = true;
    }

    /// Whether there is a report at once.
    pub fn must_report(&self) -> bool {
        self.must_report
    }

    /// What the brain is to know now, if it is to know something that it does not. `goes_on`: another step follows at once.
    pub fn news(&mut self, goes_on: bool) -> Option<Report> {
        let enough = !goes_on || self.untold * PART >= self.done;
        let told = !self.changed || !enough;
        if told && !self.must_report {
            return None;
        }
        let report = self.report();
        let new = std::mem::take(&mut self.must_report) || self.told.as_ref() != Some(&report);
        (self.changed, self.untold) = (false, 0);
        new.then(|| {
            self.told = Some(report.clone());
            report
        })
    }

    /// Everything, as it is.
    fn report(&self) -> Report {
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

    /// What is reported while a kernel that takes everything mounts, and whether each report was the last.
    fn reports(mounts: &mut Mounts) -> Vec<(usize, bool)> {
        let mut reports = Vec::new();
        loop {
            let step = mounts.next();
            if let Step::Mount(vips) = &step {
                vips.iter().for_each(|vip| mounts.mounted(*vip, Ok(())));
            }
            let goes_on = mounts.next() != Step::Rest;
            reports.extend(mounts.news(goes_on).map(|report| (report.mounted.len(), report.complete)));
            if step == Step::Rest {
                return reports;
            }
        }
    }

    #[test]
    fn of_few_every_batch_is_reported_and_of_many_every_sixteenth() {
        let mut mounts = Mounts::default();
        mounts.order(1, set(0..64));
        assert_eq!(reports(&mut mounts), [(64, true)]);
        mounts.order(2, set(0..4064));
        mounts.limit(4);
        let told = reports(&mut mounts);
        assert_eq!(told.first(), Some(&(68, false)));
        assert_eq!(told.last(), Some(&(4064, true)));
        assert!(told.len() < 120, "{}", told.len());
        for two in told.windows(2) {
            let (before, after) = (two[0].0 - 64, two[1].0 - 64);
            assert!(after - before <= before / (PART - 1) + 4, "{two:?}");
        }
    }

    #[test]
    fn what_is_held_up_is_reported_as_it_is() {
        let mut mounts = Mounts::default();
        mounts.order(1, set(0..1000));
        mounts.limit(4);
        for _ in 0..100 {
            let Step::Mount(vips) = mounts.next() else { panic!("nothing to mount") };
            vips.iter().for_each(|vip| mounts.mounted(*vip, Ok(())));
            mounts.news(true);
        }
        let Step::Mount(vips) = mounts.next() else { panic!("nothing to mount") };
        vips.iter().for_each(|vip| mounts.mounted(*vip, Ok(())));
        assert_eq!(mounts.news(true), None);
        let report = mounts.news(false).expect("four more are there");
        assert_eq!((report.mounted.len(), report.complete), (404, false));
        assert_eq!(mounts.news(false), None, "nothing new");
        mounts.report_anyway();
        assert_eq!(mounts.news(true), Some(report));
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
