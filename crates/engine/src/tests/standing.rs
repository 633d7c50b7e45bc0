//! Answers that stand: what may be served without asking, and when it ends.

use super::exit::{echo, server};
use super::proxy::silent;
use super::proxy_world::{World, world};
use super::*;
use crate::limits::{STANDING_ANSWERS_MAX, STANDING_PATIENCE, STANDING_QUESTION_MAX_BYTES};
use crate::proxy::{Question, Stands};
use std::time::Instant;
use tokio::io::AsyncWriteExt;

const LONG: Stands = Stands {
    time: Duration::from_secs(600),
    streams: 10,
};

/// A client without and with a name, to the same place.
fn ask(user: &str, host: &str, port: u16) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    [
        &[5, 1, 2, 1][..],
        &text(user),
        &text("pw"),
        &[5, 1, 0, 3],
        &text(host),
        &port.to_be_bytes(),
        b"x",
    ]
    .concat()
}

impl World {
    /// Whether the request was served, and of how many events with and without a circuit TypeScript was told.
    async fn serves(&self, request: &[u8]) -> (bool, usize, usize) {
        let served = self.proxy.exchange(request).await.last() == Some(&b'x');
        let (under_way, asked) = self
            .proxy
            .seen()
            .into_iter()
            .partition::<Vec<_>, _>(|event| event.circuit.is_some());
        (served, under_way.len(), asked.len())
    }

    fn stands(&self, stands: Option<Stands>) {
        *self.proxy.stands.lock().unwrap() = stands;
    }
}

const ASKED: (bool, usize, usize) = (true, 0, 1);
const STOOD: (bool, usize, usize) = (true, 0, 0);

#[tokio::test]
async fn the_same_question_is_not_asked_again_and_any_other_is() {
    let (port, other) = (server(echo).await, server(echo).await);
    let world = world().await;
    let same = ask("a", "target.test", port);
    assert_eq!(world.serves(&same).await, ASKED);
    assert_eq!(world.serves(&same).await, ASKED, "what does not stand is asked each time");
    world.stands(Some(LONG));
    assert_eq!(world.serves(&same).await, ASKED);
    for _ in 0..3 {
        assert_eq!(world.serves(&same).await, STOOD);
    }
    // Another key, another word for the same place, another port, another kind: a decision of their own each.
    assert_eq!(world.serves(&ask("b", "target.test", port)).await, ASKED);
    assert_eq!(world.serves(&ask("a", "127.0.0.1", port)).await, ASKED);
    assert_eq!(world.serves(&ask("a", "target.test", other)).await, ASKED);
    let resolve = [
        &[5, 1, 2, 1, 1, b'a', 2, b'p', b'w', 5, 0xf0, 0, 3, 11][..],
        b"target.test",
        &port.to_be_bytes(),
    ]
    .concat();
    assert_eq!(world.serves(&resolve).await.2, 1);
    assert_eq!(world.serves(&same).await, STOOD);
}

#[tokio::test]
async fn an_answer_ends_with_its_time_its_circuit_its_listener_and_when_it_is_withdrawn() {
    let port = server(echo).await;
    let world = world().await;
    let same = ask("a", "target.test", port);
    world.stands(Some(LONG));
    for end in [
        &|world: &World| world.proxy.attach.answers.withdraw(None) as _,
        &|world: &World| world.proxy.attach.answers.withdraw(Some(7)),
        &|world: &World| world.proxy.attach.answers.close(5),
        &|world: &World| _ = world.proxy.circuits.lock().unwrap().remove(&7),
    ] as [&dyn Fn(&World); 4]
    {
        assert_eq!(world.serves(&same).await.2, 1);
        assert_eq!(world.serves(&same).await, STOOD);
        end(&world);
    }
    assert_eq!(world.serves(&same).await.2, 1);
    world.proxy.attach.answers.withdraw(Some(8));
    world.proxy.attach.answers.close(6);
    assert_eq!(world.serves(&same).await, STOOD, "another's end is nothing to it");

    world.proxy.attach.answers.withdraw(None);
    world.stands(Some(Stands {
        time: Duration::ZERO,
        ..LONG
    }));
    assert_eq!(world.serves(&same).await, ASKED);
    assert_eq!(world.serves(&same).await, ASKED, "its time is over");
    world.stands(Some(Stands { streams: 0, ..LONG }));
    assert_eq!(world.serves(&same).await, ASKED);
    assert_eq!(world.serves(&same).await, ASKED, "its circuit has as many streams as it may");
}

#[tokio::test]
async fn what_is_withdrawn_before_a_request_connects_does_not_stand() {
    let port = server(echo).await;
    let world = world().await;
    let answers = Arc::clone(&world.proxy.attach.answers);
    let question = |user: &str| Question {
        listener: 5,
        client: [127, 0, 0, 1].into(),
        user: Some(user.as_bytes().to_vec()),
        password: None,
        resolve: false,
        host: "target.test".to_owned(),
        port,
    };
    world.proxy.circuits.lock().unwrap().insert(7, world.circuit.handle.clone());
    let offer = answers.offer(LONG);
    answers.withdraw(Some(1));
    answers.learn(&question("a"), 7, offer);
    assert!(answers.find(&question("a")).is_none());

    // And there is room for so many, of a bounded length each.
    let offer = answers.offer(LONG);
    answers.learn(&question(&"a".repeat(STANDING_QUESTION_MAX_BYTES - 10)), 7, offer);
    assert_eq!(answers.count(), 0);
    answers.learn(&question(&"a".repeat(STANDING_QUESTION_MAX_BYTES - 11)), 7, offer);
    assert_eq!(answers.count(), 1);
    for number in 0..STANDING_ANSWERS_MAX + 5 {
        answers.learn(&question(&number.to_string()), 7, offer);
    }
    assert_eq!(answers.count(), STANDING_ANSWERS_MAX);
    assert!(answers.find(&question("0")).is_some());
}

#[tokio::test]
async fn a_circuit_that_fails_is_asked_about_and_one_that_is_silent_is_told() {
    let port = server(echo).await;
    let world = world().await;
    let same = ask("a", "target.test", port);
    world.stands(Some(LONG));
    assert_eq!(world.serves(&same).await, ASKED);

    let net = Net::new();
    let (dead, mute) = (net.relay(1), silent(&net, 2));
    let client = net.client(1);
    let gone = client.circuit(&[&dead]).await.handle;
    net.network.kill(dead.address);
    world.proxy.circuits.lock().unwrap().insert(7, gone);
    assert_eq!(world.serves(&same).await, ASKED, "served on the next circuit");
    assert_eq!(world.serves(&same).await, STOOD, "which the answer stands for now");

    let circuit = client.build_path(vec![mute.hop()], DEADLINE).await.unwrap();
    world.proxy.circuits.lock().unwrap().insert(7, circuit.handle.clone());
    let (mut socket, began) = (world.proxy.connect().await, Instant::now());
    socket.write_all(&same).await.unwrap();
    let mut seen = Vec::new();
    while seen.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(began.elapsed() < DEADLINE, "never told");
        seen = world.proxy.seen();
    }
    assert!(began.elapsed() >= STANDING_PATIENCE);
    assert_eq!((seen.len(), seen[0].circuit, seen[0].again), (1, Some(7), None));
}
