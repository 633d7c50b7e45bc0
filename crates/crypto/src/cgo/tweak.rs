//! POLYVAL over what a cell's tag depends on, and over a tag.

use polyval::universal_hash::UniversalHash;
use polyval::universal_hash::array::Array;
use polyval::{Block, Polyval};

/// Bytes of the body that go into the first four blocks, with the previous tag and the command.
const HEAD: usize = 64 - 16 - 1;

/// `UH(KU, T' | command | body)`, padded with zeros to whole blocks.
#[inline]
pub(super) fn hash_cell<const N: usize>(key: &Polyval, last_tag: &[u8; 16], command: u8, body: &[u8; N]) -> [u8; 16] {
    const { assert!(N >= HEAD, "a body fills the first four blocks") };
    let mut hash = key.clone();
    // The command shifts the body by a byte against the blocks: one copied run of four puts the rest in step.
    let (head, rest) = body.split_at(HEAD);
    let mut first = [0; 64];
    let (tag_part, body_part) = first.split_at_mut(16);
    tag_part.copy_from_slice(last_tag);
    if let Some((at, to)) = body_part.split_first_mut() {
        *at = command;
        to.copy_from_slice(head);
    }
    hash.update(Array::slice_as_chunks(&first).0);
    hash.update_padded(rest);
    hash.finalize().0
}

/// `UH(U, tag)`.
#[inline]
pub(super) fn hash_tag(key: &Polyval, tag: &[u8; 16]) -> [u8; 16] {
    let mut hash = key.clone();
    let block: Block = Array(*tag);
    hash.update(core::slice::from_ref(&block));
    hash.finalize().0
}
