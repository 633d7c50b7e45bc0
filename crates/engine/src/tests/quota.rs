//! What all circuits of a relay hold together, and who goes where it is too much.

use super::exit::{echo, server};
use super::*;
use anonnet_transport::STREAM_WINDOW;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const WINDOW: usize = STREAM_WINDOW as usize;

fn limited(quota: usize) -> Options {
    Options {
        quota,
        ..Options::default()
    }
}

impl Relay {
    fn held(&self) -> usize {
        self.server.quota.used()
    }

    /// Without circuits, and with nothing held for any.
    async fn holds_nothing(&self) {
        self.without_circuits().await;
        until("nothing is held", || self.held() == 0).await;
    }
}

/// A relay that makes circuits, and then takes nothing of what comes on them.
fn deaf(net: &Net, number: u8) -> Liar {
    net.liar(number, |ring, id, _, mut send, mut recv| async move {
        answer_create(&ring, &id, &mut send, &mut recv).await;
        std::future::pending::<()>().await;
    })
}

/// A circuit whose relay is paused, since the next one takes nothing.
async fn stuck(client: &Client, guard: &Relay, deaf: &Liar) -> (Circuit, Vec<StreamHandle>) {
    let stuck = flooded(client, guard, deaf).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stuck
}

#[tokio::test(start_paused = true)]
async fn attack_10_the_circuit_that_is_paused_longest_goes_when_all_of_them_hold_too_much() {
    let net = Net::new();
    let quota = 8 * WINDOW;
    let (guard, last) = (net.relay_with(1, limited(quota)), net.relay(2));
    let deaf = deaf(&net, 3);
    let (honest, hostile) = (net.client(1), net.client(2));
    let before = honest.circuit(&[&guard, &last]).await;
    last.answer(|body| Some(Ok(if body == b"much" { vec![7; 1_000_000] } else { body })));
    let mut circuits = Vec::new();
    for count in 1..=30 {
        circuits.push(stuck(&hostile, &guard, &deaf).await);
        // Each holds a window, that of its paused read, and less than one run of cells.
        let each = guard.held() / count.min(5);
        assert!(count > 5 || (WINDOW..2 * WINDOW).contains(&each), "{count}: {each}");
        assert!(guard.held() <= quota, "{}", guard.held());
        let ended: Vec<_> = circuits
            .iter()
            .map(|(circuit, _)| circuit.ended.is_terminated() || !circuit.ended.is_empty())
            .collect();
        let reset = usize::try_from(guard.stats().memory_resets).unwrap();
        assert!(ended[..reset].iter().all(|ended| *ended), "the first ones: {ended:?}");
        assert!(ended[reset..].iter().all(|ended| !ended), "and no others: {ended:?}");
        assert!(count > 5 || reset == 0);
        // Who is not paused notices nothing.
        assert_eq!(before.ask(b"much").await.map(|answer| answer.len()), Ok(1_000_000));
        assert_eq!(honest.circuit(&[&guard, &last]).await.ask(b"x").await, Ok(b"x".to_vec()));
    }
    let reset = guard.stats().memory_resets;
    assert!((24..=27).contains(&reset), "{reset}");
    assert_eq!(guard.stats().memory_held, guard.held() as u64);
    for (circuit, streams) in circuits.drain(..) {
        if !circuit.ended.is_empty() {
            // As any other end: there is one code.
            assert_eq!(soon(circuit.ended).await, Ok(ErrorKind::CircuitClosed));
        }
        drop(streams);
    }
    assert_eq!(guard.stats().destroyed, 0);
    drop(before);
    guard.holds_nothing().await;
    last.holds_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_blocked_direction_holds_is_given_back_when_it_goes_on() {
    let net = Net::new();
    let (guard, last) = (net.relay(1), net.relay(2));
    let (open, opened) = tokio::sync::watch::channel(false);
    // Takes nothing for a while, and then all.
    let lazy = net.liar(3, move |ring, id, _, mut send, mut recv| {
        let mut opened = opened.clone();
        async move {
            answer_create(&ring, &id, &mut send, &mut recv).await;
            opened.wait_for(|open| *open).await.unwrap();
            while recv.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
        }
    });
    let client = net.client(1);
    let _stuck = stuck(&client, &guard, &lazy).await;
    assert!(guard.held() > WINDOW);
    open.send_replace(true);
    until("nothing is held", || guard.held() == 0).await;
    assert_eq!(guard.stats().circuits, 1);
    // Nor does a circuit hold anything that was never blocked, whatever went through it.
    last.answer(|_| Some(Ok(vec![7; 3_000_000])));
    let circuit = client.circuit(&[&guard, &last]).await;
    assert_eq!(circuit.ask(b"?").await.unwrap().len(), 3_000_000);
    until("nothing is held", || guard.held() + last.held() == 0).await;
}

/// Whatever state a circuit is in, nothing is left of what was counted for it.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_paused_circuit_whoever_ends_it() {
    for who in ["the client", "its link", "the next relay", "the next relay's process"] {
        let net = Net::new();
        let guard = net.relay(1);
        let (end, ends) = tokio::sync::watch::channel(false);
        let next = net.liar(2, move |ring, id, _, mut send, mut recv| {
            let mut ends = ends.clone();
            async move {
                answer_create(&ring, &id, &mut send, &mut recv).await;
                ends.wait_for(|end| *end).await.unwrap();
            }
        });
        let client = net.client(1);
        let (circuit, streams) = stuck(&client, &guard, &next).await;
        assert!(guard.held() > WINDOW, "{who}");
        match who {
            "the client" => drop(circuit),
            "its link" => client.pool.close(),
            "the next relay" => _ = end.send_replace(true),
            _ => net.network.kill(next.address),
        }
        guard.holds_nothing().await;
        drop(streams);
    }
}

/// A target that takes nothing, or, where it is told to, ends its own direction and takes nothing. The kernel takes little for it.
async fn stubborn(ends: bool) -> (u16, tokio::sync::mpsc::UnboundedReceiver<TcpStream>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(100).unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            if ends {
                socket.shutdown().await.unwrap();
            }
            let _ = tell.send(socket);
        }
    });
    (port, told)
}

/// Writes until nothing more is taken.
async fn fill(stream: &StreamHandle) {
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), stream.writable()).await {
        stream.write(&mut vec![1; 50_000]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_10_targets_that_take_nothing_end_the_circuits_they_are_reached_by() {
    let net = Net::new();
    // Twice what one stream can have at most.
    let quota = 4 * 1024 * 1024;
    let last = net.relay_with(1, limited(quota));
    let (port, _targets) = stubborn(false).await;
    let echoing = server(echo).await;
    let (honest, hostile) = (net.client(1), net.client(2));
    let honest = honest.circuit(&[&last]).await;
    let mut circuits = Vec::new();
    while last.stats().memory_resets < 2 {
        assert!(circuits.len() < 100);
        let circuit = hostile.circuit(&[&last]).await;
        let stream = circuit.stream("127.0.0.1", port).await.unwrap();
        fill(&stream).await;
        circuits.push((circuit, stream));
        assert!(last.held() <= quota, "{}", last.held());
        let stream = honest.stream("127.0.0.1", echoing).await.unwrap();
        write_all(&stream, &[5; 200_000]).await.unwrap();
        stream.finish();
        assert_eq!(read_all(&stream).await.map(|bytes| bytes.len()), Ok(200_000));
    }
    for (circuit, _) in &mut circuits[..2] {
        assert_eq!(soon(&mut circuit.ended).await, Ok(ErrorKind::CircuitClosed));
    }
    assert!(circuits.last().unwrap().0.ended.is_empty());
    drop((circuits, honest));
    last.holds_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_10_clients_that_take_nothing_from_an_exit_lose_the_circuit_that_waits_longest() {
    let net = Net::new();
    let quota = 2_000_000;
    let last = net.relay_with(1, limited(quota));
    let flooding = server(|mut socket| async move { while socket.write_all(&[1; 16 * 1024]).await.is_ok() {} }).await;
    let echoing = server(echo).await;
    let (honest, hostile) = (net.client(1), net.client(2));
    let honest = honest.circuit(&[&last]).await;
    let mut circuits = Vec::new();
    for count in 0..6 {
        let circuit = hostile.circuit(&[&last]).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(circuit.stream("127.0.0.1", flooding).await.unwrap());
        }
        // All that they have credit for has come, and none of it is read.
        until("the streams have stopped", || {
            circuit.handle.traffic.read.load(Ordering::Relaxed) == 3 * 65536 || !circuit.ended.is_empty()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        circuits.push((circuit, streams));
        assert!(last.held() <= quota, "{count}: {}", last.held());
        let stream = honest.stream("127.0.0.1", echoing).await.unwrap();
        write_all(&stream, &[5; 200_000]).await.unwrap();
        stream.finish();
        assert_eq!(read_all(&stream).await.map(|bytes| bytes.len()), Ok(200_000));
    }
    assert!(last.stats().memory_resets >= 2, "{:?}", last.stats());
    assert_eq!(soon(&mut circuits[0].0.ended).await, Ok(ErrorKind::CircuitClosed));
    assert!(circuits[5].0.ended.is_empty());
    drop((circuits, honest));
    last.holds_nothing().await;
}

/// How a target's connection ends when it is read at last.
async fn outcome(mut socket: TcpStream) -> io::Result<usize> {
    let mut all = 0;
    loop {
        match soon(socket.read(&mut [0; 65536])).await? {
            0 => return Ok(all),
            count => all += count,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_dead_circuit_had_for_a_target_that_takes_nothing_is_not_kept() {
    let net = Net::new();
    let last = net.relay(1);
    let (port, mut targets) = stubborn(false).await;
    let circuit = net.client(1).circuit(&[&last]).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    fill(&stream).await;
    assert!(last.held() > 0);
    drop(circuit);
    // The target need not do anything for it.
    last.holds_nothing().await;
    let socket = soon(targets.recv()).await.unwrap();
    assert_eq!(outcome(socket).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    drop(stream);
}

/// Streams that are over for their client, with bytes that their targets do not take: their circuit may be gone, and they still count.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_outlive_their_circuit_are_reset_too() {
    let net = Net::new();
    let (port, mut targets) = stubborn(true).await;
    let client = net.client(1);
    // How much the kernels take for such a target, and up to 100 kB more.
    let mut much = 0;
    {
        let free = net.relay(2);
        let circuit = client.circuit(&[&free]).await;
        let stream = circuit.stream("127.0.0.1", port).await.unwrap();
        let mut held = 0;
        while held == 0 || held != free.held() {
            write_all(&stream, &[1; 100_000]).await.unwrap();
            much += 100_000;
            tokio::time::sleep(Duration::from_millis(50)).await;
            held = free.held();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(soon(targets.recv()).await);
    }
    let quota = 500_000;
    let last = net.relay_with(1, limited(quota));
    let mut sockets = Vec::new();
    for _ in 0..15 {
        let circuit = client.circuit(&[&last]).await;
        let stream = circuit.stream("127.0.0.1", port).await.unwrap();
        assert_eq!(read_all(&stream).await, Ok(vec![]));
        write_all(&stream, &vec![1; much + 50_000]).await.unwrap();
        stream.finish();
        soon(stream.ended()).await;
        sockets.push(soon(targets.recv()).await.unwrap());
        // The end has to arrive before its circuit is gone.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(last.held() <= quota, "{}", last.held());
        drop(circuit);
        last.without_circuits().await;
    }
    assert!(last.held() > 0, "the last ones still drain");
    let mut ends = Vec::new();
    for socket in sockets {
        ends.push(outcome(socket).await.map_err(|error| error.kind()));
    }
    assert_eq!(ends[0], Err(io::ErrorKind::ConnectionReset), "{ends:?}");
    assert_eq!(ends[14], Ok(much + 50_000), "{ends:?}");
    assert_eq!(last.stats().memory_resets, 0, "their circuits had gone before");
    last.holds_nothing().await;
}
