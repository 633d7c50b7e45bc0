//! One UDP socket and quinn's endpoint on it.

use std::{net::SocketAddr, sync::Arc};

use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use super::settings::NODE_UDP_PAYLOAD_MOST;
use crate::{error::TransportError, limits::SOCKET_BUFFER};

/// Binds `address` and puts an endpoint on it, which listens if it is given a server's configuration.
pub(crate) fn endpoint(address: SocketAddr, server: Option<ServerConfig>) -> Result<Endpoint, TransportError> {
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
    let mut config = EndpointConfig::default();
    config.supported_versions(vec![1]);
    config
        .max_udp_payload_size(NODE_UDP_PAYLOAD_MOST)
        .map_err(|_| TransportError::Internal("udp payload"))?;
    Endpoint::new(config, server, socket.into(), Arc::new(TokioRuntime)).map_err(failed)
}
