//! Cells and the messages in them (section 4 of the protocol): sizes, numbers, and codecs that refuse whatever is not exactly right.
//!
//! Nothing here keeps a clock, a key or a socket. Reading borrows from the cell, writing fills the cell in place; the only
//! allocations are those of a handshake or an EXTEND that spans two cells.

#![forbid(unsafe_code)]

mod end;
mod error;
mod extend;
mod fragment;
mod kind;
mod layout;
mod message;
mod reassembly;
mod resolved;
mod service;
mod target;
mod window;

pub use end::EndReason;
pub use error::CellError;
pub use extend::{EXTEND_PREFIX_MAX, Extend};
pub use fragment::{Assembler, FRAGMENT_HEADER_LEN, MAX_FRAGMENT, MAX_HANDSHAKE, write_fragments};
pub use kind::{Command, Kind};
pub use layout::{BODY_LEN, Body, CELL_HEADER_LEN, CELL_LEN, Cell, CellParts, TAG_LEN, TEARDOWN_CODE, append, cells, split};
pub use message::{BodyWriter, MAX_DATA, MESSAGE_HEADER_LEN, Message, Messages};
pub use reassembly::Reassembly;
pub use resolved::{MAX_RESOLVED_ADDRESSES, MAX_RESOLVED_LEN, Resolved, write_resolved};
pub use service::{
    COOKIE_LEN, Cookie, ESTABLISH_INTRO_LEN, INTRODUCE1_LEN, INTRODUCE2_LEN, IntroduceStatus, RENDEZVOUS1_LEN, RENDEZVOUS2_LEN,
    read_cookie, read_introduce1, read_rendezvous1,
};
pub use target::{Host, MAX_NAME_LEN, MAX_TARGET_LEN, Target, check_name};
pub use window::{WINDOW_LEN, read_window};
