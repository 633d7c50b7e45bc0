//! For checking published answers against the code that ships: the parts of a layer one by one, and layers put into a
//! given state and read out again. Only with the feature `vectors`, because it shows what else stays inside.

use super::layer::{ClientLayer, RelayLayer, State};
use super::prf::{KeyStream, SEED_LEN, encrypt_block};
use super::tweak::HashKeys;
use aes::cipher::array::Array;
use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes128Dec, Aes128Enc};

/// A layer's state as the published answers write it: KB | KU | K | U, then N, then T'.
pub type Parts = ([u8; 64], [u8; 16], [u8; 16]);

fn xor(a: &[u8; 16], b: &[u8; 16]) -> [u8; 16] {
    core::array::from_fn(|at| a.get(at).copied().unwrap_or_default() ^ b.get(at).copied().unwrap_or_default())
}

fn halves(key: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let [first, second] = key.as_chunks::<16>().0 else {
        return ([0; 16], [0; 16]);
    };
    (*first, *second)
}

/// `ET` with `J` = KB | KU over a tweak T' | command | body, in either direction.
pub fn et<const N: usize>(encrypt: bool, j: &[u8; 32], last_tag: &[u8; 16], command: u8, body: &[u8; N], block: &[u8; 16]) -> [u8; 16] {
    let (kb, ku) = halves(j);
    let hashed = HashKeys::new(&ku, &ku, &ku).cell(last_tag, command, body);
    let inner = xor(block, &hashed);
    let outer = if encrypt {
        encrypt_block(&Aes128Enc::new(&Array(kb)), inner)
    } else {
        let mut block = Array(inner);
        Aes128Dec::new(&Array(kb)).decrypt_block(&mut block);
        block.0
    };
    xor(&hashed, &outer)
}

/// `PRF(tweak, 0)` for a body of N bytes, with `S` = K | U.
pub fn prf_body<const N: usize>(s: &[u8; 32], tweak: &[u8; 16]) -> [u8; N] {
    let (k, u) = halves(s);
    let mut out = [0; N];
    let keys = HashKeys::new(&u, &u, &k);
    KeyStream::<N>::new(keys.stream(), keys.tag(tweak)).apply(&mut out);
    out
}

/// The first 80 bytes of `PRF(tweak, 1)` beside a body of N bytes, with `S` = K | U.
pub fn prf_next<const N: usize>(s: &[u8; 32], tweak: &[u8; 16]) -> [u8; SEED_LEN] {
    let (k, u) = halves(s);
    let mut out = [0; SEED_LEN];
    let keys = HashKeys::new(&u, &u, &k);
    KeyStream::<N>::new(keys.stream(), keys.tag(tweak)).step(&mut out);
    out
}

fn state(parts: &Parts) -> State {
    let mut state = State {
        seed: [0; SEED_LEN],
        last_tag: parts.2,
    };
    let (keys, nonce) = state.seed.split_at_mut(64);
    keys.copy_from_slice(&parts.0);
    nonce.copy_from_slice(&parts.1);
    state
}

fn parts(state: &State) -> Parts {
    let (mut keys, mut nonce) = ([0; 64], [0; 16]);
    let (from, rest) = state.seed.split_at(64);
    keys.copy_from_slice(from);
    nonce.copy_from_slice(rest);
    (keys, nonce, state.last_tag)
}

/// A relay's layer in a given state.
pub fn relay<const N: usize>(from: &Parts) -> RelayLayer<N> {
    RelayLayer::resume(state(from))
}

/// The state of a relay's layer.
pub fn relay_parts<const N: usize>(layer: &RelayLayer<N>) -> Parts {
    parts(layer.state())
}

/// A client's layer in a given state.
pub fn client<const N: usize>(from: &Parts) -> ClientLayer<N> {
    ClientLayer::resume(state(from))
}

/// The state of a client's layer.
pub fn client_parts<const N: usize>(layer: &ClientLayer<N>) -> Parts {
    parts(layer.state())
}
