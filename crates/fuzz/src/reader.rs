//! Reads what a fuzzer made as a list of choices.

use std::time::Duration;

/// What is left of the bytes. Past their end everything is zero, so that each input means something.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A position in a list of `length`, which is not 0.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        usize::from(self.byte()) % length
    }

    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.below(N)]
    }

    /// Up to 255 bytes, as many as the first byte says.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        head
    }

    /// A number that is small, or at an edge.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => u64::from(u32::MAX),
            252 => 1 << 63,
            251 => u64::from(self.byte()) << (self.byte() % 64),
            small => u64::from(small),
        }
    }

    /// Up to 65 s, in steps of a millisecond.
    pub(crate) fn span(&mut self) -> Duration {
        Duration::from_millis(u64::from(u16::from_be_bytes([self.byte(), self.byte()])))
    }
}
