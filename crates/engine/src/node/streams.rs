//! Streams whose edge is a program: opened, read and written by operations.

use std::sync::Arc;
use std::time::Duration;

use anonnet_cells::EndReason;
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::{DirectStream, QuicTransport};

use super::{Inner, Node};
use crate::events::{Failure, OpId, OpValue};
use crate::limits::{JS_READ_MAX_BYTES, JS_READ_PATIENCE, JS_READ_WANTED_BYTES, JS_WRITE_MAX_BYTES};
use crate::pipe::{Answer, StreamHandle};
use crate::server::{read_stream_frame, write_stream_frame};
use crate::sync::lock;

/// What a stream's number stands for.
#[derive(Clone)]
pub(super) enum Edge {
    Circuit(Arc<StreamHandle>),
    Direct(Arc<DirectStream>),
    /// Of direct links.
    Listener(QuicTransport),
}

/// Runs with a deadline.
pub(super) async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, ErrorKind>>) -> Result<T, Failure> {
    Ok(tokio::time::timeout(timeout, work).await.unwrap_or(Err(ErrorKind::Timeout))?)
}

impl Node {
    fn stream(&self, id: u32) -> Result<Edge, ErrorKind> {
        lock(&self.inner.streams).get(&id).cloned().ok_or(ErrorKind::Closed)
    }

    /// Opens a stream to a target; its number comes with the operation, once the far end has accepted it.
    pub fn connect(&self, op: OpId, circuit: u32, host: String, port: u16, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let work = async move {
            let circuit = inner.circuit(circuit)?;
            let handle = within(timeout, async {
                let handle = circuit.connect(&host, port).await?;
                handle.answer().await?;
                Ok(handle)
            })
            .await?;
            let id = inner.new_id();
            lock(&inner.streams).insert(id, Edge::Circuit(Arc::new(handle)));
            Ok(OpValue {
                number: Some(id),
                ..OpValue::default()
            })
        };
        self.inner.operations.start_making(op, work, move |stream| unmaking.destroy(stream))
    }

    /// Reads what has arrived, 64 KiB at most, while the stream flows in runs of 32 KiB; an answer without bytes is the end.
    pub fn read(&self, op: OpId, stream: u32) -> Result<(), ErrorKind> {
        let edge = self.stream(stream)?;
        self.inner.operations.start(op, async move {
            let bytes = match edge {
                Edge::Circuit(handle) => {
                    let bytes = handle.read_run(JS_READ_WANTED_BYTES, JS_READ_MAX_BYTES, JS_READ_PATIENCE).await?;
                    if let Some(bytes) = &bytes {
                        handle.release(bytes.len());
                    }
                    bytes
                }
                Edge::Direct(direct) => {
                    let read = direct.read(JS_READ_WANTED_BYTES, JS_READ_MAX_BYTES, JS_READ_PATIENCE);
                    read.await.map_err(|error| error.kind())?
                }
                Edge::Listener(_) => return Err(ErrorKind::InvalidArgument.into()),
            };
            Ok(OpValue {
                bytes,
                ..OpValue::default()
            })
        })
    }

    /// Writes; answered when the stream's bounded queue has taken it.
    pub fn write(&self, op: OpId, stream: u32, mut data: Vec<u8>) -> Result<(), ErrorKind> {
        if data.len() > JS_WRITE_MAX_BYTES {
            return Err(ErrorKind::InvalidArgument);
        }
        let edge = self.stream(stream)?;
        self.inner.operations.start(op, async move {
            match edge {
                Edge::Circuit(handle) => {
                    handle.writable().await?;
                    if !data.is_empty() {
                        handle.write(&mut data);
                    }
                }
                Edge::Direct(direct) => direct.write(data).await.map_err(|error| error.kind())?,
                Edge::Listener(_) => return Err(ErrorKind::InvalidArgument.into()),
            }
            Ok(OpValue::default())
        })
    }

    /// Half-closes a stream after what was written.
    pub fn end(&self, stream: u32) {
        match self.stream(stream) {
            Ok(Edge::Circuit(handle)) => handle.finish(),
            Ok(Edge::Direct(direct)) => direct.finish(),
            Ok(Edge::Listener(_)) | Err(_) => {}
        }
    }

    /// Forgets a stream, and resets it where it is not over.
    pub fn destroy(&self, stream: u32) {
        let edge = lock(&self.inner.streams).remove(&stream);
        if let Some(edge) = edge {
            self.inner.give_up(edge);
        }
    }

    /// Asks the last hop of a circuit; the answer's bytes come with the operation.
    pub fn circuit_rpc(&self, op: OpId, circuit: u32, body: Vec<u8>, timeout: Duration, max_reply: usize) -> Result<(), ErrorKind> {
        self.check_open()?;
        let circuit = self.inner.circuit(circuit)?;
        self.inner.operations.start(op, async move {
            let bytes = within(timeout, async {
                let handle = circuit.directory().await?;
                write_stream_frame(&handle, &body).await?;
                read_stream_frame(&handle, max_reply).await
            })
            .await?;
            Ok(OpValue {
                bytes: Some(bytes),
                ..OpValue::default()
            })
        })
    }

    /// Resolves a name at the last hop; the addresses come as a JSON array.
    pub fn resolve(&self, op: OpId, circuit: u32, name: String, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let circuit = self.inner.circuit(circuit)?;
        self.inner.operations.start(op, async move {
            let answer = within(timeout, async { circuit.resolve(&name).await?.answer().await }).await?;
            let Answer::Resolved(addresses) = answer else {
                return Err(ErrorKind::CircuitProtocol.into());
            };
            let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            Ok(OpValue {
                text: Some(format!("[{}]", quoted.join(","))),
                ..OpValue::default()
            })
        })
    }
}

impl Inner {
    /// What nobody reads or writes any more: reset where it is not over.
    pub(super) fn give_up(&self, edge: Edge) {
        match edge {
            Edge::Circuit(handle) if handle.is_done() => {}
            Edge::Circuit(handle) => handle.reset(EndReason::Cancelled),
            Edge::Direct(direct) => self.give_up_direct(direct),
            Edge::Listener(transport) => transport.stop_listening(),
        }
    }
}
