//! POLYVAL over a cell, four blocks at a time, for processors with VPCLMULQDQ.
//!
//! The `polyval` crate multiplies block by block, which is most of a cell's cost. Here a vector holds four blocks (see `lanes`), three
//! vectors share one reduction, and a key is three vectors: `[H^4, H^3, H^2, H]` and that times `H^4` and `H^8`.
//! Everything but the last three vectors is multiplied by the first power of each, the same in all lanes, so that the four
//! lanes stay apart until the end: the message is `Σ block·H^distance` and each lane is a quarter of that sum.
//!
//! Checked against the `polyval` crate by the tests.

use multiversion::multiversion;
use multiversion::target::match_target;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// x^63 + x^62 + x^57: the upper half of POLYVAL's polynomial, with which a product is reduced.
const POLYNOMIAL: u64 = 0xC200_0000_0000_0000;

/// A body of this length has the two vectors of the head and the three of the last group, wherever its blocks fall.
pub(super) const MIN_BODY_LEN: usize = 128 - 17 + 2 * 64 + 1;

/// How the blocks of a message fall into vectors.
struct Shape {
    /// Zero blocks in front, which count for nothing, so that the last block is the last of a vector.
    padding: usize,
    /// Bytes of the body in the first two vectors, behind the padding, the tag and the command.
    head: usize,
    /// Bytes of the body in whole vectors behind those; what is left is the last vector.
    whole: usize,
}

impl Shape {
    const fn of(len: usize) -> Self {
        let padding = (4 - (17 + len).div_ceil(16) % 4) % 4 * 16;
        let head = 128 - padding - 17;
        let whole = len.saturating_sub(head + 1) / 64 * 64;
        Self { padding, head, whole }
    }
}

/// The powers of a key, highest first within each vector: H^4..H, H^8..H^5, H^12..H^9.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct WideKey([[u64; 8]; 3]);

/// Whether this processor can do it, and wide AES, which came with the same generations. `multiversion` asks for more than the features of
/// AVX-512: generations that do not lower their clock for wide vectors.
#[multiversion(targets(
    "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq",
    "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq"
))]
pub(super) fn available() -> bool {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => true,
        "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq" => true,
        _ => false,
    }
}

/// The powers of `h`.
#[multiversion(targets(
    "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq",
    "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq"
))]
pub(super) fn expand(h: &[u8; 16]) -> WideKey {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => one::powers(h),
        "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq" => two::powers(h),
        _ => plain::expand(h),
    }
}

/// `POLYVAL(h, tag)`: one multiplication, for which `h` needs no powers.
#[multiversion(targets(
    "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq",
    "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq"
))]
pub(super) fn hash_block(h: &[u8; 16], block: &[u8; 16]) -> [u8; 16] {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => one::block(h, block),
        "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq" => two::block(h, block),
        _ => plain::hash_block(h, block),
    }
}

/// `POLYVAL(h, tag | command | body)`, padded with zeros. The body has [`MIN_BODY_LEN`] bytes or more. Of a slice, so that there is one of it
/// and not one in every crate that has cells.
#[multiversion(targets(
    "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq",
    "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq"
))]
pub(super) fn hash_cell(key: &WideKey, tag: &[u8; 16], command: u8, body: &[u8]) -> [u8; 16] {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => one::sum(key, tag, command, body),
        "x86_64+sse4.1+aes+pclmulqdq+avx2+vaes+vpclmulqdq" => two::sum(key, tag, command, body),
        _ => plain::hash_cell(key, tag, command, body),
    }
}

/// The same for processors without the features. Nobody calls these, see [`available`]; but an arm that is compiled should be right.
mod plain {
    use super::WideKey;
    use polyval::Polyval;
    use polyval::universal_hash::UniversalHash;
    use polyval::universal_hash::array::Array;

    /// The first power is all that the others need.
    pub(super) fn expand(h: &[u8; 16]) -> WideKey {
        let value = u128::from_le_bytes(*h);
        WideKey([[0, 0, 0, 0, 0, 0, value as u64, (value >> 64) as u64], [0; 8], [0; 8]])
    }

    pub(super) fn hash_block(h: &[u8; 16], block: &[u8; 16]) -> [u8; 16] {
        let mut hash = Polyval::new(&Array(*h));
        hash.update(&[Array(*block)]);
        hash.finalize().0
    }

    pub(super) fn hash_cell(key: &WideKey, tag: &[u8; 16], command: u8, body: &[u8]) -> [u8; 16] {
        let [[.., low, high], ..] = key.0;
        let mut hash = Polyval::new(&Array(((u128::from(high) << 64) | u128::from(low)).to_le_bytes()));
        hash.update_padded(&[&tag[..], &[command], body].concat());
        hash.finalize().0
    }
}

// Macros, because the addon's threshold for inlining makes calls of functions of that size, and a call passes a product's six vectors in
// memory (docs/performance.md).

/// Add `a·b` to a product.
macro_rules! added {
    ($to:expr, $a:expr, $b:expr) => {{
        let (to, a, b): (Product, Lanes, Factor) = ($to, $a, $b);
        let sum = xor(a, swap(a));
        Product {
            low: xor(to.low, multiply_low(a, b.0)),
            middle: xor(to.middle, multiply_low(sum, b.1)),
            high: xor(to.high, multiply_high(a, b.0)),
        }
    }};
}

/// 256 bits to 128 in each lane: the low half is folded upwards twice.
macro_rules! reduced {
    ($product:expr) => {{
        let product: Product = $product;
        let polynomial = load_words(&[POLYNOMIAL; 8]);
        let middle = xor3(product.low, product.middle, product.high);
        let low = xor(product.low, up(middle));
        let high = xor(product.high, down(middle));
        let low = xor(swap(low), multiply_low(low, polynomial));
        xor3(swap(low), multiply_low(low, polynomial), high)
    }};
}

macro_rules! polyval {
    ($lanes:ident, $features:tt) => {
        /// With these lanes.
        mod $lanes {
            use super::super::lanes::$lanes::{
                Lanes, down, load_words, multiply_high, multiply_low, spread, spread_first, store, swap, up, with_first, with_half,
                with_last, xor, xor3,
            };
            use super::super::lanes::{words_of, $lanes as lanes};
            use super::{POLYNOMIAL, Shape, WideKey};

            /// A product before its reduction: low and high halves, and with Karatsuba the sum of all three parts in the middle.
            struct Product {
                low: Lanes,
                middle: Lanes,
                high: Lanes,
            }

            /// A factor and the sum of its halves, which Karatsuba's middle product takes.
            #[derive(Clone, Copy)]
            struct Factor(Lanes, Lanes);

            #[inline]
            #[target_feature(enable = $features)]
            fn load(bytes: &[u8; 64]) -> Lanes {
                load_words(&words_of(bytes))
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn factor(a: Lanes) -> Factor {
                Factor(a, xor(a, swap(a)))
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn zero() -> Product {
                let zero = load_words(&[0; 8]);
                Product {
                    low: zero,
                    middle: zero,
                    high: zero,
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn multiply(a: Lanes, b: Lanes) -> Lanes {
                reduced!(added!(zero(), a, factor(b)))
            }

            /// The sum of the four lanes.
            #[inline]
            #[target_feature(enable = $features)]
            fn fold(a: Lanes) -> [u8; 16] {
                let [low, high] = lanes::fold(a);
                ((u128::from(high) << 64) | u128::from(low)).to_le_bytes()
            }

            #[target_feature(enable = $features)]
            pub(super) fn block(h: &[u8; 16], block: &[u8; 16]) -> [u8; 16] {
                // Zeros in the other lanes.
                fold(multiply(spread(h), with_first(load_words(&[0; 8]), spread(block))))
            }

            #[target_feature(enable = $features)]
            pub(super) fn powers(h: &[u8; 16]) -> WideKey {
                let h1 = spread(h);
                let h2 = multiply(h1, h1);
                // [H^2, H, H, H] times H^2 gives the third and fourth in one multiplication.
                let mixed = multiply(with_first(h1, h2), h2);
                let first = with_last(with_half(h2, mixed), h1);
                let h4 = spread_first(first);
                let second = multiply(first, h4);
                let third = multiply(second, h4);
                WideKey([store(first), store(second), store(third)])
            }

            #[target_feature(enable = $features)]
            pub(super) fn sum(key: &WideKey, tag: &[u8; 16], command: u8, body: &[u8]) -> [u8; 16] {
                let [p1, p2, p3] = [load_words(&key.0[0]), load_words(&key.0[1]), load_words(&key.0[2])];
                // The same power in all lanes: one step of four, eight, twelve blocks.
                let q1 = factor(spread_first(p1));
                let q2 = factor(spread_first(p2));
                let q3 = factor(spread_first(p3));

                let shape = Shape::of(body.len());
                let mut head = [0; 128];
                let mut last = [0; 64];
                let split = body.split_at_checked(shape.head);
                let Some((front, (whole, tail))) = split.and_then(|(front, rest)| Some((front, rest.split_at_checked(shape.whole)?)))
                else {
                    return [0; 16];
                };
                for (to, byte) in last.iter_mut().zip(tail) {
                    *to = *byte;
                }
                let (_, to) = head.split_at_mut(shape.padding);
                let (to_tag, to) = to.split_at_mut(16);
                to_tag.copy_from_slice(tag);
                if let [at, to @ ..] = to {
                    *at = command;
                    to.copy_from_slice(front);
                }
                let [first, second] = head.as_chunks::<64>().0 else {
                    return [0; 16];
                };
                let (vectors, _) = whole.as_chunks::<64>();
                let Some((vectors, [penultimate, ultimate])) = vectors.split_last_chunk::<2>() else {
                    return [0; 16];
                };
                let (lead, groups) = vectors.split_at(vectors.len() % 3);

                let start = reduced!(added!(added!(zero(), load(first), q2), load(second), q1));
                let mut sum = match lead {
                    [] => start,
                    [a] => reduced!(added!(zero(), xor(start, load(a)), q1)),
                    [a, b, ..] => reduced!(added!(added!(zero(), xor(start, load(a)), q2), load(b), q1)),
                };
                for [a, b, c] in groups.as_chunks::<3>().0 {
                    // What waits for nothing comes first.
                    let product = added!(added!(zero(), load(c), q1), load(b), q2);
                    sum = reduced!(added!(product, xor(sum, load(a)), q3));
                }
                let product = added!(added!(zero(), load(&last), factor(p1)), load(ultimate), factor(p2));
                fold(reduced!(added!(product, xor(sum, load(penultimate)), factor(p3))))
            }
        }
    };
}

polyval!(one, "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2");
polyval!(two, "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_arms_give_the_same() {
        let (h, tag, body) = ([0x35; 16], [0x77; 16], [0x1c; 1084]);
        let portable = super::super::tweak::HashKeys::portable(&h, &h, &h);
        assert_eq!(plain::hash_cell(&plain::expand(&h), &tag, 2, &body), portable.cell(&tag, 2, &body));
        assert_eq!(plain::hash_block(&h, &tag), portable.tag(&tag));
        assert_eq!(hash_block(&h, &tag), portable.tag(&tag));
        assert_eq!(hash_cell(&expand(&h), &tag, 2, &body), portable.cell(&tag, 2, &body));
    }

    #[test]
    fn it_is_available_only_with_all_features() {
        let all = is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("avx2");
        assert!(all || !available());
    }
}
