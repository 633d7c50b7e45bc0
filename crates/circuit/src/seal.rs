//! Putting the onion layers on what leaves this end, and looking at what came out of them.

use crate::error::{CircuitError, Violation};
use anonnet_cells::{BODY_LEN, Body, BodyWriter, CellError, Command, Kind, MAX_DATA, Message, TAG_LEN, append};
use anonnet_crypto::cgo::{ClientLayer, client_originate};

/// One end's way of turning a body into a cell for the other end.
pub(crate) trait Seal {
    /// Encrypts the body in place and writes the tag.
    fn seal(&mut self, command: Command, tag: &mut [u8; TAG_LEN], body: &mut Body);
}

/// The client: the layers of all hops up to the last.
impl Seal for [ClientLayer<BODY_LEN>] {
    #[inline]
    fn seal(&mut self, command: Command, tag: &mut [u8; TAG_LEN], body: &mut Body) {
        client_originate(self, command as u8, tag, body);
    }
}

/// Appends the RELAY cells of one message of the circuit itself, in as many parts as it takes.
pub(crate) fn write_message(seal: &mut (impl Seal + ?Sized), kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let mut rest = payload;
    loop {
        let (data, after) = rest.split_at_checked(MAX_DATA).unwrap_or((rest, &[]));
        append::<(), CellError>(out, Command::Relay, |tag, body| {
            BodyWriter::new(body).push(&Message {
                kind,
                stream: 0,
                seq: 0,
                more: !after.is_empty(),
                data,
            })?;
            seal.seal(Command::Relay, tag, body);
            Ok(())
        })?;
        if after.is_empty() {
            return Ok(());
        }
        rest = after;
    }
}

/// A recognised body, which must hold a message: nobody has a reason to send padding alone.
#[inline]
pub(crate) fn not_empty(body: &Body) -> Result<&Body, CircuitError> {
    if body.first() == Some(&0) {
        Err(Violation::EmptyCell.into())
    } else {
        Ok(body)
    }
}
