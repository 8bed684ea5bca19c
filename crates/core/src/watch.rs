//! Watching peers and the network: suspicion, death, isolation.

use std::net::IpAddr;
use std::time::Duration;

use vipdrift_wire::{Mac, arp, ndp};

use crate::action::Action;
use crate::config::{InterfaceIndex, Reference};
use crate::event::LinkFacts;
use crate::group::State;
use crate::interface::Origin;
use crate::node::{Node, spell};
use crate::occupancy::Verdict;
use crate::peer::Liveness;
use crate::sabotage::Sabotage;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tuning::{ROUNDS, ROUTINE, ROUTINE_SILENT, SLOW_LOSS};

/// Rounds after which a suspect is asked only once per heartbeat.
const FAST_ROUNDS: u32 = 30;

impl Node {
    /// Sets the deadlines by which a peer must be heard again.
    pub(crate) fn arm_peer(&mut self, index: usize) {
        let peer = &self.peers[index];
        if !peer.is_up() {
            self.timers.cancel(Timer::Suspicion(index));
            self.timers.cancel(Timer::Dead(index));
            if let Some(until) = peer.absent_until {
                self.timers.set(Timer::Dead(index), until);
            }
            return;
        }
        let heard = peer.last_heard.unwrap_or(self.now);
        let mut suspicion = heard + peer.suspect_after();
        let mut dead = heard + self.dead_after(index);
        if let Some(until) = peer.holding_until {
            suspicion = suspicion.max(until);
            dead = dead.max(until + self.tuning.patience());
        }
        self.timers.set(Timer::Suspicion(index), suspicion);
        self.timers.set(Timer::Dead(index), dead);
    }

    /// Silence after which a peer is dead whatever its kernel says.
    fn dead_after(&self, index: usize) -> Duration {
        let mut after = self.peers[index].dead_after(self.config.dead_after);
        if self.peers[index].hears_slowly {
            after = after.max(self.peers[index].suspect_after() + SLOW_LOSS);
        }
        if self.is_sabotaged(Sabotage::HalfDeadTime) { after / 2 } else { after }
    }

    pub(crate) fn on_suspicion_due(&mut self, index: usize) {
        match self.peers[index].liveness {
            Liveness::Alive => {
                if self.now < self.grace_until {
                    return self.timers.set(Timer::Suspicion(index), self.grace_until);
                }
                self.peers[index].liveness = Liveness::Suspect { since: self.now, rounds: 0 };
                self.peers[index].asked_for = false;
                // What was not answered before the last word of a peer says nothing of the time after it.
                if let Some(heard) = self.peers.iter().filter_map(|peer| peer.last_heard).max() {
                    self.interfaces.iter_mut().for_each(|interface| interface.count_from(heard));
                }
                for group in 0..self.groups.len() {
                    if self.holds(index, group) {
                        self.revisit(group);
                    }
                }
                self.ask_suspect(index, self.now, 1);
            }
            Liveness::Suspect { since, rounds } => {
                if self.host_is_dead(index, since) {
                    return self.give_up(index, true);
                }
                // Whose turn it is changes with what peers say, and then is looked at anew.
                let asks = self.asks_for_suspect(index);
                let asked = std::mem::replace(&mut self.peers[index].asked_for, asks);
                if asks && !(asked && self.config.asks_sparingly()) {
                    for group in 0..self.groups.len() {
                        if !self.groups[group].occupancy.is_asking() && self.holds(index, group) {
                            self.revisit(group);
                        }
                    }
                }
                self.ask_suspect(index, since, rounds + 1);
            }
            Liveness::Unknown | Liveness::Silent { .. } | Liveness::Left => {}
        }
    }

    /// One round of questions: the peer by heartbeat, its kernel, and everybody who can prove that it is not this
    /// node that is cut off.
    fn ask_suspect(&mut self, index: usize, since: Timestamp, rounds: u32) {
        self.peers[index].liveness = Liveness::Suspect { since, rounds };
        self.ask_kernel(index);
        for other in 0..self.peers.len() {
            if other == index || (self.peers[other].is_up() && !self.peers[other].heard_since(since)) {
                self.send_heartbeat(other, true);
            }
        }
        for interface in 0..self.interfaces.len() {
            if self.interfaces[interface].reference_answered_since(since).is_none() {
                self.timers.set_sooner(Timer::References(interface), self.now);
                self.interfaces[interface].hurry = true;
            }
        }
        let pause = if rounds < FAST_ROUNDS {
            (self.tuning.round * self.slowness()).min(self.tuning.heartbeat)
        } else {
            self.tuning.heartbeat
        };
        let mut next = self.now + pause;
        let last_chance = self.last_chance(index, since);
        if self.now < last_chance {
            next = next.min(last_chance);
        }
        self.timers.set(Timer::Suspicion(index), next);
    }

    /// When the VIPs of a suspect are to be asked for, so that what is known of them is in hand when it is dead.
    fn last_chance(&self, index: usize, since: Timestamp) -> Timestamp {
        let dead = self.peers[index].last_heard.unwrap_or(since) + self.dead_after(index);
        dead - (self.tuning.patience() + self.tuning.round * 2)
    }

    /// Whether the VIPs of a peer are to be asked for. Most suspicions end within a round, so where there are many VIPs they
    /// wait until the machine has left a question unanswered, or what is known of them must be in hand in a moment.
    pub(crate) fn asks_for_suspect(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        let Liveness::Suspect { since, .. } = peer.liveness else { return false };
        let silent = peer.kernel.silence() > 0 && self.now >= since + self.tuning.round;
        let soon = self.now >= self.last_chance(index, since);
        !self.config.asks_sparingly() || silent || soon
    }

    /// The machine itself has stopped answering, and this node is not the one that is cut off.
    fn host_is_dead(&self, index: usize, since: Timestamp) -> bool {
        let patience = self.tuning.patience();
        if self.now < self.grace_until || self.now.since(since) < patience {
            return false;
        }
        let peer = &self.peers[index];
        // Cut off, it would hold on for longer than this takes.
        if peer.hears_slowly {
            return false;
        }
        if !peer.kernel.dead(self.now, patience) || self.proof_of_network(index, since).is_none() {
            return false;
        }
        // The VIPs are asked for by those who may take them; for the others nothing depends on it.
        (0..self.groups.len()).filter(|&group| self.holds(index, group)).all(|group| {
            let occupancy = &self.groups[group].occupancy;
            !occupancy.is_asking() || occupancy.verdict(self.now, patience) == Verdict::Free
        })
    }

    /// Who proved, since then, that this node is not cut off: another peer or a reference.
    pub(crate) fn proof_of_network(&self, except: usize, since: Timestamp) -> Option<String> {
        let peer = self.peers.iter().enumerate().find(|(i, peer)| *i != except && peer.heard_since(since));
        if let Some((_, peer)) = peer {
            return Some(format!("{} is heard", peer.name));
        }
        self.interfaces
            .iter()
            .find_map(|interface| interface.reference_answered_since(since))
            .map(|address| format!("{address} answers"))
    }

    pub(crate) fn on_dead_due(&mut self, index: usize) {
        if self.on_absence_due(index) {
            return;
        }
        let peer = &self.peers[index];
        if !peer.is_up() {
            return;
        }
        let heard = peer.last_heard.unwrap_or(self.now);
        let mut due = (heard + self.dead_after(index)).max(self.grace_until);
        if let Some(until) = peer.holding_until {
            due = due.max(until);
        }
        if self.now < due {
            return self.timers.set(Timer::Dead(index), due);
        }
        self.give_up(index, false);
    }

    fn give_up(&mut self, index: usize, host_dead: bool) {
        let silent = self.peers[index].last_heard.map_or(self.tuning.dead, |at| self.now.since(at));
        let name = self.peers[index].name.clone();
        let what = if host_dead { "its machine does not answer either" } else { "dead time over" };
        self.note(format!("{name} silent for {}: {what}", spell(silent)));
        self.peers[index].liveness = Liveness::Silent { since: self.now, host_dead };
        self.peers[index].hears_us = false;
        self.peers[index].holding_until = None;
        self.timers.set_sooner(Timer::Routine(index), self.now + ROUTINE_SILENT);
        if !host_dead {
            let soon = self.now + self.slow_announcement();
            for group in 0..self.groups.len() {
                if matches!(self.groups[group].state, State::Active) {
                    self.timers.set_sooner(Timer::Announce(group), soon);
                }
            }
        }
        self.arm_peer(index);
        self.haunt(index);
        self.revisit_all();
    }

    /// Asks a peer's kernel for the peer's own addresses.
    pub(crate) fn ask_kernel(&mut self, index: usize) {
        let addresses = self.peers[index].addresses.clone();
        let now = self.now;
        self.peers[index].kernel.asked(now);
        for address in addresses {
            self.ask_host(address);
        }
    }

    /// Asks who has `address`: on the segment if it is on-link, by ICMP echo if not.
    fn ask_host(&mut self, address: IpAddr) {
        let near =
            self.interfaces.iter().enumerate().find_map(|(index, interface)| {
                Some((index, interface.mac()?, interface.address_near(address)?))
            });
        let Some((interface, own, near)) = near else {
            return self.act(Action::SendEcho { to: address });
        };
        let bytes = match (near, address) {
            (IpAddr::V4(source), IpAddr::V4(target)) => arp::request(own, source, target, Mac::BROADCAST),
            (IpAddr::V6(source), IpAddr::V6(target)) => ndp::solicitation(own, source, target),
            _ => return,
        };
        self.act(Action::SendFrame { interface: InterfaceIndex(interface), bytes });
    }

    /// Asks the references of an interface, quickly while nobody answers, once in a while otherwise.
    pub(crate) fn on_references_due(&mut self, index: usize) {
        let now = self.now;
        let patience = self.tuning.patience();
        let interface = &mut self.interfaces[index];
        if !interface.running() || interface.references.is_empty() {
            interface.hurry = false;
            return self.timers.set(Timer::References(index), now + ROUTINE);
        }
        let routine_due = now.since(interface.asked_at) >= ROUTINE;
        let open = interface.questions_open();
        if open && interface.references_silent(now, patience).is_some() {
            self.judge_isolation(index);
            let interface = &mut self.interfaces[index];
            if !interface.hurry && !interface.isolated && !routine_due {
                return self.timers.set(Timer::References(index), interface.asked_at + ROUTINE);
            }
        }
        let interface = &mut self.interfaces[index];
        let hurry = std::mem::take(&mut interface.hurry);
        if !(hurry || routine_due || open) {
            return self.timers.set(Timer::References(index), interface.asked_at + ROUTINE);
        }
        interface.asked_at = now;
        interface.prune(now);
        let addresses: Vec<IpAddr> = interface.references.iter().map(|referee| referee.address).collect();
        let isolated = interface.isolated;
        for address in addresses {
            // Without an address to ask from the question does not even go out.
            if self.interfaces[index].can_ask(address) {
                self.interfaces[index].asked(address, now);
                self.ask_host(address);
            }
        }
        if open {
            // Silent references prove something only if the peers are silent too: ask them as well.
            for peer in 0..self.peers.len() {
                if self.peers[peer].is_up() {
                    self.send_heartbeat(peer, true);
                }
            }
        }
        let pause = if isolated { self.tuning.slow_round } else { self.tuning.round };
        self.timers.set(Timer::References(index), now + pause);
    }

    /// Isolated: no peer is heard, some reference had answered before, and none answers now.
    fn judge_isolation(&mut self, index: usize) {
        let Some(first) = self.interfaces[index].references_silent(self.now, self.tuning.patience()) else {
            return;
        };
        if self.interfaces[index].isolated || self.now < self.grace_until {
            return;
        }
        let all_silent = self.peers.iter().all(|peer| {
            !peer.heard_since(first)
                && (!matches!(peer.liveness, Liveness::Alive) || peer.unheard_solicits >= ROUNDS)
        });
        if !all_silent {
            return;
        }
        self.interfaces[index].isolated = true;
        let name = self.interfaces[index].name.clone();
        self.warn(format!("isolated on {name}: no peer is heard and no reference answers"));
        self.revisit_all();
    }

    /// A peer has been heard: the network works, whatever the references say.
    pub(crate) fn prove_links(&mut self) {
        let mut changed = false;
        for (index, interface) in self.interfaces.iter_mut().enumerate() {
            if std::mem::take(&mut interface.isolated) {
                changed = true;
                // Their silence was no fault of theirs: it must be able to tell of the next cut.
                interface.ask_anew();
                self.timers.set_sooner(Timer::References(index), self.now);
            }
            if interface.running() {
                changed |= !interface.proven;
                interface.proven = true;
            }
        }
        if changed {
            self.revisit_all();
        }
    }

    /// A machine was heard to use `address` on the segment; `direct` when it answered this node.
    pub(crate) fn on_host_seen(&mut self, index: usize, address: IpAddr, mac: Mac, direct: bool) {
        if let Some(&peer) = self.peer_by_address.get(&address) {
            self.peers[peer].kernel.mac = Some(mac);
            let back = self.peers[peer].kernel.answered(self.now);
            if back && !self.peers[peer].is_up() {
                // Whatever cut it off, anybody may have learned a wrong MAC meanwhile; and if it holds a VIP as well,
                // this is how the two find out though heartbeats do not pass.
                self.defend_all();
            }
            return;
        }
        // Another address of a peer's machine, which dies with it.
        let is_node = self.peers.iter().any(|peer| peer.kernel.mac == Some(mac) || peer.macs.contains(&mac));
        let interface = &mut self.interfaces[index];
        if interface.learns_neighbours
            && !is_node
            && !address.is_unspecified()
            && interface.address_near(address).is_some()
        {
            interface.learn_reference(address, Origin::Seen, Some(mac));
        }
        if direct {
            self.on_reference_answer(index, address);
        }
    }

    fn on_reference_answer(&mut self, index: usize, address: IpAddr) {
        let now = self.now;
        let interface = &mut self.interfaces[index];
        if !interface.answered(address, now) {
            return;
        }
        let changed = interface.isolated || !interface.proven;
        let was_isolated = std::mem::take(&mut interface.isolated);
        interface.proven |= interface.running();
        let name = interface.name.clone();
        if was_isolated {
            self.note(format!("no longer isolated on {name}: {address} answers"));
        }
        if changed {
            self.revisit_all();
        }
    }

    pub(crate) fn on_echo_reply(&mut self, from: IpAddr) {
        let now = self.now;
        if let Some(&peer) = self.peer_by_address.get(&from) {
            self.peers[peer].kernel.echo_answered(now);
        }
        for interface in 0..self.interfaces.len() {
            self.on_reference_answer(interface, from);
        }
    }

    pub(crate) fn on_link(&mut self, index: InterfaceIndex, facts: LinkFacts) {
        let InterfaceIndex(index) = index;
        let now = self.now;
        let gateways = facts.gateways.clone();
        let first = self.interfaces[index].facts.is_none();
        let own_before = self.interfaces[index].mac();
        let was_running = self.interfaces[index].running();
        self.interfaces[index].facts = Some(facts);
        let wants = |wanted: fn(&Reference) -> bool| {
            let groups = self.config.groups.iter().filter(|group| group.interface.0 == index);
            groups.flat_map(|group| &group.references).any(wanted)
        };
        self.interfaces[index].learns_neighbours = wants(|r| matches!(r, Reference::Auto));
        for group in 0..self.groups.len() {
            let near = self.subnets(group);
            self.groups[group].subnet_near = near;
            let seen = &mut self.groups[group].subnet_seen;
            seen.v4 |= near.v4;
            seen.v6 |= near.v6;
            let lost = seen.v4 && !near.v4 || seen.v6 && !near.v6;
            let g = &mut self.groups[group];
            g.subnet_lost = lost.then(|| g.subnet_lost.unwrap_or(now));
        }
        if wants(|r| matches!(r, Reference::Auto | Reference::Gateway)) {
            for gateway in gateways {
                self.interfaces[index].learn_reference(gateway, Origin::Gateway, None);
            }
        }
        if !self.interfaces[index].proven {
            // A gateway may have become known only now.
            self.interfaces[index].hurry = true;
            self.timers.set_sooner(Timer::References(index), now);
        }
        let running = self.interfaces[index].running();
        let name = self.interfaces[index].name.clone();
        if running && !was_running {
            let interface = &mut self.interfaces[index];
            interface.running_since = now;
            interface.proven = false;
            interface.isolated = false;
            interface.hurry = true;
            self.timers.set(Timer::Trusted(index), now + self.config.start_wait);
            self.timers.set(Timer::References(index), now);
            if !first {
                self.note(format!("{name} is up"));
            }
            for peer in 0..self.peers.len() {
                self.send_heartbeat(peer, true);
                // And their MAC addresses, by which a node is told from a foreign machine.
                self.timers.set(Timer::Routine(peer), now);
            }
            for group in 0..self.groups.len() {
                if self.config.groups[group].interface.0 == index
                    && matches!(self.groups[group].state, State::Active)
                {
                    self.defend(group);
                }
            }
        } else if running && own_before != self.interfaces[index].mac() {
            self.note(format!("{name} has another MAC address"));
            for group in 0..self.groups.len() {
                if self.config.groups[group].interface.0 == index
                    && matches!(self.groups[group].state, State::Active)
                {
                    self.defend(group);
                }
            }
        } else if !running && (was_running || first) {
            self.interfaces[index].proven = false;
            self.warn(format!("{name} is down"));
        }
        self.revisit_all();
    }
}

#[cfg(test)]
mod tests;
