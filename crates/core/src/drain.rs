//! Draining: this node, a group on it, or the same on another node, which is told so with the heartbeats.
//!
//! An errand for another node is numbered, repeated with every heartbeat until its outcome is heard, and carried out
//! once. It travels in heartbeats, so a recording of it is worth nothing. The next brain of this node goes on with it.

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{Errand, ErrandOutcome, GroupId, Health, NodeId, Order, Progress, Role};

use crate::action::Action;
use crate::config::GroupIndex;
use crate::event::{CarryErrand, Drained, Scope, Ticket};
use crate::group::State;
use crate::node::Node;
use crate::peer::Peer;
use crate::timer::Timer;
use crate::tuning::ERRAND_LIMIT;

/// Who is to be told when something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Client {
    /// Whoever gave the command.
    Ticket(Ticket),
    /// The peer at this position, of its errand with this number.
    Peer(usize, u32),
    /// The drill.
    Drill,
}

/// A drain that is not done yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Draining {
    client: Client,
    /// The group; the whole node if absent.
    group: Option<usize>,
}

/// An errand for another node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Absent if it was given to an earlier brain: nobody waits for the answer any more.
    ticket: Option<Ticket>,
    pub(crate) peer: usize,
    pub(crate) errand: Errand,
    /// It has been taken.
    taken: bool,
    until: crate::Timestamp,
}

impl Node {
    /// Not eligible because an operator said so of the node or of the group.
    pub(crate) fn is_drained_of(&self, group: usize) -> bool {
        self.drained || self.set_of(group).any(|one| self.groups[one].drained)
    }

    /// What an operator has drained here.
    pub(crate) fn drained_state(&self) -> Drained {
        let groups = self.groups.iter().filter(|group| group.drained).map(|group| group.id.0).collect();
        Drained { node: self.drained, groups }
    }

    /// Takes over what an earlier life knew.
    pub(crate) fn resume_drained(&mut self, drained: &Drained) {
        self.drained = drained.node;
        for group in &mut self.groups {
            group.drained = drained.groups.contains(&group.id.0);
        }
    }

    pub(crate) fn on_order(&mut self, ticket: Ticket, order: Order, scope: &Scope) {
        let group = scope.group.map(|GroupIndex(group)| group);
        let client = Client::Ticket(ticket);
        if group.is_some_and(|group| group >= self.groups.len()) {
            return self.tell(client, Err("no such group".to_owned()));
        }
        match scope.node.as_deref().filter(|name| *name != self.config.name) {
            None => self.carry_out(client, order, group),
            Some(name) => match self.peers.iter().position(|peer| peer.name == name) {
                None => self.tell(client, Err(format!("no node named {name}"))),
                Some(peer) => self.send_errand(ticket, peer, order, group),
            },
        }
    }

    fn carry_out(&mut self, client: Client, order: Order, group: Option<usize>) {
        match order {
            Order::Drain => self.on_drain(client, group),
            Order::Undrain => self.on_undrain(client, group),
        }
        self.revisit_all();
    }

    fn on_drain(&mut self, client: Client, group: Option<usize>) {
        match group {
            None => self.drained = true,
            Some(group) => self.groups[group].drained = true,
        }
        if self.holds_nothing(group) {
            let said = match group {
                None => "drained; this node held nothing".to_owned(),
                Some(group) => format!("{}: drained; this node did not hold it", self.group_name(group)),
            };
            self.tell(client, Ok(said));
        } else {
            self.draining.push(Draining { client, group });
        }
    }

    fn on_undrain(&mut self, client: Client, group: Option<usize>) {
        let (over, rest) = std::mem::take(&mut self.draining)
            .into_iter()
            .partition::<Vec<_>, _>(|draining| draining.group == group);
        self.draining = rest;
        for draining in over {
            self.tell(draining.client, Err("undrained before everything was released".to_owned()));
        }
        let was = match group {
            None => std::mem::replace(&mut self.drained, false),
            Some(group) => std::mem::replace(&mut self.groups[group].drained, false),
        };
        let mut said =
            format!("{}{}", self.scope_name(group), if was { "undrained" } else { "was not drained" });
        let still = self.still_drained(group);
        if !still.is_empty() {
            said.push_str("; still drained: ");
            said.push_str(&still);
        }
        self.tell(client, Ok(said));
    }

    /// What else keeps this node from what was undrained.
    fn still_drained(&self, group: Option<usize>) -> String {
        match group {
            Some(_) if self.drained => "the node".to_owned(),
            Some(group) => self.names_of_drained(self.set_of(group)),
            None => self.names_of_drained(0..self.groups.len()),
        }
    }

    fn names_of_drained(&self, groups: impl Iterator<Item = usize>) -> String {
        let drained = groups.filter(|&group| self.groups[group].drained);
        drained.map(|group| self.group_name(group)).collect::<Vec<_>>().join(", ")
    }

    fn scope_name(&self, group: Option<usize>) -> String {
        group.map_or_else(String::new, |group| format!("{}: ", self.group_name(group)))
    }

    fn holds_nothing(&self, group: Option<usize>) -> bool {
        let free = |group: usize| matches!(self.groups[group].state, State::Standby);
        match group {
            Some(group) => self.set_of(group).all(free),
            None => (0..self.groups.len()).all(free),
        }
    }

    /// A group has been let go: drains that waited for it are done.
    pub(crate) fn finish_drains(&mut self) {
        let waiting = std::mem::take(&mut self.draining);
        let (done, rest) = waiting.into_iter().partition::<Vec<_>, _>(|d| self.holds_nothing(d.group));
        self.draining = rest;
        for Draining { client, group } in done {
            let mut said = format!("{}drained", self.scope_name(group));
            for group in 0..self.groups.len() {
                if self.is_drained_of(group)
                    && let Some(why) = self.left_alone(group)
                {
                    said = format!("{said}; {why}");
                }
            }
            self.tell(client, Ok(said));
        }
    }

    pub(crate) fn tell(&mut self, client: Client, outcome: Result<String, String>) {
        match client {
            Client::Ticket(ticket) => self.act(Action::Reply { ticket, outcome }),
            Client::Drill => self.on_drill_moved(outcome),
            Client::Peer(peer, number) => {
                let progress = if outcome.is_ok() { Progress::Done } else { Progress::Refused };
                let known = self.peers[peer].errand.as_mut().filter(|known| known.number == number);
                if let Some(known) = known {
                    known.progress = progress;
                    self.send_heartbeat(peer, false);
                }
            }
        }
    }

    /// Those who wait for this node or for others to be drained, for an answer that it has ended.
    pub(crate) fn abandon_orders(&mut self) -> Vec<Ticket> {
        let own =
            std::mem::take(&mut self.draining).into_iter().filter_map(|draining| match draining.client {
                Client::Ticket(ticket) => Some(ticket),
                Client::Peer(..) | Client::Drill => None,
            });
        own.chain(std::mem::take(&mut self.sent).into_iter().filter_map(|sent| sent.ticket)).collect()
    }

    // ---- Other nodes ------------------------------------------------------------------------------------------

    fn send_errand(&mut self, ticket: Ticket, peer: usize, order: Order, group: Option<usize>) {
        let name = self.peers[peer].name.clone();
        if !self.peers[peer].is_up() || !self.peers[peer].hears_us {
            let why = if self.peers[peer].is_up() { "does not hear this node" } else { "is not heard" };
            let verb = match order {
                Order::Drain => "drain",
                Order::Undrain => "undrain",
            };
            let outcome = Err(format!("{name} {why}; run `vipdrift {verb}` on it"));
            return self.act(Action::Reply { ticket, outcome });
        }
        // A later order about the same takes the place of one that is still under way.
        let of = group.map(|group| self.groups[group].id);
        let same = |sent: &Sent| sent.peer == peer && sent.errand.group == of;
        let (over, rest) = std::mem::take(&mut self.sent).into_iter().partition::<Vec<_>, _>(same);
        self.sent = rest;
        for Sent { ticket, .. } in over {
            self.close_errand(ticket, Err("another order for the same came meanwhile".to_owned()));
        }
        self.open_errand(Some(ticket), peer, order, of);
        self.send_heartbeat(peer, true);
    }

    fn open_errand(&mut self, ticket: Option<Ticket>, peer: usize, order: Order, group: Option<GroupId>) {
        self.last_errand = self.last_errand.wrapping_add(1);
        let errand = Errand { number: self.last_errand, order, group };
        let until = self.now + ERRAND_LIMIT;
        self.sent.push(Sent { ticket, peer, errand, taken: false, until });
        self.timers.set_sooner(Timer::Errand, until);
        self.forgotten = true;
    }

    /// It is known what became of an errand, or it is not waited for any longer.
    fn close_errand(&mut self, ticket: Option<Ticket>, outcome: Result<String, String>) {
        self.forgotten = true;
        match (ticket, outcome) {
            (Some(ticket), outcome) => self.act(Action::Reply { ticket, outcome }),
            (None, Ok(said)) => self.note(format!("{said}, as was ordered before this brain began")),
            (None, Err(why)) => self.warn(format!("an order from before this brain began: {why}")),
        }
    }

    /// Goes on with the errands of an earlier brain. To their receivers this is another life, so they are numbered anew.
    pub(crate) fn resume_errands(&mut self, errands: &[CarryErrand]) {
        for CarryErrand { node, order, group } in errands {
            let group = group.map(GroupId);
            let unknown = group.is_some_and(|id| !self.group_by_id.contains_key(&id));
            let Some(peer) = self.peer_index(NodeId(*node)).filter(|_| !unknown) else { continue };
            self.sent.retain(|sent| sent.peer != peer || sent.errand.group != group);
            self.open_errand(None, peer, *order, group);
        }
    }

    /// What a next brain must know of them.
    pub(crate) fn errands_to_carry(&self) -> Vec<CarryErrand> {
        let carry = |sent: &Sent| CarryErrand {
            node: self.peers[sent.peer].id.0,
            order: sent.errand.order,
            group: sent.errand.group.map(|id| id.0),
        };
        self.sent.iter().map(carry).collect()
    }

    /// What is to be asked of a peer: one thing after the other.
    pub(crate) fn errand_for(&self, peer: usize) -> Option<Errand> {
        self.sent.iter().find(|sent| sent.peer == peer).map(|sent| sent.errand)
    }

    /// A peer passes on an operator's order, or does so no longer.
    pub(crate) fn on_errand(&mut self, peer: usize, errand: Option<&Errand>) {
        let Some(errand) = errand else {
            // It has heard what became of the last one.
            self.peers[peer].errand = None;
            return;
        };
        let number = errand.number;
        if self.peers[peer].errand.is_some_and(|known| known.number == number) {
            return;
        }
        self.peers[peer].errand = Some(ErrandOutcome { number, progress: Progress::Working });
        let group = match errand.group.map(|id| self.group_by_id.get(&id).copied()) {
            Some(None) => return self.tell(Client::Peer(peer, number), Err("no such group".to_owned())),
            Some(group) => group,
            None => None,
        };
        let of = self.scope_name(group);
        let verb = match errand.order {
            Order::Drain => "drain",
            Order::Undrain => "undrain",
        };
        let name = self.peers[peer].name.clone();
        self.note(format!("{of}{verb}, asked for on {name}"));
        self.carry_out(Client::Peer(peer, number), errand.order, group);
        self.send_heartbeat(peer, false);
    }

    /// A peer says how far an errand is.
    pub(crate) fn on_errand_outcome(&mut self, peer: usize, outcome: ErrandOutcome) {
        let ours = |sent: &Sent| sent.peer == peer && sent.errand.number == outcome.number;
        let Some(position) = self.sent.iter().position(ours) else { return };
        self.sent[position].taken = true;
        if outcome.progress == Progress::Working {
            return;
        }
        if self.sent[position].errand.order == Order::Undrain && !self.peers[peer].states_known() {
            // What it says of its groups is still on the way. It tells the outcome again until then.
            return;
        }
        let Sent { ticket, errand, .. } = self.sent.remove(position);
        let name = &self.peers[peer].name;
        let of = errand.group.and_then(|id| self.group_by_id.get(&id)).map(|&group| self.group_name(group));
        let of = of.map_or_else(String::new, |of| format!("{of}: "));
        let outcome = match (outcome.progress, errand.order) {
            (Progress::Refused, _) if errand.group.is_some() => {
                Err(format!("{name} has not done it: it has no such group, or was undrained meanwhile"))
            }
            (Progress::Refused, _) => Err(format!("{name} has not done it: it was undrained meanwhile")),
            (_, Order::Drain) => Ok(format!("{of}{name} is drained")),
            (_, Order::Undrain) => Ok(self.told_undrained(peer, errand.group)),
        };
        self.close_errand(ticket, outcome);
        self.send_heartbeat(peer, false);
    }

    /// A peer has undrained what it was asked to; what else keeps it from that, as far as it publishes it.
    fn told_undrained(&self, peer: usize, group: Option<GroupId>) -> String {
        let Peer { name, health, .. } = &self.peers[peer];
        let drained = |&group: &usize| {
            let said = self.peers[peer].remote(self.groups[group].id);
            said.is_some_and(|state| state.role == Role::Drained)
        };
        let names = |groups: Vec<usize>, or| {
            groups.into_iter().map(|group| self.group_name(group)).collect::<Vec<_>>().join(or)
        };
        let group = group.and_then(|id| self.group_by_id.get(&id)).copied();
        let of = self.scope_name(group);
        let still = match group {
            Some(_) if *health == Some(Health::Drained) => "the node".to_owned(),
            // Together with it; which of them it is it does not say.
            Some(group) if drained(&group) => {
                names(self.set_of(group).filter(|one| *one != group).collect(), " or ")
            }
            Some(_) => String::new(),
            None => names((0..self.groups.len()).filter(drained).collect(), ", "),
        };
        if still.is_empty() {
            format!("{of}{name} is not drained any more")
        } else {
            format!("{of}undrained on {name}; still drained: {still}")
        }
    }

    pub(crate) fn on_errands_due(&mut self) {
        let now = self.now;
        let (over, rest) =
            std::mem::take(&mut self.sent).into_iter().partition::<Vec<_>, _>(|sent| now >= sent.until);
        self.sent = rest;
        if let Some(next) = self.sent.iter().map(|sent| sent.until).min() {
            self.timers.set(Timer::Errand, next);
        }
        for Sent { ticket, peer, taken, errand, .. } in over {
            let name = &self.peers[peer].name;
            let outcome = Err(match errand.order {
                _ if !taken => format!("{name} has not answered; it may still do it if it has heard"),
                Order::Drain => format!("{name} has taken the order, and has not let go of everything yet"),
                Order::Undrain => format!("{name} has taken the order, and has not told what is drained now"),
            });
            self.close_errand(ticket, outcome);
            // The next one for it, if there is one.
            self.send_heartbeat(peer, false);
        }
    }
}

#[cfg(test)]
mod tests;
