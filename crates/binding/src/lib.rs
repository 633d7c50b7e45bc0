//! The addon: the only room where Rust and JavaScript meet. It translates; it decides nothing.

#![deny(clippy::all)]

mod bytes;
mod error;
mod event;
mod functions;
mod keys;
mod node;
mod options;
mod parts;
mod runtime;
mod service;
mod snapshot;
#[cfg(feature = "testing")]
mod testing;
