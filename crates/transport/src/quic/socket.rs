//! One UDP socket and quinn's endpoint on it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anonnet_crypto::{hash::h, keys::IdentityKey};
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
    crypto::{CryptoError, HmacKey},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{settings::NODE_UDP_PAYLOAD_MOST, udp::Udp};
use crate::{error::TransportError, limits::SOCKET_BUFFER, random};

/// Bytes of a connection id.
const CONNECTION_ID_LEN: usize = 8;

/// Makes the tokens with which a node that was restarted tells its peers that their links are gone, at once instead of by silence.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let token = h("anonnet:1:quic-reset-token", &[&self.0, data]);
        for (to, from) in signature_out.iter_mut().zip(token) {
            *to = from;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, _data: &[u8], _signature: &[u8]) -> Result<(), CryptoError> {
        // Tokens are compared by those who hold them; quinn signs only.
        Err(CryptoError)
    }
}

/// Connection ids that nobody can tie to each other.
struct Ids {
    key: [u8; 32],
    made: u64,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made = self.made.wrapping_add(1);
        let id = h("anonnet:1:quic-cid", &[&self.key, &self.made.to_be_bytes()]);
        ConnectionId::new(id.first_chunk::<CONNECTION_ID_LEN>().unwrap_or(&[0; CONNECTION_ID_LEN]))
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Options of the endpoint. A node's are the same after a restart, a client's are new each time.
fn options(identity: Option<&IdentityKey>) -> Result<EndpointConfig, TransportError> {
    let mut config = match identity {
        Some(identity) => {
            let key = h("anonnet:1:quic-reset", &[&*identity.to_bytes()]);
            let mut config = EndpointConfig::new(Arc::new(ResetKey(key)));
            // quinn's own ids carry the mark of one run, and what lacks it gets no token.
            let ids = random::bytes()?;
            config.cid_generator(move || Box::new(Ids { key: ids, made: 0 }) as Box<dyn ConnectionIdGenerator>);
            config
        }
        None => EndpointConfig::default(),
    };
    config.supported_versions(vec![1]);
    config
        .max_udp_payload_size(NODE_UDP_PAYLOAD_MOST)
        .map_err(|_| TransportError::Internal("udp payload"))?;
    Ok(config)
}

/// Binds `address` and puts an endpoint on it, which listens if it is given a server's configuration.
pub(crate) fn endpoint(
    address: SocketAddr,
    server: Option<ServerConfig>,
    identity: Option<&IdentityKey>,
) -> Result<Endpoint, TransportError> {
    let failed = |error: std::io::Error| TransportError::Bind(error.kind());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    if address.is_ipv6() {
        // A socket per family: a source is then what it says, and never a mapped address that slips past a prefix rule.
        socket.set_only_v6(true).map_err(failed)?;
    }
    // The kernel caps these at its own limits; less is slower, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into()).map_err(failed)?;
    let socket = Arc::new(Udp::new(socket.into()).map_err(failed)?);
    Endpoint::new_with_abstract_socket(options(identity)?, server, socket, Arc::new(TokioRuntime)).map_err(failed)
}
