//! AES-128 in counter mode: the key stream over a body, and after it the next keys.

#[cfg(target_arch = "x86_64")]
use super::counter::{self, CounterKey};
use aes::Aes128Enc;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, ParBlocks};

/// Length of what a layer is made of: KB, KU, K, U, N; 16 bytes each.
pub const SEED_LEN: usize = 80;

const SEED_BLOCKS: usize = SEED_LEN / 16;

/// What follows from the length of a body.
pub(super) struct Shape<const N: usize>;

impl<const N: usize> Shape<N> {
    /// Blocks of key stream for a body.
    pub(super) const BLOCKS: usize = N.div_ceil(16);

    /// What stays of the last byte of an initial counter: the blocks for a body and for the next keys fit below.
    pub(super) const COUNTER_MASK: u8 = {
        let span = (Self::BLOCKS + SEED_BLOCKS).next_power_of_two();
        assert!(span <= 256, "the counter has to fit into one byte");
        !((span - 1) as u8)
    };
}

/// Blocks of a run that are written together: what one vector register holds.
const LANE: usize = 64;

/// Every counter as a block, to be laid over the initial one a whole vector at a time. Counters built one by one are
/// stored in pieces that the cipher's wide loads have to wait for: that took as long as the cipher itself.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
static COUNTERS: [[u8; 16]; 256] = {
    let mut out = [[0; 16]; 256];
    let mut index = 0;
    while index < out.len() {
        out[index][15] = index as u8;
        index += 1;
    }
    out
};

/// XOR the key stream from block `first` onto `body`; what follows it, on whole blocks, onto `next`.
struct Stream<'a> {
    iv: [u8; 16],
    first: u8,
    body: &'a mut [u8],
    next: &'a mut [u8],
}

impl BlockSizeUser for Stream<'_> {
    type BlockSize = U16;
}

/// `iv | COUNTERS[first..]`. The counter is the last byte of a block; the bits cleared in `iv` leave room for all of it.
#[inline(always)]
fn lay_counters(blocks: &mut [Array<u8, U16>], iv: &[u8; 16], first: u8) {
    let (lanes, singles) = Array::slice_as_flattened_mut(blocks).as_chunks_mut::<LANE>();
    let (_, counters) = COUNTERS.split_at(usize::from(first));
    let (counter_lanes, last_counters) = counters.as_flattened().as_chunks::<LANE>();
    let mut pattern = [0; LANE];
    for part in pattern.as_chunks_mut().0 {
        *part = *iv;
    }
    let last_counters = counter_lanes.get(lanes.len()..).map_or(last_counters, <[_]>::as_flattened);
    for (to, counter) in lanes.iter_mut().zip(counter_lanes) {
        for ((to, iv), counter) in to.iter_mut().zip(&pattern).zip(counter) {
            *to = iv | counter;
        }
    }
    for ((to, iv), counter) in singles.iter_mut().zip(&pattern).zip(last_counters) {
        *to = iv | counter;
    }
}

#[inline(always)]
pub(super) fn xor_onto(to: &mut [u8], with: &[u8]) {
    for (to, with) in to.iter_mut().zip(with) {
        *to ^= with;
    }
}

impl BlockCipherEncClosure for Stream<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let mut index = self.first;
        let mut stream = ParBlocks::<B>::default();
        let mut runs = self.body.chunks_exact_mut(stream.len() * 16);
        for run in &mut runs {
            lay_counters(&mut stream, &self.iv, index);
            index = index.wrapping_add(stream.len() as u8);
            backend.encrypt_par_blocks_inplace(&mut stream);
            xor_onto(run, stream.as_flattened());
        }
        for piece in runs.into_remainder().chunks_mut(16).chain(self.next.chunks_mut(16)) {
            let mut block = Array((u128::from_be_bytes(self.iv) | u128::from(index)).to_be_bytes());
            index = index.wrapping_add(1);
            backend.encrypt_block_inplace(&mut block);
            xor_onto(piece, &block);
        }
    }
}

/// A layer's key for the key stream, in the form that this processor is fastest with.
#[derive(Clone, Copy)]
pub(super) enum StreamKey<'a> {
    /// For any processor; the `aes` crate finds out what it can use.
    Portable(&'a Aes128Enc),
    /// For processors with wide AES.
    #[cfg(target_arch = "x86_64")]
    Wide(&'a CounterKey),
}

/// The key stream of one cell: which counter it starts from is fixed by its tag.
pub(super) struct KeyStream<'a, const N: usize> {
    key: StreamKey<'a>,
    iv: [u8; 16],
}

impl<'a, const N: usize> KeyStream<'a, N> {
    /// `hashed` is the universal hash of the tag; its low bits are cleared here.
    #[inline]
    pub(super) fn new(key: StreamKey<'a>, hashed: [u8; 16]) -> Self {
        let mut iv = hashed;
        if let Some(last) = iv.last_mut() {
            *last &= Shape::<N>::COUNTER_MASK;
        }
        Self { key, iv }
    }

    /// `PRF(tag, 0)` onto a body.
    #[inline]
    pub(super) fn apply(&self, body: &mut [u8; N]) {
        self.run(body, None);
    }

    /// `PRF(tag, 0)` onto a body, and into `seed` the first bytes of `PRF(tag, 1)`: the layer's next state.
    #[inline]
    pub(super) fn apply_and_step(&self, body: &mut [u8; N], seed: &mut [u8; SEED_LEN]) {
        *seed = [0; SEED_LEN];
        self.run(body, Some(seed));
    }

    /// Into `seed` the first bytes of `PRF(tag, 1)` alone.
    #[inline]
    pub(super) fn step(&self, seed: &mut [u8; SEED_LEN]) {
        *seed = [0; SEED_LEN];
        self.run(&mut [], Some(seed));
    }

    #[inline]
    fn run(&self, body: &mut [u8], next: Option<&mut [u8; SEED_LEN]>) {
        const { assert!(Shape::<N>::BLOCKS + SEED_BLOCKS <= 256) };
        run(self.key, &self.iv, body, Shape::<N>::BLOCKS as u8, next);
    }
}

/// Not generic, so that there is one of it and not one in every crate that has cells.
fn run(key: StreamKey<'_>, iv: &[u8; 16], body: &mut [u8], blocks: u8, next: Option<&mut [u8; SEED_LEN]>) {
    match key {
        StreamKey::Portable(key) => key.encrypt_with_backend(Stream {
            iv: *iv,
            first: if body.is_empty() { blocks } else { 0 },
            body,
            next: next.map_or(&mut [], |next| next),
        }),
        #[cfg(target_arch = "x86_64")]
        StreamKey::Wide(key) => counter::apply(key, iv, body, blocks, next),
    }
}

/// One AES block, encrypted.
#[inline]
pub(super) fn encrypt_block(key: &Aes128Enc, block: [u8; 16]) -> [u8; 16] {
    let mut block: Block<Aes128Enc> = Array(block);
    key.encrypt_block(&mut block);
    block.0
}

#[cfg(test)]
mod tests {
    use super::super::tweak::HashKeys;
    use super::{KeyStream, SEED_LEN, Shape};
    use proptest::prelude::*;

    fn check<const N: usize>(key: [u8; 16], iv: [u8; 16]) {
        let (mut bodies, mut seeds) = ([[0x3c; N]; 3], [[0; SEED_LEN]; 6]);
        let mut renewed = HashKeys::new(&key, &key, &iv);
        renewed.renew(&iv, &iv, &key);
        let forms = [HashKeys::portable(&iv, &iv, &key), HashKeys::new(&iv, &iv, &key), renewed];
        for (at, form) in forms.iter().enumerate() {
            let stream = KeyStream::<N>::new(form.stream(), iv);
            stream.apply_and_step(&mut bodies[at], &mut seeds[at]);
            stream.step(&mut seeds[3 + at]);
            let mut alone = [0x3c; N];
            stream.apply(&mut alone);
            assert_eq!(alone, bodies[at]);
        }
        assert_ne!(bodies[0], [0x3c; N]);
        assert!(bodies.iter().all(|body| *body == bodies[0]));
        assert!(seeds.iter().all(|seed| *seed == seeds[0] && *seed != [0; SEED_LEN]));
    }

    proptest! {
        #[test]
        fn both_forms_are_the_same_stream(key in any::<[u8; 16]>(), iv in any::<[u8; 16]>()) {
            check::<1084>(key, iv);
            check::<493>(key, iv);
            check::<944>(key, iv);
            check::<945>(key, iv);
        }
    }

    #[test]
    fn the_body_decides_blocks_and_cleared_bits() {
        assert_eq!((Shape::<493>::BLOCKS, Shape::<493>::COUNTER_MASK), (31, 0b1100_0000));
        assert_eq!((Shape::<1084>::BLOCKS, Shape::<1084>::COUNTER_MASK), (68, 0b1000_0000));
        // 59 blocks are the last that 64 counters hold with the five of the next keys; 60 need one bit more.
        assert_eq!((Shape::<944>::BLOCKS, Shape::<944>::COUNTER_MASK), (59, 0b1100_0000));
        assert_eq!((Shape::<945>::BLOCKS, Shape::<945>::COUNTER_MASK), (60, 0b1000_0000));
    }
}
