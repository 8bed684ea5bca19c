//! The keeper's loop: waits, notices, and sees the brain through its lives.

mod change;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use vipdrift_core::keeper::{Lives, Verdict};
use vipdrift_core::{Carry, Drained, Timestamp};
use vipdrift_platform::clock;
use vipdrift_platform::descriptor::Owned;
use vipdrift_platform::manager::Manager;
use vipdrift_platform::poll::{Poller, Ready, Signal, Signals};
use vipdrift_platform::process::Child;

use self::change::{Successor, Wish};
use super::Options;
use super::child::{Brain, Heard, how};
use super::hands::Hands;
use super::lifetimes::{self, Lifetimes};
use super::runner::Runner;
use super::sockets::Sockets;
use super::succession::Succession;
use crate::config::{HOLD, Loaded, Resolved, Secrets};
use crate::log::Log;
use crate::message::{Life, ToBrain, ToKeeper};

/// A brain that starts afresh has this long to report for duty.
const FRESH_START: Duration = Duration::from_secs(10);
/// A brain that was asked to release everything has this long.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// A brain that has said that it exits has this long to write its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// A runner that was told to finish has this long, whatever its hooks may take.
const OLD_RUNNER: Duration = Duration::from_secs(2);
/// How often a dying brain is looked at.
const DYING: Duration = Duration::from_millis(10);
/// The longest time between two looks at everything.
const LOOK: Duration = Duration::from_secs(10);
/// The shortest silence that counts, for a brain with real-time priority.
const SILENCE: Duration = Duration::from_millis(100);
/// The same for one without: the machine may keep it waiting longer than that.
const SILENCE_DEGRADED: Duration = Duration::from_millis(300);

/// What the poller waits for.
mod token {
    pub(super) const PIPE: u64 = 1;
    pub(super) const PROCESS: u64 = 2;
    pub(super) const SIGNALS: u64 = 3;
    pub(super) const WATCH: u64 = 4;
    pub(super) const ROUTES: u64 = 5;
    pub(super) const RUNNER: u64 = 6;
    pub(super) const OLD_RUNNER: u64 = 7;
    pub(super) const EXAMINATION: u64 = 8;
    pub(super) const LIFETIMES: u64 = 9;
    pub(super) const REMAINS: u64 = 10;
}

/// Where the brain is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Started; must report for duty in time.
    Starting { until: Timestamp, holding: bool },
    /// On duty.
    Running,
    /// Dead or killed, and may still do something. VIPs are held until then.
    DyingHeld { until: Timestamp },
    /// Dead or killed, and may still do something. Everything is released.
    DyingReleased { restart: Timestamp },
    /// No brain; a new one comes then.
    Waiting { restart: Timestamp },
    /// Asked to release everything and exit.
    Stopping { until: Timestamp },
    /// Asked to end, since another keeper is to come.
    Retiring { until: Timestamp },
}

/// What the driver is made of.
pub(super) struct Parts {
    pub(super) log: Log,
    pub(super) options: Options,
    pub(super) loaded: Loaded,
    pub(super) secrets: Secrets,
    pub(super) resolved: Resolved,
    pub(super) sockets: Sockets,
    pub(super) hands: Hands,
    /// Whether addresses end by themselves here.
    pub(super) lifetimes: Lifetimes,
    /// Brains are started with less than this process has.
    pub(super) confined: bool,
    /// The file that another version would be put into.
    pub(super) file: Option<PathBuf>,
    pub(super) signals: Signals,
    /// The memory file that every brain gets.
    pub(super) setup: Owned,
    /// What an operator had drained.
    pub(super) drained: Drained,
    /// Runs checks and hooks, if there are any.
    pub(super) runner: Option<Runner>,
    /// What an earlier keeper in this process has left.
    pub(super) left: Option<Succession>,
}

/// The keeper at work.
pub(super) struct Driver {
    parts: Parts,
    poller: Poller,
    brain: Option<Brain>,
    phase: Phase,
    number: u32,
    lives: Lives,
    words: Option<(Vec<u8>, Vec<u8>)>,
    carry: Option<Carry>,
    /// The brain that begins does so because this was ordered.
    ordered: Option<String>,
    said_exit: bool,
    /// The brain was lost before it could be known how.
    unexplained: bool,
    next_look: Timestamp,
    next_pulse: Timestamp,
    /// The service manager, if one wants to be told, and when it is told next that this process is alive.
    manager: Option<Manager>,
    next_sign: Option<Timestamp>,
    finished: bool,
    /// What somebody wants that is being looked at.
    wish: Option<Wish>,
    /// A keeper is to come.
    successor: Option<Successor>,
    /// The runner of an earlier keeper, which comes to its end by itself, and until when.
    old_runner: Option<(Child, Timestamp)>,
    /// Processes that were killed and whose end is still to come.
    leftovers: Vec<Child>,
    /// Brains that were killed and whose last threads wait for a disk. They have this process's sockets still.
    remains: Vec<Child>,
    /// See [`Hands::stretched`], as it was last told.
    stretched: Option<(Duration, Duration)>,
}

/// A ticket of nobody who could be answered.
const NOBODY: u64 = 0;

/// The time now.
pub(super) fn now() -> Timestamp {
    Timestamp::ZERO + clock::boot_time()
}

impl Driver {
    /// Everything is open, leftovers are released, nothing runs yet.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&parts.signals, token::SIGNALS)?;
        poller.add(parts.hands.watch(), token::WATCH)?;
        poller.add(parts.hands.routes().news(), token::ROUTES)?;
        poller.add(parts.lifetimes.news(), token::LIFETIMES)?;
        let now = now();
        let manager = Manager::find();
        Ok(Self {
            parts,
            poller,
            brain: None,
            phase: Phase::Waiting { restart: now },
            number: 0,
            lives: Lives::new(),
            words: None,
            carry: None,
            ordered: None,
            said_exit: false,
            unexplained: false,
            next_look: now + LOOK,
            next_pulse: now,
            next_sign: manager.as_ref().and_then(Manager::watchdog).map(|_| now),
            manager,
            finished: false,
            wish: None,
            successor: None,
            old_runner: None,
            leftovers: Vec::new(),
            remains: Vec::new(),
            stretched: None,
        })
    }

    /// Keeps until it is told to stop. Answers whether everything is released.
    pub(super) fn run(mut self) -> bool {
        let mut ready: Vec<Ready> = Vec::new();
        let mut last = now();
        if let Some(left) = self.parts.left.take() {
            self.take_over(left);
        }
        while !self.finished {
            let before = now();
            self.notice_absence(before.since(last), before);
            let next = self.next_moment(before);
            if let Err(error) = self.poller.wait(&mut ready, Some(next.since(before))) {
                self.parts.log.warning(format_args!("keeper: cannot wait: {error}"));
                break;
            }
            last = now();
            self.notice_absence(last.since(next.max(before)), last);
            // The brain first: what it says may be what keeps it alive.
            self.listen();
            for event in &ready {
                match event.token {
                    token::SIGNALS => self.on_signals(),
                    token::WATCH => self.on_news(),
                    token::ROUTES => self.parts.hands.on_routes(&self.parts.log),
                    token::PROCESS => self.on_process_end(),
                    token::RUNNER => self.on_runner_end(),
                    token::OLD_RUNNER => self.on_old_runner_end(),
                    token::EXAMINATION => self.on_examined(),
                    token::LIFETIMES => self.on_lifetimes(),
                    token::REMAINS => self.on_remains_end(),
                    _ => {}
                }
            }
            self.on_time(now());
            self.work();
        }
        self.finish()
    }

    fn next_moment(&self, now: Timestamp) -> Timestamp {
        if self.parts.hands.has_work() {
            return now;
        }
        let phase = match self.phase {
            Phase::Starting { until, .. } | Phase::Stopping { until } => until,
            Phase::Retiring { until } => until.min(self.ended_from().unwrap_or(until)),
            Phase::Waiting { restart } => restart,
            Phase::DyingHeld { until } => until.min(now + DYING),
            Phase::DyingReleased { .. } => now + DYING,
            Phase::Running => self.silent_from().unwrap_or(self.next_look),
        };
        let mut next = phase
            .min(self.next_look)
            .min(self.next_pulse)
            .min(self.parts.hands.next_moment(now).unwrap_or(phase));
        if let Some(due) = self.parts.runner.as_ref().and_then(Runner::due) {
            next = next.min(due);
        }
        if let Some(wish) = &self.wish {
            next = next.min(wish.until());
        }
        if let Some(sign) = self.next_sign {
            next = next.min(sign);
        }
        if let Some((_, until)) = &self.old_runner {
            next = next.min((*until).max(now + Duration::from_millis(20)));
        }
        if self.brain.as_ref().is_some_and(Brain::has_waiting) {
            next = next.min(now + Duration::from_millis(5));
        }
        next
    }

    /// Three beats, and no less than machines are busy for anyway.
    fn silence_limit(&self, brain: &Brain) -> Duration {
        let beat = vipdrift_core::beat_interval(self.parts.resolved.heartbeat);
        if brain.real_time { SILENCE.max(beat * 3) } else { SILENCE_DEGRADED.max(beat * 6) }
    }

    /// When the brain will have been silent for too long, if it says nothing until then.
    fn silent_from(&self) -> Option<Timestamp> {
        self.brain.as_ref().map(|brain| brain.heard + self.silence_limit(brain))
    }

    /// The same for one that retires, which ends its journal in silence.
    fn ended_from(&self) -> Option<Timestamp> {
        self.brain.as_ref().map(|brain| brain.heard + LAST_LINES)
    }

    /// This loop itself was `late`. The machine was frozen, or busy beyond words; the brain may have been too.
    fn notice_absence(&mut self, late: Duration, now: Timestamp) {
        if late > SILENCE / 2
            && let Some(brain) = &mut self.brain
        {
            // Its silence is judged by time in which it could have been heard.
            brain.heard = now;
            if let Phase::Starting { until, .. } | Phase::DyingHeld { until } = &mut self.phase {
                *until = *until + late;
            }
        }
        if late > self.parts.hands.patience() {
            self.parts.log.warning(format_args!(
                "keeper: was away for {} ms; nothing is renewed before the brain has asked around",
                late.as_millis()
            ));
            let epoch = self.parts.hands.away();
            self.say(&ToBrain::Gap { epoch, missing: late });
            self.parts.hands.look(true);
            self.parts.hands.report_anyway();
        }
    }

    fn say(&mut self, message: &ToBrain) {
        if let Some(brain) = &mut self.brain {
            brain.say(message);
        }
    }

    /// Everything that the brain has said.
    fn listen(&mut self) {
        loop {
            let Some(brain) = &mut self.brain else { return };
            match brain.receive() {
                Heard::Message(message) => self.on_message(message),
                Heard::Nothing => return,
                Heard::Lost => {
                    if matches!(self.phase, Phase::Retiring { .. }) {
                        return self.make_way();
                    }
                    if !matches!(self.phase, Phase::DyingHeld { .. } | Phase::DyingReleased { .. }) {
                        self.unexplained = true;
                        self.on_brain_lost("is gone");
                    }
                    return;
                }
            }
        }
    }

    fn on_message(&mut self, message: ToKeeper) {
        let now = now();
        let Some(brain) = &mut self.brain else { return };
        // What a killed brain had still said is no longer of interest.
        if matches!(self.phase, Phase::DyingHeld { .. } | Phase::DyingReleased { .. }) {
            return;
        }
        match message {
            ToKeeper::Ready { real_time } => {
                brain.ready = true;
                brain.real_time = real_time;
            }
            ToKeeper::Beat { renew, epoch } => {
                brain.beaten = true;
                brain.heard = now;
                self.parts.hands.beat(renew, epoch, now);
                self.on_duty(now);
            }
            ToKeeper::Apply { plan, desired } => {
                let known = self.parts.resolved.vips.len();
                let desired: BTreeSet<_> = desired.into_iter().filter(|vip| *vip < known).collect();
                self.parts.hands.order(plan, desired);
            }
            ToKeeper::Words { holding, resigned } => self.words = Some((holding, resigned)),
            ToKeeper::Remember(carry) => {
                self.parts.drained.clone_from(&carry.drained);
                self.carry = Some(carry);
            }
            ToKeeper::Succeed { restart, keep, ticket } => self.wish(restart, keep, ticket),
            ToKeeper::Absence(signed) => self.on_signed(signed),
            ToKeeper::Answered(answers) => self.on_answered(&answers),
            ToKeeper::Exit => {
                self.said_exit = true;
                if let Phase::Stopping { until } = &mut self.phase {
                    *until = (*until).min(now + LAST_LINES);
                }
            }
        }
    }

    /// A brain that has said that it runs, and has beaten, is on duty.
    fn on_duty(&mut self, now: Timestamp) {
        let Phase::Starting { holding, .. } = self.phase else { return };
        let Some(brain) = self.brain.as_ref().filter(|brain| brain.ready && brain.beaten) else { return };
        if holding {
            let took = now.since(brain.started).as_millis();
            let which = match &self.ordered {
                Some(what) => format!("the brain of the {what}"),
                None => "a new brain".to_owned(),
            };
            self.parts.log.info(format_args!("keeper: {which} is on duty after {took} ms"));
        } else if self.number > 1 {
            self.parts.log.info("keeper: a new brain is on duty, started afresh");
        }
        self.ordered = None;
        self.phase = Phase::Running;
        if let Some(manager) = &self.manager {
            let Resolved { name, groups, .. } = &self.parts.resolved;
            manager.ready(&format!("node {name}, {} groups", groups.len()));
        }
    }

    fn on_news(&mut self) {
        if self.parts.hands.on_news()
            && let Err(error) = self.poller.add(self.parts.hands.watch(), token::WATCH)
        {
            self.parts.log.warning(format_args!(
                "keeper: no news of the kernel any more ({error}); looking every {} s",
                LOOK.as_secs()
            ));
        }
    }

    /// It has been found out whether addresses end by themselves.
    fn on_lifetimes(&mut self) {
        self.parts.lifetimes.news().clear();
        let known = self.parts.lifetimes.known();
        if known != lifetimes::GRANTED {
            self.parts.log.warning(format_args!("degraded: {known}"));
        }
        self.tell_lease();
    }

    /// What is to be known of the lifetimes of VIPs.
    fn tell_lease(&mut self) {
        let known = match self.stretched {
            Some(stretched) if self.parts.lifetimes.end() => lifetimes::stretched(stretched),
            _ => self.parts.lifetimes.known(),
        };
        self.say(&ToBrain::Lease(known));
    }

    /// Says so when VIPs get a longer lifetime than is configured, because they are many, and when they do no longer.
    fn look_at_lease(&mut self) {
        let stretched = self.parts.hands.stretched();
        if stretched == self.stretched {
            return;
        }
        self.stretched = stretched;
        match stretched {
            Some(stretched) => {
                self.parts.log.warning(format_args!("degraded: {}", lifetimes::stretched(stretched)));
            }
            None => self.parts.log.info(format_args!("keeper: VIPs live as long as is configured again")),
        }
        self.tell_lease();
    }

    fn on_process_end(&mut self) {
        let Some(brain) = &self.brain else { return };
        let ended = match brain.child.reap() {
            Ok(None) => return,
            Ok(Some(exit)) => how(exit),
            Err(error) => format!("cannot be reaped: {error}"),
        };
        // Its last words are in the pipe still.
        if !matches!(self.phase, Phase::DyingHeld { .. } | Phase::DyingReleased { .. }) {
            while let Some(Heard::Message(message)) = self.brain.as_mut().map(Brain::receive) {
                self.on_message(message);
            }
            if matches!(self.phase, Phase::Stopping { .. }) {
                self.bury();
                self.finished = true;
                return;
            }
            if matches!(self.phase, Phase::Retiring { .. }) {
                return self.make_way();
            }
            self.on_brain_lost(&ended);
        } else if std::mem::take(&mut self.unexplained) {
            self.parts.log.info(format_args!("keeper: the brain {ended}"));
        }
        self.after_burial();
    }

    /// The brain is dead or as good as dead: `what` happened to it.
    fn on_brain_lost(&mut self, what: &str) {
        let now = now();
        let Some(brain) = &self.brain else { return };
        let _ = brain.child.kill();
        // A closed pipe is readable for ever.
        let _ = self.poller.remove(brain.pipe());
        self.parts.hands.forbid();
        if matches!(self.phase, Phase::Stopping { .. }) {
            self.finished = true;
            return;
        }
        self.ordered = None;
        let proven = self.phase == Phase::Running && self.words.is_some();
        let log = &self.parts.log;
        match self.lives.died(now, proven) {
            Verdict::Hold => {
                if let Some((holding, _)) = &self.words {
                    self.parts.sockets.tell(&self.parts.resolved.paths, holding);
                }
                log.warning(format_args!(
                    "keeper: the brain {what}; holding the VIPs and starting a new one"
                ));
                self.phase = Phase::DyingHeld { until: now + HOLD };
            }
            Verdict::Release { pause } => {
                let secs = pause.as_secs();
                log.warning(format_args!(
                    "keeper: the brain {what}; releasing the VIPs, a new one comes in {secs} s"
                ));
                self.give_up(now + pause);
            }
        }
    }

    /// Releases and resigns; a new brain is started afresh.
    fn give_up(&mut self, restart: Timestamp) {
        self.release_and_resign();
        self.carry = None;
        self.phase = Phase::DyingReleased { restart };
    }

    fn release_and_resign(&mut self) -> bool {
        let released = self.parts.hands.release_all();
        if released && let Some((_, resigned)) = &self.words {
            self.parts.sockets.tell(&self.parts.resolved.paths, resigned);
        }
        released
    }

    /// The brain's process is gone for good, or can do nothing any more.
    fn bury(&mut self) {
        if let Some(brain) = self.brain.take() {
            let _ = self.poller.remove(brain.pipe());
            let _ = self.poller.remove(&brain.child);
            if matches!(brain.child.reap(), Ok(None)) {
                let _ = self.poller.add(&brain.child, token::REMAINS);
                self.remains.push(brain.child);
            }
        }
    }

    /// A disk that hangs keeps a killed brain from its end, and nobody else.
    fn look_at_dying(&mut self) {
        if self.brain.as_ref().is_some_and(|brain| brain.child.is_stuck()) {
            self.unexplained = false;
            self.parts.log.info("keeper: what is left of the brain waits for a disk; not waiting for that");
            self.after_burial();
        }
    }

    /// The disk has answered.
    fn on_remains_end(&mut self) {
        let poller = &self.poller;
        self.remains.retain(|child| {
            let stays = matches!(child.reap(), Ok(None));
            if !stays {
                let _ = poller.remove(child);
            }
            stays
        });
    }

    fn after_burial(&mut self) {
        self.bury();
        match self.phase {
            Phase::DyingHeld { until } => self.start_brain(until, true),
            Phase::DyingReleased { restart } => self.phase = Phase::Waiting { restart },
            _ => {}
        }
    }

    fn start_brain(&mut self, until: Timestamp, holding: bool) {
        let now = now();
        // Whoever was asked has gone with the brain.
        self.wish.take_if(|wish| wish.asks_brain());
        self.number += 1;
        self.said_exit = false;
        let resumed = if holding { self.carry.clone() } else { None };
        self.parts.hands.begin_life(resumed.as_ref().map_or(0, |carry| carry.plan));
        let life = Life {
            number: self.number,
            epoch: self.parts.hands.epoch(),
            resumed,
            drained: self.parts.drained.clone(),
            ordered: self.ordered.clone(),
        };
        let started = Brain::start(&self.parts.setup, &life, &self.parts.sockets, self.parts.confined, now)
            .and_then(|brain| {
                let added = self.poller.add(brain.pipe(), token::PIPE);
                added
                    .and_then(|()| self.poller.add(&brain.child, token::PROCESS))
                    .map_err(|e| e.to_string())?;
                Ok(brain)
            });
        match started {
            Ok(brain) => {
                self.brain = Some(brain);
                self.phase = Phase::Starting { until, holding };
                let interfaces = 0..self.parts.resolved.interfaces.len();
                for message in interfaces.map(|i| self.parts.hands.link(i)).collect::<Vec<_>>() {
                    self.say(&message);
                }
                self.tell_lease();
                self.parts.hands.report_anyway();
                self.work();
            }
            Err(error) => {
                self.parts.log.warning(format_args!("keeper: cannot start a brain: {error}"));
                let pause = match self.lives.died(now, false) {
                    Verdict::Release { pause } => pause,
                    Verdict::Hold => Duration::from_secs(1),
                };
                self.give_up(now + pause);
                self.phase = Phase::Waiting { restart: now + pause };
            }
        }
    }

    fn on_signals(&mut self) {
        while let Ok(Some(signal)) = self.parts.signals.next() {
            match signal {
                Signal::Terminate | Signal::Interrupt => self.stop(),
                Signal::Hangup => self.wish(false, None, NOBODY),
                Signal::Child => {}
            }
        }
    }

    /// Asked to stop; asked twice, at once.
    fn stop(&mut self) {
        match self.phase {
            Phase::Starting { .. } | Phase::Running | Phase::Retiring { .. } => {
                self.successor = None;
                self.parts.log.info("stopping: releasing the VIPs");
                self.say(&ToBrain::Shutdown);
                self.phase = Phase::Stopping { until: now() + SHUTDOWN };
                if let Some(manager) = &self.manager {
                    manager.stopping();
                }
            }
            _ => self.finished = true,
        }
    }

    fn on_time(&mut self, now: Timestamp) {
        match self.phase {
            Phase::Running => {
                let silent = self.brain.as_ref().map_or(Duration::ZERO, |brain| now.since(brain.heard));
                if self.silent_from().is_some_and(|at| now >= at) {
                    self.on_brain_lost(&format!("was silent for {} ms and is killed", silent.as_millis()));
                }
            }
            Phase::Starting { until, holding } if now >= until => {
                let what = if holding { "was not on duty in time" } else { "did not report for duty" };
                self.on_brain_lost(what);
            }
            Phase::DyingHeld { until } if now >= until => {
                let pause = Duration::from_secs(1);
                self.parts.log.warning("keeper: the old brain does not die; releasing the VIPs");
                self.give_up(now + pause);
            }
            Phase::DyingHeld { .. } | Phase::DyingReleased { .. } => self.look_at_dying(),
            Phase::Waiting { restart } if now >= restart => self.start_brain(now + FRESH_START, false),
            Phase::Retiring { until } if now >= until || self.ended_from().is_some_and(|at| now >= at) => {
                self.make_way();
            }
            Phase::Stopping { until } if now >= until => {
                if !self.said_exit {
                    self.parts.log.warning("keeper: the brain did not release everything in time");
                }
                self.finished = true;
            }
            _ => {}
        }
        self.start_runner(now);
        self.give_up_waiting(now);
        if let Some((child, until)) = &self.old_runner
            && now >= *until
        {
            let _ = child.kill();
        }
        if let Some(manager) = &self.manager
            && let Some(limit) = manager.watchdog()
            && self.next_sign.is_some_and(|at| now >= at)
        {
            manager.alive();
            self.next_sign = Some(now + limit / 3);
        }
        if now >= self.next_pulse {
            self.next_pulse = now + self.parts.hands.pulse();
            self.say(&ToBrain::Alive);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.leftovers.retain(|child| matches!(child.reap(), Ok(None)));
            self.on_remains_end();
            self.parts.hands.look(false);
        }
    }

    /// The runner of an earlier keeper, or of an earlier configuration, is waited for: the next one runs no hooks before.
    fn watch_old_runner(&mut self, runner: Option<Child>) {
        let Some(child) = runner else { return };
        let limit = self.parts.runner.as_ref().map_or(Duration::ZERO, Runner::limit).max(OLD_RUNNER);
        let _ = self.poller.add(&child, token::OLD_RUNNER);
        self.old_runner = Some((child, now() + limit));
    }

    fn on_old_runner_end(&mut self) {
        if let Some((child, _)) = &self.old_runner
            && !matches!(child.reap(), Ok(None))
        {
            let _ = self.poller.remove(child);
            self.old_runner = None;
            if let Some(runner) = &self.parts.runner {
                runner.begin(&self.parts.sockets);
            }
        }
    }

    /// Starts the runner when it is its time.
    fn start_runner(&mut self, now: Timestamp) {
        let Parts { runner: Some(runner), sockets, log, .. } = &mut self.parts else { return };
        if runner.due().is_some_and(|due| now >= due)
            && !matches!(self.phase, Phase::Stopping { .. } | Phase::Retiring { .. })
            && let Some(child) = runner.start(sockets, self.old_runner.is_some(), log, now)
            && let Err(error) = self.poller.add(child, token::RUNNER)
        {
            log.warning(format_args!("keeper: cannot see the end of the runner: {error}"));
        }
    }

    fn on_runner_end(&mut self) {
        if let Some(runner) = &mut self.parts.runner
            && let Some(child) = runner.on_end(&self.parts.log, now())
        {
            let _ = self.poller.remove(&child);
        }
    }

    /// Hooks run to their end, within their time: those of an earlier runner first.
    fn finish_runner(&mut self) {
        if let Some((child, until)) = self.old_runner.take() {
            self.wait_for(&child, until);
            if let Some(runner) = &self.parts.runner {
                runner.begin(&self.parts.sockets);
            }
        }
        let Some(runner) = &mut self.parts.runner else { return };
        let limit = runner.limit();
        if let Some(child) = runner.finish(&self.parts.sockets) {
            self.wait_for(&child, now() + limit);
        }
    }

    fn wait_for(&mut self, child: &Child, until: Timestamp) {
        let mut ready = Vec::new();
        while matches!(child.reap(), Ok(None)) {
            if now() >= until {
                self.parts.log.warning("keeper: the runner of checks and hooks does not end; killing it");
                let _ = child.kill();
                let _ = child.reap();
                return;
            }
            let _ = self.poller.wait(&mut ready, Some(Duration::from_millis(20)));
        }
    }

    /// What is to be done in the kernel, one batch, and what the brain is to know of it.
    fn work(&mut self) {
        let now = now();
        let messages = self.parts.hands.work(now, &self.parts.log);
        self.look_at_lease();
        if let Some(brain) = &mut self.brain {
            // A brain tells the log by itself.
            brain.flush();
            messages.iter().for_each(|message| brain.say(message));
            return;
        }
        for message in messages {
            if let ToBrain::Drifted { vip, removed: false } = message {
                let address = self.parts.hands.address(vip);
                self.parts
                    .log
                    .warning(format_args!("keeper: somebody mounted {address} here; taking it off"));
            }
        }
    }

    /// Leaves nothing behind.
    fn finish(mut self) -> bool {
        if let Some(brain) = self.brain.take() {
            let _ = brain.child.kill();
            let deadline = now() + Duration::from_secs(1);
            let mut ready = Vec::new();
            while matches!(brain.child.reap(), Ok(None)) && !brain.child.is_stuck() && now() < deadline {
                let _ = self.poller.wait(&mut ready, Some(Duration::from_millis(20)));
            }
        }
        let released =
            if self.said_exit { self.parts.hands.release_all() } else { self.release_and_resign() };
        if released {
            self.parts.log.info("stopped: every VIP is released");
        }
        self.finish_runner();
        released
    }
}
