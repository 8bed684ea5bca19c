//! ARP for IPv4 on Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use crate::ethernet::{self, Header};
use crate::read::Reader;
use crate::{FrameError, Mac};

const HARDWARE_ETHERNET: u16 = 1;
const PACKET_LEN: usize = 28;

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Asks for the target's MAC address.
    Request,
    /// Tells the sender's MAC address.
    Reply,
}

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's MAC address as the packet tells it. It may differ from the source of the frame (proxies)
    /// and may even be a group address (load balancers that share one), which answers for the address no
    /// less.
    pub sender_mac: Mac,
    /// The sender's address; `0.0.0.0` in a probe.
    pub sender_ip: Ipv4Addr,
    /// The target's MAC address; without meaning in a request.
    pub target_mac: Mac,
    /// The target's address.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Parses what follows the Ethernet header. Bytes behind the packet are padding and are not looked at.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`] or one of the `Arp` kinds.
    pub fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(payload.get(..PACKET_LEN).ok_or(FrameError::Truncated)?);
        if reader.u16() != Some(HARDWARE_ETHERNET) {
            return Err(FrameError::ArpHardware);
        }
        if reader.u16() != Some(ethernet::IPV4) {
            return Err(FrameError::ArpProtocol);
        }
        if reader.array() != Some([6, 4]) {
            return Err(FrameError::ArpLengths);
        }
        let operation = match reader.u16() {
            Some(1) => Operation::Request,
            Some(2) => Operation::Reply,
            _ => return Err(FrameError::ArpOperation),
        };
        let sender_mac = Mac(reader.array().ok_or(FrameError::Truncated)?);
        let sender_ip = Ipv4Addr::from(reader.array::<4>().ok_or(FrameError::Truncated)?);
        let target_mac = Mac(reader.array().ok_or(FrameError::Truncated)?);
        let target_ip = Ipv4Addr::from(reader.array::<4>().ok_or(FrameError::Truncated)?);
        if sender_ip.is_multicast() || sender_ip.is_broadcast() {
            return Err(FrameError::ArpSender);
        }
        Ok(Self { operation, sender_mac, sender_ip, target_mac, target_ip })
    }

    /// It asks for an address on behalf of nobody: a request from `0.0.0.0` (RFC 5227 1.1). Such a sender is
    /// about to take the address, and does not have it yet.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_ip.is_unspecified()
    }

    /// The address that the sender says is its own, if it says so of any. Request and reply count alike.
    #[must_use]
    pub fn claims(&self) -> Option<Ipv4Addr> {
        (!self.sender_ip.is_unspecified()).then_some(self.sender_ip)
    }

    fn to_frame(self, destination: Mac, source: Mac) -> Vec<u8> {
        let mut frame = Header { destination, source, ethertype: ethernet::ARP }.start(PACKET_LEN);
        frame.extend_from_slice(&HARDWARE_ETHERNET.to_be_bytes());
        frame.extend_from_slice(&ethernet::IPV4.to_be_bytes());
        frame.extend_from_slice(&[6, 4]);
        frame.extend_from_slice(&match self.operation {
            Operation::Request => [0, 1],
            Operation::Reply => [0, 2],
        });
        frame.extend_from_slice(&self.sender_mac.0);
        frame.extend_from_slice(&self.sender_ip.octets());
        frame.extend_from_slice(&self.target_mac.0);
        frame.extend_from_slice(&self.target_ip.octets());
        frame
    }
}

/// The frame that asks the segment whether anybody has `address`, without claiming it: sender address
/// `0.0.0.0`, so that no cache is touched, broadcast (RFC 5227 2.1.1).
#[must_use]
pub fn probe(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    request(own, Ipv4Addr::UNSPECIFIED, address, Mac::BROADCAST)
}

/// The frame of an ordinary request from `own_ip` for `target`, sent to everybody ([`Mac::BROADCAST`]) or to
/// the station believed to have it.
#[must_use]
pub fn request(own: Mac, own_ip: Ipv4Addr, target: Ipv4Addr, to: Mac) -> Vec<u8> {
    Packet {
        operation: Operation::Request,
        sender_mac: own,
        sender_ip: own_ip,
        target_mac: Mac::ZERO,
        target_ip: target,
    }
    .to_frame(to, own)
}

/// The frame of a gratuitous ARP: sender and target address are both `address`, broadcast, as request (RFC
/// 5227 2.3) or as reply (RFC 2002 4.6), since some devices honour only one of them. The target MAC is zero
/// in the request form and the sender's own in the reply form.
#[must_use]
pub fn announcement(own: Mac, address: Ipv4Addr, operation: Operation) -> Vec<u8> {
    let target_mac = match operation {
        Operation::Request => Mac::ZERO,
        Operation::Reply => own,
    };
    Packet { operation, sender_mac: own, sender_ip: address, target_mac, target_ip: address }
        .to_frame(Mac::BROADCAST, own)
}

/// The frame by which the owner of `address` answers a request or a probe (RFC 826), as a kernel does: to the asker
/// alone. The daemon sends none; whoever plays a kernel does.
#[must_use]
pub fn reply(own: Mac, address: Ipv4Addr, asker: Mac, asker_ip: Ipv4Addr) -> Vec<u8> {
    Packet {
        operation: Operation::Reply,
        sender_mac: own,
        sender_ip: address,
        target_mac: asker,
        target_ip: asker_ip,
    }
    .to_frame(asker, own)
}
