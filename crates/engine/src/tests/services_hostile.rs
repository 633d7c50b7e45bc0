//! What clients, services and relays do to each other around a rendezvous.

use super::bare::Bare;
use super::services::{Point, SUBCREDENTIAL, World, entry};
use super::*;
use crate::client::Ask;
use crate::limits::{CIRCUIT_OUT_HIGH_WATER_BYTES, INTRODUCTIONS_QUEUED_MAX, RENDEZVOUS_WAIT};
use anonnet_cells::Kind;
use anonnet_crypto::service::{IntroKeys, ServiceClient, ServiceEntry};
use anonnet_relay::limits::{INTRODUCTION_BURST, INTRODUCTION_RATE};
use anonnet_transport::STREAM_WINDOW;

async fn introduce(world: &World, entry: &ServiceEntry, payload: &[u8], seed: u64) -> (Circuit, Result<(), ErrorKind>) {
    let (_, message) = ServiceClient::start(&mut rng(seed), entry.clone(), payload).unwrap();
    let circuit = world.client_introduction().await;
    let result = soon(circuit.handle.clone().ask(Ask::Introduce(message))).await;
    (circuit, result)
}

#[tokio::test(start_paused = true)]
async fn attack_41_an_introduction_that_is_replayed_is_told_once() {
    let world = World::new();
    let mut point = world.introduce_service().await;
    // The same bytes, as a client, or an introduction point, may send them again.
    for seed in [5, 5, 5, 6] {
        assert_eq!(introduce(&world, &point.entry, b"once", seed).await.1, Ok(()));
    }
    let mut came = 0;
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(20), point.introduced.recv()).await {
        came += 1;
    }
    assert_eq!(came, 2);
}

#[tokio::test(start_paused = true)]
async fn introductions_of_another_period_or_service_open_nothing_and_of_no_point_fail() {
    let world = World::new();
    let mut point = world.introduce_service().await;
    let stale = ServiceEntry {
        subcredential: [0xee; 32],
        ..point.entry.clone()
    };
    assert_eq!(introduce(&world, &stale, b"stale", 5).await.1, Ok(()));
    assert!(
        tokio::time::timeout(Duration::from_secs(20), point.introduced.recv())
            .await
            .is_err()
    );
    let foreign = entry(&IntroKeys::generate(&mut rng(1)));
    assert_eq!(
        introduce(&world, &foreign, b"foreign", 5).await.1,
        Err(ErrorKind::IntroductionFailed)
    );
    // The point is none any more once its circuit is gone.
    let Point { circuit, entry, .. } = point;
    drop(circuit.handle);
    until("the point is gone", || {
        world.introduction_point().server.services.counts() == (0, 0)
    })
    .await;
    assert_eq!(introduce(&world, &entry, b"late", 5).await.1, Err(ErrorKind::IntroductionFailed));
}

#[tokio::test(start_paused = true)]
async fn an_establish_intro_of_another_circuit_is_refused() {
    let world = World::new();
    let relay = world.introduction_point();
    let mut honest = Bare::new(&world.service, relay).await;
    let keys = IntroKeys::generate(&mut rng(8));
    let payload = keys.establish(&honest.secrets.bind);
    honest.say(Kind::EstablishIntro, &payload).await;
    assert_eq!(honest.hear().await, Some((Kind::IntroEstablished, vec![])));
    // Somebody who saw it takes it to a circuit of theirs.
    let mut thief = Bare::new(&world.client, relay).await;
    thief.say(Kind::EstablishIntro, &payload).await;
    assert_eq!(thief.hear().await, None);
    let mut forger = Bare::new(&world.client, relay).await;
    let mut forged = keys.establish(&forger.secrets.bind);
    forged[127] ^= 1;
    forger.say(Kind::EstablishIntro, &forged).await;
    assert_eq!(forger.hear().await, None);
    assert_eq!(relay.server.services.counts(), (1, 0));
    assert_eq!(relay.stats().circuits, 1);
}

#[tokio::test(start_paused = true)]
async fn attack_44_a_cookie_that_nobody_waits_for_or_that_was_used_ends_the_circuit() {
    let world = World::new();
    let mut meeting = world.meet([9; 20]).await;
    for cookie in [[9; 20], [8; 20]] {
        let mut guesser = Bare::new(&world.service, world.rendezvous_point()).await;
        guesser.say(Kind::Rendezvous1, &[&cookie[..], &[0; 1152]].concat()).await;
        assert_eq!(guesser.hear().await, None);
    }
    // A second client with a cookie that another one waits with.
    let first = world.client_rendezvous().await;
    soon(first.handle.clone().ask(Ask::EstablishRendezvous([7; 20]))).await.unwrap();
    let second = world.client_rendezvous().await;
    let refused = soon(second.handle.clone().ask(Ask::EstablishRendezvous([7; 20]))).await;
    assert_eq!(refused, Err(ErrorKind::RendezvousFailed));
    // None of it touched those who have met.
    let (ours, theirs) = meeting.stream(80).await;
    write_all(&ours, b"still here").await.unwrap();
    ours.finish();
    assert_eq!(read_all(&theirs).await.unwrap(), b"still here");
}

#[tokio::test(start_paused = true)]
async fn a_rendezvous_with_somebody_else_than_the_service_fails() {
    let world = World::new();
    let point = world.introduce_service().await;
    let rendezvous = world.client_rendezvous().await;
    soon(rendezvous.handle.clone().ask(Ask::EstablishRendezvous([9; 20])))
        .await
        .unwrap();
    let (handshake, _) = ServiceClient::start(&mut rng(5), point.entry.clone(), b"").unwrap();
    soon(rendezvous.handle.clone().ask(Ask::Expect(handshake))).await.unwrap();
    // Whoever learned the cookie, the introduction point's relay for one, cannot answer for the service.
    let mut liar = Bare::new(&world.service, world.rendezvous_point()).await;
    let awaiting = rendezvous.handle.clone().ask(Ask::AwaitService);
    liar.say(Kind::Rendezvous1, &[&[9; 20][..], &[3; 1152]].concat()).await;
    assert_eq!(soon(awaiting).await, Err(ErrorKind::RendezvousFailed));
    assert_eq!(soon(rendezvous.ended).await, Ok(ErrorKind::HandshakeFailed));
    assert_eq!(liar.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn attack_08_after_the_joint_only_relay_cells_of_the_two_ends_pass() {
    for command in [Command::RelayEarly, Command::Create] {
        let world = World::new();
        let rp = world.rendezvous_point();
        let mut client = Bare::new(&world.client, rp).await;
        client.say(Kind::EstablishRendezvous, &[4; 20]).await;
        assert_eq!(client.hear().await, Some((Kind::RendezvousEstablished, vec![])));
        let mut service = Bare::new(&world.service, rp).await;
        service.say(Kind::Rendezvous1, &[&[4; 20][..], &[0; 1152]].concat()).await;
        assert_eq!(client.hear().await.unwrap().0, Kind::Rendezvous2);
        assert_eq!(client.hear().await.unwrap().0, Kind::Rendezvous2);
        assert_eq!(rp.stats().circuits, 2);
        // A mark that would be seen at the other end, if it passed.
        let mut cell = vec![0x77; CELL_LEN];
        cell[..4].copy_from_slice(&[command as u8, 0, 0, 0]);
        service.send.write_all(&cell).await.unwrap();
        assert_eq!(service.hear().await, None);
        let mut rest = vec![0; CELL_LEN];
        assert!(soon(client.recv.read_exact(&mut rest)).await.is_err());
        rp.without_circuits().await;
    }
    // Nor has the rendezvous point anything to hear any more.
    let world = World::new();
    let rp = world.rendezvous_point();
    let mut client = Bare::new(&world.client, rp).await;
    client.say(Kind::EstablishRendezvous, &[4; 20]).await;
    client.hear().await.unwrap();
    let mut service = Bare::new(&world.service, rp).await;
    service.say(Kind::Rendezvous1, &[&[4; 20][..], &[0; 1152]].concat()).await;
    client.hear().await.unwrap();
    client.hear().await.unwrap();
    client.say(Kind::EstablishRendezvous, &[5; 20]).await;
    assert_eq!(client.hear().await, None);
    assert_eq!(service.hear().await, None);
    rp.without_circuits().await;
}

#[tokio::test(start_paused = true)]
async fn a_circuit_has_one_message_of_services_and_nothing_besides() {
    let world = World::new();
    let rp = world.rendezvous_point();
    for (kind, payload) in [
        (Kind::EstablishRendezvous, vec![1; 20]),
        (Kind::Begin, vec![4, 1, 2, 3, 4, 0, 80]),
        (Kind::BeginDir, vec![]),
        (Kind::Drop, vec![]),
        (Kind::Introduce1, vec![0; 3198]),
        (Kind::RendezvousEstablished, vec![]),
    ] {
        let mut client = Bare::new(&world.client, rp).await;
        client.say(Kind::EstablishRendezvous, &[4; 20]).await;
        assert_eq!(client.hear().await, Some((Kind::RendezvousEstablished, vec![])));
        client.say(kind, &payload).await;
        assert_eq!(client.hear().await, None, "{kind:?}");
        until("the cookie is gone", || rp.server.services.counts() == (0, 0)).await;
    }
    // What only a relay says, what is too short, and what comes early.
    for (command, kind, payload) in [
        (Command::Relay, Kind::Introduce2, vec![0; 3166]),
        (Command::Relay, Kind::Rendezvous2, vec![0; 1152]),
        (Command::Relay, Kind::IntroduceAck, vec![0]),
        (Command::Relay, Kind::Introduce1, vec![0; 3197]),
        (Command::Relay, Kind::Rendezvous1, vec![0; 1171]),
        (Command::Relay, Kind::EstablishRendezvous, vec![0; 19]),
        (Command::RelayEarly, Kind::EstablishRendezvous, vec![0; 20]),
    ] {
        let mut client = Bare::new(&world.client, rp).await;
        client.say_as(command, kind, &payload).await;
        assert_eq!(client.hear().await, None, "{kind:?}");
    }
    assert_eq!(rp.server.services.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_introductions_is_cut_at_the_introduction_point() {
    let world = World::new();
    let relay = world.introduction_point();
    let mut point = world.introduce_service().await;
    let (_, message) = ServiceClient::start(&mut rng(5), point.entry.clone(), b"flood").unwrap();
    let mut passed = 0;
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(Bare::new(&world.client, relay).await);
    }
    let began = tokio::time::Instant::now();
    for group in clients.chunks_mut(10) {
        for client in &mut *group {
            client.say(Kind::Introduce1, &message).await;
        }
        for client in group {
            let (kind, status) = client.hear().await.unwrap();
            assert_eq!(kind, Kind::IntroduceAck);
            passed += u64::from(status == [0]);
        }
    }
    let most = INTRODUCTION_BURST + INTRODUCTION_RATE * (began.elapsed().as_secs() + 1);
    assert!((INTRODUCTION_BURST..=most).contains(&passed) && most < 300, "{passed} of {most}");
    assert_eq!(soon(point.introduced.recv()).await.unwrap().1, b"flood");
}

#[tokio::test(start_paused = true)]
async fn an_introduction_point_that_floods_loses_its_circuit() {
    let net = Net::new();
    // It answers as an introduction point does, and then says the same introduction without end.
    let liar = net.liar(1, |ring, id, _, mut send, mut recv| async move {
        let request = read_create(&mut recv).await;
        let (secrets, reply) = anonnet_relay::handshake(&mut rng(1), &id, &ring, unix_seconds(), &request).unwrap();
        let mut out = Vec::new();
        write_fragments(Command::Created, &reply, &mut out).unwrap();
        send.write_all(&out).await.unwrap();
        let mut cell = vec![0; CELL_LEN];
        recv.read_exact(&mut cell).await.unwrap();
        let mut hop = anonnet_circuit::LastHop::new(&secrets);
        hop.receive(&mut cell, &mut |_| {}).unwrap();
        let mut out = Vec::new();
        hop.say(Kind::IntroEstablished, &[], &mut out).unwrap();
        loop {
            for _ in 0..10 {
                hop.say(Kind::Introduce2, &[0; 3166], &mut out).unwrap();
            }
            if send.write_all(&out).await.is_err() {
                return;
            }
            out.clear();
        }
    });
    let client = net.client(1);
    let circuit = client.build_path(vec![liar.hop()], Duration::from_secs(9)).await.unwrap();
    let keys = Box::new(IntroKeys::generate(&mut rng(2)));
    let told = Box::new(|_, _| panic!("it does not open"));
    soon(circuit.handle.clone().ask(Ask::EstablishIntro(keys, told))).await.unwrap();
    circuit.handle.set_subcredentials(vec![SUBCREDENTIAL]).unwrap();
    assert_eq!(soon(circuit.ended).await, Ok(ErrorKind::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_nobody_comes_to_is_let_go() {
    let world = World::new();
    let rendezvous = world.client_rendezvous().await;
    soon(rendezvous.handle.clone().ask(Ask::EstablishRendezvous([9; 20])))
        .await
        .unwrap();
    tokio::time::sleep(RENDEZVOUS_WAIT / 2).await;
    assert_eq!(world.rendezvous_point().server.services.counts(), (0, 1));
    let awaiting = rendezvous.handle.clone().ask(Ask::AwaitService);
    let failed = tokio::time::timeout(RENDEZVOUS_WAIT, awaiting).await.expect("it is let go");
    assert_eq!(failed, Err(ErrorKind::RendezvousFailed));
    assert_eq!(world.rendezvous_point().server.services.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_circuit_waits_for_four_introductions_and_no_more() {
    let world = World::new();
    let point = world.introduce_service().await;
    let rendezvous = world.client_rendezvous().await;
    let handshake = |seed| ServiceClient::start(&mut rng(seed), point.entry.clone(), b"").unwrap().0;
    assert_eq!(
        soon(rendezvous.handle.clone().ask(Ask::Expect(handshake(1)))).await,
        Err(ErrorKind::InvalidArgument)
    );
    soon(rendezvous.handle.clone().ask(Ask::EstablishRendezvous([9; 20])))
        .await
        .unwrap();
    for seed in 0..4 {
        assert_eq!(soon(rendezvous.handle.clone().ask(Ask::Expect(handshake(seed)))).await, Ok(()));
    }
    assert_eq!(
        soon(rendezvous.handle.clone().ask(Ask::Expect(handshake(9)))).await,
        Err(ErrorKind::StreamLimit)
    );
    // It carries nothing else meanwhile.
    assert_eq!(
        soon(rendezvous.handle.clone().connect("name.test", 80)).await.err(),
        Some(ErrorKind::Closed)
    );
    assert_eq!(
        soon(rendezvous.handle.clone().ask(Ask::EstablishRendezvous([8; 20]))).await,
        Err(ErrorKind::InvalidArgument)
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_nothing_makes_its_clients_hear_so() {
    let world = World::new();
    let relay = world.introduction_point();
    let mut service = Bare::new(&world.service, relay).await;
    let keys = IntroKeys::generate(&mut rng(8));
    let payload = keys.establish(&service.secrets.bind);
    service.say(Kind::EstablishIntro, &payload).await;
    assert_eq!(service.hear().await, Some((Kind::IntroEstablished, vec![])));
    // What its link takes, what the circuit's end holds, what waits; the rate of a point allows more.
    let held = (STREAM_WINDOW as usize + CIRCUIT_OUT_HIGH_WATER_BYTES) / (3 * CELL_LEN) + INTRODUCTIONS_QUEUED_MAX;
    let (_, message) = ServiceClient::start(&mut rng(5), entry(&keys), b"").unwrap();
    let mut passed = 0;
    loop {
        let mut client = Bare::new(&world.client, relay).await;
        client.say(Kind::Introduce1, &message).await;
        match client.hear().await.unwrap() {
            (Kind::IntroduceAck, status) if status == [0] => passed += 1,
            (Kind::IntroduceAck, status) => break assert_eq!(status, [2]),
            other => panic!("{other:?}"),
        }
        assert!(passed < INTRODUCTION_BURST);
    }
    assert!(
        passed as usize >= INTRODUCTIONS_QUEUED_MAX && passed as usize <= held + 3,
        "{passed} of {held}"
    );
    // What was passed on comes once the service takes it.
    for _ in 0..3 * passed {
        assert_eq!(service.hear().await.unwrap().0, Kind::Introduce2);
    }
}
