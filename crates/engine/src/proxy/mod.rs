//! The proxies that ordinary programs speak to: SOCKS 4, 4a, 5 and HTTP on one port.

pub mod http;
mod http_session;
mod listener;
mod session;
pub mod socks;
mod socks_session;
mod standing;

pub(crate) use listener::listen;
pub(crate) use session::{Attach, Chosen};
pub(crate) use standing::Answers;
#[cfg(test)]
pub(crate) use standing::Question;
pub use standing::Stands;
