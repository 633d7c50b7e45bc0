//! The control stream of a link between nodes: [`link_auth`](crate::link_auth) over QUIC.

use std::sync::Arc;

use anonnet_crypto::keys::{IdentityKey, NodeId};
use quinn::{Connection, ReadExactError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use super::{convert, incoming::Control, tls};
use crate::{
    error::TransportError,
    link_auth::{DiallerAuth, EXPORTER_LABEL, HELLO_LEN, ListenerAuth, PROOF_LEN, REPLY_LEN},
    random,
    traits::KIND_CONTROL,
};

fn exporter(connection: &Connection) -> Result<[u8; 32], TransportError> {
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .map_err(|_| TransportError::Internal("tls exporter"))?;
    Ok(exporter)
}

async fn write(connection: &Connection, send: &mut SendStream, data: &[u8]) -> Result<(), TransportError> {
    send.write_all(data).await.map_err(|_| broken(connection))
}

async fn read<const N: usize>(connection: &Connection, recv: &mut RecvStream) -> Result<[u8; N], TransportError> {
    let mut bytes = [0; N];
    match recv.read_exact(&mut bytes).await {
        Ok(()) => Ok(bytes),
        Err(ReadExactError::FinishedEarly(_)) => Err(TransportError::Protocol("control stream cut short")),
        Err(ReadExactError::ReadError(_)) => Err(broken(connection)),
    }
}

/// The link's end if it ended, else the stream's.
fn broken(connection: &Connection) -> TransportError {
    match connection.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(_)) => TransportError::Refused,
        Some(error) => TransportError::Closed(convert::close_reason(&error)),
        None => TransportError::Protocol("control stream reset"),
    }
}

/// Opens the control stream and proves who we are to the listener that TLS has verified.
pub(crate) async fn dial(connection: &Connection, identity: &Arc<IdentityKey>) -> Result<Control, TransportError> {
    let listener = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .and_then(|certificates| certificates.first().and_then(|der| tls::key_of(der)))
        .ok_or(TransportError::Identity)?;
    let (auth, hello) = DiallerAuth::start(Arc::clone(identity), listener, random::bytes()?, exporter(connection)?);
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| broken(connection))?;
    let mut first = Vec::with_capacity(1 + HELLO_LEN);
    first.push(KIND_CONTROL);
    first.extend_from_slice(&hello);
    write(connection, &mut send, &first).await?;
    let reply = read::<REPLY_LEN>(connection, &mut recv).await?;
    let proof = auth.finish(&reply)?;
    write(connection, &mut send, &proof).await?;
    Ok(Control { send, recv })
}

/// Serves a control stream, whose type byte was read, and learns who dialled.
pub(crate) async fn accept(
    connection: &Connection,
    identity: &IdentityKey,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(NodeId, Control), TransportError> {
    let hello = read::<HELLO_LEN>(connection, &mut recv).await?;
    let (auth, reply) = ListenerAuth::start(identity, &hello, random::bytes()?, exporter(connection)?)?;
    write(connection, &mut send, &reply).await?;
    let proof = read::<PROOF_LEN>(connection, &mut recv).await?;
    let peer = auth.finish(&proof)?;
    Ok((peer, Control { send, recv }))
}
