//! What comes to a service and waits for its program: introductions, and streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anonnet_cells::EndReason;
use anonnet_crypto::service::Introduction;
use tokio::time::Instant;

use crate::limits::{INCOMING_TIMEOUT, INCOMING_WAITING_MAX, INTRODUCTION_TIMEOUT, INTRODUCTIONS_WAITING_MAX};
use crate::pipe::StreamHandle;
use crate::sync::lock;
use crate::task::spawn;

struct Waiting {
    circuit: u32,
    since: Instant,
    introduction: Box<Introduction>,
}

/// Introductions that the program has not answered yet, by number.
#[derive(Default)]
pub(crate) struct Introductions(HashMap<u32, Waiting>);

impl Introductions {
    /// `false` where as many of that circuit wait as may: one service's flood is not another one's.
    pub(crate) fn insert(&mut self, request: u32, circuit: u32, introduction: Box<Introduction>) -> bool {
        self.0.retain(|_, waiting| waiting.since.elapsed() < INTRODUCTION_TIMEOUT);
        if self.0.values().filter(|waiting| waiting.circuit == circuit).count() >= INTRODUCTIONS_WAITING_MAX {
            return false;
        }
        let waiting = Waiting {
            circuit,
            since: Instant::now(),
            introduction,
        };
        self.0.insert(request, waiting);
        true
    }

    pub(crate) fn take(&mut self, request: u32) -> Option<Box<Introduction>> {
        let waiting = self.0.remove(&request)?;
        (waiting.since.elapsed() < INTRODUCTION_TIMEOUT).then_some(waiting.introduction)
    }
}

/// Streams that the program has not answered yet, by number.
#[derive(Clone, Default)]
pub(crate) struct Incoming(Arc<Mutex<HashMap<u32, StreamHandle>>>);

impl Incoming {
    /// `false`, and the stream is refused, where as many wait as may. One that waits for too long is refused later.
    pub(crate) fn insert(&self, stream: u32, handle: StreamHandle) -> bool {
        {
            let mut waiting = lock(&self.0);
            if waiting.len() >= INCOMING_WAITING_MAX {
                handle.reset(EndReason::Limit);
                return false;
            }
            waiting.insert(stream, handle);
        }
        let weak = Arc::downgrade(&self.0);
        // On the runtime of whoever serves the circuit.
        spawn(async move {
            tokio::time::sleep(INCOMING_TIMEOUT).await;
            let late = weak.upgrade().and_then(|waiting| lock(&waiting).remove(&stream));
            if let Some(handle) = late {
                handle.reset(EndReason::Timeout);
            }
        });
        true
    }

    pub(crate) fn take(&self, stream: u32) -> Option<StreamHandle> {
        lock(&self.0).remove(&stream)
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}
