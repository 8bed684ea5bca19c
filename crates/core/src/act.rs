//! Mounting, unmounting, handing over: the steps that follow from a decision.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Message, NodeId, Order, Role, Word, WordKind, encode};

use crate::action::{Action, Cause, Decision, Plan, Takeover};
use crate::config::{Switchover, VipIndex};
use crate::drain::Client;
use crate::event::Command;
use crate::group::{Because, Handover, NEXT_PLAN, Request, State, Waiting};
use crate::node::Node;
use crate::sabotage::Sabotage;
use crate::snapshot::RoleName;
use crate::timer::Timer;
use crate::tuning::{ANNOUNCE_AGAIN, RETRY_FIRST, RETRY_MAX, SWITCHOVER_LIMIT, move_limit};

impl Node {
    /// Claims a group: a new term, and the VIPs wanted in the kernel.
    pub(crate) fn begin_mounting(&mut self, group: usize, because: Because) {
        let from = self.role(group);
        self.stop_asking(group);
        self.touch(group);
        let g = &mut self.groups[group];
        g.term = g.term.saturating_add(1);
        g.reign = g.term;
        g.released = None;
        g.reserved = None;
        g.resigned = false;
        g.request = None;
        g.failing_back = None;
        g.answered_by = None;
        g.reported = None;
        g.verifications = 0;
        g.noted.clear();
        g.yielded = None;
        g.contested = None;
        g.free_since = None;
        g.idle_since = None;
        g.state = State::Mounting { plan: NEXT_PLAN, from, because };
        if self.is_sabotaged(Sabotage::AnnounceFirst) {
            let vips = self.config.groups[group].vips.clone();
            self.mounted.extend(&vips);
            self.announce(&vips);
        }
    }

    /// Asks the keeper once more for VIPs that it still holds, to hear from the kernel that they are there.
    pub(crate) fn mount_again(&mut self, group: usize, because: Because) {
        self.stop_asking(group);
        self.touch(group);
        self.replan = true;
        self.groups[group].state = State::Mounting { plan: NEXT_PLAN, from: RoleName::Active, because };
    }

    /// Lets a group go: unmount first, then, confirmed, say so.
    pub(crate) fn release(
        &mut self,
        group: usize,
        heir: Option<NodeId>,
        reason: String,
        evidence: Vec<String>,
    ) {
        let from = self.role(group);
        let prepared = self.config.groups[group].gate.is_some()
            && matches!(&self.groups[group].state, State::Mounting { from, .. } if *from != RoleName::Active);
        self.stop_asking(group);
        self.touch(group);
        self.timers.cancel(Timer::Announce(group));
        let until = self.now + self.reservation();
        let term = self.groups[group].reign;
        let g = &mut self.groups[group];
        g.state = State::Releasing { plan: NEXT_PLAN, heir };
        g.handover = None;
        g.to_announce.clear();
        g.conflict = None;
        g.contested = None;
        g.released = None;
        g.resigned = heir.is_some();
        g.reserved = heir.map(|heir| (heir, until));
        g.since = self.now;
        g.reason.clone_from(&reason);
        if prepared {
            self.unprepare(group);
        }
        if from == RoleName::Active {
            let to = self.idle_role(group);
            self.groups[group].shown = to;
            self.act(Action::Record(Decision {
                group: self.group_index(group),
                from,
                to,
                term,
                reason,
                evidence,
                takeover: None,
            }));
        }
    }

    /// The keeper has applied (part of) a plan.
    pub(crate) fn on_applied(
        &mut self,
        plan: Plan,
        mounted: Vec<VipIndex>,
        failed: &[(VipIndex, String)],
        complete: bool,
    ) {
        let before = std::mem::replace(&mut self.mounted, mounted.into_iter().collect());
        self.reported = true;
        for group in 0..self.groups.len() {
            let vips = self.config.groups[group].vips.clone();
            let fresh: Vec<VipIndex> = vips
                .iter()
                .copied()
                .filter(|vip| self.mounted.contains(vip) && !before.contains(vip))
                .collect();
            let all = vips.iter().all(|vip| self.mounted.contains(vip));
            let none = !vips.iter().any(|vip| self.mounted.contains(vip));
            let error = failed.iter().find(|(vip, _)| vips.contains(vip)).map(|(_, error)| error.clone());
            match self.groups[group].state.clone() {
                State::Mounting { plan: wanted, from, because } if plan >= wanted => {
                    if all || !complete {
                        // Each VIP as soon as it is there; the first does not wait for the last.
                        self.announce(&fresh);
                    }
                    if all {
                        self.become_active(group, from, because);
                    } else if complete {
                        self.fail_mount(group, error.unwrap_or_else(|| "not mounted".to_owned()));
                    }
                }
                State::Releasing { plan: wanted, heir } if plan >= wanted => {
                    if none {
                        self.become_standby(group, heir);
                    } else if complete {
                        let name = self.group_name(group).to_owned();
                        self.warn(format!("{name}: unmount failed: {}", error.unwrap_or_default()));
                        self.timers.set(Timer::Retry(group), self.now + RETRY_FIRST);
                    }
                }
                State::Active if complete && !all => {
                    // The lease ran out behind our back: prove the right to the VIP anew before mounting it again.
                    let name = self.group_name(group).to_owned();
                    self.warn(format!("{name}: VIP gone from the kernel"));
                    self.groups[group].state = State::Proving { since: self.now };
                    self.groups[group].handover = None;
                    self.away.get_or_insert(self.now);
                    self.timers.set_sooner(Timer::Proved, self.now + self.tuning.heartbeat);
                    self.start_asking(group);
                    self.revisit(group);
                }
                State::Standby if complete && !none => {
                    // Left behind by a brain that died in the middle of something.
                    let name = self.group_name(group).to_owned();
                    self.warn(format!("{name}: still mounted on a standby node; unmounting"));
                    self.groups[group].state = State::Releasing { plan: NEXT_PLAN, heir: None };
                    self.replan = true;
                    self.touch(group);
                }
                _ => {}
            }
            if vips.iter().any(|vip| self.mounted.contains(vip) != before.contains(vip)) {
                self.touch(group);
            }
            if matches!(self.groups[group].state, State::Proving { .. }) {
                self.revisit(group);
            }
        }
    }

    fn become_active(&mut self, group: usize, from: RoleName, because: Because) {
        let now = self.now;
        let vips = self.config.groups[group].vips.clone();
        let again = from == RoleName::Active;
        let g = &mut self.groups[group];
        g.state = State::Active;
        g.mount_failures = 0;
        g.ghost = None;
        g.conflict = None;
        g.contested = None;
        g.shown = RoleName::Active;
        g.announced = 1;
        g.last_defence = Some(now);
        g.reason.clone_from(&because.reason);
        if !again {
            g.since = now;
        }
        let outage = because.held_until.map(|at| now.since(at));
        let outage = outage.or((because.cause == Some(Cause::HandedOver)).then_some(Duration::ZERO));
        let takeover = because.cause.filter(|_| !again).map(|cause| Takeover { cause, outage });
        if let Some(takeover) = takeover {
            *g.takeovers.entry(takeover.cause).or_default() += 1;
            g.outage = takeover.outage;
        }
        let term = g.reign;
        if again {
            // Nothing was mounted anew, so nothing has been announced in this step.
            self.announce(&vips[..vips.len().min(crate::tuning::ANNOUNCE_BATCH)]);
        }
        self.timers.set(Timer::Announce(group), now + ANNOUNCE_AGAIN[0]);
        self.act(Action::Record(Decision {
            group: self.group_index(group),
            from,
            to: RoleName::Active,
            term,
            reason: because.reason,
            evidence: because.evidence,
            takeover,
        }));
        vips.into_iter().for_each(|vip| self.drill_sees(vip));
        let id = self.config.id;
        self.finish_waiting(group, id);
        self.revisit(group);
    }

    fn become_standby(&mut self, group: usize, heir: Option<NodeId>) {
        self.groups[group].state = State::Standby;
        if heir.is_some() {
            // The heir's time runs from the moment that it can know.
            let until = self.now + self.reservation();
            self.groups[group].reserved = heir.map(|heir| (heir, until));
            self.timers.set(Timer::Revisit(group), until);
        }
        self.finish_drains();
        self.revisit(group);
    }

    fn fail_mount(&mut self, group: usize, error: String) {
        let fault = format!("mount failed: {error}");
        self.note_mount_fault(group, fault.clone());
        self.release(group, None, fault, Vec::new());
    }

    /// This node could not become active. It is in fault for a while, ever longer.
    pub(crate) fn note_mount_fault(&mut self, group: usize, fault: String) {
        let failures = self.groups[group].mount_failures;
        let pause = (RETRY_FIRST * 2u32.saturating_pow(failures)).min(RETRY_MAX);
        self.groups[group].mount_failures = failures + 1;
        self.groups[group].mount_fault = Some(fault.clone());
        self.timers.set(Timer::Retry(group), self.now + pause);
        let name = self.group_name(group).to_owned();
        self.warn(format!("{name}: {fault}; next try in {}", crate::node::spell(pause)));
        let id = self.config.id;
        self.fail_waiting(group, id, &fault);
    }

    // ---- Planned moves ----------------------------------------------------------------------------------------

    /// Gives an active group to `heir`, with what must be on the same node.
    pub(crate) fn begin_handover(&mut self, group: usize, heir: NodeId, reason: String) {
        self.take_along(group, heir, &reason);
        self.hand_over(group, heir, reason);
    }

    /// Strictly, or with the heir mounting first.
    pub(crate) fn hand_over(&mut self, group: usize, heir: NodeId, reason: String) {
        match self.config.groups[group].switchover {
            Switchover::Strict => self.release(group, Some(heir), reason, Vec::new()),
            Switchover::Hitless => {
                let claimed = std::collections::BTreeSet::new();
                self.groups[group].handover =
                    Some(Handover { heir, hitless: true, reason, served: None, claimed });
                self.touch(group);
                self.timers.set(Timer::Handover(group), self.now + SWITCHOVER_LIMIT);
            }
        }
    }

    /// The heir has not mounted.
    pub(crate) fn on_handover_overdue(&mut self, group: usize) {
        if let Some(handover) = self.groups[group].handover.take() {
            self.groups[group].failing_back = None;
            let name = self.group_name(group).to_owned();
            let heir = self.node_name(handover.heir).to_owned();
            self.warn(format!("{name}: {heir} did not take over in time"));
            // It has to see that the offer is withdrawn before it is made another one.
            let (id, again) = (self.groups[group].id, self.now + self.tuning.heartbeat * 2);
            if let Some(peer) = self.peer_index(handover.heir)
                && let Some(remote) = self.peers[peer].groups.get_mut(&id)
            {
                remote.standby_since = remote.standby_since.map(|_| again);
            }
            self.touch(group);
            if !self.is_eligible(group) && matches!(self.groups[group].state, State::Active) {
                let reason = handover.reason;
                self.release(group, None, reason, Vec::new());
            }
        }
        self.revisit(group);
    }

    /// Whoever has waited long enough for a planned move is told that it has failed.
    pub(crate) fn on_waiting_overdue(&mut self, group: usize) {
        let now = self.now;
        let waiting = std::mem::take(&mut self.groups[group].waiting);
        let (rest, over) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| now < waiting.until);
        if let Some(next) = rest.iter().map(|waiting| waiting.until).min() {
            self.timers.set(Timer::Waiting(group), next);
        }
        self.groups[group].waiting = rest;
        if self.groups[group].request.as_ref().is_some_and(|request| now >= request.until) {
            self.groups[group].request = None;
        }
        for Waiting { client, heir, .. } in over {
            let outcome = Err(format!("{} did not become active in time", self.node_name(heir)));
            self.tell(client, outcome);
        }
        self.revisit(group);
    }

    /// Tells those who waited for `id` to become active.
    pub(crate) fn finish_waiting(&mut self, group: usize, id: NodeId) {
        if self.groups[group].request.as_ref().is_some_and(|request| request.heir == id) {
            self.groups[group].request = None;
        }
        let waiting = std::mem::take(&mut self.groups[group].waiting);
        let (done, rest) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| waiting.heir == id);
        self.groups[group].waiting = rest;
        let outcome = format!("{} is active on {}", self.group_name(group), self.node_name(id));
        for Waiting { client, .. } in done {
            self.tell(client, Ok(outcome.clone()));
        }
    }

    pub(crate) fn fail_waiting(&mut self, group: usize, id: NodeId, why: &str) {
        let waiting = std::mem::take(&mut self.groups[group].waiting);
        let (failed, rest) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| waiting.heir == id);
        self.groups[group].waiting = rest;
        for Waiting { client, .. } in failed {
            self.tell(client, Err(why.to_owned()));
        }
    }

    // ---- Commands ---------------------------------------------------------------------------------------------

    pub(crate) fn on_command(&mut self, command: Command) {
        match command {
            Command::Switchover { ticket, group, to } => match self.plan_move(group.0, to.as_deref()) {
                Ok((_, heir)) => self.start_move(group.0, heir, Client::Ticket(ticket)),
                Err(why) => self.act(Action::Reply { ticket, outcome: Err(why) }),
            },
            Command::Drill { ticket, group, to, stay } => self.on_drill(ticket, group.0, to.as_deref(), stay),
            Command::Drain { ticket, scope } => self.on_order(ticket, Order::Drain, &scope),
            Command::Undrain { ticket, scope } => self.on_order(ticket, Order::Undrain, &scope),
            Command::Shutdown => {
                self.leaving = true;
                self.revisit_all();
            }
        }
    }

    /// Who holds the group, and who is to take it.
    pub(crate) fn plan_move(&self, group: usize, to: Option<&str>) -> Result<(NodeId, NodeId), String> {
        let name = self.config.groups.get(group).map(|group| group.name.clone()).ok_or("no such group")?;
        let active_here = matches!(self.groups[group].state, State::Active);
        let holder =
            if active_here { Some(self.config.id) } else { self.holder(group).map(|p| self.peers[p].id) };
        let Some(holder) = holder else {
            return Err(if matches!(self.groups[group].state, State::Proving { .. }) {
                format!("this node asks around before it goes on with {name}; try again in a moment")
            } else {
                format!("{name} is active on no node")
            });
        };
        let ready = |id: NodeId| {
            if id == self.config.id { self.is_eligible(group) } else { self.heir_is_ready(group, id) }
        };
        let order = &self.config.groups[group].order;
        let heir = match to {
            None => {
                let ready = || order.iter().copied().filter(|&id| id != holder && ready(id));
                ready().find(|&id| !self.is_node_demoted(group, id)).or_else(|| ready().next())
            }
            Some(wanted) => {
                let id = if wanted == self.config.name {
                    Some(self.config.id)
                } else {
                    self.peers.iter().find(|peer| peer.name == wanted).map(|peer| peer.id)
                };
                let id = id.ok_or_else(|| format!("no node named {wanted}"))?;
                if !order.contains(&id) {
                    return Err(format!("{wanted} is not among the nodes of {name}"));
                }
                if id == holder {
                    return Err(format!("{name} is already active on {wanted}"));
                }
                if !ready(id) {
                    return Err(format!(
                        "{wanted} is not ready to take {name}: {}",
                        self.unready_reason(group, id)
                    ));
                }
                if self.is_node_demoted(group, id) && !self.is_node_demoted(group, holder) {
                    return Err(format!("a check fails on {wanted}, which would hand {name} back at once"));
                }
                Some(id)
            }
        };
        let heir = heir.ok_or_else(|| {
            let others = order.iter().filter(|&&id| id != holder);
            let others =
                others.map(|&id| format!("{}: {}", self.node_name(id), self.unready_reason(group, id)));
            let others = others.collect::<Vec<_>>().join("; ");
            if others.is_empty() {
                return format!("there is no other node for {name}");
            }
            format!("no other node is ready to take {name} ({others})")
        })?;
        if self.groups[group].handover.is_some() {
            return Err(format!("{name} is being handed over already"));
        }
        Ok((holder, heir))
    }

    /// Moves a group to an heir that [`Node::plan_move`] has named.
    pub(crate) fn start_move(&mut self, group: usize, heir: NodeId, client: Client) {
        let until = self.now + move_limit(self.config.groups[group].gate);
        self.groups[group].waiting.push(Waiting { client, heir, until });
        self.timers.set_sooner(Timer::Waiting(group), until);
        if matches!(self.groups[group].state, State::Active) {
            let reason = format!("switchover to {}", self.node_name(heir));
            self.begin_handover(group, heir, reason);
        } else {
            self.groups[group].request = Some(Request { heir, until });
            self.touch(group);
        }
    }

    pub(crate) fn unready_reason(&self, group: usize, id: NodeId) -> String {
        if id == self.config.id {
            let faults = self.faults(group);
            let apart = self.apart_here(group).filter(|_| !self.is_drained_of(group));
            let other = apart.unwrap_or_else(|| "drained".to_owned());
            return if faults.is_empty() { other } else { faults.join(", ") };
        }
        let Some(index) = self.peer_index(id) else {
            return "unknown".to_owned();
        };
        let peer = &self.peers[index];
        if !peer.is_up() {
            return "not heard".to_owned();
        }
        if !peer.hears_us {
            return "it does not hear this node".to_owned();
        }
        let said = peer.remote(self.groups[group].id);
        if said.is_some_and(|state| state.role == Role::Standby && state.proving) {
            return "not sure yet of its link or its services; try again in a moment".to_owned();
        }
        match said.map(|state| state.role) {
            None => "it does not know the group".to_owned(),
            Some(Role::Drained) => "drained".to_owned(),
            Some(Role::Fault) => "in fault".to_owned(),
            Some(Role::Standby | Role::Active) => {
                self.apart_there(group, index).unwrap_or_else(|| "busy".to_owned())
            }
        }
    }

    /// Nobody can mount or unmount here any more: tell the peers when the lease ends, and end.
    pub(crate) fn on_keeper_gone(&mut self) {
        self.keeper_gone = true;
        let holding = self.groups.iter().any(|group| !matches!(group.state, State::Standby));
        let kind = if holding {
            WordKind::LeaseEnds { within: self.config.lease.unwrap_or(std::time::Duration::MAX) }
        } else {
            WordKind::Resigned
        };
        let word = Word { sender: self.config.id, incarnation: self.incarnation, kind };
        let bytes = encode(&Message::Word(word), &self.config.keys);
        for _ in 0..2 {
            for peer in 0..self.peers.len() {
                for path in self.peers[peer].paths.clone() {
                    self.act(Action::SendDatagram { path, bytes: bytes.clone() });
                }
            }
        }
        self.exit();
    }

    /// Answers a command that comes after the end.
    pub(crate) fn refuse(&mut self, command: &Command) {
        match *command {
            Command::Switchover { ticket, .. }
            | Command::Drill { ticket, .. }
            | Command::Drain { ticket, .. }
            | Command::Undrain { ticket, .. } => {
                self.act(Action::Reply { ticket, outcome: Err("this node has ended".to_owned()) });
            }
            Command::Shutdown => {}
        }
    }
}
