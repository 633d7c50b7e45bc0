//! EXTEND: `node id[32] | 4 or 6 u8 | address | port u16 | handshake`. It always comes in exactly two RELAY_EARLY cells.

use crate::error::CellError;
use crate::kind::Kind;
use crate::message::MAX_DATA;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most bytes before the handshake.
pub const EXTEND_PREFIX_MAX: usize = 32 + 1 + 16 + 2;

const MALFORMED: CellError = CellError::Payload { kind: Kind::Extend };

/// The payload of an EXTEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend<'a> {
    /// The relay to extend to.
    pub node_id: [u8; 32],
    /// Where it is.
    pub address: SocketAddr,
    /// What to send it in CREATE cells.
    pub handshake: &'a [u8],
}

impl<'a> Extend<'a> {
    /// Reads a whole payload.
    pub fn read(payload: &'a [u8]) -> Result<Self, CellError> {
        let (node_id, rest) = payload.split_first_chunk::<32>().ok_or(MALFORMED)?;
        let (ip, rest): (IpAddr, _) = match rest.split_first().ok_or(MALFORMED)? {
            (4, rest) => rest.split_first_chunk::<4>().map(|(ip, rest)| (Ipv4Addr::from(*ip).into(), rest)),
            (6, rest) => rest.split_first_chunk::<16>().map(|(ip, rest)| (Ipv6Addr::from(*ip).into(), rest)),
            _ => None,
        }
        .ok_or(MALFORMED)?;
        let (port, handshake) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
        let port = u16::from_be_bytes(*port);
        if port == 0 || handshake.is_empty() || handshake.len() > crate::MAX_HANDSHAKE {
            return Err(MALFORMED);
        }
        Ok(Self {
            node_id: *node_id,
            address: SocketAddr::new(ip, port),
            handshake,
        })
    }

    /// The payload in its two parts, each of which fits one message.
    pub fn write(&self) -> Result<[Vec<u8>; 2], CellError> {
        let len = self.handshake.len();
        if len == 0 || len > crate::MAX_HANDSHAKE {
            return Err(CellError::HandshakeLength { len });
        }
        let mut bytes = Vec::with_capacity(EXTEND_PREFIX_MAX + len);
        bytes.extend_from_slice(&self.node_id);
        match self.address.ip() {
            IpAddr::V4(ip) => {
                bytes.push(4);
                bytes.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.push(6);
                bytes.extend_from_slice(&ip.octets());
            }
        }
        bytes.extend_from_slice(&self.address.port().to_be_bytes());
        bytes.extend_from_slice(self.handshake);
        // Two parts whatever the length, so that the shape tells nothing.
        let second = bytes.split_off(if bytes.len() > MAX_DATA { MAX_DATA } else { bytes.len() / 2 });
        Ok([bytes, second])
    }
}

#[cfg(test)]
mod tests {
    use super::{EXTEND_PREFIX_MAX, Extend, MALFORMED};
    use crate::{CellError, Kind, MAX_DATA, MAX_HANDSHAKE};

    #[test]
    fn goes_there_and_back_in_two_parts() {
        for address in ["1.2.3.4:5", "[2001:db8::1]:65535"] {
            for len in [1, 1024, MAX_HANDSHAKE] {
                let handshake = vec![3; len];
                let extend = Extend {
                    node_id: [9; 32],
                    address: address.parse().unwrap(),
                    handshake: &handshake,
                };
                let [first, second] = extend.write().unwrap();
                assert!(!first.is_empty() && !second.is_empty() && first.len() <= MAX_DATA && second.len() <= MAX_DATA);
                let whole = [first, second].concat();
                assert!(whole.len() <= Kind::Extend.max_len());
                assert_eq!(Extend::read(&whole), Ok(extend));
            }
        }
    }

    #[test]
    fn refuses_what_is_short_of_other_type_or_without_port_or_handshake() {
        let handshake = [1; 10];
        let whole = Extend {
            node_id: [9; 32],
            address: "1.2.3.4:5".parse().unwrap(),
            handshake: &handshake,
        }
        .write()
        .unwrap()
        .concat();
        for len in 0..=whole.len() - handshake.len() {
            assert_eq!(Extend::read(&whole[..len]), Err(MALFORMED));
        }
        for kind in [0, 1, 5, 7, 255] {
            let mut bad = whole.clone();
            bad[32] = kind;
            assert_eq!(Extend::read(&bad), Err(MALFORMED));
        }
        let mut bad = whole;
        bad[38] = 0;
        assert_eq!(Extend::read(&bad), Err(MALFORMED));
        let long = vec![4; EXTEND_PREFIX_MAX + MAX_HANDSHAKE];
        assert_eq!(Extend::read(&long), Err(MALFORMED));
        for len in [0, MAX_HANDSHAKE + 1] {
            let handshake = vec![0; len];
            let extend = Extend {
                node_id: [9; 32],
                address: "1.2.3.4:5".parse().unwrap(),
                handshake: &handshake,
            };
            assert_eq!(extend.write(), Err(CellError::HandshakeLength { len }));
        }
    }
}
