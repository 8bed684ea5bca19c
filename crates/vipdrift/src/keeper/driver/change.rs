//! How this keeper makes way for another one in its process: another configuration, or another binary.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use vipdrift_core::{Carry, CarryOrder, Timestamp};
use vipdrift_platform::{process, realtime};
use vipdrift_wire::Mac;

use super::{Driver, Parts, Phase, now, token};
use crate::config::{HOLD, duration};
use crate::keeper::PRIORITY;
use crate::keeper::child::{Brain, Heard};
use crate::keeper::examination::{Candidate, Examination, Question};
use crate::keeper::names::Names;
use crate::keeper::succession::Succession;
use crate::message::ToBrain;

/// A brain that was asked to retire has this long. It beats until then.
const RETIRE: Duration = Duration::from_millis(1500);
/// Why no image follows this one now.
const REMAINS: &str =
    "a thread of an earlier brain waits for a disk and has its sockets; try again when the disk answers";
/// The process of a killed brain has this long to be gone.
const DEATH: Duration = Duration::from_millis(100);

/// Another configuration, or another binary, that somebody wants.
#[derive(Debug)]
pub(super) struct Wish {
    restart: bool,
    /// What comes may take so long to be there; else no longer than a brain.
    keep: Option<Duration>,
    /// Who is to be answered.
    ticket: u64,
    program: Option<PathBuf>,
    step: Step,
}

/// What is waited for.
#[derive(Debug)]
pub(super) enum Step {
    /// A process that looks at it.
    Examined(Examination),
    /// The network.
    Asked { candidate: Candidate, until: Timestamp },
    /// The word of the brain that this node is away for a while.
    Signed { candidate: Candidate, until: Timestamp },
}

/// Who comes, and what is said of it.
#[derive(Debug)]
pub(super) struct Successor {
    /// Another binary.
    program: Option<PathBuf>,
    /// Whom its configuration names.
    names: Names,
    /// What was ordered.
    order: CarryOrder,
    /// Word of a longer absence, and the end of it: the VIPs live until then.
    absence: Option<(Vec<u8>, Timestamp)>,
}

impl Wish {
    /// When it is no longer waited for.
    pub(super) fn until(&self) -> Timestamp {
        match &self.step {
            Step::Examined(examination) => examination.until,
            Step::Asked { until, .. } | Step::Signed { until, .. } => *until,
        }
    }

    /// The brain is to answer.
    pub(super) fn asks_brain(&self) -> bool {
        matches!(self.step, Step::Asked { .. } | Step::Signed { .. })
    }
}

impl Driver {
    /// Somebody wants the configuration as it is in its file now, or a new binary. Nothing is touched before it is known that
    /// this machine could run it.
    pub(super) fn wish(&mut self, restart: bool, keep: Option<Duration>, ticket: u64) {
        let begun = self.examine(restart);
        match begun {
            Ok((examination, program)) => {
                let _ = self.poller.add(examination.child(), token::EXAMINATION);
                let step = Step::Examined(examination);
                let keep = keep.or(process::SUCCESSOR_NEEDS);
                self.wish = Some(Wish { restart, keep, ticket, program, step });
            }
            Err(why) => self.refuse(restart, ticket, &why),
        }
    }

    fn examine(&self, restart: bool) -> Result<(Examination, Option<PathBuf>), String> {
        if self.phase != Phase::Running || self.wish.is_some() {
            return Err(
                "the daemon is starting, stopping or changing already; try again in a moment".to_owned()
            );
        }
        if !self.remains.is_empty() {
            return Err(REMAINS.to_owned());
        }
        if self.old_runner.is_some() {
            return Err(
                "hooks from before the last change still run; try again when they have ended".to_owned()
            );
        }
        let Parts { options, resolved, loaded, .. } = &self.parts;
        let program = if restart {
            Some(self.parts.file.clone().ok_or("the file of this program is not known")?)
        } else {
            None
        };
        let groups = self.carry.iter().flat_map(|carry| &carry.groups);
        let held = groups.filter(|group| group.active).map(|group| group.group).collect();
        let named = options.node.is_some();
        let question = Question::new(&options.config, &resolved.name, named, &loaded.text, held);
        Ok((Examination::start(&question, program.as_deref(), now())?, program))
    }

    pub(super) fn on_examined(&mut self) {
        let Some(Wish { step: Step::Examined(examination), .. }) = &self.wish else { return };
        let Some(outcome) = examination.ended() else { return };
        let _ = self.poller.remove(examination.child());
        let Some(wish) = self.wish.take() else { return };
        match outcome {
            // The network is asked as well whether anybody uses what would be mounted.
            Ok(candidate) if !candidate.new_vips.is_empty() => {
                self.say(&ToBrain::Ask(candidate.new_vips.clone()));
                let step = Step::Asked { candidate, until: now() + RETIRE };
                self.wish = Some(Wish { step, ..wish });
            }
            Ok(candidate) => self.prepare(wish, candidate),
            Err(why) => self.refuse(wish.restart, wish.ticket, &why),
        }
    }

    /// The network has answered.
    pub(super) fn on_answered(&mut self, answers: &[(IpAddr, Option<[u8; 6]>)]) {
        let asked = |wish: &mut Wish| matches!(wish.step, Step::Asked { .. });
        let Some(mut wish) = self.wish.take_if(asked) else { return };
        let Step::Asked { candidate, .. } = &mut wish.step else { return };
        let candidate = candidate.clone();
        let used: Vec<String> = answers
            .iter()
            .map(|(address, mac)| match mac {
                Some(mac) => format!("{address} is in use: {} answers for it", Mac(*mac)),
                None => format!("whether {address} is in use cannot be asked: its interface is down"),
            })
            .collect();
        if used.is_empty() {
            self.prepare(wish, candidate);
        } else {
            self.refuse(wish.restart, wish.ticket, &used.join("; "));
        }
    }

    /// It could be. Where it may take long, the brain is to say so, and the VIPs are to live so long.
    fn prepare(&mut self, wish: Wish, candidate: Candidate) {
        let Some(at_most) = wish.keep else { return self.agree(wish, candidate, None) };
        self.say(&ToBrain::Absence { at_most });
        let step = Step::Signed { candidate, until: now() + RETIRE };
        self.wish = Some(Wish { step, ..wish });
    }

    /// The brain has signed that this node is away for a while, or will not.
    pub(super) fn on_signed(&mut self, signed: Result<Vec<u8>, String>) {
        let waits = |wish: &mut Wish| matches!(wish.step, Step::Signed { .. });
        let Some(wish) = self.wish.take_if(waits) else { return };
        let (Step::Signed { candidate, .. }, Some(keep)) = (&wish.step, wish.keep) else { return };
        let (candidate, now) = (candidate.clone(), now());
        let extended = signed.and_then(|word| self.parts.hands.extend(keep, now).map(|()| word));
        match extended {
            Ok(word) => self.agree(wish, candidate, Some((word, now + keep))),
            Err(why) => self.refuse(wish.restart, wish.ticket, &why),
        }
    }

    fn refuse(&mut self, restart: bool, ticket: u64, why: &str) {
        let what = if restart { "restart" } else { "reload" };
        self.parts.log.warning(format_args!("{what} refused, nothing has changed: {why}"));
        self.say(&ToBrain::Examined { ticket, outcome: Err(why.to_owned()) });
    }

    fn agree(&mut self, wish: Wish, candidate: Candidate, absence: Option<(Vec<u8>, Timestamp)>) {
        let Wish { restart, ticket, program, keep, .. } = wish;
        if self.phase != Phase::Running {
            self.parts.hands.restore(now());
            return self.refuse(restart, ticket, "the daemon is stopping");
        }
        if !self.remains.is_empty() {
            self.parts.hands.restore(now());
            return self.refuse(restart, ticket, REMAINS);
        }
        let changes = match &program {
            Some(program) => format!("{}; configuration: {}", program.display(), candidate.changes),
            None => candidate.changes,
        };
        let what = if restart { "restart" } else { "reload" };
        self.parts.log.info(format_args!("{what} ordered: {changes}"));
        let order = CarryOrder { what: what.to_owned(), changes: changes.clone() };
        if let Some(keep) = keep {
            let keep = duration::show(keep);
            if self.parts.lifetimes.end() {
                self.parts.log.info(format_args!("{what}: the kernel holds the VIPs for {keep} at most"));
            } else {
                self.parts.log.warning(format_args!(
                    "{what}: the VIPs have a lifetime of {keep}, but it is not known whether this system ends it"
                ));
            }
        }
        self.say(&ToBrain::Examined { ticket, outcome: Ok(changes) });
        // While there is a brain: whoever reads the log may be slow, and peers do not wait for that.
        self.parts.log.flush();
        self.successor = Some(Successor { program, names: candidate.names, order, absence });
        self.say(&ToBrain::Retire);
        // A part of the time that was promised is the successor's.
        let kept = keep.map_or(RETIRE, |keep| (keep / 4).clamp(RETIRE / 3, RETIRE));
        self.phase = Phase::Retiring { until: now() + kept };
    }

    /// What is waited for too long, in vain.
    pub(super) fn give_up_waiting(&mut self, now: Timestamp) {
        let Some(wish) = &self.wish else { return };
        if now < wish.until() {
            return;
        }
        if let Some(Wish { restart, ticket, step, .. }) = self.wish.take() {
            if let Step::Examined(examination) = step {
                let _ = self.poller.remove(examination.child());
                self.leftovers.push(examination.give_up());
            }
            self.refuse(restart, ticket, "it could not be looked at in time");
        }
    }

    /// The brain has ended, or is ended now: the next keeper takes its place in this process.
    pub(super) fn make_way(&mut self) {
        let Some(Successor { program, names, order, absence }) = self.successor.take() else { return };
        if let Some(brain) = &self.brain {
            let _ = brain.child.kill();
            let _ = self.poller.remove(brain.pipe());
        }
        while let Some(Heard::Message(message)) = self.brain.as_mut().map(Brain::receive) {
            self.on_message(message);
        }
        self.parts.hands.forbid();
        let soon = now() + HOLD;
        let (word, until) = match &absence {
            Some((word, until)) => (Some(word), *until),
            None => (self.words.as_ref().map(|(holding, _)| holding), soon),
        };
        if let Some(word) = word {
            self.parts.sockets.tell(&self.parts.resolved.paths, word);
        }
        if !self.brain_is_gone() || !self.remains.is_empty() {
            // Whatever keeps it also keeps its sockets. It is waited for as for any other that dies.
            let what = order.what;
            self.parts.log.warning(format_args!(
                "keeper: {what} not carried out, goes on as it was: the old brain does not die"
            ));
            self.phase = Phase::DyingHeld { until: soon };
            return self.take_back(absence.is_some());
        }
        self.bury();
        let runner = self.parts.runner.as_mut().and_then(|runner| runner.finish(&self.parts.sockets));
        let roles = self.parts.runner.as_ref().map(|runner| &runner.roles);
        let left = Succession {
            node: self.parts.resolved.name.clone(),
            text: self.parts.loaded.text.clone(),
            secrets: self.parts.secrets.clone(),
            carry: self.carry.clone().map(|carry| Carry { ordered: Some(order.clone()), ..carry }),
            words: self.words.clone(),
            number: self.number,
            spots: self.parts.hands.spots(),
            until,
            extended: absence.is_some(),
            runner: runner.as_ref().map(|child| child.pid),
            roles: None,
            names,
            confined: self.parts.confined,
            file: self.parts.file.clone(),
        };
        if let Some(manager) = &self.manager {
            manager.reloading(until.since(now()));
        }
        let error = left.make_way(&self.parts.options, program.as_deref(), roles);
        let _ = realtime::real_time(PRIORITY);
        self.parts
            .log
            .warning(format_args!("keeper: {} not carried out, goes on as it was: {error}", order.what));
        self.watch_old_runner(runner);
        self.take_back(absence.is_some());
        self.start_brain(until, true);
    }

    /// Nobody comes after all.
    fn take_back(&mut self, extended: bool) {
        if extended {
            self.parts.hands.restore(now());
        }
    }

    /// Waits for the end of a brain that has been killed, not for ever.
    fn brain_is_gone(&self) -> bool {
        let Some(brain) = &self.brain else { return true };
        let begun = now();
        while matches!(brain.child.reap(), Ok(None)) {
            let spent = now().since(begun);
            // There is little time, and the brain that comes instead needs some.
            if spent >= DEATH || spent >= DEATH / 2 && brain.child.is_stuck() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// An earlier keeper has made way for this one.
    pub(super) fn take_over(&mut self, left: Succession) {
        let now = now();
        self.number = left.number;
        self.words.clone_from(&left.words);
        self.carry.clone_from(&left.carry);
        self.watch_old_runner(left.runner.and_then(|pid| process::adopt(pid).ok()));
        let ordered = self.carry.as_ref().and_then(|carry| carry.ordered.as_ref());
        self.ordered = ordered.map(|order| order.what.clone());
        let plan = self.carry.as_ref().map_or(0, |carry| carry.plan);
        let kept = left.kept(&self.parts.resolved, &self.parts.hands.held());
        self.parts.hands.order(plan, kept);
        if let Some(carry) = &self.carry {
            self.parts.drained.clone_from(&carry.drained);
        }
        if now < left.until {
            self.start_brain(left.until, true);
            // Another one would begin because this one has died.
            if let Some(carry) = &mut self.carry {
                carry.ordered = None;
            }
        } else {
            self.parts.log.warning("keeper: too late to go on where the last one was; releasing the VIPs");
            self.give_up(now);
            self.phase = Phase::Waiting { restart: now };
        }
    }
}
