//! The client: it asks for the VIPs, remembers who answered, and is served or not.

use std::time::Duration;

use vipdrift_core::VipIndex;
use vipdrift_wire::{Frame, Mac, arp, ndp};

use super::{Thing, World};
use crate::invariants::Sight;
use crate::scenario::CLIENT;

/// A neighbour that gives no answer is asked for by broadcast after this.
const PATIENCE: Duration = Duration::from_secs(5);
/// And then this often.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module. It stands for one that sends without pause: what it would see is known at every change.
#[derive(Debug)]
pub(crate) struct Client {
    /// Who it believes has each VIP.
    pub(crate) neighbours: Vec<Option<Mac>>,
    /// By which node each VIP is served.
    pub(crate) served: Vec<Option<usize>>,
    /// Since when it is not, if it ever was.
    pub(crate) unserved: Vec<Option<Duration>>,
    asking: bool,
}

impl Client {
    pub(super) fn new(vips: usize) -> Self {
        Self {
            neighbours: vec![None; vips],
            served: vec![None; vips],
            unserved: vec![None; vips],
            asking: false,
        }
    }
}

impl World {
    /// A kernel believes every answer and every announcement of a neighbour that it has in mind.
    pub(super) fn client_sees(&mut self, frame: &Frame) {
        if let Some((vip, mac)) = self.claims(frame)
            && self.client.neighbours[vip.0] != Some(mac)
        {
            self.client.neighbours[vip.0] = Some(mac);
            let address = self.vips[vip.0].1.addr();
            self.say(|| format!("client: {address} is at {mac}"));
            self.change_scene();
        }
    }

    /// Whether the client is served, now that something has changed.
    pub(super) fn look_as_client(&mut self) {
        for vip in 0..self.vips.len() {
            let server = self.server_of(VipIndex(vip));
            let before = std::mem::replace(&mut self.client.served[vip], server);
            if server.is_some() {
                if let Some(since) = self.client.unserved[vip].take() {
                    let lasted = self.now - since;
                    self.see(&Sight::Outage { vip: VipIndex(vip), lasted });
                }
            } else if before.is_some() {
                self.client.unserved[vip] = Some(self.now);
            }
        }
        let waits = self.client.served.iter().any(Option::is_none);
        if waits && !self.client.asking {
            self.client.asking = true;
            self.push(PATIENCE, Thing::ClientAsks);
        }
    }

    fn server_of(&self, vip: VipIndex) -> Option<usize> {
        let station = self.lan.station_of(self.client.neighbours[vip.0]?)?;
        let host = self.hosts.get(station)?;
        (host.kernel.has(vip) && self.see_each_other(station, self.lan.client_station())).then_some(station)
    }

    pub(super) fn client_asks(&mut self) {
        self.client.asking = false;
        let own = crate::scenario::mac(self.lan.client_station());
        let waiting: Vec<usize> =
            (0..self.vips.len()).filter(|&vip| self.client.served[vip].is_none()).collect();
        if waiting.is_empty() {
            return;
        }
        for vip in waiting {
            let question = match self.vips[vip].1.addr() {
                std::net::IpAddr::V4(address) => arp::request(own, CLIENT, address, Mac::BROADCAST),
                std::net::IpAddr::V6(address) => ndp::solicitation(own, CLIENT.to_ipv6_mapped(), address),
            };
            self.send_frame(self.lan.client_station(), question);
        }
        self.client.asking = true;
        self.push(AGAIN, Thing::ClientAsks);
    }
}
