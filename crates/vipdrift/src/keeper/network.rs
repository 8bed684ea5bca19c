//! The kernel's addresses and links as the configuration names them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vipdrift_platform::addresses::{self, Kernel, Mount};
use vipdrift_platform::links::{Link, find};
use vipdrift_platform::watch::{self, Change, Watch};

use super::routes::Routes;
use crate::config::Resolved;
use crate::message::Facts;

/// What is known of one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interface {
    /// The kernel's number while it is there.
    pub(crate) index: Option<u32>,
    /// The rest, as the brain gets it.
    pub(crate) facts: Facts,
}

/// Where a VIP is in the kernel: the number of the interface, and the address with the prefix length it has there.
pub(crate) type Spot = (u32, IpNet);

/// What a survey found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// VIPs that the kernel has, wherever they are.
    pub(crate) held: BTreeSet<usize>,
    /// VIPs mounted from here on an interface that is not the one of the configuration: it was renamed, or the
    /// configuration was changed. They count as held until the kernel has let them go.
    pub(crate) strays: Vec<Spot>,
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
    /// [`Network::watch`] is another one now.
    pub(crate) watch_replaced: bool,
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
    /// Where the kernel has each VIP that it has. By the interface's number, since a name may change.
    spots: BTreeMap<usize, BTreeSet<Spot>>,
    /// Gateways and the interfaces that lead there, as last read.
    gateways: Vec<(u32, IpAddr)>,
    routes: Routes,
}

impl Network {
    /// Takes the first survey, after a wait for the routes of so long at most.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(crate) fn open(resolved: &Resolved, wait: Duration) -> Result<(Self, Survey), String> {
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
            spots: BTreeMap::new(),
            gateways: Vec::new(),
            routes: Routes::start().map_err(|error| format!("cannot make a thread: {error}"))?,
        };
        network.routes.wait(wait);
        // What cannot be read now is no reason not to start: asked again, and the answer heard when there is one.
        if network.take_routes().is_err() {
            network.routes.ask();
        }
        let survey = network.survey()?;
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

    /// To be polled for [`Network::take_routes`].
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Takes over what was read of the routes; the next survey counts it in. Answers whether there is anything new, and
    /// in `Err` why it could not be read.
    pub(crate) fn take_routes(&mut self) -> Result<bool, String> {
        match self.routes.take() {
            None => Ok(false),
            Some(Err(error)) => Err(error),
            Some(Ok(gateways)) => {
                let new = gateways != self.gateways;
                self.gateways = gateways;
                Ok(new)
            }
        }
    }

    /// Asks the kernel for links and addresses.
    ///
    /// # Errors
    /// The kernel cannot be asked; what was known stays.
    pub(crate) fn survey(&mut self) -> Result<Survey, String> {
        let text = |error: addresses::Error| error.to_string();
        let links = self.kernel.links().map_err(text)?;
        let addresses = self.kernel.addresses().map_err(text)?;
        let mut survey = Survey::default();
        for (number, name) in self.names.iter().enumerate() {
            // One of two that are called so may be the wrong one: as if there were none.
            let link = find(&links, name).ok().flatten();
            let mut facts = facts(link);
            let index = link.map(|link| link.index);
            let through = self.gateways.iter().filter(|(at, _)| Some(*at) == index);
            facts.gateways = through.map(|(_, gateway)| *gateway).collect();
            let here = addresses.iter().filter(|address| Some(address.interface) == index);
            let own = here.filter(|address| self.vip_at(number, address.network.addr()).is_none());
            facts.addresses = own.map(|address| address.network).collect();
            facts.addresses.sort();
            let new = Interface { index, facts };
            if new != self.interfaces[number] {
                survey.changed.push(number);
                self.interfaces[number] = new;
            }
        }
        let known = std::mem::take(&mut self.spots);
        for address in &addresses {
            let spot = (address.interface, address.network);
            let Some(vip) = self.vip_of(spot) else { continue };
            if !self.is_in_place(vip, spot) {
                // Somebody else's, unless it is tagged, or known from before: kernels before 5.18 keep no tag.
                let ours = address.ours || known.get(&vip).is_some_and(|spots| spots.contains(&spot));
                if !ours {
                    continue;
                }
                survey.strays.push(spot);
            }
            self.spots.entry(vip).or_default().insert(spot);
        }
        survey.held = self.held();
        Ok(survey)
    }

    /// VIPs that the kernel has, as far as known.
    pub(crate) fn held(&self) -> BTreeSet<usize> {
        self.spots.keys().copied().collect()
    }

    /// Where the kernel has which VIPs, as far as known.
    pub(crate) fn spots(&self) -> Vec<Spot> {
        self.spots.values().flatten().copied().collect()
    }

    /// Whether a VIP is on the interface of the configuration.
    pub(crate) fn has_in_place(&self, vip: usize) -> bool {
        self.spot_in_place(vip).is_some()
    }

    fn spot_in_place(&self, vip: usize) -> Option<Spot> {
        self.spots.get(&vip)?.iter().copied().find(|spot| self.is_in_place(vip, *spot))
    }

    fn is_in_place(&self, vip: usize, (interface, _): Spot) -> bool {
        self.interfaces[self.places[vip].interface].index == Some(interface)
    }

    /// The VIP with this address: the one of this interface, or else the first of any.
    fn vip_of(&self, spot: Spot) -> Option<usize> {
        let candidates = self.by_address.get(&spot.1.addr())?;
        let here = candidates.iter().find(|vip| self.is_in_place(**vip, spot));
        here.or(candidates.first()).copied()
    }

    fn vip_at(&self, interface: usize, address: IpAddr) -> Option<usize> {
        let candidates = self.by_address.get(&address)?;
        candidates.iter().copied().find(|vip| self.places[*vip].interface == interface)
    }

    /// Reads all news. What is known already is an echo of our own doing.
    pub(crate) fn news(&mut self) -> News {
        let mut news = News::default();
        loop {
            match self.watch.next() {
                Ok(None) => return news,
                Ok(Some(Change::Link)) => news.look = true,
                Ok(Some(Change::Route)) => news.routes = true,
                Ok(Some(Change::AddressAdded(address))) => {
                    news.look |= self.is_news((address.interface, address.network), true);
                }
                Ok(Some(Change::AddressRemoved { interface, network })) => {
                    news.look |= self.is_news((interface, network), false);
                }
                Ok(Some(Change::Overrun)) | Err(watch::Error::Malformed(_)) => {
                    (news.look, news.routes) = (true, true);
                }
                Err(_) => {
                    // This socket is of no more use. Where no other can be had, the regular survey must do.
                    let opened = Watch::open().map(|watch| self.watch = watch);
                    return News { look: true, routes: true, watch_replaced: opened.is_ok() };
                }
            }
        }
    }

    fn is_news(&self, spot: Spot, added: bool) -> bool {
        if let Some(vip) = self.vip_of(spot) {
            return self.spots.get(&vip).is_some_and(|spots| spots.contains(&spot)) != added;
        }
        let interface = self.interfaces.iter().find(|interface| interface.index == Some(spot.0));
        interface.is_some_and(|interface| interface.facts.addresses.contains(&spot.1) != added)
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
            let (network, prefix_route) = form(place.address, &interface.facts.addresses);
            requests.push(Mount {
                interface: index,
                // Renewed as it is, or the kernel would make a second address of it.
                network: self.spot_in_place(*vip).map_or(network, |(_, network)| network),
                lease,
                as_source: place.as_source,
                prefix_route,
            });
        }
        let results = if requests.is_empty() { Vec::new() } else { self.kernel.mount(&requests) };
        for ((vip, request), result) in asked.iter().zip(&requests).zip(&results) {
            if result.is_ok() {
                self.spots.entry(*vip).or_default().insert((request.interface, request.network));
            }
        }
        outcome.take(&asked, results);
        outcome
    }

    /// Unmounts VIPs from everywhere, by the number of the interface that has them. Done is what the kernel confirms,
    /// and nothing else.
    pub(crate) fn unmount(&mut self, vips: &[usize]) -> Outcome {
        let mut asked = Vec::new();
        let mut requests = Vec::new();
        let mut outcome = Outcome::default();
        for vip in vips {
            let spots = self.spots.get(vip).into_iter().flatten();
            let before = requests.len();
            requests.extend(spots.copied());
            asked.resize(requests.len(), *vip);
            if requests.len() == before {
                outcome.uncertain = true;
                outcome.results.push((*vip, Err("it is not known where it is mounted".to_owned())));
            }
        }
        let results = if requests.is_empty() { Vec::new() } else { self.kernel.unmount(&requests) };
        self.forget(&requests, &results);
        outcome.take(&asked, results);
        outcome
    }

    /// The kernel has let these go, where it says so.
    fn forget(&mut self, spots: &[Spot], results: &[Result<(), addresses::Error>]) {
        for (spot, _) in spots.iter().zip(results).filter(|(_, result)| result.is_ok()) {
            for known in self.spots.values_mut() {
                known.remove(spot);
            }
        }
        self.spots.retain(|_, known| !known.is_empty());
    }

    /// Takes VIPs off where they do not belong.
    ///
    /// # Errors
    /// The first that could not be taken off; the others are.
    pub(crate) fn clear(&mut self, strays: &[Spot]) -> Result<(), String> {
        let results = if strays.is_empty() { Vec::new() } else { self.kernel.unmount(strays) };
        self.forget(strays, &results);
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

/// How to mount `vip` beside the interface's `own` addresses, and whether with a route to its network.
///
/// IPv4: an address that comes later to a network which the interface already has becomes a secondary of the first one
/// there, and goes when that one goes. No address of the host may ever hang on a VIP like that, so a VIP is part of a
/// network only beside an own address of the same network, and stands for itself (/32) otherwise. IPv6 has nothing of
/// the kind.
fn form(vip: IpNet, own: &[IpNet]) -> (IpNet, bool) {
    // That address has made the route; a second one would go with the VIP.
    let shared = own.iter().any(|own| own.trunc() == vip.trunc());
    match vip {
        IpNet::V4(v4) if !shared => (IpNet::from(IpAddr::V4(v4.addr())), false),
        _ => (vip, !shared),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("network")
    }

    #[test]
    fn an_ipv4_vip_stands_for_itself_unless_the_host_has_that_network() {
        let own = [net("192.0.2.11/24"), net("2001:db8::11/64")];
        let cases = [
            ("192.0.2.100/24", &own[..], ("192.0.2.100/24", false)),
            ("192.0.2.100/24", &[], ("192.0.2.100/32", false)),
            ("192.0.2.100/25", &own, ("192.0.2.100/32", false)),
            ("198.51.100.100/24", &own, ("198.51.100.100/32", false)),
            ("2001:db8::100/64", &own, ("2001:db8::100/64", false)),
            ("2001:db8::100/64", &[], ("2001:db8::100/64", true)),
        ];
        for (vip, own, (network, route)) in cases {
            assert_eq!(form(net(vip), own), (net(network), route), "{vip} beside {own:?}");
        }
    }
}
