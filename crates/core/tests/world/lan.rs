//! The wire between the hosts, the kernels that answer on it, and what may be wrong with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vipdrift_wire::{Frame, arp, parse_frame};

use super::random::Random;
use super::{GATEWAY, GATEWAY_MAC, Thing, WIRE, World, vip_index};

/// What is wrong with the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    /// Packets lost, in 1,000.
    pub(crate) loss: u64,
    /// Packets delivered twice, in 1,000.
    pub(crate) twice: u64,
    /// Time that every packet takes beyond the ordinary.
    pub(crate) latency: Duration,
    /// Longest delay beyond the ordinary; packets overtake each other.
    pub(crate) delay: Duration,
    /// Nothing passes from the first to the second.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// No heartbeat passes from the first to the second.
    pub(crate) blocked: BTreeSet<(usize, usize)>,
}

/// Packets kept for a machine that does not run at the moment.
const BACKLOG: usize = 300;

impl World {
    /// Powered, running, and connected.
    pub(crate) fn on_lan(&self, index: usize) -> bool {
        self.hosts.get(index).is_none_or(|host| host.plugged && host.powered && !host.machine_frozen())
    }

    /// Both are on the LAN and it carries packets between them, both ways.
    pub(crate) fn see_each_other(&self, a: usize, b: usize) -> bool {
        let cut = self.wire.cuts.contains(&(a, b)) || self.wire.cuts.contains(&(b, a));
        self.on_lan(a) && self.on_lan(b) && !cut
    }

    /// Puts a packet on the wire.
    pub(super) fn transmit(&mut self, from: usize, to: usize, thing: Thing) {
        if !self.on_lan(from) || self.wire.cuts.contains(&(from, to)) {
            return;
        }
        if self.random.chance(self.wire.loss) {
            return;
        }
        if self.random.chance(self.wire.twice) {
            let after = WIRE + self.wire.latency + self.random.upto(self.wire.delay);
            self.push(after, thing.clone());
        }
        let after = WIRE + self.wire.latency + self.random.upto(self.wire.delay);
        self.push(after, thing);
    }

    /// A packet reaches a host. False when it is not there, or keeps the packet for later.
    pub(super) fn arrives(&mut self, to: usize, thing: &Thing) -> bool {
        let Some(host) = self.hosts.get_mut(to) else { return true };
        if host.plugged && host.powered && host.machine_frozen() && host.backlog.len() < BACKLOG {
            host.backlog.push(thing.clone());
        }
        self.on_lan(to)
    }

    /// A kernel answers ARP requests and probes for what it holds, whatever its processes do.
    pub(super) fn kernel_answers(&mut self, to: usize, bytes: &[u8]) {
        let Ok((_, Frame::Arp(packet))) = parse_frame(bytes) else { return };
        if packet.operation != arp::Operation::Request || packet.claims() == Some(packet.target_ip) {
            return;
        }
        let (mac, own, vips) = match self.hosts.get(to) {
            Some(host) => (host.mac, host.ip, &host.vips),
            None => (GATEWAY_MAC, GATEWAY, &self.gateway_vips),
        };
        let asked = packet.target_ip;
        if asked != own && !vip_index(asked).is_some_and(|index| vips.contains(&index)) {
            return;
        }
        let Some(asker) = self.hosts.iter().position(|host| host.mac == packet.sender_mac) else { return };
        // An ordinary request answered by hand: the reply goes to the asker alone.
        let mut reply = arp::request(mac, packet.target_ip, packet.sender_ip, packet.sender_mac);
        reply[21] = 2;
        reply[32..38].copy_from_slice(&packet.sender_mac.0);
        self.transmit(to, asker, Thing::Frame { to: asker, bytes: reply });
    }

    pub(super) fn echo(&mut self, from: usize, to: IpAddr) {
        let Some(target) = self.hosts.iter().position(|host| IpAddr::V4(host.ip) == to) else { return };
        let lost = self.random.chance(self.wire.loss);
        if self.see_each_other(from, target) && !lost {
            self.transmit(target, from, Thing::EchoReply { to: from, from: to });
        }
    }

    /// What the random numbers of the wire start from.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }
}
