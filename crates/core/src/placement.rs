//! Groups that must be on one node (`together`), and groups that must not be (`apart`).
//!
//! A set of groups that are together has one health: what is wrong for one is wrong for all, so all of them have the same
//! heir. Where they are on two nodes all the same, the first by name stays, and the others come to it.

use std::collections::BTreeSet;

use vipdrift_wire::heartbeat::{NodeId, Role};

use crate::config::GroupIndex;
use crate::group::State;
use crate::node::Node;

impl Node {
    /// The group and all that must be on the same node.
    pub(crate) fn set_of(&self, group: usize) -> impl Iterator<Item = usize> {
        std::iter::once(group).chain(self.config.groups[group].together.iter().map(|mate| mate.0))
    }

    /// Name of the first of its set. By name, since the order of the groups may differ from node to node.
    fn leader_name(&self, group: usize) -> &str {
        self.set_of(group).map(|one| self.group_name(one)).min().unwrap_or_default()
    }

    /// This node holds some group of the set, or is about to.
    pub(crate) fn holds_of_set(&self, group: usize) -> bool {
        self.set_of(group).any(|one| self.groups[one].wants_vips())
    }

    /// Adds what has to be looked at again along with these.
    pub(crate) fn add_related(&self, groups: &mut BTreeSet<usize>) {
        let config = |&group: &usize| &self.config.groups[group];
        let related = |group| config(group).together.iter().chain(&config(group).apart);
        let more: Vec<usize> = groups.iter().flat_map(related).map(|&GroupIndex(index)| index).collect();
        groups.extend(more);
    }

    // ---- Apart ------------------------------------------------------------------------------------------------

    /// What keeps this node from the group, though it is healthy: it holds one that must be apart. Of two that it holds
    /// already only one must go.
    pub(crate) fn apart_here(&self, group: usize) -> Option<String> {
        let holds = self.holds_of_set(group);
        let mut partners = self.config.groups[group].apart.iter().map(|partner| partner.0);
        partners
            .find(|&partner| {
                if holds {
                    self.groups[partner].wants_vips() && self.leader_name(partner) < self.leader_name(group)
                } else {
                    // One that prepares is as good as held; of two that do, each finishes what it has begun.
                    !matches!(self.groups[partner].state, State::Standby)
                        || self.is_preparing(partner) && !self.is_preparing(group)
                }
            })
            .map(|partner| self.holds_partner(partner))
    }

    /// The same of a peer, as far as heard.
    pub(crate) fn apart_there(&self, group: usize, peer: usize) -> Option<String> {
        let mut partners = self.config.groups[group].apart.iter().map(|partner| partner.0);
        let held = partners.find(|&partner| self.peers[peer].is_up() && self.holds(peer, partner));
        held.map(|partner| self.holds_partner(partner))
    }

    fn holds_partner(&self, partner: usize) -> String {
        format!("holds {}, which must be apart", self.group_name(partner))
    }

    /// Why nobody takes a group that this node gives up: what keeps each of the others from it.
    pub(crate) fn left_alone(&self, group: usize) -> Option<String> {
        let id = self.groups[group].id;
        // One that is about to be ready will take it.
        let will = |index: usize| {
            let peer = &self.peers[index];
            let stands_by = peer.remote(id).is_some_and(|state| state.role == Role::Standby);
            peer.is_up() && stands_by && self.apart_there(group, index).is_none()
        };
        if self.leaving || self.holder(group).is_some() || (0..self.peers.len()).any(will) {
            return None;
        }
        let order = self.config.groups[group].order.iter().filter(|&&id| id != self.config.id);
        let why = order.map(|&id| format!("{} {}", self.node_name(id), self.unready_reason(group, id)));
        let why: Vec<String> = why.collect();
        let name = self.group_name(group);
        (!why.is_empty()).then(|| format!("{name} is left without a holder: {}", why.join(", ")))
    }

    // ---- Together ---------------------------------------------------------------------------------------------

    /// Who holds another group of the set: of the first by name that anybody holds.
    pub(crate) fn holder_of_mates(&self, group: usize) -> Option<NodeId> {
        let mut mates: Vec<usize> = self.set_of(group).skip(1).collect();
        mates.sort_by_key(|&mate| self.group_name(mate));
        mates.into_iter().find_map(|mate| {
            if self.groups[mate].wants_vips() {
                return Some(self.config.id);
            }
            self.holder(mate).map(|peer| self.peers[peer].id)
        })
    }

    /// A planned move of a group takes along what is active here of its set.
    pub(crate) fn take_along(&mut self, group: usize, heir: NodeId, reason: &str) {
        for mate in self.set_of(group).skip(1).collect::<Vec<_>>() {
            let moves =
                matches!(self.groups[mate].state, State::Active) && self.groups[mate].handover.is_none();
            if moves && self.heir_is_ready(mate, heir) {
                self.groups[mate].failing_back = self.groups[group].failing_back;
                let reason = format!("{reason}, together with {}", self.group_name(group));
                self.hand_over(mate, heir, reason);
            }
        }
    }

    /// Another node is active for a group of the set that comes before this one: brings them together there. True if it
    /// does.
    pub(crate) fn joins_leader(&mut self, group: usize) -> bool {
        let leads = self.set_of(group).skip(1).min_by_key(|&mate| self.group_name(mate));
        let Some(leader) = leads.filter(|&mate| self.group_name(mate) < self.group_name(group)) else {
            return false;
        };
        let id = self.groups[leader].id;
        let Some(peer) = self.holder(leader).filter(|&peer| {
            !self.groups[leader].wants_vips()
                && self.peers[peer]
                    .remote(id)
                    .is_some_and(|state| state.role == Role::Active && state.mounted)
        }) else {
            return false;
        };
        let reason = format!("{} is active on {}", self.group_name(leader), self.peers[peer].name);
        self.offers(group, self.peers[peer].id, true, reason)
    }
}

#[cfg(test)]
mod tests;
