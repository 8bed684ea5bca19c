//! IPv6 Neighbor Discovery: Neighbor Solicitation and Advertisement (RFC 4861, RFC 4862, RFC 4443, RFC 2464).

use std::net::Ipv6Addr;

use crate::ethernet::{self, Header};
use crate::read::Reader;
use crate::{FrameError, Mac, checksum};

pub(crate) const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const IP_HEADER_LEN: usize = 40;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A Neighbor Discovery message that passed every check of RFC 4861 7.1.1 or 7.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// Somebody asks for `target`.
    Solicitation {
        /// Who asks; `::` in a duplicate address probe.
        source: Ipv6Addr,
        /// The address asked for.
        target: Ipv6Addr,
        /// MAC address of `source`, if told.
        source_mac: Option<Mac>,
    },
    /// Somebody says that it has `target`.
    Advertisement {
        /// Who says so. `::` is let through, since hosts believe such an advertisement too.
        source: Ipv6Addr,
        /// The address spoken of.
        target: Ipv6Addr,
        /// The MAC address that has it, if told; may be a group address (load balancers that share one).
        target_mac: Option<Mac>,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what caches hold.
        override_entry: bool,
    },
}

impl Message {
    /// Parses what follows the Ethernet header: an IPv6 packet. Bytes behind the packet are padding and are
    /// not looked at; options that mean nothing here are skipped (RFC 4861 4.6).
    ///
    /// # Errors
    ///
    /// Any kind but those of ARP and IPv4.
    pub fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(payload);
        let header: [u8; 8] = reader.array().ok_or(FrameError::Truncated)?;
        let source = Ipv6Addr::from(reader.array::<16>().ok_or(FrameError::Truncated)?);
        let destination = Ipv6Addr::from(reader.array::<16>().ok_or(FrameError::Truncated)?);
        let [version, _, _, _, length_high, length_low, next_header, hop_limit] = header;
        if version >> 4 != 6 {
            return Err(FrameError::IpVersion);
        }
        if next_header != ICMPV6 {
            return Err(FrameError::IpProtocol);
        }
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let body = reader.slice(length).ok_or(FrameError::Truncated)?;
        if hop_limit != HOP_LIMIT {
            return Err(FrameError::HopLimit);
        }
        if source.is_multicast() {
            return Err(FrameError::IpSource);
        }
        let mut body_reader = Reader(body);
        let [kind, code, _, _] = body_reader.array().ok_or(FrameError::Truncated)?;
        if kind != SOLICITATION && kind != ADVERTISEMENT {
            return Err(FrameError::IcmpType);
        }
        if code != 0 {
            return Err(FrameError::IcmpCode);
        }
        let [flags, _, _, _] = body_reader.array().ok_or(FrameError::Truncated)?;
        let target = Ipv6Addr::from(body_reader.array::<16>().ok_or(FrameError::Truncated)?);
        if icmpv6_checksum(source, destination, body) != 0 {
            return Err(FrameError::Checksum);
        }
        if target.is_multicast() {
            return Err(FrameError::NdTarget);
        }
        let options = Options::parse(body_reader)?;
        if kind == SOLICITATION {
            if source.is_unspecified() && !is_solicited_node(destination) {
                return Err(FrameError::NdDestination);
            }
            if source.is_unspecified() && options.source.is_some() {
                return Err(FrameError::NdSourceOption);
            }
            Ok(Self::Solicitation { source, target, source_mac: options.source })
        } else {
            if destination.is_multicast() && flags & SOLICITED != 0 {
                return Err(FrameError::NdSolicited);
            }
            Ok(Self::Advertisement {
                source,
                target,
                target_mac: options.target,
                router: flags & ROUTER != 0,
                solicited: flags & SOLICITED != 0,
                override_entry: flags & OVERRIDE != 0,
            })
        }
    }

    /// It asks for an address on behalf of nobody (RFC 4862 5.4): the sender is about to take the address.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Solicitation { source, .. } if source.is_unspecified())
    }

    /// The address that the sender says is its own, if it says so of any.
    #[must_use]
    pub fn claims(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Solicitation { source, .. } => (!source.is_unspecified()).then_some(*source),
            Self::Advertisement { target, .. } => Some(*target),
        }
    }
}

#[derive(Default)]
struct Options {
    source: Option<Mac>,
    target: Option<Mac>,
}

impl Options {
    /// Of several options of one type the first counts, as it does for Linux.
    fn parse(mut reader: Reader<'_>) -> Result<Self, FrameError> {
        let mut options = Self::default();
        while !reader.0.is_empty() {
            let [kind, units] = reader.array().ok_or(FrameError::Truncated)?;
            if units == 0 {
                return Err(FrameError::NdOptionLength);
            }
            let value = reader.slice(usize::from(units) * 8 - 2).ok_or(FrameError::Truncated)?;
            let slot = match kind {
                SOURCE_LINK_LAYER => &mut options.source,
                TARGET_LINK_LAYER => &mut options.target,
                _ => continue,
            };
            let mac = Mac(value.try_into().map_err(|_| FrameError::NdOptionLength)?);
            slot.get_or_insert(mac);
        }
        Ok(options)
    }
}

/// The frame that asks the segment whether anybody has `address`, without claiming it: from `::` to the
/// solicited-node group, no option (RFC 4862 5.4.2).
#[must_use]
pub fn probe(own: Mac, address: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(address);
    frame(own, Ipv6Addr::UNSPECIFIED, group, group_mac(group), SOLICITATION, 0, address, None)
}

/// The frame of an ordinary solicitation from `source` for `target`, sent to the solicited-node group (RFC
/// 4861 7.2.2).
#[must_use]
pub fn solicitation(own: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let option = (SOURCE_LINK_LAYER, own);
    let group = solicited_node(target);
    frame(own, source, group, group_mac(group), SOLICITATION, 0, target, Some(option))
}

/// The frame of an unsolicited advertisement of `address` with override, from that address to all nodes (RFC
/// 4861 7.2.6). The router flag is not set.
#[must_use]
pub fn announcement(own: Mac, address: Ipv6Addr) -> Vec<u8> {
    let option = (TARGET_LINK_LAYER, own);
    frame(own, address, ALL_NODES, group_mac(ALL_NODES), ADVERTISEMENT, OVERRIDE, address, Some(option))
}

/// The frame by which the owner of `address` answers, as a kernel does: a solicitation to its sender alone (RFC 4861
/// 7.2.4), a duplicate address probe, whose sender has no address, to all nodes (`None`). The daemon sends none;
/// whoever plays a kernel does.
#[must_use]
pub fn reply(own: Mac, address: Ipv6Addr, asker: Option<(Mac, Ipv6Addr)>) -> Vec<u8> {
    let option = (TARGET_LINK_LAYER, own);
    let (flags, to, destination) = match asker {
        Some((mac, source)) => (SOLICITED | OVERRIDE, mac, source),
        None => (OVERRIDE, group_mac(ALL_NODES), ALL_NODES),
    };
    frame(own, address, destination, to, ADVERTISEMENT, flags, address, Some(option))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the fields of a message, each of which differs between callers"
)]
fn frame(
    own: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    to: Mac,
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    option: Option<(u8, Mac)>,
) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    if let Some((option, mac)) = option {
        body.extend_from_slice(&[option, 1]);
        body.extend_from_slice(&mac.0);
    }
    let sum = icmpv6_checksum(source, destination, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());

    let header = Header { destination: to, source: own, ethertype: ethernet::IPV6 };
    let mut frame = header.start(IP_HEADER_LEN + body.len());
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&length_u16(&body).to_be_bytes());
    frame.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(&body);
    frame
}

/// The MAC address of a group: 33:33 and its last four bytes (RFC 2464 7).
fn group_mac(group: Ipv6Addr) -> Mac {
    let group = group.octets();
    Mac([0x33, 0x33, group[12], group[13], group[14], group[15]])
}

/// The solicited-node group of an address: ff02::1:ff00:0/104 and its last three bytes (RFC 4291 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., seventh, last] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (seventh & 0xff), last)
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    address == solicited_node(address)
}

/// The checksum over pseudo-header and message (RFC 4443 2.3): 0 when the message contains its right
/// checksum.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let [high, low] = length_u16(message).to_be_bytes();
    checksum::internet(&[
        &source.octets(),
        &destination.octets(),
        &[0, 0, high, low, 0, 0, 0, ICMPV6],
        message,
    ])
}

/// Length of a message that was cut out by a 16-bit length or written here, and so always fits.
fn length_u16(message: &[u8]) -> u16 {
    u16::try_from(message.len()).unwrap_or(u16::MAX)
}
