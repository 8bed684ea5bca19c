//! ICMP echo replies as raw sockets give them: as they come and with their checksum set right.

use vipdrift_wire::{FrameError, icmp};

use crate::Seed;
use crate::frame::checksum;

/// What a raw socket gives.
///
/// # Panics
///
/// When a property is broken.
pub fn run(bytes: &[u8]) {
    check_v4(bytes);
    if let Some(mended) = mended(bytes) {
        check_v4(&mended);
    }
    match icmp::parse_echo_reply_v6(bytes) {
        Ok((ident, sequence)) => {
            assert_eq!(bytes[..2], [129, 0]);
            assert_eq!(bytes[4..8], numbers(ident, sequence));
        }
        Err(why) => assert_eq!(FrameError::ALL[why.index()], why),
    }
}

fn check_v4(bytes: &[u8]) {
    let result = icmp::parse_echo_reply_v4(bytes);
    match result {
        Ok((ident, sequence)) => {
            let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            let message = &bytes[usize::from(bytes[0] & 15) * 4..total];
            assert_eq!(message[..2], [0, 0]);
            assert_eq!(message[4..8], numbers(ident, sequence));
            assert_eq!(checksum(message), 0, "the checksum is right");
            assert_eq!(icmp::parse_echo_reply_v4(&bytes[..total]), result, "what follows is not looked at");
            assert!(icmp::parse_echo_reply_v4(&bytes[..total - 1]).is_err(), "a part is not the whole");
        }
        Err(why) => assert_eq!(FrameError::ALL[why.index()], why),
    }
}

fn numbers(ident: u16, sequence: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (ident.to_be_bytes(), sequence.to_be_bytes());
    [a, b, c, d]
}

/// The packet with the right ICMP checksum, if it is long enough to have one.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = usize::from(*bytes.first()? & 15) * 4;
    let total = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let mut packet = bytes.to_vec();
    let message = packet.get_mut(header..total).filter(|message| message.len() >= 4)?;
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(packet)
}

/// Seeds of [`run`]: answers to this project's own requests.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut reply = icmp::echo_request_v4(0x1234, 7);
    reply[0] = 0;
    let packet = |header: &[u8]| {
        let mut packet = [header, &reply[..]].concat();
        packet[3] = u8::try_from(packet.len()).expect("short");
        mended(&packet).expect("a whole packet")
    };
    let header = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 1, 0, 0, 192, 0, 2, 11, 192, 0, 2, 12];
    let with_options = [&[0x46][..], &header[1..], &[1, 1, 1, 0]].concat();
    let mut reply_v6 = icmp::echo_request_v6(0x1234, 7);
    reply_v6[0] = 129;
    vec![("v4", packet(&header)), ("v4-options", packet(&with_options)), ("v6", reply_v6)]
}
