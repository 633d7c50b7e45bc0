//! HTTP clients over real TCP, honest and not.

use super::exit::{echo, server};
use super::proxy_world::{Proxy, rest, world};
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests that a web server got: everything up to its client's end, or to the end of the time it listens.
type Got = Arc<Mutex<Vec<String>>>;

/// A web server that says the same whatever it is asked, once it has a whole head and `body` bytes after it.
async fn web(answer: impl Into<Vec<u8>>, body: usize) -> (u16, Got) {
    let (answer, got): (Arc<Vec<u8>>, Got) = (Arc::new(answer.into()), Arc::default());
    let told = Arc::clone(&got);
    let port = server(move |mut socket: TcpStream| {
        let (answer, told) = (Arc::clone(&answer), Arc::clone(&told));
        async move {
            let (mut request, mut chunk) = (Vec::new(), vec![0; 65536]);
            let whole = |request: &[u8]| {
                request
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .is_some_and(|at| request.len() >= at + 4 + body)
            };
            while !whole(&request) {
                match socket.read(&mut chunk).await {
                    Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
                    _ => break,
                }
            }
            // Whatever should not have come has time to come.
            if let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(30), socket.read(&mut chunk)).await {
                request.extend_from_slice(&chunk[..count]);
            }
            told.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = socket.write_all(&answer).await;
            let _ = socket.shutdown().await;
            while socket.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
        }
    })
    .await;
    (port, got)
}

fn got(got: &Got) -> Vec<String> {
    std::mem::take(&mut got.lock().unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\nX-A: b\r\n\r\nhi";
const OK_REWRITTEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\nConnection: close\r\n\r\nhi";

/// Sends a request without ending, as clients do that wait for their answer.
async fn ask(proxy: &Proxy, request: &str) -> String {
    let mut socket = proxy.connect().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(rest(&mut socket).await).unwrap()
}

#[tokio::test]
async fn a_tunnel_keeps_early_data_and_half_closes() {
    let port = server(echo).await;
    let world = world().await;
    let request = format!(
        "CONNECT target.test:{port} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic abc\r\nTor-Stream-Isolation: tab\r\n\r\nearly"
    );
    let answer = world.proxy.exchange(request.as_bytes()).await;
    assert_eq!(answer, b"HTTP/1.1 200 Connection established\r\n\r\nearly");
    let seen = world.proxy.seen().pop().unwrap();
    assert_eq!((seen.host.as_str(), seen.port, seen.literal), ("target.test", port, false));
    assert_eq!(
        (seen.user.as_deref(), seen.password.as_deref()),
        (Some(&b"Basic abc"[..]), Some(&b"tab"[..]))
    );
    let answer = world
        .proxy
        .exchange(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").as_bytes())
        .await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(world.proxy.seen().pop().unwrap().literal);
}

#[tokio::test]
async fn an_absolute_request_is_rewritten_and_so_is_its_answer() {
    let (port, asked) = web(OK, 0).await;
    let world = world().await;
    let request = format!(
        "GET http://target.test:{port}/a?b HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: secret\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(ask(&world.proxy, &request).await, OK_REWRITTEN);
    let expected = format!("GET /a?b HTTP/1.1\r\nHost: target.test:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    assert_eq!(got(&asked), [expected]);
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn a_second_request_on_the_connection_never_reaches_the_first_ones_server() {
    let (port, asked) = web(OK, 0).await;
    let world = world().await;
    let one = format!("GET http://target.test:{port}/1 HTTP/1.1\r\n\r\n");
    let two = "GET http://other.test/2 HTTP/1.1\r\nCookie: private\r\n\r\n";
    // At once, and a moment later.
    assert_eq!(ask(&world.proxy, &format!("{one}{two}")).await, OK_REWRITTEN);
    let mut socket = world.proxy.connect().await;
    socket.write_all(one.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    socket.write_all(two.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut socket).await, OK_REWRITTEN.as_bytes());
    let asked = got(&asked);
    assert_eq!(asked.len(), 2);
    assert!(
        asked
            .iter()
            .all(|request| request.starts_with("GET /1 ") && !request.contains("private")),
        "{asked:?}"
    );
    assert_eq!(world.proxy.seen().len(), 2);
}

#[tokio::test]
async fn bodies_are_forwarded_to_their_end_and_no_further() {
    let world = world().await;
    let cases = [
        ("Content-Length: 11", "hello world"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n"),
    ];
    for (header, body) in cases {
        let (port, asked) = web(OK, body.len()).await;
        let head = format!("POST http://target.test:{port}/ HTTP/1.1\r\n{header}\r\nExpect: 100-continue\r\n\r\n");
        for cut in [0, 1, body.len() / 2, body.len() - 1, body.len()] {
            let mut socket = world.proxy.connect().await;
            socket
                .write_all(&[head.as_bytes(), &body.as_bytes()[..cut]].concat())
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            socket
                .write_all(&[&body.as_bytes()[cut..], b"POST smuggled"].concat())
                .await
                .unwrap();
            assert_eq!(rest(&mut socket).await, OK_REWRITTEN.as_bytes());
            let asked = got(&asked).pop().unwrap();
            assert!(asked.ends_with(&format!("\r\n\r\n{body}")), "{cut}: {asked}");
        }
    }
    // A client that ends inside its body has not asked.
    let (port, asked) = web(OK, 11).await;
    let head = format!("POST http://target.test:{port}/ HTTP/1.1\r\nContent-Length: 11\r\n\r\nhel");
    assert!(String::from_utf8_lossy(&world.proxy.exchange(head.as_bytes()).await).starts_with("HTTP/1.1 503 "));
    until("the server has seen it", || !asked.lock().unwrap().is_empty()).await;
    // A chunked body that is none is the client's fault.
    let (port, _) = web(OK, 100).await;
    let head = format!("POST http://target.test:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert!(ask(&world.proxy, &head).await.starts_with("HTTP/1.1 400 "));
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn interim_answers_go_ahead_of_the_final_one() {
    let interim = "HTTP/1.1 100 Continue\r\nConnection: x\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    let (port, _) = web(format!("{interim}{OK}"), 0).await;
    let world = world().await;
    let answer = ask(&world.proxy, &format!("GET http://target.test:{port}/ HTTP/1.1\r\n\r\n")).await;
    assert_eq!(
        answer,
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{OK_REWRITTEN}")
    );
}

#[tokio::test]
async fn servers_that_answer_nonsense_become_a_page() {
    let world = world().await;
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(crate::proxy::http::HEAD_MAX_BYTES));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "X: 1\r\n".repeat(crate::proxy::http::HEAD_MAX_FIELDS + 1)
    );
    let cases = [
        ("", 503),
        ("HTTP/1.1 200", 503),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", 503),
        ("SSH-2.0-OpenSSH\r\n", 502),
        ("HTTP/1.1 two hundred\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n", 502),
        (&large, 502),
        (&many, 502),
    ];
    for (answer, status) in cases {
        let (port, _) = web(answer, 0).await;
        let page = ask(&world.proxy, &format!("GET http://target.test:{port}/ HTTP/1.1\r\n\r\n")).await;
        assert!(page.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:.30}: {page:.60}");
        assert!(page.contains("AnonNet-Error: ERR_ANONNET_"));
    }
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let world = world().await;
    let port = server(|mut socket: TcpStream| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe first half").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    })
    .await;
    let mut socket = world.proxy.connect().await;
    socket
        .write_all(format!("GET http://target.test:{port}/ HTTP/1.1\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut all = Vec::new();
    let end = soon(socket.read_to_end(&mut all)).await;
    assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    assert!(all.ends_with(b"the first half"));
}

#[tokio::test]
async fn attack_37_what_is_no_proxy_request_gets_an_answer_and_no_stream() {
    let world = world().await;
    let large = format!("GET http://target.test/ HTTP/1.1\r\nX: {}", "a".repeat(200_000));
    let many = format!("GET http://target.test/ HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(200));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (
            "POST /x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}",
            400,
        ),
        ("GET https://target.test/ HTTP/1.1\r\n\r\n", 400),
        ("GET file:///etc/passwd HTTP/1.1\r\n\r\n", 400),
        ("GET http://target.test/\r\nX: y\r\n HTTP/1.1\r\n\r\n", 400),
        ("GET http://tar\0get.test/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://user:secret@target.test/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://target.test:0/ HTTP/1.1\r\n\r\n", 400),
        ("CONNECT target.test HTTP/1.1\r\n\r\n", 400),
        ("CONNECT http://target.test:80/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://target.test/ HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
        ("GET http://target.test/ HTTP/1.1\r\nA : b\r\n\r\n", 400),
        ("GET http://target.test/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        (
            "POST http://target.test/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "POST http://target.test/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            400,
        ),
        ("GET * HTTP/1.1\r\n\r\n", 501),
        ("OPTIONS * HTTP/1.1\r\n\r\n", 200),
        (&large, 431),
        (&many, 431),
    ];
    for (request, status) in cases {
        let answer = ask(&world.proxy, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer:.60}");
    }
    assert!(world.proxy.seen().is_empty());
    assert_eq!(world.exit.stats().exit_streams, 0);
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn errors_of_the_network_have_statuses_and_codes() {
    let kinds = [
        (ErrorKind::ExitPolicy, 503),
        (ErrorKind::Timeout, 504),
        (ErrorKind::StreamRefused, 403),
        (ErrorKind::NotBootstrapped, 503),
    ];
    for (kind, status) in kinds {
        let proxy = Proxy::new(move |_| Err(kind)).await;
        for request in [
            "CONNECT target.test:80 HTTP/1.1\r\n\r\n",
            "GET http://target.test/ HTTP/1.1\r\n\r\n",
        ] {
            let answer = ask(&proxy, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:.60}");
            assert!(answer.contains(&format!("AnonNet-Error: {}\r\n", kind.code())));
        }
    }
}

#[tokio::test]
async fn attack_36_an_http_client_that_ends_at_any_byte_ends_its_session() {
    let (port, _) = web(OK, 0).await;
    let world = world().await;
    let get = format!("GET http://target.test:{port}/ HTTP/1.1\r\nHost: t\r\n\r\n");
    for length in 0..=get.len() {
        let answer = world.proxy.exchange(&get.as_bytes()[..length]).await;
        assert_eq!(answer, if length == get.len() { OK_REWRITTEN.as_bytes() } else { b"" }, "{length}");
        let mut socket = world.proxy.connect().await;
        let _ = socket.write_all(&get.as_bytes()[..length]).await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
    world.proxy.without_clients().await;
}

#[tokio::test]
async fn attack_54_garbage_at_every_byte_of_http_is_answered_or_closed() {
    let (port, _) = web(OK, 0).await;
    let world = world().await;
    let get = format!("GET http://target.test:{port}/ HTTP/1.1\r\nConnection: a\r\n\r\n").into_bytes();
    for at in 0..get.len() {
        for byte in [0, b'\r', b'\n', b' ', 0x80, 0xff] {
            let mut bytes = get.clone();
            bytes[at] = byte;
            let answer = world.proxy.exchange(&bytes).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{at} {byte}: {answer:?}");
        }
    }
    world.proxy.without_clients().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_closes_does_not_keep_the_session_of_a_client_that_left() {
    let port = server(|mut socket: TcpStream| async move {
        let _ = socket.read(&mut [0; 1000]).await;
        let _ = socket.write_all(OK.as_bytes()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let world = world().await;
    let requests = [
        format!("GET http://target.test:{port}/ HTTP/1.1\r\n\r\n"),
        format!("CONNECT target.test:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ];
    for request in requests {
        let mut socket = world.proxy.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hi") {
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0);
        }
        drop(socket);
        tokio::time::sleep(3 * crate::limits::HALF_CLOSED_IDLE_TIMEOUT).await;
        world.proxy.without_clients().await;
    }
}
