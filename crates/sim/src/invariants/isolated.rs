//! A holder that is cut off from everybody, and can know it, lets go.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{Fault, References, Scenario};
use crate::world::World;

/// A holder asks a few times more, and its keeper needs a moment.
const MOMENT: Duration = Duration::from_millis(100);

/// Questions to the references go out every five seconds when nothing is missing, and are judged then.
const ROUTINE: Duration = Duration::from_secs(5);

pub(super) struct Isolated {
    /// Of each node: since when it is cut off, with nothing else wrong.
    since: Vec<Option<Duration>>,
    /// Of each node: nobody was left whom it could hear when that began.
    alone: Vec<bool>,
    /// Of each node: its brain has begun during the cut, and knows of nobody who has ever answered.
    blind: Vec<bool>,
    /// The cluster has been at rest once: somebody outside has answered.
    rested: bool,
    /// And nothing has gone wrong since, but for the cut.
    calm: bool,
}

impl Isolated {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            since: vec![None; scenario.setup.nodes],
            alone: vec![false; scenario.setup.nodes],
            blind: vec![false; scenario.setup.nodes],
            rested: false,
            calm: false,
        }
    }
}

/// Nothing but a cut that its machine does not see is wrong with it, or with the LAN.
fn merely_cut(world: &World, host: usize) -> bool {
    let mut cut = false;
    for fault in world.faults() {
        match fault {
            Fault::SilentCut { on } if on.0 == host => cut = true,
            Fault::Loss { .. } | Fault::Delay { .. } | Fault::Twice { .. } => return false,
            fault if fault.nodes().iter().any(|node| node.0 == host) => return false,
            _ => {}
        }
    }
    cut
}

impl Invariant for Isolated {
    fn name(&self) -> &'static str {
        "isolated"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Rested { .. } => {
                (self.rested, self.calm) = (true, true);
                self.blind.fill(false);
            }
            Sight::Fault { .. } => {
                self.calm &= world.faults().all(|fault| matches!(fault, Fault::SilentCut { .. }));
                for host in 0..world.hosts.len() {
                    let cut = self.rested && !self.blind[host] && merely_cut(world, host);
                    if cut && self.since[host].is_none() {
                        let heard = |other: usize| other != host && world.on_lan(other);
                        self.alone[host] = !(0..world.hosts.len()).any(heard);
                    }
                    self.since[host] = cut.then_some(self.since[host].unwrap_or(world.now));
                }
            }
            Sight::Born { host } => (self.since[host], self.blind[host]) = (None, true),
            Sight::TimedOut { host, .. } => {
                let Some(since) = self.since[host] else { return Ok(()) };
                let setup = &world.setup;
                let knows = match setup.references {
                    References::Nobody => false,
                    References::Auto | References::Gateway => setup.gateway,
                    References::Named => true,
                };
                // Whom nobody was heard by asks outside now and then only.
                let pace = if self.calm && !self.alone[host] { Duration::ZERO } else { ROUTINE };
                let limit = setup.dead() + setup.heartbeat * 2 + MOMENT + pace;
                if !knows || setup.cross_link || world.now < since + limit {
                    return Ok(());
                }
                let keeps = |vip: &vipdrift_core::VipIndex| {
                    world.hosts[host].kernel.has(*vip) && !setup.groups[world.vips[vip.0].0].keep_isolated
                };
                if let Some(vip) = world.vips_of.iter().flatten().find(|vip| keeps(vip)) {
                    let address = world.vips[vip.0].1;
                    return broken(host, format!("keeps {address}, cut off for {:?}", world.now - since));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
