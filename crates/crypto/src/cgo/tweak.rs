//! The universal hash: POLYVAL over what a cell's tag depends on, and over a tag. With its keys is kept that of the key stream, which comes
//! in the same two forms.

#[cfg(target_arch = "x86_64")]
use super::counter::{self, CounterKey};
use super::layer::overwrite;
use super::prf::StreamKey;
#[cfg(target_arch = "x86_64")]
use super::wide::{self, WideKey};
use aes::Aes128Enc;
use aes::cipher::KeyInit;
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use polyval::universal_hash::array::Array;
#[cfg(target_arch = "x86_64")]
use zeroize::Zeroizing;

/// Bytes of the body that go into the first four blocks, with the previous tag and the command.
const HEAD: usize = 64 - 16 - 1;

/// A layer's two hash keys, KU for cells and U for tags, and K of the key stream, in the form that this processor is fastest with.
pub(super) enum HashKeys {
    /// For any processor; the `polyval` crate finds out what it can use.
    Portable {
        /// Over cells.
        ku: Polyval,
        /// Over tags.
        u: Polyval,
        /// Of the key stream.
        k: Aes128Enc,
    },
    /// For processors with wide carry-less multiplication.
    #[cfg(target_arch = "x86_64")]
    Wide {
        /// Over cells.
        ku: WideKey,
        /// Over tags: one multiplication needs no powers.
        u: Zeroizing<[u8; 16]>,
        /// Of the key stream.
        k: CounterKey,
    },
}

impl HashKeys {
    pub(super) fn new(ku: &[u8; 16], u: &[u8; 16], k: &[u8; 16]) -> Self {
        #[cfg(target_arch = "x86_64")]
        if wide::available() {
            return Self::Wide {
                ku: wide::expand(ku),
                u: Zeroizing::new(*u),
                k: counter::expand(k),
            };
        }
        Self::portable(ku, u, k)
    }

    pub(super) fn portable(ku: &[u8; 16], u: &[u8; 16], k: &[u8; 16]) -> Self {
        Self::Portable {
            ku: Polyval::new(&Array(*ku)),
            u: Polyval::new(&Array(*u)),
            k: Aes128Enc::new(&Array(*k)),
        }
    }

    /// Other keys over these.
    pub(super) fn renew(&mut self, ku: &[u8; 16], u: &[u8; 16], k: &[u8; 16]) {
        match self {
            Self::Portable {
                ku: old_ku,
                u: old_u,
                k: old_k,
            } => {
                overwrite(old_ku, Polyval::new(&Array(*ku)));
                overwrite(old_u, Polyval::new(&Array(*u)));
                overwrite(old_k, Aes128Enc::new(&Array(*k)));
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide {
                ku: old_ku,
                u: old_u,
                k: old_k,
            } => {
                overwrite(old_ku, wide::expand(ku));
                **old_u = *u;
                overwrite(old_k, counter::expand(k));
            }
        }
    }

    /// The key of the key stream.
    #[inline]
    pub(super) fn stream(&self) -> StreamKey<'_> {
        match self {
            Self::Portable { k, .. } => StreamKey::Portable(k),
            #[cfg(target_arch = "x86_64")]
            Self::Wide { k, .. } => StreamKey::Wide(k),
        }
    }

    /// `UH(KU, T' | command | body)`, padded with zeros to whole blocks.
    #[inline]
    pub(super) fn cell<const N: usize>(&self, last_tag: &[u8; 16], command: u8, body: &[u8; N]) -> [u8; 16] {
        #[cfg(target_arch = "x86_64")]
        const {
            assert!(N >= wide::MIN_BODY_LEN, "a body fills the first and the last vectors")
        };
        const { assert!(N >= HEAD, "a body fills the first four blocks") };
        match self {
            Self::Portable { ku, .. } => portable_cell(ku, last_tag, command, body),
            #[cfg(target_arch = "x86_64")]
            Self::Wide { ku, .. } => wide::hash_cell(ku, last_tag, command, body),
        }
    }

    /// `UH(U, tag)`.
    #[inline]
    pub(super) fn tag(&self, tag: &[u8; 16]) -> [u8; 16] {
        match self {
            Self::Portable { u, .. } => {
                let mut hash = u.clone();
                hash.update(&[Array(*tag)]);
                hash.finalize().0
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide { u, .. } => wide::hash_block(u, tag),
        }
    }
}

fn portable_cell(key: &Polyval, last_tag: &[u8; 16], command: u8, body: &[u8]) -> [u8; 16] {
    let mut hash = key.clone();
    // The command shifts the body by a byte against the blocks: one copied run of four puts the rest in step.
    let (head, rest) = body.split_at_checked(HEAD).unwrap_or((body, &[]));
    let mut first = [0; 64];
    let (tag_part, body_part) = first.split_at_mut(16);
    tag_part.copy_from_slice(last_tag);
    if let [at, to @ ..] = body_part {
        *at = command;
        for (to, byte) in to.iter_mut().zip(head) {
            *to = *byte;
        }
    }
    hash.update(Array::slice_as_chunks(&first).0);
    hash.update_padded(rest);
    hash.finalize().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain<const N: usize>(ku: &[u8; 16], tag: &[u8; 16], command: u8, body: &[u8; N]) -> [u8; 16] {
        let mut hash = Polyval::new(&Array(*ku));
        hash.update_padded(&[&tag[..], &[command], body].concat());
        hash.finalize().0
    }

    fn check<const N: usize>(ku: [u8; 16], u: [u8; 16], tag: [u8; 16], command: u8, fill: u64) {
        use rand_chacha::ChaCha20Rng;
        use rand_core::{Rng, SeedableRng};
        let mut body = [0; N];
        ChaCha20Rng::seed_from_u64(fill).fill_bytes(&mut body);
        let expected = plain(&ku, &tag, command, &body);
        let mut renewed = [HashKeys::new(&u, &ku, &u), HashKeys::portable(&u, &ku, &u)];
        renewed.iter_mut().for_each(|keys| keys.renew(&ku, &u, &u));
        for keys in [HashKeys::new(&ku, &u, &u), HashKeys::portable(&ku, &u, &u)]
            .into_iter()
            .chain(renewed)
        {
            assert_eq!(keys.cell(&tag, command, &body), expected, "{N}");
            let mut hash = Polyval::new(&Array(u));
            hash.update(&[Array(tag)]);
            assert_eq!(keys.tag(&tag), hash.finalize().0);
        }
    }

    proptest! {
        #[test]
        fn both_forms_are_polyval(ku in any::<[u8; 16]>(), u in any::<[u8; 16]>(), tag in any::<[u8; 16]>(), command in any::<u8>(), fill in any::<u64>()) {
            check::<1084>(ku, u, tag, command, fill);
            check::<493>(ku, u, tag, command, fill);
            // All paddings and all leads before the groups of three, whole last vectors and single bytes.
            check::<240>(ku, u, tag, command, fill);
            check::<255>(ku, u, tag, command, fill);
            check::<256>(ku, u, tag, command, fill);
            check::<272>(ku, u, tag, command, fill);
            check::<288>(ku, u, tag, command, fill);
            check::<303>(ku, u, tag, command, fill);
            check::<304>(ku, u, tag, command, fill);
            check::<367>(ku, u, tag, command, fill);
            check::<383>(ku, u, tag, command, fill);
            check::<384>(ku, u, tag, command, fill);
        }
    }
}
