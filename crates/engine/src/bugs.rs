//! Panics: each is a bug of ours, which the program that loaded us survives. What was under way fails with `ErrorKind::Internal`
//! (guards see to it, where it happens), and every node tells of it with an event that names the line of the source.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, TryLockError};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::events::{Event, EventQueue, WeakQueue};
use crate::limits::BUGS_WAITING_MAX;
use crate::sync::lock;
use crate::task::Work;

/// Places of panics that were not told yet.
static WAITING: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ARRIVED: Notify = Notify::const_new();
/// The queues of all nodes of this process.
static QUEUES: Mutex<Vec<WeakQueue>> = Mutex::new(Vec::new());

/// From now on a panic of this library is an event of every node, and nothing on standard error, which is not ours. The hook is that of this
/// library alone: other libraries of the process have their own. A build that aborts keeps the hook that says why.
pub fn watch(runtime: &Handle) {
    static ONCE: Once = Once::new();
    if cfg!(panic = "unwind") {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(hook));
            drop(runtime.spawn(Box::pin(report()) as Work));
        });
    }
}

/// Tells this queue of bugs for as long as somebody holds it.
pub(crate) fn tell(events: &EventQueue) {
    let mut queues = lock(&QUEUES);
    queues.retain(|queue| queue.upgrade().is_some());
    queues.push(events.downgrade());
}

/// Runs wherever a panic happens, under whatever locks: it waits for none, and may not panic.
fn hook(info: &PanicHookInfo<'_>) {
    note(info.location().map_or_else(String::new, |at| place(at.file(), at.line())));
}

fn note(place: String) {
    let waiting = match WAITING.try_lock() {
        Ok(waiting) => Some(waiting),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(mut waiting) = waiting.filter(|waiting| waiting.len() < BUGS_WAITING_MAX) {
        waiting.push(place);
    }
    ARRIVED.notify_one();
}

/// The end of a path and the line: where a crate was built is nobody's business.
fn place(file: &str, line: u32) -> String {
    let mut parts: Vec<_> = file.rsplit(['/', '\\']).take(PLACE_PARTS).collect();
    parts.reverse();
    format!("{}:{line}", parts.join("/"))
}

/// `engine/src/driver.rs`, `quinn-proto-0.11.1/src/connection/mod.rs`: the crate and a file of it, as a rule.
const PLACE_PARTS: usize = 3;

async fn report() {
    loop {
        ARRIVED.notified().await;
        // One that panics again must not end this task.
        let _ = catch_unwind(AssertUnwindSafe(deliver));
    }
}

fn deliver() {
    let places = std::mem::take(&mut *lock(&WAITING));
    let queues: Vec<_> = {
        let queues = lock(&QUEUES);
        queues.iter().filter_map(WeakQueue::upgrade).collect()
    };
    for place in places {
        for queue in &queues {
            queue.push(Event::Bug { place: place.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_no_folder_of_a_machine() {
        assert_eq!(place("crates/engine/src/driver.rs", 7), "engine/src/driver.rs:7");
        assert_eq!(place("/a/b/registry/src/index/x-1.0/src/lib.rs", 1), "x-1.0/src/lib.rs:1");
        assert_eq!(place("C:\\a\\b\\x-1.0\\src\\lib.rs", 2), "x-1.0/src/lib.rs:2");
        assert_eq!(place("lib.rs", 3), "lib.rs:3");
    }

    #[test]
    fn every_queue_hears_of_a_bug_and_those_that_wait_are_bounded() {
        let (first, second) = (EventQueue::new(|| {}), EventQueue::new(|| {}));
        tell(&first);
        tell(&second);
        for _ in 0..BUGS_WAITING_MAX + 3 {
            note("here".to_owned());
        }
        deliver();
        for queue in [&first, &second] {
            let told = queue.drain();
            let all = told.iter().all(|event| matches!(event, Event::Bug { place } if place == "here"));
            assert!(all);
            assert_eq!(told.len(), BUGS_WAITING_MAX);
        }
        drop(first);
        tell(&second);
        let gone = lock(&QUEUES).iter().filter(|queue| queue.upgrade().is_none()).count();
        assert_eq!(gone, 0);
    }
}
