//! A machine: power, clock, kernel, and the two processes of the daemon.

use std::collections::VecDeque;
use std::time::Duration;

use vipdrift_core::{LinkFacts, Timestamp};
use vipdrift_wire::Mac;

use super::brain::Brain;
use super::clock::Clock;
use super::keeper::Keeper;
use super::kernel::Kernel;
use super::{Thing, World};
use crate::invariants::Sight;
use crate::random::Random;
use crate::scenario::{self, GATEWAY, Setup};

/// Packets that a machine which stands still finds when it goes on.
const BACKLOG: usize = 300;

/// Why a whole machine stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// Its clock goes on.
    Suspended,
    /// Its clock stands still too.
    Paused,
}

pub(crate) struct Host {
    pub(crate) mac: Mac,
    pub(crate) clock: Clock,
    pub(crate) kernel: Kernel,
    /// The privileged process, while it runs.
    pub(crate) keeper: Option<Keeper>,
    /// The other one.
    pub(crate) brain: Option<Brain>,
    pub(crate) powered: bool,
    /// The interface exists.
    pub(crate) present: bool,
    /// It has carrier.
    pub(crate) carrier: bool,
    /// A switch lets nothing through, unseen by the machine.
    pub(crate) cut: bool,
    /// The interface has no address of the machine's own in the VIPs' subnets.
    pub(crate) addressless: bool,
    pub(crate) standstill: Option<(Standstill, Duration)>,
    backlog: VecDeque<Thing>,
    packets: usize,
    /// Grows with every start of the machine or of the daemon as a whole.
    pub(crate) life: u64,
    /// An operator has drained the node: on disk.
    pub(crate) drained: bool,
    /// The file that the daemon reads at its next start is another one.
    pub(crate) other_file: bool,
    /// The daemon is started again as soon as it has ended.
    pub(crate) start_again: bool,
    /// When the last brain ended.
    pub(crate) brain_ended: Duration,
    /// When its keeper last went on after it had stood still.
    pub(crate) keeper_went_on: Duration,
    /// When the machine last went on after it had stood still.
    pub(crate) thawed: Option<Duration>,
    /// How late its brains' timers are, always.
    pub(crate) late: Duration,
    /// How many things its brains have wanted done.
    pub(crate) actions: u64,
}

impl Host {
    pub(super) fn new(index: usize, setup: &Setup, random: &mut Random) -> Self {
        let ppm = i32::try_from(setup.clock_ppm).unwrap_or(0);
        let drawn = i32::try_from(random.below(2 * usize::try_from(ppm).unwrap_or(0) + 1)).unwrap_or(0);
        let uptime = Duration::from_secs(100) + random.upto(Duration::from_secs(1_000_000));
        Self {
            mac: scenario::mac(index),
            clock: Clock::new(Timestamp::ZERO + uptime, drawn - ppm),
            kernel: Kernel { phase: random.upto(Duration::from_secs(1)), ..Kernel::default() },
            keeper: None,
            brain: None,
            powered: true,
            present: true,
            carrier: true,
            cut: false,
            addressless: false,
            standstill: None,
            backlog: VecDeque::new(),
            packets: 0,
            life: 0,
            drained: false,
            other_file: false,
            start_again: false,
            brain_ended: Duration::ZERO,
            keeper_went_on: Duration::ZERO,
            thawed: None,
            late: Duration::ZERO,
            actions: 0,
        }
    }

    pub(crate) fn stands_still(&self) -> bool {
        self.standstill.is_some()
    }

    /// Its kernel works at this moment.
    pub(crate) fn is_awake(&self) -> bool {
        self.powered && self.standstill.is_none()
    }
}

impl World {
    /// What the keeper says of the interface.
    pub(super) fn link_facts(&self, host: usize) -> LinkFacts {
        let state = &self.hosts[host];
        if !state.present {
            return LinkFacts::default();
        }
        let mut addresses = Vec::new();
        if !state.addressless {
            for (address, prefix) in
                [(std::net::IpAddr::V4(scenario::ip(0, host)), 24), (scenario::ip6(host).into(), 64)]
            {
                addresses.extend(ipnet::IpNet::new(address, prefix));
            }
        }
        LinkFacts {
            present: true,
            running: state.carrier,
            mac: Some(state.mac),
            addresses,
            gateways: if self.setup.gateway { vec![GATEWAY.into()] } else { vec![] },
        }
    }

    /// A machine that stands still keeps what comes for later; true if it did.
    pub(super) fn keeps_for_later(
        &mut self,
        host: usize,
        thing: impl FnOnce() -> Thing,
        packet: bool,
    ) -> bool {
        let state = &mut self.hosts[host];
        if state.standstill.is_none() {
            return false;
        }
        if !packet || state.packets < BACKLOG {
            state.packets += usize::from(packet);
            state.backlog.push_back(thing());
        }
        true
    }

    pub(super) fn power_off(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.powered = false;
        state.keeper = None;
        state.brain = None;
        state.life += 1;
        state.start_again = false;
        state.standstill = None;
        state.thawed = None;
        state.backlog.clear();
        state.packets = 0;
        state.kernel.forget();
        state.clock.go_on(self.now);
        self.change_scene();
    }

    pub(super) fn power_on(&mut self, host: usize) {
        self.hosts[host].powered = true;
        self.change_scene();
    }

    pub(super) fn stand_still(&mut self, host: usize, how: Standstill) {
        let now = self.now;
        let state = &mut self.hosts[host];
        if !state.powered || state.standstill.is_some() {
            return;
        }
        state.standstill = Some((how, now));
        if how == Standstill::Paused {
            state.clock.stop(now);
        }
        if let Some(brain) = &mut state.brain {
            brain.wake = None;
        }
        self.change_scene();
    }

    /// The machine goes on, with all that has come in meanwhile.
    pub(super) fn go_on(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        let Some((how, since)) = state.standstill.take() else { return };
        state.clock.go_on(now);
        state.kernel.postpone(now - since);
        state.thawed = Some(now);
        if state.brain.is_none() {
            // Killed meanwhile, it ends only now.
            state.brain_ended = now;
        }
        state.packets = 0;
        let backlog = std::mem::take(&mut state.backlog);
        self.change_scene();
        // Kernel, keeper and brain do not go on in the same instant.
        let (late_keeper, late_brain) = (self.random.chance(500), self.random.chance(500));
        let pause = self.random.upto(Duration::from_millis(4));
        if late_brain {
            self.stall(host, pause);
        }
        if late_keeper {
            self.delay_keeper(host, pause);
        }
        self.see(&Sight::Thawed { host, stood: now - since, how });
        self.keeper_was_away(host, since, how == Standstill::Paused);
        self.lease_look(host);
        self.read_pipe(host);
        for thing in backlog {
            self.happen(thing);
        }
        self.rouse(host);
    }
}
