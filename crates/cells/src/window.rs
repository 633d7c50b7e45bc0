//! WINDOW: `offset u64`, absolute.

use crate::error::CellError;
use crate::kind::Kind;

/// Bytes of a WINDOW.
pub const WINDOW_LEN: usize = 8;

/// Reads the payload of a WINDOW: up to which offset the other side may send.
pub fn read_window(payload: &[u8]) -> Result<u64, CellError> {
    payload
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| CellError::Payload { kind: Kind::Window })
}

#[cfg(test)]
mod tests {
    use super::read_window;

    #[test]
    fn eight_bytes_and_no_other_number() {
        assert_eq!(read_window(&7u64.to_be_bytes()), Ok(7));
        for len in (0..20).filter(|len| *len != 8) {
            assert!(read_window(&vec![0; len]).is_err());
        }
    }
}
