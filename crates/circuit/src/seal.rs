//! Putting the onion layers on what leaves this end, and looking at what came out of them.

use crate::error::{CircuitError, Violation};
use anonnet_cells::{BODY_LEN, Body, Command, TAG_LEN};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate};

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

/// The last hop: its own layer.
impl Seal for RelayLayer<BODY_LEN> {
    #[inline]
    fn seal(&mut self, command: Command, tag: &mut [u8; TAG_LEN], body: &mut Body) {
        self.originate(command as u8, tag, body);
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
