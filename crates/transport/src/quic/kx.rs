//! X25519MLKEM768 for TLS 1.3 (draft-ietf-tls-ecdhe-mlkem), the only key exchange that links do.
//!
//! ring has no ML-KEM and the library that has both would double the size of the addon, so it is made here of the crates
//! that the circuit handshake uses anyway. In all three concatenations ML-KEM comes first.

use std::fmt;

use anonnet_crypto::kem::{CT_LEN, EK_LEN, KemPublic, KemSecret};
use rustls::{
    Error, NamedGroup, PeerMisbehaved, ProtocolVersion,
    crypto::{ActiveKeyExchange, CompletedKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup},
    ffdhe_groups::FfdheGroup,
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Bytes of an X25519 public key.
const X_LEN: usize = 32;
/// Bytes of what the dialler sends.
pub(crate) const CLIENT_SHARE: usize = EK_LEN + X_LEN;
/// Bytes of what the listener sends.
pub(crate) const SERVER_SHARE: usize = CT_LEN + X_LEN;

/// The group, 0x11EC.
pub(crate) static X25519_MLKEM768: &dyn SupportedKxGroup = &Group;

const BAD_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    crate::random::bytes().map(Zeroizing::new).map_err(|_| GetRandomFailed.into())
}

fn new_x25519() -> Result<(StaticSecret, PublicKey), Error> {
    let secret = StaticSecret::from(*random::<32>()?);
    let public = PublicKey::from(&secret);
    Ok((secret, public))
}

/// ML-KEM's secret, then X25519's; refuses low-order points, whose result the peer would know without a secret.
fn join(kem: &[u8], secret: &StaticSecret, their_public: &[u8; X_LEN]) -> Result<SharedSecret, Error> {
    let dh = secret.diffie_hellman(&PublicKey::from(*their_public));
    if !dh.was_contributory() {
        return Err(BAD_SHARE);
    }
    let mut joined = Vec::with_capacity(64);
    joined.extend_from_slice(kem);
    joined.extend_from_slice(dh.as_bytes());
    Ok(SharedSecret::from(joined))
}

#[derive(Debug)]
struct Group;

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let seed = random::<64>()?;
        let (kem, ek) = KemSecret::from_seed(&seed);
        let (secret, public) = new_x25519()?;
        let mut share = Vec::with_capacity(CLIENT_SHARE);
        share.extend_from_slice(ek.as_ref());
        share.extend_from_slice(public.as_bytes());
        Ok(Box::new(Active { kem, secret, share }))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (ek, their_public) = peer.split_last_chunk::<X_LEN>().ok_or(BAD_SHARE)?;
        let ek: &[u8; EK_LEN] = ek.try_into().map_err(|_| BAD_SHARE)?;
        let ek = KemPublic::new(ek).ok_or(BAD_SHARE)?;
        let (secret, public) = new_x25519()?;
        let message = random::<32>()?;
        let (ct, kem) = ek.encapsulate(&message);
        let joined = join(kem.as_ref(), &secret, their_public);
        let mut share = Vec::with_capacity(SERVER_SHARE);
        share.extend_from_slice(&ct);
        share.extend_from_slice(public.as_bytes());
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: share,
            secret: joined?,
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Active {
    kem: KemSecret,
    secret: StaticSecret,
    share: Vec<u8>,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").finish_non_exhaustive()
    }
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let (ct, their_public) = peer.split_last_chunk::<X_LEN>().ok_or(BAD_SHARE)?;
        let ct: &[u8; CT_LEN] = ct.try_into().map_err(|_| BAD_SHARE)?;
        join(self.kem.decapsulate(ct).as_ref(), &self.secret, their_public)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }
}

#[cfg(test)]
mod tests {
    use super::{CLIENT_SHARE, CT_LEN, EK_LEN, SERVER_SHARE, X25519_MLKEM768};
    use rustls::NamedGroup;

    #[test]
    fn both_sides_get_the_same_secret_and_mlkem_is_first() {
        let client = X25519_MLKEM768.start().unwrap();
        assert_eq!(client.pub_key().len(), CLIENT_SHARE);
        assert_eq!(CLIENT_SHARE, 1216);
        let server = X25519_MLKEM768.start_and_complete(client.pub_key()).unwrap();
        assert_eq!(server.group, NamedGroup::X25519MLKEM768);
        assert_eq!(u16::from(server.group), 0x11EC);
        assert_eq!(server.pub_key.len(), SERVER_SHARE);
        assert_eq!(SERVER_SHARE, 1120);
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 64);
    }

    #[test]
    fn a_touched_ciphertext_changes_only_the_first_half_and_a_touched_point_only_the_second() {
        let run = |flip: usize| {
            let client = X25519_MLKEM768.start().unwrap();
            let mut server = X25519_MLKEM768.start_and_complete(client.pub_key()).unwrap();
            server.pub_key[flip] ^= 1;
            let secret = client.complete(&server.pub_key).unwrap();
            let same = |range: std::ops::Range<usize>| secret.secret_bytes()[range.clone()] == server.secret.secret_bytes()[range];
            (same(0..32), same(32..64))
        };
        assert_eq!(run(5), (false, true));
        assert_eq!(run(CT_LEN + 5), (true, false));
    }

    #[test]
    fn low_order_points_are_refused_by_both_sides() {
        for point in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
            let client = X25519_MLKEM768.start().unwrap();
            let mut share = client.pub_key().to_vec();
            share[EK_LEN..].copy_from_slice(&point);
            assert!(X25519_MLKEM768.start_and_complete(&share).is_err());
            let mut server = X25519_MLKEM768.start_and_complete(client.pub_key()).unwrap();
            server.pub_key[CT_LEN..].copy_from_slice(&point);
            assert!(client.complete(&server.pub_key).is_err());
        }
    }

    #[test]
    fn wrong_lengths_and_unreduced_keys_are_refused() {
        let share = X25519_MLKEM768.start().unwrap().pub_key().to_vec();
        for length in [0, 31, 32, EK_LEN, CLIENT_SHARE - 1] {
            assert!(X25519_MLKEM768.start_and_complete(&share[..length]).is_err());
        }
        assert!(X25519_MLKEM768.start_and_complete(&[share.clone(), vec![0]].concat()).is_err());
        let mut unreduced = share.clone();
        unreduced[..3].fill(0xff);
        assert!(X25519_MLKEM768.start_and_complete(&unreduced).is_err());
        for length in [0, 31, 32, CT_LEN, SERVER_SHARE - 1, SERVER_SHARE + 1] {
            assert!(X25519_MLKEM768.start().unwrap().complete(&vec![9; length]).is_err());
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{X25519_MLKEM768:?}"), "Group");
    }
}
