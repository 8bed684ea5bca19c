//! The node as it shows itself.

use vipdrift_wire::heartbeat::{GroupState, Role};

use crate::config::Effect;
use crate::group::State;
use crate::node::Node;
use crate::peer::Liveness;
use crate::snapshot::{
    CheckSnapshot, GroupSnapshot, HealthSnapshot, NodeSnapshot, PeerGroupSnapshot, PeerSnapshot,
    PeerStateName, RoleName, VipSnapshot,
};
use crate::tuning::OCCUPIED_NEWS;

impl Node {
    /// Everything that can be seen from outside.
    #[must_use]
    pub fn snapshot(&self) -> NodeSnapshot {
        let mut counters = self.counters.clone();
        counters.datagrams_rejected = self.rejected.iter().map(|(&name, &count)| (name, count)).collect();
        NodeSnapshot {
            health: self.health(),
            peers: self.peers.iter().map(|peer| self.peer_snapshot(peer)).collect(),
            groups: (0..self.groups.len()).map(|group| self.group_snapshot(group)).collect(),
            late_often: self.pace.not_kept(self.now),
            counters,
        }
    }

    /// Times that a peer said something new of a group: whoever shows what this node knows looks anew when it grows.
    #[must_use]
    pub fn states_heard(&self) -> u64 {
        self.counters.states_heard
    }

    fn health(&self) -> HealthSnapshot {
        if self.drained {
            return HealthSnapshot::Drained;
        }
        let mut reasons: Vec<String> = Vec::new();
        for group in 0..self.groups.len() {
            let kept = self.failing_checks(group, Effect::Fault);
            for fault in self.own_faults(group).into_iter().chain(kept) {
                if !reasons.contains(&fault) {
                    reasons.push(fault);
                }
            }
        }
        if reasons.is_empty() { HealthSnapshot::Healthy } else { HealthSnapshot::Fault(reasons) }
    }

    fn peer_snapshot(&self, peer: &crate::peer::Peer) -> PeerSnapshot {
        let state = match peer.liveness {
            Liveness::Alive => PeerStateName::Alive,
            Liveness::Suspect { .. } => PeerStateName::Suspect,
            Liveness::Unknown | Liveness::Silent { .. } => PeerStateName::Silent,
            Liveness::Left => PeerStateName::Left,
        };
        PeerSnapshot {
            name: peer.name.clone(),
            state,
            hears_us: peer.is_up() && peer.hears_us,
            rtt: peer.rtt.filter(|_| peer.is_up()),
            round_trips: peer.round_trips,
            same_config: peer.config_digest.map(|digest| digest == self.config.outline.digest()),
            differs: peer.differences().to_vec(),
            last_heard: peer.last_heard,
            absent_until: peer.absent_until,
            machine_dead: matches!(peer.liveness, Liveness::Silent { host_dead: true, .. }),
            interval: peer.interval(),
            health: peer.health,
            groups: self.groups.iter().map(|group| peer.remote(group.id).map(peer_group)).collect(),
        }
    }

    fn group_snapshot(&self, group: usize) -> GroupSnapshot {
        let g = &self.groups[group];
        let active_node = if matches!(g.state, State::Active | State::Proving { .. }) {
            Some(self.config.name.clone())
        } else {
            self.holder(group)
                .or_else(|| self.absent_holder(group).filter(|_| g.free_since.is_none()))
                .filter(|&peer| self.peers[peer].remote(g.id).is_some_and(|state| state.role == Role::Active))
                .map(|peer| self.peers[peer].name.clone())
        };
        let idle = matches!(g.state, State::Standby | State::Mounting { .. } | State::Releasing { .. });
        let news = self.now - OCCUPIED_NEWS;
        let occupied_by = if idle {
            g.occupancy.answer_since(news).filter(|_| active_node.is_none()).map(|answer| answer.mac)
        } else {
            g.conflict.filter(|answer| answer.at >= news).map(|answer| answer.mac)
        };
        let faults = self.faults(group);
        let apart = self.apart_here(group).filter(|_| idle && active_node.is_none());
        let reason = match apart {
            _ if idle && !faults.is_empty() => faults.join(", "),
            Some(apart) => apart,
            None => g.reason.clone(),
        };
        GroupSnapshot {
            name: self.config.groups[group].name.clone(),
            role: self.role(group),
            active_node,
            term: g.term,
            since: g.since,
            reason,
            occupied_by,
            checks: self.groups[group]
                .checks
                .iter()
                .map(|&index| {
                    let (config, check) = (&self.config.checks[index], &self.checks[index]);
                    CheckSnapshot {
                        name: config.name.clone(),
                        effect: config.effect,
                        failing: check.failing.clone(),
                        since: check.reported.then_some(check.since),
                    }
                })
                .collect(),
            vips: self.config.groups[group]
                .vips
                .iter()
                .map(|&index| {
                    let vip = self.config.vips[index.0];
                    VipSnapshot {
                        address: vip.address,
                        interface: vip.interface,
                        mounted: self.mounted.contains(&index),
                    }
                })
                .collect(),
            takeovers: g.takeovers.clone(),
            outage: g.outage,
        }
    }
}

fn peer_group(state: &GroupState) -> PeerGroupSnapshot {
    PeerGroupSnapshot {
        role: match state.role {
            Role::Active => RoleName::Active,
            Role::Standby => RoleName::Standby,
            Role::Fault => RoleName::Fault,
            Role::Drained => RoleName::Drained,
        },
        term: state.term,
        mounted: state.mounted,
        // With an heir it is an operator's wish passed on, and nobody takes anything.
        claiming: state.claiming && state.heir.is_none(),
        demoted: state.demoted,
    }
}
