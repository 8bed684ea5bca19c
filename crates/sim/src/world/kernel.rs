//! A machine's kernel: the addresses that it has, until when, and what it answers for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipdrift_core::VipIndex;
use vipdrift_wire::{Frame, Mac, arp, ndp};

use super::{Thing, World};
use crate::scenario;

/// For ever.
const NO_END: Duration = Duration::MAX;
/// An address with a lifetime of N seconds is gone N to N + 0.35 s after the last renewal (measured on Linux): the kernel
/// waits for its next whole second if that is near enough, so that addresses renewed together go together.
pub(crate) const SLACK: Duration = Duration::from_millis(350);
const WHOLE: u64 = 1_000_000_000;

/// Address table. Of the machine's own addresses nothing is kept: nobody here ever touches them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    /// VIPs, and when their lifetime ends.
    pub(super) vips: BTreeMap<VipIndex, Duration>,
    pub(crate) refuses_mounts: bool,
    pub(crate) refuses_unmounts: bool,
    /// When it next looks for lifetimes that have ended.
    pub(super) look: Option<Duration>,
    /// Where its whole seconds are.
    pub(super) phase: Duration,
}

impl Kernel {
    pub(crate) fn has(&self, vip: VipIndex) -> bool {
        self.vips.contains_key(&vip)
    }

    pub(crate) fn vips(&self) -> impl Iterator<Item = VipIndex> + '_ {
        self.vips.keys().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.vips.is_empty()
    }

    /// The machine has lost its power.
    pub(super) fn forget(&mut self) {
        self.vips.clear();
        self.look = None;
    }

    /// It stood still, and its timers with it.
    pub(super) fn postpone(&mut self, span: Duration) {
        for end in self.vips.values_mut().filter(|end| **end != NO_END) {
            *end += span;
        }
    }
}

/// The kernel's next whole second, if it is near enough.
fn round_up(end: Duration, phase: Duration) -> Duration {
    let past = u64::try_from((end + phase).as_nanos() % u128::from(WHOLE)).unwrap_or(0);
    let whole = end + Duration::from_nanos(WHOLE - past);
    if whole - end <= SLACK { whole } else { end + Duration::from_millis(4) }
}

impl World {
    /// Adds a VIP or renews its lifetime.
    pub(super) fn kernel_sets(&mut self, host: usize, vip: VipIndex, lifetime: Option<Duration>) {
        let phase = self.hosts[host].kernel.phase;
        let end = lifetime.map_or(NO_END, |lifetime| round_up(self.now + lifetime, phase));
        let kernel = &mut self.hosts[host].kernel;
        let new = kernel.vips.insert(vip, end).is_none();
        let soonest = end != NO_END && kernel.look.is_none_or(|look| end < look);
        if soonest {
            kernel.look = Some(end);
            self.push(end - self.now, Thing::LeaseLook { host });
        }
        if new {
            self.change_scene();
        }
    }

    /// Removes a VIP; false if it was not there.
    pub(super) fn kernel_drops(&mut self, host: usize, vip: VipIndex) -> bool {
        let there = self.hosts[host].kernel.vips.remove(&vip).is_some();
        if there {
            self.change_scene();
        }
        there
    }

    /// Removes every VIP whose lifetime has ended.
    pub(super) fn lease_look(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        if state.standstill.is_some() {
            // Looked at when it goes on.
            state.kernel.look = None;
            return;
        }
        let ended: Vec<VipIndex> =
            state.kernel.vips.iter().filter(|(_, end)| **end <= now).map(|(&vip, _)| vip).collect();
        for &vip in &ended {
            self.hosts[host].kernel.vips.remove(&vip);
            let address = self.vips[vip.0].1.addr();
            self.say(|| format!("{}: the lease of {address} has ended", scenario::NAMES[host]));
            self.change_scene();
        }
        if !ended.is_empty() {
            self.keeper_hears_news(host);
        }
        let kernel = &mut self.hosts[host].kernel;
        if kernel.look.is_none_or(|look| look <= now) {
            kernel.look = kernel.vips.values().copied().filter(|end| *end != NO_END).min();
            if let Some(look) = kernel.look {
                self.push(look.saturating_sub(now), Thing::LeaseLook { host });
            }
        }
    }

    /// What a node's kernel answers to a question, whatever its processes do.
    pub(super) fn kernel_answers(&self, host: usize, frame: &Frame) -> Option<Vec<u8>> {
        let own = self.hosts[host].mac;
        answer(own, frame, |address| {
            let is_own =
                address == IpAddr::V4(scenario::ip(0, host)) || address == IpAddr::V6(scenario::ip6(host));
            is_own && !self.hosts[host].addressless
                || self.vip_of(address).is_some_and(|vip| self.hosts[host].kernel.has(vip))
        })
    }

    pub(crate) fn vip_of(&self, address: IpAddr) -> Option<VipIndex> {
        self.vips.iter().position(|(_, vip)| vip.addr() == address).map(VipIndex)
    }
}

/// The answer of a machine with this MAC and these addresses (RFC 826, RFC 5227, RFC 4861, RFC 4862).
pub(super) fn answer(own: Mac, frame: &Frame, has: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    match *frame {
        Frame::Arp(packet) => {
            let gratuitous = packet.sender_ip == packet.target_ip;
            let asks = packet.operation == arp::Operation::Request && !gratuitous;
            (asks && has(packet.target_ip.into()))
                .then(|| arp::reply(own, packet.target_ip, packet.sender_mac, packet.sender_ip))
        }
        Frame::Neighbor(ndp::Message::Solicitation { source, target, source_mac }) => {
            let asker = source_mac.filter(|_| !source.is_unspecified()).map(|mac| (mac, source));
            has(target.into()).then(|| ndp::reply(own, target, asker))
        }
        Frame::Neighbor(ndp::Message::Advertisement { .. }) => None,
    }
}
