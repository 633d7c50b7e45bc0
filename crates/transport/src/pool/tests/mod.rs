//! The pool over a transport made of nothing: links are told what happens to them.

mod fake;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anonnet_crypto::keys::NodeId;
use tokio::time::{Instant, sleep};

use self::fake::{FakeLink, FakeTransport};
use super::{DownReason, LinkEvent, LinkPool, LinkState, PoolConfig};
use crate::{CloseReason, DialRole, Link, TransportError};

const OWN: NodeId = NodeId([5; 32]);
const LOW: NodeId = NodeId([1; 32]);
const HIGH: NodeId = NodeId([9; 32]);

fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

struct Setup {
    pool: LinkPool<FakeTransport>,
    transport: FakeTransport,
    events: Arc<Mutex<Vec<LinkEvent>>>,
}

fn setup(change: impl FnOnce(&mut PoolConfig)) -> Setup {
    let mut config = PoolConfig::node(OWN);
    change(&mut config);
    let transport = FakeTransport::default();
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    let pool = LinkPool::new(transport.clone(), config, move |event| log.lock().unwrap().push(event));
    Setup { pool, transport, events }
}

impl Setup {
    fn states(&self) -> Vec<LinkState> {
        self.events.lock().unwrap().iter().map(|event| event.state.clone()).collect()
    }

    async fn get(&self, node_id: NodeId) -> Result<FakeLink, TransportError> {
        self.pool.get(node_id, address(), DialRole::Node).await
    }
}

/// Lets spawned tasks run; the clock of these tests stands still.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_panics_fails_and_the_next_one_is_made() {
    let setup = setup(|_| {});
    setup.transport.panic_once();
    assert_eq!(setup.get(LOW).await.unwrap_err(), TransportError::Internal("dial"));
    assert!(setup.pool.is_empty());
    setup.get(LOW).await.unwrap();
    assert_eq!(setup.transport.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn concurrent_dials_are_one_and_the_link_is_reused() {
    let setup = setup(|_| {});
    setup.transport.dial_takes(Duration::from_millis(100));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let pool = setup.pool.clone();
                async move { pool.get(LOW, address(), DialRole::Node).await }
            })
        })
        .collect();
    settle().await;
    assert_eq!(setup.pool.len(), 1, "a dial counts");
    let mut ids = Vec::new();
    for task in waiting {
        ids.push(task.await.unwrap().unwrap().id());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(setup.get(LOW).await.unwrap().id(), ids[0]);
    assert_eq!(setup.transport.dials(), 1);
    assert_eq!(setup.states(), [LinkState::Connecting, LinkState::Up]);
    // Another role, another peer: other links.
    assert_ne!(setup.pool.get(LOW, address(), DialRole::Client).await.unwrap().id(), ids[0]);
    assert_ne!(setup.get(HIGH).await.unwrap().id(), ids[0]);
    assert_eq!((setup.transport.dials(), setup.pool.len(), setup.pool.links().len()), (3, 3, 3));
    assert!(format!("{:?}", setup.pool).contains("links: 3"));
    assert!(!setup.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_may_go_away() {
    let setup = setup(|_| {});
    setup.transport.dial_takes(Duration::from_millis(100));
    let first = tokio::spawn({
        let pool = setup.pool.clone();
        async move { pool.get(LOW, address(), DialRole::Node).await }
    });
    settle().await;
    first.abort();
    assert!(setup.get(LOW).await.is_ok());
    assert_eq!(setup.transport.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_may_be_overridden() {
    let setup = setup(|config| config.backoff_first = Duration::from_secs(1));
    setup.transport.fail(Some(TransportError::Unreachable));
    assert_eq!(setup.get(LOW).await.unwrap_err(), TransportError::Unreachable);
    let Err(TransportError::BackingOff { retry_in }) = setup.get(LOW).await else {
        panic!("no backoff")
    };
    assert!(
        retry_in <= Duration::from_secs(1) && retry_in > Duration::from_millis(400),
        "{retry_in:?}"
    );
    assert_eq!(setup.transport.dials(), 1);
    // Others are not concerned, nor is the other role.
    assert_eq!(setup.get(HIGH).await.unwrap_err(), TransportError::Unreachable);
    assert_eq!(setup.transport.dials(), 2);
    assert_eq!(
        setup.pool.get_now(LOW, address(), DialRole::Node).await.unwrap_err(),
        TransportError::Unreachable
    );
    assert_eq!(setup.transport.dials(), 3);
    sleep(Duration::from_secs(2)).await;
    setup.transport.fail(None);
    let link = setup.get(LOW).await.unwrap();
    // Success forgets: a link that ends is dialled again at once.
    link.end(CloseReason::Reset);
    settle().await;
    assert!(setup.get(LOW).await.is_ok());
    let failed = LinkState::Down(DownReason::Dial(TransportError::Unreachable));
    assert_eq!(setup.states().iter().filter(|state| **state == failed).count(), 3);
    assert!(setup.states().contains(&LinkState::Down(DownReason::Closed(CloseReason::Reset))));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_never_ends_is_given_up() {
    let setup = setup(|config| config.dial_deadline = Duration::from_secs(3));
    setup.transport.dial_takes(Duration::from_secs(3600));
    let start = Instant::now();
    assert_eq!(setup.get(LOW).await.unwrap_err(), TransportError::Unreachable);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert!(setup.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dead_links_are_forgotten_and_dialled_anew() {
    let setup = setup(|_| {});
    let first = setup.get(LOW).await.unwrap();
    first.end(CloseReason::Idle);
    // Even before the pool was told.
    let second = setup.get(LOW).await.unwrap();
    assert_ne!(first.id(), second.id());
    settle().await;
    assert_eq!(setup.pool.len(), 1);
    // One that is silent but not closed yet, with a circuit on it.
    second.hold_streams(2);
    setup.pool.discard(&second);
    let third = setup.get(LOW).await.unwrap();
    assert_ne!(third.id(), second.id());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(second.close_reason(), None, "its circuits go on");
    second.hold_streams(0);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(second.close_reason(), Some(CloseReason::Local));
    assert_eq!(third.close_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn of_crossed_links_the_one_dialled_by_the_lower_id_is_used() {
    for (peer, inbound_wins) in [(LOW, true), (HIGH, false)] {
        let setup = setup(|_| {});
        let ours = setup.get(peer).await.unwrap();
        let theirs = FakeLink::inbound_from(Some(peer));
        assert!(setup.pool.adopt(theirs.clone()));
        let expected = if inbound_wins { &theirs } else { &ours };
        assert_eq!(setup.get(peer).await.unwrap().id(), expected.id());
        assert_eq!(setup.pool.peek(peer, DialRole::Node).unwrap().id(), expected.id());
        // Both stay up; when the chosen one dies, the other serves.
        assert_eq!((ours.close_reason(), theirs.close_reason()), (None, None));
        expected.end(CloseReason::Idle);
        let other = if inbound_wins { &ours } else { &theirs };
        assert_eq!(setup.get(peer).await.unwrap().id(), other.id());
        assert_eq!(setup.transport.dials(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_comes_in_while_we_dial_serves_those_who_wait() {
    let setup = setup(|_| {});
    setup.transport.dial_takes(Duration::from_secs(2));
    let waiting = tokio::spawn({
        let pool = setup.pool.clone();
        async move { pool.get(LOW, address(), DialRole::Node).await }
    });
    settle().await;
    let theirs = FakeLink::inbound_from(Some(LOW));
    let start = Instant::now();
    assert!(setup.pool.adopt(theirs.clone()));
    assert_eq!(waiting.await.unwrap().unwrap().id(), theirs.id());
    assert!(start.elapsed() < Duration::from_secs(1));
    // A peer that came to us is not left alone any more.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(setup.get(LOW).await.unwrap().id(), theirs.id());
}

#[tokio::test(start_paused = true)]
async fn only_inbound_links_between_nodes_are_adopted() {
    let setup = setup(|_| {});
    assert!(!setup.pool.adopt(FakeLink::inbound_from(None)));
    assert!(!setup.pool.adopt(FakeLink::dialled(LOW, DialRole::Node)));
    assert!(setup.pool.is_empty());
    assert!(setup.pool.peek(LOW, DialRole::Node).is_none());
    let theirs = FakeLink::inbound_from(Some(LOW));
    assert!(setup.pool.adopt(theirs.clone()));
    assert_eq!(setup.get(LOW).await.unwrap().id(), theirs.id());
    assert_eq!(setup.transport.dials(), 0);
    let event = setup.events.lock().unwrap()[0].clone();
    assert_eq!(
        event,
        LinkEvent {
            node_id: LOW,
            role: DialRole::Node,
            inbound: true,
            state: LinkState::Up
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_keeps_a_few_links_only() {
    let setup = setup(|_| {});
    let links: Vec<_> = (0..10).map(|_| FakeLink::inbound_from(Some(LOW))).collect();
    for link in &links {
        assert!(setup.pool.adopt(link.clone()));
    }
    settle().await;
    assert_eq!(setup.pool.len(), super::table::MAX_LINKS_PER_PEER);
    assert_eq!(setup.get(LOW).await.unwrap().id(), links[9].id(), "the newest");
    assert_eq!(
        links.iter().filter(|link| link.close_reason().is_none()).count(),
        super::table::MAX_LINKS_PER_PEER
    );
}

#[tokio::test(start_paused = true)]
async fn idle_links_are_closed_after_a_while() {
    let setup = setup(|config| config.idle_after = Duration::from_secs(100));
    let (idle, busy) = (setup.get(LOW).await.unwrap(), setup.get(HIGH).await.unwrap());
    busy.hold_streams(2);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(idle.close_reason(), None);
    // Handing it out counts as use.
    setup.get(LOW).await.unwrap();
    sleep(Duration::from_secs(90)).await;
    assert_eq!(idle.close_reason(), None);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((idle.close_reason(), busy.close_reason()), (Some(CloseReason::Local), None));
    settle().await;
    assert_eq!(setup.pool.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_lets_an_idle_link_go_or_refuses() {
    let setup = setup(|config| config.max_links = 3);
    let node = |i: u8| NodeId([i; 32]);
    let mut links = Vec::new();
    for i in 1..=3 {
        let link = setup.get(node(i)).await.unwrap();
        link.hold_streams(if i == 2 { 0 } else { 2 });
        links.push(link);
    }
    let fourth = setup.get(node(4)).await.unwrap();
    fourth.hold_streams(2);
    assert_eq!(links[1].close_reason(), Some(CloseReason::Local));
    assert_eq!(setup.pool.len(), 3);
    assert_eq!(setup.get(node(6)).await.unwrap_err(), TransportError::Limit("links of the pool"));
    assert!(!setup.pool.adopt(FakeLink::inbound_from(Some(node(7)))));
    assert_eq!(setup.get(node(1)).await.unwrap().id(), links[0].id(), "what is there still serves");
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_handed_each_link_it_must_serve() {
    let setup = setup(|_| {});
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    setup.pool.on_link(move |link: FakeLink| log.lock().unwrap().push(link.id()));
    let link = setup.get(LOW).await.unwrap();
    setup.get(LOW).await.unwrap();
    setup.pool.get(LOW, address(), DialRole::Client).await.unwrap();
    setup.pool.adopt(FakeLink::inbound_from(Some(HIGH)));
    assert_eq!(*seen.lock().unwrap(), [link.id()]);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_links_dials_and_waits() {
    let setup = setup(|_| {});
    let link = setup.get(LOW).await.unwrap();
    setup.transport.dial_takes(Duration::from_secs(2));
    let waiting = tokio::spawn({
        let pool = setup.pool.clone();
        async move { pool.get(HIGH, address(), DialRole::Node).await }
    });
    settle().await;
    setup.pool.close();
    assert_eq!(link.close_reason(), Some(CloseReason::Local));
    assert_eq!(waiting.await.unwrap().unwrap_err(), TransportError::Closed(CloseReason::Local));
    assert_eq!(setup.get(LOW).await.unwrap_err(), TransportError::Closed(CloseReason::Local));
    assert!(!setup.pool.adopt(FakeLink::inbound_from(Some(LOW))));
    sleep(Duration::from_secs(5)).await;
    assert!(setup.pool.is_empty());
    // The dial that came through afterwards was closed too.
    assert!(setup.transport.made().iter().all(|link| link.close_reason().is_some()));
    assert_eq!(setup.transport.made().len(), 2);
    let _ = setup.pool.transport();
}

#[tokio::test(start_paused = true)]
async fn dropped_links_are_closed_and_the_pool_goes_on() {
    let setup = setup(|_| {});
    let (low, high) = (setup.get(LOW).await.unwrap(), setup.get(HIGH).await.unwrap());
    high.hold_streams(1);
    setup.pool.drop_links();
    settle().await;
    assert!(
        low.close_reason().is_some() && high.close_reason().is_some(),
        "with and without streams"
    );
    assert!(setup.pool.is_empty());
    let again = setup.get(LOW).await.unwrap();
    assert_ne!(again.id(), low.id());
    assert!(again.close_reason().is_none());
}
