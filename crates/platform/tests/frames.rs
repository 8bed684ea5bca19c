//! Raw frames and sockets across a cable to a second host, in namespaces of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{Host, ip, isolated, link, readable_within, wait_for, wait_readable};
use vipdrift_platform::datagrams;
use vipdrift_platform::echo::EchoSocket;
use vipdrift_platform::frames::{FrameKind, FrameSocket};

/// RFC 5227 section 2.1.1: an ARP request for 192.0.2.7 with the sender address 0.0.0.0.
fn arp_probe(own: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(own);
    frame.extend([0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend([192, 0, 2, 7]);
    frame
}

/// The internet checksum (RFC 1071) over whole 16-bit words.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    let folded = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    (!u16::try_from(folded).unwrap()).to_be_bytes()
}

/// An IPv6 frame with hop limit 255.
fn ipv6_frame(to_mac: [u8; 6], own: [u8; 6], from: &str, to: &str, next: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = to_mac.to_vec();
    frame.extend(own);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend([next, 255]);
    frame.extend(from.parse::<Ipv6Addr>().unwrap().octets());
    frame.extend(to.parse::<Ipv6Addr>().unwrap().octets());
    frame.extend(body);
    frame
}

/// RFC 4862 section 5.4.2: a Neighbor Solicitation for 2001:db8::7 from the unspecified address.
fn neighbor_probe(own: [u8; 6]) -> Vec<u8> {
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    let group = "ff02::1:ff00:7";
    let mut pseudo = vec![0; 16];
    pseudo.extend(group.parse::<Ipv6Addr>().unwrap().octets());
    pseudo.extend([0, 0, 0, 24, 0, 0, 0, 58]);
    pseudo.extend(&body);
    body[2..4].copy_from_slice(&checksum(&pseudo));
    ipv6_frame([0x33, 0x33, 0xff, 0, 0, 7], own, "::", group, 58, &body)
}

/// The next frame.
fn next(socket: &FrameSocket) -> (u32, Vec<u8>) {
    let mut buffer = [0xA5; 2048];
    loop {
        wait_readable(socket, "a frame");
        if let Some((interface, length)) = socket.receive(&mut buffer).unwrap() {
            return (interface, buffer[..length].to_vec());
        }
    }
}

/// Two hosts: `v0` here (192.0.2.1), `v0` there (192.0.2.7 and 2001:db8::7).
fn two_hosts() -> Host {
    let host = Host::cabled("v0", "v0");
    ip("addr add 192.0.2.1/24 dev v0");
    ip("addr add 2001:db8::1/64 dev v0 nodad");
    host.run(|| {
        ip("addr add 192.0.2.7/24 dev v0");
        ip("addr add 2001:db8::7/64 dev v0 nodad");
    });
    host
}

#[test]
fn the_kernel_over_there_answers_an_arp_probe_for_its_address() {
    isolated("the_kernel_over_there_answers_an_arp_probe_for_its_address", || {
        let host = two_hosts();
        let (here, there) = (link("v0"), host.run(|| link("v0")));
        let (own, peer) = (here.mac.unwrap(), there.mac.unwrap());
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(socket.receive(&mut buffer).unwrap(), None);
        socket.send(here.index, &arp_probe(own)).unwrap();
        let (interface, reply) = next(&socket);
        assert_eq!(interface, here.index);
        assert_eq!(reply[..6], own);
        assert_eq!(reply[6..12], peer);
        assert_eq!(reply[12..14], [0x08, 0x06]);
        assert_eq!(reply[20..22], [0, 2], "a reply");
        assert_eq!(reply[22..28], peer);
        assert_eq!(reply[28..32], [192, 0, 2, 7]);
    });
}

#[test]
fn the_kernel_over_there_answers_a_neighbor_probe_for_its_address() {
    isolated("the_kernel_over_there_answers_a_neighbor_probe_for_its_address", || {
        let host = two_hosts();
        let (here, there) = (link("v0"), host.run(|| link("v0")));
        let socket = FrameSocket::open(FrameKind::Neighbor).unwrap();
        // The kernel joins the group that a solicitation goes to in a worker of its own, some time after it mounted the
        // address: a busy machine is deaf for a while, so the probe is repeated.
        let mut buffer = [0xA5; 128];
        let mut answer = None;
        wait_for("the answer", || {
            socket.send(here.index, &neighbor_probe(here.mac.unwrap())).unwrap();
            readable_within(&socket, Duration::from_millis(100));
            while let Some((interface, length)) = socket.receive(&mut buffer).unwrap() {
                // The other host may be at its own duplicate detection for its link-local address.
                if buffer[54] == 136 {
                    answer = Some((interface, buffer[..length].to_vec()));
                }
            }
            answer.is_some()
        });
        let (interface, reply) = answer.unwrap();
        assert_eq!(interface, here.index);
        assert_eq!(reply[6..12], there.mac.unwrap());
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        assert_eq!(reply[22..38], address.octets(), "source");
        assert_eq!(reply[62..78], address.octets(), "target");
    });
}

#[test]
fn other_traffic_and_own_frames_are_not_heard() {
    isolated("other_traffic_and_own_frames_are_not_heard", || {
        let host = two_hosts();
        let (here, there) = (link("v0"), host.run(|| link("v0")));
        let (own, peer) = (here.mac.unwrap(), there.mac.unwrap());
        let (arp, neighbor) =
            (FrameSocket::open(FrameKind::Arp).unwrap(), FrameSocket::open(FrameKind::Neighbor).unwrap());
        let far = host.run(|| FrameSocket::open(FrameKind::Arp).unwrap());

        let ethernet = |ethertype: [u8; 2]| [&own[..], &peer, &ethertype, &[0x45; 60]].concat();
        let icmpv6 = |kind: u8| {
            let body = [kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            ipv6_frame(own, peer, "2001:db8::7", "2001:db8::1", 58, &body)
        };
        let udp = ipv6_frame(own, peer, "2001:db8::7", "2001:db8::1", 17, &[135; 12]);
        let frames = [
            ethernet([0x08, 0x00]),
            ethernet([0x88, 0xb5]),
            ethernet([0x86, 0xdd]),
            udp,
            icmpv6(128),
            icmpv6(134),
            icmpv6(137),
            // Cut before the type: the filter's look past the end rejects it.
            ipv6_frame(own, peer, "2001:db8::7", "2001:db8::1", 58, &[]),
            // The fences: these two are heard.
            [&own[..], &peer, &[0x08, 0x06], &[0xA5; 46]].concat(),
            ipv6_frame(own, peer, "2001:db8::7", "2001:db8::1", 58, &[136, 0xA5, 0xA5, 0xA5]),
        ];
        // Own frames go out first, so they would be heard before the fences.
        arp.send(here.index, &arp_probe(own)).unwrap();
        neighbor.send(here.index, &neighbor_probe(own)).unwrap();
        let all: Vec<(u32, &[u8])> = frames.iter().map(|frame| (there.index, &frame[..])).collect();
        let burst = far.send_many(&all);
        assert_eq!((burst.sent, burst.refused.is_empty()), (all.len(), true));

        let mut heard = Vec::new();
        while !heard.contains(&frames[8]) {
            heard.push(next(&arp).1);
        }
        for frame in &heard {
            assert_eq!((frame[12..14] == [0x08, 0x06], frame[6..12] == peer), (true, true), "{frame:?}");
        }
        let mut heard = Vec::new();
        while !heard.contains(&frames[9]) {
            heard.push(next(&neighbor).1);
        }
        for frame in &heard {
            assert!(frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[6..12] == peer, "{frame:?}");
            assert!([135, 136].contains(&frame[54]), "{frame:?}");
        }
    });
}

#[test]
fn a_burst_goes_out_in_order_and_a_bad_frame_in_it_is_told() {
    isolated("a_burst_goes_out_in_order_and_a_bad_frame_in_it_is_told", || {
        let host = two_hosts();
        let index = link("v0").index;
        let own = link("v0").mac.unwrap();
        let far = host.run(|| FrameSocket::open(FrameKind::Arp).unwrap());
        let frames: Vec<Vec<u8>> =
            (0..200u8).map(|i| [&[0xff; 6][..], &own, &[0x08, 0x06, i], &[0; 45]].concat()).collect();
        let mut all: Vec<(u32, &[u8])> = frames.iter().map(|frame| (index, &frame[..])).collect();
        all[70].0 = 4711;
        all[130].0 = 4711;
        let near = FrameSocket::open(FrameKind::Arp).unwrap();
        let burst = near.send_many(&all);
        assert_eq!(burst.sent, 198);
        let refused: Vec<usize> = burst.refused.iter().map(|(position, _)| *position).collect();
        assert_eq!(refused, [70, 130]);
        let expected: Vec<u8> = (0..200).filter(|i| ![70, 130].contains(i)).collect();
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            let (_, frame) = next(&far);
            // Not the kernel's own ARP.
            if frame[15..].iter().all(|&byte| byte == 0) {
                heard.push(frame[14]);
            }
        }
        assert_eq!(heard, expected);
        assert!(near.send(4711, &frames[0]).is_err());
    });
}

/// An echo request (RFC 792); the kernel fills in the checksum of IPv6 (RFC 4443).
fn echo_request(kind: u8) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1, b'v', b'i', b'p', b's'];
    if kind == 8 {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
    }
    message
}

#[test]
fn echo_requests_are_answered_and_only_replies_are_heard() {
    isolated("echo_requests_are_answered_and_only_replies_are_heard", || {
        let host = two_hosts();
        let mut buffer = [0; 256];
        let (near, far) = (EchoSocket::open_v4().unwrap(), host.run(|| EchoSocket::open_v4().unwrap()));
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.7".parse().unwrap());
        assert_eq!(near.receive(&mut buffer).unwrap(), None);
        // A request that reaches this host first must not be heard, though the kernel answers it.
        far.send(here, &echo_request(8)).unwrap();
        wait_readable(&far, "the answer over there");
        near.send(there, &echo_request(8)).unwrap();
        wait_readable(&near, "the answer");
        let (from, length) = near.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((from, length), (there, 20 + 12), "with the IP header");
        assert_eq!(buffer[20], 0, "an echo reply");
        assert_eq!(buffer[24..32], echo_request(8)[4..]);
        assert_eq!(near.receive(&mut buffer).unwrap(), None);

        let (near, far) = (EchoSocket::open_v6().unwrap(), host.run(|| EchoSocket::open_v6().unwrap()));
        let (here, there): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::7".parse().unwrap());
        far.send(here, &echo_request(128)).unwrap();
        wait_readable(&far, "the answer over there");
        near.send(there, &echo_request(128)).unwrap();
        wait_readable(&near, "the answer");
        let (from, length) = near.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((from, length), (there, 12));
        assert_eq!((buffer[0], &buffer[4..12]), (129, &echo_request(128)[4..]));
        assert_eq!(near.receive(&mut buffer).unwrap(), None);
        assert!(near.send("192.0.2.7".parse().unwrap(), &echo_request(128)).is_err(), "wrong family");
    });
}

#[test]
fn a_link_local_gateway_is_reached_through_its_interface() {
    isolated("a_link_local_gateway_is_reached_through_its_interface", || {
        let host = two_hosts();
        host.run(|| ip("addr add fe80::7/64 dev v0 nodad"));
        ip("addr add fe80::1/64 dev v0 nodad");
        let socket = EchoSocket::open_v6().unwrap();
        let gateway: IpAddr = "fe80::7".parse().unwrap();
        socket.send_through(link("v0").index, gateway, &echo_request(128)).unwrap();
        wait_readable(&socket, "the answer");
        let mut buffer = [0; 64];
        assert_eq!(socket.receive(&mut buffer).unwrap(), Some((gateway, 12)));
    });
}

#[test]
fn without_the_privilege_packet_and_raw_sockets_are_refused_by_name() {
    isolated("without_the_privilege_packet_and_raw_sockets_are_refused_by_name", || {
        use vipdrift_platform::{echo, frames};
        std::thread::spawn(|| {
            caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap();
            assert!(matches!(FrameSocket::open(FrameKind::Arp), Err(frames::Error::NotPermitted)));
            assert!(matches!(EchoSocket::open_v4(), Err(echo::Error::NotPermitted)));
            assert!(matches!(EchoSocket::open_v6(), Err(echo::Error::NotPermitted)));
        })
        .join()
        .unwrap();
    });
}

#[test]
fn heartbeat_sockets_bind_early_carry_cs6_and_never_block() {
    isolated("heartbeat_sockets_bind_early_carry_cs6_and_never_block", || {
        let host = two_hosts();
        // An address that no interface has (yet).
        let absent: SocketAddr = "192.0.2.99:5798".parse().unwrap();
        let early = datagrams::bind(absent).unwrap();
        assert!(matches!(datagrams::bind(absent), Err(datagrams::Error::InUse(told)) if told == absent));
        let mut buffer = [0; 64];
        assert_eq!(early.recv_from(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(socket2::SockRef::from(&early).tos_v4().unwrap(), 48 << 2);

        // Both families fit on one port.
        let v6 = datagrams::bind("[::]:5799".parse().unwrap()).unwrap();
        let v4 = datagrams::bind("0.0.0.0:5799".parse().unwrap()).unwrap();
        assert_eq!(socket2::SockRef::from(&v6).tclass_v6().unwrap(), 48 << 2);
        drop((v4, v6));
        // The early one hears once its address is there.
        ip("addr add 192.0.2.99/24 dev v0");
        let far = host.run(|| datagrams::bind("192.0.2.7:5798".parse().unwrap()).unwrap());
        wait_for("the neighbour", || {
            far.send_to(b"beat", absent).unwrap();
            readable_within(&early, Duration::from_millis(200))
        });
        assert_eq!(early.recv_from(&mut buffer).unwrap(), (4, "192.0.2.7:5798".parse().unwrap()));
    });
}

#[test]
fn a_frame_socket_survives_its_link_going_down() {
    isolated("a_frame_socket_survives_its_link_going_down", || {
        let host = two_hosts();
        let here = link("v0");
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        ip("link set v0 down");
        assert!(socket.send(here.index, &arp_probe(here.mac.unwrap())).is_err());
        ip("link set v0 up");
        // Not bound to an interface, so it hears nothing of the outage; the answer comes once the cable works again.
        let mut buffer = [0; 64];
        let mut answer = None;
        wait_for("the answer", || {
            let _ = socket.send(here.index, &arp_probe(here.mac.unwrap()));
            readable_within(&socket, Duration::from_millis(100));
            answer = socket.receive(&mut buffer).unwrap();
            answer.is_some()
        });
        let (interface, _) = answer.unwrap();
        assert_eq!(interface, here.index);
        drop(host);
    });
}
