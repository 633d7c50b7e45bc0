//! A stream that breaks off is never taken for one that is complete: its target sees a reset, and no clean end, whenever it breaks off.

use super::exit::{exit_circuit, server};
use super::proxy_world::world;
use super::*;
use anonnet_cells::EndReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const ROUNDS: usize = 300;
const AT_ONCE: usize = 20;

/// How a connection ended at its target: after so many bytes, with this error, or none for a clean end.
type Seen = (usize, Option<io::ErrorKind>);

/// A target that reads, and tells how each of its connections ended.
async fn target() -> (u16, mpsc::UnboundedReceiver<Seen>) {
    let (tell, told) = mpsc::unbounded_channel();
    let port = server(move |mut socket| {
        let tell = tell.clone();
        async move {
            let mut bytes = 0;
            let end = loop {
                match socket.read(&mut [0; 100]).await {
                    Ok(0) => break None,
                    Ok(count) => bytes += count,
                    Err(error) => break Some(error.kind()),
                }
            };
            let _ = tell.send((bytes, end));
        }
    })
    .await;
    (port, told)
}

/// So many of these, some at once.
async fn rounds<W: Future<Output = ()> + Send + 'static>(work: impl Fn(usize) -> W) {
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..ROUNDS {
        if tasks.len() == AT_ONCE {
            soon(tasks.join_next()).await.unwrap().unwrap();
        }
        tasks.spawn(work(round));
    }
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
}

/// Each of the connections that came was reset.
async fn all_reset(told: &mut mpsc::UnboundedReceiver<Seen>, least: usize) {
    let mut seen = 0;
    loop {
        let wait = if seen < least { DEADLINE } else { Duration::from_millis(300) };
        match tokio::time::timeout(wait, told.recv()).await {
            Ok(Some((bytes, end))) => assert_eq!(end, Some(io::ErrorKind::ConnectionReset), "after {seen}, at byte {bytes}"),
            _ => break,
        }
        seen += 1;
    }
    assert!(seen >= least, "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_is_reset_right_after_its_first_byte_never_ends_cleanly() {
    let (port, mut told) = target().await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let circuit = Arc::new(circuit);
    for last in [
        |stream: StreamHandle| stream.reset(EndReason::Cancelled),
        |stream: StreamHandle| stream.reset(EndReason::Reset),
        drop::<StreamHandle>,
    ] {
        rounds(|_| {
            let circuit = Arc::clone(&circuit);
            async move {
                let stream = circuit.stream("127.0.0.1", port).await.unwrap();
                stream.write(&mut vec![b'x']);
                last(stream);
            }
        })
        .await;
        all_reset(&mut told, ROUNDS).await;
    }
}

/// As [`a_stream_that_is_reset_right_after_its_first_byte_never_ends_cleanly`], where the byte has left before the reset follows, by more or less.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_one_that_is_reset_a_moment_later() {
    let (port, mut told) = target().await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let circuit = Arc::new(circuit);
    rounds(|round| {
        let circuit = Arc::clone(&circuit);
        async move {
            let stream = circuit.stream("127.0.0.1", port).await.unwrap();
            stream.write(&mut vec![b'x']);
            tokio::time::sleep(Duration::from_micros(100 * round as u64)).await;
            stream.reset(EndReason::Cancelled);
        }
    })
    .await;
    all_reset(&mut told, ROUNDS).await;
}

/// An exit gives up in the middle of connecting, when the target has accepted already.
#[tokio::test]
async fn nor_a_connection_that_is_given_up_before_the_exit_knows_of_it() {
    let (port, mut told) = target().await;
    for _ in 0..ROUNDS {
        let mut dialling = Box::pin(crate::server::dial(SocketAddr::from(([127, 0, 0, 1], port))));
        // The kernel connects at once; that it has is heard with the next turn of the reactor.
        assert!(
            dialling
                .as_mut()
                .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
                .is_pending()
        );
        drop(dialling);
    }
    all_reset(&mut told, 1).await;
}

/// The same, by way of a circuit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_one_that_is_given_up_while_the_exit_connects() {
    let (port, mut told) = target().await;
    let (circuit, last) = exit_circuit(&Net::new(), Options::default()).await;
    let circuit = Arc::new(circuit);
    rounds(|_| {
        let circuit = Arc::clone(&circuit);
        async move {
            // Both cells arrive in one run, or in two that are close.
            let stream = soon(circuit.handle.clone().connect("127.0.0.1", port)).await.unwrap();
            tokio::task::yield_now().await;
            drop(stream);
        }
    })
    .await;
    drop(circuit);
    last.without_circuits().await;
    all_reset(&mut told, 0).await;
}

/// A client that takes its words back at once, in the ways that clients of a proxy speak.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_one_whose_program_resets_its_connection_to_the_proxy() {
    let (port, mut told) = target().await;
    let world = world().await;
    let address = world.proxy.address;
    let socks = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
    let connect = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").into_bytes();
    let forward = format!("POST http://127.0.0.1:{port}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n").into_bytes();
    // How many bytes the proxy answers before the stream is open; none for a request that is forwarded.
    for (greeting, answer) in [(socks, 12), (connect, 1), (forward, 0)] {
        for waits in [true, false] {
            let greeting = greeting.clone();
            rounds(move |_| {
                let greeting = greeting.clone();
                async move {
                    let mut socket = TcpStream::connect(address).await.unwrap();
                    socket.set_nodelay(true).unwrap();
                    socket.write_all(&greeting).await.unwrap();
                    if waits {
                        soon(socket.read_exact(&mut vec![0; answer])).await.unwrap();
                    }
                    socket.write_all(b"x").await.unwrap();
                    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                }
            })
            .await;
            // Who did not wait may be gone before the proxy has read what he wants.
            all_reset(&mut told, if waits && answer > 0 { ROUNDS } else { 0 }).await;
        }
    }
    world.proxy.without_clients().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_does_a_program_take_a_download_for_complete_whose_proxy_is_closed() {
    let port = server(|mut socket| async move {
        let _ = socket.write_all(b"a part").await;
        let _ = socket.read(&mut [0]).await;
    })
    .await;
    let world = world().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = world.proxy.connect().await;
        let connect = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n");
        socket.write_all(connect.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"a part") {
            assert!(soon(socket.read_buf(&mut read)).await.unwrap() > 0);
        }
        sockets.push(socket);
    }
    world.proxy.task.abort();
    for mut socket in sockets {
        let end = soon(socket.read(&mut [0; 9])).await;
        assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    }
}
