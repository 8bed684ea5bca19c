//! A daemon that makes way for another one, for longer than a brain may take to start: what it says before, and what its
//! peers make of it.
//!
//! To them the node is silent from then on, but its VIPs are expected to be answered for. They are asked for all the
//! while, and whoever finds that nobody answers any more takes over, as from a dead holder.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Message, Word, WordKind, encode};

use crate::group::State;
use crate::node::{Node, spell};
use crate::peer::Liveness;
use crate::timer::Timer;
use crate::tuning::ROUTINE_SILENT;

/// Nobody is believed to be away for longer than this.
pub const ABSENCE_MAX: Duration = Duration::from_secs(300);

impl Node {
    /// The word by which a keeper that makes way tells the peers that the kernel holds the VIPs for `at_most`. Nothing
    /// changes by it.
    ///
    /// # Errors
    /// In a sentence: something is under way that must not be left alone for so long.
    pub fn absence(&self, at_most: Duration) -> Result<Vec<u8>, String> {
        for (index, group) in self.groups.iter().enumerate() {
            let what = match group.state {
                State::Standby => continue,
                State::Active if group.handover.is_none() => continue,
                State::Proving { .. } => "this node asks around before it goes on with it",
                State::Active | State::Mounting { .. } | State::Releasing { .. } => "it is being moved",
            };
            return Err(format!("{}: {what}; try again in a moment", self.group_name(index)));
        }
        let kind = WordKind::Absent { at_most };
        let word = Word { sender: self.config.id, incarnation: self.incarnation, kind };
        Ok(encode(&Message::Word(word), &self.config.keys))
    }

    /// Its daemon has made way for another one. Believed once in an incarnation, like "holding".
    pub(crate) fn on_absent(&mut self, index: usize, at_most: Duration) {
        let incarnation = self.peers[index].incarnation;
        if self.peers[index].held == incarnation || matches!(self.peers[index].liveness, Liveness::Left) {
            return;
        }
        let at_most = at_most.min(ABSENCE_MAX);
        let name = self.peers[index].name.clone();
        self.note(format!("{name}: its daemon restarts, its kernel holds, at most {} more", spell(at_most)));
        let peer = &mut self.peers[index];
        peer.held = incarnation;
        peer.liveness = Liveness::Silent { since: self.now, host_dead: false };
        peer.hears_us = false;
        peer.holding_until = None;
        peer.absent_until = Some(self.now + at_most);
        self.timers.set_sooner(Timer::Routine(index), self.now + ROUTINE_SILENT);
        self.arm_peer(index);
        self.haunt(index);
        self.revisit_all();
    }

    /// True if the peer is away, and so was not to be heard; when its time is over it is silent like any other.
    pub(crate) fn on_absence_due(&mut self, index: usize) -> bool {
        let Some(until) = self.peers[index].absent_until else { return false };
        if self.now < until {
            self.timers.set(Timer::Dead(index), until);
            return true;
        }
        self.peers[index].absent_until = None;
        let name = self.peers[index].name.clone();
        self.warn(format!("{name}: its daemon has not come back in time"));
        self.revisit_all();
        true
    }

    /// An absent peer is back, or has let go: what was answered before counts no more.
    pub(crate) fn ask_anew(&mut self, index: usize) {
        for group in 0..self.groups.len() {
            if self.absent_holder(group) == Some(index) {
                self.stop_asking(group);
            }
        }
    }

    /// The peer that held the group when its daemon made way, and may still.
    pub(crate) fn absent_holder(&self, group: usize) -> Option<usize> {
        let ghost = self.groups[group].ghost?;
        self.peer_index(ghost.node).filter(|&index| self.peers[index].absent_until.is_some())
    }

    /// How long an absent holder's VIPs must have been free before they are taken. There is nothing else to go by, so
    /// their silence must last as long as a node's; meanwhile it shows whether it is this node that is cut off.
    pub(crate) fn doubt(&mut self, group: usize) -> Duration {
        if self.absent_holder(group).is_none() {
            return Duration::ZERO;
        }
        let since = self.groups[group].free_since.unwrap_or(self.now);
        let index = self.config.groups[group].interface.0;
        if self.interfaces[index].reference_answered_since(since).is_none() {
            self.interfaces[index].hurry = true;
            self.timers.set_sooner(Timer::References(index), self.now + self.tuning.round);
        }
        self.tuning.dead
    }
}

#[cfg(test)]
mod tests;
