//! ICMP echo for raw sockets (RFC 792, RFC 4443): the request as the kernel wants it, the reply as the kernel
//! hands it over, which differs between IPv4 and IPv6.

use crate::read::Reader;
use crate::{FrameError, checksum};

const V4_REPLY: u8 = 0;
const V4_REQUEST: u8 = 8;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;
const PROTOCOL_ICMP: u8 = 1;
const ECHO_LEN: usize = 8;

/// The ICMP message of an echo request, checksum included, for a raw IPv4 socket.
#[must_use]
pub fn echo_request_v4(ident: u16, sequence: u16) -> Vec<u8> {
    let mut message = echo(V4_REQUEST, ident, sequence);
    let sum = checksum::internet(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The ICMPv6 message of an echo request for a raw ICMPv6 socket. The checksum is 0: the kernel, which knows
/// the source address, fills it in (RFC 3542 3.1).
#[must_use]
pub fn echo_request_v6(ident: u16, sequence: u16) -> Vec<u8> {
    echo(V6_REQUEST, ident, sequence)
}

fn echo(kind: u8, ident: u16, sequence: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(ECHO_LEN);
    message.extend_from_slice(&[kind, 0, 0, 0]);
    message.extend_from_slice(&ident.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message
}

/// Identifier and sequence number of an echo reply as a raw IPv4 socket delivers it: with its IP header,
/// whose checksum the kernel has checked, and with an ICMP checksum that nobody has checked yet.
///
/// # Errors
///
/// Anything that is not a whole, unfragmented echo reply.
pub fn parse_echo_reply_v4(packet: &[u8]) -> Result<(u16, u16), FrameError> {
    let mut reader = Reader(packet);
    let [version_and_length, _] = reader.array().ok_or(FrameError::Truncated)?;
    let total = usize::from(reader.u16().ok_or(FrameError::Truncated)?);
    let [_, _, fragment_high, fragment_low] = reader.array().ok_or(FrameError::Truncated)?;
    let [_, protocol] = reader.array().ok_or(FrameError::Truncated)?;
    if version_and_length >> 4 != 4 {
        return Err(FrameError::IpVersion);
    }
    let header = usize::from(version_and_length & 0xf) * 4;
    if header < 20 || total < header {
        return Err(FrameError::IpLength);
    }
    // More-fragments flag or an offset.
    if u16::from_be_bytes([fragment_high, fragment_low]) & 0x3fff != 0 {
        return Err(FrameError::IpFragment);
    }
    if protocol != PROTOCOL_ICMP {
        return Err(FrameError::IpProtocol);
    }
    let message = packet.get(header..total).ok_or(FrameError::Truncated)?;
    let answer = reply(message, V4_REPLY)?;
    if checksum::internet(&[message]) != 0 {
        return Err(FrameError::Checksum);
    }
    Ok(answer)
}

/// Identifier and sequence number of an echo reply as a raw ICMPv6 socket delivers it: without an IP header,
/// its checksum checked by the kernel.
///
/// # Errors
///
/// Anything that is not an echo reply.
pub fn parse_echo_reply_v6(message: &[u8]) -> Result<(u16, u16), FrameError> {
    reply(message, V6_REPLY)
}

fn reply(message: &[u8], expected: u8) -> Result<(u16, u16), FrameError> {
    let mut reader = Reader(message);
    let [kind, code, _, _] = reader.array().ok_or(FrameError::Truncated)?;
    let ident = reader.u16().ok_or(FrameError::Truncated)?;
    let sequence = reader.u16().ok_or(FrameError::Truncated)?;
    if kind != expected {
        return Err(FrameError::IcmpType);
    }
    if code != 0 {
        return Err(FrameError::IcmpCode);
    }
    Ok((ident, sequence))
}
