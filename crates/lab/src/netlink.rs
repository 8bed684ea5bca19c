//! One request socket of rtnetlink, blocking: the kernel answers before `send` returns.
//!
//! Source: netlink(7), rtnetlink(7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::error::{Result, While};
use crate::mac::Mac;

/// A request socket in the namespace of the thread that opened it.
pub(crate) struct Route {
    socket: Socket,
    sequence: u32,
}

/// One side of a cable.
pub(crate) struct End<'a> {
    pub(crate) index: u32,
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
}

impl Route {
    pub(crate) fn open() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self { socket: open().doing(|| "open a netlink socket".into())?, sequence: 0 })
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        loop {
            let (received, _) = self.socket.recv_from_full()?;
            for answer in messages(&received) {
                let answer = answer?;
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, NLM_F_ACK | flags).map(|_| ())
    }

    /// A bridge that forwards at once and does nothing clever.
    pub(crate) fn add_bridge(&mut self, index: u32, name: &str) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        up(&mut link);
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![
                InfoBridge::ForwardDelay(0),
                InfoBridge::StpState(BridgeStpState::Disabled),
                InfoBridge::MulticastSnooping(false),
            ])),
        ]));
        self.change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
            .doing(|| format!("make the bridge {name}"))
    }

    /// A cable between a port of `bridge` here and an interface in the namespace `far`.
    pub(crate) fn add_cable(
        &mut self,
        bridge: u32,
        port: &End,
        far: &impl AsRawFd,
        host: &End,
    ) -> Result<()> {
        let mut peer = LinkMessage::default();
        peer.header.index = host.index;
        peer.attributes.push(LinkAttribute::IfName(host.name.into()));
        peer.attributes.push(LinkAttribute::Address(host.mac.0.to_vec()));
        peer.attributes.push(LinkAttribute::NetNsFd(far.as_raw_fd()));
        let mut link = LinkMessage::default();
        link.header.index = port.index;
        up(&mut link);
        link.attributes.push(LinkAttribute::IfName(port.name.into()));
        link.attributes.push(LinkAttribute::Address(port.mac.0.to_vec()));
        link.attributes.push(LinkAttribute::Controller(bridge));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
            .doing(|| format!("lay the cable {} to {}", port.name, host.name))
    }

    /// Gives the namespace `far` a number here, without which its events are not heard here (`RTM_NEWNSID`).
    pub(crate) fn know(&mut self, far: &impl AsRawFd, number: u32) -> Result<()> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(far.as_raw_fd().cast_unsigned()));
        message.attributes.push(NsidAttribute::Id(number.cast_signed()));
        self.change(RouteNetlinkMessage::NewNsId(message), 0).doing(|| "number a namespace".into())
    }

    pub(crate) fn set_up(&mut self, index: u32, is_up: bool) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        up(&mut link);
        if !is_up {
            link.header.flags = LinkFlags::empty();
        }
        self.change(RouteNetlinkMessage::SetLink(link), 0)
            .doing(|| format!("set interface {index} {}", if is_up { "up" } else { "down" }))
    }

    pub(crate) fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(link), 0).doing(|| format!("delete interface {index}"))
    }

    /// Lets a bridge port forward, or drop every frame both ways while its carrier stays.
    pub(crate) fn set_forwarding(&mut self, index: u32, forwarding: bool) -> Result<()> {
        // Not "disabled": the same request makes the kernel look at the carrier, and enable a disabled port again.
        let state = if forwarding { BridgePortState::Forwarding } else { BridgePortState::Listening };
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::State(state)])),
        ]));
        self.change(RouteNetlinkMessage::NewLink(link), 0).doing(|| format!("set the state of port {index}"))
    }

    /// Adds an address or renews it; usable at once, since the kernel is not asked to look for duplicates.
    /// `valid` in seconds; `None` = for ever.
    pub(crate) fn add_address(&mut self, index: u32, network: IpNet, valid: Option<u32>) -> Result<()> {
        let mut message = address_message(index, network);
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        if let Some(seconds) = valid {
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = seconds;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        if let IpNet::V4(network) = network
            && network.prefix_len() < 31
        {
            message.attributes.push(AddressAttribute::Broadcast(network.broadcast()));
        }
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .doing(|| format!("add {network} to interface {index}"))
    }

    /// Adds an address or changes its lifetimes, in seconds, all ones for ever; usable at once.
    pub(crate) fn lease_address(
        &mut self,
        index: u32,
        network: IpNet,
        valid: u32,
        preferred: u32,
    ) -> Result<()> {
        let mut message = address_message(index, network);
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let mut lifetime = CacheInfo::default();
        (lifetime.ifa_valid, lifetime.ifa_preferred) = (valid, preferred);
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .doing(|| format!("lease {network} on interface {index}"))
    }

    pub(crate) fn delete_address(&mut self, index: u32, network: IpNet) -> Result<()> {
        self.change(RouteNetlinkMessage::DelAddress(address_message(index, network)), 0)
            .doing(|| format!("delete {network} from interface {index}"))
    }

    /// Every address of this namespace with the index of its interface.
    pub(crate) fn addresses(&mut self) -> Result<Vec<(u32, IpNet)>> {
        let answers = self
            .request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)
            .doing(|| "list addresses".into())?;
        Ok(answers
            .iter()
            .filter_map(|answer| if_address(answer).map(|found| (found.index, found.network)))
            .collect())
    }

    /// The same with the lifetimes that are left, in seconds; all ones for ever.
    pub(crate) fn leases(&mut self) -> Result<Vec<Lease>> {
        let answers = self
            .request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)
            .doing(|| "list addresses".into())?;
        Ok(answers.iter().filter_map(lease).collect())
    }

    /// Every interface of this namespace.
    pub(crate) fn links(&mut self) -> Result<Vec<Interface>> {
        let answers = self
            .request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)
            .doing(|| "list interfaces".into())?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(interface(&link)),
                _ => None,
            })
            .collect())
    }

    /// The routes of the main table.
    pub(crate) fn routes(&mut self) -> Result<Vec<Way>> {
        let mut route = RouteMessage::default();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        let answers =
            self.request(RouteNetlinkMessage::GetRoute(route), NLM_F_DUMP).doing(|| "list routes".into())?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(route) => way(&route),
                _ => None,
            })
            .collect())
    }

    /// Has the kernel forget whom it believes to have `address`. Not there is no error.
    pub(crate) fn forget_neighbor(&mut self, index: u32, address: IpAddr) -> Result<()> {
        match self.change(RouteNetlinkMessage::DelNeighbour(neighbor_message(index, address)), 0) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
            other => other.doing(|| format!("forget neighbour {address}")),
        }
    }

    /// Has the kernel believe that `mac` has `address`.
    pub(crate) fn learn_neighbor(&mut self, index: u32, address: IpAddr, mac: Mac) -> Result<()> {
        let mut message = neighbor_message(index, address);
        message.header.state = NeighbourState::Reachable;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
            .doing(|| format!("learn neighbour {address}"))
    }

    /// Neighbours with a hardware address: interface, address, hardware address, whether it was heard from lately.
    pub(crate) fn neighbors(&mut self) -> Result<Vec<(u32, IpAddr, Mac, bool)>> {
        let answers = self
            .request(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)
            .doing(|| "list neighbours".into())?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(found) => known_neighbor(&found),
                _ => None,
            })
            .collect())
    }

    /// True if the interface is up and has carrier; false also if there is no such interface.
    pub(crate) fn has_carrier(&mut self, index: u32) -> Result<bool> {
        let link = self.link(index)?;
        Ok(link.is_some_and(|link| link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp)))
    }

    /// True if frames pass. A moment after the carrier came, since only then the kernel starts the queue.
    pub(crate) fn is_operational(&mut self, index: u32) -> Result<bool> {
        let link = self.link(index)?;
        Ok(link.is_some_and(|link| link.attributes.contains(&LinkAttribute::OperState(State::Up))))
    }

    fn link(&mut self, index: u32) -> Result<Option<LinkMessage>> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        let answers = match self.request(RouteNetlinkMessage::GetLink(link), NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => return Ok(None),
            other => other.doing(|| format!("look at interface {index}"))?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        }))
    }

    pub(crate) fn add_route(&mut self, to: IpNet, via: IpAddr) -> Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(via);
        route.header.destination_prefix_length = to.prefix_len();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        if to.prefix_len() > 0 {
            route.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.network())));
        }
        route.attributes.push(RouteAttribute::Gateway(RouteAddress::from(via)));
        self.change(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .doing(|| format!("add a route to {to} by way of {via}"))
    }

    /// The link-layer address that the kernel would send to for `address` now; sends nothing.
    pub(crate) fn neighbor(&mut self, address: IpAddr) -> Result<Option<Mac>> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        let answers = self
            .request(RouteNetlinkMessage::GetNeighbour(message), NLM_F_DUMP)
            .doing(|| "list neighbours".into())?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(neighbour) => neighbor_entry(neighbour, address),
            _ => None,
        }))
    }
}

fn neighbor_entry(neighbour: NeighbourMessage, address: IpAddr) -> Option<Mac> {
    if matches!(neighbour.header.state, NeighbourState::Failed | NeighbourState::Incomplete) {
        return None;
    }
    let mut mac = None;
    let mut matches = false;
    for attribute in neighbour.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => matches = address == found,
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => matches = address == found,
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(Mac),
            _ => {}
        }
    }
    mac.filter(|_| matches)
}

/// An address with what is left of its lifetimes, in seconds; all ones for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) index: u32,
    pub(crate) network: IpNet,
    pub(crate) valid: u32,
    pub(crate) preferred: u32,
}

fn lease(message: &RouteNetlinkMessage) -> Option<Lease> {
    let IfAddress { index, network, .. } = if_address(message)?;
    let RouteNetlinkMessage::NewAddress(address) = message else { return None };
    let lifetime = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(lifetime) => Some((lifetime.ifa_valid, lifetime.ifa_preferred)),
        _ => None,
    });
    let (valid, preferred) = lifetime.unwrap_or((u32::MAX, u32::MAX));
    Some(Lease { index, network, valid, preferred })
}

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<Mac>,
    pub(crate) carrier: bool,
    pub(crate) loopback: bool,
}

fn interface(link: &LinkMessage) -> Interface {
    let flags = link.header.flags;
    let mut found = Interface {
        index: link.header.index,
        name: String::new(),
        mac: None,
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Address(bytes) => found.mac = bytes.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    found
}

/// A route of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) index: u32,
    pub(crate) to: IpNet,
    /// Unspecified if the network is on the link itself.
    pub(crate) gateway: IpAddr,
    pub(crate) metric: u32,
}

fn way(route: &RouteMessage) -> Option<Way> {
    if route.header.table != RouteHeader::RT_TABLE_MAIN || route.header.kind != RouteType::Unicast {
        return None;
    }
    let nobody: IpAddr = match route.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::from(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::from(*address)),
        _ => None,
    };
    let (mut to, mut gateway, mut index, mut metric) = (nobody, nobody, 0, 0);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(network) => to = address(network)?,
            RouteAttribute::Gateway(hop) => gateway = address(hop)?,
            RouteAttribute::Oif(found) => index = *found,
            RouteAttribute::Priority(found) => metric = *found,
            _ => {}
        }
    }
    let to = IpNet::new(to, route.header.destination_prefix_length).ok()?;
    Some(Way { index, to, gateway, metric })
}

fn neighbor_message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    let address = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn known_neighbor(neighbour: &NeighbourMessage) -> Option<(u32, IpAddr, Mac, bool)> {
    let (mut address, mut mac) = (None, None);
    for attribute in &neighbour.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(IpAddr::from(*found))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some(IpAddr::from(*found))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    let state = neighbour.header.state;
    if matches!(state, NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::Noarp) {
        return None;
    }
    Some((neighbour.header.ifindex, address?, mac?, state == NeighbourState::Reachable))
}

fn up(link: &mut LinkMessage) {
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(index: u32, network: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family(network.addr()),
        prefix_len: network.prefix_len(),
        index,
        scope: AddressScope::Universe,
        ..AddressHeader::default()
    };
    message.attributes =
        vec![AddressAttribute::Local(network.addr()), AddressAttribute::Address(network.addr())];
    message
}

/// An address that appeared or went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfAddress {
    pub(crate) index: u32,
    pub(crate) network: IpNet,
    pub(crate) present: bool,
}

/// What an answer or event says about an address, if it is about one.
pub(crate) fn if_address(message: &RouteNetlinkMessage) -> Option<IfAddress> {
    let (address, present) = match message {
        RouteNetlinkMessage::NewAddress(address) => (address, true),
        RouteNetlinkMessage::DelAddress(address) => (address, false),
        _ => return None,
    };
    let mut found = None;
    for attribute in &address.attributes {
        match attribute {
            AddressAttribute::Local(local) => found = Some(*local),
            // IPv6 has no "local"; with IPv4 this one is the far end of a point-to-point link.
            AddressAttribute::Address(other) if found.is_none() => found = Some(*other),
            _ => {}
        }
    }
    let network = IpNet::new(found?, address.header.prefix_len).ok()?;
    Some(IfAddress { index: address.header.index, network, present })
}

/// Splits what one read from a netlink socket returned.
pub(crate) fn messages(
    bytes: &[u8],
) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        if length < 16 || length > rest.len() {
            return None;
        }
        let message = NetlinkMessage::deserialize(&rest[..length]).map_err(io::Error::other);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}
