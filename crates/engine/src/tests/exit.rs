//! Exit streams: bytes between a circuit and real TCP sockets.

use super::*;
use anonnet_cells::EndReason;
use anonnet_circuit::limits::INITIAL_WINDOW;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A TCP server that does with each connection what the test says.
pub(super) async fn server<F, W>(serve: F) -> u16
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    port
}

pub(super) async fn echo(mut socket: TcpStream) {
    let (mut read, mut write) = socket.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

pub(super) async fn exit_circuit(net: &Net, options: Options) -> (Circuit, Relay) {
    let (guard, last) = (net.relay(1), net.relay_with(2, options));
    (net.client(1).circuit(&[&guard, &last]).await, last)
}

#[tokio::test]
async fn an_echo_with_half_close() {
    let port = server(echo).await;
    let (circuit, last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    write_all(&stream, b"hello").await.unwrap();
    stream.finish();
    assert_eq!(read_all(&stream).await, Ok(b"hello".to_vec()));
    assert_eq!(last.stats().exit_streams, 1);
    until("the stream is forgotten", || {
        circuit.handle.traffic.streams.load(Ordering::Relaxed) == 0
    })
    .await;
}

#[tokio::test]
async fn either_side_may_end_its_direction_first() {
    // The server ends at once, and then takes what comes.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |mut socket| {
        let tell = tell.clone();
        async move {
            socket.write_all(b"bye").await.unwrap();
            socket.shutdown().await.unwrap();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.unwrap();
            tell.send(rest.len()).unwrap();
        }
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    assert_eq!(read_all(&stream).await, Ok(b"bye".to_vec()));
    write_all(&stream, &vec![1; 700_000]).await.unwrap();
    stream.finish();
    assert_eq!(soon(told.recv()).await, Some(700_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn megabytes_both_ways_at_once_over_several_streams() {
    let port = server(echo).await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let circuit = Arc::new(circuit);
    let transfers = (0..6).map(|seed| {
        let circuit = Arc::clone(&circuit);
        tokio::spawn(async move {
            let data = anonnet_testkit::bytes(seed, 1_000_000 + usize::try_from(seed).unwrap());
            let stream = circuit.stream("127.0.0.1", port).await.unwrap();
            let (sent, came) = tokio::join!(
                async {
                    write_all(&stream, &data).await.unwrap();
                    stream.finish();
                },
                read_all(&stream)
            );
            assert!(came.unwrap() == data, "{sent:?}");
        })
    });
    for transfer in transfers.collect::<Vec<_>>() {
        soon(transfer).await.unwrap();
    }
}

/// Many short answers that end at once: their last bytes and their end come in one run of cells.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_a_stream_never_overtakes_its_last_bytes() {
    let port = server(|mut socket| async move {
        socket.write_all(&[5; 3000]).await.unwrap();
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let circuit = Arc::new(circuit);
    for _ in 0..10 {
        let reads = (0..40).map(|_| {
            let circuit = Arc::clone(&circuit);
            tokio::spawn(async move {
                let stream = circuit.stream("127.0.0.1", port).await.unwrap();
                stream.finish();
                read_all(&stream).await.map(|bytes| bytes.len())
            })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(soon(read).await.unwrap(), Ok(3000));
        }
    }
}

#[tokio::test]
async fn a_reset_travels_in_either_direction() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |mut socket| {
        let tell = tell.clone();
        async move {
            let mut first = [0];
            let count = socket.read(&mut first).await.unwrap_or(9);
            if count == 1 && first[0] == b'r' {
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            let error = loop {
                match socket.read(&mut [0; 100]).await {
                    Ok(0) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error.kind()),
                }
            };
            tell.send(error).unwrap();
        }
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    write_all(&stream, b"r").await.unwrap();
    assert_eq!(read_all(&stream).await, Err(ErrorKind::StreamReset));
    // Ours, in the middle: the target sees a reset, not an end that looks complete.
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    write_all(&stream, b"go").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.reset(EndReason::Cancelled);
    assert_eq!(soon(told.recv()).await, Some(Some(io::ErrorKind::ConnectionReset)));
    // Dropping the handle does the same.
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    write_all(&stream, b"go").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    assert_eq!(soon(told.recv()).await, Some(Some(io::ErrorKind::ConnectionReset)));
    // And so does the end of the circuit.
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    write_all(&stream, b"go").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(circuit);
    assert_eq!(soon(told.recv()).await, Some(Some(io::ErrorKind::ConnectionReset)));
    assert_eq!(read_all(&stream).await, Err(ErrorKind::CircuitClosed));
}

#[tokio::test]
async fn attack_10_a_client_that_does_not_read_stops_the_target() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let port = server(move |mut socket| {
        let counter = Arc::clone(&counter);
        async move {
            let _ = socket2::SockRef::from(&socket).set_send_buffer_size(16 * 1024);
            while let Ok(count) = socket.write(&[1; 16 * 1024]).await {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    let mut before = usize::MAX;
    until("the target is held back", || {
        let now = written.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        now > 0 && std::mem::replace(&mut before, now) == now
    })
    .await;
    assert_eq!(circuit.handle.traffic.read.load(Ordering::Relaxed), INITIAL_WINDOW);
    drop(stream);
}

#[tokio::test]
async fn a_target_that_does_not_read_stops_the_client() {
    let port = server(|socket| async move {
        let _socket = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    let mut taken = 0_usize;
    while tokio::time::timeout(Duration::from_millis(500), stream.writable()).await.is_ok() {
        stream.write(&mut vec![1; 64 * 1024]);
        taken += 64 * 1024;
        assert!(taken < 64 << 20, "the kernel's buffers are not so large");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let names = Names::new(&[("there.test", &["127.0.0.1"]), ("empty.test", &[])]);
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(circuit.stream("127.0.0.1", free).await.err(), Some(ErrorKind::StreamRefused));
    assert_eq!(circuit.stream("there.test", free).await.err(), Some(ErrorKind::StreamRefused));
    assert_eq!(circuit.stream("nowhere.test", 80).await.err(), Some(ErrorKind::NameNotResolved));
    assert_eq!(circuit.stream("empty.test", 80).await.err(), Some(ErrorKind::NameNotResolved));
    assert_eq!(circuit.stream("not a name", 80).await.err(), Some(ErrorKind::InvalidAddress));
    let port = server(echo).await;
    assert!(circuit.stream("there.test", port).await.is_ok());
}

#[tokio::test]
async fn the_next_address_of_a_name_is_tried_where_one_refuses() {
    let listener = TcpListener::bind("127.0.0.2:0").await;
    let Ok(listener) = listener else { return };
    let port = listener.local_addr().unwrap().port();
    let names = Names::new(&[("two.test", &["127.0.0.3", "127.0.0.2"])]);
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    assert!(circuit.stream("two.test", port).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_stream_that_nothing_moves_on_ends_in_time() {
    use crate::limits::HALF_CLOSED_IDLE_TIMEOUT;
    // A server that hears the end of its client's direction, and never ends its own.
    let port = server(|mut socket| async move {
        while socket.read(&mut [0; 100]).await.is_ok_and(|count| count > 0) {}
        std::future::pending::<()>().await;
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    // Open in both directions, it may be idle for as long as it likes.
    tokio::time::sleep(20 * HALF_CLOSED_IDLE_TIMEOUT).await;
    write_all(&stream, b"x").await.unwrap();
    stream.finish();
    let began = tokio::time::Instant::now();
    assert_eq!(stream.ended().await, ErrorKind::Timeout);
    assert!(
        (HALF_CLOSED_IDLE_TIMEOUT..=2 * HALF_CLOSED_IDLE_TIMEOUT).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_stream_on_which_something_moves_goes_on() {
    use crate::limits::HALF_CLOSED_IDLE_TIMEOUT;
    let port = server(|mut socket| async move {
        for _ in 0..20 {
            tokio::time::sleep(HALF_CLOSED_IDLE_TIMEOUT * 9 / 10).await;
            socket.write_all(b"x").await.unwrap();
        }
    })
    .await;
    let (circuit, _last) = exit_circuit(&Net::new(), Options::default()).await;
    let stream = circuit.stream("127.0.0.1", port).await.unwrap();
    stream.finish();
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    while stream.read(&mut chunk).await.unwrap() {
        stream.release(chunk.len());
        all.append(&mut chunk);
    }
    assert_eq!(all, [b'x'; 20]);
}
