//! The two hashes of the protocol, each bound to a domain string.
//!
//! `H(d, x)` is SHA3-256 over `ENCAP(d) | x`, `XOF(d, x)` is SHAKE256 over the same; `ENCAP(x)` is the length as a
//! 64-bit big-endian number, then x. Parts of variable length inside `x` are encapsulated by whoever builds `x`.

use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

/// The length prefix of `ENCAP(x)`: put it in front of `x`.
pub const fn encap_prefix(x: &[u8]) -> [u8; 8] {
    (x.len() as u64).to_be_bytes()
}

/// `H(domain, parts)`: SHA3-256, 32 bytes. `domain` is `anonnet:1:<purpose>`.
pub fn h(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha3_256::new();
    Digest::update(&mut hash, encap_prefix(domain.as_bytes()));
    Digest::update(&mut hash, domain.as_bytes());
    for part in parts {
        Digest::update(&mut hash, part);
    }
    hash.finalize().into()
}

/// `XOF(domain, parts)`: SHAKE256, fills `out`. `domain` is `anonnet:1:<purpose>`.
pub fn xof(domain: &str, parts: &[&[u8]], out: &mut [u8]) {
    let mut hash = Shake256::default();
    hash.update(&encap_prefix(domain.as_bytes()));
    hash.update(domain.as_bytes());
    for part in parts {
        hash.update(part);
    }
    hash.finalize_xof().read(out);
}

#[cfg(test)]
mod tests {
    use super::{encap_prefix, h, xof};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn known_answers() {
        // Python: hashlib.sha3_256(bytes(7) + b"\x0eanonnet:1:test" + b"abc"), shake_256 of the same.
        assert_eq!(encap_prefix(b"anonnet:1:test"), [0, 0, 0, 0, 0, 0, 0, 14]);
        assert_eq!(
            hex(&h("anonnet:1:test", &[b"abc"])),
            "036c13cbff071ca9d11f8b26819a17a454b3eb363ed8d20669f8c7b9ccc4da0d"
        );
        let mut out = [0; 40];
        xof("anonnet:1:test", &[b"abc"], &mut out);
        assert_eq!(
            hex(&out),
            "1562f14a1cd6d0f661528a9d4030707088d447683558b859b16a5db9f245c7fd090fe027d1e7adaf"
        );
    }

    #[test]
    fn parts_are_one_string_and_domains_are_apart() {
        assert_eq!(h("anonnet:1:a", &[b"xy", b"z"]), h("anonnet:1:a", &[b"x", b"yz"]));
        assert_ne!(h("anonnet:1:a", &[b"bc"]), h("anonnet:1:ab", &[b"c"]));
    }
}
