//! Announcements made by hand, for moving an address without a daemon.
//!
//! Sources: RFC 826 and RFC 5227 section 3 (gratuitous ARP), RFC 4861 sections 4.4 and 7.2.6 (unsolicited Neighbor
//! Advertisement), RFC 4443 section 2.3 (checksum).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::mac::Mac;

/// An ARP request in which sender and target are the address itself.
pub(crate) fn gratuitous_arp(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(Mac([0xff; 6]), own, 0x0806);
    frame.extend_from_slice(&[0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&own.0);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&address.octets());
    frame
}

/// A Neighbor Advertisement to all nodes with the override flag.
pub(crate) fn unsolicited_advertisement(own: Mac, address: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&own.0);
    let [high, low] = checksum(address, all_nodes, &message).to_be_bytes();
    (message[2], message[3]) = (high, low);

    let mut frame = ethernet(Mac([0x33, 0x33, 0, 0, 0, 1]), own, 0x86dd);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&all_nodes.octets());
    frame.extend_from_slice(&message);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend_from_slice(&to.0);
    frame.extend_from_slice(&from.0);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame
}

pub(crate) fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = [from.octets(), to.octets()].concat();
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 58]);
    bytes.extend_from_slice(message);
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u32::from(b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
