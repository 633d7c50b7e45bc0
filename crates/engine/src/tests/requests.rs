//! Requests between nodes, over links and over circuits, honest and not.

use super::*;
use crate::limits::{
    RPC_ANSWER_TIMEOUT, RPC_CLIENT_REQUEST_MAX_BYTES, RPC_LARGE_TOTAL_BYTES, RPC_NODE_REQUEST_MAX_BYTES, RPC_PENDING_MAX, RPC_PER_LINK_MAX,
};
use crate::rpc;
use anonnet_testkit::MemLink;

async fn link(client: &Client, relay: &Relay) -> MemLink {
    client.pool.get_now(relay.id, relay.address, DialRole::Client).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_refused_or_too_large() {
    let net = Net::new();
    let [relay, other] = net.relays();
    let client = net.client(1);
    let link = link(&client, &relay).await;
    assert_eq!(soon(rpc::call(&link, b"hello", 100)).await, Ok(b"hello".to_vec()));
    assert_eq!(soon(rpc::call(&link, b"", 100)).await, Ok(vec![]));
    assert_eq!(
        soon(rpc::call(&link, &[1; 101], 100)).await,
        Err(ErrorKind::RpcInvalid),
        "the answer is larger than asked for"
    );
    assert!(
        soon(rpc::call(&link, &vec![1; RPC_CLIENT_REQUEST_MAX_BYTES], 1 << 20))
            .await
            .is_ok()
    );
    let large = vec![1; RPC_CLIENT_REQUEST_MAX_BYTES + 1];
    assert_eq!(soon(rpc::call(&link, &large, 1 << 20)).await, Err(ErrorKind::StreamReset));
    // Nodes that have proved who they are may ask for more.
    let node = other.server.pool.get_now(relay.id, relay.address, DialRole::Node).await.unwrap();
    assert_eq!(soon(rpc::call(&node, &large, 1 << 20)).await.unwrap().len(), large.len());
    relay.answer(|_| Some(Err(ErrorKind::RpcRefused)));
    assert_eq!(soon(rpc::call(&link, b"x", 100)).await, Err(ErrorKind::StreamReset));
}

#[tokio::test(start_paused = true)]
async fn truncated_and_oversize_frames_end_their_stream_and_nothing_else() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    let link = link(&client, &relay).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    relay.answer(move |body| {
        counter.fetch_add(1, Ordering::Relaxed);
        Some(Ok(body))
    });
    let frames: [&[u8]; 6] = [b"", b"\0", b"\0\0\0", b"\0\0\0\x05", b"\0\0\0\x05abcd", b"\xff\xff\xff\xffabcd"];
    for frame in frames {
        let (mut send, mut recv) = link.open(StreamKind::Rpc).await.unwrap();
        send.write_all(frame).await.unwrap();
        send.finish();
        assert!(soon(recv.read_exact(&mut [0; 1])).await.is_err(), "{frame:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // The same through a circuit, where END takes the place of FIN.
    let circuit = client.circuit(&[&relay]).await;
    for frame in frames {
        let stream = soon(circuit.handle.clone().directory()).await.unwrap();
        if !frame.is_empty() {
            write_all(&stream, frame).await.unwrap();
        }
        stream.finish();
        assert!(soon(read_stream_frame(&stream, 100)).await.is_err(), "{frame:?}");
    }
    let stream = soon(circuit.handle.clone().directory()).await.unwrap();
    write_all(&stream, b"\0\0\0\x02abc").await.unwrap();
    assert!(soon(read_stream_frame(&stream, 100)).await.is_err(), "more than the length says");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(circuit.ask(b"x").await, Ok(b"x".to_vec()));
    assert_eq!(soon(rpc::call(&link, b"x", 100)).await, Ok(b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_never_answered_end_in_time_and_give_their_places_back() {
    let net = Net::new();
    let relay = net.relay(1);
    relay.answer(|_| None);
    let client = net.client(1);
    let circuit = client.circuit(&[&relay]).await;
    let link = link(&client, &relay).await;
    for _ in 0..=RPC_PENDING_MAX / RPC_PER_LINK_MAX {
        let calls: Vec<_> = (0..RPC_PER_LINK_MAX)
            .map(|_| {
                let link = link.clone();
                tokio::spawn(async move { rpc::call(&link, b"x", 100).await })
            })
            .collect();
        let began = tokio::time::Instant::now();
        for call in calls {
            assert_eq!(soon(call).await.unwrap(), Err(ErrorKind::StreamReset));
        }
        assert!(began.elapsed() < RPC_ANSWER_TIMEOUT + Duration::from_secs(1));
    }
    assert_eq!(circuit.ask(b"x").await, Err(ErrorKind::StreamReset));
    relay.answer(|body| Some(Ok(body)));
    assert_eq!(soon(rpc::call(&link, b"x", 100)).await, Ok(b"x".to_vec()));
    assert_eq!(circuit.ask(b"x").await, Ok(b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn one_link_cannot_take_every_place() {
    let net = Net::new();
    let relay = net.relay(1);
    relay.answer(|_| None);
    let (greedy, other) = (net.client(1), net.client(2));
    let greedy = link(&greedy, &relay).await;
    let mut calls = Vec::new();
    for _ in 0..RPC_PER_LINK_MAX {
        let (mut send, recv) = greedy.open(StreamKind::Rpc).await.unwrap();
        send.write_all(b"\0\0\0\x09").await.unwrap();
        calls.push((send, recv));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay.answer(|body| Some(Ok(body)));
    assert_eq!(
        soon(rpc::call(&greedy, b"x", 100)).await,
        Err(ErrorKind::StreamReset),
        "one too many"
    );
    assert_eq!(soon(rpc::call(&link(&other, &relay).await, b"x", 100)).await, Ok(b"x".to_vec()));
    drop(calls);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(soon(rpc::call(&greedy, b"x", 100)).await, Ok(b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn nonsense_for_an_answer_is_an_error() {
    let net = Net::new();
    let client = net.client(1);
    let answers: [(&[u8], ErrorKind); 5] = [
        (b"", ErrorKind::StreamReset),
        (b"\0\0", ErrorKind::StreamReset),
        (b"\0\0\0\x09short", ErrorKind::StreamReset),
        (b"\0\0\0\x65", ErrorKind::RpcInvalid),
        (b"\xff\xff\xff\xff", ErrorKind::RpcInvalid),
    ];
    for (number, (answer, kind)) in (1..).zip(answers) {
        let liar = net.liar(number, move |_, _, _, mut send, mut recv| async move {
            while recv.read(&mut [0; 100]).await.is_ok_and(|count| count > 0) {}
            send.write_all(answer).await.unwrap();
            send.finish();
        });
        let link = client.pool.get_now(liar.id, liar.address, DialRole::Client).await.unwrap();
        assert_eq!(soon(rpc::call(&link, b"x", 100)).await, Err(kind), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_requests_share_a_bounded_amount_of_memory_and_small_ones_need_none_of_it() {
    let net = Net::new();
    let [relay, other] = net.relays();
    relay.answer(|body| if body.len() > 1000 { None } else { Some(Ok(body)) });
    let node = other.server.pool.get_now(relay.id, relay.address, DialRole::Node).await.unwrap();
    let large = RPC_NODE_REQUEST_MAX_BYTES;
    let fit = RPC_LARGE_TOTAL_BYTES / (large - RPC_CLIENT_REQUEST_MAX_BYTES);
    let calls: Vec<_> = (0..fit + 3)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { (rpc::call(&node, &vec![1; large], 100).await, tokio::time::Instant::now()) })
        })
        .collect();
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(relay.server.large_requests.available_permits() < large);
    assert_eq!(soon(rpc::call(&node, b"small", 100)).await, Ok(b"small".to_vec()));
    let mut refused = 0;
    for call in calls {
        let (answer, at) = soon(call).await.unwrap();
        assert_eq!(answer, Err(ErrorKind::StreamReset));
        refused += usize::from(at - began < Duration::from_secs(5));
    }
    assert!(refused >= 3, "{refused}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(relay.server.large_requests.available_permits(), RPC_LARGE_TOTAL_BYTES);
}
