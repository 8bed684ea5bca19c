//! Frames: ARP and Neighbor Discovery, as they come and with their checksum set right.

use std::net::{Ipv4Addr, Ipv6Addr};

use vipdrift_wire::arp::{self, Operation};
use vipdrift_wire::{Frame, FrameError, Mac, ethernet, ndp, parse_frame};

use crate::Seed;

const ARP_END: usize = ethernet::HEADER_LEN + 28;
/// Where the IPv6 destination and the ICMPv6 message begin in a frame.
const DESTINATION: usize = ethernet::HEADER_LEN + 24;
const MESSAGE: usize = ethernet::HEADER_LEN + 40;

/// A frame as a packet socket gives it.
///
/// # Panics
///
/// When a property is broken.
pub fn run(bytes: &[u8]) {
    check(bytes);
    // A checksum that is wrong would hide everything behind it.
    if let Some(mended) = mended(bytes) {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let result = parse_frame(bytes);
    let padded = [bytes, &[0xa5; 46]].concat();
    let (header, frame) = match result {
        Ok(parsed) => parsed,
        Err(why) => {
            assert_eq!(FrameError::ALL[why.index()], why);
            if why != FrameError::Truncated {
                assert_eq!(parse_frame(&padded), result, "padding changed the fault");
            }
            return;
        }
    };
    assert_eq!(parse_frame(&padded), result, "padding is not looked at");
    assert!(!header.source.is_multicast());
    match frame {
        Frame::Arp(packet) => {
            assert_eq!(arp_frame(header, packet), bytes[..ARP_END], "one packet, one encoding");
            assert_eq!(parse_frame(&bytes[..ARP_END - 1]), Err(FrameError::Truncated));
            assert!(!packet.claims().is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()));
            assert!(!packet.is_probe() || packet.claims().is_none(), "a probe claims nothing");
        }
        Frame::Neighbor(message) => {
            let destination: [u8; 16] = bytes[DESTINATION..MESSAGE].try_into().expect("16 bytes");
            let again = neighbor_frame(header, destination.into(), message);
            assert_eq!(parse_frame(&again), result, "written anew, it says the same");
            let length = usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
            let options = &bytes[MESSAGE + 24..MESSAGE + length];
            let (told, kind) = match message {
                ndp::Message::Solicitation { source_mac, .. } => (source_mac, 1),
                ndp::Message::Advertisement { target_mac, .. } => (target_mac, 2),
            };
            assert_eq!(told, first_option(options, kind), "the first option of its kind counts");
            assert!(!message.claims().is_some_and(|ip| ip.is_multicast()));
            assert!(!message.is_probe() || message.claims().is_none(), "a probe claims nothing");
        }
    }
}

/// The link-layer address in the first option of this kind.
fn first_option(mut options: &[u8], kind: u8) -> Option<Mac> {
    while let [found, units, ..] = *options {
        let (option, rest) = options.split_at(usize::from(units) * 8);
        if found == kind {
            return option[2..8].try_into().map(Mac).ok();
        }
        options = rest;
    }
    None
}

/// Writes an ARP packet after RFC 826, without the help of the library.
fn arp_frame(header: ethernet::Header, packet: arp::Packet) -> Vec<u8> {
    let operation = match packet.operation {
        Operation::Request => 1,
        Operation::Reply => 2,
    };
    [
        &header.destination.0[..],
        &header.source.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
        &packet.sender_mac.0,
        &packet.sender_ip.octets(),
        &packet.target_mac.0,
        &packet.target_ip.octets(),
    ]
    .concat()
}

/// Writes a message after RFC 4861, without the help of the library.
fn neighbor_frame(header: ethernet::Header, destination: Ipv6Addr, message: ndp::Message) -> Vec<u8> {
    let (kind, flags, source, target, option) = match message {
        ndp::Message::Solicitation { source, target, source_mac } => {
            (135, 0, source, target, source_mac.map(|mac| (1, mac)))
        }
        ndp::Message::Advertisement { source, target, target_mac, router, solicited, override_entry } => {
            let flags = u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(override_entry) << 5;
            (136, flags, source, target, target_mac.map(|mac| (2, mac)))
        }
    };
    let mut body = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets()].concat();
    if let Some((kind, mac)) = option {
        body.extend([&[kind, 1][..], &mac.0].concat());
    }
    let mut frame = [&header.destination.0[..], &header.source.0, &[0x86, 0xdd]].concat();
    frame.extend([0x60, 0, 0, 0, 0, u8::try_from(body.len()).expect("24 or 32"), 58, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(body);
    mended(&frame).expect("a whole packet")
}

/// The frame with the right ICMPv6 checksum, if it is long enough to have one.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.get(12..14)? != [0x86, 0xdd] {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([*bytes.get(18)?, *bytes.get(19)?]));
    let mut frame = bytes.to_vec();
    let message = frame.get_mut(MESSAGE..MESSAGE + length).filter(|message| message.len() >= 4)?;
    message[2..4].fill(0);
    let pseudo_header = [&bytes[22..MESSAGE], &[0, 0, bytes[18], bytes[19], 0, 0, 0, 58]].concat();
    let sum = checksum(&[&pseudo_header[..], message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}

/// RFC 1071, word by word.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u16, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    !sum
}

/// Seeds of [`run`].
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let own = Mac([2, 0, 0, 0, 0, 1]);
    let v4 = |last| Ipv4Addr::new(192, 0, 2, last);
    let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let header =
        ethernet::Header { destination: Mac([2, 0, 0, 0, 0, 2]), source: own, ethertype: ethernet::IPV6 };
    let answer = ndp::Message::Advertisement {
        source: v6(0x100),
        target: v6(0x100),
        target_mac: Some(own),
        router: true,
        solicited: true,
        override_entry: true,
    };
    vec![
        ("arp-probe", arp::probe(own, v4(100))),
        ("arp-request", arp::request(own, v4(11), v4(100), Mac::BROADCAST)),
        ("arp-announcement", arp::announcement(own, v4(100), Operation::Request)),
        ("arp-reply-padded", [arp::announcement(own, v4(100), Operation::Reply), vec![0; 18]].concat()),
        ("nd-probe", ndp::probe(own, v6(0x100))),
        ("nd-solicitation", ndp::solicitation(own, v6(11), v6(0x100))),
        ("nd-announcement", ndp::announcement(own, v6(0x100))),
        ("nd-answer", neighbor_frame(header, v6(11), answer)),
        ("nd-two-options", two_options(own, v6(11), v6(0x100))),
    ]
}

/// A solicitation with an unknown option before the one that counts.
fn two_options(own: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut frame = ndp::solicitation(own, source, target);
    let option = frame.split_off(MESSAGE + 24);
    frame.extend([14, 1, 1, 2, 3, 4, 5, 6]);
    frame.extend(option);
    frame[19] += 8;
    mended(&frame).expect("a whole packet")
}
