//! Ethernet II framing (RFC 894, RFC 2464).

use crate::read::Reader;
use crate::{FrameError, Mac};

/// The EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Bytes of a [`Header`].
pub const HEADER_LEN: usize = 14;

/// The header of an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: Mac,
    /// From whom. Never a group address in a parsed header.
    pub source: Mac,
    /// What the payload is.
    pub ethertype: u16,
}

impl Header {
    /// Splits a frame into its header and its payload. A VLAN tag is not looked into: its EtherType is
    /// reported as is.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`], or [`FrameError::EthernetSource`] when the source is a group address.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let mut reader = Reader(frame);
        let destination = Mac(reader.array().ok_or(FrameError::Truncated)?);
        let source = Mac(reader.array().ok_or(FrameError::Truncated)?);
        let ethertype = reader.u16().ok_or(FrameError::Truncated)?;
        if source.is_multicast() {
            return Err(FrameError::EthernetSource);
        }
        Ok((Self { destination, source, ethertype }, reader.0))
    }

    /// Starts a frame that is to carry `payload` more bytes.
    pub(crate) fn start(self, payload: usize) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_LEN + payload);
        frame.extend_from_slice(&self.destination.0);
        frame.extend_from_slice(&self.source.0);
        frame.extend_from_slice(&self.ethertype.to_be_bytes());
        frame
    }
}
