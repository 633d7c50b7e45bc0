//! Messages in a body: `kind u8 | stream u16 | seq u32 | more:1 length:15 | data[length]`, then zeros to the end.

use crate::error::CellError;
use crate::kind::Kind;
use crate::layout::{BODY_LEN, Body};

/// Bytes of a message before its data.
pub const MESSAGE_HEADER_LEN: usize = 9;
/// The most data one message carries: a whole body.
pub const MAX_DATA: usize = BODY_LEN - MESSAGE_HEADER_LEN;

const MORE: u16 = 0x8000;

/// One message, or one part of one that does not fit a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// The stream; 0 is the circuit itself.
    pub stream: u16,
    /// The sequence number: from 1 on where the kind changes a stream, else 0.
    pub seq: u32,
    /// The same message goes on in the next one.
    pub more: bool,
    /// The payload.
    pub data: &'a [u8],
}

/// The messages of a body. Ends after the padding was seen to be all zero; after an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads a body that was recognised at its hop.
    pub fn new(body: &'a Body) -> Self {
        Self { rest: body }
    }

    #[inline(always)]
    fn read(&mut self) -> Result<Option<Message<'a>>, CellError> {
        let header = match self.rest.split_first_chunk::<MESSAGE_HEADER_LEN>() {
            Some((header, rest)) if header[0] != 0 => {
                self.rest = rest;
                *header
            }
            _ => {
                // Folding instead of an early exit: one vectorised pass, and the usual case is that all of it is zero.
                return if self.rest.iter().fold(0, |all, byte| all | byte) == 0 {
                    Ok(None)
                } else {
                    Err(CellError::Padding)
                };
            }
        };
        let [kind, s1, s0, q3, q2, q1, q0, l1, l0] = header;
        // Nearly all messages are data: what is known of those is not looked up.
        let (kind, max_len) = if kind == Kind::Data as u8 {
            (Kind::Data, MAX_DATA)
        } else {
            let kind = Kind::try_from(kind)?;
            if !kind.is_built() {
                return Err(CellError::NotBuilt(kind));
            }
            (kind, kind.max_len())
        };
        let length = u16::from_be_bytes([l1, l0]);
        let more = length & MORE != 0;
        let length = usize::from(length & !MORE);
        if more && max_len <= MAX_DATA {
            return Err(CellError::NotFragmentable { kind });
        }
        if length > max_len {
            return Err(CellError::TooLong { kind });
        }
        if length == 0 && kind == Kind::Data {
            return Err(CellError::EmptyData);
        }
        let (data, rest) = self.rest.split_at_checked(length).ok_or(CellError::Truncated)?;
        self.rest = rest;
        Ok(Some(Message {
            kind,
            stream: u16::from_be_bytes([s1, s0]),
            seq: u32::from_be_bytes([q3, q2, q1, q0]),
            more,
            data,
        }))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, CellError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if !matches!(read, Ok(Some(_))) {
            self.rest = &[];
        }
        read.transpose()
    }
}

/// Writes messages into a body that is all zero.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    rest: &'a mut [u8],
}

impl<'a> BodyWriter<'a> {
    /// Starts at the beginning of a zeroed body.
    pub fn new(body: &'a mut Body) -> Self {
        Self { rest: body }
    }

    /// How many bytes of data one more message could carry; `None` when not even its header fits.
    pub fn room(&self) -> Option<usize> {
        self.rest.len().checked_sub(MESSAGE_HEADER_LEN)
    }

    /// Writes one message. [`CellError::Full`] when it does not fit; then nothing was written.
    #[inline]
    pub fn push(&mut self, message: &Message<'_>) -> Result<(), CellError> {
        let length = message.data.len();
        if self.room().is_none_or(|room| room < length) {
            return Err(CellError::Full);
        }
        let rest = core::mem::take(&mut self.rest);
        let (header, rest) = rest.split_first_chunk_mut::<MESSAGE_HEADER_LEN>().ok_or(CellError::Full)?;
        let (data, rest) = rest.split_at_mut_checked(length).ok_or(CellError::Full)?;
        // A body has fewer than 2^15 bytes, so the length always fits beside `more`.
        let length = u16::try_from(length).map_err(|_| CellError::Full)? | if message.more { MORE } else { 0 };
        let [s1, s0] = message.stream.to_be_bytes();
        let [q3, q2, q1, q0] = message.seq.to_be_bytes();
        let [l1, l0] = length.to_be_bytes();
        *header = [message.kind as u8, s1, s0, q3, q2, q1, q0, l1, l0];
        data.copy_from_slice(message.data);
        self.rest = rest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyWriter, MAX_DATA, MESSAGE_HEADER_LEN, Message, Messages};
    use crate::{BODY_LEN, CellError, Kind};

    fn message(kind: Kind, data: &[u8]) -> Message<'_> {
        Message {
            kind,
            stream: 0x0102,
            seq: 0x0304_0506,
            more: false,
            data,
        }
    }

    fn first(body: &[u8; BODY_LEN]) -> Result<Message<'_>, CellError> {
        Messages::new(body).next().unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let mut body = [0; BODY_LEN];
        let mut writer = BodyWriter::new(&mut body);
        writer.push(&message(Kind::Data, &[7, 8])).unwrap();
        writer
            .push(&Message {
                kind: Kind::Extend,
                stream: 0,
                seq: 0,
                more: true,
                data: &[9],
            })
            .unwrap();
        assert_eq!(body[..21], [6, 1, 2, 3, 4, 5, 6, 0, 2, 7, 8, 1, 0, 0, 0, 0, 0, 0, 0x80, 1, 9]);
        assert!(body[21..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_full_body_has_no_padding_and_no_room() {
        let data = [1; MAX_DATA];
        let mut body = [0; BODY_LEN];
        let mut writer = BodyWriter::new(&mut body);
        writer.push(&message(Kind::Data, &data)).unwrap();
        assert_eq!(writer.room(), None);
        assert_eq!(writer.push(&message(Kind::Data, &[1])), Err(CellError::Full));
        let all: Vec<_> = Messages::new(&body).collect();
        assert_eq!(all, [Ok(message(Kind::Data, &data))]);
    }

    #[test]
    fn padding_is_zero_to_the_end() {
        let mut body = [0; BODY_LEN];
        assert_eq!(Messages::new(&body).next(), None);
        BodyWriter::new(&mut body).push(&message(Kind::Data, &[1; 100])).unwrap();
        for at in MESSAGE_HEADER_LEN + 101..BODY_LEN {
            let mut bad = body;
            bad[at] = 1;
            let mut messages = Messages::new(&bad);
            messages.next().unwrap().unwrap();
            assert_eq!(messages.next(), Some(Err(CellError::Padding)));
            assert_eq!(messages.next(), None);
        }
    }

    #[test]
    fn fewer_than_nine_bytes_left_must_be_zero() {
        let data = [1; MAX_DATA - 8];
        let mut body = [0; BODY_LEN];
        BodyWriter::new(&mut body).push(&message(Kind::Data, &data)).unwrap();
        assert_eq!(Messages::new(&body).count(), 1);
        body[BODY_LEN - 8] = Kind::Data as u8;
        assert_eq!(Messages::new(&body).nth(1), Some(Err(CellError::Padding)));
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        let mut body = [0; BODY_LEN];
        BodyWriter::new(&mut body).push(&message(Kind::Data, &[])).unwrap();
        assert_eq!(first(&body), Err(CellError::EmptyData));
        for number in 11..=255u8 {
            body[0] = number;
            let expected = match Kind::try_from(number) {
                Err(_) => CellError::UnknownKind(number),
                Ok(kind) if kind.is_built() => continue,
                Ok(kind) => CellError::NotBuilt(kind),
            };
            assert_eq!(first(&body), Err(expected));
        }
        let mut body = [0; BODY_LEN];
        BodyWriter::new(&mut body)
            .push(&Message {
                more: true,
                ..message(Kind::Data, &[1])
            })
            .unwrap();
        assert_eq!(first(&body), Err(CellError::NotFragmentable { kind: Kind::Data }));
        let mut body = [0; BODY_LEN];
        BodyWriter::new(&mut body).push(&message(Kind::End, &[1, 2])).unwrap();
        assert_eq!(first(&body), Err(CellError::TooLong { kind: Kind::End }));
        let mut body = [0; BODY_LEN];
        BodyWriter::new(&mut body).push(&message(Kind::Extended, &[1])).unwrap();
        (body[7], body[8]) = (0x84, 0x34);
        assert_eq!(first(&body), Err(CellError::Truncated));
    }
}
