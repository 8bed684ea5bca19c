//! What is asked, said and heard on the segment about the VIPs.

use std::net::IpAddr;
use std::time::Duration;

use vipdrift_wire::{Frame, Mac, arp, ndp, parse_frame};

use crate::action::Action;
use crate::config::{InterfaceIndex, Switchover, VipIndex};
use crate::event::Drift;
use crate::group::{Contested, State};
use crate::node::Node;
use crate::occupancy::{Answer, Verdict};
use crate::peer::Liveness;
use crate::sabotage::Sabotage;
use crate::timer::Timer;
use crate::tuning::{
    ANNOUNCE_AGAIN, ANNOUNCE_BATCH, ANNOUNCE_PACE, ANNOUNCE_SLOWLY, ASK_ALL, ASK_PACE, DEFEND_CALM,
    DEFEND_FIRST, DEFEND_PACE, HITLESS_GRACE, LATER_ROUNDS, NOTE_PACE, REPORT, ROUNDS, ROUTINE, VERIFY_AFTER,
    VERIFY_AGAIN, VERIFY_MAX, YIELD_GRACE,
};

impl Node {
    /// A question did not go out: its silence says nothing.
    pub(crate) fn on_unasked(&mut self, interface: InterfaceIndex, target: IpAddr) {
        for (group, config) in self.groups.iter_mut().zip(&self.config.groups) {
            let is_one = |vip: &VipIndex| self.config.vips[vip.0].address.addr() == target;
            if config.interface == interface && config.vips.iter().any(is_one) && group.occupancy.is_asking()
            {
                group.occupancy.unasked();
            }
        }
        self.interfaces[interface.0].unasked(target);
        for peer in self.peers.iter_mut().filter(|peer| peer.addresses.contains(&target)) {
            peer.kernel.unasked();
        }
    }

    pub(crate) fn on_frame(&mut self, interface: InterfaceIndex, bytes: &[u8]) {
        let Ok((header, frame)) = parse_frame(bytes) else {
            self.counters.frames_rejected += 1;
            return;
        };
        let InterfaceIndex(index) = interface;
        let Some(own) = self.interfaces[index].mac() else { return };
        if header.source == own {
            return;
        }
        match frame {
            Frame::Arp(packet) if packet.sender_mac != own => {
                let Some(address) = packet.claims() else { return };
                let direct = packet.operation == arp::Operation::Reply && packet.target_mac == own;
                self.on_claim(index, IpAddr::V4(address), packet.sender_mac, direct);
            }
            Frame::Neighbor(ndp::Message::Advertisement { target, target_mac, .. }) => {
                let mac = target_mac.unwrap_or(header.source);
                if mac != own {
                    self.on_claim(index, IpAddr::V6(target), mac, header.destination == own);
                }
            }
            Frame::Neighbor(ndp::Message::Solicitation { source, .. }) if !source.is_unspecified() => {
                // Its sender uses this address; it is no answer for a VIP unless it is one.
                self.on_claim(index, IpAddr::V6(source), header.source, false);
            }
            Frame::Arp(_) | Frame::Neighbor(_) => {}
        }
    }

    /// Somebody uses `address`.
    fn on_claim(&mut self, interface: usize, address: IpAddr, mac: Mac, direct: bool) {
        match self.vip_by_address.get(&(interface, address)) {
            Some(&vip) => self.on_vip_answered(vip, mac),
            None => self.on_host_seen(interface, address, mac, direct),
        }
    }

    fn on_vip_answered(&mut self, vip: VipIndex, mac: Mac) {
        let group = self.vip_group[vip.0];
        let answer = Answer { mac, vip, at: self.now };
        self.counters.probe_answers += 1;
        self.drill_sees(vip);
        let by_node = self.peer_of_mac(group, mac).is_some();
        if !by_node && self.is_sabotaged(Sabotage::IgnoreStrangers) {
            return;
        }
        self.groups[group].occupancy.answered(answer, by_node);
        if let Some((_, at)) = self.groups[group].yielded.as_mut().filter(|(other, _)| *other == mac) {
            *at = self.now;
        }
        match self.groups[group].state {
            State::Active => self.on_conflict(group, answer),
            State::Standby => {
                if self.groups[group].verifications > 0 && self.groups[group].answered_by != Some(mac) {
                    self.groups[group].answered_by = Some(mac);
                    self.to_report.insert(group);
                    self.timers.set_sooner(Timer::Report, self.now + REPORT);
                }
                self.revisit(group);
            }
            State::Proving { .. } => self.revisit(group),
            State::Mounting { .. } => self.on_forestalled(group, answer),
            State::Releasing { .. } => {}
        }
    }

    /// Somebody else claims a VIP while this node is active.
    fn on_conflict(&mut self, group: usize, answer: Answer) {
        let mac = answer.mac;
        let owner = self.peer_of_mac(group, mac);
        if self.groups[group].handover.is_some() {
            return self.on_heir_claims(group, answer, owner);
        }
        let first = self.groups[group].conflict.is_none_or(|old| old.mac != mac);
        self.counters.conflicts += 1;
        self.groups[group].conflict = Some(answer);
        let address = self.config.vips[answer.vip.0].address.addr();
        let name = self.group_name(group).to_owned();
        if let Some(peer) = owner {
            self.note_contest(group, peer, answer);
            let calm = self.groups[group].last_defence.is_none_or(|at| self.now.since(at) >= DEFEND_PACE);
            if self.peers[peer].is_up() && (first || calm) {
                self.send_heartbeat(peer, true);
            }
        } else if first && self.now.since(self.groups[group].noted_at) >= NOTE_PACE {
            self.groups[group].noted_at = self.now;
            self.warn(format!("{name}: {mac}, which is no node of this cluster, claims {address}"));
        }
        self.defend(group);
    }

    fn hear_each_other(&self, peer: usize) -> bool {
        let peer = &self.peers[peer];
        let asked = peer.solicited.is_some_and(|at| self.now.since(at) > self.tuning.patience());
        peer.is_up() && !asked && peer.deaf_since.is_none_or(|at| self.now.since(at) <= self.tuning.dead)
    }

    /// A node with more right that does not hear this one, or is not heard.
    fn comes_before_unheard(&self, group: usize, peer: usize, mac: Mac) -> bool {
        // The MAC is one that the peer itself has said is its own, authenticated.
        let said = self.peers[peer].remote(self.groups[group].id).is_some_and(|s| s.mac == Some(mac));
        said && !self.hear_each_other(peer) && self.comes_before(group, peer)
    }

    /// Where peers hear each other, terms settle it. Where one does not hear the other it cannot know the term: by order,
    /// which both know.
    fn note_contest(&mut self, group: usize, peer: usize, answer: Answer) {
        let now = self.now;
        if let Some(contested) = &mut self.groups[group].contested
            && now.since(contested.since) <= YIELD_GRACE * 2
        {
            contested.confirmed |= contested.mac == answer.mac && answer.at > contested.since;
            return;
        }
        if self.comes_before_unheard(group, peer, answer.mac) {
            let Answer { mac, vip, .. } = answer;
            self.groups[group].contested =
                Some(Contested { mac, vip, since: now, asked: now, confirmed: false });
            self.probe(&[vip]);
            self.timers.set_sooner(Timer::Revisit(group), now + YIELD_GRACE / 3);
        }
    }

    /// A node with more right that is not heard has claimed a VIP, has had time to say a word, and goes on claiming: true
    /// if this node has let go. The kernel of a machine that stood still answers before its daemon does anything; and a
    /// single frame, which anybody can send, is not enough.
    pub(crate) fn yields_unheard(&mut self, group: usize) -> bool {
        let now = self.now;
        let Some(contested) = self.groups[group].contested else { return false };
        let Contested { mac, vip, since, asked, confirmed } = contested;
        let until = since + YIELD_GRACE;
        if now < until {
            let mut next = asked + YIELD_GRACE / 3;
            if now >= next {
                self.groups[group].contested = Some(Contested { asked: now, ..contested });
                self.probe(&[vip]);
                next = now + YIELD_GRACE / 3;
            }
            self.timers.set_sooner(Timer::Revisit(group), next.min(until));
            return false;
        }
        self.groups[group].contested = None;
        let Some(peer) = self.peer_of_mac(group, mac) else { return false };
        // Heard but deaf, it has said itself that it holds the VIP.
        let claims = confirmed || self.peers[peer].is_up() && self.holds(peer, group);
        if !claims || !self.comes_before_unheard(group, peer, mac) {
            return false;
        }
        let address = self.config.vips[vip.0].address.addr();
        let rival = self.peers[peer].name.clone();
        let deaf = if self.peers[peer].is_up() { "deaf" } else { "not heard" };
        let reason = format!("{rival}, {deaf}, claims {address} and comes before this node");
        self.groups[group].yielded = Some((mac, now));
        self.release(group, None, reason, vec![format!("{address} claimed by {mac}")]);
        true
    }

    /// The heir of a hitless handover is seen to claim the VIPs. It says so by heartbeat as well; when it has claimed
    /// them all and is not heard, its word is not waited for.
    fn on_heir_claims(&mut self, group: usize, answer: Answer, owner: Option<usize>) {
        let Some(handover) = &mut self.groups[group].handover else { return };
        if owner.is_none_or(|peer| self.peers[peer].id != handover.heir) {
            return;
        }
        handover.claimed.insert(answer.vip);
        if self.config.groups[group].vips.iter().all(|vip| handover.claimed.contains(vip)) {
            let until = *handover.served.get_or_insert(self.now) + HITLESS_GRACE;
            self.timers.set_sooner(Timer::Revisit(group), until);
        }
    }

    /// Announces at once because somebody may believe another, but not in a storm.
    pub(crate) fn defend(&mut self, group: usize) {
        let now = self.now;
        let calm = self.groups[group].last_defence.is_none_or(|at| now.since(at) >= DEFEND_CALM);
        if calm {
            self.groups[group].defences = 0;
        }
        // Two that meet correct each other at once and again a moment later; only a quarrel that goes on is slowed down.
        let pace = (DEFEND_FIRST * 2u32.saturating_pow(self.groups[group].defences)).min(DEFEND_PACE);
        if let Some(at) = self.groups[group].last_defence.filter(|&at| now.since(at) < pace) {
            // Never lost, only put off.
            self.groups[group].announced = self.groups[group].announced.saturating_sub(1);
            return self.timers.set_sooner(Timer::Announce(group), at + pace);
        }
        self.groups[group].last_defence = Some(now);
        self.groups[group].defences = self.groups[group].defences.saturating_add(1).min(16);
        self.groups[group].announced = 0;
        self.groups[group].to_announce.clear();
        self.on_announce_due(group);
    }

    /// The peer that has this MAC on the group's interface.
    pub(crate) fn peer_of_mac(&self, group: usize, mac: Mac) -> Option<usize> {
        let id = self.groups[group].id;
        self.peers.iter().position(|peer| {
            peer.remote(id).is_some_and(|state| state.mac == Some(mac)) || peer.kernel.mac == Some(mac)
        })
    }

    /// Begins to ask who answers for a group's VIPs, all over.
    pub(crate) fn start_asking(&mut self, group: usize) {
        if !self.groups[group].occupancy.is_asking() {
            self.asking += 1;
        }
        self.groups[group].occupancy.start(self.now);
        self.ask_in_turn(group);
    }

    /// How many times more slowly than usual is to be asked. Few questions do no harm, whoever is late.
    pub(crate) fn slowness(&self) -> u32 {
        if self.config.asks_sparingly() { self.strain.factor() } else { 1 }
    }

    /// One round of questions, now or when its turn comes.
    fn ask_in_turn(&mut self, group: usize) {
        if self.slowness() == 1 {
            self.strain.forget(group);
            self.ask_occupancy(group);
            return self.timers.set(Timer::Ask(group), self.now + self.pause_of_asking(group));
        }
        let Some(turn) = self.strain.queue(group, self.now) else {
            let asked = self.ask_occupancy(group);
            self.strain.asked(asked, self.now);
            return self.timers.set(Timer::Ask(group), self.now + self.pause_of_asking(group));
        };
        self.timers.cancel(Timer::Ask(group));
        self.timers.set_sooner(Timer::Questions, turn);
    }

    /// It is the turn of those that wait.
    pub(crate) fn on_questions_due(&mut self) {
        let mut asked = 0;
        while let Some(group) = self.strain.next(asked) {
            self.revisit(group);
            asked += self.ask_occupancy(group);
            self.timers.set(Timer::Ask(group), self.now + self.pause_of_asking(group));
        }
        if let Some(next) = self.strain.asked(asked, self.now) {
            self.timers.set(Timer::Questions, next);
        }
    }

    pub(crate) fn stop_asking(&mut self, group: usize) {
        if self.groups[group].occupancy.is_asking() {
            self.asking -= 1;
        }
        self.groups[group].free_since = None;
        self.groups[group].occupancy.stop();
        self.strain.forget(group);
        self.timers.cancel(Timer::Ask(group));
    }

    /// One round of questions. Every VIP is asked for, and so often that a lost answer does not make it free. Where
    /// there are many, the first round asks for a few, since most suspicions end with it, and later ones for one of each
    /// family and for those that were answered for.
    fn ask_occupancy(&mut self, group: usize) -> usize {
        let round = self.groups[group].occupancy.rounds;
        let vips = &self.config.groups[group].vips;
        let asked: Vec<VipIndex> = if vips.len() <= ASK_ALL || (1..=ROUNDS).contains(&round) {
            vips.clone()
        } else if round == 0 {
            vips[..ASK_ALL].to_vec()
        } else {
            let of_family = |v4: bool| {
                vips.iter().copied().find(|vip| self.config.vips[vip.0].address.addr().is_ipv4() == v4)
            };
            let mut few = self.groups[group].occupancy.answered_vips.clone();
            few.extend(of_family(true).into_iter().chain(of_family(false)));
            few.into_iter().collect()
        };
        if self.probe(&asked) {
            let now = self.now;
            self.groups[group].occupancy.asked(now);
        }
        asked.len()
    }

    /// Sends an occupancy probe for each; false when the interface cannot.
    pub(crate) fn probe(&mut self, vips: &[VipIndex]) -> bool {
        for vip in vips {
            let vip = self.config.vips[vip.0];
            let interface = &self.interfaces[vip.interface.0];
            let Some(own) = interface.mac().filter(|_| interface.running()) else { return false };
            let bytes = match vip.address.addr() {
                IpAddr::V4(address) => arp::probe(own, address),
                IpAddr::V6(address) => ndp::probe(own, address),
            };
            self.counters.probes_sent += 1;
            self.act(Action::SendFrame { interface: vip.interface, bytes });
        }
        true
    }

    pub(crate) fn on_ask_due(&mut self, group: usize) {
        if !self.groups[group].occupancy.is_asking() {
            return;
        }
        self.revisit(group);
        self.ask_in_turn(group);
    }

    /// Until the next round of questions.
    fn pause_of_asking(&self, group: usize) -> Duration {
        let rounds = self.groups[group].occupancy.rounds;
        let (unanswered, _) = self.groups[group].occupancy.silence(self.now);
        if rounds != 1 && !self.asks_fast(group) {
            self.tuning.slow_round
        } else if rounds <= ROUNDS || (2..=ROUNDS).contains(&unanswered) {
            self.tuning.round
        } else {
            // The first rounds are worth a burst, and those after an answer that did not come; a thousand groups that are
            // answered for are not worth a flood.
            let pace = ASK_PACE.saturating_mul(u32::try_from(self.asking).unwrap_or(u32::MAX));
            self.tuning.round.max(LATER_ROUNDS).max(pace)
        }
    }

    /// Whether the answer may matter within milliseconds.
    fn asks_fast(&self, group: usize) -> bool {
        let occupancy = &self.groups[group].occupancy;
        let Some(since) = occupancy.asking_since() else { return false };
        let settled = occupancy.verdict(self.now, self.tuning.patience()) == Verdict::Free;
        let (unanswered, _) = occupancy.silence(self.now);
        if settled {
            // Free already and yet not taken: something else is waited for.
            return self.holder_is_suspect(group) || self.groups[group].free_since.is_some();
        }
        // A silent holder's lease may end at any moment; after that only the first unanswered question hurries.
        // What an absent one holds it is expected to hold for long.
        let lease = match self.absent_holder(group) {
            Some(_) => Duration::ZERO,
            None => self.config.lease.unwrap_or_default() + Duration::from_secs(1),
        };
        self.now < since + lease || unanswered > 1
    }

    /// Announces what is waiting, a batch at a time, and sets the time of the next announcement.
    pub(crate) fn on_announce_due(&mut self, group: usize) {
        if !matches!(self.groups[group].state, State::Active) {
            return;
        }
        if self.groups[group].handover.is_some() {
            // Whoever believes this node's announcement now believes the wrong one in a moment.
            return self.timers.set(Timer::Announce(group), self.now + HITLESS_GRACE * 2);
        }
        if self.groups[group].to_announce.is_empty() {
            self.groups[group].to_announce = self.config.groups[group].vips.iter().copied().collect();
        }
        let count = self.groups[group].to_announce.len().min(ANNOUNCE_BATCH);
        let batch: Vec<VipIndex> = self.groups[group].to_announce.drain(..count).collect();
        self.announce(&batch);
        let pause = if self.groups[group].to_announce.is_empty() {
            let done = self.groups[group].announced;
            self.groups[group].announced = done + 1;
            match ANNOUNCE_AGAIN.get(done) {
                // The offsets count from the first announcement.
                Some(&offset) => {
                    offset - done.checked_sub(1).map_or_else(Default::default, |i| ANNOUNCE_AGAIN[i])
                }
                None => self.slow_announcement(),
            }
        } else {
            ANNOUNCE_PACE
        };
        self.timers.set(Timer::Announce(group), self.now + pause);
    }

    /// Pause between announcements once the reign is settled. Where a node is not heard though its machine lives, they
    /// are what tells two holders of each other.
    pub(crate) fn slow_announcement(&self) -> Duration {
        let unheard = self.peers.iter().any(|peer| {
            matches!(peer.liveness, Liveness::Unknown | Liveness::Silent { .. }) && peer.kernel.lives()
        });
        if unheard { ROUTINE } else { ANNOUNCE_SLOWLY }
    }

    /// Announces mounted VIPs: gratuitous ARP as request and as reply, since some devices honour only one, or an
    /// unsolicited Neighbor Advertisement.
    pub(crate) fn announce(&mut self, vips: &[VipIndex]) {
        for &index in vips {
            if !self.mounted.contains(&index) {
                continue;
            }
            let vip = self.config.vips[index.0];
            let Some(own) = self.interfaces[vip.interface.0].mac() else { continue };
            let frames = match vip.address.addr() {
                IpAddr::V4(address) => vec![
                    arp::announcement(own, address, arp::Operation::Request),
                    arp::announcement(own, address, arp::Operation::Reply),
                ],
                IpAddr::V6(address) => vec![ndp::announcement(own, address)],
            };
            for bytes in frames {
                self.counters.announcements_sent += 1;
                self.act(Action::SendFrame { interface: vip.interface, bytes });
            }
        }
    }

    /// A new reign elsewhere: look soon who answers there.
    pub(crate) fn begin_verifying(&mut self, group: usize) {
        self.groups[group].verifications = 0;
        self.groups[group].answered_by = None;
        self.groups[group].reported = None;
        self.timers.set(Timer::Verify(group), self.now + self.verify_after(group));
    }

    pub(crate) fn verify_after(&self, group: usize) -> Duration {
        // Not while an old holder goes on beside the new one: both would answer, and clients believe the last.
        let beside = if self.config.groups[group].switchover == Switchover::Hitless {
            HITLESS_GRACE + VERIFY_AFTER
        } else {
            Duration::ZERO
        };
        VERIFY_AFTER + beside
    }

    /// There is no holder any more: what was seen of the last one is not to be told any longer.
    pub(crate) fn stop_verifying(&mut self, group: usize) {
        let g = &mut self.groups[group];
        g.verifications = 0;
        g.answered_by = None;
        self.to_report.remove(&group);
        if g.reported.take().is_some() {
            self.touch(group);
        }
    }

    /// Tells the peers who answers.
    pub(crate) fn on_report_due(&mut self) {
        for group in std::mem::take(&mut self.to_report) {
            self.groups[group].reported = self.groups[group].answered_by;
            self.touch(group);
        }
    }

    pub(crate) fn on_verify_due(&mut self, group: usize) {
        let done = self.groups[group].verifications;
        let Some(holder) = self.holder(group) else { return };
        if !matches!(self.groups[group].state, State::Standby) || done >= VERIFY_MAX {
            return;
        }
        let held = self.peers[holder].remote(self.groups[group].id);
        if held.is_some_and(|state| state.hitless) {
            return self.timers.set(Timer::Verify(group), self.now + self.verify_after(group));
        }
        let right = held.and_then(|state| state.mac);
        if done > 0 && right.is_some() && self.groups[group].answered_by == right {
            return;
        }
        self.groups[group].verifications = done + 1;
        if let Some(&vip) = self.config.groups[group].vips.first() {
            self.probe(&[vip]);
        }
        self.timers.set(Timer::Verify(group), self.now + VERIFY_AGAIN);
    }

    pub(crate) fn on_drift(&mut self, vip: VipIndex, drift: Drift) {
        let group = self.vip_group[vip.0];
        let address = self.config.vips[vip.0].address;
        let name = self.group_name(group).to_owned();
        match drift {
            Drift::Removed => {
                self.warn(format!("{name}: somebody removed {address}; mounted again"));
                if matches!(self.groups[group].state, State::Active) {
                    self.announce(&[vip]);
                }
            }
            Drift::Added => self.warn(format!("{name}: somebody added {address}; unmounted again")),
        }
    }
}
