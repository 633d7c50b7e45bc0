//! `.anon` services as TypeScript commands them, over real QUIC: a client, a service, eight relays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::time::Duration;

use anonnet_crypto::service::{POW_EFFORT_MAX, Pow};
use anonnet_engine::{Event, IntroduceTo};
use anonnet_errors::ErrorKind;
use anonnet_testkit::bytes;
use support::{DEADLINE, Driven, echo, server, until};

const SUBCREDENTIAL: [u8; 32] = [0x5c; 32];

struct World {
    relays: Vec<Driven>,
    client: Driven,
    service: Driven,
}

impl World {
    fn new() -> Self {
        Self {
            relays: (0..8).map(|_| Driven::relay()).collect(),
            client: Driven::client(),
            service: Driven::client(),
        }
    }

    fn path<const N: usize>(&self, hops: [usize; N]) -> [&Driven; N] {
        hops.map(|hop| &self.relays[hop])
    }

    async fn introduction_point(&self) -> (u32, IntroduceTo) {
        let node = &self.service.node;
        let circuit = self.service.build(&self.path([5, 6, 4])).await.unwrap();
        let entry = self.service.op(|op| node.establish_intro(op, circuit, DEADLINE)).await.unwrap();
        let entry = entry.bytes.unwrap();
        assert_eq!(node.set_intro_subcredentials(circuit, vec![SUBCREDENTIAL]), Ok(true));
        let to = IntroduceTo {
            auth_key: entry[..32].try_into().unwrap(),
            onion_key: entry[32..64].try_into().unwrap(),
            kem_key: Box::new(entry[64..].try_into().unwrap()),
            subcredential: SUBCREDENTIAL,
        };
        (circuit, to)
    }

    async fn introduce(&self, rendezvous: u32, to: &IntroduceTo, payload: &[u8]) -> Result<(), ErrorKind> {
        let node = &self.client.node;
        let circuit = self.client.build(&self.path([0, 1, 3, 4])).await.unwrap();
        let (to, payload) = (to.clone(), payload.to_vec());
        let passed = self
            .client
            .op(|op| node.introduce(op, circuit, rendezvous, to, payload, DEADLINE))
            .await;
        node.close_circuit(circuit);
        passed.map(|_| ())
    }

    async fn introduced(&self) -> (u32, Vec<u8>) {
        self.service
            .event(|event| match event {
                Event::Introduced { request, payload, .. } => Some((*request, payload.clone())),
                _ => None,
            })
            .await
    }

    /// The client's circuit and the service's.
    async fn meet(&self, to: &IntroduceTo, cookie: [u8; 20]) -> (u32, u32) {
        let (client, service) = (&self.client.node, &self.service.node);
        let rendezvous = self.client.build(&self.path([0, 1, 2])).await.unwrap();
        let established = self
            .client
            .op(|op| client.establish_rendezvous(op, rendezvous, cookie, DEADLINE))
            .await;
        established.unwrap();
        self.introduce(rendezvous, to, &cookie).await.unwrap();
        let (request, payload) = self.introduced().await;
        assert_eq!(payload, cookie);
        let answering = self.service.build(&self.path([5, 6, 7, 2])).await.unwrap();
        let accepted = self
            .service
            .op(|op| service.accept_rendezvous(op, request, answering, cookie, DEADLINE));
        let joined = self.client.op(|op| client.await_rendezvous(op, rendezvous, DEADLINE));
        let (accepted, joined) = tokio::join!(accepted, joined);
        accepted.unwrap();
        joined.unwrap();
        assert!(!service.drop_introduction(request), "it was answered");
        (rendezvous, answering)
    }

    async fn incoming(&self) -> (u32, u16) {
        self.service
            .event(|event| match event {
                Event::IncomingStream { stream, port, .. } => Some((*stream, *port)),
                _ => None,
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_reached_through_a_rendezvous_and_by_its_program_or_a_target() {
    let world = World::new();
    let (client, service) = (&world.client, &world.service);
    let (_, to) = world.introduction_point().await;
    let (rendezvous, answering) = world.meet(&to, [9; 20]).await;

    // To the program.
    let connecting = client.connect(rendezvous, "", 80);
    let accepting = async {
        let (stream, port) = world.incoming().await;
        assert_eq!(port, 80);
        assert!(service.node.accept_stream(stream));
        assert!(!service.node.accept_stream(stream));
        assert!(!service.node.refuse_stream(stream, ErrorKind::StreamRefused));
        stream
    };
    let (ours, theirs) = tokio::join!(connecting, accepting);
    let ours = ours.unwrap();
    client.write(ours, b"question").await.unwrap();
    client.node.end(ours);
    assert_eq!(service.read_all(theirs).await.unwrap(), b"question");
    service.write(theirs, b"answer").await.unwrap();
    service.node.end(theirs);
    assert_eq!(client.read_all(ours).await.unwrap(), b"answer");

    // To a target.
    let target = server(echo).await;
    let connecting = client.connect(rendezvous, "", 443);
    let forwarding = async {
        let (stream, _) = world.incoming().await;
        let target = ([127, 0, 0, 1], target).into();
        service.op(|op| service.node.forward_stream(op, stream, target)).await.unwrap();
    };
    let stream = tokio::join!(connecting, forwarding).0.unwrap();
    let data = bytes(1, 4 << 20);
    let sending = async {
        client.write(stream, &data).await.unwrap();
        client.node.end(stream);
    };
    assert!(tokio::join!(sending, client.read_all(stream)).1.unwrap() == data);

    // To a target that is not there, and to a port that is refused.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connecting = client.connect(rendezvous, "", 444);
    let forwarding = async {
        let (stream, _) = world.incoming().await;
        service.op(|op| service.node.forward_stream(op, stream, closed)).await.err()
    };
    let (refused, failed) = tokio::join!(connecting, forwarding);
    assert_eq!((refused, failed), (Err(ErrorKind::StreamRefused), Some(ErrorKind::StreamRefused)));
    let refusing = async {
        let (stream, _) = world.incoming().await;
        assert!(service.node.refuse_stream(stream, ErrorKind::ExitPolicy));
    };
    assert_eq!(
        tokio::join!(client.connect(rendezvous, "", 1), refusing).0,
        Err(ErrorKind::ExitPolicy)
    );

    // What the circuits are, and what is left of them.
    let hops = |node: &Driven, circuit| {
        let snapshot = node.node.snapshot();
        snapshot
            .circuits
            .iter()
            .find(|known| known.id == circuit)
            .map(|known| known.hops.len())
    };
    assert_eq!((hops(client, rendezvous), hops(service, answering)), (Some(3), Some(4)));
    client.node.close_circuit(rendezvous);
    let closed = service.event(|event| match event {
        Event::CircuitClosed { circuit, kind } if *circuit == answering => Some(*kind),
        _ => None,
    });
    assert_eq!(closed.await, ErrorKind::CircuitClosed);
    service.close(Duration::from_secs(5)).await;
    for relay in &world.relays {
        until("no circuit is left", || relay.node.snapshot().relay.circuits == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_around_a_rendezvous_fails_with_its_own_codes() {
    let world = World::new();
    let (client, service) = (&world.client, &world.service);
    let (point, to) = world.introduction_point().await;
    let rendezvous = client.build(&world.path([0, 1, 2])).await.unwrap();
    let short = Duration::from_millis(300);
    // Nobody waits yet, and then nobody comes.
    assert_eq!(world.introduce(rendezvous, &to, b"").await, Err(ErrorKind::InvalidArgument));
    client
        .op(|op| client.node.establish_rendezvous(op, rendezvous, [1; 20], DEADLINE))
        .await
        .unwrap();
    let nobody = client.op(|op| client.node.await_rendezvous(op, rendezvous, short)).await;
    assert_eq!(nobody.err(), Some(ErrorKind::Timeout));
    assert_eq!(world.introduce(rendezvous, &to, &[0; 801]).await, Err(ErrorKind::InvalidArgument));
    // The program declines; an answer to that comes too late.
    world.introduce(rendezvous, &to, &[0; 800]).await.unwrap();
    let (request, payload) = world.introduced().await;
    assert_eq!(payload.len(), 800);
    assert!(service.node.drop_introduction(request));
    let late = service
        .op(|op| service.node.accept_rendezvous(op, request, point, [1; 20], short))
        .await;
    assert_eq!(late.err(), Some(ErrorKind::Closed));
    // An answer over a circuit that carries something else already.
    world.introduce(rendezvous, &to, b"again").await.unwrap();
    let (request, _) = world.introduced().await;
    let busy = service
        .op(|op| service.node.accept_rendezvous(op, request, point, [1; 20], DEADLINE))
        .await;
    assert_eq!(busy.err(), Some(ErrorKind::InvalidArgument));
    // An answer to the wrong cookie ends the service's circuit, and the client waits on.
    world.introduce(rendezvous, &to, b"more").await.unwrap();
    let (request, _) = world.introduced().await;
    let wrong = service.build(&world.path([5, 6, 7, 2])).await.unwrap();
    service
        .op(|op| service.node.accept_rendezvous(op, request, wrong, [2; 20], DEADLINE))
        .await
        .unwrap();
    service
        .event(|event| matches!(event, Event::CircuitClosed { circuit, .. } if *circuit == wrong).then_some(()))
        .await;
    // The introduction point is gone, and so is the circuit that waits.
    service.node.close_circuit(point);
    assert_eq!(service.node.set_intro_subcredentials(point, vec![SUBCREDENTIAL]), Ok(false));
    assert_eq!(
        service.node.set_intro_subcredentials(point, vec![SUBCREDENTIAL; 5]),
        Err(ErrorKind::InvalidArgument)
    );
    until("the point is gone", || world.relays[4].node.snapshot().relay.circuits == 0).await;
    assert_eq!(world.introduce(rendezvous, &to, b"").await, Err(ErrorKind::IntroductionFailed));
    let op = client.new_op();
    client.node.await_rendezvous(op, rendezvous, DEADLINE).unwrap();
    client.node.close_circuit(rendezvous);
    assert_eq!(client.done(op).await.unwrap_err().kind, ErrorKind::RendezvousFailed);
    let gone = client.op(|op| client.node.await_rendezvous(op, rendezvous, DEADLINE)).await;
    assert_eq!(gone.err(), Some(ErrorKind::RendezvousFailed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_proved_and_given_up() {
    let client = Driven::client();
    let (seed, blinded) = ([1; 32], [2; 32]);
    let solved = client.op(|op| client.node.pow_solve(op, seed, blinded, 20)).await.unwrap();
    let nonce: [u8; 16] = solved.bytes.unwrap().try_into().unwrap();
    assert!(Pow::new(&seed, &blinded, 20).unwrap().check(&nonce));
    for effort in [0, POW_EFFORT_MAX + 1] {
        assert_eq!(client.node.pow_solve(99, seed, blinded, effort), Err(ErrorKind::InvalidArgument));
    }
    // More than there are turns for: those that are cancelled let the others go on.
    let hard: Vec<_> = (0..2).map(|_| client.new_op()).collect();
    for op in &hard {
        client.node.pow_solve(*op, seed, blinded, POW_EFFORT_MAX).unwrap();
    }
    let easy = client.new_op();
    client.node.pow_solve(easy, seed, blinded, 1).unwrap();
    for op in hard {
        client.node.cancel(op);
        assert_eq!(client.done(op).await.unwrap_err().kind, ErrorKind::Aborted);
    }
    assert!(client.done(easy).await.is_ok());
}
