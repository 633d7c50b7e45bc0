//! Exit streams: names and policies, and bytes between a circuit and real TCP sockets.

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

async fn exit_circuit(net: &Net, options: Options) -> (Circuit, Relay) {
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

#[tokio::test]
async fn the_policy_decides_by_port_and_address_after_resolving() {
    let (open, closed) = (server(echo).await, server(echo).await);
    let lines: &'static [&'static str] = Box::leak(Box::new([
        &*Box::leak(format!("reject 127.0.0.9:{open}").into_boxed_str()),
        &*Box::leak(format!("accept *:{open}").into_boxed_str()),
    ]));
    let names = Names::new(&[("no.test", &["127.0.0.9"]), ("yes.test", &["127.0.0.9", "127.0.0.1"])]);
    let (circuit, last) = exit_circuit(
        &Net::new(),
        Options {
            policy: lines,
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(circuit.stream("127.0.0.1", closed).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(circuit.stream("127.0.0.9", open).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(circuit.stream("no.test", open).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(last.stats().exit_streams, 0);
    assert!(circuit.stream("yes.test", open).await.is_ok());
    // A relay that is no exit opens nothing, whatever its policy says.
    let roles = Roles { relay: true, exit: false };
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            roles,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(circuit.stream("127.0.0.1", open).await.err(), Some(ErrorKind::ExitPolicy));
    let asked = circuit.handle.clone().resolve("yes.test").await.unwrap();
    assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::ExitPolicy));
}

const PRIVATE: &[&str] = &[
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
];

#[tokio::test]
async fn attack_39_exit_ssrf() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let port = server(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    let names: Vec<(&'static str, Vec<&str>)> = vec![
        ("metadata.test", vec!["169.254.169.254"]),
        ("local.test", vec!["127.0.0.1"]),
        ("local6.test", vec!["::1"]),
        ("all.test", PRIVATE.to_vec()),
    ];
    let names: Vec<(&'static str, &[&str])> = names.iter().map(|(name, list)| (*name, list.as_slice())).collect();
    let options = Options {
        allow_private: false,
        resolver: Names::new(&names),
        ..Options::default()
    };
    let (circuit, last) = exit_circuit(&Net::new(), options).await;
    for target in PRIVATE.iter().chain(&["metadata.test", "local.test", "local6.test", "all.test"]) {
        assert_eq!(circuit.stream(target, port).await.err(), Some(ErrorKind::ExitPolicy), "{target}");
    }
    // Nor are such addresses told to whoever only asks for the name.
    for name in ["metadata.test", "local.test", "local6.test", "all.test"] {
        let asked = circuit.handle.clone().resolve(name).await.unwrap();
        assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::ExitPolicy), "{name}");
    }
    assert_eq!((connections.load(Ordering::Relaxed), last.stats().exit_streams), (0, 0));
}

/// A name that is public the first time and private the second.
struct Rebinding(AtomicUsize);

impl Resolve for Rebinding {
    fn resolve(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let address: IpAddr = if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            [192, 0, 3, 1].into()
        } else {
            [127, 0, 0, 1].into()
        };
        Box::pin(async move { Ok(vec![address]) })
    }
}

#[tokio::test]
async fn attack_39_exit_ssrf_by_dns_rebinding() {
    let port = server(echo).await;
    let resolver = Arc::new(Rebinding(AtomicUsize::new(0)));
    let options = Options {
        allow_private: false,
        resolver: Arc::clone(&resolver) as Arc<dyn Resolve>,
        ..Options::default()
    };
    let (circuit, _last) = exit_circuit(&Net::new(), options).await;
    let asked = circuit.handle.clone().resolve("rebinding.test").await.unwrap();
    assert!(soon(asked.answer()).await.is_ok());
    // What is checked is what is connected to: the name is resolved once for one connection.
    assert_eq!(circuit.stream("rebinding.test", port).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(resolver.0.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn resolve_answers_with_addresses_bounded_in_number() {
    let many: Vec<String> = (0..40).map(|last| format!("9.9.9.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let names = Names::new(&[
        ("both.test", &["9.9.9.9", "2620:fe::fe", "9.9.9.9"]),
        ("many.test", &many),
        ("mixed.test", &["10.0.0.1", "9.9.9.9"]),
    ]);
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            allow_private: false,
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    let resolve = async |name| match soon(circuit.handle.clone().resolve(name).await.unwrap().answer()).await {
        Ok(crate::pipe::Answer::Resolved(addresses)) => Ok(addresses),
        Ok(other) => panic!("{other:?}"),
        Err(kind) => Err(kind),
    };
    let parse = |addresses: &[&str]| {
        addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(resolve("both.test").await, Ok(parse(&["9.9.9.9", "2620:fe::fe"])), "each once");
    assert_eq!(resolve("mixed.test").await, Ok(parse(&["9.9.9.9"])));
    assert_eq!(resolve("many.test").await.unwrap().len(), crate::limits::DNS_ADDRESSES_MAX);
    assert_eq!(resolve("none.test").await, Err(ErrorKind::NameNotResolved));
}

/// Never answers.
pub(super) struct Slow;

impl Resolve for Slow {
    fn resolve(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_costs_its_deadline_and_no_circuit() {
    let (circuit, last) = exit_circuit(
        &Net::new(),
        Options {
            resolver: Arc::new(Slow),
            ..Options::default()
        },
    )
    .await;
    let began = tokio::time::Instant::now();
    let stream = circuit.handle.clone().connect("slow.test", 80).await.unwrap();
    assert_eq!(soon(stream.answer()).await.err(), Some(ErrorKind::Timeout));
    assert!(began.elapsed() < crate::limits::CONNECT_TIMEOUT + Duration::from_secs(1));
    // More than there are places: each waits for its own time only.
    let mut waiting = Vec::new();
    for _ in 0..3 * crate::limits::DNS_CONCURRENT_MAX {
        waiting.push(circuit.handle.clone().resolve("slow.test").await.unwrap());
    }
    let began = tokio::time::Instant::now();
    for asked in &waiting {
        assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::Timeout));
    }
    assert!(began.elapsed() < Duration::from_secs(12));
    // Whoever gives up meanwhile frees the place.
    drop(circuit.handle.clone().connect("slow.test", 80).await.unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(last.server.names.available_permits(), crate::limits::DNS_CONCURRENT_MAX);
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
