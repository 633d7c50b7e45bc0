//! A hop's layer in one direction, at the relay and at the client.

use super::prf::{KeyStream, encrypt_block};
use super::tweak::HashKeys;
use aes::cipher::array::Array;
use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes128Dec, Aes128Enc};
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use super::prf::SEED_LEN;

/// Length of a cell's tag in bytes.
pub const TAG_LEN: usize = 16;

/// What a layer is made of and steps through, as plain bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct State {
    /// KB | KU | K | U | N
    pub(super) seed: [u8; SEED_LEN],
    /// The tag of the cell before, T'.
    pub(super) last_tag: [u8; TAG_LEN],
}

impl State {
    fn part(&self, index: usize) -> [u8; 16] {
        let (blocks, _) = self.seed.as_chunks::<16>();
        blocks.get(index).copied().unwrap_or_default()
    }

    fn nonce(&self) -> [u8; TAG_LEN] {
        self.part(4)
    }
}

/// The keys, expanded: `C` is the block cipher in the direction that this side uses.
struct Keys<C> {
    kb: C,
    hash: HashKeys,
}

impl<C: KeyInit<KeySize = aes::cipher::consts::U16>> Keys<C> {
    fn new(state: &State) -> Self {
        Self {
            kb: C::new(&Array(state.part(0))),
            hash: HashKeys::new(&state.part(1), &state.part(3), &state.part(2)),
        }
    }
}

/// Put new keys over old ones. Dropping the old ones first would wipe them byte by byte, to overwrite them once more.
pub(super) fn overwrite<T>(slot: &mut T, value: T) {
    core::mem::forget(core::mem::replace(slot, value));
}

fn xor(a: &[u8; 16], b: &[u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}

/// In constant time; as one number, since `subtle` looks at bytes one by one.
fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    let differs = u128::from_ne_bytes(xor(a, b));
    ((differs | differs >> 64) as u64).ct_eq(&0).into()
}

/// What both sides share: the state, and its keys expanded while the layer is in use.
struct Layer<C> {
    state: State,
    keys: Option<Box<Keys<C>>>,
}

impl<C: KeyInit<KeySize = aes::cipher::consts::U16>> Layer<C> {
    fn new(seed: &[u8; SEED_LEN]) -> Self {
        Self {
            state: State {
                seed: *seed,
                last_tag: [0; TAG_LEN],
            },
            keys: None,
        }
    }

    #[cfg(any(test, feature = "vectors"))]
    fn resume(state: State) -> Self {
        Self { state, keys: None }
    }

    /// The expanded keys, made now if the layer rested.
    fn live(&mut self) -> (&mut State, &mut Keys<C>) {
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::new(&self.state)));
        (&mut self.state, keys)
    }

    /// Expand the keys of the state that `seed` now holds, over the ones before.
    fn step(state: &State, keys: &mut Keys<C>) {
        overwrite(&mut keys.kb, C::new(&Array(state.part(0))));
        keys.hash.renew(&state.part(1), &state.part(3), &state.part(2));
    }
}

/// A relay's layer of one direction of one circuit. It only encrypts.
///
/// At rest it is about 100 bytes; with the first cell its keys are expanded on the heap, until [`Self::rest`].
pub struct RelayLayer<const N: usize>(Layer<Aes128Enc>);

impl<const N: usize> RelayLayer<N> {
    /// From the seed that the handshake gave for this direction.
    pub fn new(seed: &[u8; SEED_LEN]) -> Self {
        Self(Layer::new(seed))
    }

    #[cfg(any(test, feature = "vectors"))]
    pub(super) fn resume(state: State) -> Self {
        Self(Layer::resume(state))
    }

    #[cfg(any(test, feature = "vectors"))]
    pub(super) fn state(&self) -> &State {
        &self.0.state
    }

    /// Give back the memory of the expanded keys; the next cell makes them again.
    pub fn rest(&mut self) {
        self.0.keys = None;
    }

    /// A cell on its way from the client. True when it was meant for this hop: then `body` is its content, and the keys
    /// have stepped. Else it goes on to the next hop as it is now.
    pub fn forward(&mut self, command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) -> bool {
        let (state, keys) = self.0.live();
        let stream = Self::seal_tag(state, keys, command, tag, body);
        let recognised = same(tag, &state.nonce());
        if recognised {
            stream.apply_and_step(body, &mut state.seed);
            Layer::step(state, keys);
        } else {
            stream.apply(body);
        }
        recognised
    }

    /// A cell that starts here, towards the client. Overwrites `tag`.
    pub fn originate(&mut self, command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) {
        let (state, keys) = self.0.live();
        *tag = state.nonce();
        Self::seal_tag(state, keys, command, tag, body).apply_and_step(body, &mut state.seed);
        Layer::step(state, keys);
    }

    /// A cell from a hop further out, on its way to the client.
    pub fn pass_back(&mut self, command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) {
        let (state, keys) = self.0.live();
        Self::seal_tag(state, keys, command, tag, body).apply(body);
    }

    /// The tag's half of ENC. Gives the key stream that the body's half still needs.
    #[inline]
    fn seal_tag<'k>(
        state: &mut State,
        keys: &'k Keys<Aes128Enc>,
        command: u8,
        tag: &mut [u8; TAG_LEN],
        body: &[u8; N],
    ) -> KeyStream<'k, N> {
        let hashed = keys.hash.cell(&state.last_tag, command, body);
        *tag = xor(&hashed, &encrypt_block(&keys.kb, xor(tag, &hashed)));
        state.last_tag = *tag;
        KeyStream::new(keys.hash.stream(), keys.hash.tag(tag))
    }
}

/// The client's layer of one direction of one hop. It only decrypts.
pub struct ClientLayer<const N: usize>(Layer<Aes128Dec>);

impl<const N: usize> ClientLayer<N> {
    /// From the seed that the handshake with this hop gave for this direction.
    pub fn new(seed: &[u8; SEED_LEN]) -> Self {
        Self(Layer::new(seed))
    }

    #[cfg(any(test, feature = "vectors"))]
    pub(super) fn resume(state: State) -> Self {
        Self(Layer::resume(state))
    }

    #[cfg(any(test, feature = "vectors"))]
    pub(super) fn state(&self) -> &State {
        &self.0.state
    }

    /// Give back the memory of the expanded keys; the next cell makes them again.
    pub fn rest(&mut self) {
        self.0.keys = None;
    }

    /// Take this hop's layer off a cell that comes towards the client. True when the cell started at this hop: then
    /// `body` is its content. Else go on with the next hop outward.
    pub fn peel(&mut self, command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) -> bool {
        let (state, keys) = self.0.live();
        let came = *tag;
        let stream = KeyStream::<N>::new(keys.hash.stream(), keys.hash.tag(&came));
        stream.apply(body);
        Self::open_tag(state, keys, command, tag, body);
        let recognised = same(tag, &state.nonce());
        if recognised {
            stream.step(&mut state.seed);
            Layer::step(state, keys);
        }
        recognised
    }

    /// Put this hop's layer on a cell that leaves; for the hop that it is meant for, `step`.
    fn wrap(&mut self, command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N], step: bool) {
        let (state, keys) = self.0.live();
        let stream = KeyStream::<N>::new(keys.hash.stream(), keys.hash.tag(tag));
        if step {
            stream.apply_and_step(body, &mut state.seed);
            Self::open_tag(state, keys, command, tag, body);
            Layer::step(state, keys);
        } else {
            stream.apply(body);
            Self::open_tag(state, keys, command, tag, body);
        }
    }

    /// The tag's half of DEC; remembers the tag that it took away.
    #[inline]
    fn open_tag(state: &mut State, keys: &Keys<Aes128Dec>, command: u8, tag: &mut [u8; TAG_LEN], body: &[u8; N]) {
        let hashed = keys.hash.cell(&state.last_tag, command, body);
        state.last_tag = *tag;
        let mut block = Array(xor(tag, &hashed));
        keys.kb.decrypt_block(&mut block);
        *tag = xor(&hashed, &block.0);
    }
}

/// A cell of the client for the last hop of `layers` (hops 1 to d, outgoing direction). Overwrites `tag`.
/// Nothing happens when `layers` is empty.
pub fn client_originate<const N: usize>(layers: &mut [ClientLayer<N>], command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) {
    let Some(destination) = layers.last() else { return };
    *tag = destination.0.state.nonce();
    let mut step = true;
    for layer in layers.iter_mut().rev() {
        layer.wrap(command, tag, body, step);
        step = false;
    }
}

/// A cell that is not meant for any hop of `layers` but goes beyond the last one: that hop passes it on as it is now.
pub fn client_pass<const N: usize>(layers: &mut [ClientLayer<N>], command: u8, tag: &mut [u8; TAG_LEN], body: &mut [u8; N]) {
    for layer in layers.iter_mut().rev() {
        layer.wrap(command, tag, body, false);
    }
}

/// A cell that came to the client through `layers` (hops 1 to d, incoming direction). Gives the index of the hop that
/// it started at; `None` when it is of none of them, which ends the circuit.
pub fn client_receive<const N: usize>(
    layers: &mut [ClientLayer<N>],
    command: u8,
    tag: &mut [u8; TAG_LEN],
    body: &mut [u8; N],
) -> Option<usize> {
    layers.iter_mut().position(|layer| layer.peel(command, tag, body))
}

impl<const N: usize> fmt::Debug for RelayLayer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayLayer<{N}>(..)")
    }
}

impl<const N: usize> fmt::Debug for ClientLayer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientLayer<{N}>(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a layer holds beside itself while cells pass; docs/performance.md names it.
    #[test]
    fn the_expanded_keys_are_bounded() {
        let (relay, client) = (size_of::<Keys<Aes128Enc>>(), size_of::<Keys<Aes128Dec>>());
        assert!(relay <= 656 && client <= 656, "{relay} {client}");
    }
}
