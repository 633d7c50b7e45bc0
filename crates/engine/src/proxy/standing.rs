//! Answers that stand: what TypeScript decided for a question holds for the same question until its time is over or it is withdrawn, so that
//! a client that asks again waits for no crossing between Rust and JavaScript.
//!
//! The same question is the same in everything that a decision may look at: listener, client, user and password (the isolation key), and the
//! target as a whole. So an answer can neither join what is to be apart nor pass a rule on names or ports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::client::{CircuitHandle, Circuits};
use crate::limits::{STANDING_ANSWERS_MAX, STANDING_QUESTION_MAX_BYTES};
use crate::sync::lock;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) listener: u32,
    pub(crate) client: IpAddr,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) resolve: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Question {
    fn bytes(&self) -> usize {
        let length = |text: &Option<Vec<u8>>| text.as_ref().map_or(0, Vec::len);
        length(&self.user) + length(&self.password) + self.host.len()
    }
}

/// For how long an answer stands, and how many streams its circuit may have before it is asked for again.
#[derive(Clone, Copy, Debug)]
pub struct Stands {
    pub time: Duration,
    pub streams: u32,
}

/// An answer as it came from TypeScript. `since` tells whether anything was withdrawn meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    stands: Stands,
    since: u64,
}

struct Standing {
    circuit: u32,
    until: Instant,
    streams: u32,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<Question, Standing>,
    withdrawals: u64,
}

#[derive(Default)]
pub(crate) struct Answers {
    inner: Mutex<Inner>,
    circuits: Circuits,
}

impl Answers {
    pub(crate) fn new(circuits: Circuits) -> Self {
        Self {
            inner: Mutex::default(),
            circuits,
        }
    }

    /// What [`learn`](Self::learn) takes, for an answer that is given now.
    pub(crate) fn offer(&self, stands: Stands) -> Offer {
        Offer {
            stands,
            since: lock(&self.inner).withdrawals,
        }
    }

    /// Keeps an answer that has proved itself, unless anything was withdrawn since it was given.
    pub(crate) fn learn(&self, question: &Question, circuit: u32, offer: Offer) {
        let mut inner = lock(&self.inner);
        if inner.withdrawals != offer.since || question.bytes() > STANDING_QUESTION_MAX_BYTES {
            return;
        }
        let now = Instant::now();
        if inner.answers.len() >= STANDING_ANSWERS_MAX && !inner.answers.contains_key(question) {
            inner.answers.retain(|_, answer| answer.until > now);
            if inner.answers.len() >= STANDING_ANSWERS_MAX {
                return;
            }
        }
        let Stands { time, streams } = offer.stands;
        let Some(until) = now.checked_add(time) else { return };
        inner.answers.insert(question.clone(), Standing { circuit, until, streams });
    }

    /// The circuit of an answer that stands.
    pub(crate) fn find(&self, question: &Question) -> Option<(u32, CircuitHandle)> {
        let mut inner = lock(&self.inner);
        let (circuit, streams, until) = inner
            .answers
            .get(question)
            .map(|answer| (answer.circuit, answer.streams, answer.until))?;
        let handle = lock(&self.circuits).get(&circuit).cloned();
        let stands = until > Instant::now() && handle.is_some();
        if !stands {
            inner.answers.remove(question);
            return None;
        }
        handle
            .filter(|handle| handle.traffic.streams.load(std::sync::atomic::Ordering::Relaxed) < u64::from(streams))
            .map(|handle| (circuit, handle))
    }

    /// Takes back what stands for a circuit, or everything.
    pub(crate) fn withdraw(&self, circuit: Option<u32>) {
        let mut inner = lock(&self.inner);
        inner.withdrawals += 1;
        inner
            .answers
            .retain(|_, answer| circuit.is_some_and(|circuit| answer.circuit != circuit));
    }

    /// Takes back what stands for a listener's clients.
    pub(crate) fn close(&self, listener: u32) {
        let mut inner = lock(&self.inner);
        inner.withdrawals += 1;
        inner.answers.retain(|question, _| question.listener != listener);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        lock(&self.inner).answers.len()
    }
}
