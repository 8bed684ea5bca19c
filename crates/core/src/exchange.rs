//! Heartbeats out and in.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{
    Echo, GROUPS_PER_DATAGRAM, GroupState, Health, Heartbeat, Message, Rejected, Role, States, Word,
    WordKind, decode, encode,
};

use crate::action::Action;
use crate::config::PathIndex;
use crate::group::{Ghost, State};
use crate::node::{Node, spell};
use crate::peer::{Heard, Liveness, let_go};
use crate::sabotage::Sabotage;
use crate::timer::Timer;
use crate::tuning::{ANSWER_PACE, RESEND, RESEND_MAX, STRANGE_PACE};

/// What is to be sent to a peer at the end of a step.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// Please answer.
    solicit: bool,
    /// With all group states that the peer lacks.
    whole: bool,
}

impl Node {
    pub(crate) fn on_heartbeat_due(&mut self) {
        for peer in 0..self.peers.len() {
            self.send_heartbeat(peer, false);
        }
        self.strain.pass(self.now);
        self.timers.set(Timer::Heartbeat, self.now + self.tuning.heartbeat);
        // One waking for both, where they are near each other.
        if self.timers.get(Timer::Beat).is_some_and(|at| at <= self.now + self.tuning.heartbeat / 2) {
            self.beat();
        }
    }

    /// Heartbeats that are nearly due go out with the waking that a peer's has caused: nodes fall into step, and wake
    /// less often.
    fn join_in(&mut self) {
        let soon = self.now + self.tuning.heartbeat / 5;
        if self.timers.get(Timer::Heartbeat).is_some_and(|at| at <= soon) {
            self.on_heartbeat_due();
        }
    }

    /// Has a heartbeat sent to a peer at the end of this step, when what it says has been decided.
    pub(crate) fn send_heartbeat(&mut self, peer: usize, solicit: bool) {
        self.outbox.entry(peer).or_default().solicit |= solicit;
    }

    /// Has all group states that a peer lacks sent to it at the end of this step.
    fn send_states(&mut self, peer: usize, solicit: bool) {
        let letter = self.outbox.entry(peer).or_default();
        letter.solicit |= solicit;
        letter.whole = true;
    }

    /// Sends what is to be sent.
    pub(crate) fn flush(&mut self) {
        for (peer, letter) in std::mem::take(&mut self.outbox) {
            self.send_letter(peer, letter);
        }
    }

    /// Sends heartbeats to a peer over all paths. If the peer lacks group states they travel with them: all that it
    /// lacks, or one datagram's worth, the next each time, since a peer that is off the net lacks them for ever.
    pub(crate) fn send_letter(&mut self, peer: usize, letter: Letter) {
        if letter.solicit {
            let now = self.now;
            let peer = &mut self.peers[peer];
            peer.unheard_solicits = peer.unheard_solicits.saturating_add(1);
            peer.solicited.get_or_insert(now);
        }
        let parts = self.missing_states(peer);
        if parts.is_empty() {
            return self.send_datagram(peer, letter.solicit, None);
        }
        let (skip, take) = if letter.whole {
            (0, parts.len())
        } else {
            let next = self.peers[peer].next_part % parts.len();
            self.peers[peer].next_part = next + 1;
            (next, 1)
        };
        for part in parts.into_iter().skip(skip).take(take) {
            self.send_datagram(peer, letter.solicit, Some(part));
        }
    }

    /// What a peer lacks, in parts that fit a datagram each.
    fn missing_states(&self, peer: usize) -> Vec<States> {
        let base = self.peers[peer].acknowledged;
        if base == self.states_version {
            return Vec::new();
        }
        let known = self.groups.iter().map(|group| &group.published);
        let missing: Vec<GroupState> = known.filter(|state| state.version > base).copied().collect();
        let count = u16::try_from(missing.len().div_ceil(GROUPS_PER_DATAGRAM)).unwrap_or(u16::MAX);
        let parts = missing.chunks(GROUPS_PER_DATAGRAM).zip(0..count);
        parts.map(|(groups, index)| States { base, index, count, groups: groups.to_vec() }).collect()
    }

    fn send_datagram(&mut self, index: usize, solicit: bool, states: Option<States>) {
        let now = self.now;
        let health = self.wire_health();
        let errand = self.errand_for(index);
        let leaving = self.leaving && self.groups.iter().all(|group| matches!(group.state, State::Standby));
        let peer = &mut self.peers[index];
        let echo =
            peer.echo.map(|(incarnation, sequence, at)| Echo { incarnation, sequence, age: now.since(at) });
        let heartbeat = Heartbeat {
            sender: self.config.id,
            receiver: peer.id,
            incarnation: self.incarnation,
            sequence: peer.take_sequence(now),
            echo,
            interval: self.config.heartbeat,
            config_digest: self.config.outline.digest(),
            health,
            solicit,
            leaving,
            slow_side_alive: self.slow_side_alive,
            hears_slowly: !self.config.answers_within.is_zero(),
            states_version: self.states_version,
            states_seen: peer.states_seen,
            states,
            errand,
            outcome: peer.errand,
        };
        let bytes = encode(&Message::Heartbeat(heartbeat), &self.config.keys);
        let paths = peer.paths.clone();
        for path in paths {
            self.counters.heartbeats_sent += 1;
            self.act(Action::SendDatagram { path, bytes: bytes.clone() });
        }
    }

    fn wire_health(&self) -> Health {
        if self.drained {
            Health::Drained
        } else if self.faulty > 0 {
            Health::Fault
        } else {
            Health::Healthy
        }
    }

    /// Tells all peers what has changed in this node's groups.
    pub(crate) fn publish(&mut self, touched: &BTreeSet<usize>) {
        let mut changed = false;
        let put_off = std::mem::take(&mut self.unpublished);
        for &group in touched {
            let mut state = self.describe(group);
            let published = self.groups[group].published;
            state.version = published.version;
            if state.version == 0 || state != published {
                if !changed {
                    changed = true;
                    self.states_version += 1;
                }
                state.version = self.states_version;
                self.faulty += usize::from(state.role == Role::Fault);
                self.faulty -= usize::from(published.role == Role::Fault);
                self.groups[group].published = state;
            }
        }
        if changed || put_off {
            if self.is_put_off(self.published_at) {
                self.unpublished = true;
                return;
            }
            self.published_at = self.now;
            self.resends = 0;
            for peer in 0..self.peers.len() {
                if self.peers[peer].is_up() {
                    self.send_states(peer, false);
                } else {
                    self.send_heartbeat(peer, false);
                }
            }
            self.timers.set(Timer::Resend, self.now + RESEND);
        }
    }

    pub(crate) fn on_resend_due(&mut self) {
        let lacking: Vec<usize> = (0..self.peers.len())
            .filter(|&peer| self.peers[peer].is_up() && self.peers[peer].acknowledged != self.states_version)
            .collect();
        if lacking.is_empty() || self.resends >= RESEND_MAX {
            return;
        }
        self.resends += 1;
        for peer in lacking {
            self.send_states(peer, true);
        }
        self.timers.set(Timer::Resend, self.now + RESEND * (1 << self.resends));
    }

    fn reject(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_insert(0) += 1;
    }

    pub(crate) fn on_datagram(&mut self, path: Option<PathIndex>, bytes: &[u8]) {
        let message = match decode(bytes, &self.config.keys) {
            Ok(message) => message,
            Err(reason) => {
                self.note_strange_key(path, reason);
                return self.reject(reason.name());
            }
        };
        let sender = match &message {
            Message::Heartbeat(heartbeat) => heartbeat.sender,
            Message::Word(word) => word.sender,
            Message::Outline(part) => part.sender,
        };
        let expected = path.map(|path| self.config.paths[path.0].peer.0);
        let Some(index) = self.peer_index(sender).filter(|&index| expected == Some(index)) else {
            return self.reject("unknown_sender");
        };
        match message {
            Message::Word(word) => self.on_word(index, &word),
            Message::Heartbeat(heartbeat) if heartbeat.receiver != self.config.id => {
                self.reject("not_for_this_node")
            }
            Message::Heartbeat(heartbeat) => self.on_heartbeat(index, &heartbeat),
            Message::Outline(part) if part.receiver != self.config.id => self.reject("not_for_this_node"),
            Message::Outline(part) if !self.is_of_now(index, &part) => self.reject("replayed"),
            Message::Outline(part) => self.on_outline(index, part),
        }
    }

    /// A node that has another key, or belongs to another cluster, is silent to all who do not say so. Anybody can send such
    /// a datagram, so it is said seldom.
    fn note_strange_key(&mut self, path: Option<PathIndex>, reason: Rejected) {
        let what = match reason {
            Rejected::BadMac => "signed with another key: compare the key files",
            Rejected::ForeignCluster => "for another cluster: compare `name` in [cluster]",
            _ => return,
        };
        let Some(peer) = path.map(|path| self.config.paths[path.0].peer.0) else { return };
        let now = self.now;
        if self.peers[peer].strange_noted.is_some_and(|at| now.since(at) < STRANGE_PACE) {
            return;
        }
        self.peers[peer].strange_noted = Some(now);
        let name = self.peers[peer].name.clone();
        self.warn(format!("a datagram from the address of {name} is {what}"));
    }

    fn on_heartbeat(&mut self, index: usize, heartbeat: &Heartbeat) {
        let before = self.peers[index].liveness;
        let digest_before = self.peers[index].config_digest;
        let absent = self.peers[index].absent_until.is_some();
        let deaf_before = !self.peers[index].hears_us;
        let mut own = self.incarnation;
        if self.is_sabotaged(Sabotage::StaleEcho) {
            own = heartbeat.echo.map_or(own, |echo| echo.incarnation);
        }
        let heard = self.peers[index].hear(heartbeat, own, self.now, &self.tuning);
        match heard {
            Heard::Duplicate => {}
            Heard::Stale => self.reject("replayed"),
            Heard::Unproven => {
                self.reject("unproven_incarnation");
                self.answer_unproven(index, heartbeat);
            }
            Heard::Alive { returned, restarted, changes } => {
                self.counters.heartbeats_heard += 1;
                let round_trips = self.peers.iter().filter(|peer| peer.is_up()).map(|peer| peer.slowest_rtt);
                self.tuning.pace(round_trips.max().unwrap_or_default());
                // What one that was absent has let go is news as well.
                let was_up = absent || matches!(before, Liveness::Alive | Liveness::Suspect { .. });
                if returned {
                    self.on_return(index, before, restarted);
                }
                if restarted {
                    let id = self.peers[index].id;
                    for group in &mut self.groups {
                        group.refused.remove(&id);
                    }
                }
                if !was_up || restarted {
                    self.resends = 0;
                    self.send_states(index, false);
                    self.timers.set_sooner(Timer::Resend, self.now + RESEND);
                }
                self.arm_peer(index);
                self.prove_links();
                if self.away.is_some() || deaf_before && self.peers[index].hears_us {
                    self.revisit_all();
                }
                // What a peer said before it was lost from hearing is no news when it says something else now.
                self.counters.states_heard += changes.len() as u64;
                for (old, new) in changes {
                    self.on_remote_change(index, old.filter(|_| was_up).as_ref(), &new);
                }
                if matches!(self.peers[index].liveness, Liveness::Left) && !matches!(before, Liveness::Left) {
                    let name = self.peers[index].name.clone();
                    self.note(format!("{name} left"));
                    self.revisit_all();
                }
                self.on_errand(index, heartbeat.errand.as_ref());
                if let Some(outcome) = heartbeat.outcome {
                    self.on_errand_outcome(index, outcome);
                }
                if heartbeat.solicit {
                    self.answer(index);
                }
                self.join_in();
                self.tell_differences(index, digest_before, deaf_before && !returned);
                self.tell_outline(index, restarted);
            }
        }
    }

    /// A peer has come back from silence, or is heard for the first time.
    fn on_return(&mut self, index: usize, before: Liveness, restarted: bool) {
        let name = self.peers[index].name.clone();
        let absent = self.peers[index].absent_until.is_some();
        if absent {
            self.ask_anew(index);
            self.peers[index].absent_until = None;
        }
        match before {
            Liveness::Silent { since, .. } if absent => {
                self.note(format!("{name}: its daemon is back after {}", spell(self.now.since(since))));
            }
            Liveness::Unknown => self.note(format!("{name} heard")),
            Liveness::Suspect { since, .. } => {
                // Too common on a busy machine to be worth a line, unless it was long.
                if self.now.since(since) > self.tuning.dead {
                    self.note(format!("{name} heard again after {}", spell(self.now.since(since))));
                }
            }
            Liveness::Silent { since, .. } => {
                let silent = spell(self.now.since(since));
                self.note(format!("{name} heard again, {silent} after it was given up"));
            }
            Liveness::Left if restarted => self.note(format!("{name} is back")),
            Liveness::Left | Liveness::Alive => {}
        }
        for group in 0..self.groups.len() {
            if self.groups[group].ghost.is_some_and(|ghost| ghost.node == self.peers[index].id) {
                self.groups[group].ghost = None;
            }
        }
        if !matches!(before, Liveness::Suspect { .. }) {
            // While it was silent anybody may have learned a wrong MAC.
            self.defend_all();
        }
        self.revisit_all();
    }

    /// What keeps a peer and this node from agreeing is said once when it begins.
    fn tell_differences(&mut self, index: usize, digest_before: Option<u64>, was_deaf: bool) {
        let peer = &self.peers[index];
        let name = peer.name.clone();
        if peer.config_digest != digest_before && peer.config_digest != Some(self.config.outline.digest()) {
            self.warn(format!("{name} has a different configuration"));
        } else if peer.config_digest != digest_before && digest_before.is_some() {
            self.note(format!("{name} has the same configuration again"));
        }
        if !self.peers[index].hears_us && !was_deaf {
            self.warn(format!("{name} does not hear this node"));
        }
    }

    /// Answers a solicited heartbeat, unless an answer has just been sent.
    fn answer(&mut self, index: usize) {
        let now = self.now;
        if self.peers[index].last_answer_sent.is_some_and(|at| now.since(at) < ANSWER_PACE) {
            return;
        }
        self.peers[index].last_answer_sent = Some(now);
        self.send_heartbeat(index, false);
    }

    /// Lets an unknown incarnation prove itself by echoing it once, without giving up the known one.
    fn answer_unproven(&mut self, index: usize, heartbeat: &Heartbeat) {
        let now = self.now;
        // It has heard this node, but its echo is too old to prove anything. Two such nodes must not answer each other
        // for ever.
        let knows_us = heartbeat.echo.is_some_and(|echo| echo.incarnation == self.incarnation);
        if knows_us && !heartbeat.solicit {
            return;
        }
        if self.peers[index].last_answer_sent.is_some_and(|at| now.since(at) < ANSWER_PACE) {
            return;
        }
        self.peers[index].last_answer_sent = Some(now);
        let kept = self.peers[index].echo.replace((heartbeat.incarnation, heartbeat.sequence, now));
        let seen = std::mem::take(&mut self.peers[index].states_seen);
        self.send_datagram(index, !knows_us, None);
        self.peers[index].states_seen = seen;
        if kept.is_some() {
            self.peers[index].echo = kept;
        }
    }

    fn on_word(&mut self, index: usize, word: &Word) {
        if self.peers[index].incarnation != Some(word.incarnation) {
            return self.reject("replayed");
        }
        let name = self.peers[index].name.clone();
        match word.kind {
            WordKind::Holding { at_most } => {
                if self.peers[index].held == Some(word.incarnation) {
                    return;
                }
                self.peers[index].held = Some(word.incarnation);
                // Never longer than this node's own idea of it: a peer must not be able to hold on for ever.
                let until = self.now + at_most.min(Duration::from_secs(1));
                self.peers[index].holding_until = Some(until);
                self.peers[index].liveness = Liveness::Alive;
                let id = self.peers[index].id;
                for group in &mut self.groups {
                    group.ghost = group.ghost.filter(|ghost| ghost.node != id);
                }
                self.note(format!("{name}: its keeper holds, at most {} more", spell(at_most)));
                self.arm_peer(index);
                self.revisit_all();
            }
            WordKind::Resigned => {
                if matches!(self.peers[index].liveness, Liveness::Left) {
                    return;
                }
                self.note(format!("{name}: its keeper has unmounted everything and resigned"));
                let absent = self.peers[index].absent_until.is_some();
                let was_up = absent || self.peers[index].is_up();
                if absent {
                    self.ask_anew(index);
                }
                self.peers[index].liveness = Liveness::Left;
                self.peers[index].holding_until = None;
                self.peers[index].absent_until = None;
                // The last word of an incarnation: a keeper that hung says "holding" in vain after it.
                self.peers[index].held = Some(word.incarnation);
                let states: Vec<_> = self.peers[index].groups.values().map(|r| r.state).collect();
                for old in states {
                    let new = let_go(old);
                    if let Some(remote) = self.peers[index].groups.get_mut(&old.group) {
                        remote.state = new;
                        remote.standby_since = None;
                    }
                    self.on_remote_change(index, Some(&old).filter(|_| was_up), &new);
                }
                self.revisit_all();
            }
            WordKind::LeaseEnds { within } => {
                if matches!(self.peers[index].liveness, Liveness::Left) {
                    return;
                }
                self.warn(format!("{name} has lost its keeper; its lease ends within {}", spell(within)));
                self.peers[index].liveness = Liveness::Left;
                self.peers[index].absent_until = None;
                self.haunt(index);
                self.revisit_all();
            }
            WordKind::Absent { at_most } => self.on_absent(index, at_most),
        }
    }

    /// Remembers that a peer is gone that still held groups.
    pub(crate) fn haunt(&mut self, index: usize) {
        let id = self.peers[index].id;
        for group in 0..self.groups.len() {
            let held = self.peers[index].remote(self.groups[group].id).is_some_and(|state| state.mounted);
            if held && self.groups[group].ghost.is_none() {
                self.groups[group].ghost = Some(Ghost { node: id, since: self.now });
            }
        }
    }
}
