//! Frames in a file: what was cut off by a crash is told from what has been damaged.
//!
//! | Bytes | Field |
//! |---|---|
//! | 3 | length of the payload, little-endian |
//! | 1 | check of the length: the three bytes and 0x5a, each added exclusively |
//! | 4 | first bytes of the SHA-256 of the payload |
//! | … | payload |

use sha2::{Digest as _, Sha256};

/// Magic and version of the format: how every file begins.
pub(crate) const PREAMBLE: [u8; 8] = *b"vdjrnl\x00\x01";
/// The part of it that never changes.
const MAGIC: usize = 6;
/// Longest payload, in bytes.
pub(crate) const LONGEST: usize = (1 << 24) - 1;
/// What a frame adds to its payload, in bytes.
pub(crate) const OVERHEAD: usize = 8;

/// Adds a frame to `out`. Answers whether the payload fits one; if not, nothing is added.
pub(crate) fn put(out: &mut Vec<u8>, payload: &[u8]) -> bool {
    let Some(length) = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= LONGEST) else {
        return false;
    };
    let [a, b, c, _] = length.to_le_bytes();
    out.extend_from_slice(&[a, b, c, check(a, b, c)]);
    out.extend_from_slice(&sum(payload));
    out.extend_from_slice(payload);
    true
}

fn check(a: u8, b: u8, c: u8) -> u8 {
    a ^ b ^ c ^ 0x5a
}

fn sum(payload: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(payload);
    std::array::from_fn(|position| digest[position])
}

/// The file is not a journal that can be read, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {what}")]
pub(crate) struct Damage {
    /// Where, in bytes from the beginning of the file.
    pub(crate) offset: usize,
    /// What is wrong.
    pub(crate) what: String,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'f> {
    /// A payload, and where its frame begins.
    Payload(usize, &'f [u8]),
    /// The last frame is not whole: the writer was interrupted.
    Torn(usize),
    /// All was read.
    End,
}

/// Reads the frames of a file.
#[derive(Debug)]
pub(crate) struct Frames<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl<'f> Frames<'f> {
    /// # Errors
    /// No journal, or one of another format.
    pub(crate) fn new(bytes: &'f [u8]) -> Result<Self, Damage> {
        let damage = |offset, what: String| Err(Damage { offset, what });
        if bytes.len() < PREAMBLE.len() || bytes[..MAGIC] != PREAMBLE[..MAGIC] {
            return damage(0, "this is not a journal of vipdrift".into());
        }
        let version = |bytes: &[u8]| u16::from_be_bytes([bytes[MAGIC], bytes[MAGIC + 1]]);
        let (found, known) = (version(bytes), version(&PREAMBLE));
        if found != known {
            return damage(MAGIC, format!("journal format {found}, and this program reads format {known}"));
        }
        Ok(Self { bytes, at: PREAMBLE.len() })
    }

    /// Where the next frame begins; behind the last whole one that was read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// # Errors
    /// Damage in the middle; nothing behind it can be trusted.
    pub(crate) fn next(&mut self) -> Result<Next<'f>, Damage> {
        let offset = self.at;
        let rest = &self.bytes[offset..];
        if rest.is_empty() {
            return Ok(Next::End);
        }
        // What a file system left behind that had made room and not yet filled it.
        if rest.iter().take(OVERHEAD).all(|byte| *byte == 0) && rest.iter().all(|byte| *byte == 0) {
            return Ok(Next::Torn(offset));
        }
        let Some((head, behind)) = rest.split_first_chunk::<OVERHEAD>() else {
            return Ok(Next::Torn(offset));
        };
        let [a, b, c, checked, sum_read @ ..] = *head;
        if checked != check(a, b, c) {
            return Err(Damage { offset, what: "damaged: there is no entry here".into() });
        }
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        let Some(payload) = behind.get(..length) else { return Ok(Next::Torn(offset)) };
        if sum(payload) != sum_read {
            if behind.len() == length {
                return Ok(Next::Torn(offset));
            }
            return Err(Damage {
                offset,
                what: format!("damaged: an entry of {length} bytes fails its check"),
            });
        }
        self.at = offset + OVERHEAD + length;
        Ok(Next::Payload(offset, payload))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = PREAMBLE.to_vec();
        for payload in payloads {
            assert!(put(&mut out, payload));
        }
        out
    }

    /// Payloads up to the first that is not whole, and how it ended.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<Option<usize>, Damage>) {
        let mut frames = Frames::new(bytes).expect("a preamble");
        let mut all = Vec::new();
        loop {
            match frames.next() {
                Ok(Next::Payload(_, payload)) => all.push(payload.to_vec()),
                Ok(Next::Torn(at)) => return (all, Ok(Some(at))),
                Ok(Next::End) => return (all, Ok(None)),
                Err(damage) => return (all, Err(damage)),
            }
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        assert_eq!(
            Frames::new(b"#!/bin/sh\n").map(|_| ()).expect_err("foreign").to_string(),
            "byte 0: this is not a journal of vipdrift"
        );
        assert_eq!(
            Frames::new(b"vdjrnl\x00\x02more").map(|_| ()).expect_err("newer").to_string(),
            "byte 6: journal format 2, and this program reads format 1"
        );
        assert!(!put(&mut Vec::new(), &vec![0; LONGEST + 1]));
    }

    proptest! {
        #[test]
        fn cut_anywhere_it_is_read_up_to_the_last_whole_frame(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in any::<prop::sample::Index>(),
            zeros in 0usize..20,
        ) {
            let whole = file(&payloads);
            prop_assert_eq!(read(&whole), (payloads.clone(), Ok(None)));
            let cut = PREAMBLE.len() + cut.index(whole.len() - PREAMBLE.len() + 1);
            let mut torn = whole[..cut].to_vec();
            let (found, end) = read(&torn);
            prop_assert!(payloads.starts_with(&found));
            let ends: Vec<usize> = (0..=payloads.len()).map(|n| file(&payloads[..n]).len()).collect();
            prop_assert_eq!(found.len() + 1, ends.iter().filter(|end| **end <= cut).count());
            let at = ends[found.len()];
            prop_assert_eq!(end, Ok((at != cut).then_some(at)));
            torn.truncate(at);
            torn.resize(at + zeros, 0);
            prop_assert_eq!(read(&torn), (found, Ok((zeros > 0).then_some(at))));
        }

        #[test]
        fn a_damaged_byte_is_noticed(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = file(&payloads);
            let at = PREAMBLE.len() + at.index(bytes.len() - PREAMBLE.len());
            bytes[at] ^= 1 << bit;
            let (found, end) = read(&bytes);
            prop_assert!(payloads.starts_with(&found) && found.len() < payloads.len());
            prop_assert!(end != Ok(None));
        }
    }
}
