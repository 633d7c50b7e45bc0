//! Handshakes in CREATE and CREATED cells: `total u16 | offset u16 | bytes`, tag zero, the first cells of a stream, in order.

use crate::error::CellError;
use crate::kind::Command;
use crate::layout::{BODY_LEN, CELL_HEADER_LEN, CELL_LEN, append};
use crate::message::MAX_DATA;

/// Bytes before those of the handshake in each cell.
pub const FRAGMENT_HEADER_LEN: usize = 4;
/// The most handshake bytes one cell carries.
pub const MAX_FRAGMENT: usize = BODY_LEN - FRAGMENT_HEADER_LEN;
/// The longest handshake in bytes: what fits, beside node id and address, into the two cells of an EXTEND.
pub const MAX_HANDSHAKE: usize = 2 * MAX_DATA - crate::extend::EXTEND_PREFIX_MAX;

/// Appends the cells of one handshake message. [`CellError::HandshakeLength`] when it is empty or longer than [`MAX_HANDSHAKE`].
pub fn write_fragments(command: Command, handshake: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let total = checked_total(handshake.len())?;
    let mut offset = 0u16;
    for part in handshake.chunks(MAX_FRAGMENT) {
        append(out, command, |_, body| {
            let (head, bytes) = body.split_first_chunk_mut::<FRAGMENT_HEADER_LEN>().ok_or(CellError::Full)?;
            let ([t1, t0], [o1, o0]) = (total.to_be_bytes(), offset.to_be_bytes());
            *head = [t1, t0, o1, o0];
            bytes.get_mut(..part.len()).ok_or(CellError::Full)?.copy_from_slice(part);
            Ok::<(), CellError>(())
        })?;
        // Bounded by `total`, which is a u16.
        offset = offset.wrapping_add(part.len() as u16);
    }
    Ok(())
}

fn checked_total(len: usize) -> Result<u16, CellError> {
    match u16::try_from(len) {
        Ok(total) if len != 0 && len <= MAX_HANDSHAKE => Ok(total),
        _ => Err(CellError::HandshakeLength { len }),
    }
}

/// Joins the cells of one handshake message; holds at most [`MAX_HANDSHAKE`] bytes.
#[derive(Debug)]
pub struct Assembler {
    command: Command,
    total: usize,
    bytes: Vec<u8>,
    done: bool,
}

impl Assembler {
    /// For CREATE (at a relay) or CREATED (at whoever sent CREATE).
    pub const fn new(command: Command) -> Self {
        Self {
            command,
            total: 0,
            bytes: Vec::new(),
            done: false,
        }
    }

    /// Takes whole cells as they come. `Some` once, when the handshake is complete; anything that is not exactly the next
    /// cell of it is an error, and so is a cell after the last.
    pub fn receive(&mut self, run: &[u8]) -> Result<Option<Vec<u8>>, CellError> {
        let (cells, []) = run.as_chunks::<CELL_LEN>() else {
            return Err(CellError::Length { len: run.len() });
        };
        let mut complete = None;
        for cell in cells {
            if self.done {
                return Err(CellError::Extra);
            }
            complete = self.cell(cell)?;
        }
        Ok(complete)
    }

    fn cell(&mut self, cell: &[u8; CELL_LEN]) -> Result<Option<Vec<u8>>, CellError> {
        let (&[command, r1, r2, r3], rest) = cell.split_first_chunk::<CELL_HEADER_LEN>().ok_or(CellError::Truncated)?;
        let (tag, body) = rest.split_first_chunk::<{ crate::TAG_LEN }>().ok_or(CellError::Truncated)?;
        let (&[t1, t0, o1, o0], bytes) = body.split_first_chunk::<FRAGMENT_HEADER_LEN>().ok_or(CellError::Truncated)?;
        let command = Command::try_from(command)?;
        if command != self.command {
            return Err(CellError::WrongCommand(command));
        }
        if r1 | r2 | r3 != 0 {
            return Err(CellError::Reserved);
        }
        if tag.iter().any(|byte| *byte != 0) {
            return Err(CellError::Tag);
        }
        let total = usize::from(checked_total(usize::from(u16::from_be_bytes([t1, t0])))?);
        let offset = usize::from(u16::from_be_bytes([o1, o0]));
        if offset != self.bytes.len() || (offset != 0 && total != self.total) {
            return Err(CellError::Fragment);
        }
        // The length of a part is not on the wire: each cell but the last is full.
        let (part, padding) = bytes
            .split_at_checked((total - offset).min(MAX_FRAGMENT))
            .ok_or(CellError::Truncated)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(CellError::Padding);
        }
        self.total = total;
        self.bytes.extend_from_slice(part);
        if self.bytes.len() < total {
            return Ok(None);
        }
        self.done = true;
        Ok(Some(core::mem::take(&mut self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembler, MAX_FRAGMENT, MAX_HANDSHAKE, write_fragments};
    use crate::{CELL_LEN, CellError, Command};

    fn written(len: usize) -> (Vec<u8>, Vec<u8>) {
        let handshake: Vec<u8> = (0..len).map(|i| i as u8 | 1).collect();
        let mut out = Vec::new();
        write_fragments(Command::Create, &handshake, &mut out).unwrap();
        (handshake, out)
    }

    #[test]
    fn goes_there_and_back_whole_or_cell_by_cell() {
        for len in [1, MAX_FRAGMENT - 1, MAX_FRAGMENT, MAX_FRAGMENT + 1, MAX_HANDSHAKE] {
            let (handshake, out) = written(len);
            assert_eq!(out.len(), len.div_ceil(MAX_FRAGMENT) * CELL_LEN);
            assert_eq!(Assembler::new(Command::Create).receive(&out), Ok(Some(handshake.clone())));
            let mut assembler = Assembler::new(Command::Create);
            let last = out.chunks(CELL_LEN).map(|cell| assembler.receive(cell).unwrap()).last().unwrap();
            assert_eq!(last, Some(handshake));
            assert_eq!(assembler.receive(&out[..CELL_LEN]), Err(CellError::Extra));
        }
    }

    #[test]
    fn lengths_are_bounded_both_ways() {
        let mut out = Vec::new();
        for len in [0, MAX_HANDSHAKE + 1, 70_000] {
            assert_eq!(
                write_fragments(Command::Create, &vec![0; len], &mut out),
                Err(CellError::HandshakeLength { len })
            );
        }
        let (_, mut cell) = written(1);
        for total in [0, MAX_HANDSHAKE + 1, 65_535] {
            cell[20..22].copy_from_slice(&(total as u16).to_be_bytes());
            assert_eq!(
                Assembler::new(Command::Create).receive(&cell),
                Err(CellError::HandshakeLength { len: total })
            );
        }
    }

    #[test]
    fn each_thing_that_is_not_the_next_cell_is_refused() {
        let (_, good) = written(1500);
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut run = good.clone();
            change(&mut run);
            Assembler::new(Command::Create).receive(&run).unwrap_err()
        };
        assert_eq!(refused(&|run| run[0] = 1), CellError::WrongCommand(Command::Relay));
        assert_eq!(refused(&|run| run[0] = 9), CellError::UnknownCommand(9));
        assert_eq!(refused(&|run| run[2] = 1), CellError::Reserved);
        assert_eq!(refused(&|run| run[4] = 1), CellError::Tag);
        assert_eq!(refused(&|run| run[23] = 1), CellError::Fragment);
        assert_eq!(refused(&|run| run.rotate_left(CELL_LEN)), CellError::Fragment);
        assert_eq!(refused(&|run| run[CELL_LEN + 21] ^= 1), CellError::Fragment);
        assert_eq!(refused(&|run| run[2 * CELL_LEN - 1] = 1), CellError::Padding);
        assert_eq!(refused(&|run| run.extend_from_within(..CELL_LEN)), CellError::Extra);
        assert_eq!(refused(&|run| run.truncate(CELL_LEN + 1)), CellError::Length { len: CELL_LEN + 1 });
    }
}
