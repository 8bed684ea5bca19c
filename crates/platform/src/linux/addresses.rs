//! Mounting, unmounting and listing addresses (rtnetlink(7)). For the keeper: blocking.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::links::Link;
use super::netlink::{Part, Requests, attributes, number};

/// Whether the system takes an address off when its lifetime is over: it does (ip-address(8), `valid_lft`).
pub const LIFETIMES_END: Option<bool> = Some(true);

/// An address that the kernel has on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub interface: u32,
    /// The address with the length of its prefix.
    pub network: IpNet,
    /// Lifetime left when the kernel said so, whole seconds; `None` = for ever.
    pub valid: Option<Duration>,
    /// Carries the tag ([`TAG`]) of addresses mounted by this project.
    pub ours: bool,
}

/// An address can be mounted that another machine still has: whoever mounts it has asked beforehand, or wants it so.
pub const BESIDE_A_HOLDER: bool = true;

/// The tag (`IFA_PROTO`) of addresses mounted by this project: the letter v.
pub const TAG: u8 = b'v';

/// An address to mount, or to renew if it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Index of the interface.
    pub interface: u32,
    /// The address with the length of its prefix.
    pub network: IpNet,
    /// After this time without a renewal the kernel removes the address by itself; whole seconds, at least one.
    /// `None` = for ever.
    pub lease: Option<Duration>,
    /// The kernel may choose the address as the source of new connections. If false, its preferred lifetime is zero.
    pub as_source: bool,
    /// The kernel also adds a route to the network of the address. If false, `IFA_F_NOPREFIXROUTE`.
    pub prefix_route: bool,
}

/// Why the kernel could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// The request could not be handed to the kernel: nothing changed.
    #[error("cannot send to the kernel: {0}")]
    Send(#[source] io::Error),
    /// The answer could not be read: whether the request was carried out is unknown.
    #[error("cannot read the kernel's answer: {0}")]
    Receive(#[source] io::Error),
    /// No answer in time: whether the request was carried out is unknown.
    #[error("the kernel did not answer within {0:?}")]
    TimedOut(Duration),
    /// Answers were lost because the socket's buffer was full (`ENOBUFS`): whether the request was carried out is
    /// unknown. List the addresses.
    #[error("answers of the kernel were lost, its buffer was full")]
    Overrun,
    /// The kernel refused: this entry changed nothing, the others of the batch are not touched by it.
    #[error("the kernel refused: {source}{}", .reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default())]
    Refused {
        /// The errno.
        source: io::Error,
        /// The kernel's explanation, if it gave one (`NLMSGERR_ATTR_MSG`).
        reason: Option<String>,
    },
    /// The list changed while it was read, several times in a row: try again.
    #[error("the list kept changing while it was read")]
    Changing,
    /// An answer that cannot be understood.
    #[error("cannot understand the kernel's answer: {0}")]
    Malformed(String),
    /// A lease that is not whole seconds from one second up: nothing was sent.
    #[error("a lease must be whole seconds, at least one, not {0:?}")]
    Lease(Duration),
    /// An earlier part of the same batch had no answer, so this entry was not sent: nothing changed.
    #[error("not tried, because an earlier part of the batch had no answer")]
    NotTried,
}

/// A socket for requests to the kernel's address lists.
///
/// Calls block. The kernel works a request off while it is being sent, and there it may wait for its own lock of the
/// network configuration (measured: 20 to 200 ms when others hold it); reading the answer is bounded by 2 s.
#[derive(Debug)]
pub struct Kernel {
    requests: Requests,
}

impl Kernel {
    /// Opens it. Needs no privilege; mounting and unmounting need `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// [`Error::Open`]; nothing is left behind.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { requests: Requests::open().map_err(Error::Open)? })
    }

    /// All interfaces.
    ///
    /// # Errors
    /// Any of [`Error`] about sending and reading; nothing changed.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.requests.dump(&RouteNetlinkMessage::GetLink(request), parse_link)
    }

    /// All addresses of all interfaces, IPv4 and IPv6, whoever mounted them.
    ///
    /// # Errors
    /// As [`Kernel::links`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let mut list = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = AddressMessage::default();
            request.header.family = family;
            list.extend(self.requests.dump(&RouteNetlinkMessage::GetAddress(request), |part| {
                // A kernel without IPv6 answers a question for IPv6 with all families.
                if part.payload.first() == Some(&u8::from(family)) {
                    parse_address(part.payload).map(Some)
                } else {
                    Ok(None)
                }
            })?);
        }
        Ok(list)
    }

    /// The gateways in the main routing table with the interface that leads there, each once: those of default routes
    /// first, then by metric. Reads the whole table, which may be a million routes: not for a thread that has something
    /// urgent to do. Memory is needed for the gateways only. A table that keeps changing may show some of what it was
    /// a moment ago.
    ///
    /// # Errors
    /// As [`Kernel::links`].
    pub fn gateways(&mut self) -> Result<Vec<(u32, IpAddr)>, Error> {
        let found = RefCell::new((BTreeMap::<(u32, IpAddr), usize>::new(), Vec::<Hop>::new()));
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            request.header.table = RouteHeader::RT_TABLE_MAIN;
            let read = self.requests.dump::<()>(&RouteNetlinkMessage::GetRoute(request), |part| {
                if part.payload.first() != Some(&u8::from(family)) {
                    return Ok(None);
                }
                let (positions, hops) = &mut *found.borrow_mut();
                for hop in parse_route(part.payload)?.into_iter().flatten() {
                    let position = *positions.entry((hop.interface, hop.gateway)).or_insert(hops.len());
                    match hops.get_mut(position) {
                        Some(known) if hop.rank() < known.rank() => *known = hop,
                        Some(_) => {}
                        None => hops.push(hop),
                    }
                }
                Ok(None)
            });
            match read {
                Ok(_) | Err(Error::Changing) => {}
                Err(error) => return Err(error),
            }
        }
        let (_, mut hops) = found.into_inner();
        hops.sort_by_key(Hop::rank);
        Ok(hops.into_iter().map(|hop| (hop.interface, hop.gateway)).collect())
    }

    /// Mounts each address, or renews it if it is mounted: its lease, source preference and tag become those asked for.
    /// One batch, in order; one result for each entry, and a refused entry does not touch the others. IPv6 addresses
    /// are usable at once (no duplicate address detection by the kernel: ask the segment beforehand).
    ///
    /// What the kernel does not do: the flag behind `prefix_route` of an IPv4 address that is mounted already stays as
    /// it was. An IPv4 address whose network the interface already has becomes a *secondary* of the first one there,
    /// and goes when that one goes (unless sysctl `promote_secondaries`): /32 stands for itself. Being no source
    /// preferred is only obeyed for IPv4 if the interface has an address of its own in front of it.
    pub fn mount(&mut self, what: &[Mount]) -> Vec<Result<(), Error>> {
        let valid: Vec<&Mount> = what.iter().filter(|mount| lease_seconds(mount).is_ok()).collect();
        let messages = valid.iter().map(|mount| RouteNetlinkMessage::NewAddress(mount_message(mount)));
        let mut sent = self.requests.batch(NLM_F_CREATE | NLM_F_REPLACE, messages).into_iter();
        what.iter()
            .map(|mount| match lease_seconds(mount) {
                Ok(_) => sent.next().unwrap_or(Err(Error::NotTried)),
                Err(error) => Err(error),
            })
            .collect()
    }

    /// Unmounts each address, whoever mounted it. One batch, in order; one result for each entry. An address that is not
    /// there with that interface and prefix length is `Ok`, and so is an interface that is gone.
    pub fn unmount(&mut self, what: &[(u32, IpNet)]) -> Vec<Result<(), Error>> {
        let messages = what.iter().map(|&(interface, network)| {
            RouteNetlinkMessage::DelAddress(address_message(interface, network))
        });
        let mut results = self.requests.batch(0, messages);
        for result in &mut results {
            if let Err(Error::Refused { source, .. }) = result
                && matches!(source.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
            {
                *result = Ok(());
            }
        }
        results
    }
}

/// The lease in the kernel's form: whole seconds, all ones for ever.
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

/// What tells one address from another.
fn address_message(interface: u32, network: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match network {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = network.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = interface;
    message.attributes.push(AddressAttribute::Local(network.addr()));
    message.attributes.push(AddressAttribute::Address(network.addr()));
    message
}

fn mount_message(mount: &Mount) -> AddressMessage {
    let mut message = address_message(mount.interface, mount.network);
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, matches!(mount.network, IpNet::V6(_)));
    flags.set(AddressFlags::Noprefixroute, !mount.prefix_route);
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_valid = lease_seconds(mount).unwrap_or(1);
    lifetimes.ifa_preferred = if mount.as_source { lifetimes.ifa_valid } else { 0 };
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(TAG)));
    message
}

/// A RTM_NEWADDR or RTM_DELADDR message. IPv4 tells its own address in IFA_LOCAL, and in IFA_ADDRESS the same or, of a
/// point-to-point link, the peer's; IPv6 has IFA_LOCAL only with a peer.
pub(super) fn parse_address(payload: &[u8]) -> Result<Address, DecodeError> {
    let message = AddressMessage::parse(payload)?;
    let (mut local, mut address, mut valid, mut ours) = (None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::CacheInfo(lifetimes) if lifetimes.ifa_valid != u32::MAX => {
                valid = Some(Duration::from_secs(lifetimes.ifa_valid.into()));
            }
            AddressAttribute::Protocol(tag) => ours = u8::from(*tag) == TAG,
            _ => {}
        }
    }
    let ip = local.or(address).ok_or("an address message without an address")?;
    let network = IpNet::new(ip, message.header.prefix_len)
        .map_err(|_| format!("prefix length {} of {ip}", message.header.prefix_len))?;
    Ok(Address { interface: message.header.index, network, valid, ours })
}

/// A RTM_NEWLINK message. Picked apart here, not by the library: a link has dozens of attributes that newer kernels keep
/// changing, and one that cannot be understood must not hide the link.
fn parse_link(part: &Part<'_>) -> Result<Option<Link>, DecodeError> {
    const FIXED: usize = 16; // struct ifinfomsg: family, pad, type, index, flags, change
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    let (Some(index), Some(flags)) = (number(part.payload, 4), number(part.payload, 8)) else {
        return Err("a link message that is too short".into());
    };
    let set = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let mut link = Link {
        index,
        name: String::new(),
        mac: None,
        running: set(libc::IFF_UP) && set(libc::IFF_LOWER_UP),
        loopback: set(libc::IFF_LOOPBACK),
    };
    for attribute in attributes(part.payload, FIXED) {
        match attribute? {
            (IFLA_ADDRESS, value) => link.mac = value.try_into().ok(),
            (IFLA_IFNAME, value) => {
                String::from_utf8_lossy(value).trim_end_matches('\0').clone_into(&mut link.name)
            }
            _ => {}
        }
    }
    Ok(Some(link))
}

/// One way of a route through a gateway.
struct Hop {
    default: bool,
    metric: u32,
    interface: u32,
    gateway: IpAddr,
}

impl Hop {
    /// Default routes come first, then the metric counts.
    fn rank(&self) -> (bool, u32) {
        (!self.default, self.metric)
    }
}

/// The gateways of a RTM_NEWROUTE message; picked apart here for the same reason as links.
fn parse_route(payload: &[u8]) -> Result<Option<Vec<Hop>>, DecodeError> {
    const FIXED: usize = 12; // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
    const NEXT_HOP: usize = 8; // struct rtnexthop: len, flags, hops, ifindex
    const RTN_UNICAST: u8 = 1;
    if payload.len() < FIXED {
        return Err("a route message that is too short".into());
    }
    let default = payload[1] == 0;
    let mut table = u32::from(payload[4]);
    let (mut interface, mut gateway, mut metric, mut ways) = (0, None, 0, &[][..]);
    for attribute in attributes(payload, FIXED) {
        match attribute? {
            (libc::RTA_OIF, value) => interface = number(value, 0).unwrap_or(0),
            (libc::RTA_PRIORITY, value) => metric = number(value, 0).unwrap_or(0),
            (libc::RTA_TABLE, value) => table = number(value, 0).unwrap_or(table),
            (libc::RTA_MULTIPATH, value) => ways = value,
            (kind, value) => gateway = gateway_of(kind, value).or(gateway),
        }
    }
    if payload[7] != RTN_UNICAST || table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return Ok(None);
    }
    let mut hops: Vec<Hop> =
        gateway.map(|gateway| Hop { default, metric, interface, gateway }).into_iter().collect();
    while ways.len() >= NEXT_HOP {
        let length = usize::from(u16::from_ne_bytes([ways[0], ways[1]]));
        let Some(way) = ways.get(..length).filter(|way| way.len() >= NEXT_HOP) else {
            return Err("a next hop that is cut".into());
        };
        let interface = number(way, 4).unwrap_or(0);
        for attribute in attributes(way, NEXT_HOP) {
            let (kind, value) = attribute?;
            hops.extend(gateway_of(kind, value).map(|gateway| Hop { default, metric, interface, gateway }));
        }
        ways = ways.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Some(hops))
}

/// `RTA_GATEWAY`, or `RTA_VIA`: a gateway of the other family, after two bytes that name the family.
fn gateway_of(kind: u16, value: &[u8]) -> Option<IpAddr> {
    const RTA_VIA: u16 = 18;
    let bytes = match kind {
        libc::RTA_GATEWAY => value,
        RTA_VIA => value.get(2..)?,
        _ => return None,
    };
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn bytes(message: &AddressMessage) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    /// An attribute as the kernel wants it, padded to four bytes.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Guards the wire against changes of the codec library: numbers from linux/if_addr.h, not from the library.
    #[test]
    fn mount_messages_are_these_bytes() {
        let mount = Mount {
            interface: 0x0102,
            network: "192.0.2.10/32".parse().unwrap(),
            lease: Some(Duration::from_secs(3)),
            as_source: false,
            prefix_route: false,
        };
        let numbers = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<u8>>();
        let mut expected = vec![2, 32, 0, 0];
        expected.extend(0x0102u32.to_ne_bytes());
        expected.extend(attribute(2, &[192, 0, 2, 10])); // IFA_LOCAL
        expected.extend(attribute(1, &[192, 0, 2, 10])); // IFA_ADDRESS
        expected.extend(attribute(8, &numbers(&[0x200]))); // IFA_FLAGS: IFA_F_NOPREFIXROUTE
        expected.extend(attribute(6, &numbers(&[0, 3, 0, 0]))); // IFA_CACHEINFO: preferred, valid
        expected.extend(attribute(11, &[0x76])); // IFA_PROTO
        assert_eq!(bytes(&mount_message(&mount)), expected);

        let mount = Mount {
            network: "2001:db8::10/64".parse().unwrap(),
            lease: None,
            as_source: true,
            prefix_route: true,
            ..mount
        };
        let ip = "2001:db8::10".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let mut expected = vec![10, 64, 0, 0];
        expected.extend(0x0102u32.to_ne_bytes());
        expected.extend(attribute(2, &ip));
        expected.extend(attribute(1, &ip));
        expected.extend(attribute(8, &numbers(&[0x02]))); // IFA_F_NODAD
        expected.extend(attribute(6, &numbers(&[u32::MAX, u32::MAX, 0, 0])));
        expected.extend(attribute(11, &[0x76]));
        assert_eq!(bytes(&mount_message(&mount)), expected);
        assert_eq!(
            parse_address(&expected).unwrap(),
            Address { interface: 0x0102, network: mount.network, valid: None, ours: true }
        );
    }

    #[test]
    fn only_whole_seconds_are_a_lease() {
        let mount = |lease| Mount {
            interface: 1,
            network: "192.0.2.10/32".parse().unwrap(),
            lease,
            as_source: false,
            prefix_route: false,
        };
        for bad in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(u32::MAX.into())] {
            assert!(matches!(lease_seconds(&mount(Some(bad))), Err(Error::Lease(told)) if told == bad));
        }
        assert_eq!(lease_seconds(&mount(Some(Duration::from_secs(1)))).unwrap(), 1);
        assert_eq!(lease_seconds(&mount(None)).unwrap(), u32::MAX);
    }

    #[test]
    fn a_point_to_point_address_is_the_local_one() {
        let mut bytes = vec![2, 32, 0, 0];
        bytes.extend(4u32.to_ne_bytes());
        bytes.extend(attribute(1, &[192, 0, 2, 2]));
        bytes.extend(attribute(2, &[192, 0, 2, 1]));
        assert_eq!(parse_address(&bytes).unwrap().network, "192.0.2.1/32".parse::<IpNet>().unwrap());
        bytes[1] = 33;
        assert!(parse_address(&bytes).is_err());
        assert!(parse_address(&bytes[..8]).is_err());
    }

    #[test]
    fn routes_with_several_ways_and_foreign_families_give_their_gateways() {
        let mut way = Vec::new();
        for (index, gateway) in [
            (3u32, attribute(5, &[192, 0, 2, 1])),
            (
                4,
                attribute(18, &{
                    let mut via = 10u16.to_ne_bytes().to_vec();
                    via.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
                    via
                }),
            ),
        ] {
            way.extend(u16::try_from(8 + gateway.len()).unwrap().to_ne_bytes());
            way.extend([0, 0]);
            way.extend(index.to_ne_bytes());
            way.extend(gateway);
        }
        let mut route = vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        route.extend(attribute(9, &way));
        let hops = parse_route(&route).unwrap().unwrap();
        let found: Vec<_> =
            hops.iter().map(|hop| (hop.default, hop.interface, hop.gateway.to_string())).collect();
        assert_eq!(found, [(true, 3, "192.0.2.1".to_owned()), (true, 4, "fe80::9".to_owned())]);

        for end in 0..route.len() {
            let _ = parse_route(&route[..end]);
        }
    }
}
