//! The Internet checksum (RFC 1071).

/// The checksum of `parts` one after the other; every part but the last must have an even length. Over data
/// that already contains its right checksum the result is 0.
pub(crate) fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let (words, rest) = part.as_chunks::<2>();
        sum += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
        if let [last] = rest {
            sum += u64::from(u16::from_be_bytes([*last, 0]));
        }
    }
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

    #[test]
    fn the_example_of_rfc_1071() {
        // RFC 1071 section 3: the sum of these words is ddf2.
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_is_padded_and_carries_are_folded() {
        assert_eq!(internet(&[&[0xff, 0xff], &[0xff]]), !0xff00);
        assert_eq!(internet(&[&[0xff; 70_000]]), 0);
        assert_eq!(internet(&[]), 0xffff);
    }
}
