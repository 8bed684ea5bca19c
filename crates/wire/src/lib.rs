//! Bytes on the wire, and nothing else: the ARP and Neighbor Discovery frames, ICMP echoes and heartbeat
//! datagrams that vipdrift nodes send and understand.
//!
//! Every format is a plain struct with a writer and a strict parser. A parser never panics and never guesses:
//! what it cannot vouch for is a typed rejection ([`FrameError`], [`heartbeat::Rejected`]) that a caller can
//! count by name. No policy and no input or output here.

pub mod arp;
pub mod ethernet;
pub mod heartbeat;
pub mod icmp;
pub mod ndp;

mod checksum;
mod error;
mod mac;
mod read;

pub use error::FrameError;
pub use mac::{Mac, ParseMacError};

/// A frame this project understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// An ARP packet.
    Arp(arp::Packet),
    /// A Neighbor Solicitation or Advertisement.
    Neighbor(ndp::Message),
}

/// Parses a whole Ethernet frame (without its frame check sequence). Padding behind the packet is tolerated,
/// since Ethernet pads to 60 bytes.
///
/// # Errors
///
/// What makes the frame malformed, or not one that this project understands. The first fault found is
/// reported.
pub fn parse_frame(bytes: &[u8]) -> Result<(ethernet::Header, Frame), FrameError> {
    let (header, payload) = ethernet::Header::parse(bytes)?;
    let frame = match header.ethertype {
        ethernet::ARP => Frame::Arp(arp::Packet::parse(payload)?),
        ethernet::IPV6 => Frame::Neighbor(ndp::Message::parse(payload)?),
        _ => return Err(FrameError::EtherType),
    };
    Ok((header, frame))
}
