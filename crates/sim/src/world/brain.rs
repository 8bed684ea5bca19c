//! The unprivileged process of a daemon: the core, its sockets, and what becomes of them when it is kept waiting.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vipdrift_core::keeper::WITHOUT_LEASE;
use vipdrift_core::{
    Action, Carry, CheckIndex, Command, Drained, Drift, Event, GroupIndex, InterfaceIndex, LinkFacts, Node,
    PathIndex, Plan, Start, Ticket, VipIndex,
};
use vipdrift_wire::parse_frame;

use super::keeper::ToKeeper;
use super::{Thing, World};
use crate::invariants::Sight;
use crate::scenario::{Fault, NAMES, NodeNumber};

/// Packets that a socket keeps for a brain that does not read.
const SOCKET: usize = 300;
/// After a longer pause than this a brain does not judge its keeper by what it missed meanwhile.
const FROZEN: Duration = Duration::from_millis(250);

/// A brain hears the results of its checks by then.
const FIRST_RESULTS: Duration = Duration::from_millis(20);

/// How long a machine that stood still is watched with care.
const REMEMBERED: Duration = Duration::from_secs(2);

/// What the keeper says.
#[derive(Debug, Clone)]
pub(crate) enum ToBrain {
    Link(LinkFacts),
    Applied {
        plan: Plan,
        mounted: Vec<VipIndex>,
        failed: Vec<(VipIndex, String)>,
        complete: bool,
    },
    Drifted {
        vip: VipIndex,
        drift: Drift,
    },
    Gap {
        epoch: u64,
        missing: Duration,
    },
    SlowSide {
        alive: bool,
    },
    /// The program before a mount has succeeded.
    Prepared {
        group: usize,
        number: u64,
    },
    Check {
        check: CheckIndex,
        failing: Option<String>,
    },
    Shutdown,
    KeeperGone,
    Command(Command),
}

/// See the module.
pub(crate) struct Brain {
    pub(crate) node: Node,
    /// When its next deadline comes, unless it stands still.
    pub(crate) wake: Option<Duration>,
    /// It stands still (stopped, or kept from the processor) since then.
    pub(crate) frozen: Option<Duration>,
    /// Numbers the times that it was kept waiting.
    stall: u64,
    /// It does what the core wants, and reads nothing meanwhile.
    acting: bool,
    pipe: VecDeque<ToBrain>,
    datagrams: VecDeque<(usize, Vec<u8>)>,
    frames: VecDeque<Rc<[u8]>>,
    echoes: VecDeque<IpAddr>,
    /// What the keeper last said is mounted.
    pub(crate) told: BTreeSet<VipIndex>,
    /// The last plan.
    pub(crate) desired: BTreeSet<VipIndex>,
    /// Number of the last gap that it knows of.
    pub(crate) epoch: u64,
    /// Commands not yet answered.
    pub(crate) open: BTreeSet<Ticket>,
    /// It began with nothing mounted, and has not yet said a word.
    pub(crate) silent: bool,
    /// The last beat's word on the lease.
    pub(crate) renews: bool,
}

impl World {
    /// A brain's process is ready: it begins to think.
    pub(super) fn begin_brain(&mut self, host: usize, resumed: Option<Carry>, epoch: u64) {
        let now = self.hosts[host].clock.read(self.now);
        let config = self.setup.node(host, &self.keys, self.hosts[host].other_file);
        let seed = self.random.next();
        let drained = Drained { node: self.hosts[host].drained, ..Drained::default() };
        let silent = resumed.is_none();
        let start = resumed.map_or(Start::Fresh { drained }, Start::Resumed);
        self.say(|| {
            format!("{}: a brain begins, {}", NAMES[host], if silent { "afresh" } else { "resumed" })
        });
        let node = Node::new(config, seed, start, now);
        #[cfg(feature = "sabotage")]
        let node = node.sabotaged(self.sabotage);
        self.hosts[host].brain = Some(Brain {
            node,
            wake: None,
            frozen: None,
            stall: 0,
            acting: false,
            pipe: VecDeque::new(),
            datagrams: VecDeque::new(),
            frames: VecDeque::new(),
            echoes: VecDeque::new(),
            told: BTreeSet::new(),
            desired: BTreeSet::new(),
            epoch,
            open: BTreeSet::new(),
            silent,
            renews: false,
        });
        self.see(&Sight::Born { host });
        let first = self.random.spread(Duration::from_millis(1), FIRST_RESULTS);
        self.push(first, Thing::Results { host });
        self.drain(host);
        self.read_pipe(host);
    }

    /// Tells a brain how its checks are.
    pub(super) fn tell_checks(&mut self, host: usize) {
        for (index, (group, _)) in self.setup.checks().into_iter().enumerate() {
            let fails = self.faults().any(|fault| match fault {
                Fault::ServiceFails { on, group: of } => on.0 == host && *of == group,
                _ => false,
            });
            let failing = fails.then(|| "connection refused".to_owned());
            self.tell_brain(host, ToBrain::Check { check: CheckIndex(index), failing });
        }
    }

    // ---- Events -----------------------------------------------------------------------------------------------

    pub(super) fn time_out(&mut self, host: usize) {
        let Some(brain) = &self.hosts[host].brain else { return };
        let before = brain.node.next_deadline();
        self.mix(1, host, 0);
        if self.hosts[host].thawed.is_some_and(|at| self.now > at + REMEMBERED) {
            self.hosts[host].thawed = None;
        }
        if let Some(longest) = self.stalls(host)
            && self.random.chance(20)
        {
            let pause = self.random.upto(longest);
            return self.stall(host, pause);
        }
        self.give(host, Event::Timeout);
        self.drain(host);
        self.read_pipe(host);
        self.see(&Sight::TimedOut { host, before });
    }

    /// How long a brain is kept from the processor, where it is.
    fn stalls(&self, host: usize) -> Option<Duration> {
        self.faults().find_map(|fault| match fault {
            crate::scenario::Fault::BrainStalls { on: NodeNumber(on), longest } if *on == host => {
                Some(*longest)
            }
            _ => None,
        })
    }

    fn give(&mut self, host: usize, event: Event<'_>) {
        let now = self.hosts[host].clock.read(self.now);
        if let Some(brain) = &mut self.hosts[host].brain {
            brain.node.handle(event, now);
        }
    }

    /// Gives an event to a brain that reads at once.
    fn give_now(&mut self, host: usize, event: Event<'_>) {
        self.give(host, event);
        self.drain(host);
        self.read_pipe(host);
    }

    pub(super) fn brain_hears(&mut self, host: usize, path: usize, bytes: Vec<u8>) {
        let Some(brain) = &mut self.hosts[host].brain else { return };
        if brain.frozen.is_some() {
            if brain.datagrams.len() < SOCKET {
                brain.datagrams.push_back((path, bytes));
            }
            return;
        }
        let last = bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
        self.mix(2, host, last);
        self.give_now(host, Event::Datagram { path: Some(PathIndex(path)), bytes: &bytes });
        self.record(host, path, bytes);
    }

    /// A datagram that no node has sent to this one now.
    pub(crate) fn brain_is_fooled(&mut self, host: usize, path: usize, bytes: &[u8]) {
        let Some(brain) = self.hosts[host].brain.as_ref().filter(|brain| brain.frozen.is_none()) else {
            return;
        };
        let before = brain.node.snapshot();
        self.mix(8, host, bytes.len() as u64);
        self.give_now(host, Event::Datagram { path: Some(PathIndex(path)), bytes });
        self.see(&Sight::Fooled { host, before: &before });
    }

    pub(crate) fn brain_sees(&mut self, host: usize, bytes: Rc<[u8]>) {
        let Some(brain) = &mut self.hosts[host].brain else { return };
        if brain.frozen.is_some() {
            if brain.frames.len() < SOCKET {
                brain.frames.push_back(bytes);
            }
            return;
        }
        self.mix(3, host, bytes.len() as u64);
        self.give_now(host, Event::Frame { interface: InterfaceIndex(0), bytes: &bytes });
    }

    pub(super) fn brain_gets_echo(&mut self, host: usize, from: IpAddr) {
        let Some(brain) = &mut self.hosts[host].brain else { return };
        if brain.frozen.is_some() {
            return brain.echoes.push_back(from);
        }
        self.mix(4, host, 0);
        self.give_now(host, Event::EchoReply { from });
    }

    pub(super) fn tell_brain(&mut self, host: usize, message: ToBrain) {
        let state = &mut self.hosts[host];
        let still = state.standstill.is_some();
        let Some(brain) = &mut state.brain else { return };
        brain.pipe.push_back(message);
        if !still {
            self.read_pipe(host);
        }
    }

    fn hear_keeper(&mut self, host: usize, message: ToBrain) {
        let Some(brain) = &mut self.hosts[host].brain else { return };
        match message {
            ToBrain::Link(facts) => self.give(host, Event::Link { interface: InterfaceIndex(0), facts }),
            ToBrain::Applied { plan, mounted, failed, complete } => {
                brain.told = mounted.iter().copied().collect();
                self.give(host, Event::Applied { plan, mounted, failed, complete });
            }
            ToBrain::Drifted { vip, drift } => self.give(host, Event::Drifted { vip, drift }),
            ToBrain::Gap { epoch, missing } => {
                brain.epoch = epoch;
                self.give(host, Event::ClockGap { missing });
            }
            ToBrain::SlowSide { alive } => self.give(host, Event::SlowSide { alive }),
            ToBrain::Prepared { group, number } => {
                let group = GroupIndex(group);
                self.give(host, Event::Prepared { group, number, outcome: Ok(()) });
            }
            ToBrain::Check { check, failing } => self.give(host, Event::Check { check, failing }),
            ToBrain::Shutdown => self.give(host, Event::Command(Command::Shutdown)),
            ToBrain::KeeperGone => self.give(host, Event::KeeperGone),
            ToBrain::Command(command) => {
                if let Command::Switchover { ticket, .. }
                | Command::Drill { ticket, .. }
                | Command::Drain { ticket, .. }
                | Command::Undrain { ticket, .. } = &command
                {
                    brain.open.insert(*ticket);
                }
                self.give(host, Event::Command(command));
            }
        }
    }

    // ---- Standing still ---------------------------------------------------------------------------------------

    /// The brain is stopped until [`World::thaw_brain`].
    pub(super) fn freeze_brain(&mut self, host: usize) {
        let now = self.now;
        if let Some(brain) = self.hosts[host].brain.as_mut().filter(|brain| brain.frozen.is_none()) {
            brain.frozen = Some(now);
            brain.stall += 1;
            brain.wake = None;
        }
    }

    /// The brain does not get the processor for a while.
    pub(super) fn stall(&mut self, host: usize, pause: Duration) {
        self.freeze_brain(host);
        let Some(brain) = &self.hosts[host].brain else { return };
        let stall = brain.stall;
        self.push(pause, Thing::StallOver { host, stall });
    }

    pub(super) fn stall_over(&mut self, host: usize, stall: u64) {
        if self.keeps_for_later(host, || Thing::StallOver { host, stall }, false) {
            return;
        }
        let stopped = self
            .faults()
            .any(|fault| matches!(fault, crate::scenario::Fault::BrainFrozen { on } if on.0 == host));
        if !stopped && self.hosts[host].brain.as_ref().is_some_and(|brain| brain.stall == stall) {
            self.thaw_brain(host);
        }
    }

    /// It goes on: the pipe first, then all its sockets, then its timer. What it wants done is done when the sockets are
    /// empty, as the daemon does it.
    pub(super) fn thaw_brain(&mut self, host: usize) {
        let now = self.now;
        let Some(brain) = &mut self.hosts[host].brain else { return };
        let Some(since) = brain.frozen.take() else { return };
        self.say(|| format!("{}: its brain goes on after {:?}", NAMES[host], now - since));
        self.mix(6, host, 0);
        self.read_pipe(host);
        let mut actions = Vec::new();
        loop {
            let Some(brain) = &mut self.hosts[host].brain else { return };
            if let Some((path, bytes)) = brain.datagrams.pop_front() {
                self.give(host, Event::Datagram { path: Some(PathIndex(path)), bytes: &bytes });
            } else if let Some(bytes) = brain.frames.pop_front() {
                self.give(host, Event::Frame { interface: InterfaceIndex(0), bytes: &bytes });
            } else if let Some(from) = brain.echoes.pop_front() {
                self.give(host, Event::EchoReply { from });
            } else {
                break;
            }
            if let Some(brain) = &mut self.hosts[host].brain {
                actions.extend(std::iter::from_fn(|| brain.node.poll_action()));
            }
        }
        self.act(host, actions);
        self.read_pipe(host);
        self.rouse(host);
        self.judge_keeper(host, now - since);
    }

    /// What the keeper has said while the brain did not read. A keeper may answer what the core wants in the same
    /// instant: that is read when everything the core wants is done, as the daemon does it.
    pub(super) fn read_pipe(&mut self, host: usize) {
        while let Some(brain) = &mut self.hosts[host].brain
            && brain.frozen.is_none()
            && !brain.acting
            && let Some(message) = brain.pipe.pop_front()
        {
            self.mix(5, host, 0);
            self.hear_keeper(host, message);
            self.drain(host);
        }
    }

    /// A keeper that has been silent for two thirds of the lease is as good as gone.
    pub(super) fn keeper_missed(&mut self, host: usize, life: u64, freeze: u64) {
        if self.keeps_for_later(host, || Thing::KeeperMissed { host, life, freeze }, false) {
            return;
        }
        let state = &self.hosts[host];
        let hangs =
            state.keeper.as_ref().is_some_and(|keeper| keeper.frozen.is_some() && keeper.freeze == freeze);
        let Some(brain) = state.brain.as_ref().filter(|_| hangs && state.life == life) else { return };
        if brain.frozen.is_none() {
            self.say(|| format!("{}: its keeper hangs", NAMES[host]));
            self.tell_brain(host, ToBrain::KeeperGone);
        }
    }

    /// A brain that has stood still for long gives its keeper the whole time anew.
    fn judge_keeper(&mut self, host: usize, stood: Duration) {
        let state = &self.hosts[host];
        let lease = self.setup.lease().unwrap_or(WITHOUT_LEASE);
        if let Some(keeper) = state.keeper.as_ref()
            && let Some(since) = keeper.frozen
        {
            let (life, freeze) = (state.life, keeper.freeze);
            let heard = if stood > FROZEN { self.now } else { since };
            let after = (heard + lease * 2 / 3).saturating_sub(self.now);
            self.push(after, Thing::KeeperMissed { host, life, freeze });
        } else if state.keeper.is_none() {
            self.tell_brain(host, ToBrain::KeeperGone);
        }
    }

    // ---- Actions ----------------------------------------------------------------------------------------------

    fn drain(&mut self, host: usize) {
        let mut actions = Vec::new();
        if let Some(brain) = &mut self.hosts[host].brain {
            actions.extend(std::iter::from_fn(|| brain.node.poll_action()));
        }
        self.act(host, actions);
        self.rouse(host);
    }

    /// Does what the core wants, until the process has ended.
    fn act(&mut self, host: usize, actions: Vec<Action>) {
        for action in actions {
            let Some(brain) = &mut self.hosts[host].brain else { return };
            brain.acting = true;
            self.carry_out(host, action);
        }
        if let Some(brain) = &mut self.hosts[host].brain {
            brain.acting = false;
        }
    }

    /// Sets when its next deadline comes.
    pub(super) fn rouse(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        let still = state.standstill.is_some();
        if let Some(brain) = &mut state.brain {
            brain.wake = None;
            if brain.frozen.is_none() && !still {
                let next = brain.node.next_deadline();
                let late = state.late;
                brain.wake =
                    next.and_then(|next| state.clock.when(next.at)).map(|at| (at + late).max(self.now));
            }
        }
    }

    fn carry_out(&mut self, host: usize, action: Action) {
        self.hosts[host].actions += 1;
        match action {
            Action::SendDatagram { path: PathIndex(path), bytes } => {
                if self.hosts[host].thawed.is_some()
                    || self.hosts[host].brain.as_ref().is_some_and(|b| b.silent)
                {
                    self.see(&Sight::Said { host, bytes: &bytes });
                    if let Some(brain) = &mut self.hosts[host].brain {
                        brain.silent = false;
                    }
                }
                let paths = if self.setup.cross_link { 2 } else { 1 };
                let (peer, lan) = (path / paths, path % paths);
                let to = if peer < host { peer } else { peer + 1 };
                self.send_datagram(lan, host, to, bytes);
            }
            Action::SendFrame { bytes, .. } => {
                if let Ok((_, frame)) = parse_frame(&bytes)
                    && let Some((vip, _)) = self.claims(&frame)
                {
                    self.see(&Sight::Announced { host, vip });
                }
                self.send_frame(host, bytes);
            }
            Action::SendEcho { to } => self.send_echo(host, to),
            Action::Apply { plan, desired } => {
                self.see(&Sight::Ordered { host, desired: &desired });
                if let Some(brain) = &mut self.hosts[host].brain {
                    brain.desired.clone_from(&desired);
                }
                self.tell_keeper(host, ToKeeper::Apply { plan, desired });
            }
            Action::Beat { renew } => {
                let Some(brain) = &mut self.hosts[host].brain else { return };
                brain.renews = renew;
                let epoch = brain.epoch;
                self.tell_keeper(host, ToKeeper::Beat { renew, epoch });
            }
            Action::Words(words) => self.tell_keeper(host, ToKeeper::Words(words)),
            Action::Remember(carry) => self.tell_keeper(host, ToKeeper::Remember(carry)),
            Action::Record(decision) => {
                self.say(|| {
                    let (from, to) = (decision.from, decision.to);
                    let group = crate::scenario::group_name(decision.group.0);
                    let evidence = decision.evidence.join("; ");
                    let (term, reason) = (decision.term, &decision.reason);
                    format!(
                        "{}: {group}: {from:?} -> {to:?}, term {term}: {reason} [{evidence}]",
                        NAMES[host]
                    )
                });
                self.mix(7, host, decision.term);
                self.see(&Sight::Decided { host, decision: &decision });
            }
            Action::Note(note) => self.say(|| format!("{}: {}", NAMES[host], note.text)),
            Action::Reply { ticket, outcome } => {
                self.say(|| format!("{}: answers {ticket:?}: {outcome:?}", NAMES[host]));
                if let Some(brain) = &mut self.hosts[host].brain {
                    let open = brain.open.remove(&ticket);
                    self.see(&Sight::Replied { host, known: open });
                }
                self.replies.insert(ticket, outcome);
            }
            Action::Prepare { group, number, .. } => {
                self.see(&Sight::Prepares { host, group: group.0, yes: true });
                let takes = self.setup.groups[group.0].gate;
                self.push(takes, Thing::Prepared { host, group: group.0, number });
            }
            Action::Unprepare { group, .. } => {
                self.see(&Sight::Prepares { host, group: group.0, yes: false });
            }
            Action::Drilled { ticket, .. } => {
                if let Some(brain) = &mut self.hosts[host].brain {
                    let open = brain.open.remove(&ticket);
                    self.see(&Sight::Replied { host, known: open });
                }
                self.replies.insert(ticket, Ok("drilled".to_owned()));
            }
            Action::Exit => {
                let open = self.hosts[host].brain.as_ref().map_or(0, |brain| brain.open.len());
                self.see(&Sight::Exited { host, open });
                self.tell_keeper(host, ToKeeper::Exit);
                self.brain_process_ends(host);
            }
        }
    }
}
