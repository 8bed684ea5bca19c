//! Carries out what the DLL passes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Habits;
use super::codes::{
    ALREADY_EXISTS, BAD_NET_NAME, GENERAL_FAILURE, INVALID_PARAMETER, NOT_FOUND, OK, TIMED_OUT,
};
use super::neighborhood::Neighborhood;
use super::news::News;
use super::ping;
use super::request::{self, Row, dad};
use super::table::Table;
use crate::error::Result;
use crate::mac::Mac;
use crate::netlink::{Interface, Route, Way};

/// Windows asks again after this, and gives up after the third time.
const AGAIN: Duration = Duration::from_secs(1);
const TIMES: u32 = 3;

const INET: u32 = 2;
const INET6: u32 = 23;

/// Whether an address is of a family as Windows numbers them; 0 = any.
pub(super) fn is_of(family: u32, address: IpAddr) -> bool {
    match family {
        INET => address.is_ipv4(),
        INET6 => address.is_ipv6(),
        _ => true,
    }
}

/// What answers.
pub(super) struct Desk {
    habits: Habits,
    route: Mutex<Route>,
    table: Mutex<Table>,
    neighborhood: Neighborhood,
    news: News,
}

impl Desk {
    /// In the network namespace of the calling thread.
    pub(super) fn open(habits: Habits, stop: Arc<AtomicBool>) -> Result<Arc<Self>> {
        let route = Mutex::new(Route::open()?);
        let neighborhood = Neighborhood::open(Arc::clone(&stop))?;
        Ok(Arc::new_cyclic(|desk| Self {
            habits,
            route,
            table: Mutex::default(),
            neighborhood,
            news: News { desk: desk.clone(), stop },
        }))
    }

    pub(super) fn news(&self) -> &News {
        &self.news
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All addresses as Windows would tell them.
    pub(super) fn rows(&self) -> Result<Vec<Row>> {
        // The table first, always, and held over the kernel's answer: else a new entry looks like one that was let go.
        let mut table = self.table();
        let kernel = self.route().leases()?;
        Ok(table.rows(&kernel, self.habits.counts_down))
    }

    pub(super) fn links(&self) -> Result<Vec<Interface>> {
        self.route().links()
    }

    pub(super) fn ways(&self) -> Result<Vec<Way>> {
        self.route().routes()
    }

    /// One line for one line.
    pub(super) fn answer(self: &Arc<Self>, line: &str) -> String {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let done = |result: std::result::Result<(), u32>| result.map(|()| String::new());
        let result = match verb {
            "create" => done(self.create(words)),
            "set" => done(self.set(words)),
            "get" => self.get(words),
            "delete" => done(self.delete(words)),
            "list" => self.list(words),
            "resolve" => self.resolve(words),
            "flush" => done(self.flush(words)),
            "neighbors" => self.neighbors(words),
            "routes" => self.routes(words),
            "links" => self.cards(),
            "echo" => done(echo(words)),
            _ => Err(INVALID_PARAMETER),
        };
        match result {
            Ok(text) => format!("{OK} {text}"),
            Err(code) => format!("{code} "),
        }
    }

    fn link(&self, index: u32) -> std::result::Result<Interface, u32> {
        let links = self.links().map_err(refused)?;
        links.into_iter().find(|link| link.index == index).ok_or(NOT_FOUND)
    }

    fn existing(&self, (interface, address): (u32, IpAddr)) -> std::result::Result<Option<Row>, u32> {
        let rows = self.rows().map_err(refused)?;
        Ok(rows.into_iter().find(|row| row.interface == interface && row.network.addr() == address))
    }

    fn create<'a>(self: &Arc<Self>, words: impl Iterator<Item = &'a str>) -> std::result::Result<(), u32> {
        let mut row = request::row(words)?;
        let link = self.link(row.interface)?;
        let spot = (row.interface, row.network.addr());
        // "A loopback IP address can only be added to a loopback interface."
        if row.network.addr().is_loopback() && !link.loopback {
            return Err(INVALID_PARAMETER);
        }
        if self.existing(spot)?.is_some() {
            return Err(ALREADY_EXISTS);
        }
        let optimistic = row.dad == dad::PREFERRED;
        row.dad = if optimistic { dad::PREFERRED } else { dad::TENTATIVE };
        let mut table = self.table();
        if optimistic {
            self.put(&row)?;
        }
        let serial = table.insert(row);
        drop(table);
        if optimistic && self.habits.announces {
            let _ = self.neighborhood.announce(&link, spot.1);
        }
        let desk = Arc::clone(self);
        let detect = move || desk.detect(&link, spot, serial, optimistic);
        std::thread::Builder::new().name("wine-dad".into()).spawn(detect).map_err(|_| GENERAL_FAILURE)?;
        Ok(())
    }

    /// Gives an address to the kernel here.
    fn put(&self, row: &Row) -> std::result::Result<(), u32> {
        let (valid, preferred) =
            if self.habits.counts_down { (row.valid, row.preferred) } else { (u32::MAX, u32::MAX) };
        // What comes nearest to SkipAsSource here.
        let preferred = if row.skip_as_source { 0 } else { preferred };
        self.route().lease_address(row.interface, row.network, valid, preferred).map_err(refused)
    }

    /// Duplicate address detection: asks the segment, and takes the address away if somebody answers.
    fn detect(&self, link: &Interface, spot: (u32, IpAddr), serial: u64, optimistic: bool) {
        let nobody = nobody(spot.1);
        for _ in 0..self.habits.dad_transmits {
            let asked = self.neighborhood.ask(link, nobody, spot.1, AGAIN, true);
            let mut table = self.table();
            let Some(row) = table.by_serial(spot, serial) else { return };
            if matches!(asked, Ok(Some(_))) {
                row.dad = dad::DUPLICATE;
                if optimistic {
                    let network = row.network;
                    let _ = self.route().delete_address(spot.0, network);
                }
                return;
            }
        }
        if optimistic {
            return;
        }
        let mut table = self.table();
        let Some(row) = table.by_serial(spot, serial) else { return };
        if self.put(row).is_ok() {
            row.dad = dad::PREFERRED;
            drop(table);
            if self.habits.announces {
                let _ = self.neighborhood.announce(link, spot.1);
            }
        }
    }

    fn set<'a>(&self, words: impl Iterator<Item = &'a str>) -> std::result::Result<(), u32> {
        let new = request::row(words)?;
        self.link(new.interface)?;
        let spot = (new.interface, new.network.addr());
        let old = self.existing(spot)?.ok_or(NOT_FOUND)?;
        let mut table = self.table();
        if old.dad == dad::PREFERRED {
            self.put(&new)?;
            if old.network != new.network {
                let _ = self.route().delete_address(old.interface, old.network);
            }
        }
        table.set(new);
        Ok(())
    }

    fn get<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<String, u32> {
        let spot = request::spot(&mut words)?;
        self.link(spot.0)?;
        self.existing(spot)?.map(|row| text(&row)).ok_or(NOT_FOUND)
    }

    fn delete<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<(), u32> {
        let spot = request::spot(&mut words)?;
        self.link(spot.0)?;
        let old = self.existing(spot)?.ok_or(NOT_FOUND)?;
        let mut table = self.table();
        if old.dad == dad::PREFERRED {
            self.route().delete_address(old.interface, old.network).map_err(refused)?;
        }
        table.remove(spot);
        Ok(())
    }

    fn list<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<String, u32> {
        let family = family(words.next())?;
        let rows = self.rows().map_err(refused)?;
        let rows = rows.iter().filter(|row| is_of(family, row.network.addr()));
        Ok(rows.map(text).collect::<Vec<_>>().join(";"))
    }

    fn resolve<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<String, u32> {
        let (interface, target) = request::spot(&mut words)?;
        if target.is_loopback() {
            return Err(INVALID_PARAMETER);
        }
        let link = self.link(interface)?;
        let rows = self.rows().map_err(refused)?;
        let here = |row: &&Row| {
            row.interface == interface
                && row.dad == dad::PREFERRED
                && row.network.addr().is_ipv4() == target.is_ipv4()
        };
        let source = match words.next() {
            None | Some("-") => sender(rows.iter().filter(here), target),
            Some(source) => {
                let source: IpAddr = source.parse().map_err(|_| INVALID_PARAMETER)?;
                // "Select the interface with this source IP address": there must be one.
                rows.iter().filter(here).find(|row| row.network.addr() == source).ok_or(NOT_FOUND)?;
                source
            }
        };
        // "Flushes any existing neighbor entry."
        self.route().forget_neighbor(interface, target).map_err(refused)?;
        for time in 0..TIMES {
            // A machine asks in no name that it no longer has.
            if time > 0 && !self.rows().map_err(refused)?.iter().any(|row| row.network.addr() == source) {
                break;
            }
            // What cannot be sent is not answered.
            if let Ok(Some(mac)) = self.neighborhood.ask(&link, source, target, AGAIN, false) {
                let _ = self.route().learn_neighbor(interface, target, mac);
                return Ok(mac.to_string());
            }
        }
        Err(BAD_NET_NAME)
    }

    fn flush<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<(), u32> {
        let family = family(words.next())?;
        let interface: u32 = words.next().and_then(|word| word.parse().ok()).ok_or(INVALID_PARAMETER)?;
        for (index, address, _, _) in self.known_neighbors()? {
            if is_of(family, address) && (interface == 0 || interface == index) {
                self.route().forget_neighbor(index, address).map_err(refused)?;
            }
        }
        Ok(())
    }

    fn neighbors<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<String, u32> {
        let family = family(words.next())?;
        let all = self.known_neighbors()?;
        let rows = all.iter().filter(|(_, address, _, _)| is_of(family, *address));
        let rows = rows.map(|(index, address, mac, reachable)| {
            format!("{index} {address} {mac} {}", u8::from(*reachable))
        });
        Ok(rows.collect::<Vec<_>>().join(";"))
    }

    fn routes<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> std::result::Result<String, u32> {
        let family = family(words.next())?;
        let all = self.ways().map_err(refused)?;
        let rows = all.iter().filter(|way| is_of(family, way.gateway)).map(|way| {
            let Way { index, to, gateway, metric } = way;
            format!("{index} {} {} {gateway} {metric}", to.addr(), to.prefix_len())
        });
        Ok(rows.collect::<Vec<_>>().join(";"))
    }

    /// Interfaces whose cable is out.
    /// Cards without a cable, and whether all are of one make.
    fn cards(&self) -> std::result::Result<String, u32> {
        let links = self.links().map_err(refused)?;
        let out = links.iter().filter(|link| !link.carrier && !link.loopback);
        let alike = self.habits.alike.then(|| "alike".to_owned());
        Ok(out.map(|link| link.index.to_string()).chain(alike).collect::<Vec<_>>().join(";"))
    }

    fn known_neighbors(&self) -> std::result::Result<Vec<(u32, IpAddr, Mac, bool)>, u32> {
        self.route().neighbors().map_err(refused)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: crate::error::Error) -> u32 {
    eprintln!("wine agent: {error}");
    GENERAL_FAILURE
}

/// `echo INTERFACE ADDRESS MILLISECONDS`; the interface matters for link-local addresses.
fn echo<'a>(mut words: impl Iterator<Item = &'a str>) -> std::result::Result<(), u32> {
    let interface = words.next().and_then(|word| word.parse().ok()).ok_or(INVALID_PARAMETER)?;
    let to = request::address(words.next())?;
    let millis = words.next().and_then(|word| word.parse().ok()).ok_or(INVALID_PARAMETER)?;
    match ping::ping(interface, to, Duration::from_millis(millis)) {
        Ok(true) => Ok(()),
        // What cannot be sent is not answered.
        Ok(false) | Err(_) => Err(TIMED_OUT),
    }
}

fn family(text: Option<&str>) -> std::result::Result<u32, u32> {
    let family = text.and_then(|text| text.parse().ok()).ok_or(INVALID_PARAMETER)?;
    if [0, INET, INET6].contains(&family) { Ok(family) } else { Err(INVALID_PARAMETER) }
}

fn nobody(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// In whose name a question goes out when the program does not say: an address of the target's network that may be a
/// source, or else any, or nobody's. A guess: how Windows chooses is not documented.
fn sender<'a>(rows: impl Iterator<Item = &'a Row> + Clone, target: IpAddr) -> IpAddr {
    let sources = rows.filter(|row| !row.skip_as_source);
    let near = sources.clone().find(|row| row.network.contains(&target));
    near.or_else(|| sources.clone().next()).map_or(nobody(target), |row| row.network.addr())
}

fn text(row: &Row) -> String {
    let Row { interface, network, prefix_origin, suffix_origin, valid, preferred, skip_as_source, dad } = row;
    let (address, length, skip) = (network.addr(), network.prefix_len(), u8::from(*skip_as_source));
    format!("{interface} {address} {length} {prefix_origin} {suffix_origin} {valid} {preferred} {skip} {dad}")
}
