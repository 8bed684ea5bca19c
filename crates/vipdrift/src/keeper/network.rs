//! The kernel's addresses and links as the configuration names them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vipdrift_platform::addresses::{self, Kernel, Mount};
use vipdrift_platform::links::Link;
use vipdrift_platform::watch::{self, Change, Watch};

use crate::config::Resolved;
use crate::message::Facts;

impl Survey {
    /// Misfits, without what they should have been.
    pub(crate) fn misplaced(&self) -> Vec<(u32, IpNet)> {
        self.misfits.iter().map(|(_, index, network)| (*index, *network)).collect()
    }
}

/// What is known of one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interface {
    /// The kernel's number while it is there.
    pub(crate) index: Option<u32>,
    /// The rest, as the brain gets it.
    pub(crate) facts: Facts,
}

/// What a survey found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// VIPs that the kernel has, exactly as configured.
    pub(crate) held: BTreeSet<usize>,
    /// Addresses of VIPs on the right interface with another prefix length: VIP, interface, address.
    pub(crate) misfits: Vec<(usize, u32, IpNet)>,
    /// VIPs on an interface that has lost its name while it was up: it is no longer the one that is configured.
    pub(crate) strays: Vec<(u32, IpNet)>,
    /// Interfaces of which anything has changed.
    pub(crate) changed: Vec<usize>,
}

/// What the kernel's news ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct News {
    /// Links or addresses have changed in a way that was not our doing.
    pub(crate) look: bool,
    /// Gateways may have changed.
    pub(crate) routes: bool,
}

/// One VIP in the kernel's terms.
#[derive(Debug, Clone, Copy)]
struct Place {
    interface: usize,
    address: IpNet,
    as_source: bool,
}

/// The result of one request for many VIPs.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For each VIP, in the order asked.
    pub(crate) results: Vec<(usize, Result<(), String>)>,
    /// The kernel may have done something that it did not say: look.
    pub(crate) uncertain: bool,
}

/// The kernel, seen through the configuration.
#[derive(Debug)]
pub(crate) struct Network {
    kernel: Kernel,
    watch: Watch,
    names: Vec<String>,
    places: Vec<Place>,
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    interfaces: Vec<Interface>,
}

impl Network {
    /// Takes the first survey.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(crate) fn open(resolved: &Resolved) -> Result<(Self, Survey), String> {
        let watch = Watch::open().map_err(|error| error.to_string())?;
        let kernel = Kernel::open().map_err(|error| error.to_string())?;
        let mut by_address: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut places = Vec::new();
        for (index, (vip, as_source)) in resolved.vips.iter().zip(&resolved.as_source).enumerate() {
            places.push(Place { interface: vip.interface.0, address: vip.address, as_source: *as_source });
            by_address.entry(vip.address.addr()).or_default().push(index);
        }
        let mut network = Self {
            kernel,
            watch,
            names: resolved.interfaces.clone(),
            places,
            by_address,
            interfaces: vec![Interface::default(); resolved.interfaces.len()],
        };
        let survey = network.survey(true)?;
        Ok((network, survey))
    }

    /// To be polled for [`Network::news`].
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The interfaces, in the order of the configuration.
    pub(crate) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether the interface of a VIP is there and running.
    pub(crate) fn is_running(&self, vip: usize) -> bool {
        self.interfaces[self.places[vip].interface].facts.running
    }

    /// The address of a VIP, for messages.
    pub(crate) fn address(&self, vip: usize) -> IpAddr {
        self.places[vip].address.addr()
    }

    /// Asks the kernel for links and addresses, and for gateways where `routes` says so.
    ///
    /// # Errors
    /// The kernel cannot be asked; what was known stays.
    pub(crate) fn survey(&mut self, routes: bool) -> Result<Survey, String> {
        let text = |error: addresses::Error| error.to_string();
        let links = self.kernel.links().map_err(text)?;
        let addresses = self.kernel.addresses().map_err(text)?;
        let gateways = if routes { Some(self.kernel.gateways().map_err(text)?) } else { None };
        let mut survey = Survey::default();
        for (number, name) in self.names.iter().enumerate() {
            let old = &self.interfaces[number];
            let link = links.iter().find(|link| link.name == *name);
            let mut facts = facts(link);
            let index = link.map(|link| link.index);
            facts.gateways = match &gateways {
                Some(all) => {
                    all.iter().filter(|(at, _)| Some(*at) == index).map(|(_, gateway)| *gateway).collect()
                }
                None => old.facts.gateways.clone(),
            };
            for address in addresses.iter().filter(|a| Some(a.interface) == index) {
                match self.vip_at(number, address.network.addr()) {
                    None => facts.addresses.push(address.network),
                    Some(vip) if self.places[vip].address == address.network => {
                        survey.held.insert(vip);
                    }
                    Some(vip) => survey.misfits.push((vip, address.interface, address.network)),
                }
            }
            facts.addresses.sort();
            let renamed =
                old.index.filter(|i| index != Some(*i) && links.iter().any(|link| link.index == *i));
            for address in addresses.iter().filter(|a| Some(a.interface) == renamed) {
                if self.vip_at(number, address.network.addr()).is_some() {
                    survey.strays.push((address.interface, address.network));
                }
            }
            let new = Interface { index, facts };
            if new != *old {
                survey.changed.push(number);
                self.interfaces[number] = new;
            }
        }
        Ok(survey)
    }

    fn vip_at(&self, interface: usize, address: IpAddr) -> Option<usize> {
        let candidates = self.by_address.get(&address)?;
        candidates.iter().copied().find(|vip| self.places[*vip].interface == interface)
    }

    /// Reads all news. `held` is what is believed to be mounted: news of that are echoes of our own doing.
    pub(crate) fn news(&mut self, held: &BTreeSet<usize>) -> News {
        let mut news = News::default();
        loop {
            match self.watch.next() {
                Ok(None) => return news,
                Ok(Some(Change::Link)) => news.look = true,
                Ok(Some(Change::Route)) => news.routes = true,
                Ok(Some(Change::AddressAdded(address))) => {
                    news.look |= self.is_news(address.interface, address.network, true, held);
                }
                Ok(Some(Change::AddressRemoved { interface, network })) => {
                    news.look |= self.is_news(interface, network, false, held);
                }
                Ok(Some(Change::Overrun)) | Err(watch::Error::Malformed(_)) => {
                    news = News { look: true, routes: true };
                }
                Err(_) => {
                    // This socket is of no more use. Where no other can be had, the regular survey must do.
                    if let Ok(watch) = Watch::open() {
                        self.watch = watch;
                    }
                    return News { look: true, routes: true };
                }
            }
        }
    }

    fn is_news(&self, index: u32, network: IpNet, added: bool, held: &BTreeSet<usize>) -> bool {
        let Some(number) = self.interfaces.iter().position(|i| i.index == Some(index)) else { return false };
        match self.vip_at(number, network.addr()) {
            Some(vip) => held.contains(&vip) != added || self.places[vip].address != network,
            None => self.interfaces[number].facts.addresses.contains(&network) != added,
        }
    }

    /// Mounts or renews.
    pub(crate) fn mount(&mut self, vips: &[usize], lease: Option<Duration>) -> Outcome {
        let mut asked = Vec::new();
        let mut requests = Vec::new();
        let mut outcome = Outcome::default();
        for vip in vips {
            let place = self.places[*vip];
            let interface = &self.interfaces[place.interface];
            let Some(index) = interface.index else {
                let why = format!("interface {} is not there", self.names[place.interface]);
                outcome.results.push((*vip, Err(why)));
                continue;
            };
            asked.push(*vip);
            let shared = |own: &IpNet| own.trunc() == place.address.trunc();
            requests.push(Mount {
                interface: index,
                network: place.address,
                lease,
                as_source: place.as_source,
                // The interface's own address has made that route; a second one would go with the VIP.
                prefix_route: !interface.facts.addresses.iter().any(shared),
            });
        }
        let results = if requests.is_empty() { Vec::new() } else { self.kernel.mount(&requests) };
        outcome.take(&asked, results);
        outcome
    }

    /// Unmounts. A VIP whose interface is gone is gone with it.
    pub(crate) fn unmount(&mut self, vips: &[usize]) -> Outcome {
        let mut asked = Vec::new();
        let mut requests = Vec::new();
        let mut outcome = Outcome::default();
        for vip in vips {
            let place = self.places[*vip];
            match self.interfaces[place.interface].index {
                None => outcome.results.push((*vip, Ok(()))),
                Some(index) => {
                    asked.push(*vip);
                    requests.push((index, place.address));
                }
            }
        }
        let results = if requests.is_empty() { Vec::new() } else { self.kernel.unmount(&requests) };
        outcome.take(&asked, results);
        outcome
    }

    /// Takes off addresses that are not where or as the configuration has them.
    ///
    /// # Errors
    /// The first that could not be taken off; the others are.
    pub(crate) fn clear(&mut self, addresses: &[(u32, IpNet)]) -> Result<(), String> {
        let results = if addresses.is_empty() { Vec::new() } else { self.kernel.unmount(addresses) };
        results.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
    }
}

impl Outcome {
    fn take(&mut self, vips: &[usize], results: Vec<Result<(), addresses::Error>>) {
        use addresses::Error;
        for (vip, result) in vips.iter().zip(results) {
            self.uncertain |= matches!(
                result,
                Err(Error::Receive(_)
                    | Error::TimedOut(_)
                    | Error::Overrun
                    | Error::Malformed(_)
                    | Error::Changing)
            );
            self.results.push((*vip, result.map_err(|error| error.to_string())));
        }
    }
}

fn facts(link: Option<&Link>) -> Facts {
    link.map_or_else(Facts::default, |link| Facts {
        present: true,
        running: link.running,
        mac: link.mac,
        addresses: Vec::new(),
        gateways: Vec::new(),
    })
}
