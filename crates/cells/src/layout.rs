//! Where things are in a cell: `command u8 | reserved[3] = 0 | tag[16] | body[1084]`.

use crate::error::CellError;
use crate::kind::Command;

/// Bytes of a cell on the wire.
pub const CELL_LEN: usize = 1104;
/// Bytes of the command and the reserved bytes.
pub const CELL_HEADER_LEN: usize = 4;
/// Bytes of the tag.
pub const TAG_LEN: usize = 16;
/// Bytes of the body.
pub const BODY_LEN: usize = CELL_LEN - CELL_HEADER_LEN - TAG_LEN;
/// The one code that a circuit's stream is reset and stopped with, whatever the reason: it must tell nothing.
pub const TEARDOWN_CODE: u32 = 0;

/// A whole cell.
pub type Cell = [u8; CELL_LEN];
/// The body of a cell.
pub type Body = [u8; BODY_LEN];

/// A cell taken apart in place.
#[derive(Debug)]
pub struct CellParts<'a> {
    /// The command.
    pub command: Command,
    /// The tag.
    pub tag: &'a mut [u8; TAG_LEN],
    /// The body.
    pub body: &'a mut Body,
}

/// The cells of a run. [`CellError::Length`] unless it is a whole number of them.
pub fn cells(run: &mut [u8]) -> Result<&mut [Cell], CellError> {
    let len = run.len();
    match run.as_chunks_mut::<CELL_LEN>() {
        (cells, []) => Ok(cells),
        _ => Err(CellError::Length { len }),
    }
}

/// Takes a cell apart. The command must exist and the reserved bytes must be zero.
#[inline]
pub fn split(cell: &mut Cell) -> Result<CellParts<'_>, CellError> {
    let (&mut [command, r1, r2, r3], rest) = cell.split_first_chunk_mut::<CELL_HEADER_LEN>().ok_or(CellError::Truncated)?;
    let (tag, rest) = rest.split_first_chunk_mut::<TAG_LEN>().ok_or(CellError::Truncated)?;
    let body = rest.first_chunk_mut::<BODY_LEN>().ok_or(CellError::Truncated)?;
    if r1 | r2 | r3 != 0 {
        return Err(CellError::Reserved);
    }
    Ok(CellParts {
        command: Command::try_from(command)?,
        tag,
        body,
    })
}

/// Appends one zeroed cell with that command to `out` and hands its tag and body to `fill`. On an error nothing is appended.
#[inline]
pub fn append<T, E: From<CellError>>(
    out: &mut Vec<u8>,
    command: Command,
    fill: impl FnOnce(&mut [u8; TAG_LEN], &mut Body) -> Result<T, E>,
) -> Result<T, E> {
    let start = out.len();
    out.resize(start + CELL_LEN, 0);
    let result = match out.last_chunk_mut::<CELL_LEN>() {
        Some(cell) => {
            if let Some(first) = cell.first_mut() {
                *first = command as u8;
            }
            split(cell).map_err(E::from).and_then(|parts| fill(parts.tag, parts.body))
        }
        None => Err(CellError::Full.into()),
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{BODY_LEN, CELL_LEN, append, cells, split};
    use crate::{CellError, Command};

    #[test]
    fn sizes_are_those_of_the_protocol() {
        assert_eq!((CELL_LEN, BODY_LEN), (1104, 1084));
    }

    #[test]
    fn a_run_is_whole_cells_or_refused() {
        let mut run = vec![0; 3 * CELL_LEN];
        assert_eq!(cells(&mut run).unwrap().len(), 3);
        assert_eq!(cells(&mut run[..CELL_LEN + 1]), Err(CellError::Length { len: CELL_LEN + 1 }));
        assert_eq!(cells(&mut []).unwrap().len(), 0);
    }

    #[test]
    fn every_reserved_bit_and_unknown_command_is_refused() {
        let mut cell = [0; CELL_LEN];
        cell[0] = 1;
        assert!(split(&mut cell).is_ok());
        for bit in 0..24 {
            let mut bad = cell;
            bad[1 + bit / 8] |= 1 << (bit % 8);
            assert_eq!(split(&mut bad).unwrap_err(), CellError::Reserved);
        }
        for command in [0, 5, 255] {
            cell[0] = command;
            assert_eq!(split(&mut cell).unwrap_err(), CellError::UnknownCommand(command));
        }
    }

    #[test]
    fn an_append_that_fails_leaves_nothing() {
        let mut out = vec![7];
        append::<_, CellError>(&mut out, Command::Relay, |tag, body| {
            tag[0] = 1;
            body[0] = 2;
            Ok(())
        })
        .unwrap();
        assert_eq!((out.len(), out[1], out[5], out[21]), (1 + CELL_LEN, 1, 1, 2));
        append::<(), CellError>(&mut out, Command::Relay, |_, _| Err(CellError::Full)).unwrap_err();
        assert_eq!(out.len(), 1 + CELL_LEN);
    }
}
