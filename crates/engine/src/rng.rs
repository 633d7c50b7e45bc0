//! The operating system's randomness, in the shape that the crates below take it.

use getrandom::SysRng;
use rand_core::UnwrapErr;

/// Every call asks the system, so that a fork or a snapshot of the process never repeats a value.
pub(crate) type OsRng = UnwrapErr<SysRng>;

pub(crate) fn os_rng() -> OsRng {
    UnwrapErr(SysRng)
}
