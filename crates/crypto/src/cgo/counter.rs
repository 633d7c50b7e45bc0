//! AES-128 in counter mode over a cell, four blocks a vector (see `lanes`), for processors with VAES.
//!
//! The `aes` crate has the same instructions for 64 blocks at once and takes what is left block by block: four of the 68 blocks of a body
//! and the five of the next keys, which cost as much as the other 64. It also wants its counters in memory. Here counters are made in
//! registers, every block is part of a vector, and the key stream goes straight onto the body.
//!
//! Checked against the `aes` crate by the tests.

use core::arch::x86_64::{__m128i, _mm_aeskeygenassist_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_xor_si128};
use multiversion::multiversion;
use multiversion::target::match_target;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::lanes::{block, words};
use super::prf::SEED_LEN;

/// Bytes of a vector.
const LANE: usize = 64;
/// Vectors that are worked on together, so that none waits for a round of its own.
const GROUP: usize = 4;
/// A counter is the last byte of its block: so much in the upper word is one.
const ONE: u64 = 1 << 56;
/// From one vector to the next.
const FOUR: u64 = 4 << 56;

/// The round keys.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct CounterKey([[u64; 2]; 11]);

/// The round keys of `key`.
#[multiversion(targets("x86_64+sse4.1+aes"))]
pub(super) fn expand(key: &[u8; 16]) -> CounterKey {
    match_target! {
        "x86_64+sse4.1+aes" => round_keys(key),
        _ => plain::expand(key),
    }
}

/// XOR the key stream from block `first` onto `body`, and from block `next_first` onto `next`.
#[multiversion(targets(
    "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq",
    "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq"
))]
pub(super) fn apply(key: &CounterKey, iv: &[u8; 16], body: &mut [u8], next_first: u8, next: Option<&mut [u8; SEED_LEN]>) {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => one::stream(key, iv, body, next_first, next),
        "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq" => two::stream(key, iv, body, next_first, next),
        _ => plain::apply(key, iv, body, next_first, next),
    }
}

/// The same for processors without the features. Nobody calls these, see `wide::available`; but an arm that is compiled should be right.
mod plain {
    use super::{CounterKey, SEED_LEN};
    use crate::cgo::prf::{encrypt_block, xor_onto};
    use aes::Aes128Enc;
    use aes::cipher::KeyInit;
    use aes::cipher::array::Array;

    /// The key itself is all that the others need.
    pub(super) fn expand(key: &[u8; 16]) -> CounterKey {
        let value = u128::from_le_bytes(*key);
        let mut keys = [[0; 2]; 11];
        keys[0] = [value as u64, (value >> 64) as u64];
        CounterKey(keys)
    }

    pub(super) fn apply(key: &CounterKey, iv: &[u8; 16], body: &mut [u8], next_first: u8, next: Option<&mut [u8; SEED_LEN]>) {
        let [low, high] = key.0[0];
        let cipher = Aes128Enc::new(&Array(((u128::from(high) << 64) | u128::from(low)).to_le_bytes()));
        let pieces = (0..).zip(body.chunks_mut(16));
        let after = next
            .into_iter()
            .flat_map(|next| (u128::from(next_first)..).zip(next.chunks_mut(16)));
        for (count, piece) in pieces.chain(after) {
            xor_onto(piece, &encrypt_block(&cipher, (u128::from_be_bytes(*iv) | count).to_be_bytes()));
        }
    }
}

#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn next_key<const CONSTANT: i32>(key: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<CONSTANT>(key));
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(_mm_xor_si128(key, _mm_slli_si128::<8>(key)), word)
}

#[target_feature(enable = "aes,sse4.1")]
fn round_keys(key: &[u8; 16]) -> CounterKey {
    let k0 = block(key);
    let k1 = next_key::<0x01>(k0);
    let k2 = next_key::<0x02>(k1);
    let k3 = next_key::<0x04>(k2);
    let k4 = next_key::<0x08>(k3);
    let k5 = next_key::<0x10>(k4);
    let k6 = next_key::<0x20>(k5);
    let k7 = next_key::<0x40>(k6);
    let k8 = next_key::<0x80>(k7);
    let k9 = next_key::<0x1b>(k8);
    let k10 = next_key::<0x36>(k9);
    CounterKey([
        words(k0),
        words(k1),
        words(k2),
        words(k3),
        words(k4),
        words(k5),
        words(k6),
        words(k7),
        words(k8),
        words(k9),
        words(k10),
    ])
}

// Macros, because the addon's threshold for inlining makes calls of functions of that size, and a call passes vectors in memory
// (docs/performance.md).

/// The blocks of some vectors, encrypted.
macro_rules! encrypted {
    ($keys:expr, $blocks:expr) => {{
        let ([first, middle @ .., last], mut blocks): (&[Lanes; 11], _) = ($keys, $blocks);
        for block in &mut blocks {
            *block = xor(*block, *first);
        }
        for key in middle {
            for block in &mut blocks {
                *block = aes_round(*block, *key);
            }
        }
        for block in &mut blocks {
            *block = aes_last_round(*block, *last);
        }
        blocks
    }};
}

/// XOR a vector onto as many bytes.
macro_rules! xor_onto_lane {
    ($lane:expr, $with:expr) => {{
        let lane: &mut [u8; LANE] = $lane;
        let mixed = store(xor(load_words(&words_of(lane)), $with));
        for (to, word) in lane.as_chunks_mut::<8>().0.iter_mut().zip(mixed) {
            *to = word.to_le_bytes();
        }
    }};
}

macro_rules! counter_mode {
    ($lanes:ident, $features:tt) => {
        /// With these lanes.
        mod $lanes {
            use super::super::lanes::words_of;
            use super::super::lanes::$lanes::{Lanes, add_words, aes_last_round, aes_round, load_words, spread, store, xor};
            use super::super::prf::{SEED_LEN, xor_onto};
            use super::{CounterKey, FOUR, GROUP, LANE, ONE};

            #[inline]
            #[target_feature(enable = $features)]
            fn in_all_lanes(&[low, high]: &[u64; 2]) -> Lanes {
                load_words(&[low, high, low, high, low, high, low, high])
            }

            /// Counters `at`, `at + 1`, `at + 2`, `at + 3`, to be added to the initial one in all lanes.
            #[inline]
            #[target_feature(enable = $features)]
            fn counters(at: u8) -> Lanes {
                let a = u64::from(at).wrapping_mul(ONE);
                let b = a.wrapping_add(ONE);
                let c = b.wrapping_add(ONE);
                load_words(&[0, a, 0, b, 0, c, 0, c.wrapping_add(ONE)])
            }

            /// The key stream as bytes, for what is no whole vector.
            #[inline]
            #[target_feature(enable = $features)]
            fn bytes(stream: Lanes) -> [u8; LANE] {
                let mut out = [0; LANE];
                xor_onto_lane!(&mut out, stream);
                out
            }

            #[target_feature(enable = $features)]
            pub(super) fn stream(key: &CounterKey, iv: &[u8; 16], body: &mut [u8], next_first: u8, next: Option<&mut [u8; SEED_LEN]>) {
                let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10] = &key.0;
                let keys = [
                    in_all_lanes(k0),
                    in_all_lanes(k1),
                    in_all_lanes(k2),
                    in_all_lanes(k3),
                    in_all_lanes(k4),
                    in_all_lanes(k5),
                    in_all_lanes(k6),
                    in_all_lanes(k7),
                    in_all_lanes(k8),
                    in_all_lanes(k9),
                    in_all_lanes(k10),
                ];
                let start = spread(iv);
                let step = in_all_lanes(&[0, FOUR]);
                if let Some(next) = next {
                    let counter = add_words(start, counters(next_first));
                    let [first, second] = encrypted!(&keys, [counter, add_words(counter, step)]);
                    // 64 bytes and 16.
                    let (head, tail) = next.split_at_mut(LANE);
                    xor_onto(head, &bytes(first));
                    xor_onto(tail, &bytes(second));
                }
                let mut counter = add_words(start, counters(0));
                let (lanes, rest) = body.as_chunks_mut::<LANE>();
                let (groups, singles) = lanes.as_chunks_mut::<GROUP>();
                for group in groups {
                    let second = add_words(counter, step);
                    let third = add_words(second, step);
                    let fourth = add_words(third, step);
                    for (lane, stream) in group.iter_mut().zip(encrypted!(&keys, [counter, second, third, fourth])) {
                        xor_onto_lane!(lane, stream);
                    }
                    counter = add_words(fourth, step);
                }
                for lane in singles {
                    let [stream] = encrypted!(&keys, [counter]);
                    xor_onto_lane!(lane, stream);
                    counter = add_words(counter, step);
                }
                if !rest.is_empty() {
                    let [stream] = encrypted!(&keys, [counter]);
                    xor_onto(rest, &bytes(stream));
                }
            }
        }
    };
}

counter_mode!(one, "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2");
counter_mode!(two, "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2");

#[cfg(test)]
mod tests {
    use super::super::wide;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every length of a body, and every place where the next keys may begin, in what the processor does and in plain code.
        #[test]
        fn it_is_counter_mode(key in any::<[u8; 16]>(), mut iv in any::<[u8; 16]>(), body in prop::collection::vec(any::<u8>(), 0..1200), with_next in any::<bool>()) {
            iv[15] &= 0x80;
            let first = body.len().div_ceil(16) as u8;
            let (mut expected, mut expected_next) = (body.clone(), [0x5a; SEED_LEN]);
            plain::apply(&plain::expand(&key), &iv, &mut expected, first, with_next.then_some(&mut expected_next));
            let (mut out, mut next) = (body, [0x5a; SEED_LEN]);
            apply(&expand(&key), &iv, &mut out, first, with_next.then_some(&mut next));
            prop_assert_eq!(out, expected);
            prop_assert_eq!(next, expected_next);
        }
    }

    #[test]
    fn round_keys_are_those_of_the_standard() {
        // FIPS 197, appendix A.1.
        let key = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
        ];
        let last = [
            0xd0, 0x14, 0xf9, 0xa8, 0xc9, 0xee, 0x25, 0x89, 0xe1, 0x3f, 0x0c, 0xc8, 0xb6, 0x63, 0x0c, 0xa6,
        ];
        if wide::available() {
            let [low, high] = expand(&key).0[10];
            assert_eq!(((u128::from(high) << 64) | u128::from(low)).to_le_bytes(), last);
        }
    }
}
