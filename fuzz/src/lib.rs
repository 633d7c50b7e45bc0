//! What the targets share: a cursor over the fuzzer's bytes, and honest messages with the fuzzer's changes.

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

/// The fuzzer's bytes, read from the front; zeros and nothing once they are used up.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        head
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The generator of a target: the same for every input, so that a crash replays.
pub fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}

/// An honest message with some of its bytes changed, or cut, or made longer. Random bytes alone never pass the first MAC.
pub fn edited(honest: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    for _ in 0..input.byte() % 8 {
        let at = usize::from(input.u16()) % bytes.len().max(1);
        let by = input.byte();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= by;
        }
    }
    match input.byte() {
        0..200 => {}
        200..230 => bytes.truncate(usize::from(input.u16()) % (bytes.len() + 1)),
        _ => bytes.extend_from_slice(input.0),
    }
    bytes
}
