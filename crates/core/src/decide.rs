//! Who should hold a group, and whether that is this node.

use std::time::Duration;

use vipdrift_wire::heartbeat::{GroupState, NodeId, Role};

use crate::config::{Effect, Failback, IsolatedPolicy, Switchover};
use crate::group::{Because, Families, Refused, Released, State};
use crate::node::{Node, spell};
use crate::occupancy::Verdict;
use crate::peer::{Liveness, is_holding};
use crate::sabotage::Sabotage;
use crate::snapshot::RoleName;
use crate::timer::Timer;
use crate::tuning::{FAILBACK_AGAIN, FAILBACK_AGAIN_MAX, HITLESS_GRACE, SUBNET_GRACE};

impl Node {
    /// Decides about one group on what is known now.
    pub(crate) fn decide(&mut self, group: usize) {
        if let Some(until) = self.subnet_grace(group) {
            self.timers.set_sooner(Timer::Revisit(group), until);
        }
        if let Some((peer, heir)) = self.groups[group].granted
            && self.wish_of(peer, group) != Some(heir)
        {
            self.groups[group].granted = None;
        }
        match self.groups[group].state {
            State::Standby => self.consider_claim(group),
            State::Mounting { .. } => self.consider_mounting(group),
            State::Active => self.consider_keeping(group),
            State::Proving { since } => self.consider_proof(group, since),
            State::Releasing { .. } => {}
        }
    }

    // ---- Mounting, Active -------------------------------------------------------------------------------------

    fn consider_mounting(&mut self, group: usize) {
        let fresh = !matches!(self.groups[group].state, State::Mounting { from: RoleName::Active, .. });
        if let Some(holder) = self.active_peer(group).filter(|&p| fresh && !self.is_handed_over(p, group)) {
            // Whatever its term: it holds the VIPs and this node does not yet.
            let reason = format!("{} turns out to be active", self.peers[holder].name);
            return self.release(group, None, reason, Vec::new());
        }
        if let Some(rival) = self.better_rival(group) {
            let reason = format!("{} is active in a later or preferred reign", self.peers[rival].name);
            return self.release(group, None, reason, Vec::new());
        }
        if !self.is_eligible(group) {
            let reason = self.ineligible_reason(group);
            self.release(group, None, reason, Vec::new());
        }
    }

    fn consider_keeping(&mut self, group: usize) {
        if let Some(rival) = self.better_rival(group) {
            return self.yield_to(group, rival);
        }
        if self.yields_unheard(group) {
            return;
        }
        if let Some(handover) = &self.groups[group].handover
            && handover.served.is_some_and(|served| self.now >= served + HITLESS_GRACE)
        {
            // The heir was seen to claim everything, though its word has not been heard.
            let heir = handover.heir;
            let reason = format!("{}: {} claims all VIPs", handover.reason, self.node_name(heir));
            self.release(group, Some(heir), reason, Vec::new());
            return self.finish_waiting(group, heir);
        }
        self.drop_lost_heir(group);
        if !self.is_eligible(group) {
            return self.let_go(group);
        }
        self.correct_rivals(group);
        if self.groups[group].handover.is_some() {
            return;
        }
        if let Some((peer, heir)) = self.requested_heir(group) {
            let asker = self.peers[peer].name.clone();
            let reason = format!("switchover to {}, asked for on {asker}", self.node_name(heir));
            // Whoever gets it back at once, because the heir has reasons of its own, does not begin anew.
            if self.heir_is_ready(group, heir) && self.groups[group].granted != Some((peer, heir)) {
                self.groups[group].granted = Some((peer, heir));
                return self.begin_handover(group, heir, reason);
            }
        }
        if self.joins_leader(group) || self.gives_way(group) {
            return;
        }
        self.consider_failback(group);
    }

    fn yield_to(&mut self, group: usize, rival: usize) {
        let name = self.peers[rival].name.clone();
        let theirs = self.peers[rival].remote(self.groups[group].id).map_or(0, |state| state.term);
        let mine = self.groups[group].term;
        let heir = self.peers[rival].id;
        let eligible = self.is_eligible(group);
        if let Some(handover) = self.groups[group].handover.as_mut().filter(|handover| handover.heir == heir)
        {
            // Requests that reached this node are answered before it lets go: that is what hitless means.
            let until = *handover.served.get_or_insert(self.now) + HITLESS_GRACE;
            if self.now < until && eligible {
                return self.timers.set_sooner(Timer::Revisit(group), until);
            }
        }
        let expected = self.groups[group].handover.take().filter(|handover| handover.heir == heir);
        let reason = match expected {
            Some(handover) => format!("{}: {name} has taken over", handover.reason),
            None => format!("{name} is active in term {theirs}, this node in term {}", mine.min(theirs)),
        };
        // Those who have not yet heard of the rival must not take this for a free group.
        let heir = Some(self.peers[rival].id);
        self.release(group, heir, reason, Vec::new());
    }

    /// An heir that cannot take over any more is not waited for.
    fn drop_lost_heir(&mut self, group: usize) {
        let handover = self.groups[group].handover.as_ref().filter(|handover| handover.served.is_none());
        let Some(heir) = handover.map(|handover| handover.heir) else { return };
        let id = self.groups[group].id;
        let can = self.peer_index(heir).map(|index| &self.peers[index]).is_some_and(|peer| {
            peer.is_up()
                && peer.remote(id).is_none_or(|state| matches!(state.role, Role::Standby | Role::Active))
        }) && self.peer_index(heir).is_none_or(|index| self.apart_there(group, index).is_none());
        if !can {
            self.groups[group].handover = None;
            self.groups[group].failing_back = None;
            let why =
                format!("{} cannot take over: {}", self.node_name(heir), self.unready_reason(group, heir));
            self.fail_waiting(group, heir, &why);
        }
    }

    /// Not eligible any more: release, and name an heir if somebody can hear it.
    fn let_go(&mut self, group: usize) {
        let reason = self.ineligible_reason(group);
        // Only one that may say that it is active can be followed before it lets go.
        let active = matches!(self.groups[group].state, State::Active);
        let planned = active && self.is_drained_of(group) && self.faults(group).is_empty() && !self.leaving;
        let heir = self.successor(group);
        if let Some(why) = self.left_alone(group) {
            self.warn(why);
        }
        match heir {
            Some(heir) if planned && self.config.groups[group].switchover == Switchover::Hitless => {
                if self.groups[group].handover.is_none() {
                    self.begin_handover(group, heir, reason);
                }
            }
            _ => self.release(group, heir, reason, Vec::new()),
        }
    }

    /// Peers that claim the group with less right, or whose segment learned a wrong MAC, are answered at once.
    fn correct_rivals(&mut self, group: usize) {
        let id = self.groups[group].id;
        let own = self.interfaces[self.config.groups[group].interface.0].mac();
        let mut wrong = false;
        for peer in 0..self.peers.len() {
            if !self.peers[peer].is_up() {
                continue;
            }
            let Some(state) = self.peers[peer].remote(id) else { continue };
            let rival = state.role == Role::Active && state.mounted && self.groups[group].handover.is_none();
            let misled = state.answered_by.is_some() && own.is_some() && state.answered_by != own;
            if rival
                && self.groups[group]
                    .last_defence
                    .is_none_or(|at| self.now.since(at) >= self.tuning.heartbeat)
            {
                self.send_heartbeat(peer, true);
            }
            wrong |= rival || misled;
        }
        if wrong {
            self.defend(group);
        }
    }

    fn consider_failback(&mut self, group: usize) {
        let Failback::After(patience) = self.config.groups[group].failback else { return };
        let id = self.groups[group].id;
        let mut earliest = None;
        for &node in &self.config.groups[group].order {
            if node == self.config.id {
                break;
            }
            let Some(index) = self.peer_index(node) else { continue };
            // Two that differ about the order would hand the group to and fro.
            let agreed = self.peers[index].config_digest == Some(self.config.outline.digest());
            if !agreed || !self.heir_is_ready(group, node) {
                continue;
            }
            let Some(since) = self.peers[index].groups.get(&id).and_then(|remote| remote.standby_since)
            else {
                continue;
            };
            let mut due = since.max(self.groups[group].since) + patience;
            if let Some(refused) = self.groups[group].refused.get(&node) {
                due = due.max(refused.until);
            }
            if self.now >= due {
                let reason = format!(
                    "failback: {} is preferred, healthy for {}",
                    self.node_name(node),
                    spell(patience)
                );
                self.groups[group].failing_back = Some(node);
                return self.begin_handover(group, node, reason);
            }
            earliest = Some(earliest.map_or(due, |at: crate::Timestamp| at.min(due)));
        }
        if let Some(at) = earliest {
            self.timers.set(Timer::Failback(group), at);
        }
    }

    // ---- Proving ----------------------------------------------------------------------------------------------

    /// This node was away. It goes on only if the segment says that nobody else answers, and a peer that knows of no
    /// other holder has been heard or a whole interval has passed.
    fn consider_proof(&mut self, group: usize, since: crate::Timestamp) {
        if !self.reported || self.interfaces[self.config.groups[group].interface.0].facts.is_none() {
            // A brain just begun: the keeper is about to report.
            return;
        }
        if let Some(rival) = self.any_holder(group) {
            let reason = format!("{} took over while this node was away", self.peers[rival].name);
            return self.release(group, None, reason, Vec::new());
        }
        if !self.is_eligible(group) {
            return self.let_go(group);
        }
        self.keep_asking(group);
        match self.groups[group].occupancy.verdict(self.now, self.tuning.patience()) {
            Verdict::Occupied(answer) => {
                let address = self.config.vips[answer.vip.0].address.addr();
                let reason = format!("{address} answered by {} while this node was away", answer.mac);
                self.release(group, None, reason, Vec::new());
            }
            Verdict::Free => {
                let heard = self.peers.iter().any(|p| p.heard_since(since) && p.states_known() && p.hears_us);
                let may = heard || self.now >= since + self.tuning.heartbeat;
                let limit = self.tuning.slow_round / 2;
                if may && self.groups[group].occupancy.is_stale(self.now, limit) {
                    // While a word was waited for, questions were few.
                    self.start_asking(group);
                } else if may {
                    let evidence = vec![if heard {
                        "a peer knows of no other holder, and nobody else answers".to_owned()
                    } else {
                        "no peer heard for an interval, and nobody else answers".to_owned()
                    }];
                    let after = spell(self.now.since(since));
                    let reason = match &self.ordered {
                        Some(what) => format!("{what}: still the holder after {after}"),
                        None => format!("back after {after}: still the holder"),
                    };
                    self.mount_again(group, Because { reason, evidence, ..Because::default() });
                } else {
                    self.timers.set(Timer::Revisit(group), since + self.tuning.heartbeat);
                }
            }
            Verdict::Unknown => {}
        }
    }

    // ---- Facts about the cluster ------------------------------------------------------------------------------

    /// The peer said so last in this group and is up.
    pub(crate) fn holds(&self, peer: usize, group: usize) -> bool {
        self.peers[peer].remote(self.groups[group].id).is_some_and(is_holding)
    }

    /// The peer that holds the group, or is about to, as far as is known.
    pub(crate) fn holder(&self, group: usize) -> Option<usize> {
        (0..self.peers.len())
            .filter(|&peer| {
                self.peers[peer].is_up() && self.holds(peer, group) && !self.goes_first(peer, group)
            })
            .max_by_key(|&peer| self.peers[peer].remote(self.groups[group].id).map_or(0, |state| state.term))
    }

    fn any_holder(&self, group: usize) -> Option<usize> {
        (0..self.peers.len()).find(|&peer| {
            self.peers[peer].is_up()
                && self.peers[peer]
                    .remote(self.groups[group].id)
                    .is_some_and(|state| state.role == Role::Active && state.mounted)
                && self.outranks(peer, group)
        })
    }

    pub(crate) fn holder_is_suspect(&self, group: usize) -> bool {
        self.holder(group).is_some_and(|peer| self.peers[peer].is_suspect())
    }

    /// A peer that says that it is active.
    fn active_peer(&self, group: usize) -> Option<usize> {
        let id = self.groups[group].id;
        let active = |state: &GroupState| state.role == Role::Active && state.mounted;
        (0..self.peers.len())
            .find(|&peer| self.peers[peer].is_up() && self.peers[peer].remote(id).is_some_and(active))
    }

    /// A peer that is active with more right than this node.
    fn better_rival(&self, group: usize) -> Option<usize> {
        if self.is_sabotaged(Sabotage::IgnoreTerms) {
            return None;
        }
        (0..self.peers.len()).find(|&peer| {
            self.peers[peer].is_up()
                && self.peers[peer]
                    .remote(self.groups[group].id)
                    .is_some_and(|state| state.role == Role::Active && state.mounted)
                && self.outranks(peer, group)
        })
    }

    /// The lower (term, order) lets go.
    fn outranks(&self, peer: usize, group: usize) -> bool {
        let Some(state) = self.peers[peer].remote(self.groups[group].id) else { return false };
        let reign = self.groups[group].reign;
        state.term > reign || state.term == reign && self.comes_before(group, peer)
    }

    /// By order; where the configurations differ, so may the orders, and both go by what cannot differ.
    pub(crate) fn comes_before(&self, group: usize, peer: usize) -> bool {
        let id = self.peers[peer].id;
        if self.peers[peer].config_digest == Some(self.config.outline.digest()) {
            self.rank_of(group, id) < self.own_rank(group)
        } else {
            id < self.config.id
        }
    }

    pub(crate) fn rank_of(&self, group: usize, id: NodeId) -> usize {
        self.config.groups[group].order.iter().position(|&node| node == id).unwrap_or(usize::MAX)
    }

    pub(crate) fn own_rank(&self, group: usize) -> usize {
        self.rank_of(group, self.config.id)
    }

    /// The first node in the group's order that is alive and healthy; before that, an heir just named.
    pub(crate) fn candidate(&self, group: usize) -> Option<NodeId> {
        self.candidate_but(group, None)
    }

    /// Who would be if it were not for this node.
    pub(crate) fn candidate_but(&self, group: usize, without: Option<NodeId>) -> Option<NodeId> {
        let could = |id: NodeId| {
            if Some(id) == without {
                false
            } else if id == self.config.id {
                self.is_eligible(group)
            } else {
                self.may_be_ready(group, id)
            }
        };
        if let Some((heir, until)) = self.groups[group].reserved
            && self.now < until
            && could(heir)
        {
            return Some(heir);
        }
        if let Some(holder) = self.holder_of_mates(group).filter(|&id| could(id)) {
            return Some(holder);
        }
        let order = &self.config.groups[group].order;
        let could = || order.iter().copied().filter(|&id| could(id));
        could().find(|&id| !self.is_node_demoted(group, id)).or_else(|| could().next())
    }

    /// The peer is up and standby, or has not yet said what it is.
    fn may_be_ready(&self, group: usize, id: NodeId) -> bool {
        let Some(index) = self.peer_index(id) else { return false };
        let peer = &self.peers[index];
        peer.is_up()
            && self.apart_there(group, index).is_none()
            && match peer.remote(self.groups[group].id) {
                // One that has yet to prove itself is waited for when the cluster starts, but not in a takeover.
                Some(state) => {
                    matches!(state.role, Role::Standby | Role::Active)
                        && !(state.proving && self.is_takeover(group))
                }
                // It has said all, and nothing of this group: it is configured without it.
                None => !peer.states_known(),
            }
    }

    /// Somebody held the group a moment ago.
    pub(crate) fn is_takeover(&self, group: usize) -> bool {
        self.groups[group].ghost.is_some() || self.groups[group].released.is_some()
    }

    /// The peer can be given the group now.
    pub(crate) fn heir_is_ready(&self, group: usize, id: NodeId) -> bool {
        self.peer_index(id).is_some_and(|index| {
            let peer = &self.peers[index];
            matches!(peer.liveness, Liveness::Alive)
                && peer.hears_us
                && self.apart_there(group, index).is_none()
                && peer
                    .remote(self.groups[group].id)
                    .is_some_and(|state| state.role == Role::Standby && !state.mounted && !state.proving)
        })
    }

    /// The best peer to give the group to.
    pub(crate) fn successor(&self, group: usize) -> Option<NodeId> {
        let order = &self.config.groups[group].order;
        let ready = order.iter().copied().filter(|&id| self.heir_is_ready(group, id));
        let mates = self.holder_of_mates(group);
        // One that could not mount it, or on which a check fails, is better than none.
        ready.min_by_key(|id| {
            let refused = self.groups[group].refused.contains_key(id);
            (refused, self.is_node_demoted(group, *id), mates != Some(*id))
        })
    }

    /// A peer passes on an operator's wish that the group move to the heir named.
    fn requested_heir(&self, group: usize) -> Option<(usize, NodeId)> {
        (0..self.peers.len()).find_map(|peer| Some((peer, self.wish_of(peer, group)?)))
    }

    fn wish_of(&self, peer: usize, group: usize) -> Option<NodeId> {
        let peer = self.peers.get(peer).filter(|peer| peer.is_up())?;
        let state = peer.remote(self.groups[group].id)?;
        let asks = state.claiming && !state.mounted && state.role != Role::Active;
        state.heir.filter(|_| asks)
    }

    /// This node has listened long enough, was not away, knows that its link works, and has looked at its services.
    pub(crate) fn is_ready(&self, group: usize) -> bool {
        !self.listening
            && self.away.is_none()
            && self.set_of(group).all(|one| {
                self.interfaces[self.config.groups[one].interface.0].proven && !self.awaits_checks(one)
            })
    }

    // ---- Facts about this node --------------------------------------------------------------------------------

    pub(crate) fn is_eligible(&self, group: usize) -> bool {
        !self.is_drained_of(group)
            && self.own_rank(group) != usize::MAX
            && self.faults(group).is_empty()
            && self.apart_here(group).is_none()
    }

    pub(crate) fn ineligible_reason(&self, group: usize) -> String {
        let faults = self.faults(group);
        if !faults.is_empty() {
            faults.join(", ")
        } else if self.is_drained_of(group) {
            "drained by an operator".to_owned()
        } else if let Some(why) = self.apart_here(group) {
            why
        } else {
            "this node is not among the group's nodes".to_owned()
        }
    }

    /// Why this node must not hold the group, but for an operator's wish: what is wrong with it, or with one that must be
    /// on the same node.
    pub(crate) fn faults(&self, group: usize) -> Vec<String> {
        let mut faults = self.own_faults(group);
        for mate in self.set_of(group).skip(1) {
            let more = self.own_faults(mate).into_iter().filter(|fault| !faults.contains(fault));
            let more: Vec<_> = more.map(|fault| format!("{}: {fault}", self.group_name(mate))).collect();
            faults.extend(more);
        }
        faults
    }

    pub(crate) fn own_faults(&self, group: usize) -> Vec<String> {
        let mut faults = Vec::new();
        if self.leaving {
            faults.push("shutting down".to_owned());
        }
        let g = &self.groups[group];
        let interface = &self.interfaces[self.config.groups[group].interface.0];
        let name = &interface.name;
        match &interface.facts {
            None => faults.push(format!("{name} not yet reported")),
            Some(facts) if !facts.present => faults.push(format!("{name} is missing")),
            Some(facts) if !facts.running => faults.push(format!("{name} has no carrier or is down")),
            Some(_) => {
                let near = g.subnet_near;
                let excused = self.subnet_grace(group).is_some();
                for (family, seen, near) in
                    [("IPv4", g.subnet_seen.v4, near.v4), ("IPv6", g.subnet_seen.v6, near.v6)]
                {
                    if seen && !near && !excused {
                        faults.push(format!("{name} has lost its {family} address in the VIPs' subnet"));
                    }
                }
            }
        }
        if interface.isolated && !self.is_sabotaged(Sabotage::KeepIsolated) {
            let holds = self.holds_of_set(group);
            if !holds || self.config.groups[group].isolated == IsolatedPolicy::Release {
                faults.push(format!("isolated on {name}: no peer is heard and no reference answers"));
            }
        }
        if let Some(fault) = &g.mount_fault {
            faults.push(fault.clone());
        }
        if !g.checks.is_empty() && !self.keeps_unhealthy(group) {
            faults.extend(self.failing_checks(group, Effect::Fault));
        }
        faults
    }

    /// Until when a holder is excused for having lost its own address.
    fn subnet_grace(&self, group: usize) -> Option<crate::Timestamp> {
        let g = &self.groups[group];
        let until = g.subnet_lost? + SUBNET_GRACE;
        (g.wants_vips() && self.now < until).then_some(until)
    }

    /// Whether the group's interface has an address of its own in the subnet of a VIP, for each family.
    pub(crate) fn subnets(&self, group: usize) -> Families {
        let config = &self.config.groups[group];
        let interface = &self.interfaces[config.interface.0];
        let mut near = Families::default();
        for vip in &config.vips {
            let address = self.config.vips[vip.0].address.addr();
            let own = interface.address_near(address).is_some();
            if address.is_ipv4() {
                near.v4 |= own;
            } else {
                near.v6 |= own;
            }
        }
        near
    }

    pub(crate) fn role(&self, group: usize) -> RoleName {
        match self.groups[group].state {
            State::Active | State::Proving { .. } => RoleName::Active,
            State::Standby | State::Mounting { .. } | State::Releasing { .. } => self.idle_role(group),
        }
    }

    /// The role of this node in a group that it does not hold.
    pub(crate) fn idle_role(&self, group: usize) -> RoleName {
        if self.is_drained_of(group) {
            RoleName::Drained
        } else if self.faults(group).is_empty() {
            RoleName::Standby
        } else {
            RoleName::Fault
        }
    }

    /// What the peers are told of a group. Its version is filled in by the caller.
    pub(crate) fn describe(&self, group: usize) -> GroupState {
        let g = &self.groups[group];
        let role = match (&g.state, self.idle_role(group)) {
            (State::Active, _) => Role::Active,
            (_, RoleName::Drained) => Role::Drained,
            // Others wait for what is not known yet when the cluster starts, and not in a takeover.
            (_, RoleName::Fault) if self.only_awaits_checks(group) => Role::Standby,
            (_, RoleName::Fault) => Role::Fault,
            (_, RoleName::Standby | RoleName::Active) => Role::Standby,
        };
        let in_kernel = self.config.groups[group].vips.iter().any(|vip| self.mounted.contains(vip));
        let mounted = match g.state {
            State::Releasing { .. } => !self.is_sabotaged(Sabotage::ResignFirst),
            State::Active | State::Proving { .. } => true,
            State::Standby | State::Mounting { .. } => in_kernel,
        };
        let reserved = g.reserved.filter(|(_, until)| self.now < *until).map(|(heir, _)| heir);
        let heir = match (&g.state, &g.handover, &g.request) {
            (State::Active, Some(handover), _) if handover.hitless => Some(handover.heir),
            // Who prepares claims for itself.
            (State::Standby, ..) if self.is_preparing(group) => None,
            (State::Standby, _, Some(request)) => Some(request.heir),
            (State::Standby | State::Releasing { .. }, _, _) => reserved.filter(|_| g.resigned),
            _ => None,
        };
        GroupState {
            group: g.id,
            version: 0,
            role,
            term: if g.wants_vips() || matches!(g.state, State::Releasing { .. }) { g.reign } else { g.term },
            mounted,
            claiming: matches!(g.state, State::Mounting { .. })
                || matches!(g.state, State::Standby) && self.is_preparing(group)
                || matches!((&g.state, &g.request), (State::Standby, Some(_))),
            proving: matches!(g.state, State::Proving { .. }) || !self.is_ready(group),
            demoted: self.is_demoted(group),
            hitless: matches!(g.state, State::Active) && g.handover.as_ref().is_some_and(|h| h.hitless),
            heir,
            mac: self.interfaces[self.config.groups[group].interface.0].mac(),
            answered_by: g.reported.filter(|_| matches!(g.state, State::Standby)),
        }
    }

    /// A peer has said something new of a group.
    pub(crate) fn on_remote_change(&mut self, peer: usize, old: Option<&GroupState>, new: &GroupState) {
        let Some(&group) = self.group_by_id.get(&new.group) else { return };
        let id = self.peers[peer].id;
        let now = self.now;
        self.groups[group].term = self.groups[group].term.max(new.term);
        if self.groups[group].offer_taken == Some(id) && !self.is_offered(new) {
            self.groups[group].offer_taken = None;
        }
        if let Some(mac) = new.mac
            && self.peers[peer].macs.insert(mac)
        {
            self.interfaces[self.config.groups[group].interface.0].forget_neighbour(mac);
        }
        let failed = new.role == Role::Fault && old.is_none_or(|old| old.role != Role::Fault);
        if failed && self.groups[group].failing_back == Some(id) {
            self.on_refused(group, id);
        }
        if old.is_some_and(is_holding) && !is_holding(new) {
            // A holder that yields to another leaves nothing to take.
            let left_to_nobody = self.holder(group).is_none();
            if left_to_nobody && matches!(self.groups[group].state, State::Standby) {
                self.groups[group].reason = format!("{} let go, nobody is active", self.peers[peer].name);
            }
            let ghost = self.groups[group].ghost.filter(|ghost| ghost.node != id);
            // After a lost datagram nobody knows how old the word is.
            let fresh = !self.peers[peer].missed;
            let ours = fresh && new.heir == Some(self.config.id) && !new.claiming && ghost.is_none();
            self.groups[group].yielded = None;
            let released = || Released { by: id, at: now, ours, how: self.how_it_let_go(group, peer, new) };
            self.groups[group].released = left_to_nobody.then(released);
            self.groups[group].ghost = ghost;
            self.groups[group].resigned = false;
            self.reserve(group, new);
        } else if old.is_none() && !is_holding(new) && new.term == self.groups[group].term {
            // It let go while it was not heard, and nobody has claimed since. How long ago is not known, so the heir asks.
            self.reserve(group, new);
        }
        if old.is_some_and(|old| old.mounted)
            && !new.mounted
            && matches!(self.groups[group].state, State::Active)
        {
            // Whoever believed the other's last announcement must not have to wait for the next of this node.
            self.groups[group].last_defence = None;
            self.defend(group);
        }
        if new.role == Role::Active && new.mounted && old.is_none_or(|old| old.role != Role::Active) {
            self.on_new_reign(group, peer, new.term);
        }
        self.revisit(group);
    }

    /// A peer says what it is now, not why; but that tells of what kind its reason was.
    fn how_it_let_go(&self, group: usize, peer: usize, new: &GroupState) -> String {
        let (g, own, peer) = (&self.groups[group], self.config.id, &self.peers[peer]);
        let ours = new.heir == Some(own) && !new.claiming;
        let ordered = g.waiting.iter().any(|waiting| waiting.heir == own);
        match (peer.liveness, new.role) {
            // The last word of this life was its keeper's.
            (Liveness::Left, _) if peer.held.is_some() && peer.held == peer.incarnation => {
                "let go: its keeper has unmounted everything".to_owned()
            }
            (Liveness::Left, _) => "let go: it was stopped".to_owned(),
            (_, Role::Drained) => "let go: it is drained".to_owned(),
            (_, Role::Fault) => "let go: it is in fault".to_owned(),
            _ if ours && ordered => "handed it over: a move was ordered here".to_owned(),
            _ if ours && new.demoted => "handed it over: a check fails there that demotes".to_owned(),
            _ if ours => "handed it over as planned".to_owned(),
            _ => "let go".to_owned(),
        }
    }

    /// Whoever let go has named an heir, and waits for it.
    fn reserve(&mut self, group: usize, state: &GroupState) {
        if let Some(heir) = state.heir.filter(|_| !state.claiming) {
            let until = self.now + self.reservation();
            self.groups[group].reserved = Some((heir, until));
            self.groups[group].resigned = false;
            self.timers.set(Timer::Revisit(group), until);
        }
    }

    /// A node could not mount what was handed back to it. Each try is a gap for the clients, so there are ever fewer.
    fn on_refused(&mut self, group: usize, id: NodeId) {
        let now = self.now;
        let g = &mut self.groups[group];
        g.failing_back = None;
        let times = g.refused.get(&id).map_or(0, |refused| refused.times);
        let pause = FAILBACK_AGAIN.saturating_mul(2u32.saturating_pow(times)).min(FAILBACK_AGAIN_MAX);
        g.refused.insert(id, Refused { times: times + 1, until: now + pause });
        let (name, node) = (self.group_name(group).to_owned(), self.node_name(id).to_owned());
        self.warn(format!("{name}: {node} could not mount it: not handed back to it for {}", spell(pause)));
    }

    fn on_new_reign(&mut self, group: usize, peer: usize, term: u64) {
        let id = self.peers[peer].id;
        let g = &mut self.groups[group];
        g.failing_back = None;
        g.refused.remove(&id);
        g.released = None;
        g.reserved = None;
        g.ghost = None;
        g.yielded = None;
        g.noted.clear();
        if matches!(g.state, State::Standby) {
            g.reason = format!("{} is active in term {term}", self.peers[peer].name);
            self.begin_verifying(group);
        }
        self.finish_waiting(group, id);
    }

    /// How long an heir just named has the right to a group before the order counts again.
    pub(crate) fn reservation(&self) -> Duration {
        self.tuning.dead * 2 + Duration::from_millis(100)
    }
}
