//! POLYVAL over a cell, four blocks at a time, for processors with AVX-512 and VPCLMULQDQ.
//!
//! The `polyval` crate multiplies block by block, which is most of a cell's cost. Here a vector holds four blocks, three
//! vectors share one reduction, and a key is three vectors: `[H^4, H^3, H^2, H]` and that times `H^4` and `H^8`.
//! Everything but the last three vectors is multiplied by the first power of each, the same in all lanes, so that the four
//! lanes stay apart until the end: the message is `Σ block·H^distance` and each lane is a quarter of that sum.
//!
//! No `unsafe` here: the intrinsics are safe in functions that have the features, and `multiversion` enters them only
//! where the processor has them. Checked against the `polyval` crate by the tests.

use core::arch::x86_64::{
    __m128i, __m512i, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x, _mm_xor_si128, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_xor_si256, _mm512_broadcast_i32x4, _mm512_bslli_epi128, _mm512_bsrli_epi128, _mm512_clmulepi64_epi128,
    _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_mask_blend_epi64, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi32, _mm512_shuffle_i64x2, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use multiversion::multiversion;
use multiversion::target::match_target;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// x^63 + x^62 + x^57: the upper half of POLYVAL's polynomial, with which a product is reduced.
const POLYNOMIAL: i64 = 0xC200_0000_0000_0000_u64.cast_signed();

/// A body of this length has the two vectors of the head and the three of the last group, wherever its blocks fall.
pub(super) const MIN_BODY_LEN: usize = 128 - 17 + 2 * 64 + 1;

/// How the blocks of a message fall into vectors.
struct Shape<const N: usize>;

impl<const N: usize> Shape<N> {
    /// Zero blocks in front, which count for nothing, so that the last block is the last of a vector.
    const PADDING: usize = (4 - (17 + N).div_ceil(16) % 4) % 4 * 16;
    /// Bytes of the body in the first two vectors, behind the padding, the tag and the command.
    const HEAD: usize = 128 - Self::PADDING - 17;
    /// Bytes of the body in whole vectors behind those; what is left is the last vector.
    const WHOLE: usize = (N - Self::HEAD - 1) / 64 * 64;
}

/// The powers of a key, highest first within each vector: H^4..H, H^8..H^5, H^12..H^9.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct WideKey([[u64; 8]; 3]);

/// A product before its reduction: low and high halves, and with Karatsuba the sum of all three parts in the middle.
struct Product {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

/// Whether this processor can do it, and wide AES, which came with the same generations. `multiversion` asks for more than the features:
/// generations that do not lower their clock for wide vectors.
#[multiversion(targets("x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq"))]
pub(super) fn available() -> bool {
    match_target! {
        "x86_64+sse4.1+aes+pclmulqdq+avx2+avx512f+avx512bw+vaes+vpclmulqdq" => true,
        _ => false,
    }
}

/// The powers of `h`.
#[multiversion(targets("x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq"))]
pub(super) fn expand(h: &[u8; 16]) -> WideKey {
    match_target! {
        "x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq" => powers(h),
        _ => plain::expand(h),
    }
}

/// `POLYVAL(h, tag)`: one multiplication, for which `h` needs no powers.
#[multiversion(targets("x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq"))]
pub(super) fn hash_block(h: &[u8; 16], block: &[u8; 16]) -> [u8; 16] {
    match_target! {
        "x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq" => fold(multiply(spread(h), lone(block))),
        _ => plain::hash_block(h, block),
    }
}

/// `POLYVAL(h, tag | command | body)`, padded with zeros. The body has [`MIN_BODY_LEN`] bytes or more.
#[multiversion(targets("x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq"))]
pub(super) fn hash_cell<const N: usize>(key: &WideKey, tag: &[u8; 16], command: u8, body: &[u8; N]) -> [u8; 16] {
    match_target! {
        "x86_64+sse4.1+pclmulqdq+avx2+avx512f+avx512bw+vpclmulqdq" => sum(key, tag, command, body),
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
pub(super) fn load(bytes: &[u8; 64]) -> __m512i {
    let (words, _) = bytes.as_chunks::<8>();
    let mut out = [0; 8];
    for (to, word) in out.iter_mut().zip(words) {
        *to = u64::from_le_bytes(*word);
    }
    load_words(&out)
}

/// The compiler makes one load of it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn load_words(words: &[u64; 8]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
pub(super) fn block(bytes: &[u8; 16]) -> __m128i {
    let value = u128::from_le_bytes(*bytes);
    _mm_set_epi64x(((value >> 64) as u64).cast_signed(), (value as u64).cast_signed())
}

/// The same block in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
pub(super) fn spread(bytes: &[u8; 16]) -> __m512i {
    _mm512_broadcast_i32x4(block(bytes))
}

/// One block, zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn lone(bytes: &[u8; 16]) -> __m512i {
    _mm512_mask_blend_epi64(0b11, _mm512_setzero_si512(), spread(bytes))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The halves of each lane exchanged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn swap(a: __m512i) -> __m512i {
    _mm512_shuffle_epi32::<0x4e>(a)
}

/// A factor and the sum of its halves, which Karatsuba's middle product takes.
#[derive(Clone, Copy)]
struct Factor(__m512i, __m512i);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn factor(a: __m512i) -> Factor {
    Factor(a, _mm512_xor_si512(a, swap(a)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn zero() -> Product {
    let zero = _mm512_setzero_si512();
    Product {
        low: zero,
        middle: zero,
        high: zero,
    }
}

/// Add `a·b` to a product.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn add(to: Product, a: __m512i, b: Factor) -> Product {
    let sum = _mm512_xor_si512(a, swap(a));
    Product {
        low: _mm512_xor_si512(to.low, _mm512_clmulepi64_epi128::<0x00>(a, b.0)),
        middle: _mm512_xor_si512(to.middle, _mm512_clmulepi64_epi128::<0x00>(sum, b.1)),
        high: _mm512_xor_si512(to.high, _mm512_clmulepi64_epi128::<0x11>(a, b.0)),
    }
}

/// 256 bits to 128 in each lane: the low half is folded upwards twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn reduce(product: Product) -> __m512i {
    let polynomial = _mm512_set1_epi64(POLYNOMIAL);
    let middle = xor3(product.low, product.middle, product.high);
    let low = _mm512_xor_si512(product.low, _mm512_bslli_epi128::<8>(middle));
    let high = _mm512_xor_si512(product.high, _mm512_bsrli_epi128::<8>(middle));
    let low = _mm512_xor_si512(swap(low), _mm512_clmulepi64_epi128::<0x00>(low, polynomial));
    xor3(swap(low), _mm512_clmulepi64_epi128::<0x00>(low, polynomial), high)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn multiply(a: __m512i, b: __m512i) -> __m512i {
    reduce(add(zero(), a, factor(b)))
}

/// The sum of the four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn fold(a: __m512i) -> [u8; 16] {
    let half = _mm256_xor_si256(_mm512_extracti64x4_epi64::<0>(a), _mm512_extracti64x4_epi64::<1>(a));
    let [low, high] = words(_mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)));
    ((u128::from(high) << 64) | u128::from(low)).to_le_bytes()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
pub(super) fn words(a: __m128i) -> [u64; 2] {
    [_mm_cvtsi128_si64(a).cast_unsigned(), _mm_extract_epi64::<1>(a).cast_unsigned()]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
pub(super) fn store(a: __m512i) -> [u64; 8] {
    let [a0, a1] = words(_mm512_extracti32x4_epi32::<0>(a));
    let [b0, b1] = words(_mm512_extracti32x4_epi32::<1>(a));
    let [c0, c1] = words(_mm512_extracti32x4_epi32::<2>(a));
    let [d0, d1] = words(_mm512_extracti32x4_epi32::<3>(a));
    [a0, a1, b0, b1, c0, c1, d0, d1]
}

#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn powers(h: &[u8; 16]) -> WideKey {
    let h1 = spread(h);
    let h2 = multiply(h1, h1);
    // [H, H, H^2, H^2] times H^2 gives the third and fourth in one multiplication.
    let mixed = multiply(_mm512_mask_blend_epi64(0b0000_0011, h1, h2), h2);
    let first = _mm512_mask_blend_epi64(0b1100_0000, _mm512_mask_blend_epi64(0b0000_1111, h2, mixed), h1);
    let h4 = _mm512_shuffle_i64x2::<0>(first, first);
    let second = multiply(first, h4);
    let third = multiply(second, h4);
    WideKey([store(first), store(second), store(third)])
}

#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1,avx2")]
fn sum<const N: usize>(key: &WideKey, tag: &[u8; 16], command: u8, body: &[u8; N]) -> [u8; 16] {
    let [p1, p2, p3] = [load_words(&key.0[0]), load_words(&key.0[1]), load_words(&key.0[2])];
    // The same power in all lanes: one step of four, eight, twelve blocks.
    let q1 = factor(_mm512_shuffle_i64x2::<0>(p1, p1));
    let q2 = factor(_mm512_shuffle_i64x2::<0>(p2, p2));
    let q3 = factor(_mm512_shuffle_i64x2::<0>(p3, p3));

    let mut head = [0; 128];
    let mut last = [0; 64];
    let (front, rest) = body.split_at(Shape::<N>::HEAD);
    let (whole, tail) = rest.split_at(Shape::<N>::WHOLE);
    let (to, _) = last.split_at_mut(tail.len());
    to.copy_from_slice(tail);
    let (_, to) = head.split_at_mut(Shape::<N>::PADDING);
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
    let Some((vectors, [one, two])) = vectors.split_last_chunk::<2>() else {
        return [0; 16];
    };
    let (lead, groups) = vectors.split_at(vectors.len() % 3);

    let start = reduce(add(add(zero(), load(first), q2), load(second), q1));
    let mut sum = match lead {
        [] => start,
        [a] => reduce(add(zero(), _mm512_xor_si512(start, load(a)), q1)),
        [a, b, ..] => reduce(add(add(zero(), _mm512_xor_si512(start, load(a)), q2), load(b), q1)),
    };
    for [a, b, c] in groups.as_chunks::<3>().0 {
        // What waits for nothing comes first.
        let product = add(add(zero(), load(c), q1), load(b), q2);
        sum = reduce(add(product, _mm512_xor_si512(sum, load(a)), q3));
    }
    let product = add(add(zero(), load(&last), factor(p1)), load(two), factor(p2));
    fold(reduce(add(product, _mm512_xor_si512(sum, load(one)), factor(p3))))
}

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
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("avx2");
        assert!(all || !available());
    }
}
