//! What is written here, read by somebody else: tshark dissects every frame, and must see what was meant. The bytes
//! are the same on every system, the dissector is a program of Linux.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use vipdrift_wire::{Mac, arp, icmp, ndp};

const OWN: Mac = Mac([0, 0, 0x5e, 0, 0x53, 0x01]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const OWN_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
const OWN_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);

/// A capture file with these Ethernet frames (draft-ietf-opsawg-pcap).
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let word = |value: u32| value.to_be_bytes();
    let mut file = Vec::new();
    file.extend_from_slice(&word(0xa1b2_c3d4));
    // Version 2.4, two reserved words, snapshot length, Ethernet.
    file.extend_from_slice(&[0, 2, 0, 4]);
    for value in [0, 0, 65_535, 1] {
        file.extend_from_slice(&word(value));
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("a short frame");
        // Seconds, microseconds, bytes here, bytes on the wire.
        for value in [1, 0, length, length] {
            file.extend_from_slice(&word(value));
        }
        file.extend_from_slice(frame);
    }
    file
}

/// What tshark says of `fields` in each frame, one line a frame, one column a field.
fn dissect(frames: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<String>> {
    let empty = std::env::temp_dir().join("vipdrift-no-wireshark-settings");
    let mut command = Command::new("tshark");
    // Settings of whoever runs the test must not matter.
    command.env("WIRESHARK_CONFIG_DIR", empty).args(["-n", "-r", "-", "-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("this test needs tshark; install it with: apt-get install tshark")
        }
        Err(error) => panic!("tshark does not start: {error}"),
    };
    child.stdin.take().expect("piped").write_all(&capture(frames)).expect("tshark reads the capture");
    let output = child.wait_with_output().expect("tshark ends");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Vec<String>> =
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
    assert_eq!(lines.len(), frames.len(), "one line a frame:\n{text}");
    lines
}

#[test]
fn arp_frames() {
    let frames = [
        arp::probe(OWN, VIP),
        arp::request(OWN, OWN_IP, VIP, Mac([0, 0, 0x5e, 0, 0x53, 0x02])),
        arp::announcement(OWN, VIP, arp::Operation::Request),
        arp::announcement(OWN, VIP, arp::Operation::Reply),
        arp::reply(OWN, VIP, Mac([0, 0, 0x5e, 0, 0x53, 0x02]), OWN_IP),
    ];
    let fields = [
        "_ws.malformed",
        "eth.dst",
        "eth.src",
        "arp.hw.type",
        "arp.proto.type",
        "arp.hw.size",
        "arp.proto.size",
        "arp.opcode",
        "arp.src.hw_mac",
        "arp.src.proto_ipv4",
        "arp.dst.hw_mac",
        "arp.dst.proto_ipv4",
        "arp.isprobe",
        "arp.isgratuitous",
        "arp.isannouncement",
    ];
    let (own, zero, all) = ("00:00:5e:00:53:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff");
    let (vip, own_ip, other) = ("192.0.2.100", "192.0.2.11", "00:00:5e:00:53:02");
    let expected = [
        ["", all, own, "1", "0x0800", "6", "4", "1", own, "0.0.0.0", zero, vip, "1", "", ""],
        ["", other, own, "1", "0x0800", "6", "4", "1", own, own_ip, zero, vip, "", "", ""],
        ["", all, own, "1", "0x0800", "6", "4", "1", own, vip, zero, vip, "", "1", "1"],
        ["", all, own, "1", "0x0800", "6", "4", "2", own, vip, own, vip, "", "1", ""],
        ["", other, own, "1", "0x0800", "6", "4", "2", own, vip, other, own_ip, "", "", ""],
    ];
    assert_eq!(dissect(&frames, &fields), expected);
}

#[test]
fn neighbor_frames() {
    let asker = (Mac([0, 0, 0x5e, 0, 0x53, 0x02]), OWN_IP6);
    let frames = [
        ndp::probe(OWN, VIP6),
        ndp::solicitation(OWN, OWN_IP6, VIP6),
        ndp::announcement(OWN, VIP6),
        ndp::reply(OWN, VIP6, Some(asker)),
        ndp::reply(OWN, VIP6, None),
    ];
    let fields = [
        "_ws.malformed",
        "_ws.expert.message",
        "eth.dst",
        "eth.src",
        "ipv6.src",
        "ipv6.dst",
        "ipv6.plen",
        "ipv6.hlim",
        "icmpv6.type",
        "icmpv6.code",
        "icmpv6.checksum.status",
        "icmpv6.nd.ns.target_address",
        "icmpv6.nd.na.target_address",
        "icmpv6.nd.na.flag.r",
        "icmpv6.nd.na.flag.s",
        "icmpv6.nd.na.flag.o",
        "icmpv6.opt.type",
        "icmpv6.opt.linkaddr",
    ];
    let (own, other) = ("00:00:5e:00:53:01", "00:00:5e:00:53:02");
    let (solicited_mac, all_mac) = ("33:33:ff:12:34:56", "33:33:00:00:00:01");
    let (vip, own_ip, solicited, all) = ("2001:db8::12:3456", "2001:db8::11", "ff02::1:ff12:3456", "ff02::1");
    // Status 1 is "good".
    let expected = [
        [
            "",
            "",
            solicited_mac,
            own,
            "::",
            solicited,
            "24",
            "255",
            "135",
            "0",
            "1",
            vip,
            "",
            "",
            "",
            "",
            "",
            "",
        ],
        [
            "",
            "",
            solicited_mac,
            own,
            own_ip,
            solicited,
            "32",
            "255",
            "135",
            "0",
            "1",
            vip,
            "",
            "",
            "",
            "",
            "1",
            own,
        ],
        ["", "", all_mac, own, vip, all, "32", "255", "136", "0", "1", "", vip, "0", "0", "1", "2", own],
        ["", "", other, own, vip, own_ip, "32", "255", "136", "0", "1", "", vip, "0", "1", "1", "2", own],
        ["", "", all_mac, own, vip, all, "32", "255", "136", "0", "1", "", vip, "0", "0", "1", "2", own],
    ];
    assert_eq!(dissect(&frames, &fields), expected);
}

/// A wrong checksum is seen as one: the status looked at above means something.
#[test]
fn the_dissector_checks_checksums() {
    let mut frame = ndp::announcement(OWN, VIP6);
    frame[56] ^= 1;
    assert_eq!(dissect(&[frame], &["icmpv6.checksum.status"]), [["0"]]);
}

#[test]
fn echo_requests() {
    let mut v4 = [OWN.0, OWN.0].concat();
    v4.extend_from_slice(&[0x08, 0x00]);
    v4.extend_from_slice(&[0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0]);
    v4.extend_from_slice(&OWN_IP.octets());
    v4.extend_from_slice(&VIP.octets());
    v4.extend_from_slice(&icmp::echo_request_v4(0x1234, 0x56));
    let fields =
        ["_ws.malformed", "icmp.type", "icmp.code", "icmp.checksum.status", "icmp.ident", "icmp.seq"];
    // Identifier and sequence number are shown in both byte orders.
    let seen = dissect(&[v4], &fields);
    assert_eq!(seen[0][..4], ["", "8", "0", "1"]);
    assert!(seen[0][4].starts_with("4660"), "{seen:?}");
    assert!(seen[0][5].starts_with("86"), "{seen:?}");

    let mut v6 = [OWN.0, OWN.0].concat();
    v6.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 64]);
    v6.extend_from_slice(&OWN_IP6.octets());
    v6.extend_from_slice(&VIP6.octets());
    v6.extend_from_slice(&icmp::echo_request_v6(0x1234, 0x56));
    let fields = [
        "_ws.malformed",
        "icmpv6.type",
        "icmpv6.code",
        "icmpv6.echo.identifier",
        "icmpv6.echo.sequence_number",
    ];
    assert_eq!(dissect(&[v6], &fields), [["", "128", "0", "0x1234", "86"]]);
}
