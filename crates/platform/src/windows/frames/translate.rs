//! What a frame asks or says, and the frame that an answer would have been (RFC 826, RFC 5227, RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type Mac = [u8; 6];

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Ethernet, IPv6.
const HEADERS: usize = 14 + 40;

/// What an outgoing frame is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Who has the target?
    Question(Question),
    /// This machine has the address.
    Announcement {
        /// The address.
        address: IpAddr,
        /// IPv6: the ICMPv6 message, checksum included.
        message: Vec<u8>,
    },
    /// The same as an announcement, in another form (an ARP reply to everybody).
    AnnouncementAgain,
    /// Nothing that can be done here.
    Nothing,
}

/// A question on the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// Who asks.
    pub(super) own: Mac,
    /// In whose name; unspecified in a probe.
    pub(super) source: IpAddr,
    /// Who is asked for.
    pub(super) target: IpAddr,
}

/// Reads a frame as [`send_many`](super::FrameSocket::send_many) gets it.
pub(super) fn meaning(frame: &[u8]) -> Meaning {
    parse(frame).unwrap_or(Meaning::Nothing)
}

fn parse(frame: &[u8]) -> Option<Meaning> {
    let own = array(frame, 6)?;
    match array(frame, 12)? {
        ARP => {
            // Ethernet, IPv4, lengths 6 and 4.
            (array(frame, 14)? == [0, 1, 0x08, 0, 6, 4]).then_some(())?;
            let request = array(frame, 20)? == [0, 1];
            let source = Ipv4Addr::from(array::<4>(frame, 28)?);
            let target = Ipv4Addr::from(array::<4>(frame, 38)?);
            Some(match (source == target, request) {
                (true, true) => Meaning::Announcement { address: source.into(), message: Vec::new() },
                (true, false) => Meaning::AnnouncementAgain,
                (false, true) => {
                    Meaning::Question(Question { own, source: source.into(), target: target.into() })
                }
                (false, false) => Meaning::Nothing,
            })
        }
        IPV6 if *frame.get(20)? == ICMPV6 => {
            let source = Ipv6Addr::from(array::<16>(frame, 22)?);
            let target = Ipv6Addr::from(array::<16>(frame, HEADERS + 8)?);
            Some(match frame.get(HEADERS)? {
                135 => Meaning::Question(Question { own, source: source.into(), target: target.into() }),
                136 if source == target => {
                    Meaning::Announcement { address: source.into(), message: frame.get(HEADERS..)?.to_vec() }
                }
                _ => Meaning::Nothing,
            })
        }
        _ => None,
    }
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

/// The frame in which `mac` would have answered: an ARP reply or a solicited Neighbor Advertisement, to the asker alone.
/// `None` if target and source are of different families.
pub(super) fn answer(question: &Question, mac: Mac) -> Option<Vec<u8>> {
    let Question { own, source, target } = *question;
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => Some(
            [
                own.as_slice(),
                &mac,
                &ARP,
                &[0, 1, 0x08, 0, 6, 4, 0, 2],
                &mac,
                &target.octets(),
                &own,
                &source.octets(),
            ]
            .concat(),
        ),
        (IpAddr::V6(source), IpAddr::V6(target)) => Some(advertisement(own, source, target, mac)),
        _ => None,
    }
}

fn advertisement(own: Mac, source: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;
    // A probe has no sender to answer to: all nodes are told (RFC 4861 7.2.4).
    let (to, flags) =
        if source.is_unspecified() { (ALL_NODES, OVERRIDE) } else { (source, SOLICITED | OVERRIDE) };
    let mut body = vec![136, 0, 0, 0, flags, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    body.extend_from_slice(&[2, 1]);
    body.extend_from_slice(&mac);
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let pseudo =
        [target.octets().as_slice(), &to.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6], &body].concat();
    body[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, length, ICMPV6, 255];
    [own.as_slice(), &mac, &IPV6, &header, &target.octets(), &to.octets(), &body].concat()
}

/// The Internet checksum (RFC 1071).
pub(in super::super) fn checksum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    sum += rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return !folded,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];

    /// As the wire crate writes it: `operation`, sender, target.
    fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let head = [[0xff; 6].as_slice(), &OWN, &ARP, &[0, 1, 8, 0, 6, 4, 0, operation], &OWN].concat();
        [head.as_slice(), &sender, &[0; 6], &target].concat()
    }

    #[test]
    fn arp_is_told_apart() {
        let vip = [192, 0, 2, 10];
        let question = Question { own: OWN, source: [0, 0, 0, 0].into(), target: vip.into() };
        assert_eq!(meaning(&arp(1, [0; 4], vip)), Meaning::Question(question), "a probe");
        let named = Question { source: [192, 0, 2, 1].into(), ..question };
        assert_eq!(meaning(&arp(1, [192, 0, 2, 1], vip)), Meaning::Question(named), "a request");
        let announcement = Meaning::Announcement { address: vip.into(), message: Vec::new() };
        assert_eq!(meaning(&arp(1, vip, vip)), announcement);
        assert_eq!(meaning(&arp(2, vip, vip)), Meaning::AnnouncementAgain);
        assert_eq!(meaning(&arp(2, [192, 0, 2, 1], vip)), Meaning::Nothing);
        let frame = arp(1, vip, vip);
        for end in 0..frame.len() {
            assert_eq!(meaning(&frame[..end]), Meaning::Nothing, "cut at {end}");
        }
    }

    #[test]
    fn an_answer_to_arp_is_these_bytes() {
        let question = Question { own: OWN, source: [0, 0, 0, 0].into(), target: [192, 0, 2, 10].into() };
        let expected = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, // Ethernet, ARP, reply
            2, 0, 0, 0, 0, 2, 192, 0, 2, 10, // from whoever has it
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0, // to whoever asked
        ];
        assert_eq!(answer(&question, OTHER).unwrap(), expected);
        let mixed = Question { target: "2001:db8::1".parse().unwrap(), ..question };
        assert_eq!(answer(&mixed, OTHER), None);
    }

    #[test]
    fn an_answer_to_a_solicitation_sums_to_zero_and_means_the_target() {
        let target: Ipv6Addr = "2001:db8::10".parse().unwrap();
        for source in ["::", "2001:db8::1"] {
            let source: Ipv6Addr = source.parse().unwrap();
            let question = Question { own: OWN, source: source.into(), target: target.into() };
            let frame = answer(&question, OTHER).unwrap();
            assert_eq!(frame.len(), HEADERS + 32);
            assert_eq!((&frame[..6], &frame[6..12], frame[21]), (&OWN[..], &OTHER[..], 255));
            let pseudo = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], &frame[54..]].concat();
            assert_eq!(checksum(&pseudo), 0);
            // Unsolicited where it goes to a group (RFC 4861 7.1.2).
            let to = if source.is_unspecified() { ALL_NODES } else { source };
            assert_eq!(frame[38..54], to.octets());
            assert_eq!(frame[58], if source.is_unspecified() { 0x20 } else { 0x60 });
            let Meaning::Announcement { address, message } = meaning(&frame) else { panic!("{frame:?}") };
            assert_eq!((address, message.len()), (target.into(), 32), "and would be an announcement if sent");
        }
    }
}
