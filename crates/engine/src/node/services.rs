//! `.anon` services: what TypeScript commands of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anonnet_crypto::service::{POW_EFFORT_MAX, Pow, ServiceEntry};
use anonnet_errors::{ErrorKind, HasKind};
use rand_core::Rng;

use super::Node;
use crate::events::{OpId, OpValue};
use crate::rng::os_rng;

/// What a client knows of an introduction point.
pub type IntroduceTo = ServiceEntry;

/// Tells a thread that nobody waits for it any more.
struct Given(Arc<AtomicBool>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// Solves a service's puzzle on a thread of its own; the nonce's 16 bytes come with the operation.
    pub fn pow_solve(&self, op: OpId, seed: [u8; 32], blinded: [u8; 32], effort: u32) -> Result<(), ErrorKind> {
        self.check_open()?;
        if effort > POW_EFFORT_MAX {
            return Err(ErrorKind::InvalidArgument);
        }
        let mut pow = Pow::new(&seed, &blinded, effort).map_err(|error| error.kind())?;
        let inner = Arc::clone(&self.inner);
        self.inner.operations.start(op, async move {
            let turn = inner.solvers.acquire().await.map_err(|_| ErrorKind::Closed)?;
            let given_up = Arc::new(AtomicBool::new(false));
            let given = Given(Arc::clone(&given_up));
            let solving = tokio::task::spawn_blocking(move || {
                let mut start = [0; 16];
                os_rng().fill_bytes(&mut start);
                let mut number = u128::from_be_bytes(start);
                while !given_up.load(Ordering::Relaxed) {
                    let nonce = number.to_be_bytes();
                    if pow.check(&nonce) {
                        return Some(nonce);
                    }
                    number = number.wrapping_add(1);
                }
                None
            });
            let nonce = solving.await.ok().flatten().ok_or(ErrorKind::Internal)?;
            drop((given, turn));
            Ok(OpValue {
                bytes: Some(nonce.to_vec()),
                ..OpValue::default()
            })
        })
    }

    pub fn establish_rendezvous(&self, _: OpId, _: u32, _: [u8; 20], _: Duration) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn introduce(&self, _: OpId, _: u32, _: u32, _: IntroduceTo, _: Vec<u8>, _: Duration) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn await_rendezvous(&self, _: OpId, _: u32, _: Duration) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn establish_intro(&self, _: OpId, _: u32, _: Duration) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn set_intro_subcredentials(&self, _: u32, _: Vec<[u8; 32]>) -> Result<bool, ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn accept_rendezvous(&self, _: OpId, _: u32, _: u32, _: [u8; 20], _: Duration) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn drop_introduction(&self, _: u32) -> bool {
        false
    }
    pub fn accept_stream(&self, _: u32) -> bool {
        false
    }
    pub fn forward_stream(&self, _: OpId, _: u32, _: SocketAddr) -> Result<(), ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
    pub fn refuse_stream(&self, _: u32, _: ErrorKind) -> bool {
        false
    }
}
