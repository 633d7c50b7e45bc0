//! The public node over real QUIC: three relays and a client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anonnet_engine::{Ask, Event, Peer};
use anonnet_errors::ErrorKind;
use anonnet_testkit::bytes;
use support::{DEADLINE, Driven, echo, server, three, until};
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_relays_and_a_client_echo_half_close_and_resolve() {
    let port = server(echo).await;
    let (relays, client, circuit) = three().await;
    let stream = client.connect(circuit, "localhost", port).await.unwrap();
    client.write(stream, b"hello").await.unwrap();
    assert_eq!(client.read(stream).await, Ok(Some(b"hello".to_vec())));
    client.node.end(stream);
    assert_eq!(client.read(stream).await, Ok(None));
    client.node.destroy(stream);
    assert_eq!(client.read(stream).await, Err(ErrorKind::Closed));

    let resolved = client
        .op(|op| client.node.resolve(op, circuit, "localhost".to_owned(), DEADLINE))
        .await
        .unwrap();
    assert!(resolved.text.unwrap().contains("\"127.0.0.1\""));

    let snapshot = client.node.snapshot();
    assert_eq!(snapshot.circuits.len(), 1);
    assert_eq!(snapshot.circuits[0].hops, relays.each_ref().map(|relay| relay.node.node_id()));
    assert_eq!((snapshot.circuits[0].bytes_read, snapshot.circuits[0].bytes_written), (5, 5));
    assert_eq!(snapshot.links.len(), 1, "a client knows its guard and nobody else");
    assert!(!snapshot.links[0].authenticated && !snapshot.links[0].inbound);
    assert!(relays[1].node.snapshot().links.iter().all(|link| link.authenticated));
    assert_eq!(relays[2].node.snapshot().relay.exit_streams, 1);

    assert!(client.node.close_circuit(circuit));
    assert!(!client.node.close_circuit(circuit));
    let kind = client.event(|event| match event {
        Event::CircuitClosed { circuit: id, kind } if *id == circuit => Some(*kind),
        _ => None,
    });
    assert_eq!(kind.await, ErrorKind::Closed);
    assert_eq!(client.connect(circuit, "localhost", port).await, Err(ErrorKind::CircuitClosed));
    for relay in &relays {
        until("the circuit is gone", || relay.node.snapshot().relay.circuits == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_transfers_both_ways_arrive_whole() {
    let port = server(echo).await;
    let (_relays, client, circuit) = three().await;
    let data = bytes(1, 8 << 20);
    let streams = [
        client.connect(circuit, "127.0.0.1", port).await.unwrap(),
        client.connect(circuit, "127.0.0.1", port).await.unwrap(),
    ];
    let transfer = async |stream| {
        let (sent, came) = tokio::join!(
            async {
                client.write(stream, &data).await.unwrap();
                client.node.end(stream);
            },
            client.read_all(stream)
        );
        (sent, came.unwrap() == data).1
    };
    assert_eq!(tokio::join!(transfer(streams[0]), transfer(streams[1])), (true, true));
    let large = client.op(|op| client.node.write(op, streams[0], vec![0; (1 << 20) + 1])).await;
    assert_eq!(large.err(), Some(ErrorKind::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_is_told_and_another_path_works_at_once() {
    let port = server(echo).await;
    for dead in 0..3 {
        let (relays, client, circuit) = three().await;
        let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
        let reading = client.new_op();
        client.node.read(reading, stream).unwrap();
        let began = Instant::now();
        relays[dead].node.abandon();
        let kind = client.event(|event| match event {
            Event::CircuitClosed { circuit: id, kind } if *id == circuit => Some(*kind),
            _ => None,
        });
        assert_eq!(kind.await.retry(), anonnet_errors::Retry::Now);
        assert!(client.done(reading).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(client.write(stream, b"x").await.is_err());
        let path: Vec<_> = relays.iter().collect();
        let failure = client.build(&path).await.err().unwrap();
        assert_eq!(failure.hop.map(usize::from), Some(dead));
        let [one, two] = [0, 1, 2].into_iter().filter(|at| *at != dead).collect::<Vec<_>>()[..] else {
            unreachable!()
        };
        let circuit = client.build(&[&relays[one], &relays[two]]).await.unwrap();
        assert!(client.connect(circuit, "127.0.0.1", port).await.is_ok());
    }
}

fn asking(body: &[u8], timeout: Duration) -> Ask {
    Ask {
        body: body.to_vec(),
        timeout,
        max_reply: 100,
        fresh: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_request_goes_to_the_address_and_over_no_link_that_is_there() {
    let relay = Driven::relay();
    let other = Driven::relay();
    let answered = async |from: &Driven, peer: Peer, fresh: bool| {
        let op = from.new_op();
        let ask = Ask {
            fresh,
            ..asking(b"question", Duration::from_secs(2))
        };
        from.node.rpc(op, peer, ask).unwrap();
        let reply = async {
            let request = relay
                .event(|event| match event {
                    Event::RpcRequest { request, .. } => Some(*request),
                    _ => None,
                })
                .await;
            assert!(relay.node.rpc_reply(request, b"answer".to_vec()));
        };
        let (done, ()) = tokio::join!(from.done(op), async {
            tokio::time::timeout(Duration::from_secs(3), reply).await.unwrap_or(())
        });
        done.map(|value| value.bytes).map_err(|failure| failure.kind)
    };
    assert_eq!(answered(&other, relay.peer(), false).await, Ok(Some(b"answer".to_vec())));
    // The relay is not there. Over the link that is up it would answer all the same.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let wrong = Peer {
        address: nowhere.local_addr().unwrap(),
        ..relay.peer()
    };
    assert_eq!(answered(&other, wrong, false).await, Ok(Some(b"answer".to_vec())));
    assert!(answered(&other, wrong, true).await.is_err());
    // Each fresh one is a link of its own, and gone afterwards.
    let id = other.node.node_id();
    let links = |up: bool| relay.count(|event| matches!(event, Event::Link { up: is, node, .. } if *is == up && *node == Some(id)));
    let (up, down) = (links(true), links(false));
    for _ in 0..3 {
        assert_eq!(answered(&other, relay.peer(), true).await, Ok(Some(b"answer".to_vec())));
    }
    until("the fresh links are gone", || (links(true), links(false)) == (up + 3, down + 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_between_nodes_say_who_asks_and_through_what() {
    let relay = Driven::relay();
    let other = Driven::relay();
    let client = Driven::client();
    let ask = async |from: &Driven, expect_node: Option<[u8; 32]>| {
        let op = from.new_op();
        from.node.rpc(op, relay.peer(), asking(b"question", DEADLINE)).unwrap();
        let (request, node, via_circuit, body) = relay
            .event(|event| match event {
                Event::RpcRequest {
                    request,
                    node,
                    via_circuit,
                    body,
                    ..
                } => Some((*request, *node, *via_circuit, body.clone())),
                _ => None,
            })
            .await;
        assert_eq!((node, via_circuit, body.as_slice()), (expect_node, false, &b"question"[..]));
        assert!(relay.node.rpc_reply(request, b"answer".to_vec()));
        assert!(!relay.node.rpc_reply(request, b"again".to_vec()));
        assert_eq!(from.done(op).await.unwrap().bytes, Some(b"answer".to_vec()));
    };
    ask(&client, None).await;
    ask(&other, Some(other.node.node_id())).await;

    let circuit = client.build(&[&other, &relay]).await.unwrap();
    let op = client.new_op();
    client.node.circuit_rpc(op, circuit, b"who am I?".to_vec(), DEADLINE, 100).unwrap();
    let (request, node) = relay
        .event(|event| match event {
            Event::RpcRequest {
                request,
                node,
                via_circuit: true,
                ..
            } => Some((*request, *node)),
            _ => None,
        })
        .await;
    assert_eq!(node, None, "nobody knows");
    assert!(relay.node.rpc_reject(request));
    assert_eq!(
        client.done(op).await.err().map(|failure| failure.kind),
        Some(ErrorKind::StreamReset)
    );

    // Each link is told once, up and down.
    let links = |up: bool, peer: Option<[u8; 32]>| {
        relay.count(|event| matches!(event, Event::Link { up: is, node, .. } if *is == up && *node == peer))
    };
    assert_eq!((links(true, None), links(false, None)), (1, 0));
    assert_eq!(
        (links(true, Some(other.node.node_id())), links(false, Some(other.node.node_id()))),
        (1, 0)
    );

    let silent = client
        .op(|op| client.node.rpc(op, relay.peer(), asking(b"", Duration::from_millis(200))))
        .await;
    assert_eq!(silent.err(), Some(ErrorKind::Timeout));
    let stranger = Peer {
        node: [7; 32],
        address: relay.address(),
    };
    let refused = client.op(|op| client.node.rpc(op, stranger, asking(b"", DEADLINE))).await;
    assert_eq!(refused.err(), Some(ErrorKind::LinkIdentity));
    client.close(Duration::ZERO).await;
    other.close(Duration::ZERO).await;
    until("both links are down", || {
        links(false, None) == 1 && links(false, Some(other.node.node_id())) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_can_be_cancelled_at_any_time_and_leaves_nothing() {
    let port = server(echo).await;
    let (_relays, client, circuit) = three().await;
    let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
    let before = client.node.snapshot().circuits[0].streams;
    let cancelled = async |op| {
        client.node.cancel(op);
        assert_eq!(client.done(op).await.err().map(|failure| failure.kind), Some(ErrorKind::Aborted));
    };
    let op = client.new_op();
    client.node.read(op, stream).unwrap();
    assert_eq!(
        client.node.read(op, stream),
        Err(ErrorKind::InvalidArgument),
        "the number is in use"
    );
    assert_eq!(client.node.read(0, stream), Err(ErrorKind::InvalidArgument));
    cancelled(op).await;
    client.node.cancel(op);
    // At every moment of a build and of a connect.
    let path: Vec<_> = _relays.iter().map(Driven::hop).collect();
    for wait in 0..30 {
        let op = client.new_op();
        client.node.build_circuit(op, &path, DEADLINE).unwrap();
        tokio::time::sleep(Duration::from_micros(wait * 500)).await;
        client.node.cancel(op);
        if let Ok(value) = client.done(op).await {
            assert!(client.node.close_circuit(value.number.unwrap()));
        }
        let op = client.new_op();
        client.node.connect(op, circuit, "127.0.0.1".to_owned(), port, DEADLINE).unwrap();
        tokio::time::sleep(Duration::from_micros(wait * 100)).await;
        client.node.cancel(op);
        if let Ok(value) = client.done(op).await {
            client.node.destroy(value.number.unwrap());
        }
    }
    until("only what was there is there", || {
        let snapshot = client.node.snapshot();
        snapshot.circuits.len() == 1 && snapshot.circuits[0].streams == before
    })
    .await;
    for relay in &_relays {
        until("the relays hold one circuit", || relay.node.snapshot().relay.circuits == 1).await;
    }
    client.write(stream, b"still").await.unwrap();
    assert_eq!(client.read(stream).await, Ok(Some(b"still".to_vec())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_datagrams_do_not_disturb_a_relay() {
    let port = server(echo).await;
    let (relays, client, circuit) = three().await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for seed in 0..400 {
        let mut datagram = bytes(seed, usize::try_from(seed * 7 % 1400).unwrap());
        // Some look like the beginning of a connection.
        if let Some(first) = datagram.first_mut().filter(|_| seed % 2 == 0) {
            *first |= 0xc0;
        }
        for relay in &relays {
            let _ = socket.send_to(&datagram, relay.address());
        }
    }
    let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
    client.write(stream, b"hello").await.unwrap();
    assert_eq!(client.read(stream).await, Ok(Some(b"hello".to_vec())));
    assert!(client.build(&[&relays[0], &relays[2]]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_asks_which_circuit_and_is_told() {
    let port = server(echo).await;
    let (_relays, client, circuit) = three().await;
    let opened = client
        .op(|op| client.node.listen_proxy(op, "127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let (address, listener) = (opened.text.unwrap(), opened.number.unwrap());
    let ask = async || {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes(), b"data"].concat();
        tokio::io::AsyncWriteExt::write_all(&mut socket, &request).await.unwrap();
        let request = client.event(|event| match event {
            Event::ProxyRequest(request) if request.listener == listener => Some(request.request),
            _ => None,
        });
        (socket, request.await)
    };
    let (mut socket, request) = ask().await;
    assert!(client.node.attach(request, circuit, None));
    assert!(!client.node.attach(request, circuit, None));
    let mut answer = [0; 16];
    support::soon(socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00data");
    let snapshot = client.node.snapshot().proxy;
    assert_eq!((snapshot.requests, snapshot.open, snapshot.refused), (1, 1, 0));
    drop(socket);
    client
        .event(|event| matches!(event, Event::StreamEnded { circuit: id, .. } if *id == circuit).then_some(()))
        .await;

    let (mut socket, request) = ask().await;
    assert!(client.node.refuse(request, ErrorKind::NoPath));
    let mut answer = Vec::new();
    support::soon(socket.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 3]);

    let (mut socket, request) = ask().await;
    assert!(client.node.close_proxy(listener));
    assert!(!client.node.close_proxy(listener));
    let _ = support::soon(socket.read_to_end(&mut answer)).await;
    until("nobody waits for it any more", || !client.node.attach(request, circuit, None)).await;
    let taken = client.op(|op| client.node.listen_proxy(op, "192.0.2.1:1".parse().unwrap())).await;
    assert_eq!(taken.err(), Some(ErrorKind::BindFailed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_streams_and_circuits_at_once() {
    let port = server(echo).await;
    let (relays, client, first) = three().await;
    let second = client.build(&[&relays[2], &relays[1], &relays[0]]).await.unwrap();
    let client = Arc::new(client);
    let transfers = (0..60_u64).map(|seed| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            let data = bytes(seed, 1 + usize::try_from(seed * seed * 97 % 300_000).unwrap());
            let circuit = if seed % 2 == 0 { first } else { second };
            let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
            let (_, came) = tokio::join!(
                async {
                    client.write(stream, &data).await.unwrap();
                    client.node.end(stream);
                },
                client.read_all(stream)
            );
            client.node.destroy(stream);
            assert!(came.unwrap() == data);
        })
    });
    for transfer in transfers.collect::<Vec<_>>() {
        support::soon(transfer).await.unwrap();
    }
    until("no stream is left", || {
        client.node.snapshot().circuits.iter().all(|circuit| circuit.streams == 0)
    })
    .await;
}
