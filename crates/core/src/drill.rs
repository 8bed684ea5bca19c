//! A drill: a planned move there and back, with the outage as the segment sees it.
//!
//! While the group moves, this node asks for its VIPs every millisecond, as it would ask before a claim, and keeps the
//! longest time in which nobody answered. Where it holds the VIPs itself there is nobody to be asked: then they are
//! answered for.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::NodeId;

use crate::action::{Action, Leg};
use crate::config::VipIndex;
use crate::drain::Client;
use crate::event::Ticket;
use crate::group::State;
use crate::node::{Node, spell};
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tuning::{SWITCHOVER_LIMIT, move_limit};

/// Pause between two questions while a group moves in a drill.
pub const DRILL_PACE: Duration = Duration::from_millis(1);
/// Pause between two looks while it does not.
const LOOK: Duration = Duration::from_millis(10);
/// Before anything is moved the VIPs have this long to be answered for.
const FIRST: Duration = Duration::from_millis(200);

/// A drill has come to its end by then, with or without success. `gate` is the group's.
#[must_use]
pub fn drill_limit(gate: Option<Duration>, stay: Duration) -> Duration {
    let leg = FIRST + move_limit(gate) + SWITCHOVER_LIMIT;
    // There and back, and the old home may need a moment before it can be asked to take it again.
    leg * 2 + stay + SWITCHOVER_LIMIT
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drill {
    ticket: Ticket,
    group: usize,
    home: NodeId,
    away: NodeId,
    stay: Duration,
    stage: Stage,
    watched: Vec<Watched>,
    legs: Vec<Leg>,
    /// Why it goes back before its time.
    failed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Are the VIPs answered for at all?
    First { back: bool, until: Timestamp },
    /// On the way, there or back; `told` once the heir has said that it is active.
    Moving { back: bool, told: bool, until: Timestamp },
    /// There, until then.
    Staying { until: Timestamp },
}

/// A VIP that is asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Watched {
    vip: VipIndex,
    answered: Option<Timestamp>,
    longest: Duration,
}

impl Watched {
    fn seen(&mut self, now: Timestamp) {
        if let Some(last) = self.answered.replace(now) {
            self.longest = self.longest.max(now.since(last));
        }
    }
}

impl Node {
    pub(crate) fn on_drill(&mut self, ticket: Ticket, group: usize, to: Option<&str>, stay: Duration) {
        match self.plan_drill(ticket, group, to, stay) {
            Ok(drill) => {
                self.drill = Some(drill);
                self.on_drill_due();
            }
            Err(why) => self.act(Action::Reply { ticket, outcome: Err(why) }),
        }
    }

    fn plan_drill(
        &self,
        ticket: Ticket,
        group: usize,
        to: Option<&str>,
        stay: Duration,
    ) -> Result<Drill, String> {
        if self.drill.is_some() {
            return Err("there is a drill already".to_owned());
        }
        let (home, away) = self.plan_move(group, to)?;
        // One of each family: they move in one batch.
        let of = |v4: bool| {
            let vips = self.config.groups[group].vips.iter();
            vips.copied().find(move |vip| self.config.vips[vip.0].address.addr().is_ipv4() == v4)
        };
        let watched = [of(true), of(false)].into_iter().flatten();
        let watched = watched.map(|vip| Watched { vip, answered: None, longest: Duration::ZERO }).collect();
        let stage = Stage::First { back: false, until: self.now + FIRST };
        Ok(Drill { ticket, group, home, away, stay, stage, watched, legs: Vec::new(), failed: None })
    }

    pub(crate) fn on_drill_due(&mut self) {
        let Some(drill) = &self.drill else { return };
        let (group, stage, now) = (drill.group, drill.stage, self.now);
        match stage {
            Stage::First { back, until } => {
                self.ask_watched(group);
                let unanswered = self.unanswered(Timestamp::ZERO);
                if unanswered.is_none() {
                    self.begin_leg(back);
                } else if let Some(address) = unanswered.filter(|_| now >= until) {
                    let moved = if back { "it was not moved back" } else { "nothing was moved" };
                    self.end_drill(Some(format!("nobody answers for {address}; {moved}")));
                }
            }
            Stage::Moving { back, told: true, until } => {
                self.ask_watched(group);
                let since = until - SWITCHOVER_LIMIT;
                match self.unanswered(since) {
                    None => self.finish_leg(back),
                    Some(address) if now >= until => {
                        let why = format!("nobody answers for {address} after the move");
                        if back {
                            self.end_drill(Some(why));
                        } else {
                            // Clients are without it: back at once, with nothing to ask.
                            if let Some(drill) = &mut self.drill {
                                drill.failed = Some(why);
                            }
                            self.begin_leg(true);
                        }
                    }
                    Some(_) => {}
                }
            }
            Stage::Moving { .. } => self.ask_watched(group),
            Stage::Staying { until } if now >= until => self.return_home(group, until),
            Stage::Staying { .. } => {}
        }
        match self.drill.as_ref().map(|drill| drill.stage) {
            Some(Stage::Staying { until }) if now < until => self.timers.set(Timer::Drill, until),
            Some(Stage::Staying { .. }) => self.timers.set(Timer::Drill, now + LOOK),
            Some(_) => self.timers.set(Timer::Drill, now + DRILL_PACE),
            None => self.timers.cancel(Timer::Drill),
        }
    }

    /// Asks for the watched VIPs; those that this node holds are answered for.
    fn ask_watched(&mut self, group: usize) {
        let holds = matches!(self.groups[group].state, State::Active);
        let now = self.now;
        let Some(drill) = &mut self.drill else { return };
        if holds {
            let mounted = &self.mounted;
            let here = drill.watched.iter_mut().filter(|watched| mounted.contains(&watched.vip));
            return here.for_each(|watched| watched.seen(now));
        }
        // One that is being mounted here would be a rival of itself.
        if matches!(self.groups[group].state, State::Standby | State::Releasing { .. }) {
            let vips: Vec<VipIndex> = drill.watched.iter().map(|watched| watched.vip).collect();
            self.probe(&vips);
        }
    }

    /// The first watched VIP that has not been answered for since then.
    fn unanswered(&self, since: Timestamp) -> Option<IpAddr> {
        let watched = self.drill.as_ref()?.watched.iter();
        let mut unanswered = watched.filter(|watched| watched.answered.is_none_or(|at| at < since));
        unanswered.next().map(|watched| self.config.vips[watched.vip.0].address.addr())
    }

    /// Somebody answers for a VIP, or this node has mounted it.
    pub(crate) fn drill_sees(&mut self, vip: VipIndex) {
        let now = self.now;
        let Some(drill) = &mut self.drill else { return };
        if let Some(watched) = drill.watched.iter_mut().find(|watched| watched.vip == vip) {
            watched.seen(now);
        }
    }

    fn begin_leg(&mut self, back: bool) {
        let Some(drill) = &self.drill else { return };
        let (group, from, to) =
            if back { (drill.group, drill.away, drill.home) } else { (drill.group, drill.home, drill.away) };
        // Much may have happened while it was asked who answers.
        let planned = self.plan_move(group, Some(self.node_name(to)));
        match planned {
            Ok((holder, _)) if holder == from => {}
            Ok((holder, _)) => {
                let why = format!("{} has taken it meanwhile", self.node_name(holder));
                return self.end_drill(Some(why));
            }
            Err(why) => return self.end_drill(Some(format!("it was not moved: {why}"))),
        }
        let Some(drill) = &mut self.drill else { return };
        for watched in &mut drill.watched {
            watched.longest = Duration::ZERO;
        }
        drill.stage = Stage::Moving { back, told: false, until: self.now + SWITCHOVER_LIMIT };
        let (name, from, to_name) = (self.group_name(group), self.node_name(from), self.node_name(to));
        let note = format!("{name}: drill, {from} to {to_name}");
        self.note(note);
        self.start_move(group, to, Client::Drill);
    }

    /// What has become of the move.
    pub(crate) fn on_drill_moved(&mut self, outcome: Result<String, String>) {
        match outcome {
            Err(why) => self.end_drill(Some(why)),
            Ok(_) => {
                let now = self.now;
                let Some(drill) = &mut self.drill else { return };
                if let Stage::Moving { back, .. } = drill.stage {
                    drill.stage = Stage::Moving { back, told: true, until: now + SWITCHOVER_LIMIT };
                    self.timers.set(Timer::Drill, now + DRILL_PACE);
                }
            }
        }
    }

    fn finish_leg(&mut self, back: bool) {
        let Some(drill) = &self.drill else { return };
        let (from, to) = if back { (drill.away, drill.home) } else { (drill.home, drill.away) };
        let vip = |watched: &Watched| (self.config.vips[watched.vip.0].address.addr(), watched.longest);
        let vips = drill.watched.iter().map(vip).collect();
        let leg = Leg { from: self.node_name(from).to_owned(), to: self.node_name(to).to_owned(), vips };
        let stay = drill.stay;
        let until = self.now + stay;
        if let Some(drill) = &mut self.drill {
            drill.legs.push(leg);
            drill.stage = Stage::Staying { until };
        }
        if back {
            self.end_drill(None);
        }
    }

    fn return_home(&mut self, group: usize, since: Timestamp) {
        let Some(drill) = &self.drill else { return };
        let home = self.node_name(drill.home).to_owned();
        let planned = self.plan_move(group, Some(&home));
        match planned {
            Ok((holder, _)) if holder == drill.away => {
                let until = self.now + FIRST;
                if let Some(drill) = &mut self.drill {
                    drill.stage = Stage::First { back: true, until };
                    drill.watched.iter_mut().for_each(|watched| watched.answered = None);
                }
                self.ask_watched(group);
            }
            Ok((holder, _)) => {
                let holder = self.node_name(holder).to_owned();
                self.end_drill(Some(format!("{holder} has taken it meanwhile")));
            }
            // The old home may need a moment before it could take it again.
            Err(why) if self.now >= since + SWITCHOVER_LIMIT => {
                self.end_drill(Some(format!("it was not moved back: {why}")));
            }
            Err(_) => {}
        }
    }

    fn end_drill(&mut self, why: Option<String>) {
        let Some(Drill { ticket, group, home, legs, failed, .. }) = self.drill.take() else { return };
        let why = match (failed, why) {
            (None, why) => why,
            (Some(first), None) => Some(format!("{first}; it is back on {}", self.node_name(home))),
            (Some(first), Some(then)) => Some(format!("{first}; {then}")),
        };
        self.timers.cancel(Timer::Drill);
        for leg in &legs {
            let longest = spell(leg.longest());
            let name = self.group_name(group).to_owned();
            self.note(format!(
                "{name}: drill, {} to {}: {longest} without an answer at most",
                leg.from, leg.to
            ));
        }
        match why {
            None => self.act(Action::Drilled { ticket, legs }),
            Some(why) => {
                let name = self.group_name(group).to_owned();
                let done = legs.iter().map(|leg| {
                    format!(
                        "; {} to {}: {} without an answer at most",
                        leg.from,
                        leg.to,
                        spell(leg.longest())
                    )
                });
                let outcome = Err(format!("{name}: {why}{}", done.collect::<String>()));
                self.act(Action::Reply { ticket, outcome });
            }
        }
    }

    /// Whoever waits for a drill, for an answer that this node has ended.
    pub(crate) fn abandon_drill(&mut self) -> Option<Ticket> {
        self.drill.take().map(|drill| drill.ticket)
    }
}

#[cfg(test)]
mod tests;
