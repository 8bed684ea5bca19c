//! The heartbeat thread: everything that happens becomes an event of the core, every action of the core is carried
//! out at once, and nothing here ever waits for anything but the poller.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use vipdrift_core::keeper::WITHOUT_LEASE;
use vipdrift_core::{
    Action, Command, Decision, Drained, Drift, Event, GroupIndex, InterfaceIndex, Leg, Node, NodeSnapshot,
    Note, Plan, Scope, Ticket, Timestamp, VipIndex,
};
use vipdrift_platform::pipe::{MessagePipe, Received};
use vipdrift_platform::poll::{Poller, Ready, Timer, Wake};
use vipdrift_wire::Mac;

use super::frames::Outgoing;
use super::history::News;
use super::inquiry::Inquiry;
use super::now;
use super::services::Services;
use super::wires::Wires;
use crate::config::Resolved;
use crate::histogram::Histogram;
use crate::journal::Scribe;
use crate::log::Log;
use crate::message::{LONGEST, ToBrain, ToKeeper, encode};
use crate::writers::Writers;

/// The slow thread counts up every half second; after this long without, it hangs.
const SLOW_SIDE: Duration = Duration::from_secs(3);
/// A wake-up that is later than this was not the poller's doing alone.
const PUNCTUAL: Duration = Duration::from_millis(1);
/// This loop turns at every beat, some ten times a second at least. After a longer pause everything was frozen.
const FROZEN: Duration = Duration::from_millis(250);

/// What the runner says is read so many at a time.
const REPORTS: usize = 32;
/// An answer on its way to whoever asked is given this long.
const GOODBYE: Duration = Duration::from_millis(20);
/// One that retires waits so long for what is being written. Its process would not end before, whatever the keeper does.
const WRITING: Duration = Duration::from_secs(1);

/// A poller that answers sooner than this had something ready: the thread did not sleep.
const SLEPT: Duration = Duration::from_micros(50);
/// After this long without sleep comes a nap. Where more packets come than can be read there would be none, and the
/// kernel ends a real-time thread that uses the processor for seconds without ever sleeping (`RLIMIT_RTTIME`, which
/// is meant for a loop gone wild). The nap starts that clock anew, and lets the rest of the machine do something too.
const AWAKE: Duration = Duration::from_millis(500);
/// Long enough to be a sleep, short enough to be late for nothing.
const NAP: Duration = Duration::from_millis(1);

/// What the poller waits for.
mod token {
    pub(super) const PIPE: u64 = 1;
    pub(super) const TIMER: u64 = 2;
    pub(super) const WAKE: u64 = 3;
    pub(super) const DATAGRAMS: u64 = 4;
    pub(super) const FRAMES: u64 = 5;
    pub(super) const ECHOES: u64 = 6;
    pub(super) const RUNNER: u64 = 7;
}

/// What the slow thread asks of this one.
#[derive(Debug)]
pub(super) enum Ask {
    /// How are you?
    Report(oneshot::Sender<HeartReport>),
    /// Move a group.
    Switchover { group: GroupIndex, to: Option<String>, answer: Answer },
    /// Move a group there and back, and measure.
    Drill { group: GroupIndex, to: Option<String>, stay: Duration, answer: oneshot::Sender<Drilled> },
    /// Make a node ineligible.
    Drain { scope: Scope, answer: Answer },
    /// Make it eligible again.
    Undrain { scope: Scope, answer: Answer },
    /// Another configuration, and another binary perhaps, which may take so long to be there.
    Succeed { restart: bool, keep: Option<Duration>, answer: Answer },
}

type Answer = oneshot::Sender<Result<String, String>>;
/// What a drill has measured, or why there is nothing.
pub(super) type Drilled = Result<Vec<Leg>, String>;

/// Answer to [`Ask::Report`].
#[derive(Debug)]
pub(super) struct HeartReport {
    pub(super) snapshot: NodeSnapshot,
    pub(super) at: Timestamp,
    /// What is known of the lifetimes of addresses.
    pub(super) lease: String,
    /// How late this thread woke up for its timers.
    pub(super) late: Histogram,
    /// Lifetimes of VIPs that were renewed, when the last were, and how long they are.
    pub(super) renewals: u64,
    pub(super) renewed: Option<(Timestamp, Option<Duration>)>,
    pub(super) send_errors: u64,
    /// What an operator has drained here.
    pub(super) drained: Drained,
    /// What each check last found.
    pub(super) checks: Vec<Option<vipdrift_checks::Report>>,
}

/// What the heart is made of.
pub(super) struct HeartParts {
    pub(super) node: Node,
    /// What is known of the lifetimes of addresses.
    pub(super) lease: String,
    pub(super) resolved: Resolved,
    pub(super) wires: Wires,
    pub(super) pipe: MessagePipe,
    pub(super) wake: Arc<Wake>,
    pub(super) asked: Receiver<Ask>,
    pub(super) pulse: Arc<AtomicU64>,
    pub(super) log: Log,
    pub(super) epoch: u64,
    pub(super) real_time: bool,
    /// Keeps the journal, if there is one.
    pub(super) scribe: Option<Scribe>,
    /// Checks and hooks, if there are any.
    pub(super) services: Option<Services>,
    /// What is decided and noticed goes there.
    pub(super) news: Sender<News>,
    pub(super) writers: Writers,
    /// Woken when a peer says something new.
    pub(super) stirred: Arc<Notify>,
    /// What is to be kept of drains.
    pub(super) keep: Sender<Drained>,
    /// What is known to be drained at the beginning.
    pub(super) drained: Drained,
}

/// What is known of the other thread.
#[derive(Debug)]
struct SlowSide {
    pulse: u64,
    /// When it last moved.
    moved: Timestamp,
    alive: bool,
}

/// The loop and its state.
pub(super) struct Heart {
    parts: HeartParts,
    poller: Poller,
    timer: Timer,
    armed: Option<Timestamp>,
    /// The kernel's numbers of the interfaces, and the gateways through them.
    interfaces: Vec<(Option<u32>, Vec<IpAddr>)>,
    /// Their MAC addresses.
    macs: Vec<Option<Mac>>,
    outgoing: Outgoing,
    /// Messages that the pipe would not take yet.
    waiting: VecDeque<Vec<u8>>,
    answers: HashMap<u64, Answer>,
    drills: HashMap<u64, oneshot::Sender<Drilled>>,
    ticket: u64,
    late: Histogram,
    /// What peers have said so far.
    states_heard: u64,
    /// Lifetimes that the keeper has renewed, when it last did, and how long they are.
    renewals: u64,
    renewed: Option<(Timestamp, Option<Duration>)>,
    send_errors: u64,
    /// What was not asked, and on which interface, although the core believes it was.
    unasked: BTreeSet<(usize, IpAddr)>,
    slow: SlowSide,
    keeper_gone: bool,
    ended: bool,
    /// Who waits to hear whether there will be a successor.
    wishes: HashMap<u64, Answer>,
    /// Questions about addresses that are to be VIPs.
    inquiry: Option<Inquiry>,
    /// It ends then.
    retires: Option<Timestamp>,
    /// When the keeper was last heard, and when this was last looked at.
    keeper_heard: Timestamp,
    looked: Timestamp,
    buffer: Vec<u8>,
    /// What an operator has drained, as last remembered.
    drained: Drained,
}

impl Heart {
    /// Gets everything ready; nothing has been said yet.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn new(parts: HeartParts) -> io::Result<Self> {
        let (poller, timer) = (Poller::new()?, Timer::new()?);
        poller.add(&parts.pipe, token::PIPE)?;
        poller.add(&timer, token::TIMER)?;
        poller.add(&*parts.wake, token::WAKE)?;
        if let Some(services) = &parts.services {
            poller.add(services.pipe(), token::RUNNER)?;
        }
        parts.wires.poll(&poller, [token::DATAGRAMS, token::FRAMES, token::ECHOES])?;
        let interfaces = vec![(None, Vec::new()); parts.resolved.interfaces.len()];
        let macs = vec![None; interfaces.len()];
        let drained = parts.drained.clone();
        Ok(Self {
            parts,
            drained,
            poller,
            timer,
            armed: None,
            interfaces,
            macs,
            outgoing: Outgoing::default(),
            waiting: VecDeque::new(),
            answers: HashMap::new(),
            drills: HashMap::new(),
            ticket: 0,
            late: Histogram::new(),
            states_heard: 0,
            renewals: 0,
            renewed: None,
            send_errors: 0,
            unasked: BTreeSet::new(),
            slow: SlowSide { pulse: 0, moved: now(), alive: true },
            keeper_gone: false,
            ended: false,
            wishes: HashMap::new(),
            inquiry: None,
            retires: None,
            keeper_heard: now(),
            looked: now(),
            buffer: vec![0; LONGEST],
        })
    }

    /// Beats until the core says that it is over.
    ///
    /// # Errors
    /// The poller failed.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.say(&ToKeeper::Ready { real_time: self.parts.real_time });
        self.act();
        let mut ready: Vec<Ready> = Vec::new();
        let mut slept = now();
        while !self.ended {
            self.arm()?;
            let timeout = if self.is_patient() { None } else { Some(Duration::from_millis(1)) };
            let before = now();
            if before.since(slept) > AWAKE {
                std::thread::sleep(NAP);
                slept = now();
            }
            self.poller.wait(&mut ready, timeout)?;
            let woken = now();
            if woken.since(before) > SLEPT {
                slept = woken;
            }
            self.flush();
            // Everything that was sent before the deadline is heard before the deadline is. What the poller said is not
            // to be trusted for that if this thread was kept waiting after the poller had spoken.
            let late = self.parts.node.next_deadline().is_some_and(|next| woken > next.at + PUNCTUAL);
            let is_ready = |token| late || ready.iter().any(|event| event.token == token);
            if is_ready(token::PIPE) {
                self.hear_keeper();
            }
            let wires = [token::DATAGRAMS, token::FRAMES, token::ECHOES].map(is_ready);
            if wires.contains(&true) {
                self.hear_wires(wires);
            }
            if is_ready(token::RUNNER) {
                self.hear_runner();
            }
            if is_ready(token::WAKE) {
                self.parts.wake.clear();
                self.hear_slow_side();
            }
            self.watch_others(woken);
            self.tick(woken);
            self.inquire(woken);
            self.own_up();
            // Another keeper comes, with another brain; the peers are told by the one that is.
            self.ended |= self
                .retires
                .is_some_and(|at| woken >= at && (self.parts.writers.are_idle() || woken >= at + WRITING));
        }
        // The farewell may not have gone through yet.
        for _ in 0..20 {
            self.flush();
            if self.waiting.is_empty() || self.keeper_gone {
                break;
            }
            self.poller.wait(&mut ready, Some(Duration::from_millis(5)))?;
        }
        if let Some(scribe) = self.parts.scribe.take() {
            scribe.finish(&self.parts.node);
        }
        if self.retires.is_none() {
            // While the pipe is open: the keeper takes its end for the end of this process, and kills what is left of it.
            self.parts.log.flush();
        }
        Ok(())
    }

    fn arm(&mut self) -> io::Result<()> {
        let next = self.parts.node.next_deadline().map(|deadline| deadline.at);
        if next != self.armed {
            match next {
                Some(at) => self.timer.set(at.since(Timestamp::ZERO))?,
                None => self.timer.clear()?,
            }
            self.armed = next;
        }
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.parts.node.next_deadline().is_some_and(|deadline| now >= deadline.at)
    }

    /// The deadline for which the timer was set has come.
    fn tick(&mut self, woken: Timestamp) {
        let Some(at) = self.armed.filter(|at| woken >= *at) else { return };
        self.late.add(woken.since(at));
        self.armed = None;
        // Not read: setting it anew clears it too.
        if self.is_due(woken) {
            self.handle(Event::Timeout);
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let at = now();
        if let Some(scribe) = &mut self.parts.scribe {
            scribe.heard(&event, at);
        }
        self.parts.node.handle(event, at);
        self.act();
        // Last: readers of the page can wait, and waking them takes a lock.
        let heard = self.parts.node.states_heard();
        if std::mem::replace(&mut self.states_heard, heard) != heard {
            self.parts.stirred.notify_waiters();
        }
    }

    fn hear_keeper(&mut self) {
        while !self.keeper_gone {
            let message = match self.parts.pipe.receive(&mut self.buffer) {
                Ok(Received::Message(length)) => serde_json::from_slice(&self.buffer[..length]).ok(),
                Ok(Received::Empty) => return,
                Ok(Received::Closed) | Err(_) => None,
            };
            match message {
                Some(message) => {
                    self.keeper_heard = now();
                    self.on_keeper(message);
                }
                None => self.lose_keeper("the keeper is gone"),
            }
        }
    }

    fn on_keeper(&mut self, message: ToBrain) {
        match message {
            ToBrain::Link { interface, index, facts } => {
                let Some(known) = self.interfaces.get_mut(interface) else { return };
                *known = (index, facts.gateways.clone());
                self.macs[interface] = facts.mac.map(Mac);
                self.handle(Event::Link { interface: InterfaceIndex(interface), facts: facts.into() });
            }
            ToBrain::Applied { plan, mounted, failed, complete } => self.handle(Event::Applied {
                plan: Plan(plan),
                mounted: mounted.into_iter().map(VipIndex).collect(),
                failed: failed.into_iter().map(|(vip, why)| (VipIndex(vip), why)).collect(),
                complete,
            }),
            ToBrain::Drifted { vip, removed } => {
                let drift = if removed { Drift::Removed } else { Drift::Added };
                self.handle(Event::Drifted { vip: VipIndex(vip), drift });
            }
            ToBrain::Gap { epoch, missing } => {
                self.parts.epoch = epoch;
                self.handle(Event::ClockGap { missing });
            }
            ToBrain::Lease(known) => self.parts.lease = known,
            ToBrain::Renewed { vips, lifetime } => {
                self.renewals += vips as u64;
                self.renewed = Some((now(), lifetime));
            }
            ToBrain::Alive => {}
            ToBrain::Shutdown => {
                self.retires = None;
                self.handle(Event::Command(Command::Shutdown));
            }
            ToBrain::Examined { ticket, outcome } => {
                if let Some(wish) = self.wishes.remove(&ticket) {
                    let _ = wish.send(outcome);
                }
            }
            ToBrain::Ask(addresses) => self.inquiry = Some(Inquiry::new(addresses, now())),
            ToBrain::Absence { at_most } => {
                let signed = self.parts.node.absence(at_most);
                self.say(&ToKeeper::Absence(signed));
            }
            // Whoever asked is to hear the answer before this ends.
            ToBrain::Retire => self.retires = Some(now() + GOODBYE),
        }
    }

    fn hear_wires(&mut self, [datagrams, frames, echoes]: [bool; 3]) {
        let Self { parts, interfaces, outgoing, inquiry, .. } = self;
        let HeartParts { node, wires, scribe, .. } = parts;
        let mut actions = Vec::new();
        // The core is to be drained after every event; what it wants done is done when the sockets are empty, so that
        // nothing is decided on half of what has arrived.
        if datagrams {
            wires.datagrams(|path, bytes| {
                step(node, scribe, Event::Datagram { path, bytes }, &mut actions);
            });
        }
        if frames {
            wires.frames(|index, bytes| {
                let Some(position) = interfaces.iter().position(|(known, _)| *known == Some(index)) else {
                    return;
                };
                if let Some(inquiry) = inquiry {
                    inquiry.heard(position, bytes);
                }
                step(node, scribe, Event::Frame { interface: InterfaceIndex(position), bytes }, &mut actions);
            });
        }
        if echoes {
            wires.echoes(|from| {
                step(node, scribe, Event::EchoReply { from }, &mut actions);
            });
        }
        debug_assert!(outgoing.is_empty());
        for action in actions {
            self.carry_out(action);
        }
        self.send_frames();
    }

    fn hear_slow_side(&mut self) {
        while let Ok(ask) = self.parts.asked.try_recv() {
            match ask {
                Ask::Report(answer) => {
                    let _ = answer.send(self.report());
                }
                Ask::Switchover { group, to, answer } => {
                    let ticket = self.ticket(answer);
                    self.handle(Event::Command(Command::Switchover { ticket, group, to }));
                }
                Ask::Drill { group, to, stay, answer } => {
                    self.ticket += 1;
                    self.drills.insert(self.ticket, answer);
                    let ticket = Ticket(self.ticket);
                    self.handle(Event::Command(Command::Drill { ticket, group, to, stay }));
                }
                Ask::Drain { scope, answer } => {
                    let ticket = self.ticket(answer);
                    self.handle(Event::Command(Command::Drain { ticket, scope }));
                }
                Ask::Succeed { restart, keep, answer } => {
                    self.ticket += 1;
                    let ticket = self.ticket;
                    self.wishes.insert(ticket, answer);
                    self.say(&ToKeeper::Succeed { restart, keep, ticket });
                }
                Ask::Undrain { scope, answer } => {
                    let ticket = self.ticket(answer);
                    self.handle(Event::Command(Command::Undrain { ticket, scope }));
                }
            }
        }
    }

    /// Nothing is to be done but what the poller tells.
    fn is_patient(&self) -> bool {
        self.waiting.is_empty() && self.retires.is_none() && self.inquiry.is_none()
    }

    fn inquire(&mut self, now: Timestamp) {
        let Some(inquiry) = &mut self.inquiry else { return };
        let macs = &self.macs;
        for (interface, frame) in inquiry.due(now, |at| macs.get(at).copied().flatten()) {
            if let Some((Some(index), _)) = self.interfaces.get(interface) {
                self.outgoing.push(*index, frame);
            }
        }
        let finished = inquiry.finished();
        self.send_frames();
        if let Some(answers) = finished {
            self.inquiry = None;
            let answers = answers.into_iter().map(|(at, mac)| (at, mac.map(|mac| mac.0)));
            self.say(&ToKeeper::Answered(answers.collect()));
        }
    }

    fn ticket(&mut self, answer: Answer) -> Ticket {
        self.ticket += 1;
        self.answers.insert(self.ticket, answer);
        Ticket(self.ticket)
    }

    fn report(&self) -> HeartReport {
        HeartReport {
            snapshot: self.parts.node.snapshot(),
            at: now(),
            lease: self.parts.lease.clone(),
            late: self.late.clone(),
            renewals: self.renewals,
            renewed: self.renewed,
            send_errors: self.send_errors,
            drained: self.drained.clone(),
            checks: self.parts.services.as_ref().map(|services| services.reports.clone()).unwrap_or_default(),
        }
    }

    /// The keeper and the other thread show that they are at work. Judged by time in which they could have.
    fn watch_others(&mut self, now: Timestamp) {
        let since = now.since(std::mem::replace(&mut self.looked, now));
        if since > FROZEN {
            if let Some(services) = &mut self.parts.services {
                services.forgive(now);
            }
            self.keeper_heard = now;
            self.slow.moved = now;
        }
        if self.parts.scribe.as_ref().is_some_and(Scribe::is_over) {
            self.parts.scribe = None;
        }
        self.watch_keeper(now);
        self.watch_slow_side(now);
        self.watch_runner(now);
    }

    /// A keeper that hangs is as good as gone: the lease will end, and the peers are to know before it does. Without a
    /// lease what it holds stays, but nobody must wait for what it does not mount.
    fn watch_keeper(&mut self, now: Timestamp) {
        let lease = self.parts.resolved.lease.unwrap_or(WITHOUT_LEASE);
        let silent = now.since(self.keeper_heard);
        if self.keeper_gone || silent <= lease * 2 / 3 {
            return;
        }
        self.lose_keeper(&format!("the keeper has been silent for {} ms", silent.as_millis()));
    }

    fn lose_keeper(&mut self, what: &str) {
        self.keeper_gone = true;
        let _ = self.poller.remove(&self.parts.pipe);
        self.parts.log.warning(format_args!("{what}: telling the peers, and ending"));
        self.handle(Event::KeeperGone);
    }

    fn hear_runner(&mut self) {
        let at = now();
        // The rest is told again: heartbeats come first.
        for _ in 0..REPORTS {
            let Some(services) = &mut self.parts.services else { return };
            let Some(event) = services.listen(&self.parts.node, at) else { return };
            if let Some(event) = event {
                self.handle(event);
            }
        }
    }

    /// Nobody looks: then every check fails, rather than stay as it was last seen.
    fn watch_runner(&mut self, now: Timestamp) {
        let Some(services) = &mut self.parts.services else { return };
        services.tick(&self.parts.node, now);
        let events = services.unseen(now);
        if !events.is_empty() {
            self.parts
                .log
                .warning("the process that runs checks and hooks is silent: what it does not look at fails");
        }
        for event in events {
            self.handle(event);
        }
    }

    /// Peers are told whether the other thread still moves.
    fn watch_slow_side(&mut self, now: Timestamp) {
        let pulse = self.parts.pulse.load(Ordering::Relaxed);
        let slow = &mut self.slow;
        if pulse != slow.pulse {
            slow.pulse = pulse;
            slow.moved = now;
            if !std::mem::replace(&mut slow.alive, true) {
                self.parts.log.info("the slow side moves again");
                self.handle(Event::SlowSide { alive: true });
            }
        } else if slow.alive && now.since(slow.moved) > SLOW_SIDE {
            slow.alive = false;
            self.parts.log.warning("the slow side (control API) hangs");
            self.handle(Event::SlowSide { alive: false });
        }
    }

    /// Carries out everything that the core wants done.
    fn act(&mut self) {
        while let Some(action) = self.parts.node.poll_action() {
            if let Some(scribe) = &mut self.parts.scribe {
                scribe.did(&action);
            }
            self.carry_out(action);
        }
        self.send_frames();
        if let Some(scribe) = &mut self.parts.scribe {
            scribe.done(&self.parts.node);
        }
    }

    fn carry_out(&mut self, action: Action) {
        if let Action::SendFrame { interface, bytes } = action {
            match self.interfaces.get(interface.0).and_then(|(index, _)| *index) {
                Some(index) => self.outgoing.push(index, bytes),
                None => self.send_errors += 1,
            }
            return;
        }
        // Order is kept: frames that came before this action leave before it.
        self.send_frames();
        match action {
            Action::SendDatagram { path, bytes } => {
                self.send_errors += u64::from(self.parts.wires.send_datagram(path, &bytes).is_err());
            }
            Action::SendEcho { to } => {
                let interface = self.interface_towards(to);
                self.send_errors += u64::from(self.parts.wires.send_echo(interface, to).is_err());
            }
            Action::Apply { plan, desired } => {
                self.say(&ToKeeper::Apply {
                    plan: plan.0,
                    desired: desired.into_iter().map(|vip| vip.0).collect(),
                });
            }
            Action::Beat { renew } => self.say(&ToKeeper::Beat { renew, epoch: self.parts.epoch }),
            Action::Words(words) => {
                self.say(&ToKeeper::Words { holding: words.holding, resigned: words.resigned });
            }
            Action::Remember(carry) => {
                if self.drained != carry.drained {
                    self.drained.clone_from(&carry.drained);
                    // Where the slow thread hangs, whoever gave the order has it written.
                    let _ = self.parts.keep.try_send(carry.drained.clone());
                }
                self.say(&ToKeeper::Remember(carry));
            }
            Action::Record(decision) => self.record(&decision),
            Action::Note(note) => self.note(&note),
            Action::Reply { ticket, outcome } => {
                if let Some(answer) = self.answers.remove(&ticket.0) {
                    let _ = answer.send(outcome);
                } else if let Some(answer) = self.drills.remove(&ticket.0) {
                    let _ = answer.send(outcome.map(|_| Vec::new()));
                }
            }
            Action::Drilled { ticket, legs } => {
                if let Some(answer) = self.drills.remove(&ticket.0) {
                    let _ = answer.send(Ok(legs));
                }
            }
            Action::Prepare { group, number, term, reason } => match &mut self.parts.services {
                Some(services) => services.prepare(group, number, term, reason),
                None => self.parts.log.warning("a hook is to run, and there is nobody to run it"),
            },
            Action::Unprepare { group, role, term } => {
                if let Some(services) = &mut self.parts.services {
                    services.unprepare(group, role, term);
                }
            }
            Action::Exit => {
                self.say(&ToKeeper::Exit);
                self.ended = true;
            }
            Action::SendFrame { .. } => {}
        }
    }

    fn send_frames(&mut self) {
        let refused = self.outgoing.flush(&self.parts.wires.arp, &self.parts.wires.neighbor);
        self.send_errors += refused.len() as u64;
        for (index, target) in refused {
            let position = self.interfaces.iter().position(|(at, _)| *at == Some(index));
            self.unasked.extend(position.zip(target));
        }
    }

    /// Tells the core what was not asked, before its silence counts.
    fn own_up(&mut self) {
        for (interface, target) in std::mem::take(&mut self.unasked) {
            self.handle(Event::Unasked { interface: InterfaceIndex(interface), target });
        }
    }

    /// Link-local addresses mean nothing without an interface.
    fn interface_towards(&self, to: IpAddr) -> u32 {
        let through = self.interfaces.iter().find(|(_, gateways)| gateways.contains(&to));
        through.or(self.interfaces.first()).and_then(|(index, _)| *index).unwrap_or(0)
    }

    fn note(&self, note: &Note) {
        // Where the slow thread hangs, the log has it still.
        let news = News::note(note, &self.parts.resolved.groups);
        let log = &self.parts.log;
        match news.group() {
            Some(group) => log.about(group, note.warning, &note.text),
            None if note.warning => log.warning(&note.text),
            None => log.info(&note.text),
        }
        let _ = self.parts.news.try_send(news.counted(&self.parts.writers));
    }

    fn record(&mut self, decision: &Decision) {
        if let Some(services) = &mut self.parts.services {
            services.on_decision(decision);
        }
        let group = decision.group.0;
        let mut evidence = decision.evidence.clone();
        evidence.extend(
            self.parts.services.iter().flat_map(|services| services.evidence(&self.parts.resolved, group)),
        );
        let name = self.parts.resolved.groups.get(group).map_or("?", |group| group.name.as_str());
        let news = News::decision(name, decision, evidence);
        let _ = self.parts.news.try_send(news.counted(&self.parts.writers));
        self.parts.log.role_changed(name, decision);
    }

    fn say(&mut self, message: &ToKeeper) {
        self.waiting.push_back(encode(message));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            match self.parts.pipe.send(message) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The keeper is gone: noticed by reading.
                Err(_) => {}
            }
            self.waiting.pop_front();
        }
    }
}

/// Gives the core an event whose actions are to be carried out later.
fn step(node: &mut Node, scribe: &mut Option<Scribe>, event: Event<'_>, actions: &mut Vec<Action>) {
    let at = now();
    let Some(scribe) = scribe else {
        node.handle(event, at);
        return actions.extend(std::iter::from_fn(|| node.poll_action()));
    };
    scribe.heard(&event, at);
    node.handle(event, at);
    while let Some(action) = node.poll_action() {
        scribe.did(&action);
        actions.push(action);
    }
    scribe.done(node);
}
