//! How long a request's body is.

use super::HttpError;

/// How a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes more.
    Length(u64),
    Chunked(ChunkScanner),
}

impl Body {
    /// How many of `bytes` belong to the body, and whether it is complete with them.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), HttpError> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok((taken, *left == 0))
            }
            Self::Chunked(scanner) => scanner.scan(bytes),
        }
    }
}

/// Finds the end of a chunked body without changing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkScanner {
    state: ChunkState,
    left: u64,
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    Data,
    DataEnd,
    Trailer,
}

/// Longest line between chunks, and longest trailer.
const CHUNK_LINE_MAX_BYTES: usize = 8192;

impl ChunkScanner {
    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), HttpError> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.state == ChunkState::Data {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += taken;
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataEnd;
                }
                continue;
            }
            at += 1;
            self.line_bytes += 1;
            if self.line_bytes > CHUNK_LINE_MAX_BYTES {
                return Err(HttpError::TooLarge);
            }
            if self.between(byte)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// One byte outside a chunk's data; `true` at the end of the body. `left` holds the size while a size line is read.
    fn between(&mut self, byte: u8) -> Result<bool, HttpError> {
        match (self.state, byte) {
            (ChunkState::Size | ChunkState::Extension, b'\n') => {
                if self.line_bytes == 1 {
                    return Err(HttpError::Malformed);
                }
                self.line_bytes = 0;
                self.state = if self.left == 0 { ChunkState::Trailer } else { ChunkState::Data };
            }
            (ChunkState::Size, b';' | b' ' | b'\t' | b'\r') => self.state = ChunkState::Extension,
            (ChunkState::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(HttpError::Malformed)?;
                self.left = self
                    .left
                    .checked_mul(16)
                    .and_then(|left| left.checked_add(u64::from(digit)))
                    .ok_or(HttpError::Malformed)?;
            }
            (ChunkState::DataEnd, b'\r') => {}
            (ChunkState::DataEnd, b'\n') => {
                self.line_bytes = 0;
                self.state = ChunkState::Size;
            }
            (ChunkState::DataEnd, _) => return Err(HttpError::Malformed),
            // The body ends with an empty line; `left` counts the bytes of the current trailer line, CR apart.
            (ChunkState::Trailer, b'\n') if self.left == 0 => return Ok(true),
            (ChunkState::Trailer, b'\n') => self.left = 0,
            (ChunkState::Trailer, b'\r') => {}
            (ChunkState::Trailer, _) => self.left += 1,
            (ChunkState::Extension | ChunkState::Data, _) => {}
        }
        Ok(false)
    }
}
