//! A client and a service that meet at a rendezvous point, over the paths that section 11 gives each circuit.

use super::*;
use crate::client::Ask;
use crate::limits::{INCOMING_TIMEOUT, INCOMING_WAITING_MAX, INTRODUCTION_TIMEOUT, INTRODUCTIONS_WAITING_MAX};
use crate::waiting::{Incoming, Introductions};
use anonnet_crypto::service::{IntroKeys, Introduction, ServiceClient, ServiceEntry};
use tokio::sync::mpsc;

pub(super) const SUBCREDENTIAL: [u8; 32] = [0x5c; 32];

/// Relays enough for all four circuits of a meeting, none on two of its roles.
pub(super) struct World {
    pub(super) relays: [Relay; 8],
    pub(super) client: Client,
    pub(super) service: Client,
}

impl World {
    pub(super) fn new() -> Self {
        let net = Net::new();
        Self {
            relays: net.relays(),
            client: net.client(1),
            service: net.client(2),
        }
    }

    pub(super) fn rendezvous_point(&self) -> &Relay {
        &self.relays[2]
    }

    pub(super) fn introduction_point(&self) -> &Relay {
        &self.relays[4]
    }

    /// Guard, second layer, rendezvous point.
    pub(super) async fn client_rendezvous(&self) -> Circuit {
        let [guard, second, rp, ..] = &self.relays;
        self.client.circuit(&[guard, second, rp]).await
    }

    /// Guard, second layer, a middle, the introduction point that the service chose.
    pub(super) async fn client_introduction(&self) -> Circuit {
        let [guard, second, _, middle, ip, ..] = &self.relays;
        self.client.circuit(&[guard, second, middle, ip]).await
    }

    /// Guard, second layer, introduction point.
    pub(super) async fn service_introduction(&self) -> Circuit {
        let [.., ip, guard, second, _] = &self.relays;
        self.service.circuit(&[guard, second, ip]).await
    }

    /// Guard, second layer, a middle, the rendezvous point that the client chose.
    pub(super) async fn service_rendezvous(&self) -> Circuit {
        let [_, _, rp, _, _, guard, second, middle] = &self.relays;
        self.service.circuit(&[guard, second, middle, rp]).await
    }

    /// An introduction point of the service.
    pub(super) async fn introduce_service(&self) -> Point {
        let circuit = self.service_introduction().await;
        let keys = Box::new(IntroKeys::generate(&mut rng(77)));
        let entry = entry(&keys);
        let (sender, introduced) = mpsc::unbounded_channel();
        let tell = Box::new(move |introduction, payload| drop(sender.send((introduction, payload))));
        soon(circuit.handle.clone().ask(Ask::EstablishIntro(keys, tell))).await.unwrap();
        circuit.handle.set_subcredentials(vec![[1; 32], SUBCREDENTIAL]).unwrap();
        Point {
            circuit,
            entry,
            introduced,
        }
    }

    /// A whole meeting.
    pub(super) async fn meet(&self, cookie: [u8; 20]) -> Meeting {
        let mut point = self.introduce_service().await;
        let rendezvous = self.client_rendezvous().await;
        soon(rendezvous.handle.clone().ask(Ask::EstablishRendezvous(cookie))).await.unwrap();
        let introducing = self.client_introduction().await;
        let (handshake, message) = ServiceClient::start(&mut rng(5), point.entry.clone(), &cookie).unwrap();
        soon(rendezvous.handle.clone().ask(Ask::Expect(handshake))).await.unwrap();
        soon(introducing.handle.clone().ask(Ask::Introduce(message))).await.unwrap();
        let (introduction, payload) = soon(point.introduced.recv()).await.unwrap();
        assert_eq!(payload, cookie);
        let service = self.service_rendezvous().await;
        let (secrets, reply) = introduction.respond(&mut rng(6)).unwrap();
        let (sender, incoming) = mpsc::unbounded_channel();
        let tell = Box::new(move |handle, port| drop(sender.send((handle, port))));
        let awaiting = rendezvous.handle.clone().ask(Ask::AwaitService);
        let answering = service.handle.clone().ask(Ask::Rendezvous {
            cookie,
            secrets: Box::new(secrets),
            reply,
            incoming: tell,
        });
        let (answered, joined) = soon(async { tokio::join!(answering, awaiting) }).await;
        assert_eq!((answered, joined), (Ok(()), Ok(())));
        Meeting {
            point,
            client: rendezvous,
            service,
            incoming,
        }
    }
}

pub(super) fn entry(keys: &IntroKeys) -> ServiceEntry {
    let bytes = keys.entry();
    ServiceEntry {
        auth_key: bytes[..32].try_into().unwrap(),
        onion_key: bytes[32..64].try_into().unwrap(),
        kem_key: Box::new(bytes[64..].try_into().unwrap()),
        subcredential: SUBCREDENTIAL,
    }
}

pub(super) struct Point {
    pub(super) circuit: Circuit,
    pub(super) entry: ServiceEntry,
    pub(super) introduced: mpsc::UnboundedReceiver<(Box<Introduction>, Vec<u8>)>,
}

pub(super) struct Meeting {
    pub(super) point: Point,
    pub(super) client: Circuit,
    pub(super) service: Circuit,
    pub(super) incoming: mpsc::UnboundedReceiver<(StreamHandle, u16)>,
}

impl Meeting {
    /// A stream of the client, and the service's end of it.
    pub(super) async fn stream(&mut self, port: u16) -> (StreamHandle, StreamHandle) {
        let ours = soon(self.client.handle.clone().connect("", port)).await.unwrap();
        let (theirs, asked) = soon(self.incoming.recv()).await.unwrap();
        assert_eq!(asked, port);
        theirs.accept(crate::pipe::Answer::Connected);
        soon(ours.answer()).await.unwrap();
        (ours, theirs)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_and_a_service_exchange_data_through_a_rendezvous() {
    let world = World::new();
    let mut meeting = world.meet([9; 20]).await;
    assert_eq!(meeting.client.handle.hops.len(), 3);
    assert_eq!(meeting.service.handle.hops.len(), 4);
    let (there, back) = (anonnet_testkit::bytes(1, 3_000_000), anonnet_testkit::bytes(2, 1_500_000));
    for port in [80, 443] {
        let (ours, theirs) = meeting.stream(port).await;
        let client = async {
            let write = async {
                write_all(&ours, &there).await.unwrap();
                ours.finish();
            };
            tokio::join!(write, read_all(&ours)).1.unwrap()
        };
        let service = async {
            let write = async {
                write_all(&theirs, &back).await.unwrap();
                theirs.finish();
            };
            tokio::join!(write, read_all(&theirs)).1.unwrap()
        };
        let (at_client, at_service) = tokio::join!(client, service);
        assert!(at_client == back && at_service == there);
    }
    // The relays of the two sides hold one circuit each of both kinds, and the rendezvous point no cookie.
    assert_eq!(world.rendezvous_point().server.services.counts(), (0, 0));
    assert_eq!(world.introduction_point().server.services.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_exit_is_no_service_and_a_service_no_exit() {
    let world = World::new();
    let mut meeting = world.meet([9; 20]).await;
    let refused = soon(meeting.client.handle.clone().connect("name.test", 80)).await;
    assert_eq!(refused.err(), Some(ErrorKind::InvalidAddress));
    assert_eq!(
        soon(meeting.client.handle.clone().directory()).await.err(),
        Some(ErrorKind::InvalidArgument)
    );
    assert_eq!(
        soon(meeting.client.handle.clone().resolve("name.test")).await.err(),
        Some(ErrorKind::InvalidArgument)
    );
    assert_eq!(
        soon(meeting.service.handle.clone().connect("", 80)).await.err(),
        Some(ErrorKind::CircuitClosed)
    );
    let ordinary = world.client_rendezvous().await;
    assert_eq!(
        soon(ordinary.handle.clone().connect("", 80)).await.err(),
        Some(ErrorKind::InvalidAddress)
    );
    // A program that refuses a port, and one that never answers.
    let refused = soon(meeting.client.handle.clone().connect("", 81)).await.unwrap();
    let (theirs, port) = soon(meeting.incoming.recv()).await.unwrap();
    assert_eq!(port, 81);
    theirs.reset(anonnet_cells::EndReason::Refused);
    assert_eq!(soon(refused.answer()).await.err(), Some(ErrorKind::StreamRefused));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_any_of_the_two_circuits_is_the_end_of_both() {
    for service_leaves in [false, true] {
        let world = World::new();
        let mut meeting = world.meet([9; 20]).await;
        let (ours, theirs) = meeting.stream(80).await;
        let Meeting {
            point, client, service, ..
        } = meeting;
        let (gone, left, stream) = if service_leaves {
            (service, client, ours)
        } else {
            (client, service, theirs)
        };
        drop(gone.handle);
        assert_eq!(soon(left.ended).await, Ok(ErrorKind::CircuitClosed));
        assert_eq!(read_all(&stream).await, Err(ErrorKind::CircuitClosed));
        drop((left.handle, point));
        for relay in &world.relays {
            relay.without_circuits().await;
            assert_eq!(relay.server.services.counts(), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_introduction_point_that_is_made_again_takes_the_place_of_the_one_before() {
    let world = World::new();
    let first = world.introduce_service().await;
    let second = world.introduce_service().await;
    assert_eq!(soon(first.circuit.ended).await, Ok(ErrorKind::CircuitClosed));
    assert_eq!(world.introduction_point().server.services.counts(), (1, 0));
    let mut introduced = second.introduced;
    let introducing = world.client_introduction().await;
    let (_, message) = ServiceClient::start(&mut rng(5), second.entry, b"again").unwrap();
    soon(introducing.handle.clone().ask(Ask::Introduce(message))).await.unwrap();
    assert_eq!(soon(introduced.recv()).await.unwrap().1, b"again");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_program_is_bounded_in_number_and_time() {
    let world = World::new();
    let mut point = world.introduce_service().await;
    let mut waiting = Introductions::default();
    let entry = point.entry.clone();
    let mut introduction = async |seed| {
        let circuit = world.client_introduction().await;
        let (_, message) = ServiceClient::start(&mut rng(seed), entry.clone(), b"").unwrap();
        soon(circuit.handle.clone().ask(Ask::Introduce(message))).await.unwrap();
        soon(point.introduced.recv()).await.unwrap().0
    };
    let count = u32::try_from(INTRODUCTIONS_WAITING_MAX).unwrap();
    for number in 0..count {
        assert!(waiting.insert(number, 1, introduction(u64::from(number)).await));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        !waiting.insert(count, 1, introduction(100).await),
        "as many as one circuit may have"
    );
    assert!(waiting.insert(count, 2, introduction(101).await), "and another circuit has its own");
    assert!(waiting.take(0).is_some() && waiting.take(0).is_none());
    tokio::time::sleep(INTRODUCTION_TIMEOUT).await;
    assert!(waiting.take(1).is_none(), "its client does not wait any more");
    assert!(waiting.insert(200, 1, introduction(102).await));

    let mut meeting = world.meet([9; 20]).await;
    let incoming = Incoming::default();
    let mut ours = Vec::new();
    for number in 0..3 {
        ours.push(soon(meeting.client.handle.clone().connect("", 80)).await.unwrap());
        let (theirs, _) = soon(meeting.incoming.recv()).await.unwrap();
        assert!(incoming.insert(number, theirs));
    }
    let taken = incoming.take(1).unwrap();
    tokio::time::sleep(INCOMING_TIMEOUT).await;
    assert_eq!(soon(ours[0].answer()).await.err(), Some(ErrorKind::Timeout));
    taken.accept(crate::pipe::Answer::Connected);
    assert!(soon(ours[1].answer()).await.is_ok());
    assert!(incoming.take(2).is_none());
}

#[tokio::test(start_paused = true)]
async fn streams_that_wait_for_the_program_are_bounded() {
    let world = World::new();
    let incoming = Incoming::default();
    let mut number = 0;
    let mut meetings = Vec::new();
    for cookie in 0..3 {
        let mut meeting = world.meet([cookie; 20]).await;
        // All at once: none may time out before the last one is there.
        let mut ours = Vec::new();
        for _ in 0..400 {
            ours.push(soon(meeting.client.handle.clone().connect("", 80)).await.unwrap());
        }
        for ours in &ours {
            let (theirs, _) = soon(meeting.incoming.recv()).await.unwrap();
            let fits = incoming.insert(number, theirs);
            assert_eq!(fits, (number as usize) < INCOMING_WAITING_MAX);
            if !fits {
                assert_eq!(soon(ours.answer()).await.err(), Some(ErrorKind::ResourceLimit));
                return;
            }
            number += 1;
        }
        meetings.push((meeting, ours));
    }
    panic!("never full");
}
