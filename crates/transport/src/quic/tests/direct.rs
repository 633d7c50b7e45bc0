use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quinn::{Connection, Endpoint};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{DEADLINE, identity, loopback, node, raw_connect, within};
use crate::{
    DialRole, LinkLimits, QuicConfig, QuicTransport, Transport, TransportError,
    limits::{DIRECT_ALPN, DIRECT_FIRST_WINDOW, DIRECT_GROWTH_TOTAL, DIRECT_WINDOW},
    quic::{DirectLink, DirectStream, auth, incoming::Control, tls},
};

const PATIENCE: Duration = Duration::from_millis(1);
const MAX: usize = 64 * 1024;

struct Listener {
    transport: QuicTransport,
    links: tokio::sync::Mutex<mpsc::UnboundedReceiver<DirectLink>>,
    id: anonnet_crypto::keys::NodeId,
    address: std::net::SocketAddr,
}

fn listener(change: impl FnOnce(&mut LinkLimits)) -> Listener {
    let mut config = QuicConfig::node(loopback(), identity());
    config.limits = LinkLimits::direct(8);
    change(&mut config.limits);
    let (taken, links) = mpsc::unbounded_channel();
    config.on_direct = Some(Arc::new(move |link| _ = taken.send(link)));
    let transport = QuicTransport::bind(config).unwrap();
    Listener {
        id: transport.node_id().unwrap(),
        address: transport.local_addr().unwrap(),
        transport,
        links: links.into(),
    }
}

impl Listener {
    async fn link(&self) -> DirectLink {
        within(self.links.lock().await.recv()).await.unwrap()
    }

    async fn accept(&self) -> Arc<DirectStream> {
        Arc::new(DirectStream::new(self.transport.clone(), self.link().await))
    }

    /// Nobody was taken.
    async fn took_nobody(&self) -> bool {
        sleep(Duration::from_millis(200)).await;
        self.links.lock().await.try_recv().is_err()
    }
}

async fn dial(listener: &Listener) -> Result<Arc<DirectStream>, TransportError> {
    let dialling = DirectStream::dial(identity(), listener.id, listener.address, DEADLINE);
    within(dialling).await.map(Arc::new)
}

/// Both ends of a new link: the dialler's, the listener's.
async fn connect(listener: &Listener) -> (Arc<DirectStream>, Arc<DirectStream>) {
    let (near, far) = tokio::join!(dial(listener), listener.accept());
    (near.unwrap(), far)
}

/// A connection that speaks the protocol's name, and does what the test wants.
async fn raw(listener: &Listener) -> (Endpoint, Connection) {
    let tls = tls::client(listener.id, tls::provider(), DIRECT_ALPN).unwrap().0;
    raw_connect(listener.address, tls).await.unwrap()
}

async fn read(stream: &Arc<DirectStream>) -> Result<Option<Vec<u8>>, TransportError> {
    Arc::clone(stream).read(MAX / 2, MAX, PATIENCE).await
}

async fn write(stream: &Arc<DirectStream>, count: usize) -> Result<(), TransportError> {
    Arc::clone(stream).write(vec![7; count]).await
}

async fn read_all(stream: &Arc<DirectStream>) -> Result<usize, TransportError> {
    let mut count = 0;
    while let Some(bytes) = read(stream).await? {
        assert!(bytes.len() <= MAX && bytes.iter().all(|byte| *byte == 7));
        count += bytes.len();
    }
    Ok(count)
}

/// Writes until nothing is taken any more.
async fn fill(stream: &Arc<DirectStream>) -> usize {
    let mut count = 0;
    while timeout(Duration::from_millis(500), write(stream, MAX)).await.is_ok() {
        count += MAX;
        assert!(count < 64 << 20, "never stops");
    }
    count
}

#[tokio::test]
async fn both_ways_half_closed_and_whole_after_its_ends_have_gone() {
    let listener = listener(|_| {});
    let (near, far) = connect(&listener).await;
    assert_eq!(near.peer(), listener.id);
    let send = async {
        for _ in 0..64 {
            write(&near, MAX).await.unwrap();
        }
        near.finish();
    };
    let (count, ()) = within(async { tokio::join!(read_all(&far), send) }).await;
    assert_eq!(count, Ok(64 * MAX));
    write(&far, MAX).await.unwrap();
    far.finish();
    assert!(far.is_done() && !near.is_done());
    // The far side is gone before the near side has read a byte.
    within(Arc::clone(&far).delivered()).await;
    drop((far, listener));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(within(read_all(&near)).await, Ok(MAX));
    assert!(near.is_done());
}

#[tokio::test]
async fn an_end_that_is_given_up_resets_the_other() {
    let listener = listener(|_| {});
    let (near, far) = connect(&listener).await;
    write(&near, 10).await.unwrap();
    near.close();
    assert_eq!(within(read_all(&far)).await, Err(TransportError::StreamReset));
    assert_eq!(within(write(&far, 1)).await, Err(TransportError::StreamReset));
    let (near, far) = connect(&listener).await;
    write(&far, 10).await.unwrap();
    drop(far);
    assert_eq!(within(read_all(&near)).await, Err(TransportError::StreamReset));
    let (dialled, link) = tokio::join!(dial(&listener), listener.link());
    link.close();
    drop(link);
    assert_eq!(within(read_all(&dialled.unwrap())).await, Err(TransportError::StreamReset));
}

#[tokio::test]
async fn a_window_is_earned_by_reading_and_all_together_are_bounded() {
    let first = DIRECT_FIRST_WINDOW as usize;
    let listener = listener(|_| {});
    let (near, far) = connect(&listener).await;
    // Nobody reads; a write that was begun and given up does not count.
    assert!((first - MAX..=first).contains(&fill(&near).await));
    // What was read once is doubled, until what all links may grow by is gone.
    far.growth().store(3 * first, Ordering::Relaxed);
    for _ in 0..2 {
        let reading = async { while timeout(Duration::from_millis(700), read(&far)).await.is_ok() {} };
        let writing = async {
            for _ in 0..64 {
                write(&near, MAX).await.unwrap();
            }
        };
        within(async { tokio::join!(reading, writing) }).await;
    }
    assert_eq!(far.growth().load(Ordering::Relaxed), 0);
    let left = fill(&near).await;
    assert!(
        (4 * first - MAX..=4 * first).contains(&left) && left < DIRECT_WINDOW as usize,
        "{left}"
    );
    // It comes back with the link.
    let growth: Arc<AtomicUsize> = Arc::clone(far.growth());
    drop(far);
    assert_eq!(growth.load(Ordering::Relaxed), 3 * first);
    assert_eq!(DIRECT_GROWTH_TOTAL, 1 << 28);
}

#[tokio::test]
async fn neither_protocol_is_taken_for_the_other() {
    let (direct, relay) = (listener(|_| {}), node());
    let dialled = DirectStream::dial(identity(), relay.id, relay.address, DEADLINE);
    assert_eq!(within(dialled).await.unwrap_err(), TransportError::Protocol("alpn"));
    for role in [DialRole::Client, DialRole::Node] {
        let dialled = within(relay.transport.dial(direct.id, direct.address, role)).await;
        assert_eq!(dialled.unwrap_err(), TransportError::Protocol("alpn"));
    }
    let stranger = identity().public().node_id();
    let dialled = DirectStream::dial(identity(), stranger, direct.address, DEADLINE);
    assert_eq!(within(dialled).await.unwrap_err(), TransportError::Identity);
    assert!(direct.took_nobody().await);
}

#[tokio::test]
async fn who_proves_no_identity_is_not_taken() {
    let direct = listener(|limits| limits.handshake_deadline = Duration::from_millis(500));
    for first in 0..=u8::MAX {
        // 1 is the control stream, and what follows is no proof.
        if first % 16 > 5 {
            continue;
        }
        let (_endpoint, connection) = raw(&direct).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[first]).await.unwrap();
        send.write_all(&[0; 200]).await.unwrap();
        within(connection.closed()).await;
    }
    // Who opens a stream and is silent, and who opens none.
    let (_endpoint, connection) = raw(&direct).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    within(connection.closed()).await;
    let (_endpoint, connection) = raw(&direct).await;
    within(connection.closed()).await;
    assert!(direct.took_nobody().await);
    // And a listener that went on.
    connect(&direct).await;
}

#[tokio::test]
async fn of_a_thousand_streams_of_one_link_one_is_there() {
    let direct = listener(|_| {});
    let (_endpoint, connection) = raw(&direct).await;
    let identity = identity();
    let (control, far) = tokio::join!(within(auth::dial(&connection, &identity)), direct.accept());
    let Control { mut send, .. } = control.unwrap();
    let opened = Mutex::new(0);
    let opening = async {
        loop {
            let _stream = connection.open_bi().await.unwrap();
            *opened.lock().unwrap() += 1;
        }
    };
    assert!(timeout(Duration::from_millis(300), opening).await.is_err());
    assert_eq!(*opened.lock().unwrap(), 0);
    send.write_all(&[7; 100]).await.unwrap();
    send.finish().unwrap();
    assert_eq!(within(read_all(&far)).await, Ok(100));
}

#[tokio::test]
async fn a_listener_that_stops_answers_no_more_and_keeps_what_is_up() {
    let direct = listener(|_| {});
    let (near, far) = connect(&direct).await;
    direct.transport.stop_listening();
    let dialled = DirectStream::dial(identity(), direct.id, direct.address, Duration::from_millis(500));
    assert_eq!(within(dialled).await.unwrap_err(), TransportError::Unreachable);
    write(&near, 10).await.unwrap();
    near.finish();
    assert_eq!(within(read_all(&far)).await, Ok(10));
}

#[tokio::test]
async fn a_listener_refuses_one_link_more_than_it_has_room_for() {
    let direct = listener(|limits| limits.inbound_links = 2);
    let kept = [connect(&direct).await, connect(&direct).await];
    assert_eq!(dial(&direct).await.unwrap_err(), TransportError::Refused);
    drop(kept);
    sleep(Duration::from_millis(100)).await;
    connect(&direct).await;
}
