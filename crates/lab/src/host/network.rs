//! The interfaces, addresses and routes of a host.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Condition, Host, Link, PATIENCE, State};
use crate::announce;
use crate::error::{Error, Result, While};
use crate::frames::{Tap, link_address};
use crate::lab::Lan;
use crate::mac::Mac;
use crate::namespace::set_kernel;
use crate::netlink::{End, Route};
use crate::timeline::Timeline;

/// Most interfaces that a host may have.
const LINKS: u32 = 16;
/// Interface indexes are unique in the lab: an event's index tells whose it is. The two ends of a cable must not have
/// the same one either, or the kernel delays the news of a lost carrier by up to a second.
const FIRST_INDEX: u32 = 1_000;
const FIRST_PORT: u32 = 100_000;
impl Host {
    /// Lays a cable to a LAN: an interface named `eth0`, `eth1` and so on, up and with these addresses.
    /// Returns its name.
    ///
    /// # Errors
    ///
    /// An address that is none (nothing is made), or the kernel's refusal (the interface may be left without
    /// addresses).
    pub fn connect(&self, lan: Lan, addresses: &[&str]) -> Result<String> {
        let addresses = addresses.iter().map(|text| parse_network(text)).collect::<Result<Vec<_>>>()?;
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        let count = u32::try_from(state.links.len()).unwrap_or(LINKS);
        if count >= LINKS {
            return Err(Error::Name(format!("{} has {LINKS} interfaces already", self.name())));
        }
        let [.., high, low] = self.inner.number.to_be_bytes();
        if state.links.is_empty() {
            self.inner.switch.know(self.inner.namespace.net(), self.inner.number)?;
        }
        let offset = self.inner.number * LINKS + count;
        let link = Link {
            name: format!("eth{count}"),
            index: FIRST_INDEX + offset,
            port: FIRST_PORT + offset,
            lan,
            mac: Mac([0x02, 0x00, 0x4c, high, low, count.to_be_bytes()[3]]),
            addresses,
            unplugged: false,
            cut: false,
        };
        self.inner.observer.introduce(self.name(), link.index);
        self.lay(&link)?;
        let name = link.name.clone();
        state.links.push(link);
        Ok(name)
    }

    /// Makes the interface of `link` as it should be.
    pub(super) fn lay(&self, link: &Link) -> Result<()> {
        let end = End { index: link.index, name: &link.name, mac: link.mac };
        self.inner.switch.add_cable(link.lan.bridge, link.port, self.inner.namespace.net(), &end)?;
        let mut route = self.route();
        route.set_up(link.index, true)?;
        for &address in &link.addresses {
            route.add_address(link.index, address, None)?;
        }
        drop(route);
        self.wait_link(link)?;
        let known = |line: &Timeline| {
            link.addresses.iter().all(|own| line.holders(own.addr()).contains(&self.inner.name))
        };
        if self.inner.observer.wait_until(Instant::now() + PATIENCE, known) {
            return Ok(());
        }
        let silent = Err(io::Error::from(io::ErrorKind::TimedOut));
        silent.doing(|| format!("see the addresses of {} appear", self.name()))
    }

    /// Waits until frames pass, and lets the port forward. The kernel brings a link up a moment after it was asked to.
    pub(super) fn wait_link(&self, link: &Link) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.inner.switch.is_operational(link.port)? && self.route().is_operational(link.index)? {
                return self.inner.switch.set_forwarding(link.port, true);
            }
            if Instant::now() > deadline {
                let late = Err(io::Error::from(io::ErrorKind::TimedOut));
                return late.doing(|| format!("bring {} of {} up", link.name, self.name()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(super) fn find<T>(&self, state: &State, interface: &str, pick: impl Fn(&Link) -> T) -> Result<T> {
        let found = state.links.iter().find(|link| link.name == interface).map(pick);
        found.ok_or_else(|| Error::Name(format!("{} has no interface {interface}", self.name())))
    }

    /// The hardware address of one of its interfaces.
    ///
    /// # Errors
    ///
    /// No such interface.
    pub fn mac(&self, interface: &str) -> Result<Mac> {
        self.find(&self.lock(), interface, |link| link.mac)
    }

    /// The kernel's number of one of its interfaces; unique in the lab.
    ///
    /// # Errors
    ///
    /// No such interface.
    pub fn interface_index(&self, interface: &str) -> Result<u32> {
        self.find(&self.lock(), interface, |link| link.index)
    }

    /// True if the interface is up and has carrier.
    ///
    /// # Errors
    ///
    /// No such interface, or the kernel's refusal.
    pub fn carrier(&self, interface: &str) -> Result<bool> {
        let index = self.interface_index(interface)?;
        self.route().has_carrier(index)
    }

    pub(crate) fn ports(&self) -> BTreeSet<u32> {
        self.lock().links.iter().map(|link| link.port).collect()
    }

    /// Adds an address to `eth0`, or to the interface that has one of the same network, by hand.
    /// Usable at once and for ever; nothing is announced.
    ///
    /// # Errors
    ///
    /// An address that is none, or the kernel's refusal.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.change_address(address, |route, index, network| route.add_address(index, network, None))
    }

    /// The same with a lifetime, as a lease; whole seconds.
    ///
    /// # Errors
    ///
    /// An address that is none, or the kernel's refusal.
    pub fn add_address_for(&self, address: &str, lifetime: Duration) -> Result<()> {
        let seconds = u32::try_from(lifetime.as_secs().max(1)).unwrap_or(u32::MAX);
        self.change_address(address, |route, index, network| route.add_address(index, network, Some(seconds)))
    }

    /// Deletes an address by hand; with or without its prefix length.
    ///
    /// # Errors
    ///
    /// The host has no such address.
    pub fn delete_address(&self, address: &str) -> Result<()> {
        let plain = address.split('/').next().unwrap_or(address);
        let ip: IpAddr = plain.parse().map_err(|_| Error::Address(address.into()))?;
        let mut route = self.route();
        let found = route.addresses()?.into_iter().find(|(_, network)| network.addr() == ip);
        let (index, network) =
            found.ok_or_else(|| Error::Name(format!("{} does not have {ip}", self.name())))?;
        route.delete_address(index, network)
    }

    /// Addresses that its kernel has now, `lo` included, link-local ones too.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn addresses(&self) -> Result<Vec<IpNet>> {
        Ok(self.route().addresses()?.into_iter().map(|(_, network)| network).collect())
    }

    fn change_address(
        &self,
        address: &str,
        change: impl FnOnce(&mut Route, u32, IpNet) -> Result<()>,
    ) -> Result<()> {
        let network = parse_network(address)?;
        let state = self.lock();
        self.expect(&state, Condition::Running)?;
        let same_network = |link: &&Link| {
            link.addresses.iter().any(|own| own.trunc() == network.trunc() || own.contains(&network.addr()))
        };
        let link = state.links.iter().find(same_network).or(state.links.first());
        let index = link.ok_or_else(|| Error::Name(format!("{} has no interface", self.name())))?.index;
        change(&mut self.route(), index, network)
    }

    /// Adds a route (`0.0.0.0/0` and `::/0` for the default) by way of a machine on one of its LANs.
    ///
    /// # Errors
    ///
    /// Addresses that are none, or a gateway that is not on a LAN of this host.
    pub fn add_route(&self, to: &str, via: &str) -> Result<()> {
        let to = parse_network(to)?;
        let via: IpAddr = via.parse().map_err(|_| Error::Address(via.into()))?;
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        self.route().add_route(to, via)?;
        state.routes.push((to, via));
        Ok(())
    }

    /// Makes it forward packets between its LANs: a gateway.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn forward_packets(&self) -> Result<()> {
        self.set_kernel("net/ipv4/ip_forward", "1")?;
        self.set_kernel("net/ipv6/conf/all/forwarding", "1")
    }

    /// Writes a setting of its kernel, by its path below `/proc/sys` (`net/ipv4/conf/all/arp_ignore`).
    ///
    /// # Errors
    ///
    /// No such setting, or no such value.
    pub fn set_kernel(&self, setting: &str, value: &str) -> Result<()> {
        self.inner.namespace.run(|| set_kernel(setting, value))?
    }

    /// The hardware address to which its kernel would send for `address` now. Asks nobody.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn neighbor(&self, address: IpAddr) -> Result<Option<Mac>> {
        self.route().neighbor(address)
    }

    /// Announces every address of an interface once: gratuitous ARP, unsolicited Neighbor Advertisement.
    ///
    /// # Errors
    ///
    /// As [`send_frame`](Self::send_frame).
    pub fn announce(&self, interface: &str) -> Result<()> {
        let (index, mac) = self.find(&self.lock(), interface, |link| (link.index, link.mac))?;
        let addresses = self.route().addresses()?;
        let by = self.inner.namespace.run(|| link_address(interface))??;
        for (_, network) in addresses.into_iter().filter(|(owner, _)| *owner == index) {
            let frame = match network.addr() {
                IpAddr::V4(address) => announce::gratuitous_arp(mac, address),
                IpAddr::V6(address) => announce::unsolicited_advertisement(mac, address),
            };
            self.inner.sender.send(&by, &frame)?;
        }
        Ok(())
    }

    /// Sends one Ethernet frame as it is.
    ///
    /// # Errors
    ///
    /// No such interface, a frame that is too short or too long, or the interface is down.
    pub fn send_frame(&self, interface: &str, frame: &[u8]) -> Result<()> {
        let by = self.inner.namespace.run(|| link_address(interface))??;
        self.inner.sender.send(&by, frame)
    }

    /// Listens to every frame that an interface receives or sends from now on.
    ///
    /// # Errors
    ///
    /// No such interface, or the kernel's refusal.
    pub fn tap(&self, interface: &str) -> Result<Tap> {
        let index = self.interface_index(interface)?;
        self.inner.namespace.run(|| Tap::open(interface, index))?
    }
}

pub(crate) fn parse_network(text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| Error::Address(text.into()))
}
