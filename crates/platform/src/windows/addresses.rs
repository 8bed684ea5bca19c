//! Mounting, unmounting and listing addresses (IP Helper, netioapi.h). For the keeper: blocking.
//!
//! Addresses are made in the active store only: nothing here survives a restart of the machine, of the card or of its
//! driver. They do survive the process (CreateUnicastIpAddressEntry: "exists only as long as the adapter object exists").
//!
//! Each address is created with the state *preferred*, which since Windows 10 means optimistic duplicate address
//! detection: usable at once, and asked for all the same (same page). Where the system finds another host with it, the address
//! becomes a *duplicate*: it stays in the table and is not used. It is taken off here as soon as that is seen, since Windows
//! would try it again when the link comes back, and [`Kernel::mount`] then says once that somebody else answered.
//!
//! Not known, since nobody has looked at a real Windows: whether the valid lifetime of an IPv4 address that was set by hand
//! counts down. The documentation says so of neither family, so a lease is asked for and must not be relied upon.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_INVALID_PARAMETER, ERROR_NOT_FOUND, ERROR_NOT_SUPPORTED,
    ERROR_OBJECT_ALREADY_EXISTS, NO_ERROR, WIN32_ERROR,
};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CreateUnicastIpAddressEntry, DeleteUnicastIpAddressEntry, GetUnicastIpAddressEntry,
    InitializeUnicastIpAddressEntry, MIB_IPFORWARD_ROW2, MIB_UNICASTIPADDRESS_ROW, SetUnicastIpAddressEntry,
};
use windows_sys::Win32::Networking::WinSock::{
    IpDadStateDuplicate, IpDadStateInvalid, IpDadStatePreferred, IpPrefixOriginManual, IpSuffixOriginManual,
};

use super::links::{self, Link};
use super::{inet, tables};

/// An address cannot be mounted that another machine still has: duplicate address detection takes it off again.
pub const BESIDE_A_HOLDER: bool = false;

/// Whether the system takes an address off when its lifetime is over: documented nowhere.
pub const LIFETIMES_END: Option<bool> = None;

/// An address that the system has on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub interface: u32,
    /// The address with the length of its prefix.
    pub network: IpNet,
    /// Lifetime left when the system said so, whole seconds; `None` = for ever.
    pub valid: Option<Duration>,
    /// Mounted by this [`Kernel`]. Windows keeps no mark with an address, so those that an earlier process has left
    /// are not known as ours: they are recognised by what the configuration names, address and interface.
    pub ours: bool,
}

/// An address to mount, or to renew if it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Index of the interface.
    pub interface: u32,
    /// The address with the length of its prefix.
    pub network: IpNet,
    /// After this time without a renewal the system is to remove the address by itself; whole seconds, at least one.
    /// `None` = for ever.
    pub lease: Option<Duration>,
    /// The system may choose the address as the source of new connections. If false, `SkipAsSource`, which also keeps
    /// it out of DNS.
    pub as_source: bool,
    /// The system also adds a route to the network of the address. Windows has no flag for it: it adds the route that the
    /// length of the prefix says. Beside an address of the same network that is a route which is there already.
    pub prefix_route: bool,
}

/// Why the system could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The calls could not be prepared.
    #[error("cannot reach the system's address tables: {0}")]
    Open(#[source] io::Error),
    /// A table could not be read. After a change: whether it was carried out is unknown.
    #[error("cannot read the system's address tables: {0}")]
    Receive(#[source] io::Error),
    /// No answer in time. Not on this system, whose calls end by themselves.
    #[error("the system did not answer within {0:?}")]
    TimedOut(Duration),
    /// Answers were lost. Not on this system.
    #[error("answers of the system were lost")]
    Overrun,
    /// The system refused: this entry changed nothing, the others of the batch are not touched by it.
    #[error("the system refused: {source}{}", .reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default())]
    Refused {
        /// The system's error.
        source: io::Error,
        /// What the documentation says of it, if anything.
        reason: Option<String>,
    },
    /// Another host has the address: duplicate address detection had an answer. It is not mounted, unless `left` says
    /// that it could not be taken off; the system does not use it even then.
    #[error(
        "another host on the segment answered for {address} (duplicate address detection){}",
        .left.as_ref().map(|error| format!("; it could not be taken off: {error}")).unwrap_or_default()
    )]
    Duplicate {
        /// The address.
        address: IpAddr,
        /// Why it is still in the system's table.
        left: Option<io::Error>,
    },
    /// The list changed while it was read. Not on this system.
    #[error("the list kept changing while it was read")]
    Changing,
    /// An answer that cannot be understood.
    #[error("cannot understand the system's answer: {0}")]
    Malformed(String),
    /// A lease that is not whole seconds from one second up: nothing was sent.
    #[error("a lease must be whole seconds, at least one, not {0:?}")]
    Lease(Duration),
    /// An earlier part of the same batch had no answer, so this entry was not sent. Not on this system.
    #[error("not tried, because an earlier part of the batch had no answer")]
    NotTried,
}

/// What is known of an address that was mounted from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Mounted, as far as known.
    Mounted,
    /// Taken off then because another host has it, and nobody has been told yet.
    Duplicate(Instant),
}

/// A duplicate is told of for so long: whoever mounts later is to try.
const NEWS: Duration = Duration::from_secs(10);

/// The system's address lists. Calls block; each is one call into the system.
#[derive(Debug)]
pub struct Kernel {
    known: BTreeMap<(u32, IpAddr), Known>,
}

impl Kernel {
    /// Opens it. Needs no privilege; mounting and unmounting need administrator rights.
    ///
    /// # Errors
    /// None on this system.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { known: BTreeMap::new() })
    }

    /// All interfaces but those that are only filters in front of others.
    ///
    /// # Errors
    /// [`Error::Receive`]; nothing changed.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        Ok(tables::interfaces().map_err(Error::Receive)?.iter().filter_map(links::from_row).collect())
    }

    /// All addresses of all interfaces, IPv4 and IPv6, whoever mounted them. One that was mounted from here and has
    /// become a duplicate is taken off first.
    ///
    /// # Errors
    /// As [`Kernel::links`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let mut list = Vec::new();
        for row in tables::addresses().map_err(Error::Receive)? {
            let mut address = parse(&row)?;
            let spot = (address.interface, address.network.addr());
            address.ours = self.known.get(&spot) == Some(&Known::Mounted);
            // It stays in the list while it cannot be taken off.
            if address.ours && row.DadState == IpDadStateDuplicate && delete(&row).is_ok() {
                self.known.insert(spot, Known::Duplicate(Instant::now()));
                continue;
            }
            list.push(address);
        }
        let has = |spot: &(u32, IpAddr)| {
            list.iter().any(|address| (address.interface, address.network.addr()) == *spot)
        };
        self.known.retain(|spot, known| matches!(known, Known::Duplicate(_)) || has(spot));
        Ok(list)
    }

    /// The gateways in the routing table with the interface that leads there, each once: those of default routes first,
    /// then by metric.
    ///
    /// # Errors
    /// As [`Kernel::links`].
    pub fn gateways(&mut self) -> Result<Vec<(u32, IpAddr)>, Error> {
        Ok(gateways(&tables::routes().map_err(Error::Receive)?))
    }

    /// Mounts each address, or renews it if it is mounted: its lease, prefix length and source preference become those
    /// asked for. In order; one result for each entry, and a refused entry does not touch the others. Usable at once
    /// (optimistic duplicate address detection): ask the segment beforehand.
    pub fn mount(&mut self, what: &[Mount]) -> Vec<Result<(), Error>> {
        what.iter().map(|mount| self.mount_one(mount)).collect()
    }

    fn mount_one(&mut self, mount: &Mount) -> Result<(), Error> {
        let spot = (mount.interface, mount.network.addr());
        let row = row(mount, lease_seconds(mount)?);
        let mut before = self.known.get(&spot).copied();
        if let Some(Known::Duplicate(at)) = before {
            self.known.remove(&spot);
            if at.elapsed() < NEWS {
                return Err(Error::Duplicate { address: spot.1, left: None });
            }
            before = None;
        }
        match create(&row) {
            NO_ERROR => {}
            ERROR_OBJECT_ALREADY_EXISTS => {
                let there = get(&row).map_err(Error::Receive)?;
                let duplicate = there.DadState == IpDadStateDuplicate;
                if duplicate && before.is_some() {
                    return Err(self.duplicate(spot, &there));
                }
                if duplicate || there.DadState == IpDadStateInvalid {
                    // A leftover that the system does not use; whoever had the address may have let go.
                    delete(&there).map_err(|source| Error::Refused { source, reason: None })?;
                    refused(create(&row))?;
                } else {
                    refused(set(&row))?;
                }
            }
            code => refused(code)?,
        }
        self.known.insert(spot, Known::Mounted);
        let there = get(&row).map_err(Error::Receive)?;
        if there.DadState == IpDadStateDuplicate {
            return Err(self.duplicate(spot, &there));
        }
        Ok(())
    }

    fn duplicate(&mut self, spot: (u32, IpAddr), there: &MIB_UNICASTIPADDRESS_ROW) -> Error {
        let left = delete(there).err();
        if left.is_none() {
            self.known.remove(&spot);
        }
        Error::Duplicate { address: spot.1, left }
    }

    /// Unmounts each address, whoever mounted it. In order; one result for each entry. An address that is not there is
    /// `Ok`, and so is an interface that is gone. The prefix length does not matter: an interface has an address once.
    pub fn unmount(&mut self, what: &[(u32, IpNet)]) -> Vec<Result<(), Error>> {
        what.iter()
            .map(|&(interface, network)| {
                self.known.remove(&(interface, network.addr()));
                let mut row = initialised();
                row.Address = inet::to_system(network.addr());
                row.InterfaceIndex = interface;
                delete(&row)
                    .map_err(|source| refusal(source.raw_os_error().unwrap_or_default().cast_unsigned()))
            })
            .collect()
    }
}

/// The lease in the system's form: whole seconds, all ones for ever.
#[expect(clippy::cast_possible_truncation, reason = "checked against u32::MAX")]
fn lease_seconds(mount: &Mount) -> Result<u32, Error> {
    match mount.lease {
        None => Ok(u32::MAX),
        Some(lease) if lease.subsec_nanos() == 0 && (1..u64::from(u32::MAX)).contains(&lease.as_secs()) => {
            Ok(lease.as_secs() as u32)
        }
        Some(lease) => Err(Error::Lease(lease)),
    }
}

/// A row with the system's defaults: "must be used to initialize" (InitializeUnicastIpAddressEntry).
fn initialised() -> MIB_UNICASTIPADDRESS_ROW {
    let mut row = MIB_UNICASTIPADDRESS_ROW::default();
    // SAFETY: the pointer is to a row of our own, which the call fills in.
    unsafe { InitializeUnicastIpAddressEntry(&raw mut row) };
    row
}

/// Everything that matters is said; nothing is left to defaults.
fn row(mount: &Mount, seconds: u32) -> MIB_UNICASTIPADDRESS_ROW {
    let mut row = initialised();
    row.Address = inet::to_system(mount.network.addr());
    row.InterfaceIndex = mount.interface;
    row.PrefixOrigin = IpPrefixOriginManual;
    row.SuffixOrigin = IpSuffixOriginManual;
    row.ValidLifetime = seconds;
    // Never shorter: a deprecated address may be answered for less eagerly, and SkipAsSource says what is meant.
    row.PreferredLifetime = seconds;
    row.OnLinkPrefixLength = mount.network.prefix_len();
    row.SkipAsSource = !mount.as_source;
    row.DadState = IpDadStatePreferred;
    row
}

fn create(row: &MIB_UNICASTIPADDRESS_ROW) -> WIN32_ERROR {
    // SAFETY: the pointer is to a whole row that lives across the call, which only reads it.
    unsafe { CreateUnicastIpAddressEntry(row) }
}

fn set(row: &MIB_UNICASTIPADDRESS_ROW) -> WIN32_ERROR {
    // SAFETY: as above.
    unsafe { SetUnicastIpAddressEntry(row) }
}

/// The entry with this address on this interface as it is now.
fn get(row: &MIB_UNICASTIPADDRESS_ROW) -> io::Result<MIB_UNICASTIPADDRESS_ROW> {
    let mut found = *row;
    // SAFETY: the pointer is to a row of our own, which the call fills in.
    tables::check(unsafe { GetUnicastIpAddressEntry(&raw mut found) })?;
    Ok(found)
}

/// Not there, or its interface is not: that is as it should be.
fn delete(row: &MIB_UNICASTIPADDRESS_ROW) -> io::Result<()> {
    // SAFETY: the pointer is to a whole row that lives across the call, which only reads it.
    match unsafe { DeleteUnicastIpAddressEntry(row) } {
        NO_ERROR | ERROR_NOT_FOUND | ERROR_FILE_NOT_FOUND => Ok(()),
        code => tables::check(code),
    }
}

fn refused(code: WIN32_ERROR) -> Result<(), Error> {
    if code == NO_ERROR { Ok(()) } else { Err(refusal(code)) }
}

fn refusal(code: WIN32_ERROR) -> Error {
    let reason = match code {
        ERROR_ACCESS_DENIED => Some("administrator rights are needed"),
        ERROR_NOT_FOUND => Some("the interface is not there"),
        ERROR_NOT_SUPPORTED => Some("this machine does not have that version of IP"),
        ERROR_INVALID_PARAMETER => Some("the address cannot be used on this interface"),
        _ => None,
    };
    let source = io::Error::from_raw_os_error(code.cast_signed());
    Error::Refused { source, reason: reason.map(str::to_owned) }
}

/// A row of the system's table; whose it is, is not in it.
pub(super) fn parse(row: &MIB_UNICASTIPADDRESS_ROW) -> Result<Address, Error> {
    let interface = row.InterfaceIndex;
    let ip = inet::from_system(&row.Address)
        .ok_or_else(|| Error::Malformed(format!("an address of no known family on interface {interface}")))?;
    let network = IpNet::new(ip, row.OnLinkPrefixLength)
        .map_err(|_| Error::Malformed(format!("prefix length {} of {ip}", row.OnLinkPrefixLength)))?;
    let valid = (row.ValidLifetime != u32::MAX).then(|| Duration::from_secs(row.ValidLifetime.into()));
    Ok(Address { interface, network, valid, ours: false })
}

fn gateways(routes: &[MIB_IPFORWARD_ROW2]) -> Vec<(u32, IpAddr)> {
    let mut best: BTreeMap<(u32, IpAddr), (bool, u32)> = BTreeMap::new();
    for route in routes {
        let Some(gateway) = inet::from_system(&route.NextHop) else { continue };
        // A network that is on the link itself.
        if gateway.is_unspecified() {
            continue;
        }
        let rank = (route.DestinationPrefix.PrefixLength != 0, route.Metric);
        best.entry((route.InterfaceIndex, gateway))
            .and_modify(|known| *known = rank.min(*known))
            .or_insert(rank);
    }
    let mut ranked: Vec<_> = best.into_iter().map(|(hop, rank)| (rank, hop)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, hop)| hop).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount() -> Mount {
        Mount {
            interface: 7,
            network: "192.0.2.10/24".parse().unwrap(),
            lease: Some(Duration::from_secs(3)),
            as_source: false,
            prefix_route: false,
        }
    }

    #[test]
    fn only_whole_seconds_are_a_lease() {
        for bad in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(u32::MAX.into())] {
            let mount = Mount { lease: Some(bad), ..mount() };
            assert!(matches!(lease_seconds(&mount), Err(Error::Lease(told)) if told == bad));
        }
        assert_eq!(lease_seconds(&mount()).unwrap(), 3);
        assert_eq!(lease_seconds(&Mount { lease: None, ..mount() }).unwrap(), u32::MAX);
    }

    #[test]
    fn a_listed_row_is_understood_or_refused() {
        let mut row = MIB_UNICASTIPADDRESS_ROW { InterfaceIndex: 7, ..Default::default() };
        assert!(matches!(parse(&row), Err(Error::Malformed(_))));
        row.Address = inet::to_system("192.0.2.10".parse().unwrap());
        (row.OnLinkPrefixLength, row.ValidLifetime) = (24, 3);
        let address = parse(&row).unwrap();
        assert_eq!((address.network, address.valid), (mount().network, mount().lease));
        row.OnLinkPrefixLength = 255;
        assert!(matches!(parse(&row), Err(Error::Malformed(_))));
    }

    #[test]
    fn gateways_of_default_routes_come_first_and_each_once() {
        let route = |length: u8, metric: u32, gateway: &str| {
            let mut route = MIB_IPFORWARD_ROW2 { InterfaceIndex: 3, Metric: metric, ..Default::default() };
            route.DestinationPrefix.PrefixLength = length;
            route.NextHop = inet::to_system(gateway.parse().unwrap());
            route
        };
        let routes = [
            route(24, 0, "0.0.0.0"),
            route(8, 1, "192.0.2.3"),
            route(0, 20, "192.0.2.2"),
            route(8, 5, "192.0.2.1"),
            route(0, 10, "192.0.2.1"),
            route(0, 30, "fe80::1"),
        ];
        let found: Vec<String> = gateways(&routes).iter().map(|(_, gateway)| gateway.to_string()).collect();
        assert_eq!(found, ["192.0.2.1", "192.0.2.2", "fe80::1", "192.0.2.3"]);
    }
}
