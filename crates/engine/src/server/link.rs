//! Links that others opened, or that we opened and they use: their circuits and requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anonnet_errors::ErrorKind;
use anonnet_transport::{Link, StreamKind, StreamSend, Transport};
use tokio::sync::SemaphorePermit;

use super::{Server, circuit};
use crate::events::Event;
use crate::limits::{RPC_ANSWER_TIMEOUT, RPC_CLIENT_REQUEST_MAX_BYTES, RPC_NODE_REQUEST_MAX_BYTES, RPC_PER_LINK_MAX};
use crate::pipe::StreamHandle;
use crate::rpc::{frame_length, read_growing_frame, write_frame};
use crate::task::spawn;

/// Takes links until the transport closes.
pub(crate) async fn accept_links<T: Transport>(server: Arc<Server<T>>, transport: T) {
    while let Some(link) = transport.accept().await {
        // The pool tells of the links that it takes; each is told once.
        let adopted = server.pool.adopt(link.clone());
        let server = Arc::clone(&server);
        spawn(async move {
            let (node, authenticated) = (link.peer().map(|id| id.0), link.is_authenticated());
            let tell = |up| {
                if !adopted {
                    server.events.push(Event::Link {
                        up,
                        node,
                        authenticated,
                        kind: None,
                    });
                }
            };
            tell(true);
            serve_link(Arc::clone(&server), link).await;
            tell(false);
        });
    }
}

/// Serves what the other end of a link opens on it.
pub(crate) async fn serve_link<T: Transport>(server: Arc<Server<T>>, link: T::Link) {
    let requests = Arc::new(AtomicUsize::new(0));
    while let Ok((kind, send, recv)) = link.accept().await {
        match kind {
            StreamKind::Circuit => {
                // Dropped halves are torn down: a node that is no relay carries nothing.
                if server.roles.relay && !server.draining.load(Ordering::Relaxed) {
                    spawn(circuit::serve(Arc::clone(&server), link.clone(), send, recv));
                }
            }
            StreamKind::Rpc => {
                if requests.fetch_add(1, Ordering::Relaxed) >= RPC_PER_LINK_MAX {
                    requests.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (server, link, requests) = (Arc::clone(&server), link.clone(), Arc::clone(&requests));
                spawn(async move {
                    // A failed request ends its stream; there is nobody else to tell.
                    let _place = Place(requests);
                    let _ = tokio::time::timeout(RPC_ANSWER_TIMEOUT, serve_rpc(&server, &link, send, recv)).await;
                });
            }
        }
    }
}

/// A request's place on its link, given back however it ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve_rpc<T: Transport>(
    server: &Server<T>,
    link: &T::Link,
    mut send: <T::Link as Link>::Send,
    mut recv: <T::Link as Link>::Recv,
) -> Result<(), ErrorKind> {
    let max = if link.is_authenticated() {
        RPC_NODE_REQUEST_MAX_BYTES
    } else {
        RPC_CLIENT_REQUEST_MAX_BYTES
    };
    // Kept until the request is answered.
    let mut held: Option<SemaphorePermit<'_>> = None;
    let grow = |from: usize, to: usize| {
        let more = to - from.max(RPC_CLIENT_REQUEST_MAX_BYTES).min(to);
        let more = u32::try_from(more).map_err(|_| ErrorKind::ResourceLimit)?;
        let permit = server.large_requests.try_acquire_many(more).map_err(|_| ErrorKind::ResourceLimit)?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        Ok(())
    };
    let body = read_growing_frame(&mut recv, max, grow).await?;
    let node = if link.is_authenticated() {
        link.peer().map(|id| id.0)
    } else {
        None
    };
    let answer = ask(server, node, link.remote_address(), false, body).await?;
    write_frame(&mut send, &answer).await?;
    send.finish();
    send.stopped().await;
    Ok(())
}

/// Asks TypeScript.
async fn ask<T: Transport>(
    server: &Server<T>,
    node: Option<[u8; 32]>,
    address: SocketAddr,
    via_circuit: bool,
    body: Vec<u8>,
) -> Result<Vec<u8>, ErrorKind> {
    let (request, answer) = server.requests.ask().ok_or(ErrorKind::ResourceLimit)?;
    let _place = server.requests.forget_later(request);
    server.events.push(Event::RpcRequest {
        request,
        node,
        address,
        via_circuit,
        body,
    });
    match tokio::time::timeout(RPC_ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        _ => Err(ErrorKind::Timeout),
    }
}

/// Serves a request that came through a circuit: BEGIN_DIR.
pub(super) async fn serve_directory<T: Transport>(server: Arc<Server<T>>, handle: StreamHandle, address: SocketAddr) {
    handle.accept(crate::pipe::Answer::Connected);
    let served = tokio::time::timeout(RPC_ANSWER_TIMEOUT, async {
        let body = read_stream_frame(&handle, RPC_CLIENT_REQUEST_MAX_BYTES).await?;
        let answer = ask(&server, None, address, true, body).await?;
        write_stream_frame(&handle, &answer).await?;
        handle.ended().await;
        Ok::<_, ErrorKind>(())
    });
    if !matches!(served.await, Ok(Ok(()))) {
        handle.reset(anonnet_cells::EndReason::Reset);
    }
}

/// Reads one frame from a stream, giving its credit back as it goes.
pub(crate) async fn read_stream_frame(handle: &StreamHandle, max: usize) -> Result<Vec<u8>, ErrorKind> {
    let (mut frame, mut chunk) = (Vec::new(), Vec::new());
    loop {
        if let Some(head) = frame.first_chunk::<4>() {
            let length = frame_length(*head, max)?;
            if frame.len() > 4 + length {
                return Err(ErrorKind::RpcInvalid);
            }
            if frame.len() == 4 + length {
                frame.drain(..4);
                return Ok(frame);
            }
        }
        if !handle.read(&mut chunk).await? {
            return Err(ErrorKind::RpcInvalid);
        }
        handle.release(chunk.len());
        frame.append(&mut chunk);
    }
}

/// Writes one frame to a stream and finishes it.
pub(crate) async fn write_stream_frame(handle: &StreamHandle, body: &[u8]) -> Result<(), ErrorKind> {
    let length = u32::try_from(body.len()).map_err(|_| ErrorKind::RpcInvalid)?;
    handle.writable().await?;
    handle.write(&mut length.to_be_bytes().to_vec());
    for piece in body.chunks(crate::limits::OUTBOUND_HIGH_WATER_BYTES) {
        handle.writable().await?;
        handle.write(&mut piece.to_vec());
    }
    handle.finish();
    Ok(())
}
