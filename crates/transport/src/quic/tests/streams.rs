use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{connect, connect_client, node, raw_client, read_all, within};
use crate::{
    DialRole, Link, QuicLink, QuicRecv, QuicSend, STREAM_WINDOW, StreamKind, StreamRecv, StreamSend, Transport, TransportError,
    limits::FIRST_STREAMS,
};

/// Both ends of a new stream on a new link between nodes; the ends of the link keep it alive.
async fn stream() -> (QuicLink, QuicLink, (QuicSend, QuicRecv), (QuicSend, QuicRecv)) {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    let (mut send, recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(b"!")).await.unwrap();
    let (_, their_send, mut their_recv) = within(accepted.accept()).await.unwrap();
    within(their_recv.read_exact(&mut [0])).await.unwrap();
    // The transports close with their last clones; these tests do not need them by name.
    std::mem::forget((a, b));
    (dialled, accepted, (send, recv), (their_send, their_recv))
}

#[tokio::test]
async fn a_writer_stalls_when_its_reader_stops_and_no_other_does() {
    let (dialled, accepted, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    let mut written = 0usize;
    let chunk = vec![5; 10_000];
    while let Ok(taken) = timeout(Duration::from_millis(300), poll_fn(|cx| send.poll_write(cx, &chunk))).await {
        written += taken.unwrap();
        assert!(written < 1 << 20, "never stalls");
    }
    assert!(written <= STREAM_WINDOW as usize, "{written}");
    assert!(written > STREAM_WINDOW as usize / 2, "{written}");
    // The link is not blocked.
    let (mut other, _recv) = within(dialled.open(StreamKind::Rpc)).await.unwrap();
    within(other.write_all(&[9; 50_000])).await.unwrap();
    other.finish();
    let (_, _send, mut other_recv) = within(accepted.accept()).await.unwrap();
    assert_eq!(within(read_all(&mut other_recv)).await.unwrap().len(), 50_000);
    // Reading lets the writer go on.
    let mut sink = vec![0; written];
    within(their_recv.read_exact(&mut sink)).await.unwrap();
    assert!(within(poll_fn(|cx| send.poll_write(cx, &chunk))).await.unwrap() > 0);
}

#[tokio::test]
async fn chunks_go_as_they_are_and_the_type_byte_with_the_first() {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    for size in [1usize, 1104, 500_000] {
        let (mut send, _recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
        let data: Bytes = (0..size).map(|i| i as u8).collect::<Vec<_>>().into();
        let expected = data.clone();
        let reader = async {
            let (kind, _send, mut recv) = accepted.accept().await.unwrap();
            assert_eq!(kind, StreamKind::Circuit);
            read_all(&mut recv).await.unwrap()
        };
        let writer = async {
            assert_eq!(poll_fn(|cx| send.poll_write_chunk(cx, &mut Bytes::new())).await, Ok(0));
            assert_eq!(poll_fn(|cx| send.poll_write(cx, &[])).await, Ok(0));
            send.write_chunk(data).await.unwrap();
            send.finish();
            send.finish();
        };
        let ((), got) = within(async { tokio::join!(writer, reader) }).await;
        assert!(got == expected);
    }
}

#[tokio::test]
async fn a_stream_ends_in_the_way_it_was_ended() {
    // Finished.
    let (_a, _b, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    send.finish();
    assert_eq!(within(their_recv.read(&mut [0; 10])).await, Ok(0));
    within(send.stopped()).await;
    // Finished too early for who wanted more.
    let (_a, _b, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    within(send.write_all(b"abc")).await.unwrap();
    send.finish();
    assert_eq!(within(their_recv.read_exact(&mut [0; 4])).await, Err(TransportError::StreamReset));
    // Reset, and dropped.
    let (_a, _b, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    send.reset();
    send.reset();
    assert_eq!(within(their_recv.read(&mut [0; 10])).await, Err(TransportError::StreamReset));
    assert_eq!(within(send.write_all(b"x")).await, Err(TransportError::StreamReset));
    let (_a, _b, (send, _recv), (_their_send, mut their_recv)) = stream().await;
    drop(send);
    assert_eq!(within(their_recv.read(&mut [0; 10])).await, Err(TransportError::StreamReset));
    // Stopped, and its reader dropped.
    let (_a, _b, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    their_recv.stop();
    their_recv.stop();
    within(send.stopped()).await;
    assert_eq!(within(send.write_all(b"x")).await, Err(TransportError::StreamReset));
    let (_a, _b, (send, _recv), (_their_send, their_recv)) = stream().await;
    drop(their_recv);
    within(send.stopped()).await;
}

#[tokio::test]
async fn a_stream_without_a_word_is_never_seen() {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    let (mut nothing, _recv) = within(dialled.open(StreamKind::Rpc)).await.unwrap();
    nothing.finish();
    let (mut send, _recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(b"x")).await.unwrap();
    let (kind, _, _) = within(accepted.accept()).await.unwrap();
    assert_eq!(kind, StreamKind::Circuit);
}

#[tokio::test]
async fn a_stream_without_its_type_holds_up_no_other_and_is_dropped() {
    let node = super::node_with(|config| config.limits.kind_deadline = Duration::from_millis(300));
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut first, _recv) = connection.open_bi().await.unwrap();
    first.write_all(&[0x02]).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let held = within(accepted.accept()).await.unwrap();
    let (silent, mut silent_recv) = connection.open_bi().await.unwrap();
    let (mut second, _recv) = connection.open_bi().await.unwrap();
    second.write_all(&[0x03, 42]).await.unwrap();
    let (kind, _send, mut recv) = within(accepted.accept()).await.unwrap();
    assert_eq!(kind, StreamKind::Circuit);
    within(recv.read_exact(&mut [0])).await.unwrap();
    // Both halves of the silent one are given up.
    assert!(within(silent_recv.read(&mut [0])).await.is_err());
    assert!(within(silent.stopped()).await.unwrap().is_some());
    assert_eq!(silent_recv.id(), silent.id());
    drop(held);
}

#[tokio::test]
async fn streams_without_a_type_get_no_larger_share() {
    let node = super::node();
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut first, _recv) = connection.open_bi().await.unwrap();
    first.write_all(&[0x02]).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let mut silent = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), connection.open_bi()).await {
        silent.push(stream.unwrap());
        // Opening a later one makes the peer know of all before it.
        if silent.len() == FIRST_STREAMS as usize - 1 {
            let (send, _) = silent.last_mut().unwrap();
            send.write_all(&[0x02]).await.unwrap();
        }
        assert!(silent.len() < 1_000, "never stops");
    }
    assert_eq!(silent.len(), FIRST_STREAMS as usize - 1);
    drop(accepted);
}

#[tokio::test]
async fn cancelled_reads_lose_nothing() {
    let (_a, _b, (mut send, _recv), (_their_send, mut their_recv)) = stream().await;
    let mut buffer = [0; 4];
    assert!(timeout(Duration::from_millis(50), their_recv.read(&mut buffer)).await.is_err());
    let pending = poll_fn(|cx| Poll::Ready(their_recv.poll_read(cx, &mut buffer).is_pending())).await;
    assert!(pending);
    within(send.write_all(b"data")).await.unwrap();
    within(their_recv.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"data");
}

#[tokio::test]
async fn streams_outlive_the_handle_of_their_link() {
    let node = node();
    let client = super::client();
    let (dialled, accepted) = connect_client(&client, &node).await;
    let (mut send, mut recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(b"a")).await.unwrap();
    let (_, mut their_send, mut their_recv) = within(accepted.accept()).await.unwrap();
    drop((dialled, accepted));
    tokio::time::sleep(Duration::from_millis(600)).await;
    within(send.write_all(b"bc")).await.unwrap();
    within(their_recv.read_exact(&mut [0; 3])).await.unwrap();
    within(their_send.write_all(b"d")).await.unwrap();
    within(recv.read_exact(&mut [0])).await.unwrap();
}
