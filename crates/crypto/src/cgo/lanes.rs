//! Four blocks side by side, and what instructions do with all of them at once: one register of AVX-512, or two of AVX2 where a processor has
//! the carry-less multiplication and AES of wide vectors without it. What is made of these, in `wide` and `counter`, is the same text for both.
//!
//! No `unsafe` here: the intrinsics are safe in functions that have the features, and `multiversion` enters those only where the processor has
//! them.

use core::arch::x86_64::{__m128i, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x};

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn block(bytes: &[u8; 16]) -> __m128i {
    let value = u128::from_le_bytes(*bytes);
    _mm_set_epi64x(((value >> 64) as u64).cast_signed(), (value as u64).cast_signed())
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn words(a: __m128i) -> [u64; 2] {
    [_mm_cvtsi128_si64(a).cast_unsigned(), _mm_extract_epi64::<1>(a).cast_unsigned()]
}

#[inline]
pub(super) fn words_of(bytes: &[u8; 64]) -> [u64; 8] {
    let mut out = [0; 8];
    for (to, word) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *to = u64::from_le_bytes(*word);
    }
    out
}

/// One register.
pub(super) mod one {
    use super::{block, words};
    use core::arch::x86_64::{
        __m512i, _mm_xor_si128, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_xor_si256, _mm512_add_epi64, _mm512_aesenc_epi128,
        _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_bslli_epi128, _mm512_bsrli_epi128, _mm512_clmulepi64_epi128,
        _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_mask_blend_epi64, _mm512_set_epi64, _mm512_shuffle_epi32,
        _mm512_shuffle_i64x2, _mm512_ternarylogic_epi64, _mm512_xor_si512,
    };

    pub(in crate::cgo) type Lanes = __m512i;

    /// The compiler makes one load of it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn load_words(words: &[u64; 8]) -> Lanes {
        let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
        _mm512_set_epi64(h, g, f, e, d, c, b, a)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn store(a: Lanes) -> [u64; 8] {
        let [a0, a1] = words(_mm512_extracti32x4_epi32::<0>(a));
        let [b0, b1] = words(_mm512_extracti32x4_epi32::<1>(a));
        let [c0, c1] = words(_mm512_extracti32x4_epi32::<2>(a));
        let [d0, d1] = words(_mm512_extracti32x4_epi32::<3>(a));
        [a0, a1, b0, b1, c0, c1, d0, d1]
    }

    /// The same block in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn spread(bytes: &[u8; 16]) -> Lanes {
        _mm512_broadcast_i32x4(block(bytes))
    }

    /// The first block in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn spread_first(a: Lanes) -> Lanes {
        _mm512_shuffle_i64x2::<0>(a, a)
    }

    /// `a` with the first lane of `b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_first(a: Lanes, b: Lanes) -> Lanes {
        _mm512_mask_blend_epi64(0b0000_0011, a, b)
    }

    /// `a` with the first two lanes of `b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_half(a: Lanes, b: Lanes) -> Lanes {
        _mm512_mask_blend_epi64(0b0000_1111, a, b)
    }

    /// `a` with the last lane of `b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_last(a: Lanes, b: Lanes) -> Lanes {
        _mm512_mask_blend_epi64(0b1100_0000, a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn xor(a: Lanes, b: Lanes) -> Lanes {
        _mm512_xor_si512(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn xor3(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        _mm512_ternarylogic_epi64::<0x96>(a, b, c)
    }

    /// The halves of each lane exchanged.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn swap(a: Lanes) -> Lanes {
        _mm512_shuffle_epi32::<0x4e>(a)
    }

    /// Lower halves to upper ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn up(a: Lanes) -> Lanes {
        _mm512_bslli_epi128::<8>(a)
    }

    /// Upper halves to lower ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn down(a: Lanes) -> Lanes {
        _mm512_bsrli_epi128::<8>(a)
    }

    /// The product of the lower halves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn multiply_low(a: Lanes, b: Lanes) -> Lanes {
        _mm512_clmulepi64_epi128::<0x00>(a, b)
    }

    /// The product of the upper halves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn multiply_high(a: Lanes, b: Lanes) -> Lanes {
        _mm512_clmulepi64_epi128::<0x11>(a, b)
    }

    /// The XOR of the four lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn fold(a: Lanes) -> [u64; 2] {
        let half = _mm256_xor_si256(_mm512_extracti64x4_epi64::<0>(a), _mm512_extracti64x4_epi64::<1>(a));
        words(_mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)))
    }

    /// The sums of the words of 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn add_words(a: Lanes, b: Lanes) -> Lanes {
        _mm512_add_epi64(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn aes_round(a: Lanes, key: Lanes) -> Lanes {
        _mm512_aesenc_epi128(a, key)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn aes_last_round(a: Lanes, key: Lanes) -> Lanes {
        _mm512_aesenclast_epi128(a, key)
    }
}

/// Two registers.
pub(super) mod two {
    use super::{block, words};
    use core::arch::x86_64::{
        __m256i, _mm_xor_si128, _mm256_add_epi64, _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_blend_epi32,
        _mm256_broadcastsi128_si256, _mm256_bslli_epi128, _mm256_bsrli_epi128, _mm256_castsi256_si128, _mm256_clmulepi64_epi128,
        _mm256_extracti128_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_shuffle_epi32, _mm256_xor_si256,
    };

    /// The first two blocks, and the others.
    #[derive(Clone, Copy)]
    pub(in crate::cgo) struct Lanes(__m256i, __m256i);

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn load_words(words: &[u64; 8]) -> Lanes {
        let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
        Lanes(_mm256_set_epi64x(d, c, b, a), _mm256_set_epi64x(h, g, f, e))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn store(a: Lanes) -> [u64; 8] {
        let [a0, a1] = words(_mm256_castsi256_si128(a.0));
        let [b0, b1] = words(_mm256_extracti128_si256::<1>(a.0));
        let [c0, c1] = words(_mm256_castsi256_si128(a.1));
        let [d0, d1] = words(_mm256_extracti128_si256::<1>(a.1));
        [a0, a1, b0, b1, c0, c1, d0, d1]
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn spread(bytes: &[u8; 16]) -> Lanes {
        let both = _mm256_broadcastsi128_si256(block(bytes));
        Lanes(both, both)
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn spread_first(a: Lanes) -> Lanes {
        let both = _mm256_permute2x128_si256::<0>(a.0, a.0);
        Lanes(both, both)
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_first(a: Lanes, b: Lanes) -> Lanes {
        Lanes(_mm256_blend_epi32::<0x0f>(a.0, b.0), a.1)
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_half(a: Lanes, b: Lanes) -> Lanes {
        Lanes(b.0, a.1)
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn with_last(a: Lanes, b: Lanes) -> Lanes {
        Lanes(a.0, _mm256_blend_epi32::<0xf0>(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn xor(a: Lanes, b: Lanes) -> Lanes {
        Lanes(_mm256_xor_si256(a.0, b.0), _mm256_xor_si256(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn xor3(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        xor(xor(a, b), c)
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn swap(a: Lanes) -> Lanes {
        Lanes(_mm256_shuffle_epi32::<0x4e>(a.0), _mm256_shuffle_epi32::<0x4e>(a.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn up(a: Lanes) -> Lanes {
        Lanes(_mm256_bslli_epi128::<8>(a.0), _mm256_bslli_epi128::<8>(a.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn down(a: Lanes) -> Lanes {
        Lanes(_mm256_bsrli_epi128::<8>(a.0), _mm256_bsrli_epi128::<8>(a.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn multiply_low(a: Lanes, b: Lanes) -> Lanes {
        Lanes(
            _mm256_clmulepi64_epi128::<0x00>(a.0, b.0),
            _mm256_clmulepi64_epi128::<0x00>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn multiply_high(a: Lanes, b: Lanes) -> Lanes {
        Lanes(
            _mm256_clmulepi64_epi128::<0x11>(a.0, b.0),
            _mm256_clmulepi64_epi128::<0x11>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn fold(a: Lanes) -> [u64; 2] {
        let half = _mm256_xor_si256(a.0, a.1);
        words(_mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn add_words(a: Lanes, b: Lanes) -> Lanes {
        Lanes(_mm256_add_epi64(a.0, b.0), _mm256_add_epi64(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn aes_round(a: Lanes, key: Lanes) -> Lanes {
        Lanes(_mm256_aesenc_epi128(a.0, key.0), _mm256_aesenc_epi128(a.1, key.1))
    }

    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq,pclmulqdq,aes,sse4.1,avx2")]
    pub(in crate::cgo) fn aes_last_round(a: Lanes, key: Lanes) -> Lanes {
        Lanes(_mm256_aesenclast_epi128(a.0, key.0), _mm256_aesenclast_epi128(a.1, key.1))
    }
}
