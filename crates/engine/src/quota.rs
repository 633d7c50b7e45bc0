//! What a relay holds for all its circuits together, and which of them goes where that is too much: the one that has been paused longest.
//!
//! Each circuit has an [`Account`]; each place in it where bytes wait for somebody has a [`Hold`]: a direction of a pump, what a last hop has
//! for its link, and each direction of an exit stream. Charging is three additions, once a run of cells or once a pause and never once a
//! cell. A lock is taken where a hold pauses for the first time, and where the quota is exceeded.
//!
//! A pause begins where bytes are not taken, and is over when all that waited at its beginning is gone: who takes a byte now and then is
//! paused all the while. Pauses are numbered, so that no clock has to be read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

use crate::pipe::Pipe;
use crate::sync::lock;

/// Weak references to what lives elsewhere; at most half of them dead, but for a few.
struct WeakList<T> {
    items: Vec<Weak<T>>,
    prune_at: usize,
}

impl<T> WeakList<T> {
    const LEAST: usize = 16;

    const fn new() -> Self {
        Self {
            items: Vec::new(),
            prune_at: Self::LEAST,
        }
    }

    fn push(&mut self, item: &Arc<T>) {
        if self.items.len() >= self.prune_at {
            self.items.retain(|item| item.strong_count() > 0);
            self.prune_at = (2 * self.items.len()).max(Self::LEAST);
        }
        self.items.push(Arc::downgrade(item));
    }
}

/// The quota of a relay.
pub(crate) struct Quota {
    limit: usize,
    used: AtomicUsize,
    /// The number of the next pause.
    next: AtomicU64,
    paused: Mutex<Paused>,
}

struct Paused {
    /// Every hold that was ever paused.
    holds: WeakList<Hold>,
    /// Pauses as they were found last, the longest first. What pauses later comes after them.
    line: VecDeque<(u64, Weak<Hold>)>,
}

impl Paused {
    /// Takes the account out of which somebody has been paused longest. A pause of the line counts if it is still the same one.
    fn longest(&mut self) -> Option<Arc<Account>> {
        let mut looked = false;
        loop {
            while let Some((pause, hold)) = self.line.pop_front() {
                if let Some(hold) = hold.upgrade().filter(|hold| hold.pause_number() == Some(pause)) {
                    return Some(Arc::clone(&hold.account));
                }
            }
            if std::mem::replace(&mut looked, true) {
                return None;
            }
            let holds = self.holds.items.iter();
            let mut line: Vec<_> = holds
                .filter_map(|weak| Some((weak.upgrade()?.pause_number()?, Weak::clone(weak))))
                .collect();
            line.sort_unstable_by_key(|(pause, _)| *pause);
            self.line = line.into();
        }
    }
}

impl Quota {
    /// `limit`: bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            paused: Mutex::new(Paused {
                holds: WeakList::new(),
                line: VecDeque::new(),
            }),
        })
    }

    /// The account of a new circuit.
    pub(crate) fn account(self: &Arc<Self>) -> Arc<Account> {
        Arc::new(Account {
            quota: Arc::clone(self),
            held: AtomicUsize::new(0),
            reset: AtomicBool::new(false),
            waker: Mutex::new(None),
            draining: Mutex::new(WeakList::new()),
        })
    }

    /// Bytes that are held, but for what circuits hold that were just reset.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Resets circuits until the rest fits.
    #[cold]
    fn relieve(&self) {
        let mut over = Vec::new();
        {
            let mut paused = lock(&self.paused);
            while self.is_exceeded() {
                let Some(account) = paused.longest() else { break };
                account.close();
                over.push(account);
            }
        }
        for account in over {
            account.end();
        }
    }
}

/// Takes up to `count` off, and says how much that was.
fn take(from: &AtomicUsize, count: usize) -> usize {
    let before = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(count)));
    before.unwrap_or_default().min(count)
}

/// What one circuit holds. It lives as long as anything of the circuit does.
pub(crate) struct Account {
    quota: Arc<Quota>,
    held: AtomicUsize,
    reset: AtomicBool,
    /// The circuit's task.
    waker: Mutex<Option<Waker>>,
    /// Streams that are over for the circuit, while their targets still have bytes to take.
    draining: Mutex<WeakList<Pipe>>,
}

impl Account {
    /// Until the circuit has to go. For the circuit's task.
    pub(crate) fn reset(&self) -> impl Future<Output = ()> {
        let mut known: Option<Waker> = None;
        std::future::poll_fn(move |cx| {
            if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *lock(&self.waker) = Some(cx.waker().clone());
                known = Some(cx.waker().clone());
            }
            if self.is_reset() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// Counts nothing of this circuit any more.
    fn close(&self) {
        self.reset.store(true, Ordering::Release);
        self.give_back();
    }

    fn give_back(&self) {
        let held = self.held.swap(0, Ordering::Relaxed);
        self.quota.used.fetch_sub(held, Ordering::Relaxed);
    }

    fn end(&self) {
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
        let draining = std::mem::take(&mut lock(&self.draining).items);
        for pipe in draining.iter().filter_map(Weak::upgrade) {
            pipe.break_off();
        }
    }

    /// Remembers a stream that is over for the circuit and not for its target.
    pub(crate) fn drains(&self, pipe: &Arc<Pipe>) {
        lock(&self.draining).push(pipe);
        if self.is_reset() {
            pipe.break_off();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A place of a circuit where bytes wait.
pub(crate) struct Hold {
    account: Arc<Account>,
    held: AtomicUsize,
    /// The number of its pause, 0 for none.
    pause: AtomicU64,
    /// Bytes that are still to go until the pause is over.
    left: AtomicUsize,
    /// Whether the quota knows it.
    known: AtomicBool,
}

impl Hold {
    pub(crate) fn new(account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            held: AtomicUsize::new(0),
            pause: AtomicU64::new(0),
            left: AtomicUsize::new(0),
            known: AtomicBool::new(false),
        })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn pause_number(&self) -> Option<u64> {
        let pause = self.pause.load(Ordering::Relaxed);
        (pause != 0 && self.held() > 0 && !self.account.is_reset()).then_some(pause)
    }

    /// `count` more bytes wait. Call before anybody can take them.
    pub(crate) fn charge(&self, count: usize) {
        let Account { quota, held, .. } = &*self.account;
        if self.account.is_reset() {
            return;
        }
        quota.used.fetch_add(count, Ordering::Relaxed);
        held.fetch_add(count, Ordering::Relaxed);
        self.held.fetch_add(count, Ordering::Relaxed);
        if quota.is_exceeded() {
            quota.relieve();
        }
    }

    /// `count` bytes were taken.
    pub(crate) fn release(&self, count: usize) {
        if count == 0 || self.held() == 0 {
            return;
        }
        let Account { quota, held, .. } = &*self.account;
        let own = take(&self.held, count);
        quota.used.fetch_sub(take(held, own), Ordering::Relaxed);
        if self.pause.load(Ordering::Relaxed) != 0 {
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(count), Ordering::Relaxed);
            if left <= count || self.held() == 0 {
                self.pause.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Nothing waits any more.
    pub(crate) fn clear(&self) {
        self.release(self.held());
    }

    /// What waits is not taken.
    pub(crate) fn pause(self: &Arc<Self>) {
        let held = self.held();
        if held == 0 || self.pause.load(Ordering::Relaxed) != 0 {
            return;
        }
        let quota = &self.account.quota;
        self.left.store(held, Ordering::Relaxed);
        self.pause.store(quota.next.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if !self.known.swap(true, Ordering::Relaxed) {
            lock(&quota.paused).holds.push(self);
        }
        if quota.is_exceeded() {
            quota.relieve();
        }
    }

    /// So many bytes wait in all, and are not taken.
    pub(crate) fn block(self: &Arc<Self>, waiting: usize) {
        let more = waiting.saturating_sub(self.held());
        if more > 0 {
            self.charge(more);
        }
        self.pause();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = take(&self.account.held, self.held());
        self.account.quota.used.fetch_sub(held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
