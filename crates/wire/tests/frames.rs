//! Frames and echoes: golden bytes, every rejection by a table, and no input that panics.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use vipdrift_wire::{Frame, FrameError, Mac, arp, ethernet, icmp, ndp, parse_frame};

const OWN: Mac = Mac([0, 0, 0x5e, 0, 0x53, 0x01]);
const OTHER: Mac = Mac([0, 0, 0x5e, 0, 0x53, 0x02]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const OWN_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const OWN_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);

/// Bytes from hexadecimal digits; blanks are skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).expect("a digit")).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn arp_probe() {
    let frame = arp::probe(OWN, VIP);
    let golden = "ffffffffffff 00005e005301 0806 0001 0800 0604 0001
                  00005e005301 00000000 000000000000 c0000264";
    assert_eq!(frame, hex(golden));
    let (header, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
    assert_eq!(
        header,
        ethernet::Header { destination: Mac::BROADCAST, source: OWN, ethertype: ethernet::ARP }
    );
    assert!(packet.is_probe());
    assert_eq!(packet.claims(), None);
    assert_eq!(packet.target_ip, VIP);
}

#[test]
fn arp_request() {
    let frame = arp::request(OWN, OWN_IP, VIP, OTHER);
    let golden = "00005e005302 00005e005301 0806 0001 0800 0604 0001
                  00005e005301 c000020b 000000000000 c0000264";
    assert_eq!(frame, hex(golden));
    let (_, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
    assert!(!packet.is_probe());
    assert_eq!(packet.claims(), Some(OWN_IP));
}

#[test]
fn arp_reply() {
    let frame = arp::reply(OWN, VIP, OTHER, OWN_IP);
    let golden = "00005e005302 00005e005301 0806 0001 0800 0604 0002
                  00005e005301 c0000264 00005e005302 c000020b";
    assert_eq!(frame, hex(golden));
    let (_, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
    assert_eq!((packet.claims(), packet.is_probe()), (Some(VIP), false));
    // Whoever asked by a probe has no address yet.
    let frame = arp::reply(OWN, VIP, OTHER, Ipv4Addr::UNSPECIFIED);
    let (_, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
    assert_eq!(packet.claims(), Some(VIP));
}

#[test]
fn arp_announcements() {
    let request = "ffffffffffff 00005e005301 0806 0001 0800 0604 0001
                   00005e005301 c0000264 000000000000 c0000264";
    let reply = "ffffffffffff 00005e005301 0806 0001 0800 0604 0002
                 00005e005301 c0000264 00005e005301 c0000264";
    for (operation, golden) in [(arp::Operation::Request, request), (arp::Operation::Reply, reply)] {
        let frame = arp::announcement(OWN, VIP, operation);
        assert_eq!(frame, hex(golden));
        let (_, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
        assert_eq!((packet.operation, packet.claims(), packet.sender_mac), (operation, Some(VIP), OWN));
        assert!(!packet.is_probe());
    }
}

#[test]
fn an_arp_reply_is_understood_and_padding_is_tolerated() {
    let mut frame = hex("00005e005301 00005e005302 0806 0001 0800 0604 0002
                         00005e005302 c0000264 00005e005301 00000000");
    frame.resize(60, 0xa5);
    let packet = arp::Packet {
        operation: arp::Operation::Reply,
        sender_mac: OTHER,
        sender_ip: VIP,
        target_mac: OWN,
        target_ip: Ipv4Addr::UNSPECIFIED,
    };
    assert_eq!(parse_frame(&frame).map(|(_, parsed)| parsed), Ok(Frame::Arp(packet)));
}

/// A reply from `0.0.0.0` claims nothing, and is no probe either.
#[test]
fn an_arp_reply_from_nobody() {
    let mut frame = arp::probe(OWN, VIP);
    frame[21] = 2;
    let (_, Frame::Arp(packet)) = parse_frame(&frame).unwrap() else { panic!("not ARP") };
    assert!(!packet.is_probe());
    assert_eq!(packet.claims(), None);
}

#[test]
fn malformed_arp() {
    use FrameError as E;
    let cases: [(usize, u8, FrameError); 12] = [
        (6, 0x01, E::EthernetSource),
        (12, 0x81, E::EtherType),
        (15, 6, E::ArpHardware),
        (14, 1, E::ArpHardware),
        (16, 0x86, E::ArpProtocol),
        (18, 8, E::ArpLengths),
        (19, 16, E::ArpLengths),
        (20, 1, E::ArpOperation),
        (21, 0, E::ArpOperation),
        (21, 3, E::ArpOperation),
        (28, 224, E::ArpSender),
        (28, 239, E::ArpSender),
    ];
    for (position, value, expected) in cases {
        let mut frame = arp::request(OWN, OWN_IP, VIP, Mac::BROADCAST);
        frame[position] = value;
        assert_eq!(parse_frame(&frame), Err(expected), "byte {position} = {value:#x}");
    }
    let mut frame = arp::request(OWN, Ipv4Addr::BROADCAST, VIP, Mac::BROADCAST);
    assert_eq!(parse_frame(&frame), Err(E::ArpSender));
    frame = arp::probe(OWN, VIP);
    for length in 0..frame.len() {
        assert_eq!(parse_frame(&frame[..length]), Err(E::Truncated), "{length} bytes");
    }
}

#[test]
fn neighbor_probe() {
    let frame = ndp::probe(OWN, VIP6);
    let golden = "3333ff000100 00005e005301 86dd
                  60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff000100
                  87 00 4aef 00000000 20010db8000000000000000000000100";
    assert_eq!(frame, hex(golden));
    let (_, Frame::Neighbor(message)) = parse_frame(&frame).unwrap() else { panic!("not ND") };
    let expected =
        ndp::Message::Solicitation { source: Ipv6Addr::UNSPECIFIED, target: VIP6, source_mac: None };
    assert_eq!(message, expected);
    assert!(message.is_probe());
    assert_eq!(message.claims(), None);
}

#[test]
fn neighbor_solicitation() {
    let frame = ndp::solicitation(OWN, OWN_IP6, VIP6);
    let golden = "3333ff000100 00005e005301 86dd
                  60000000 0020 3a ff 20010db8000000000000000000000011 ff0200000000000000000001ff000100
                  87 00 6b1a 00000000 20010db8000000000000000000000100 01 01 00005e005301";
    assert_eq!(frame, hex(golden));
    let (_, Frame::Neighbor(message)) = parse_frame(&frame).unwrap() else { panic!("not ND") };
    let expected = ndp::Message::Solicitation { source: OWN_IP6, target: VIP6, source_mac: Some(OWN) };
    assert_eq!(message, expected);
    assert!(!message.is_probe());
    assert_eq!(message.claims(), Some(OWN_IP6));
}

#[test]
fn neighbor_announcement() {
    let frame = ndp::announcement(OWN, VIP6);
    let golden = "333300000001 00005e005301 86dd
                  60000000 0020 3a ff 20010db8000000000000000000000100 ff020000000000000000000000000001
                  88 00 482c 20000000 20010db8000000000000000000000100 02 01 00005e005301";
    assert_eq!(frame, hex(golden));
    let (_, Frame::Neighbor(message)) = parse_frame(&frame).unwrap() else { panic!("not ND") };
    let expected = ndp::Message::Advertisement {
        source: VIP6,
        target: VIP6,
        target_mac: Some(OWN),
        router: false,
        solicited: false,
        override_entry: true,
    };
    assert_eq!(message, expected);
    assert_eq!(message.claims(), Some(VIP6));
}

#[test]
fn neighbor_reply() {
    let frame = ndp::reply(OWN, VIP6, Some((OTHER, OWN_IP6)));
    let golden = "00005e005302 00005e005301 86dd
                  60000000 0020 3a ff 20010db8000000000000000000000100 20010db8000000000000000000000011
                  88 00";
    let (start, rest) = frame.split_at(hex(golden).len());
    assert_eq!(start, hex(golden));
    assert_eq!(rest[2..], hex("60000000 20010db8000000000000000000000100 02 01 00005e005301"));
    let (_, Frame::Neighbor(message)) = parse_frame(&frame).expect("a checksum that is right") else {
        panic!("not ND")
    };
    assert_eq!(message.claims(), Some(VIP6));
    // Whoever asked from no address is answered like everybody (RFC 4861 section 7.2.4).
    let to_all = ndp::reply(OWN, VIP6, None);
    assert_eq!(to_all, ndp::announcement(OWN, VIP6));
}

/// An ND frame in parts, so that a test can spoil one of them and still have the checksum right.
#[derive(Debug, Clone)]
struct Nd {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    code: u8,
    flags: u8,
    target: Ipv6Addr,
    options: Vec<u8>,
}

impl Nd {
    fn solicitation() -> Self {
        let destination = "ff02::1:ff00:100".parse().expect("an address");
        Self { source: OWN_IP6, destination, kind: 135, code: 0, flags: 0, target: VIP6, options: vec![] }
    }

    fn advertisement() -> Self {
        Self {
            source: VIP6,
            destination: OWN_IP6,
            kind: 136,
            code: 0,
            flags: 0x60,
            target: VIP6,
            options: vec![],
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut body = vec![self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        body.extend_from_slice(&self.target.octets());
        body.extend_from_slice(&self.options);
        let length = u16::try_from(body.len()).expect("a short message");
        let mut pseudo = [self.source.octets(), self.destination.octets()].concat();
        pseudo.extend_from_slice(&u32::from(length).to_be_bytes());
        pseudo.extend_from_slice(&[0, 0, 0, 58]);
        pseudo.extend_from_slice(&body);
        let sum = plain_checksum(&pseudo);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = hex("333300000001 00005e005302 86dd 60000000");
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[58, 255]);
        frame.extend_from_slice(&self.source.octets());
        frame.extend_from_slice(&self.destination.octets());
        frame.extend_from_slice(&body);
        frame
    }
}

/// RFC 1071 word for word, to check the library's own against.
fn plain_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[test]
fn advertisements_of_others_are_understood() {
    for (flags, router, solicited, override_entry) in
        [(0x80, true, false, false), (0x40, false, true, false), (0x20, false, false, true)]
    {
        let mut options = hex("05 01 000000000000 02 01 00005e005302 02 01 00005e005309 01 01 00005e005308");
        options.extend_from_slice(&[0xfe, 2]);
        options.resize(options.len() + 14, 0xa5);
        let mut frame = Nd { flags, options, ..Nd::advertisement() }.frame();
        frame.extend_from_slice(&[0xa5; 20]);
        let expected = ndp::Message::Advertisement {
            source: VIP6,
            target: VIP6,
            target_mac: Some(OTHER),
            router,
            solicited,
            override_entry,
        };
        assert_eq!(parse_frame(&frame).map(|(_, parsed)| parsed), Ok(Frame::Neighbor(expected)));
    }
}

#[test]
fn malformed_neighbor_messages() {
    use FrameError as E;
    let group: Ipv6Addr = "ff02::1".parse().unwrap();
    let ns = Nd::solicitation;
    let na = Nd::advertisement;
    let source_option = || hex("01 01 00005e005301");
    let cases = [
        ("multicast source", Nd { source: group, ..ns() }, E::IpSource),
        ("router solicitation", Nd { kind: 133, ..ns() }, E::IcmpType),
        ("redirect", Nd { kind: 137, ..ns() }, E::IcmpType),
        ("solicitation with a code", Nd { code: 1, ..ns() }, E::IcmpCode),
        ("advertisement with a code", Nd { code: 255, ..na() }, E::IcmpCode),
        ("solicitation of a group", Nd { target: group, ..ns() }, E::NdTarget),
        ("advertisement of a group", Nd { target: group, ..na() }, E::NdTarget),
        (
            "probe to all nodes",
            Nd { source: Ipv6Addr::UNSPECIFIED, destination: group, ..ns() },
            E::NdDestination,
        ),
        (
            "probe to a host",
            Nd { source: Ipv6Addr::UNSPECIFIED, destination: VIP6, ..ns() },
            E::NdDestination,
        ),
        (
            "probe with a source option",
            Nd { source: Ipv6Addr::UNSPECIFIED, options: source_option(), ..ns() },
            E::NdSourceOption,
        ),
        (
            "solicited advertisement to a group",
            Nd { destination: group, flags: 0x40, ..na() },
            E::NdSolicited,
        ),
        ("option of length 0", Nd { options: hex("01 00 00005e005301"), ..ns() }, E::NdOptionLength),
        ("unknown option of length 0", Nd { options: hex("fe 00 000000000000"), ..na() }, E::NdOptionLength),
        (
            "long link-layer address",
            Nd { options: [hex("02 02"), vec![0; 14]].concat(), ..na() },
            E::NdOptionLength,
        ),
        ("half an option", Nd { options: hex("02 01 00005e"), ..na() }, E::Truncated),
        ("one byte of an option", Nd { options: vec![2], ..na() }, E::Truncated),
        ("option longer than the packet", Nd { options: hex("fe 03 000000000000"), ..na() }, E::Truncated),
    ];
    for (what, nd, expected) in cases {
        assert_eq!(parse_frame(&nd.frame()), Err(expected), "{what}");
    }

    for (position, value, expected) in [
        (14, 0x40, E::IpVersion),
        (19, 0xff, E::Truncated),
        (20, 17, E::IpProtocol),
        (20, 0, E::IpProtocol),
        (21, 254, E::HopLimit),
        (21, 64, E::HopLimit),
        (56, 0, E::Checksum),
        (77, 0x01, E::Checksum),
    ] {
        let mut frame = ns().frame();
        frame[position] = value;
        assert_eq!(parse_frame(&frame), Err(expected), "byte {position} = {value:#x}");
    }
    let frame = ndp::announcement(OWN, VIP6);
    for length in 0..frame.len() {
        assert_eq!(parse_frame(&frame[..length]), Err(E::Truncated), "{length} bytes");
    }
    // A payload length that ends inside the fixed part, with the bytes there all the same.
    for length in 0..24 {
        let mut frame = frame.clone();
        frame[19] = length;
        assert_eq!(parse_frame(&frame), Err(E::Truncated), "payload length {length}");
    }
}

#[test]
fn echo_requests() {
    assert_eq!(icmp::echo_request_v4(0x1234, 0x56), hex("08 00 e575 1234 0056"));
    assert_eq!(icmp::echo_request_v6(0x1234, 0x56), hex("80 00 0000 1234 0056"));
}

/// An IPv4 packet with an echo reply of the given payload; the header checksum is left to the kernel.
fn v4_reply(options: usize, payload: &[u8]) -> Vec<u8> {
    let mut message = hex("00 00 0000 1234 0056");
    message.extend_from_slice(payload);
    let sum = plain_checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = 20 + options;
    let mut packet = vec![0x40 | u8::try_from(header / 4).expect("short"), 0];
    packet.extend_from_slice(&u16::try_from(header + message.len()).expect("short").to_be_bytes());
    packet.extend_from_slice(&hex("abcd 4000 40 01 0000 c0000201 c000020b"));
    packet.resize(header, 1);
    packet.extend_from_slice(&message);
    packet
}

#[test]
fn echo_replies() {
    for (options, payload) in [(0, &[][..]), (4, &[1, 2, 3]), (40, &[0; 56])] {
        assert_eq!(icmp::parse_echo_reply_v4(&v4_reply(options, payload)), Ok((0x1234, 0x56)));
    }
    assert_eq!(icmp::parse_echo_reply_v6(&hex("81 00 ffff 1234 0056 6162")), Ok((0x1234, 0x56)));
}

#[test]
fn malformed_echo_replies() {
    use FrameError as E;
    for (position, value, expected) in [
        (0, 0x65, E::IpVersion),
        (0, 0x44, E::IpLength),
        (3, 19, E::IpLength),
        (3, 29, E::Truncated),
        (3, 27, E::Truncated),
        (6, 0x20, E::IpFragment),
        (7, 0x01, E::IpFragment),
        (9, 58, E::IpProtocol),
        (20, 8, E::IcmpType),
        (21, 1, E::IcmpCode),
        (27, 0x57, E::Checksum),
    ] {
        let mut packet = v4_reply(0, &[]);
        packet[position] = value;
        assert_eq!(icmp::parse_echo_reply_v4(&packet), Err(expected), "byte {position} = {value:#x}");
    }
    let packet = v4_reply(0, &[7; 8]);
    for length in 0..packet.len() {
        assert_eq!(icmp::parse_echo_reply_v4(&packet[..length]), Err(E::Truncated), "{length} bytes");
    }
    let message = hex("81 00 0000 1234 0056");
    for length in 0..message.len() {
        assert_eq!(icmp::parse_echo_reply_v6(&message[..length]), Err(E::Truncated), "{length} bytes");
    }
    assert_eq!(icmp::parse_echo_reply_v6(&icmp::echo_request_v6(1, 2)), Err(E::IcmpType));
    assert_eq!(icmp::parse_echo_reply_v6(&hex("81 01 0000 1234 0056")), Err(E::IcmpCode));
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] &= 0xfe;
        Mac(octets)
    })
}

/// A valid frame of any kind.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let operation = prop_oneof![Just(arp::Operation::Request), Just(arp::Operation::Reply)];
    prop_oneof![
        (mac(), any::<Ipv4Addr>()).prop_map(|(own, vip)| arp::probe(own, vip)),
        (mac(), unicast_v4(), any::<Ipv4Addr>(), any::<[u8; 6]>())
            .prop_map(|(own, ip, vip, to)| arp::request(own, ip, vip, Mac(to))),
        (mac(), unicast_v4(), operation).prop_map(|(own, vip, how)| arp::announcement(own, vip, how)),
        (mac(), unicast_v6()).prop_map(|(own, vip)| ndp::probe(own, vip)),
        (mac(), unicast_v6(), unicast_v6()).prop_map(|(own, ip, vip)| ndp::solicitation(own, ip, vip)),
        (mac(), unicast_v6()).prop_map(|(own, vip)| ndp::announcement(own, vip)),
    ]
}

fn unicast_v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<Ipv4Addr>().prop_filter("a host's", |ip| !ip.is_multicast() && !ip.is_broadcast())
}

fn unicast_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("a host's", |ip| !ip.is_multicast() && !ip.is_unspecified())
}

fn parse_all(bytes: &[u8]) {
    let _ = parse_frame(bytes);
    let _ = arp::Packet::parse(bytes);
    let _ = ndp::Message::parse(bytes);
    let _ = icmp::parse_echo_reply_v4(bytes);
    let _ = icmp::parse_echo_reply_v6(bytes);
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in frame(), padding in vec(any::<u8>(), 0..40)) {
        let alone = parse_frame(&frame);
        prop_assert!(alone.is_ok(), "{:?}", alone);
        prop_assert_eq!(parse_frame(&[frame, padding].concat()), alone);
    }

    #[test]
    fn arp_fields_survive(own in mac(), ip in unicast_v4(), vip: Ipv4Addr, to: [u8; 6]) {
        let (header, parsed) = parse_frame(&arp::request(own, ip, vip, Mac(to))).unwrap();
        prop_assert_eq!((header.source, header.destination), (own, Mac(to)));
        prop_assert_eq!(parsed, Frame::Arp(arp::Packet {
            operation: arp::Operation::Request,
            sender_mac: own,
            sender_ip: ip,
            target_mac: Mac::ZERO,
            target_ip: vip,
        }));
    }

    #[test]
    fn neighbor_fields_survive(own in mac(), ip in unicast_v6(), vip in unicast_v6()) {
        let (_, parsed) = parse_frame(&ndp::solicitation(own, ip, vip)).unwrap();
        prop_assert_eq!(parsed, Frame::Neighbor(ndp::Message::Solicitation {
            source: ip,
            target: vip,
            source_mac: Some(own),
        }));
        let (_, parsed) = parse_frame(&ndp::announcement(own, vip)).unwrap();
        let Frame::Neighbor(ndp::Message::Advertisement { target, target_mac, .. }) = parsed else {
            panic!("{parsed:?}")
        };
        prop_assert_eq!((target, target_mac), (vip, Some(own)));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        parse_all(&bytes);
    }

    #[test]
    fn no_spoilt_frame_panics(frame in frame(), spoils in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
                              length in any::<prop::sample::Index>(), tail in vec(any::<u8>(), 0..40)) {
        let mut frame = frame;
        for (position, value) in spoils {
            let position = position.index(frame.len());
            frame[position] = value;
        }
        frame.truncate(length.index(frame.len()) + 1);
        frame.extend_from_slice(&tail);
        parse_all(&frame);
        parse_all(&frame[frame.len().min(ethernet::HEADER_LEN)..]);
    }

    /// Options are where lengths inside lengths are: spoil those under a right checksum.
    #[test]
    fn no_option_panics(options in vec(any::<u8>(), 0..64), flags: u8, advertisement: bool) {
        let base = if advertisement { Nd::advertisement() } else { Nd::solicitation() };
        let parsed = parse_frame(&Nd { options, flags, ..base }.frame());
        prop_assert!(!matches!(parsed, Err(FrameError::Checksum)));
    }

    /// One wrong bit in the part that the checksum covers is always noticed.
    #[test]
    fn a_flipped_bit_in_a_neighbor_message_is_noticed(own in mac(), vip in unicast_v6(), bit: prop::sample::Index) {
        let mut frame = ndp::announcement(own, vip);
        // Source, destination and message: from byte 22 to the end.
        let bit = 22 * 8 + bit.index((frame.len() - 22) * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(parse_frame(&frame).is_err());
    }

    #[test]
    fn echo_numbers_survive(ident: u16, sequence: u16, payload in vec(any::<u8>(), 0..60)) {
        let mut message = [icmp::echo_request_v6(ident, sequence), payload].concat();
        message[0] = 129;
        prop_assert_eq!(icmp::parse_echo_reply_v6(&message), Ok((ident, sequence)));
        prop_assert_eq!(plain_checksum(&icmp::echo_request_v4(ident, sequence)), 0);
    }
}
