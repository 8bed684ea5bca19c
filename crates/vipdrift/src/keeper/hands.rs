//! The keeper's hands: brings the kernel to what is wanted, a batch at a time, and reports.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use vipdrift_core::Timestamp;
use vipdrift_core::keeper::{BATCH, Budget, Lease, Mounts, Permission, Report, Step};
use vipdrift_platform::watch::Watch;

use super::network::{Network, Outcome, Spot, Survey};
use super::routes::Routes;
use crate::log::Log;
use crate::message::ToBrain;

/// The pause before something that the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Surveys because of news are no closer together than this.
const SURVEYS: Duration = Duration::from_millis(5);
/// Nor are readings of the routes, which may be many and change all the time.
const ROUTES: Duration = Duration::from_secs(2);

/// Mounts, lease and network together.
#[derive(Debug)]
pub(crate) struct Hands {
    network: Network,
    mounts: Mounts,
    lease: Lease,
    budget: Budget,
    /// Survey the addresses and links no earlier than this.
    look_at: Option<Timestamp>,
    routes_at: Option<Timestamp>,
    last_survey: Timestamp,
    last_routes: Timestamp,
    /// Try again what was refused.
    retry_at: Option<Timestamp>,
    /// Corrections are on hold until then: somebody else keeps changing the VIPs.
    paused_until: Option<Timestamp>,
    /// VIPs whose renewal is due, when the next of them are renewed, and of how many, and what they have taken.
    renewing: VecDeque<usize>,
    renew_at: Option<Timestamp>,
    renewed: (usize, Duration),
    surveys_fail: bool,
    routes_fail: bool,
}

impl Hands {
    /// Leftovers have been released; `survey` is what was found after that.
    pub(crate) fn new(network: Network, survey: Survey, lease: Lease, now: Timestamp) -> Self {
        let mut mounts = Mounts::default();
        mounts.observe(survey.held);
        Self {
            network,
            mounts,
            lease,
            budget: Budget::default(),
            look_at: None,
            routes_at: None,
            last_survey: now,
            last_routes: now,
            retry_at: None,
            paused_until: None,
            renewing: VecDeque::new(),
            renew_at: None,
            renewed: (0, Duration::ZERO),
            surveys_fail: false,
            routes_fail: false,
        }
    }

    /// To be polled for [`Hands::on_news`].
    pub(crate) fn watch(&self) -> &Watch {
        self.network.watch()
    }

    /// To be polled for [`Hands::on_routes`].
    pub(crate) fn routes(&self) -> &Routes {
        self.network.routes()
    }

    /// The kernel has news. Answers whether [`Hands::watch`] is another one now, which is to be polled anew.
    pub(crate) fn on_news(&mut self) -> bool {
        let news = self.network.news();
        if news.look {
            self.look(false);
        }
        if news.routes {
            self.routes_at.get_or_insert(self.last_routes + ROUTES);
        }
        news.watch_replaced
    }

    /// The routes were read.
    pub(crate) fn on_routes(&mut self, log: &Log) {
        match self.network.take_routes() {
            Ok(new) => {
                self.routes_fail = false;
                if new {
                    self.look(false);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.routes_fail, true) {
                    log.warning(format_args!("keeper: cannot read the routes: {error}; trying on"));
                }
                self.routes_at.get_or_insert(self.last_routes + ROUTES);
            }
        }
    }

    /// Survey soon, and read the routes as well if `routes`.
    pub(crate) fn look(&mut self, routes: bool) {
        let soonest = self.last_survey + SURVEYS;
        self.look_at.get_or_insert(self.paused_until.map_or(soonest, |until| until.max(soonest)));
        if routes {
            self.routes_at.get_or_insert(self.last_routes + ROUTES);
        }
    }

    /// Tell the brain what is mounted, even if nothing has changed.
    pub(crate) fn report_anyway(&mut self) {
        self.mounts.report_anyway();
    }

    /// The address of a VIP, for messages.
    pub(crate) fn address(&self, vip: usize) -> std::net::IpAddr {
        self.network.address(vip)
    }

    /// A new plan.
    pub(crate) fn order(&mut self, plan: u64, desired: BTreeSet<usize>) {
        let v4 = desired.iter().filter(|vip| self.network.address(**vip).is_ipv4()).count();
        self.lease.carry(v4, desired.len() - v4);
        self.mounts.limit(self.lease.batch());
        self.mounts.order(plan, desired);
        self.paused_until = None;
    }

    /// VIPs that the kernel has.
    pub(crate) fn held(&self) -> BTreeSet<usize> {
        self.network.held()
    }

    /// Where the kernel has them.
    pub(crate) fn spots(&self) -> Vec<Spot> {
        self.network.spots()
    }

    /// A new brain numbers its plans from `plan`.
    pub(crate) fn begin_life(&mut self, plan: u64) {
        self.mounts.renumber(plan);
    }

    /// A beat came; what is due is renewed at the next [`Hands::work`].
    pub(crate) fn beat(&mut self, renew: bool, epoch: u64, now: Timestamp) {
        self.lease.beat(renew, epoch, now);
    }

    /// No brain is there to answer for a renewal, or for what is still to be mounted.
    pub(crate) fn forbid(&mut self) {
        self.lease.forbid();
        self.mounts.keep_only_held();
    }

    /// Gives every VIP that is wanted and mounted this lifetime, rounded up to whole seconds: nobody will be here to renew
    /// it. Nothing is renewed any more until [`Hands::restore`].
    ///
    /// # Errors
    /// In a sentence: not every VIP has it, and all get the configured one again.
    pub(crate) fn extend(&mut self, window: Duration, now: Timestamp) -> Result<(), String> {
        if !self.lease.allowed(now) {
            return Err("the brain has not agreed to a renewal lately; try again in a moment".to_owned());
        }
        let window = Duration::from_secs(window.as_secs() + u64::from(window.subsec_nanos() > 0));
        self.lease.extend(window);
        let vips = self.mounts.to_renew();
        let stray = vips.iter().find(|vip| !self.network.has_in_place(**vip));
        let mut refused = stray.map(|vip| (*vip, "it is not on its interface".to_owned()));
        for batch in vips.chunks(BATCH).take_while(|_| stray.is_none()) {
            let results = self.network.mount(batch, self.lease.lifetime()).results;
            let failed = results.into_iter().find_map(|(vip, result)| result.err().map(|why| (vip, why)));
            refused = refused.or(failed);
        }
        let Some((vip, why)) = refused else { return Ok(()) };
        self.lease.restore(now);
        self.look(false);
        Err(format!("{} cannot be given a longer lifetime: {why}", self.network.address(vip)))
    }

    /// The lifetime that is configured, and the one that VIPs get because they are so many, where that is longer.
    pub(crate) fn stretched(&self) -> Option<(Duration, Duration)> {
        self.lease.stretched()
    }

    /// VIPs get the configured lifetime again as soon as a brain agrees to it.
    pub(crate) fn restore(&mut self, now: Timestamp) {
        self.lease.restore(now);
    }

    /// The keeper was away; the number of the gap.
    pub(crate) fn away(&mut self) -> u64 {
        self.lease.away()
    }

    /// Number of the last gap.
    pub(crate) fn epoch(&self) -> u64 {
        self.lease.epoch()
    }

    /// The longest that the keeper may be away without asking the brain again.
    pub(crate) fn patience(&self) -> Duration {
        self.lease.patience()
    }

    /// How often the brain is told that its keeper is at work.
    pub(crate) fn pulse(&self) -> Duration {
        self.lease.pulse()
    }

    /// Everything about an interface, for the brain.
    pub(crate) fn link(&self, interface: usize) -> ToBrain {
        let known = &self.network.interfaces()[interface];
        ToBrain::Link { interface, index: known.index, facts: known.facts.clone() }
    }

    /// Whether [`Hands::work`] has something to do right now.
    pub(crate) fn has_work(&self) -> bool {
        self.mounts.must_report() || self.goes_on()
    }

    fn goes_on(&self) -> bool {
        self.paused_until.is_none() && self.next_step() != Step::Rest
    }

    /// What comes next. What was ordered before a gap is not mounted after it: meanwhile somebody else may hold the VIP,
    /// and only a brain that knows of the gap has asked.
    fn next_step(&self) -> Step {
        if self.lease.has_gap() { self.mounts.next_without_mounting() } else { self.mounts.next() }
    }

    /// When [`Hands::work`] will have something to do.
    pub(crate) fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        [self.look_at, self.routes_at, self.retry_at, self.paused_until, self.renew_at, self.lease.next(now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due: a survey, a renewal, one batch. Answers what the brain is to know.
    pub(crate) fn work(&mut self, now: Timestamp, log: &Log) -> Vec<ToBrain> {
        let mut messages = Vec::new();
        if self.paused_until.is_some_and(|until| now >= until) {
            // What is corrected now counts.
            self.paused_until = match self.budget.ask(now) {
                Permission::NotBefore(at) => Some(at),
                Permission::Yes | Permission::Last => None,
            };
        }
        if self.routes_at.is_some_and(|at| now >= at) {
            self.routes_at = None;
            self.last_routes = now;
            self.network.routes().ask();
        }
        if self.look_at.is_some_and(|at| now >= at) {
            self.survey(now, log, &mut messages);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.mounts.retry();
        }
        if self.lease.take_due(now) {
            self.begin_renewal(now);
        }
        if self.renew_at.is_some_and(|at| now >= at) {
            messages.extend(self.renew(now));
        }
        if self.paused_until.is_none() {
            self.step();
        }
        if self.mounts.has_failed() {
            self.retry_at.get_or_insert(now + RETRY);
        } else {
            self.retry_at = None;
        }
        let goes_on = self.goes_on();
        if let Some(Report { plan, mounted, failed, complete }) = self.mounts.news(goes_on) {
            messages.push(ToBrain::Applied { plan, mounted, failed, complete });
        }
        messages
    }

    fn survey(&mut self, now: Timestamp, log: &Log, messages: &mut Vec<ToBrain>) {
        self.last_survey = now;
        self.look_at = None;
        let survey = match self.network.survey() {
            Ok(survey) => survey,
            Err(error) => {
                if !std::mem::replace(&mut self.surveys_fail, true) {
                    log.warning(format_args!("keeper: cannot look at the addresses: {error}; trying on"));
                }
                self.look_at = Some(now + RETRY);
                return;
            }
        };
        self.surveys_fail = false;
        if !survey.changed.is_empty() {
            messages.extend(survey.changed.iter().map(|i| self.link(*i)));
            // What failed may work now.
            self.mounts.retry();
        }
        for (_, network) in &survey.strays {
            log.warning(format_args!(
                "keeper: {network} is on an interface that is not the one of the configuration (any more); taking it off"
            ));
        }
        if let Err(error) = self.network.clear(&survey.strays) {
            log.warning(format_args!("keeper: cannot take off a VIP: {error}"));
            self.look_at = Some(now + RETRY);
        }
        let differences = self.mounts.observe(self.network.held());
        let come: Vec<_> = differences.come.iter().filter(|vip| !self.mounts.wants(**vip)).copied().collect();
        let gone: Vec<_> = differences.gone.iter().filter(|vip| self.mounts.wants(**vip)).copied().collect();
        if come.is_empty() && gone.is_empty() {
            return;
        }
        // Not ours to mount again before the brain has asked around, and not where there is no network: the brain is
        // told what is left, and decides.
        let heal = |vip: &usize| self.lease.heals(now) && self.network.is_running(*vip);
        let (healed, lost): (Vec<_>, Vec<_>) = gone.iter().copied().partition(heal);
        self.mounts.lose(&lost);
        match self.budget.ask(now) {
            Permission::Yes => {}
            Permission::Last => log.warning(
                "keeper: another program keeps changing the VIPs on this machine; correcting it once per second from now on",
            ),
            Permission::NotBefore(at) => self.paused_until = Some(at),
        }
        let drifted = |vips: &[usize], removed| {
            vips.iter().map(|vip| ToBrain::Drifted { vip: *vip, removed }).collect::<Vec<_>>()
        };
        messages.extend(drifted(&come, false));
        messages.extend(drifted(&healed, true));
    }

    /// What is due, those first whose turn has not come the last time.
    fn begin_renewal(&mut self, now: Timestamp) {
        let due = self.mounts.to_renew();
        let late: Vec<usize> = self.renewing.drain(..).filter(|vip| due.contains(vip)).collect();
        let others = due.into_iter().filter(|vip| !late.contains(vip)).collect::<Vec<_>>();
        self.renewing = late.into_iter().chain(others).collect();
        self.renewed = (self.renewing.len(), Duration::ZERO);
        self.renew_at = Some(now);
    }

    /// One batch of it. Says when it was the last.
    fn renew(&mut self, now: Timestamp) -> Option<ToBrain> {
        self.renew_at = None;
        if !self.lease.allowed(now) {
            self.renewing.clear();
            return None;
        }
        let count = self.renewing.len().min(self.lease.batch());
        // One that is only where it does not belong is not to be there for longer, nor one that is not wanted any more.
        let batch: Vec<usize> = self
            .renewing
            .drain(..count)
            .filter(|vip| self.mounts.renews(*vip) && self.network.has_in_place(*vip))
            .collect();
        let begun = super::now();
        let outcome = self.network.mount(&batch, self.lease.lifetime());
        let (all, took) = &mut self.renewed;
        *took += super::now().since(begun);
        if outcome.uncertain || outcome.results.iter().any(|(_, result)| result.is_err()) {
            self.look_at.get_or_insert(self.last_survey);
            if self.lease.lifetime().is_none() {
                // Nothing else would take away the lifetime that it has still.
                self.lease.restore(now + RETRY);
            }
        }
        if self.renewing.is_empty() {
            self.lease.took(*took, *all);
            let lifetime = self.lease.lifetime();
            return (*all > 0).then_some(ToBrain::Renewed { vips: *all, lifetime });
        }
        self.renew_at = Some(now + self.lease.pause(all.div_ceil(self.lease.batch())));
        None
    }

    fn step(&mut self) {
        let outcome = match self.next_step() {
            Step::Rest => return,
            Step::Unmount(vips) => {
                let outcome = self.network.unmount(&vips);
                self.after(&outcome);
                outcome.results.into_iter().for_each(|(vip, result)| self.mounts.unmounted(vip, result));
                return;
            }
            Step::Mount(vips) => self.network.mount(&vips, self.lease.lifetime()),
        };
        self.after(&outcome);
        outcome.results.into_iter().for_each(|(vip, result)| self.mounts.mounted(vip, result));
    }

    fn after(&mut self, outcome: &Outcome) {
        if outcome.uncertain {
            self.look_at = Some(self.last_survey);
        }
    }

    /// Takes off every VIP of the configuration, and looks whether it is true. Answers whether it is.
    pub(crate) fn release_all(&mut self) -> bool {
        self.mounts.order(0, BTreeSet::new());
        for _ in 0..3 {
            match self.network.survey() {
                Ok(survey) if survey.held.is_empty() => return true,
                Ok(survey) => drop(self.mounts.observe(survey.held)),
                // Blind, but what is believed to be mounted can still be taken off.
                Err(_) => self.mounts.retry(),
            }
            while let Step::Unmount(vips) = self.mounts.next() {
                let outcome = self.network.unmount(&vips);
                outcome.results.into_iter().for_each(|(vip, result)| self.mounts.unmounted(vip, result));
            }
            self.mounts.retry();
        }
        self.network.survey().is_ok_and(|survey| survey.held.is_empty())
    }
}
