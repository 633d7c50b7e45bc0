use std::{sync::Arc, time::Duration};

use quinn::{Connection, Endpoint};
use tokio::{sync::Semaphore, time::timeout};

use super::{DEADLINE, identity, loopback, node, raw_connect, within};
use crate::{
    CloseReason, DialRole, Link, LinkLimits, QuicConfig, QuicTransport, StreamKind, Transport, TransportError,
    limits::{DIRECT_ALPN, DIRECT_FIRST_WINDOW, DIRECT_GROWTH_TOTAL, DIRECT_WINDOW},
    quic::{DirectStream, auth, tls},
};

const PATIENCE: Duration = Duration::from_millis(1);
const MAX: usize = 64 * 1024;

/// A direct listener, as a node of these tests.
fn listener(change: impl FnOnce(&mut LinkLimits)) -> super::Node {
    let mut config = QuicConfig::node(loopback(), identity());
    config.limits = LinkLimits::direct(8);
    change(&mut config.limits);
    let transport = QuicTransport::bind(config).unwrap();
    super::Node {
        id: transport.node_id().unwrap(),
        address: transport.local_addr().unwrap(),
        transport,
    }
}

async fn accept(listener: &super::Node, growth: usize) -> Result<DirectStream, TransportError> {
    let link = listener.transport.accept().await.unwrap();
    DirectStream::accept(listener.transport.clone(), link, Arc::new(Semaphore::new(growth))).await
}

async fn dial(listener: &super::Node) -> Result<DirectStream, TransportError> {
    DirectStream::dial(identity(), listener.id, listener.address, DEADLINE).await
}

/// Both ends of a new link: the dialler's, the listener's.
async fn connect(listener: &super::Node, growth: usize) -> (Arc<DirectStream>, Arc<DirectStream>) {
    let dialled = dial(listener);
    let (near, far) = within(async { tokio::join!(dialled, accept(listener, growth)) }).await;
    (Arc::new(near.unwrap()), Arc::new(far.unwrap()))
}

/// A connection that speaks the protocol's name, and does what the test wants.
async fn raw(listener: &super::Node) -> (Endpoint, Connection) {
    let tls = tls::client(listener.id, tls::provider(), DIRECT_ALPN).unwrap().0;
    raw_connect(listener.address, tls).await.unwrap()
}

async fn read_all(stream: &Arc<DirectStream>) -> Result<usize, TransportError> {
    let mut count = 0;
    while let Some(bytes) = Arc::clone(stream).read(MAX / 2, MAX, PATIENCE).await? {
        assert!(bytes.len() <= MAX && !bytes.is_empty());
        count += bytes.len();
    }
    Ok(count)
}

/// Writes until nothing is taken any more.
async fn fill(stream: &Arc<DirectStream>) -> usize {
    let mut count = 0;
    while timeout(Duration::from_millis(500), Arc::clone(stream).write(vec![7; MAX]))
        .await
        .is_ok()
    {
        count += MAX;
        assert!(count < 64 << 20, "never stops");
    }
    count
}

#[tokio::test]
async fn both_ways_half_closed_and_whole_after_its_ends_have_gone() {
    let listener = listener(|_| {});
    let (near, far) = connect(&listener, DIRECT_GROWTH_TOTAL).await;
    assert!(near.peer() == Some(listener.id) && far.peer().is_some());
    let send = async {
        for _ in 0..64 {
            Arc::clone(&near).write(vec![1; MAX]).await.unwrap();
        }
        near.finish();
    };
    let (read, ()) = within(async { tokio::join!(read_all(&far), send) }).await;
    assert_eq!(read.unwrap(), 64 * MAX);
    Arc::clone(&far).write(vec![2; MAX]).await.unwrap();
    far.finish();
    assert!(far.is_done() && !near.is_done());
    // It is closed from the far side before the near side has read a byte.
    within(Arc::clone(&far).end()).await;
    assert_eq!(within(read_all(&near)).await, Ok(MAX));
    assert!(near.is_done());
    within(Arc::clone(&near).end()).await;
}

#[tokio::test]
async fn an_end_that_is_given_up_resets_the_other() {
    let listener = listener(|_| {});
    let (near, far) = connect(&listener, DIRECT_GROWTH_TOTAL).await;
    Arc::clone(&near).write(vec![1; 10]).await.unwrap();
    within(Arc::clone(&near).end()).await;
    assert_eq!(within(read_all(&far)).await, Err(TransportError::StreamReset));
    assert_eq!(within(Arc::clone(&far).write(vec![1])).await, Err(TransportError::StreamReset));
}

#[tokio::test]
async fn a_window_is_earned_by_reading_and_all_together_are_bounded() {
    let listener = listener(|_| {});
    let (near, far) = connect(&listener, 2 * DIRECT_FIRST_WINDOW as usize).await;
    let first = fill(&near).await;
    // What the receiver allows; a write that was begun and given up counts as not taken.
    assert!(first <= DIRECT_FIRST_WINDOW as usize, "{first}");
    // Growth for one doubling and not for the next.
    let read = async {
        loop {
            let Ok(Ok(Some(_))) = timeout(Duration::from_millis(300), Arc::clone(&far).read(MAX / 2, MAX, PATIENCE)).await else {
                break;
            };
        }
    };
    let (_, ()) = within(async { tokio::join!(fill(&near), read) }).await;
    let (other, unread) = connect(&listener, DIRECT_GROWTH_TOTAL).await;
    assert!(fill(&other).await <= DIRECT_FIRST_WINDOW as usize);
    let second = fill(&near).await;
    assert!(
        second <= 2 * DIRECT_FIRST_WINDOW as usize && second <= DIRECT_WINDOW as usize,
        "{second}"
    );
    drop((far, unread));
}

#[tokio::test]
async fn neither_protocol_is_taken_for_the_other() {
    let (direct, relay) = (listener(|_| {}), node());
    let dialled = within(dial(&relay)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Protocol("alpn"));
    for role in [DialRole::Client, DialRole::Node] {
        let dialled = within(relay.transport.dial(direct.id, direct.address, role)).await;
        assert_eq!(dialled.unwrap_err(), TransportError::Protocol("alpn"));
    }
    let stranger = identity().public().node_id();
    let dialled = within(DirectStream::dial(identity(), stranger, direct.address, DEADLINE)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Identity);
}

#[tokio::test]
async fn a_direct_stream_ends_a_link_of_the_overlay_and_the_others_a_direct_one() {
    for byte in 0..=u8::MAX {
        assert_eq!(StreamKind::of_link(byte, true), (byte == 4).then_some(StreamKind::Direct));
        assert!(StreamKind::of_link(byte, false) != Some(StreamKind::Direct));
    }
    let relay = node();
    let (_endpoint, connection) = super::raw_client(&relay).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[4]).await.unwrap();
    within(connection.closed()).await;

    let direct = listener(|_| {});
    for byte in [0, 2, 3, 5, 255] {
        let (_endpoint, connection) = raw(&direct).await;
        let _control = within(auth::dial(&connection, &identity())).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[byte]).await.unwrap();
        assert!(within(accept(&direct, 0)).await.is_err());
        within(connection.closed()).await;
    }
}

#[tokio::test]
async fn who_proves_no_identity_is_not_taken() {
    let direct = listener(|_| {});
    let (_endpoint, connection) = raw(&direct).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[4, 1, 2, 3]).await.unwrap();
    assert_eq!(within(accept(&direct, 0)).await.unwrap_err(), TransportError::Identity);
    within(connection.closed()).await;
}

#[tokio::test]
async fn of_a_thousand_streams_of_one_link_one_is_taken() {
    let direct = listener(|limits| limits.kind_deadline = Duration::from_millis(200));
    let (_endpoint, connection) = raw(&direct).await;
    let _control = within(auth::dial(&connection, &identity())).await.unwrap();
    let accepting = within(accept(&direct, 0));
    let opening = async {
        let mut open = Vec::new();
        while let Ok(Ok((mut send, recv))) = timeout(Duration::from_millis(300), connection.open_bi()).await {
            send.write_all(&[4]).await.unwrap();
            open.push((send, recv));
        }
        open
    };
    let (accepted, open) = tokio::join!(accepting, opening);
    assert_eq!(open.len(), 1);
    drop(open);
    assert!(within(read_all(&Arc::new(accepted.unwrap()))).await.is_err());
    // Opened and reset a thousand times: the link ends.
    let resetting = async {
        for _ in 0..1_000 {
            let Ok((mut send, _recv)) = connection.open_bi().await else { break };
            let _ = send.reset(0u32.into());
        }
        connection.closed().await
    };
    within(resetting).await;
}

#[tokio::test]
async fn a_dialler_that_opens_no_stream_is_not_waited_for_for_ever() {
    let direct = listener(|_| {});
    let (_endpoint, connection) = raw(&direct).await;
    let _control = within(auth::dial(&connection, &identity())).await.unwrap();
    let (_send, mut recv) = connection.open_bi().await.unwrap();
    let link = within(direct.transport.accept()).await.unwrap();
    let taken = DirectStream::accept(direct.transport.clone(), link.clone(), Arc::new(Semaphore::new(0)));
    assert!(
        timeout(Duration::from_millis(500), taken).await.is_err(),
        "the engine gives up after HANDSHAKE_DEADLINE"
    );
    link.close();
    assert!(within(recv.read(&mut [0])).await.is_err());
    assert_eq!(link.close_reason(), Some(CloseReason::Local));
}

#[tokio::test]
async fn a_listener_that_stops_answers_no_more_and_keeps_what_is_up() {
    let direct = listener(|_| {});
    let (near, far) = connect(&direct, DIRECT_GROWTH_TOTAL).await;
    direct.transport.stop_listening();
    let dialled = timeout(Duration::from_millis(500), dial(&direct)).await;
    assert!(!matches!(dialled, Ok(Ok(_))));
    Arc::clone(&near).write(vec![1; 10]).await.unwrap();
    near.finish();
    assert_eq!(within(read_all(&far)).await, Ok(10));
}

#[tokio::test]
async fn a_listener_refuses_one_link_more_than_it_has_room_for() {
    let direct = listener(|limits| limits.inbound_links = 2);
    let _kept = [connect(&direct, 0).await, connect(&direct, 0).await];
    let dialled = within(dial(&direct)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Refused);
}
