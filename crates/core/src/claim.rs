//! A standby node: when it asks who answers for the VIPs, and when it takes them.

use std::time::Duration;

use vipdrift_wire::heartbeat::{GroupState, Role};

use crate::action::Cause;
use crate::config::OccupiedPolicy;
use crate::group::{Because, Released, State};
use crate::node::{Node, spell};
use crate::occupancy::{Answer, Verdict};
use crate::peer::Liveness;
use crate::sabotage::Sabotage;
use crate::snapshot::RoleName;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tuning::{NOTE_PACE, OCCUPIED_NEWS, RELEASE_NEWS, ROUNDS, YIELD};

/// What a claim rests on.
enum Ground {
    /// The holder let go and named this node.
    Released(Released),
    /// Asked often enough, and nobody answers.
    Free,
    /// Somebody answers, and yet.
    Answered(Answer),
}

impl Node {
    pub(crate) fn consider_claim(&mut self, group: usize) {
        let eligible = self.is_eligible(group);
        if let Some(holder) = self.holder(group) {
            self.shut_gate(group);
            if self.groups[group].verifications == 0 {
                self.timers.set_sooner(Timer::Verify(group), self.now + self.verify_after(group));
            }
            self.groups[group].released = None;
            self.groups[group].idle_since = None;
            self.forget_note(group, holder);
            // It is heard, so it will be missed when it dies.
            self.groups[group].yielded = None;
            let id = self.peers[holder].id;
            if eligible && self.groups[group].offer_taken != Some(id) && self.is_handed_over(holder, group) {
                self.groups[group].offer_taken = Some(id);
                let reason = format!("{} hands over without a gap", self.peers[holder].name);
                let despite = self.peers[holder].remote(self.groups[group].id).and_then(|state| state.mac);
                return self.claim(
                    group,
                    Because { reason, despite, cause: Some(Cause::HandedOver), ..Because::default() },
                );
            }
            if self.peers[holder].remote(self.groups[group].id).is_some_and(|state| self.is_offered(state)) {
                // It may soon be seen to live.
                self.timers.set_sooner(Timer::Revisit(group), self.now + self.tuning.patience());
            }
            let is_next = || {
                !self.config.asks_sparingly() || self.candidate_but(group, Some(id)) == Some(self.config.id)
            };
            if eligible && self.asks_for_suspect(holder) && is_next() {
                self.keep_asking(group);
            } else {
                self.stop_asking(group);
            }
            return;
        }
        self.stop_verifying(group);
        if !eligible {
            self.shut_gate(group);
            self.groups[group].idle_since = None;
            self.stop_asking(group);
            return;
        }
        let preparing = self.is_preparing(group);
        let ready = self.is_ready(group) && (preparing || self.candidate(group) == Some(self.config.id));
        if self.takes_released(group, ready) {
            return;
        }
        // Whoever has lost the holder from hearing does not wait until everybody has.
        // Nor does who has prepared: what was seen of the last holder is old, and the segment is asked.
        let seen_held = !preparing && !self.is_takeover(group) && self.is_seen_held(group);
        let is_next = ready || preparing;
        let ready = ready && !seen_held && !self.has_just_joined(group);
        if self.config.asks_sparingly() && !is_next && !self.is_left_idle(group) {
            return self.stop_asking(group);
        }
        self.keep_asking(group);
        if self.has_yielded(group) {
            return;
        }
        let mut verdict = self.groups[group].occupancy.verdict(self.now, self.tuning.patience());
        if self.is_sabotaged(Sabotage::SkipProbe) {
            verdict = Verdict::Free;
        }
        let free = verdict == Verdict::Free && self.is_ready(group);
        if self.awaits_gate(group) {
            // Asked all the while, but nothing comes of it yet.
            self.groups[group].free_since = None;
            return;
        }
        if free && (ready || self.is_left_idle(group)) {
            return self.consider_free(group);
        }
        self.groups[group].free_since = None;
        if !ready {
            self.groups[group].occupancy.pause();
        }
        if let Verdict::Occupied(answer) = verdict {
            self.groups[group].idle_since = None;
            self.consider_occupied(group, answer, ready);
            if !self.awaits_gate(group) {
                // It has succeeded, and nothing comes of it.
                self.shut_gate(group);
            }
        }
    }

    /// Both this node and a peer prepare to be active, and this node comes first.
    pub(crate) fn goes_first(&self, peer: usize, group: usize) -> bool {
        let state = self.peers[peer].remote(self.groups[group].id);
        let prepares = state.is_some_and(|state| !state.mounted && state.role == Role::Standby);
        prepares && self.is_preparing(group) && !self.comes_before(group, peer)
    }

    /// A node that is not heard was yielded to and has claimed a VIP lately. Whatever keeps it from being heard may keep
    /// its answers away as well.
    fn has_yielded(&mut self, group: usize) -> bool {
        let Some((mac, at)) = self.groups[group].yielded else { return false };
        // Heard again, it says itself that it holds nothing.
        let says_no = self.peer_of_mac(group, mac).is_some_and(|peer| {
            self.peers[peer].is_up() && self.peers[peer].states_known() && !self.holds(peer, group)
        });
        let until = at + YIELD;
        if self.now < until && !says_no {
            self.timers.set_sooner(Timer::Revisit(group), until);
            return true;
        }
        self.groups[group].yielded = None;
        false
    }

    /// In a takeover a node that is not ready is passed over. Has it become ready meanwhile, whoever passed it over may be
    /// about to claim: that will be heard. It cannot know whether this is one, since it may not have heard the holder.
    fn has_just_joined(&mut self, group: usize) -> bool {
        let until = self.listened + self.tuning.patience();
        if self.now >= until {
            return false;
        }
        self.timers.set_sooner(Timer::Revisit(group), until);
        true
    }

    pub(crate) fn keep_asking(&mut self, group: usize) {
        if !self.groups[group].occupancy.is_asking() {
            self.start_asking(group);
        }
    }

    /// An active peer names this node to mount before it unmounts. It must be there to unmount: one that is suspect,
    /// or held up by its keeper, may not.
    pub(crate) fn is_handed_over(&self, holder: usize, group: usize) -> bool {
        let peer = &self.peers[holder];
        // What waited in the socket while this node was late is no sign of life.
        let since = self.late_at.map_or(Timestamp::ZERO, |at| at + self.tuning.patience());
        matches!(peer.liveness, Liveness::Alive)
            && peer.holding_until.is_none()
            && peer.heard_since(since)
            && peer.remote(self.groups[group].id).is_some_and(|state| self.is_offered(state))
    }

    /// The sender of this is active and waits for this node to mount.
    pub(crate) fn is_offered(&self, state: &GroupState) -> bool {
        state.hitless && state.role == Role::Active && state.heir == Some(self.config.id)
    }

    /// This node was late a moment ago, so what it hears may be old: nothing is taken on a word. Looks again soon.
    fn is_late(&mut self, group: usize) -> bool {
        let Some(until) = self.late_at.map(|at| at + self.tuning.patience()) else { return false };
        if self.now < until {
            self.timers.set_sooner(Timer::Revisit(group), until);
        }
        self.now < until
    }

    /// A holder that unmounted, said so and named this node leaves nothing to ask: the heir mounts on the word. Old
    /// news are asked about like everything else.
    fn takes_released(&mut self, group: usize, ready: bool) -> bool {
        let Some(released) = self.groups[group].released.clone() else { return false };
        let age = self.now.since(released.at);
        if age > RELEASE_NEWS {
            self.groups[group].released = None;
            return false;
        }
        let old = age > self.tuning.patience() || self.is_late(group);
        if self.awaits_gate(group) || !ready || !released.ours || old || self.foreign_answer(group).is_some()
        {
            return false;
        }
        let because = self.explain_claim(group, &Ground::Released(released));
        self.claim(group, because);
        true
    }

    /// It is another node's turn, and nothing has come of it for long: its configuration may differ, or it sees the
    /// network differently. A group that nobody holds is worse.
    fn is_left_idle(&mut self, group: usize) -> bool {
        if self.is_seen_held(group) {
            self.groups[group].idle_since = None;
            return false;
        }
        let since = *self.groups[group].idle_since.get_or_insert(self.now);
        // Not all at once, and in an order that no configuration has a say in.
        let before = self.peers.iter().filter(|peer| peer.id < self.config.id).count();
        let turn = self.tuning.dead.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        let until = since + self.config.start_wait + self.reservation() + turn;
        if self.now < until {
            self.timers.set_sooner(Timer::Revisit(group), until);
        }
        self.now >= until
    }

    /// A peer hears a holder, and has seen its VIPs answered for: there is one, and it is this node that does not hear it.
    fn is_seen_held(&self, group: usize) -> bool {
        let id = self.groups[group].id;
        let sees = |state: &GroupState| state.answered_by.is_some();
        self.peers.iter().any(|peer| peer.is_up() && peer.remote(id).is_some_and(sees))
    }

    /// Nobody answers.
    fn consider_free(&mut self, group: usize) {
        let first = self.groups[group].free_since.is_none();
        if first && self.groups[group].occupancy.is_stale(self.now, self.tuning.slow_round / 2) {
            // While something else was waited for, questions were few.
            return self.start_asking(group);
        }
        let since = *self.groups[group].free_since.get_or_insert(self.now);
        let until = since + self.head_start(group) + self.doubt(group);
        if self.now < until {
            // Asked all the while.
            self.timers.set_sooner(Timer::Ask(group), self.now + self.tuning.round);
            return self.timers.set_sooner(Timer::Revisit(group), until);
        }
        let because = self.explain_claim(group, &Ground::Free);
        self.claim(group, because);
    }

    /// Nodes that come before this one, and are not heard though their machines live, may be about to take the group
    /// as well: each has a head start, and its announcement will be heard.
    fn head_start(&self, group: usize) -> Duration {
        let order = &self.config.groups[group].order;
        let ghost = self.groups[group].ghost.map(|ghost| ghost.node);
        let before = order.iter().take_while(|&&id| id != self.config.id).filter(|&&id| {
            self.peer_index(id).map(|index| &self.peers[index]).is_some_and(|peer| {
                let unheard = matches!(peer.liveness, Liveness::Unknown | Liveness::Silent { .. });
                unheard && peer.kernel.lives() && ghost != Some(id)
            })
        });
        self.tuning.patience().saturating_mul(u32::try_from(before.count()).unwrap_or(u32::MAX))
    }

    /// A recent answer for a VIP by a machine that is no node.
    fn foreign_answer(&self, group: usize) -> Option<Answer> {
        self.groups[group]
            .occupancy
            .answer_since(self.now - OCCUPIED_NEWS)
            .filter(|answer| self.peer_of_mac(group, answer.mac).is_none())
    }

    /// Nobody in the cluster is known to hold the group, and yet somebody answers.
    fn consider_occupied(&mut self, group: usize, last: Answer, ready: bool) {
        let now = self.now;
        // Where a node and a foreign machine answer, the node counts.
        let answer = self.groups[group].occupancy.answer_of_node(ROUNDS).unwrap_or(last);
        let address = self.config.vips[answer.vip.0].address.addr();
        let ghost = self.groups[group].ghost;
        let owner = self.peer_of_mac(group, answer.mac);
        let named =
            owner.map_or_else(|| "no node of this cluster".to_owned(), |peer| self.peers[peer].name.clone());
        let reason = match ghost {
            Some(ghost) => {
                let how = if self.absent_holder(group).is_some() { "restarting" } else { "silent" };
                let node = self.node_name(ghost.node);
                format!("{node} {how}, {address} answered by {} ({named})", answer.mac)
            }
            None => format!("{address} answered by {} ({named})", answer.mac),
        };
        self.note_occupied(group, &reason);
        let foreign_for = self.groups[group].occupancy.foreign_for(now, ROUNDS);
        let overrules = owner.is_none() && self.config.groups[group].occupied == OccupiedPolicy::Claim;
        // Unless it may be a node after all.
        let stranger = overrules && self.ask_strangers(foreign_for.is_zero());
        if !ready || stranger {
            return;
        }
        match owner {
            // Its kernel may hold for longer than a lease.
            Some(peer) if self.peers[peer].absent_until.is_some() => {}
            Some(peer) => {
                // A correct kernel lets go when the lease ends; after that the machine lives or a proxy answers.
                let since = ghost.map(|ghost| ghost.since).or(self.groups[group].occupancy.asking_since());
                let waited = since.map_or(Duration::ZERO, |since| now.since(since));
                if self.config.lease.is_none_or(|lease| waited < lease + Duration::from_secs(1)) {
                    return;
                }
                // A switch may answer for a dead node, and somebody else have the VIP all the same.
                let foreign = self.groups[group].occupancy.foreign_since(now - OCCUPIED_NEWS);
                if foreign && self.config.groups[group].occupied != OccupiedPolicy::Claim {
                    return;
                }
                if self.peers[peer].kernel.echo_dead(now) {
                    let mut because = self.explain_claim(group, &Ground::Answered(answer));
                    because.reason =
                        format!("{named} dead: its MAC still answers for {address}, but not its machine");
                    self.claim(group, because);
                } else if self.peers[peer].kernel.ask_echo(now) {
                    for to in self.peers[peer].addresses.clone() {
                        self.act(crate::Action::SendEcho { to });
                    }
                }
            }
            None if overrules && foreign_for >= self.tuning.dead + self.head_start(group) => {
                let mut because = self.explain_claim(group, &Ground::Answered(answer));
                because.reason = format!("{reason}, claimed as configured");
                self.claim(group, because);
            }
            None => {}
        }
    }

    /// A machine is foreign if its MAC address is no node's: asks those nodes whose own is not known. True if one of
    /// them lives.
    fn ask_strangers(&mut self, at_once: bool) -> bool {
        let pause = if at_once { self.tuning.round } else { self.tuning.slow_round };
        let mut one_lives = false;
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            if peer.kernel.mac.is_none() && peer.macs.is_empty() {
                one_lives |= peer.kernel.lives();
                self.timers.set_sooner(Timer::Routine(index), self.now + pause);
            }
        }
        one_lives
    }

    /// Somebody turns up with a VIP that this node is just mounting.
    pub(crate) fn on_forestalled(&mut self, group: usize, answer: Answer) {
        let State::Mounting { from, because, .. } = &self.groups[group].state else { return };
        let owner = self.peer_of_mac(group, answer.mac);
        let overruled = owner.is_none() && self.config.groups[group].occupied == OccupiedPolicy::Claim;
        if *from == RoleName::Active || because.despite == Some(answer.mac) || overruled {
            return;
        }
        let address = self.config.vips[answer.vip.0].address.addr();
        let reason = match owner {
            Some(peer) => format!("{} was first to claim {address}", self.peers[peer].name),
            None => format!("{} claims {address}", answer.mac),
        };
        self.release(group, None, reason, Vec::new());
    }

    /// A holder that was silent is heard again: why it was waited for is of no interest any more.
    fn forget_note(&mut self, group: usize, holder: usize) {
        let g = &mut self.groups[group];
        let heard = matches!(self.peers[holder].liveness, Liveness::Alive);
        if heard && !g.noted.is_empty() && g.noted == g.reason && matches!(g.state, State::Standby) {
            let term = self.peers[holder].remote(g.id).map_or(g.term, |state| state.term);
            g.reason = format!("{} is active in term {term}", self.peers[holder].name);
            g.noted.clear();
        }
    }

    /// Says whom a VIP is left to: once, and not in the first moments, in which nobody is known.
    fn note_occupied(&mut self, group: usize, reason: &str) {
        if self.listening || self.groups[group].noted == reason {
            return;
        }
        let pause = self.now.since(self.groups[group].noted_at);
        let g = &mut self.groups[group];
        reason.clone_into(&mut g.noted);
        reason.clone_into(&mut g.reason);
        if pause >= NOTE_PACE {
            g.noted_at = self.now;
            let name = self.group_name(group).to_owned();
            self.warn(format!("{name}: {reason}; staying standby"));
        }
    }

    /// The last sign of a holder that fell silent.
    fn ghost_heard(&self, group: usize) -> Option<Timestamp> {
        let ghost = self.groups[group].ghost?;
        self.peers[self.peer_index(ghost.node)?].last_heard
    }

    /// Why this node claims, with what it rests on.
    fn explain_claim(&self, group: usize, ground: &Ground) -> Because {
        let g = &self.groups[group];
        let vip = self.config.groups[group].vips.first().map(|vip| self.config.vips[vip.0].address.addr());
        let address = vip.map_or_else(|| "no VIP".to_owned(), |address| address.to_string());
        let mut because = Because::default();
        match ground {
            Ground::Released(released) => {
                because.cause = Some(Cause::Released);
                because.held_until = Some(released.at);
                let by = self.node_name(released.by);
                let ago = spell(self.now.since(released.at));
                because.reason = format!("{by} {}", released.how);
                because.evidence.push(format!("{by} unmounted and said so {ago} ago"));
                // A switch may go on answering for it from memory.
                let said = self.peer_index(released.by).and_then(|index| self.peers[index].remote(g.id));
                because.despite = said.and_then(|said| said.mac);
                if said.is_some_and(|said| said.role == Role::Fault) {
                    let name = self.group_name(group);
                    because.evidence.push(format!("what is wrong with {by}: `vipdrift why {name}` there"));
                }
            }
            Ground::Free => {
                (because.cause, because.held_until) = match (g.ghost, &g.released) {
                    (Some(_), _) => (Some(Cause::Silent), self.ghost_heard(group)),
                    (None, Some(released)) => (Some(Cause::Released), Some(released.at)),
                    (None, None) => (Some(Cause::Unheld), None),
                };
                let (rounds, silent) = g.occupancy.silence(self.now);
                because.reason = match g.ghost {
                    Some(ghost) => format!("{} silent, {address} not answered", self.node_name(ghost.node)),
                    None => format!("nobody holds it, {address} not answered"),
                };
                because
                    .evidence
                    .push(format!("{address} asked for {rounds} times in {}, no answer", spell(silent)));
                if let Some(id) = self.candidate(group).filter(|&id| id != self.config.id) {
                    because.evidence.push(format!("{} should take it and does not", self.node_name(id)));
                }
            }
            Ground::Answered(answer) => {
                because.cause = Some(Cause::Occupied);
                because.held_until = self.ghost_heard(group);
                let ago = spell(self.now.since(answer.at));
                because.evidence.push(format!("{address} answered by {} {ago} ago", answer.mac));
                because.despite = Some(answer.mac);
            }
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let line = match peer.liveness {
                Liveness::Unknown => format!("{} never heard", peer.name),
                Liveness::Alive | Liveness::Suspect { .. } => {
                    let role = peer.remote(g.id).map_or("unknown", |state| role_word(state.role));
                    format!("{} heard, {role}", peer.name)
                }
                Liveness::Left => format!("{} has left", peer.name),
                Liveness::Silent { host_dead, .. } => {
                    let ago = peer.last_heard.map_or_else(String::new, |at| spell(self.now.since(at)));
                    let kernel = if host_dead {
                        format!(", its machine asked {} times in vain", peer.kernel.silence())
                    } else {
                        String::new()
                    };
                    let proof = self.proof_of_network(index, self.now - self.tuning.dead);
                    let proof = proof.map_or_else(String::new, |proof| format!("; not cut off: {proof}"));
                    format!("{} last heard {ago} ago{kernel}{proof}", peer.name)
                }
            };
            because.evidence.push(line);
        }
        because
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Standby => "standby",
        Role::Fault => "fault",
        Role::Drained => "drained",
    }
}

#[cfg(test)]
mod tests;
