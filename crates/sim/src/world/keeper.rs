//! The privileged process of a daemon. What it decides is the production code (`vipdrift_core::keeper`); how its loop
//! goes from one state to the next is modelled on the daemon's, phase by phase.

#[cfg(test)]
mod absence;
mod hands;

#[cfg(test)]
pub(crate) use self::absence::Left;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use vipdrift_core::keeper::{Budget, Lease, Lives, Mounts, Step, Verdict, WITHOUT_LEASE};
use vipdrift_core::{Carry, Command, Plan, Scope, Timestamp, VipIndex, Words, beat_interval};

use super::brain::ToBrain;
use super::{Thing, World};
use crate::scenario::{Fault, HOLD, NAMES, NodeNumber};

/// A brain that starts afresh has this long to report for duty.
const FRESH_START: Duration = Duration::from_secs(10);
/// A brain that was asked to release everything has this long.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// The shortest silence that counts, with and without real-time priority.
const SILENCE: Duration = Duration::from_millis(100);
const SILENCE_DEGRADED: Duration = Duration::from_millis(300);
/// Before something that the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Before a service manager starts a service again that has failed.
const RESTART: Duration = Duration::from_secs(1);
/// What the kernel takes for a step where it is not slow.
const STEP: Duration = Duration::from_micros(150);

/// What the brain says.
#[derive(Debug, Clone)]
pub(crate) enum ToKeeper {
    Beat { renew: bool, epoch: u64 },
    Apply { plan: Plan, desired: BTreeSet<VipIndex> },
    Words(Words),
    Remember(Carry),
    Exit,
}

/// Where the brain is in its life, as its keeper sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Started; must report for duty in time.
    Starting { until: Duration },
    /// On duty.
    Running,
    /// Dead and not yet reaped; VIPs are held until then.
    DyingHeld { until: Duration },
    /// Dead and not yet reaped; everything is released.
    DyingReleased { restart: Duration },
    /// A new one comes then.
    Waiting { restart: Duration },
    /// Asked to release everything and exit.
    Stopping { until: Duration },
}

/// See the module.
pub(crate) struct Keeper {
    pub(crate) phase: Phase,
    lives: Lives,
    pub(crate) lease: Lease,
    mounts: Mounts,
    budget: Budget,
    pub(crate) words: Option<Words>,
    carry: Option<Carry>,
    /// What the brain being born is handed.
    birth: Option<Carry>,
    pub(crate) number: u64,
    /// It waits for the kernel until then.
    busy: Option<Duration>,
    doing: Option<Step>,
    inbox: VecDeque<ToKeeper>,
    /// It stands still since then.
    pub(crate) frozen: Option<Duration>,
    pub(crate) freeze: u64,
    later: Vec<Thing>,
    /// When the brain last showed itself.
    heard: Duration,
    said_exit: bool,
    /// The interface has changed.
    link_changed: bool,
    look: Option<Duration>,
    retry: Option<Duration>,
    paused: Option<Duration>,
    timer: Option<Duration>,
}

impl Keeper {
    fn new(lease: Lease, world: Duration) -> Self {
        Self {
            phase: Phase::Waiting { restart: world },
            lives: Lives::new(),
            lease,
            mounts: Mounts::default(),
            budget: Budget::default(),
            words: None,
            carry: None,
            birth: None,
            number: 0,
            busy: None,
            doing: None,
            inbox: VecDeque::new(),
            frozen: None,
            freeze: 0,
            later: Vec::new(),
            heard: world,
            said_exit: false,
            link_changed: false,
            look: None,
            retry: None,
            paused: None,
            timer: None,
        }
    }

    /// What was ordered before a gap is not mounted after it.
    fn next_step(&self) -> Step {
        if self.lease.has_gap() { self.mounts.next_without_mounting() } else { self.mounts.next() }
    }

    /// Its clock stood still.
    fn postpone(&mut self, span: Duration) {
        self.heard += span;
        for at in [&mut self.look, &mut self.retry, &mut self.paused].into_iter().flatten() {
            *at += span;
        }
        match &mut self.phase {
            Phase::Starting { until: at }
            | Phase::DyingHeld { until: at }
            | Phase::DyingReleased { restart: at }
            | Phase::Waiting { restart: at }
            | Phase::Stopping { until: at } => *at += span,
            Phase::Running => {}
        }
    }

    /// Nothing is under way that would change what the kernel has.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.phase == Phase::Running
            && self.busy.is_none()
            && self.frozen.is_none()
            && self.retry.is_none()
            && self.look.is_none()
            && self.paused.is_none()
            && self.mounts.next() == Step::Rest
    }
}

impl World {
    fn local(&self, host: usize) -> Timestamp {
        self.hosts[host].clock.read(self.now)
    }

    fn keeper(&mut self, host: usize) -> Option<&mut Keeper> {
        self.hosts[host].keeper.as_mut()
    }

    // ---- Start and end ----------------------------------------------------------------------------------------

    /// The service manager starts the daemon: leftovers are taken off first.
    pub(super) fn start(&mut self, host: usize, life: u64) {
        if self.keeps_for_later(host, || Thing::Start { host, life }, false) {
            return;
        }
        let setup = &self.setup;
        let (now, local) = (self.now, self.local(host));
        let lease = Lease::new(setup.lease(), setup.heartbeat, local);
        let state = &mut self.hosts[host];
        if !state.powered || state.keeper.is_some() || state.life != life {
            return;
        }
        // A brain without a keeper ends at the latest when the next keeper comes.
        state.brain = None;
        if !state.kernel.is_empty() && state.kernel.refuses_unmounts {
            self.say(|| format!("{}: cannot release leftovers; tried again", NAMES[host]));
            return self.push(RESTART, Thing::Start { host, life });
        }
        let leftovers: Vec<VipIndex> = state.kernel.vips().collect();
        let state = &mut self.hosts[host];
        state.life += 1;
        state.keeper = Some(Keeper::new(lease, now));
        for vip in leftovers {
            self.kernel_drops(host, vip);
        }
        self.say(|| format!("{}: the daemon starts", NAMES[host]));
        self.start_brain(host, now + FRESH_START, false);
        self.rest_of_turn(host);
    }

    /// The daemon is asked to end with grace (SIGTERM).
    pub(super) fn stop(&mut self, host: usize) {
        let now = self.now;
        let Some(keeper) = self.keeper(host) else { return };
        match keeper.phase {
            Phase::Starting { .. } | Phase::Running => {
                keeper.phase = Phase::Stopping { until: now + SHUTDOWN };
                self.tell_brain(host, ToBrain::Shutdown);
                self.rest_of_turn(host);
            }
            _ => self.finish(host),
        }
    }

    /// Leaves nothing behind, and ends.
    fn finish(&mut self, host: usize) {
        self.hosts[host].brain = None;
        let released = self.release_all(host);
        let Some(keeper) = self.hosts[host].keeper.take() else { return };
        if released && !keeper.said_exit {
            self.send_word(host, keeper.words.as_ref().map(|words| &words.resigned));
        }
        self.hosts[host].life += 1;
        self.say(|| format!("{}: the daemon has ended", NAMES[host]));
        if std::mem::take(&mut self.hosts[host].start_again) {
            let life = self.hosts[host].life;
            self.push(Duration::from_millis(50), Thing::Start { host, life });
        }
    }

    /// Keeper and brain are killed: the kernel keeps what it has until its lifetime ends.
    pub(super) fn kill_daemon(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.keeper = None;
        state.brain = None;
        state.life += 1;
        state.start_again = false;
        self.change_scene();
    }

    pub(super) fn kill_keeper(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        if state.keeper.take().is_none() {
            return;
        }
        state.life += 1;
        state.start_again = false;
        self.change_scene();
        self.tell_brain(host, ToBrain::KeeperGone);
    }

    // ---- What the brain says ----------------------------------------------------------------------------------

    pub(super) fn tell_keeper(&mut self, host: usize, message: ToKeeper) {
        let Some(keeper) = self.keeper(host) else { return };
        // Nothing overtakes what waits already.
        if keeper.busy.is_some() || keeper.frozen.is_some() || !keeper.inbox.is_empty() {
            return keeper.inbox.push_back(message);
        }
        self.keeper_hears(host, message);
        self.rest_of_turn(host);
    }

    fn keeper_hears(&mut self, host: usize, message: ToKeeper) {
        let (now, local) = (self.now, self.local(host));
        let Some(keeper) = self.keeper(host) else { return };
        if matches!(
            keeper.phase,
            Phase::DyingHeld { .. } | Phase::DyingReleased { .. } | Phase::Waiting { .. }
        ) {
            return;
        }
        match message {
            ToKeeper::Beat { renew, epoch } => {
                keeper.heard = now;
                keeper.lease.beat(renew, epoch, local);
                if matches!(keeper.phase, Phase::Starting { .. }) {
                    keeper.phase = Phase::Running;
                }
            }
            ToKeeper::Apply { plan, desired } => {
                keeper.mounts.order(plan.0, desired.iter().map(|vip| vip.0).collect());
                keeper.paused = None;
            }
            ToKeeper::Words(words) => keeper.words = Some(words),
            ToKeeper::Remember(carry) => {
                let drained = carry.drained.node;
                keeper.carry = Some(carry);
                self.hosts[host].drained = drained;
            }
            ToKeeper::Exit => keeper.said_exit = true,
        }
    }

    /// What is left to do when messages are heard: one step in the kernel, a report, the time of the next look.
    fn rest_of_turn(&mut self, host: usize) {
        self.work(host);
        self.set_timer(host);
    }

    // ---- Brains -----------------------------------------------------------------------------------------------

    pub(super) fn kill_brain(&mut self, host: usize) {
        if self.hosts[host].brain.take().is_some() {
            self.brain_ends(host);
        }
    }

    /// The process ends by itself.
    pub(super) fn brain_process_ends(&mut self, host: usize) {
        self.hosts[host].brain = None;
        self.brain_ends(host);
    }

    fn brain_ends(&mut self, host: usize) {
        let life = self.hosts[host].life;
        self.hosts[host].brain_ended = self.now;
        let Some(number) = self.keeper(host).map(|keeper| keeper.number) else { return };
        let after = Duration::from_micros(200) + self.random.upto(Duration::from_millis(2));
        self.push(after, Thing::BrainGone { host, life, number });
    }

    /// The process is reaped.
    pub(super) fn brain_gone(&mut self, host: usize, life: u64, number: u64) {
        let thing = Thing::BrainGone { host, life, number };
        if self.keeper_is_elsewhere(host, life, thing)
            || self.keeper(host).is_none_or(|keeper| keeper.number != number)
        {
            return;
        }
        // What it had still said is in the pipe.
        self.empty_inbox(host);
        let Some(keeper) = self.keeper(host) else { return };
        match keeper.phase {
            Phase::Stopping { .. } => return self.finish(host),
            Phase::DyingHeld { .. } | Phase::DyingReleased { .. } => {}
            _ => self.brain_lost(host, "has ended", true),
        }
        let Some(keeper) = self.keeper(host) else { return };
        match keeper.phase {
            Phase::DyingHeld { until } => self.start_brain(host, until, true),
            Phase::DyingReleased { restart } => keeper.phase = Phase::Waiting { restart },
            _ => {}
        }
        self.rest_of_turn(host);
    }

    /// The brain is dead or as good as dead.
    fn brain_lost(&mut self, host: usize, what: &str, reaped: bool) {
        let (now, local) = (self.now, self.local(host));
        self.say(|| format!("{}: keeper: the brain {what}", NAMES[host]));
        let lives = self.hosts[host].brain.take().is_some();
        let Some(keeper) = self.keeper(host) else { return };
        // Or its process is not yet ready.
        let killed = lives || matches!(keeper.phase, Phase::Starting { .. }) && !reaped;
        keeper.lease.forbid();
        keeper.mounts.keep_only_held();
        keeper.inbox.clear();
        if matches!(keeper.phase, Phase::Stopping { .. }) {
            return self.finish(host);
        }
        let proven = keeper.phase == Phase::Running && keeper.words.is_some();
        match keeper.lives.died(local, proven) {
            Verdict::Hold => {
                keeper.phase = Phase::DyingHeld { until: now + HOLD };
                let word = keeper.words.clone();
                self.send_word(host, word.as_ref().map(|words| &words.holding));
            }
            Verdict::Release { pause } => self.give_up(host, now + pause),
        }
        if killed {
            self.brain_ends(host);
        }
    }

    fn give_up(&mut self, host: usize, restart: Duration) {
        self.say(|| format!("{}: keeper: releases", NAMES[host]));
        let released = self.release_all(host);
        let Some(keeper) = self.keeper(host) else { return };
        keeper.carry = None;
        keeper.phase = Phase::DyingReleased { restart };
        let word = keeper.words.clone().filter(|_| released);
        self.send_word(host, word.as_ref().map(|words| &words.resigned));
    }

    fn start_brain(&mut self, host: usize, until: Duration, holding: bool) {
        let slow = self.faults().any(
            |fault| matches!(fault, Fault::BrainKilled { on: NodeNumber(on), slow: true } if *on == host),
        );
        let takes = if slow { Duration::from_millis(400) } else { Duration::from_millis(8) };
        let takes = takes + self.random.upto(Duration::from_millis(17));
        let life = self.hosts[host].life;
        let now = self.now;
        let Some(keeper) = self.keeper(host) else { return };
        keeper.number += 1;
        keeper.said_exit = false;
        keeper.birth = if holding { keeper.carry.clone() } else { None };
        keeper.mounts.renumber(keeper.birth.as_ref().map_or(0, |carry| carry.plan));
        keeper.phase = Phase::Starting { until };
        keeper.heard = now;
        let number = keeper.number;
        self.push(takes, Thing::BrainBorn { host, life, number });
    }

    pub(super) fn brain_born(&mut self, host: usize, life: u64, number: u64) {
        if self.keeps_for_later(host, || Thing::BrainBorn { host, life, number }, false) {
            return;
        }
        let state = &mut self.hosts[host];
        if state.life != life || state.brain.is_some() {
            return;
        }
        let Some(keeper) = state.keeper.as_mut().filter(|keeper| keeper.number == number) else { return };
        if !matches!(keeper.phase, Phase::Starting { .. } | Phase::Stopping { .. }) {
            return;
        }
        let epoch = keeper.lease.epoch();
        let resumed = keeper.birth.take();
        let stopping = matches!(keeper.phase, Phase::Stopping { .. });
        self.begin_brain(host, resumed, epoch);
        let facts = self.link_facts(host);
        self.tell_brain(host, ToBrain::Link(facts));
        if let Some(keeper) = self.keeper(host) {
            keeper.mounts.report_anyway();
        }
        if stopping {
            self.tell_brain(host, ToBrain::Shutdown);
        }
        // An operator who found nobody to ask, or got no answer, asks again.
        let drained = self.faults().any(|fault| matches!(fault, Fault::Drained { on } if on.0 == host));
        if self.hosts[host].drained && !drained {
            self.command(host, |ticket| Command::Undrain { ticket, scope: Scope::default() });
        }
        if self.keeper(host).is_some_and(|keeper| keeper.frozen.is_none() && keeper.busy.is_none()) {
            self.rest_of_turn(host);
        }
    }

    fn send_word(&mut self, host: usize, word: Option<&Vec<u8>>) {
        let Some(word) = word else { return };
        let lans = if self.setup.cross_link { 2 } else { 1 };
        for to in (0..self.hosts.len()).filter(|&to| to != host) {
            for lan in 0..lans {
                // Copies of one word, since nobody acknowledges it.
                for _ in 0..2 {
                    self.send_datagram(lan, host, to, word.clone());
                }
            }
        }
    }

    // ---- Time -------------------------------------------------------------------------------------------------

    fn silence_limit(&self) -> Duration {
        let beat = beat_interval(self.setup.heartbeat);
        if self.setup.real_time { SILENCE.max(beat * 3) } else { SILENCE_DEGRADED.max(beat * 6) }
    }

    fn set_timer(&mut self, host: usize) {
        let (now, limit, life) = (self.now, self.silence_limit(), self.hosts[host].life);
        let local = self.local(host);
        let Some(keeper) = self.keeper(host) else { return };
        let phase = match keeper.phase {
            Phase::Starting { until } | Phase::DyingHeld { until } | Phase::Stopping { until } => Some(until),
            Phase::Waiting { restart } => Some(restart),
            Phase::DyingReleased { .. } => None,
            Phase::Running => Some(keeper.heard + limit),
        };
        let renewal = keeper.lease.next(local).map(|due| now + due.since(local));
        let next = [phase, keeper.look, keeper.retry, keeper.paused, renewal].into_iter().flatten().min();
        let Some(next) = next else { return };
        if keeper.timer.is_none_or(|timer| next < timer) {
            keeper.timer = Some(next);
            self.push(next.saturating_sub(now), Thing::KeeperTimer { host, life });
        }
    }

    pub(super) fn keeper_timer(&mut self, host: usize, life: u64) {
        let now = self.now;
        let due = self.keeper(host).and_then(|keeper| keeper.timer).is_some_and(|timer| timer <= now);
        if !due && !self.hosts[host].stands_still() {
            return;
        }
        if self.keeper_is_elsewhere(host, life, Thing::KeeperTimer { host, life }) {
            return;
        }
        let limit = self.silence_limit();
        let Some(keeper) = self.keeper(host) else { return };
        keeper.timer = None;
        if keeper.busy.is_some() {
            // Looked at when the kernel is done.
            return;
        }
        match keeper.phase {
            Phase::Running if now >= keeper.heard + limit => {
                self.brain_lost(host, "was silent and is killed", false)
            }
            Phase::Starting { until } if now >= until => {
                self.brain_lost(host, "was not on duty in time", false)
            }
            Phase::DyingHeld { until } if now >= until => self.give_up(host, now + RESTART),
            Phase::Waiting { restart } if now >= restart => self.start_brain(host, now + FRESH_START, false),
            Phase::Stopping { until } if now >= until => return self.finish(host),
            _ => {}
        }
        self.rest_of_turn(host);
    }

    /// A keeper that stands still, or whose machine does, finds this later. True if it cannot see to it now.
    fn keeper_is_elsewhere(&mut self, host: usize, life: u64, thing: Thing) -> bool {
        if self.hosts[host].life != life || self.hosts[host].keeper.is_none() {
            return true;
        }
        if self.keeps_for_later(host, || thing.clone(), false) {
            return true;
        }
        let Some(keeper) = self.keeper(host) else { return true };
        if keeper.frozen.is_some() {
            keeper.later.push(thing);
            return true;
        }
        if let (Some(busy), Thing::BrainGone { .. }) = (keeper.busy, &thing) {
            self.push(busy.saturating_sub(self.now), thing);
            return true;
        }
        false
    }

    pub(super) fn freeze_keeper(&mut self, host: usize) {
        let (now, life) = (self.now, self.hosts[host].life);
        let lease = self.setup.lease().unwrap_or(WITHOUT_LEASE);
        let Some(keeper) = self.keeper(host).filter(|keeper| keeper.frozen.is_none()) else { return };
        keeper.frozen = Some(now);
        keeper.freeze += 1;
        let freeze = keeper.freeze;
        self.push(lease * 2 / 3, Thing::KeeperMissed { host, life, freeze });
    }

    /// The keeper does not get the processor for a while.
    pub(super) fn delay_keeper(&mut self, host: usize, pause: Duration) {
        let (now, life) = (self.now, self.hosts[host].life);
        let Some(keeper) =
            self.keeper(host).filter(|keeper| keeper.busy.is_none() && keeper.frozen.is_none())
        else {
            return;
        };
        keeper.busy = Some(now + pause);
        self.push(pause, Thing::KeeperDone { host, life });
    }

    pub(super) fn thaw_keeper(&mut self, host: usize) {
        let Some(since) = self.keeper(host).and_then(|keeper| keeper.frozen.take()) else { return };
        self.say(|| format!("{}: its keeper goes on", NAMES[host]));
        self.hosts[host].keeper_went_on = self.now;
        self.keeper_was_away(host, since, false);
        let mut later = self.keeper(host).map(|keeper| std::mem::take(&mut keeper.later)).unwrap_or_default();
        // All that is ready is looked at before any work is done.
        later.sort_by_key(|thing| !matches!(thing, Thing::BrainGone { .. }));
        let free = self.keeper(host).is_some_and(|keeper| keeper.busy.is_none());
        if free {
            self.empty_inbox(host);
        }
        for thing in later {
            self.happen(thing);
        }
        if self.keeper(host).is_some_and(|keeper| keeper.busy.is_none()) {
            self.rest_of_turn(host);
        }
    }

    /// It finds itself late: how late depends on when it would have looked next.
    pub(super) fn keeper_was_away(&mut self, host: usize, since: Duration, unnoticed: bool) {
        let now = self.now;
        let pulse = self.hosts[host].keeper.as_ref().map_or(Duration::ZERO, |keeper| keeper.lease.pulse());
        let until_look = self.random.upto(pulse);
        let Some(keeper) = self.keeper(host) else { return };
        if unnoticed {
            return keeper.postpone(now - since);
        }
        let late = (now - since).saturating_sub(until_look);
        if late > SILENCE / 2 {
            keeper.heard = now;
            if let Phase::Starting { until } | Phase::DyingHeld { until } = &mut keeper.phase {
                *until += late;
            }
        }
        if late <= keeper.lease.patience() {
            return;
        }
        let epoch = keeper.lease.away();
        keeper.look = Some(now);
        keeper.mounts.report_anyway();
        self.say(|| format!("{}: keeper: was away for {late:?}", NAMES[host]));
        self.tell_brain(host, ToBrain::Gap { epoch, missing: late });
    }
}
