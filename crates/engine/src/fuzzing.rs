//! Doors for the fuzz targets to parsers that nobody else calls from outside. Only with the feature `fuzzing`.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anonnet_errors::ErrorKind;
use anonnet_transport::{StreamRecv, TransportError};
use bytes::{Buf, Bytes};

use crate::pipe::{Mailbox, Pipe};
use crate::rpc::read_frame;
use crate::server::read_stream_frame;

/// A stream whose bytes are all there, in pieces.
struct Pieces(VecDeque<Bytes>);

impl StreamRecv for Pieces {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        let Some(piece) = self.0.front_mut() else {
            return Poll::Ready(Ok(0));
        };
        let count = piece.len().min(buffer.len());
        piece.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        if piece.is_empty() {
            self.0.pop_front();
        }
        Poll::Ready(Ok(count))
    }

    fn stop(&mut self) {}
}

/// Reads a frame as from a link. `pieces`: what comes, none of them empty.
pub fn frame_of_link(pieces: &[&[u8]], max: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut pieces = Pieces(pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect());
    let frame = pin!(read_frame(&mut pieces, max));
    match frame.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::Internal),
    }
}

/// Reads a frame as from a stream of a circuit, which looks after each piece.
pub fn frame_of_stream(pieces: &[&[u8]], max: usize) -> Result<Vec<u8>, ErrorKind> {
    let (pipe, handle) = Pipe::new(1, &Mailbox::new(), None);
    let mut frame = pin!(read_stream_frame(&handle, max));
    let mut cx = Context::from_waker(Waker::noop());
    for piece in pieces {
        pipe.inbound().bytes.extend_from_slice(piece);
        if let Poll::Ready(result) = frame.as_mut().poll(&mut cx) {
            return result;
        }
    }
    pipe.inbound().finished = true;
    match frame.poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::Internal),
    }
}
