//! The system's randomness: the transport is part of the shell, so it may ask for it.

use std::time::Duration;

use crate::error::TransportError;

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], TransportError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| TransportError::Internal("randomness"))?;
    Ok(bytes)
}

/// `base` and between nothing and `spread` more.
pub(crate) fn jitter(base: Duration, spread: Duration) -> Duration {
    // Without randomness there is no jitter; nothing secret depends on it.
    let share = bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX));
    base + spread.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn jitter_stays_in_its_range_and_varies() {
        let draws: Vec<_> = (0..64)
            .map(|_| super::jitter(Duration::from_secs(12), Duration::from_secs(6)))
            .collect();
        assert!(
            draws
                .iter()
                .all(|draw| (Duration::from_secs(12)..=Duration::from_secs(18)).contains(draw))
        );
        assert!(draws.iter().any(|draw| draw != &draws[0]));
    }
}
