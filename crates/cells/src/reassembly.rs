//! Messages that come in parts.

use crate::error::CellError;
use crate::kind::Kind;
use crate::message::Message;

/// Joins the parts of one message. Holds at most that kind's maximum, and nothing between messages.
#[derive(Debug, Default)]
pub struct Reassembly {
    open: Option<(Kind, u16, Vec<u8>)>,
}

impl Reassembly {
    /// Nothing begun.
    pub const fn new() -> Self {
        Self { open: None }
    }

    /// Whether the next part of a message is due.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next message of the circuit, whatever it is; it must be called for every message, since parts are contiguous.
    /// `Some` with the whole payload when a message that comes in parts is complete.
    pub fn receive(&mut self, message: &Message<'_>) -> Result<Option<Vec<u8>>, CellError> {
        let mut bytes = match self.open.take() {
            None => Vec::with_capacity(message.data.len()),
            Some((kind, stream, bytes)) if kind == message.kind && stream == message.stream => bytes,
            Some(_) => return Err(CellError::Interrupted),
        };
        // An empty part would let one message go on for ever.
        if message.data.is_empty() {
            return Err(CellError::Payload { kind: message.kind });
        }
        if bytes.len() + message.data.len() > message.kind.max_len() {
            return Err(CellError::TooLong { kind: message.kind });
        }
        bytes.extend_from_slice(message.data);
        if message.more {
            self.open = Some((message.kind, message.stream, bytes));
            return Ok(None);
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Reassembly;
    use crate::{CellError, Kind, Message};

    fn part(kind: Kind, more: bool, data: &[u8]) -> Message<'_> {
        Message {
            kind,
            stream: 0,
            seq: 0,
            more,
            data,
        }
    }

    #[test]
    fn joins_parts_and_starts_again() {
        let mut parts = Reassembly::new();
        for _ in 0..2 {
            assert_eq!(parts.receive(&part(Kind::Extend, true, b"ab")), Ok(None));
            assert!(parts.is_open());
            assert_eq!(parts.receive(&part(Kind::Extend, false, b"c")), Ok(Some(b"abc".to_vec())));
            assert!(!parts.is_open());
        }
    }

    #[test]
    fn holds_at_most_the_maximum_of_the_kind() {
        let mut parts = Reassembly::new();
        let half = vec![1; 1000];
        assert_eq!(parts.receive(&part(Kind::Extended, true, &half)), Ok(None));
        assert_eq!(parts.receive(&part(Kind::Extended, true, &half)), Ok(None));
        assert_eq!(
            parts.receive(&part(Kind::Extended, true, &half)),
            Err(CellError::TooLong { kind: Kind::Extended })
        );
        assert!(!parts.is_open());
    }

    #[test]
    fn refuses_interruption_and_empty_parts() {
        let mut parts = Reassembly::new();
        parts.receive(&part(Kind::Extend, true, b"ab")).unwrap();
        assert_eq!(parts.receive(&part(Kind::Extended, false, b"c")), Err(CellError::Interrupted));
        parts.receive(&part(Kind::Extend, true, b"ab")).unwrap();
        assert_eq!(
            parts.receive(&Message {
                stream: 1,
                ..part(Kind::Extend, false, b"c")
            }),
            Err(CellError::Interrupted)
        );
        assert_eq!(
            parts.receive(&part(Kind::Extend, true, b"")),
            Err(CellError::Payload { kind: Kind::Extend })
        );
    }
}
