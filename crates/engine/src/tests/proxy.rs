//! SOCKS clients over real TCP, honest and not.

use super::exit::{echo, server};
use super::proxy_world::{Proxy, rest, world};
use super::*;
use crate::events::ProxyProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Everything that a SOCKS 5 client says, with a password and early data.
fn socks5(port: u16, early: &[u8]) -> Vec<u8> {
    [
        &b"\x05\x02\x00\x02\x01\x03bob\x02pw\x05\x01\x00\x03\x0btarget.test"[..],
        &port.to_be_bytes(),
        early,
    ]
    .concat()
}

const ACCEPTED: &[u8] = b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

#[tokio::test]
async fn attack_35_early_data_is_kept_wherever_the_bytes_are_cut() {
    let port = server(echo).await;
    let world = world().await;
    let all = socks5(port, b"GET early");
    for cut in 0..all.len() {
        let mut socket = world.proxy.connect().await;
        socket.write_all(&all[..cut]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        socket.write_all(&all[cut..]).await.unwrap();
        socket.shutdown().await.unwrap();
        assert_eq!(rest(&mut socket).await, [ACCEPTED, b"GET early"].concat(), "cut at {cut}");
    }
    // One byte at a time.
    let mut socket = world.proxy.connect().await;
    for byte in all.chunks(1) {
        socket.write_all(byte).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    socket.shutdown().await.unwrap();
    assert_eq!(rest(&mut socket).await, [ACCEPTED, b"GET early"].concat());
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn attack_36_a_client_that_ends_at_any_byte_ends_its_session() {
    let port = server(echo).await;
    let world = world().await;
    let all = socks5(port, b"some data");
    for length in 0..=all.len() {
        let answer = world.proxy.exchange(&all[..length]).await;
        assert!([ACCEPTED, b"some data"].concat().starts_with(&answer), "{length}: {answer:?}");
        // And one that is gone without a word.
        let mut socket = world.proxy.connect().await;
        let _ = socket.write_all(&all[..length]).await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
    world.proxy.without_clients().await;
    let circuit = &world.circuit.handle.traffic;
    until("no stream is left", || circuit.streams.load(Ordering::Relaxed) == 0).await;
}

#[tokio::test]
async fn attack_54_garbage_at_every_byte_of_socks_is_answered_or_closed() {
    let port = server(echo).await;
    let world = world().await;
    let five = socks5(port, b"");
    let four = [&b"\x04\x01"[..], &port.to_be_bytes(), b"\0\0\0\x01user\0target.test\0"].concat();
    for good in [five, four] {
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff, good[at] ^ 1, good[at].wrapping_add(1), b'\n'] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                world.proxy.exchange(&bytes).await;
            }
        }
    }
    let mut random = rng(54);
    for _ in 0..200 {
        let mut bytes = vec![0; 300];
        rand_core::Rng::fill_bytes(&mut random, &mut bytes);
        bytes[0] = [4, 5, bytes[0]][usize::from(bytes[1] % 3)];
        world.proxy.exchange(&bytes).await;
    }
    world.proxy.without_clients().await;
    let still = world.proxy.exchange(&socks5(port, b"still here")).await;
    assert_eq!(still, [ACCEPTED, b"still here"].concat());
}

#[tokio::test]
async fn attack_34_names_go_to_the_exit_unresolved_and_addresses_are_told_apart() {
    let port = server(echo).await;
    let world = world().await;
    let [high, low] = port.to_be_bytes();
    assert_eq!(world.proxy.exchange(&socks5(port, b"x")).await, [ACCEPTED, b"x"].concat());
    let request = world.proxy.seen().pop().unwrap();
    assert_eq!(
        (request.host.as_str(), request.port, request.literal, request.resolve),
        ("target.test", port, false, false)
    );
    assert_eq!(
        (request.user.as_deref(), request.password.as_deref()),
        (Some(&b"bob"[..]), Some(&b"pw"[..]))
    );
    assert_eq!(
        (request.listener, request.protocol, request.again),
        (5, ProxyProtocol::Socks5, None)
    );
    assert!(request.client.ip().is_loopback());

    let answer = world.proxy.exchange(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low, b'x']).await;
    assert_eq!(answer, b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00x");
    let request = world.proxy.seen().pop().unwrap();
    assert_eq!((request.host.as_str(), request.literal, request.user), ("127.0.0.1", true, None));

    let six = [&[5, 1, 0, 5, 1, 0, 4][..], &std::net::Ipv6Addr::LOCALHOST.octets(), &[0, 9]].concat();
    assert_eq!(world.proxy.exchange(&six).await[..2], [5, 0]);
    let request = world.proxy.seen().pop().unwrap();
    assert_eq!((request.host.as_str(), request.literal), ("::1", true));

    let four = [&[4, 1, high, low, 127, 0, 0, 1][..], b"me\0x"].concat();
    assert_eq!(world.proxy.exchange(&four).await, b"\0\x5a\0\0\0\0\0\0x");
    let request = world.proxy.seen().pop().unwrap();
    assert_eq!(
        (request.protocol, request.literal, request.user.as_deref()),
        (ProxyProtocol::Socks4, true, Some(&b"me"[..]))
    );
    let named = [&[4, 1, high, low, 0, 0, 0, 1, 0][..], b"target.test\0x"].concat();
    assert_eq!(world.proxy.exchange(&named).await, b"\0\x5a\0\0\0\0\0\0x");
    assert!(!world.proxy.seen().pop().unwrap().literal);
}

#[tokio::test]
async fn a_name_is_resolved_by_the_exit() {
    let world = world().await;
    let answer = world.proxy.exchange(b"\x05\x01\x00\x05\xf0\x00\x03\x09nine.test\0\0").await;
    assert_eq!(answer, b"\x05\x00\x05\x00\x00\x01\x09\x09\x09\x09\0\0");
    assert!(world.proxy.seen().pop().unwrap().resolve);
    let answer = world.proxy.exchange(b"\x05\x01\x00\x05\xf0\x00\x03\x09none.test\0\0").await;
    assert_eq!(answer[..4], [5, 0, 5, 4], "host unreachable");
    // An address needs nobody.
    let answer = world.proxy.exchange(b"\x05\x01\x00\x05\xf0\x00\x01\x01\x02\x03\x04\0\0").await;
    assert_eq!(answer, b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\0\0");
    assert_eq!(world.proxy.seen().len(), 1);
}

#[tokio::test]
async fn refusals_are_told_by_the_codes_of_the_protocol() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let world = world().await;
    let code = async |bytes: &[u8]| world.proxy.exchange(bytes).await.get(5).copied();
    assert_eq!(code(&socks5(free, b"")).await, Some(5), "refused");
    assert_eq!(
        code(b"\x05\x01\x02\x01\x00\x00\x05\x02\x00\x01\x7f\0\0\x01\0\x50").await,
        Some(7),
        "BIND"
    );
    assert_eq!(
        code(b"\x05\x01\x02\x01\x00\x00\x05\x01\x00\x01\x7f\0\0\x01\0\0").await,
        Some(8),
        "port 0"
    );
    assert_eq!(code(b"\x05\x01\x02\x01\x00\x00\x05\x01\x00\x05\x7f").await, Some(8), "address type");
    for (kind, reply) in [
        (ErrorKind::NoPath, 3),
        (ErrorKind::Timeout, 6),
        (ErrorKind::ExitPolicy, 2),
        (ErrorKind::Internal, 1),
    ] {
        let proxy = Proxy::new(move |_| Err(kind)).await;
        assert_eq!(proxy.exchange(&socks5(80, b"GET")).await[4..6], [5, reply], "{kind:?}");
        assert_eq!(proxy.attach.stats.refused.get(), 1);
    }
}

/// A refusal arrives even where the client has sent more than was read of it.
#[tokio::test]
async fn a_refusal_is_not_lost_behind_unread_bytes() {
    let world = world().await;
    for _ in 0..20 {
        let mut socket = world.proxy.connect().await;
        let bytes = [&b"\x05\x01\x00\x05\x09\x00\x01\x7f\0\0\x01\0\x50"[..], &[7; 100_000]].concat();
        let _ = socket.write_all(&bytes).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(rest(&mut socket).await[..4], [5, 0, 5, 7]);
    }
}

#[tokio::test]
async fn a_request_goes_to_another_circuit_where_the_first_one_is_dead() {
    let port = server(echo).await;
    let net = Net::new();
    let (dead, alive) = (net.relay(1), net.relay(2));
    let client = net.client(1);
    let (first, second) = (client.circuit(&[&dead]).await, client.circuit(&[&alive]).await);
    net.network.kill(dead.address);
    let proxy = Proxy::new(move |request| {
        Ok(if request.again.is_none() {
            first.handle.clone()
        } else {
            second.handle.clone()
        })
    })
    .await;
    let answer = proxy
        .exchange(&[&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes(), b"x"].concat())
        .await;
    assert_eq!(answer.last(), Some(&b'x'));
    let seen = proxy.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].again, Some(seen[0].request));
    // Where all are dead, it is told in the end.
    let (_, port) = (proxy, port);
    let gone = client.circuit(&[&alive]).await.handle;
    let proxy = Proxy::new(move |_| Ok(gone.clone())).await;
    net.network.kill(alive.address);
    assert_eq!(proxy.exchange(&socks5(port, b"")).await[4..6], [5, 1]);
    assert_eq!(proxy.seen().len(), 3);
}

#[tokio::test]
async fn a_proxy_that_is_closed_takes_its_clients_with_it() {
    let port = server(echo).await;
    let world = world().await;
    let mut socket = world.proxy.connect().await;
    socket.write_all(&socks5(port, b"x")).await.unwrap();
    let mut answer = vec![0; ACCEPTED.len() + 1];
    soon(socket.read_exact(&mut answer)).await.unwrap();
    world.proxy.task.abort();
    assert_eq!(rest(&mut socket).await, b"");
    world.proxy.without_clients().await;
    until("the port is free", || std::net::TcpListener::bind(world.proxy.address).is_ok()).await;
    until("the exit has closed its side", || {
        world.circuit.handle.traffic.streams.load(Ordering::Relaxed) == 0
    })
    .await;
    assert_eq!(world.exit.stats().circuits, 1);
}

#[tokio::test]
async fn neither_socks_nor_http_is_closed_without_a_word() {
    let world = world().await;
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"\0", b"\xff\xfb", b" GET", b"\r\n\r\n"] {
        assert_eq!(world.proxy.exchange(bytes).await, b"", "{bytes:?}");
    }
    assert!(world.proxy.seen().is_empty());
}

/// A relay that makes circuits and then says nothing.
pub(super) fn silent(net: &Net, number: u8) -> Liar {
    net.liar(number, |ring, id, _, mut send, mut recv| async move {
        answer_create(&ring, &id, &mut send, &mut recv).await;
        while recv.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
    })
}

#[tokio::test]
async fn a_request_that_waits_for_the_far_end_does_not_keep_a_closed_circuit_alive() {
    let port = server(echo).await;
    let net = Net::new();
    let (silent, good) = (silent(&net, 1), net.relay(2));
    let client = net.client(1);
    let first = client.build_path(vec![silent.hop()], DEADLINE).await.unwrap();
    let good = client.circuit(&[&good]).await;
    // The session has the only handle, as when the node closes the circuit.
    let (only, second) = (Mutex::new(Some(first.handle)), good.handle.clone());
    let proxy = Proxy::new(move |_| Ok(only.lock().unwrap().take().unwrap_or_else(|| second.clone()))).await;
    let request = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes(), b"x"].concat();
    assert_eq!(proxy.exchange(&request).await.last(), Some(&b'x'));
    assert_eq!(soon(first.ended).await, Ok(ErrorKind::Closed));
    assert_eq!(proxy.seen().len(), 2);
}

/// How long a proxy waits for the rest of what a client began to say, on a clock that stands still: nothing here needs it to run.
async fn patience(proxy: &Proxy, bytes: &[u8]) -> (Duration, Vec<u8>) {
    let began = tokio::time::Instant::now();
    let mut socket = proxy.connect().await;
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    (began.elapsed(), answer)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_or_not_enough_is_closed_in_time() {
    use crate::limits::PROXY_HANDSHAKE_TIMEOUT;
    let proxy = Proxy::new(|_| Err(ErrorKind::NoPath)).await;
    for bytes in [
        &b""[..],
        b"\x05",
        b"\x05\x01\x00\x05\x01",
        b"\x04\x01\0\x50\x01\x02\x03\x04use",
        b"GET http://target",
        b"CONNECT a:1 HTTP/1.1\r\nA: b\r\n",
    ] {
        let (time, _) = patience(&proxy, bytes).await;
        assert!(
            (PROXY_HANDSHAKE_TIMEOUT..3 * PROXY_HANDSHAKE_TIMEOUT).contains(&time),
            "{bytes:?}: {time:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_no_circuit_or_no_answer_is_refused_in_time() {
    use crate::limits::{PROXY_ATTACH_TIMEOUT, PROXY_CONNECT_TIMEOUT};
    let request = socks5(80, b"");
    let proxy = Proxy::choosing(Box::new(|_| None)).await;
    let (time, answer) = patience(&proxy, &request).await;
    assert_eq!(answer[4..6], [5, 6], "timed out");
    assert!((PROXY_ATTACH_TIMEOUT..2 * PROXY_ATTACH_TIMEOUT).contains(&time), "{time:?}");

    let net = Net::new();
    let silent = silent(&net, 1);
    let circuit = net.client(1).build_path(vec![silent.hop()], DEADLINE).await.unwrap();
    let handle = circuit.handle.clone();
    let proxy = Proxy::new(move |_| Ok(handle.clone())).await;
    let (time, answer) = patience(&proxy, &request).await;
    assert_eq!(answer[4..6], [5, 6]);
    assert!((PROXY_CONNECT_TIMEOUT..2 * PROXY_CONNECT_TIMEOUT).contains(&time), "{time:?}");
}
