//! The wires between the machines, what stands on the LAN beside the nodes, and what may be wrong with it.

use std::rc::Rc;
use std::time::Duration;

use vipdrift_core::VipIndex;
use vipdrift_wire::{Frame, Mac, ethernet, parse_frame};

use super::{Thing, World, kernel};
use crate::scenario::{CLIENT, GATEWAY, STRANGER, Setup, ip, mac};

/// What is wrong with the wires. Made anew from the faults that are there whenever one comes or goes.
#[derive(Debug, Clone)]
pub(crate) struct Lan {
    nodes: usize,
    gateway: bool,
    wire: Duration,
    /// Packets lost, in 1,000.
    pub(crate) loss: u64,
    /// Packets delivered twice, in 1,000.
    pub(crate) twice: u64,
    /// Longest delay beyond the ordinary; packets overtake each other.
    pub(crate) delay: Duration,
    /// Nothing passes from one station to another on the LAN.
    cuts: Vec<bool>,
    /// No heartbeat passes from one node to another.
    blocked: Vec<bool>,
    pub(crate) echoes_blocked: bool,
    pub(crate) cross_link_cut: bool,
    /// Groups whose VIPs a foreign machine holds.
    pub(crate) foreign: Vec<bool>,
    /// A switch answers from its memory.
    pub(crate) proxy: bool,
    /// What it remembers: the MAC of each VIP.
    memory: Vec<Option<Mac>>,
}

impl Lan {
    pub(super) fn new(setup: &Setup) -> Self {
        let stations = setup.nodes + 4;
        Self {
            nodes: setup.nodes,
            gateway: setup.gateway,
            wire: setup.wire,
            loss: 0,
            twice: 0,
            delay: Duration::ZERO,
            cuts: vec![false; stations * stations],
            blocked: vec![false; setup.nodes * setup.nodes],
            echoes_blocked: false,
            cross_link_cut: false,
            foreign: vec![false; setup.groups.len()],
            proxy: false,
            memory: vec![None; setup.vips().len()],
        }
    }

    /// Nothing is wrong with it any more. What the switch remembers stays.
    pub(super) fn heal(&mut self) {
        self.loss = 0;
        self.twice = 0;
        self.delay = Duration::ZERO;
        self.cuts.fill(false);
        self.blocked.fill(false);
        self.echoes_blocked = false;
        self.cross_link_cut = false;
        self.foreign.fill(false);
        self.proxy = false;
    }

    pub(crate) const fn gateway_station(&self) -> usize {
        self.nodes
    }

    pub(crate) const fn client_station(&self) -> usize {
        self.nodes + 1
    }

    pub(crate) const fn stranger_station(&self) -> usize {
        self.nodes + 2
    }

    pub(crate) const fn switch_station(&self) -> usize {
        self.nodes + 3
    }

    const fn stations(&self) -> usize {
        self.nodes + 4
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        let stations = self.stations();
        self.cuts[from * stations + to] = true;
    }

    pub(super) fn block(&mut self, from: usize, to: usize) {
        self.blocked[from * self.nodes + to] = true;
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.stations() + to]
    }

    fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.nodes + to]
    }

    /// The station with this MAC.
    pub(crate) fn station_of(&self, address: Mac) -> Option<usize> {
        (0..self.stations()).find(|&station| mac(station) == address)
    }
}

impl World {
    /// The station's port carries packets.
    pub(crate) fn on_lan(&self, station: usize) -> bool {
        self.hosts
            .get(station)
            .is_none_or(|host| host.is_awake() && host.present && host.carrier && !host.cut)
    }

    /// Packets pass between the two, both ways.
    pub(crate) fn see_each_other(&self, a: usize, b: usize) -> bool {
        self.on_lan(a) && self.on_lan(b) && !self.lan.is_cut(a, b) && !self.lan.is_cut(b, a)
    }

    /// A machine's port is there although the machine may stand still.
    pub(super) fn plugged(&self, station: usize) -> bool {
        self.hosts.get(station).is_none_or(|host| host.powered && host.present && host.carrier && !host.cut)
    }

    fn passes(&self, lan: usize, from: usize, to: usize) -> bool {
        if lan == 0 {
            self.plugged(from) && self.plugged(to) && !self.lan.is_cut(from, to)
        } else {
            self.setup.cross_link
                && !self.lan.cross_link_cut
                && [from, to].iter().all(|&node| self.hosts.get(node).is_some_and(|host| host.powered))
        }
    }

    /// Puts a packet on a wire.
    fn transmit(&mut self, lan: usize, from: usize, to: usize, thing: Thing) {
        if !self.passes(lan, from, to) {
            return;
        }
        if lan == 0 && self.random.chance(self.lan.loss) {
            self.tally.lost += 1;
            return;
        }
        let (wire, delay) = (self.lan.wire, if lan == 0 { self.lan.delay } else { Duration::ZERO });
        if lan == 0 && self.random.chance(self.lan.twice) {
            let after = wire + self.random.upto(delay);
            self.push(after, thing.clone());
        }
        let after = wire + self.random.upto(delay);
        self.push(after, thing);
    }

    pub(super) fn send_datagram(&mut self, lan: usize, from: usize, to: usize, bytes: Vec<u8>) {
        self.transmit(lan, from, to, Thing::Datagram { lan, from, to, bytes });
    }

    pub(super) fn datagram_arrives(&mut self, lan: usize, from: usize, to: usize, bytes: Vec<u8>) {
        if self.lan.is_blocked(from, to) || !self.passes(lan, from, to) {
            return;
        }
        if self.hosts[to].stands_still() {
            self.keeps_for_later(to, || Thing::Datagram { lan, from, to, bytes }, true);
            return;
        }
        self.tally.datagrams += 1;
        let paths = if self.setup.cross_link { 2 } else { 1 };
        let peer = if from < to { from } else { from - 1 };
        self.brain_hears(to, peer * paths + lan, bytes);
    }

    /// A frame leaves a station: for one by its MAC, for all if it is for a group.
    pub(super) fn send_frame(&mut self, from: usize, bytes: Vec<u8>) {
        let Ok((header, _)) = ethernet::Header::parse(&bytes) else { return };
        let bytes: Rc<[u8]> = bytes.into();
        if !header.destination.is_multicast() {
            if let Some(to) = self.lan.station_of(header.destination).filter(|&to| to != from) {
                self.transmit(0, from, to, Thing::Frame { to, bytes });
            }
            return;
        }
        for to in (0..self.lan.stations()).filter(|&to| to != from) {
            let there = to != self.lan.gateway_station() || self.lan.gateway;
            if there {
                self.transmit(0, from, to, Thing::Frame { to, bytes: Rc::clone(&bytes) });
            }
        }
    }

    pub(super) fn frame_arrives(&mut self, to: usize, bytes: Rc<[u8]>) {
        if !self.plugged(to) {
            return;
        }
        if to < self.hosts.len() && self.hosts[to].stands_still() {
            self.keeps_for_later(to, || Thing::Frame { to, bytes }, true);
            return;
        }
        let Ok((_, frame)) = parse_frame(&bytes) else { return };
        let answer = if to < self.hosts.len() {
            self.kernel_answers(to, &frame)
        } else {
            self.bystander_answers(to, &frame)
        };
        if let Some(answer) = answer {
            self.send_frame(to, answer);
        }
        if to < self.hosts.len() {
            self.brain_sees(to, bytes);
        }
    }

    fn bystander_answers(&mut self, station: usize, frame: &Frame) -> Option<Vec<u8>> {
        let own = mac(station);
        if station == self.lan.gateway_station() {
            return kernel::answer(own, frame, |address| address == GATEWAY);
        }
        if station == self.lan.client_station() {
            self.client_sees(frame);
            return kernel::answer(own, frame, |address| address == CLIENT);
        }
        if station == self.lan.stranger_station() {
            return kernel::answer(own, frame, |address| {
                address == STRANGER
                    || self.vip_of(address).is_some_and(|vip| self.lan.foreign[self.vips[vip.0].0])
            });
        }
        self.switch_answers(frame)
    }

    /// A switch that keeps neighbours in mind, and answers for them.
    fn switch_answers(&mut self, frame: &Frame) -> Option<Vec<u8>> {
        if let Some((vip, mac)) = self.claims(frame) {
            self.lan.memory[vip.0] = Some(mac);
        }
        if !self.lan.proxy {
            return None;
        }
        let memory = |address| self.vip_of(address).and_then(|vip| self.lan.memory[vip.0]);
        let asked = match *frame {
            Frame::Arp(packet) => packet.target_ip.into(),
            Frame::Neighbor(
                vipdrift_wire::ndp::Message::Solicitation { target, .. }
                | vipdrift_wire::ndp::Message::Advertisement { target, .. },
            ) => target.into(),
        };
        let mac = memory(asked)?;
        let mut answer = kernel::answer(mac, frame, |_| true)?;
        // The frame is the switch's own, what it says is not.
        answer[6..12].copy_from_slice(&crate::scenario::mac(self.lan.switch_station()).0);
        Some(answer)
    }

    /// The VIP that the sender of a frame says it has, and its MAC.
    pub(super) fn claims(&self, frame: &Frame) -> Option<(VipIndex, Mac)> {
        let (address, mac) = match *frame {
            Frame::Arp(packet) => (packet.claims()?.into(), packet.sender_mac),
            Frame::Neighbor(ref message @ vipdrift_wire::ndp::Message::Advertisement { target_mac, .. }) => {
                (message.claims()?.into(), target_mac?)
            }
            Frame::Neighbor(_) => return None,
        };
        Some((self.vip_of(address)?, mac))
    }

    pub(super) fn send_echo(&mut self, from: usize, to: std::net::IpAddr) {
        for lan in 0..2 {
            let target = (0..self.hosts.len()).find(|&host| to == std::net::IpAddr::V4(ip(lan, host)));
            if let Some(target) = target.filter(|_| !self.lan.echoes_blocked) {
                self.transmit(lan, from, target, Thing::EchoRequest { lan, from, to: target });
            }
        }
    }

    pub(super) fn echo_arrives(&mut self, lan: usize, from: usize, to: usize) {
        if !self.passes(lan, from, to) {
            return;
        }
        if self.hosts[to].stands_still() {
            self.keeps_for_later(to, || Thing::EchoRequest { lan, from, to }, true);
            return;
        }
        self.transmit(lan, to, from, Thing::EchoReply { lan, from: to, to: from });
    }

    pub(super) fn echo_reply_arrives(&mut self, lan: usize, from: usize, to: usize) {
        if self.hosts[to].stands_still() {
            self.keeps_for_later(to, || Thing::EchoReply { lan, from, to }, true);
        } else if self.hosts[to].powered {
            self.brain_gets_echo(to, std::net::IpAddr::V4(ip(lan, from)));
        }
    }
}
