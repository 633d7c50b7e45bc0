//! Which EXTENDs a relay does.

use crate::error::ExtendFault;
use crate::policy::is_public;
use anonnet_circuit::ExtendRequest;
use anonnet_crypto::keys::NodeId;
use core::net::SocketAddr;

/// What a relay knows of itself when it looks at an EXTEND; one for all its circuits.
#[derive(Clone)]
pub struct RelayRules {
    /// Its identity.
    pub node_id: NodeId,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Test networks only: circuits may go on to loopback and private addresses.
    pub allow_private: bool,
}

impl RelayRules {
    /// Whether this relay, reached from `previous` if that is a relay, extends a circuit so.
    pub fn check(&self, request: &ExtendRequest, previous: Option<&NodeId>) -> Result<(), ExtendFault> {
        // One address has two forms where IPv4 is mapped into IPv6.
        let same =
            |own: &SocketAddr| own.port() == request.address.port() && own.ip().to_canonical() == request.address.ip().to_canonical();
        if request.node_id == self.node_id || self.addresses.iter().any(same) {
            return Err(ExtendFault::ToSelf);
        }
        if previous == Some(&request.node_id) {
            return Err(ExtendFault::ToPrevious);
        }
        if !self.allow_private && !is_public(request.address.ip()) {
            return Err(ExtendFault::PrivateAddress);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::RelayRules;
    use crate::error::ExtendFault;
    use anonnet_circuit::ExtendRequest;
    use anonnet_crypto::keys::NodeId;

    fn request(id: u8, address: &str) -> ExtendRequest {
        ExtendRequest {
            node_id: NodeId([id; 32]),
            address: address.parse().unwrap(),
            handshake: vec![1],
        }
    }

    #[test]
    fn attack_07_extend_to_self_previous_hop_or_private_address_is_refused() {
        let mut rules = RelayRules {
            node_id: NodeId([1; 32]),
            addresses: vec!["9.9.9.9:443".parse().unwrap()],
            allow_private: false,
        };
        let previous = NodeId([2; 32]);
        let check = |rules: &RelayRules, id, address| rules.check(&request(id, address), Some(&previous));
        assert_eq!(check(&rules, 1, "8.8.8.8:1"), Err(ExtendFault::ToSelf));
        assert_eq!(check(&rules, 3, "9.9.9.9:443"), Err(ExtendFault::ToSelf));
        assert_eq!(check(&rules, 3, "[::ffff:9.9.9.9]:443"), Err(ExtendFault::ToSelf));
        assert_eq!(check(&rules, 3, "9.9.9.9:444"), Ok(()));
        assert_eq!(check(&rules, 2, "8.8.8.8:1"), Err(ExtendFault::ToPrevious));
        for address in [
            "127.0.0.1:1",
            "10.1.2.3:1",
            "169.254.169.254:80",
            "[::1]:1",
            "[fe80::1]:1",
            "[::ffff:10.0.0.1]:1",
            "0.0.0.0:1",
        ] {
            assert_eq!(check(&rules, 3, address), Err(ExtendFault::PrivateAddress), "{address}");
        }
        assert_eq!(check(&rules, 3, "8.8.8.8:1"), Ok(()));
        assert_eq!(rules.check(&request(2, "8.8.8.8:1"), None), Ok(()));
        rules.allow_private = true;
        assert_eq!(check(&rules, 3, "127.0.0.1:1"), Ok(()));
        assert_eq!(check(&rules, 1, "127.0.0.1:1"), Err(ExtendFault::ToSelf));
        assert_eq!(check(&rules, 2, "127.0.0.1:1"), Err(ExtendFault::ToPrevious));
    }
}
