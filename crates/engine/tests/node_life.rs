//! How the public node starts, keeps its keys, and ends, and what it does at its limits, over real QUIC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::time::Duration;

use anonnet_engine::{Failure, NodeOptions, StoredAt};
use anonnet_errors::ErrorKind;
use anonnet_transport::limits::MAX_CLIENT_CIRCUITS;
use support::{DEADLINE, Driven, echo, options, relay_options, server, three, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_closes_lets_what_is_under_way_finish() {
    let port = server(echo).await;
    let (relays, client, circuit) = three().await;
    let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
    let closing = relays[1].new_op();
    relays[1].node.close(closing, DEADLINE).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.write(stream, b"still").await.unwrap();
    assert_eq!(client.read(stream).await, Ok(Some(b"still".to_vec())));
    assert_eq!(
        client.build(&[&relays[0], &relays[1]]).await.err().unwrap().hop,
        Some(1),
        "nothing new"
    );
    client.node.close_circuit(circuit);
    assert!(relays[1].done(closing).await.is_ok());

    // Without time to drain all ends at once, operations too.
    let circuit = client.build(&[&relays[0], &relays[2]]).await.unwrap();
    let stream = client.connect(circuit, "127.0.0.1", port).await.unwrap();
    let reading = client.new_op();
    client.node.read(reading, stream).unwrap();
    client.close(Duration::ZERO).await;
    assert_eq!(
        client.done(reading).await.err().map(|failure| failure.kind),
        Some(ErrorKind::Closed)
    );
    assert_eq!(
        client.build(&[&relays[0]]).await.err().map(|failure| failure.kind),
        Some(ErrorKind::Closed)
    );
    until("the relay has no circuits", || relays[0].node.snapshot().relay.circuits == 0).await;
    client.close(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_52_an_old_onion_key_is_accepted_after_rotation_and_kept_on_disk() {
    let folder = std::env::temp_dir().join(format!("anonnet-node-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("keys");
    let kept = || NodeOptions {
        keys: Some(StoredAt {
            path: path.clone(),
            passphrase: None,
        }),
        ..relay_options()
    };
    let relay = Driven::start(kept()).unwrap();
    let (id, old) = (relay.node.node_id(), relay.hop());
    let new = relay.node.rotate_onion_key().unwrap();
    assert!(new != old.onion_key && new == relay.node.onion_key());
    let client = Driven::client();
    let build = async |hop| client.op(|op| client.node.build_circuit(op, &[hop], DEADLINE)).await.map(|_| ());
    assert_eq!(build(old).await, Ok(()));
    assert_eq!(build(relay.hop()).await, Ok(()));
    relay.close(Duration::ZERO).await;
    let again = Driven::start(kept()).unwrap();
    assert_eq!((again.node.node_id(), again.node.onion_key()), (id, new));
    let [old, new] = [old.onion_key, new].map(|onion_key| anonnet_engine::PathHop { onion_key, ..again.hop() });
    assert_eq!(build(old).await, Ok(()));
    assert_eq!(build(new).await, Ok(()));
    let wrong = anonnet_engine::PathHop {
        onion_key: client.node.onion_key(),
        ..again.hop()
    };
    assert!(build(wrong).await.is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let taken = Driven::relay();
    let start = |options: NodeOptions| Driven::start(options).err();
    assert_eq!(
        start(NodeOptions {
            listen: Some(taken.address()),
            ..relay_options()
        }),
        Some(ErrorKind::BindFailed)
    );
    let policy = NodeOptions {
        exit_policy: vec!["accept everything".to_owned()],
        ..options()
    };
    assert_eq!(start(policy), Some(ErrorKind::ConfigInvalid));
    let keys = StoredAt {
        path: "/proc/nowhere/keys".into(),
        passphrase: None,
    };
    assert_eq!(
        start(NodeOptions {
            keys: Some(keys),
            ..options()
        }),
        Some(ErrorKind::StoreFailed)
    );
}

/// Whoever makes a service build circuits can bring it to this limit: were it the guard's fault, he would push it on to the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_30_a_guards_link_that_is_full_is_not_the_guards_fault() {
    let (guard, client) = (Driven::relay(), Driven::client());
    let mut circuits = Vec::new();
    let failure = loop {
        match client.build(&[&guard]).await {
            Ok(circuit) => circuits.push(circuit),
            Err(failure) => break failure,
        }
    };
    assert_eq!(circuits.len(), MAX_CLIENT_CIRCUITS as usize);
    let ours = Failure {
        kind: ErrorKind::ResourceLimit,
        hop: None,
    };
    assert_eq!(failure, ours);
    for circuit in circuits.drain(..8) {
        client.node.close_circuit(circuit);
    }
    until("there is room again", || {
        guard.node.snapshot().relay.circuits == circuits.len() as u64
    })
    .await;
    client.build(&[&guard]).await.unwrap();
}
