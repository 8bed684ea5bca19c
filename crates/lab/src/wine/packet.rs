//! Questions on the segment, and what is heard there. Sources: RFC 826, RFC 5227, RFC 4861.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::announce::checksum;
use crate::mac::Mac;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const BROADCAST: Mac = Mac([0xff; 6]);

/// Somebody on the segment has said that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
    /// Said in answer to a question; otherwise by using the address.
    pub(super) answer: bool,
}

/// A broadcast ARP request, or a Neighbor Solicitation to the target's group.
pub(super) fn question(own: Mac, source: IpAddr, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let source = if let IpAddr::V4(source) = source { source } else { Ipv4Addr::UNSPECIFIED };
            arp(own, source, target)
        }
        IpAddr::V6(target) => {
            let source = if let IpAddr::V6(source) = source { source } else { Ipv6Addr::UNSPECIFIED };
            solicitation(own, source, target)
        }
    }
}

fn arp(own: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [BROADCAST.0.as_slice(), &own.0, &ARP, &[0, 1, 0x08, 0, 6, 4, 0, 1]].concat();
    frame.extend_from_slice(&own.0);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&target.octets());
    frame
}

fn solicitation(own: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    if !source.is_unspecified() {
        body.extend_from_slice(&[1, 1]);
        body.extend_from_slice(&own.0);
    }
    let sum = checksum(source, group, &body).to_be_bytes();
    body[2..4].copy_from_slice(&sum);
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut frame = [[0x33, 0x33, 0xff, a, b, c].as_slice(), &own.0, &IPV6].concat();
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&group.octets());
    frame.extend_from_slice(&body);
    frame
}

/// What a frame says, if it is ARP or Neighbor Discovery.
pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let from = Mac(frame.get(6..12)?.try_into().ok()?);
    match <[u8; 2]>::try_from(frame.get(12..14)?).ok()? {
        ARP => {
            let mac = Mac(frame.get(22..28)?.try_into().ok()?);
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?);
            (!address.is_unspecified()).then_some(Heard {
                address: address.into(),
                mac,
                answer: frame.get(20..22)? == [0, 2],
            })
        }
        IPV6 if frame.get(20) == Some(&58) && frame.get(54) == Some(&136) => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(62..78)?).ok()?);
            let told = frame.get(78..86).filter(|option| option[..2] == [2, 1]);
            let mac = told.and_then(|option| option[2..].try_into().ok()).map_or(from, Mac);
            Some(Heard { address: address.into(), mac, answer: true })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce;

    #[test]
    fn announcements_are_understood_and_questions_are_none() {
        let own = Mac([2, 0, 0, 0, 0, 1]);
        let v4: Ipv4Addr = "192.0.2.10".parse().unwrap();
        let v6: Ipv6Addr = "2001:db8::10".parse().unwrap();
        let heard = read(&announce::gratuitous_arp(own, v4)).unwrap();
        assert_eq!(heard, Heard { address: v4.into(), mac: own, answer: false });
        let heard = read(&announce::unsolicited_advertisement(own, v6)).unwrap();
        assert_eq!(heard, Heard { address: v6.into(), mac: own, answer: true });
        let probe = question(own, Ipv4Addr::UNSPECIFIED.into(), v4.into());
        assert_eq!(read(&probe), None, "a probe claims nothing");
        assert_eq!(read(&question(own, v6.into(), v6.into())), None);
        for end in 0..probe.len() {
            let _ = read(&probe[..end]);
        }
    }
}
