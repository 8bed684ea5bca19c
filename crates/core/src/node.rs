//! The node: what it knows, and the one door through which everything happens to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{GroupId, Message, NodeId, Rejected, Word, WordKind, encode};

use crate::Deadline;
use crate::action::{Action, Note, Plan, Words};
use crate::config::{GroupIndex, NodeConfig, Reference, VipIndex};
use crate::drain::{Client, Draining, Sent};
use crate::drill::Drill;
use crate::event::{Carry, CarryOrder, Drained, Event, Start, Ticket};
use crate::exchange::Letter;
use crate::group::{Group, State};
use crate::health::Check;
use crate::interface::{Interface, Origin};
use crate::pace::{LateOften, Pace};
use crate::peer::Peer;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::snapshot::Counters;
use crate::strain::Strain;
use crate::time::Timestamp;
use crate::timer::{Timer, TimerTable};
use crate::tuning::{NOTE_PACE, ROUTINE, ROUTINE_SILENT, Tuning};

/// A plan carried over from an earlier brain is at most this: there are numbers enough behind it, and
/// [`crate::group::NEXT_PLAN`] is none of them.
const LAST_CARRIED: Plan = Plan(u64::MAX / 2);

/// The decisions of one node.
///
/// Methods come in three kinds: `handle` changes the node, `poll_action` takes out what it wants done,
/// `next_deadline`, `snapshot` and `absence` only look.
///
/// **Call order.** After `new` and after every `handle`, call `poll_action` until it returns `None`, carrying out
/// each action without waiting for it. Then wait for the next event, at most until `next_deadline`; on the
/// deadline drain all sockets into events first and report [`Event::Timeout`] last.
#[derive(Debug, Serialize, Deserialize)]
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) tuning: Tuning,
    pub(crate) now: Timestamp,
    pub(crate) incarnation: u64,
    pub(crate) random: Random,
    pub(crate) timers: TimerTable,
    #[serde(skip)]
    actions: VecDeque<Action>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) groups: Vec<Group>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) checks: Vec<Check>,
    /// Where each VIP belongs, and what each address on an interface is.
    pub(crate) vip_group: Vec<usize>,
    pub(crate) vip_by_address: BTreeMap<(usize, IpAddr), VipIndex>,
    pub(crate) peer_by_address: BTreeMap<IpAddr, usize>,
    pub(crate) group_by_id: BTreeMap<GroupId, usize>,
    /// Groups to be decided about before this step ends.
    dirty: BTreeSet<usize>,
    /// Groups of which peers and keeper may have to be told something at the end of this step. Only these are
    /// looked at: there may be a thousand others.
    touched: BTreeSet<usize>,
    /// Groups for which it is to be told who answers.
    pub(crate) to_report: BTreeSet<usize>,
    /// Heartbeats to be sent at the end of this step.
    pub(crate) outbox: BTreeMap<usize, Letter>,
    /// Somebody is back who may have been taken for the holder: announce again what is still held after this step.
    defend_all: bool,
    /// Still listening after a fresh start.
    pub(crate) listening: bool,
    /// When it had listened long enough.
    pub(crate) listened: Timestamp,
    /// Was away and has not yet re-proved; since when.
    pub(crate) away: Option<Timestamp>,
    /// What an operator had ordered, while this node is away for that and nothing else.
    pub(crate) ordered: Option<String>,
    /// When that was last said.
    away_noted: Option<Timestamp>,
    /// Declares nobody dead before this.
    pub(crate) grace_until: Timestamp,
    /// When this node last found itself late.
    pub(crate) late_at: Option<Timestamp>,
    /// The deadline whose lateness was last dealt with, and whether it was long enough to count as away.
    lateness_met: (Timestamp, bool),
    #[serde(default)]
    pub(crate) pace: Pace,
    #[serde(default)]
    pub(crate) strain: Strain,
    pub(crate) drained: bool,
    /// Drains that are not done yet.
    pub(crate) draining: Vec<Draining>,
    /// Errands for other nodes that are not done yet.
    pub(crate) sent: Vec<Sent>,
    pub(crate) last_errand: u32,
    pub(crate) drill: Option<Drill>,
    pub(crate) leaving: bool,
    pub(crate) exited: bool,
    pub(crate) keeper_gone: bool,
    /// The daemon's slow thread makes progress; told to the peers.
    pub(crate) slow_side_alive: bool,
    pub(crate) plan: Plan,
    /// What the last plan asked for.
    pub(crate) desired: BTreeSet<VipIndex>,
    /// The next plan is to be made even if it asks for nothing new.
    pub(crate) replan: bool,
    /// Groups that wait for it, and when the last was made, the keeper last told what to remember, and the peers.
    #[serde(default)]
    pub(crate) unplanned: BTreeSet<usize>,
    #[serde(default)]
    pub(crate) planned_at: Timestamp,
    #[serde(default)]
    pub(crate) remembered_at: Timestamp,
    #[serde(default)]
    pub(crate) published_at: Timestamp,
    /// Something is published that the peers have not been told.
    #[serde(default)]
    pub(crate) unpublished: bool,
    /// What the kernel holds, as the keeper last said.
    pub(crate) mounted: BTreeSet<VipIndex>,
    /// The keeper has said so at least once.
    pub(crate) reported: bool,
    pub(crate) states_version: u32,
    pub(crate) resends: u32,
    /// Groups that are published as being in fault.
    pub(crate) faulty: usize,
    /// Groups whose VIPs are being asked for.
    pub(crate) asking: usize,
    /// What the keeper was last told of this node as a whole is no longer true.
    pub(crate) forgotten: bool,
    /// Drained, and number of the plan, as the keeper was last told.
    pub(crate) remembered: (Drained, u64),
    pub(crate) counters: Counters,
    /// A fault that was put in on purpose.
    #[cfg(feature = "sabotage")]
    pub(crate) sabotage: Option<crate::sabotage::Sabotage>,
    #[serde(deserialize_with = "crate::checkpoint::rejected")]
    pub(crate) rejected: BTreeMap<&'static str, u64>,
}

impl Node {
    /// A node at its start. `seed` must differ between lives of a node: it names the incarnation.
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64, start: Start, now: Timestamp) -> Self {
        let tuning = Tuning::new(&config);
        let mut random = Random::new(seed);
        // Zero is kept out so that no freshly zeroed memory can look like an incarnation.
        let incarnation = random.next() | 1;
        let mut peers: Vec<Peer> =
            config.peers.iter().map(|p| Peer::new(p.name.clone(), p.id, config.heartbeat)).collect();
        let mut peer_by_address = BTreeMap::new();
        for (index, path) in config.paths.iter().enumerate() {
            if let Some(peer) = peers.get_mut(path.peer.0) {
                peer.paths.push(crate::PathIndex(index));
                if !peer.addresses.contains(&path.remote) {
                    peer.addresses.push(path.remote);
                }
                peer_by_address.insert(path.remote, path.peer.0);
            }
        }
        let mut vip_group = vec![0; config.vips.len()];
        for (index, group) in config.groups.iter().enumerate() {
            for vip in &group.vips {
                vip_group[vip.0] = index;
            }
        }
        let vip_by_address = config
            .vips
            .iter()
            .enumerate()
            .map(|(index, vip)| ((vip.interface.0, vip.address.addr()), VipIndex(index)))
            .collect();
        let group_by_id = config.groups.iter().enumerate().map(|(index, group)| (group.id, index)).collect();
        let mut interfaces: Vec<Interface> = config.interfaces.iter().cloned().map(Interface::new).collect();
        for group in &config.groups {
            for reference in &group.references {
                if let (Reference::Address(address), Some(interface)) =
                    (reference, interfaces.get_mut(group.interface.0))
                {
                    interface.learn_reference(*address, Origin::Named, None);
                }
            }
        }
        let mut checks_of = vec![Vec::new(); config.groups.len()];
        for (index, check) in config.checks.iter().enumerate() {
            checks_of[check.group.0].push(index);
        }
        let groups = config.groups.iter().zip(checks_of);
        let groups = groups.map(|(group, checks)| Group::new(group.id, checks, now)).collect();
        let checks = config.checks.iter().map(|check| Check::new(check.initially_passing)).collect();
        let mut node = Self {
            tuning,
            now,
            incarnation,
            random,
            timers: TimerTable::default(),
            actions: VecDeque::new(),
            peers,
            groups,
            interfaces,
            checks,
            vip_group,
            vip_by_address,
            peer_by_address,
            group_by_id,
            dirty: BTreeSet::new(),
            touched: BTreeSet::new(),
            to_report: BTreeSet::new(),
            outbox: BTreeMap::new(),
            defend_all: false,
            listening: true,
            listened: Timestamp::ZERO,
            away: None,
            ordered: None,
            away_noted: None,
            grace_until: now,
            late_at: None,
            lateness_met: (Timestamp::ZERO, false),
            pace: Pace::default(),
            strain: Strain::default(),
            drained: false,
            draining: Vec::new(),
            sent: Vec::new(),
            last_errand: 0,
            drill: None,
            leaving: false,
            exited: false,
            keeper_gone: false,
            slow_side_alive: true,
            plan: Plan(0),
            desired: BTreeSet::new(),
            replan: false,
            unplanned: BTreeSet::new(),
            planned_at: Timestamp::ZERO,
            remembered_at: Timestamp::ZERO,
            published_at: Timestamp::ZERO,
            unpublished: false,
            mounted: BTreeSet::new(),
            reported: false,
            states_version: 0,
            resends: 0,
            faulty: 0,
            asking: 0,
            forgotten: false,
            remembered: (Drained::default(), 0),
            counters: Counters::default(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
            rejected: Rejected::ALL.iter().map(|reason| (reason.name(), 0)).collect(),
            config,
        };
        node.begin(start);
        node.settle();
        node
    }

    fn begin(&mut self, start: Start) {
        let word = |kind| {
            encode(
                &Message::Word(Word { sender: self.config.id, incarnation: self.incarnation, kind }),
                &self.config.keys,
            )
        };
        let words = Words {
            holding: word(WordKind::Holding { at_most: self.config.hold }),
            resigned: word(WordKind::Resigned),
        };
        self.act(Action::Words(words));
        match start {
            Start::Fresh { drained } => self.resume_drained(&drained),
            Start::Resumed(carry) => self.resume(&carry),
        }
        let now = self.now;
        self.timers.set(Timer::Beat, now);
        self.timers.set(Timer::Heartbeat, now + self.random.below(self.tuning.heartbeat));
        self.timers.set(Timer::Listened, now + self.tuning.dead);
        for peer in 0..self.peers.len() {
            self.send_heartbeat(peer, true);
            let first = now + Duration::from_millis(5) + self.random.below(Duration::from_millis(20));
            self.timers.set(Timer::Routine(peer), first);
        }
        self.dirty.extend(0..self.groups.len());
    }

    fn resume(&mut self, carry: &Carry) {
        self.resume_drained(&carry.drained);
        if let Some(CarryOrder { what, changes }) = &carry.ordered {
            self.note(format!("{what} carried out: {changes}"));
        }
        // Nobody counts that far, and what a broken brain has left must not break the next.
        self.plan = Plan(carry.plan).min(LAST_CARRIED);
        let mut held = BTreeSet::new();
        for carried in &carry.groups {
            let Some(&index) = self.group_by_id.get(&GroupId(carried.group)) else { continue };
            self.groups[index].term = carried.term;
            self.groups[index].reign = carried.term;
            if carried.active {
                self.groups[index].state = State::Proving { since: self.now };
                held.extend(self.config.groups[index].vips.iter().copied());
            }
        }
        if !held.is_empty() {
            self.ordered = carry.ordered.as_ref().map(|order| order.what.clone());
            self.away = Some(self.now);
            self.timers.set(Timer::Proved, self.now + self.tuning.heartbeat);
            for group in 0..self.groups.len() {
                if matches!(self.groups[group].state, State::Proving { .. }) {
                    self.start_asking(group);
                }
            }
        }
        self.resume_checks(&carry.failing);
        self.resume_errands(&carry.errands);
        // The keeper still holds these; nothing is to be applied until they are proved.
        self.desired = held;
    }

    /// Takes in one event. Infallible: what cannot be used is counted.
    pub fn handle(&mut self, event: Event<'_>, now: Timestamp) {
        debug_assert!(self.actions.is_empty(), "poll_action was not drained");
        if self.exited {
            if let Event::Command(command) = event {
                self.refuse(&command);
            }
            return;
        }
        self.observe_time(now);
        match event {
            Event::Timeout => self.fire_timers(),
            Event::Datagram { path, bytes } => self.on_datagram(path, bytes),
            Event::Frame { interface, bytes } => self.on_frame(interface, bytes),
            Event::EchoReply { from } => self.on_echo_reply(from),
            Event::Link { interface, facts } => self.on_link(interface, facts),
            Event::Applied { plan, mounted, failed, complete } => {
                self.on_applied(plan, mounted, &failed, complete);
            }
            Event::Drifted { vip, drift } => self.on_drift(vip, drift),
            Event::Check { check, failing } => self.on_check(check.0, failing),
            Event::Prepared { group, number, outcome } => self.on_prepared(group.0, number, outcome),
            Event::ClockGap { missing } => self.go_away(missing),
            Event::SlowSide { alive } => self.slow_side_alive = alive,
            Event::Unasked { interface, target } => self.on_unasked(interface, target),
            Event::KeeperGone => self.on_keeper_gone(),
            Event::Command(command) => self.on_command(command),
        }
        self.settle();
    }

    /// Takes out the next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Timeout`] is wanted next; `None` once [`Action::Exit`] has been said.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.exited { None } else { self.timers.next() }
    }

    /// Nothing is left to be taken out.
    pub(crate) fn is_drained(&self) -> bool {
        self.actions.is_empty()
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.act(Action::Note(Note { warning: false, text: text.into() }));
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.act(Action::Note(Note { warning: true, text: text.into() }));
    }

    pub(crate) fn revisit(&mut self, group: usize) {
        self.dirty.insert(group);
    }

    pub(crate) fn revisit_all(&mut self) {
        self.dirty.extend(0..self.groups.len());
    }

    /// Announces again every group that is still active when this step has been decided.
    pub(crate) fn defend_all(&mut self) {
        self.defend_all = true;
    }

    /// Something of a group has changed that peers or keeper are to be told.
    pub(crate) fn touch(&mut self, group: usize) {
        self.touched.insert(group);
    }

    /// Notices that this node was late or away before it acts on anything.
    fn observe_time(&mut self, now: Timestamp) {
        let due = self.timers.next().map_or(now, |deadline| deadline.at);
        let late = now.since(due);
        self.now = self.now.max(now);
        if late <= self.tuning.late {
            return;
        }
        self.counters.lateness_max = self.counters.lateness_max.max(late);
        self.late_at = Some(self.now);
        // The same lateness is met by each event that was waiting; count it once, at the first.
        let away = late > self.tuning.dead;
        let met = std::mem::replace(&mut self.lateness_met, (due, away));
        if met.0 != due {
            self.counters.late += 1;
            self.strain.late(self.now, late, self.tuning.heartbeat);
            if let Some(LateOften { times, worst }) = self.pace.late(self.now, late) {
                let (worst, heartbeat) = (spell(worst), spell(self.tuning.heartbeat));
                self.warn(format!(
                    "late {times} times within a minute, by up to {worst}: this machine does not keep a heartbeat of \
                     {heartbeat}; no VIP moves for that here, but peers may take this node for dead"
                ));
            }
        }
        if away && met != (due, true) {
            self.go_away(late);
        } else if !away && met.0 != due && self.now >= self.grace_until + self.tuning.dead {
            // Not again and again: a node that is always late must find the dead as well.
            self.grace_until = self.now + self.tuning.heartbeat;
        }
    }

    /// This node may have been taken for dead: nothing is said as active, and the lease is not renewed, until it
    /// has asked around.
    fn go_away(&mut self, missing: Duration) {
        if self.is_sabotaged(Sabotage::NoClockGap) {
            return;
        }
        let now = self.now;
        self.ordered = None;
        self.grace_until = now + self.tuning.heartbeat;
        self.away = Some(now);
        self.timers.set(Timer::Proved, now + self.tuning.heartbeat);
        for group in 0..self.groups.len() {
            let holding = match self.groups[group].state {
                State::Active | State::Proving { .. } => true,
                // What was concluded before the gap about a free VIP is no longer known.
                State::Mounting { .. } => true,
                State::Standby => {
                    if self.groups[group].occupancy.is_asking() {
                        self.start_asking(group);
                    }
                    false
                }
                State::Releasing { .. } => false,
            };
            if holding {
                self.groups[group].state = State::Proving { since: now };
                self.groups[group].handover = None;
                self.start_asking(group);
            }
            self.groups[group].released = None;
            self.revisit(group);
        }
        if self.away_noted.is_none_or(|at| now.since(at) >= NOTE_PACE) {
            self.away_noted = Some(now);
            self.warn(format!("this node was away for {}: asking before saying a word", spell(missing)));
        }
        for peer in 0..self.peers.len() {
            self.send_heartbeat(peer, true);
        }
    }

    fn fire_timers(&mut self) {
        // Each timer is taken at most once per step: one that wants to run again is armed for later.
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Heartbeat => self.on_heartbeat_due(),
                Timer::Beat => self.beat(),
                Timer::Listened => {
                    self.listening = false;
                    self.listened = self.now;
                    self.revisit_all();
                }
                Timer::Proved => self.revisit_all(),
                Timer::Resend => self.on_resend_due(),
                Timer::Report => self.on_report_due(),
                Timer::Remember => self.forgotten = true,
                // What was put off is done when this step ends.
                Timer::Together => {}
                Timer::Errand => self.on_errands_due(),
                Timer::Drill => self.on_drill_due(),
                Timer::Suspicion(peer) => self.on_suspicion_due(peer),
                Timer::Dead(peer) => self.on_dead_due(peer),
                Timer::Routine(peer) => {
                    self.ask_kernel(peer);
                    // Whether echoes pass at all must be known before their absence can mean anything.
                    for to in self.peers[peer].addresses.clone() {
                        self.act(Action::SendEcho { to });
                    }
                    let pause = if self.peers[peer].is_up() { ROUTINE } else { ROUTINE_SILENT };
                    let next = self.now + pause + self.random.below(pause / 4);
                    self.timers.set(Timer::Routine(peer), next);
                }
                Timer::Outline(peer) => self.on_outline_due(peer),
                Timer::References(interface) => self.on_references_due(interface),
                Timer::Trusted(interface) => {
                    if self.interfaces[interface].running() {
                        self.interfaces[interface].proven = true;
                    }
                    self.revisit_all();
                }
                Timer::Questions => self.on_questions_due(),
                Timer::Ask(group) => self.on_ask_due(group),
                Timer::Announce(group) => self.on_announce_due(group),
                Timer::Verify(group) => self.on_verify_due(group),
                Timer::Gate(group) => self.on_gate_due(group),
                Timer::Handover(group) => self.on_handover_overdue(group),
                Timer::Waiting(group) => self.on_waiting_overdue(group),
                Timer::Retry(group) => {
                    self.groups[group].mount_fault = None;
                    self.replan |= matches!(self.groups[group].state, State::Releasing { .. });
                    self.revisit(group);
                }
                Timer::Failback(group) | Timer::Revisit(group) => self.revisit(group),
            }
        }
    }

    /// Decides about every group that may be concerned, then says and orders what follows from it.
    fn settle(&mut self) {
        // Deciding about a group marks it again only when its state has changed, and states are few.
        for _ in 0..8 {
            let mut dirty = std::mem::take(&mut self.dirty);
            if dirty.is_empty() {
                break;
            }
            self.add_related(&mut dirty);
            for &group in &dirty {
                let held = self.groups[group].wants_vips();
                self.decide(group);
                if self.groups[group].wants_vips() != held {
                    let mut related = BTreeSet::from([group]);
                    self.add_related(&mut related);
                    related.remove(&group);
                    self.dirty.extend(related);
                }
            }
            self.touched.extend(dirty);
            self.finish_away();
        }
        if std::mem::take(&mut self.defend_all) {
            for group in 0..self.groups.len() {
                if matches!(self.groups[group].state, State::Active) {
                    self.defend(group);
                }
            }
        }
        let mut touched = std::mem::take(&mut self.touched);
        self.add_related(&mut touched);
        self.record_idle(&touched);
        self.plan_addresses(&touched);
        self.publish(&touched);
        self.flush();
        self.remember(&touched);
        self.finish_leaving();
    }

    /// Away no longer once no group is left to prove.
    fn finish_away(&mut self) {
        let Some(since) = self.away else { return };
        let proving = self.groups.iter().any(|group| matches!(group.state, State::Proving { .. }));
        if !proving
            && (self.now >= since + self.tuning.heartbeat || self.peers.iter().any(|p| p.heard_since(since)))
        {
            self.away = None;
            self.ordered = None;
            // What each group says of itself may change with this.
            self.touched.extend(0..self.groups.len());
            self.timers.cancel(Timer::Proved);
            // The keeper waits for the first beat after the gap before it renews.
            self.beat();
        }
    }

    /// Proves to the keeper that this brain is alive, and whether it may go on as active.
    pub(crate) fn beat(&mut self) {
        let renew = self.away.is_none();
        self.act(Action::Beat { renew });
        self.timers.set(Timer::Beat, self.now + self.tuning.beat);
    }

    /// Leaves when it is to and nothing is mounted any more.
    fn finish_leaving(&mut self) {
        if !self.leaving
            || self.exited
            || self.groups.iter().any(|group| !matches!(group.state, State::Standby))
        {
            return;
        }
        // Nobody acknowledges a farewell; say it twice.
        for _ in 0..2 {
            for peer in 0..self.peers.len() {
                self.send_letter(peer, Letter::default());
            }
        }
        self.exit();
    }

    /// The end: nobody is left without an answer.
    pub(crate) fn exit(&mut self) {
        self.exited = true;
        let waiting = self.groups.iter_mut().flat_map(|group| std::mem::take(&mut group.waiting));
        let ticket = |client: Client| match client {
            Client::Ticket(ticket) => Some(ticket),
            Client::Drill | Client::Peer(..) => None,
        };
        let mut open: Vec<Ticket> = waiting.filter_map(|waiting| ticket(waiting.client)).collect();
        open.extend(self.abandon_orders());
        open.extend(self.abandon_drill());
        for ticket in open {
            self.act(Action::Reply { ticket, outcome: Err("this node has ended".to_owned()) });
        }
        self.act(Action::Exit);
    }

    pub(crate) fn group_name(&self, group: usize) -> &str {
        &self.config.groups[group].name
    }

    pub(crate) fn group_index(&self, group: usize) -> GroupIndex {
        GroupIndex(group)
    }

    /// Name of a node by its id.
    pub(crate) fn node_name(&self, id: NodeId) -> &str {
        if id == self.config.id {
            return &self.config.name;
        }
        self.peers.iter().find(|peer| peer.id == id).map_or("an unknown node", |peer| &peer.name)
    }

    pub(crate) fn peer_index(&self, id: NodeId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.id == id)
    }
}

/// A duration for people.
pub(crate) fn spell(span: Duration) -> String {
    let micros = span.as_micros();
    if micros < 10_000 {
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    } else if micros < 10_000_000 {
        format!("{} ms", micros / 1000)
    } else {
        format!("{} s", span.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, GROUP, HEARTBEAT, config};
    use crate::{OccupiedPolicy, Switchover};

    #[test]
    fn a_brain_can_begin_with_whatever_another_has_left() {
        for number in [u64::MAX, u64::MAX - 1, u64::MAX / 2, 0] {
            let group = crate::CarryGroup { group: GROUP.0, term: number, active: true };
            let carry = Carry { plan: number, groups: vec![group], ..Carry::default() };
            let config = config(Switchover::Strict, OccupiedPolicy::Wait);
            let now = Timestamp::from_nanos(1);
            let mut node = Node::new(config, 1, Start::Resumed(carry), now);
            let mut plans = Vec::new();
            let facts = crate::LinkFacts::default();
            let mut event = Event::Link { interface: crate::InterfaceIndex(0), facts };
            for step in 0..100 {
                plans.extend(std::iter::from_fn(|| node.poll_action()).filter_map(|action| match action {
                    Action::Apply { plan, desired } => Some((plan, desired.len())),
                    _ => None,
                }));
                // Its interface is not there, so it lets go when the keeper has told what is mounted.
                node.handle(event, now + Duration::from_millis(50) * step);
                event = if step == 0 {
                    Event::Applied {
                        plan: Plan(number),
                        mounted: Vec::new(),
                        failed: Vec::new(),
                        complete: true,
                    }
                } else {
                    Event::Timeout
                };
            }
            let after = Plan(number.min(u64::MAX / 2) + 1);
            assert_eq!(plans.first(), Some(&(after, 0)), "{number}");
        }
    }

    #[test]
    fn a_brain_that_was_ordered_says_so_and_the_next_does_not() {
        let mut bench = Bench::active();
        bench.pass(HEARTBEAT);
        bench.node.forgotten = true;
        bench.timeout();
        let carry = bench.done.carry.take().expect("remembered");
        let order = CarryOrder { what: "reload".into(), changes: "nothing".into() };
        let reason = |carry: &Carry| {
            let mut bench = Bench::resumed(carry.clone());
            bench.pass(HEARTBEAT * 4);
            let remembered = bench.done.carry.expect("remembered");
            assert_eq!(remembered.ordered, None, "what follows was not ordered");
            let said = bench.done.notes.iter().any(|note| note == "reload carried out: nothing");
            (bench.done.decisions.last().expect("it goes on").reason.clone(), said)
        };
        let (ordered, said) = reason(&Carry { ordered: Some(order), ..carry.clone() });
        assert!(said && ordered.starts_with("reload: still the holder after "), "{ordered}");
        let (died, said) = reason(&carry);
        assert!(!said && died.starts_with("back after "), "{died}");
    }
}
