use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Option<(usize, HttpRequest)>, HttpError> {
    parse_request(text.as_bytes())
}

#[test]
fn connect_keeps_what_follows() {
    let text = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic eA==\r\n\r\n\x16\x03";
    let (length, request) = parse(text).unwrap().unwrap();
    assert_eq!(&text.as_bytes()[length..], b"\x16\x03");
    assert_eq!((request.host.as_str(), request.port), ("example.org", 443));
    assert_eq!(request.request, ProxyRequest::Connect);
    assert_eq!(request.authorization.as_deref(), Some(&b"Basic eA=="[..]));
    let (_, request) = parse("CONNECT [::1]:80 HTTP/1.1\r\n\r\n").unwrap().unwrap();
    assert_eq!(request.host, "::1");
}

#[test]
fn absolute_form_is_rewritten_and_hop_by_hop_headers_stripped() {
    let text = "GET http://Example.org:8080/a?b#c HTTP/1.1\r\nHost: evil\r\nProxy-Connection: keep-alive\r\nX-Drop: 1\r\n\
                Connection: close, X-Drop\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\nX-Tor-Stream-Isolation: t\r\nAccept: */*\r\n\r\n";
    let (length, request) = parse(text).unwrap().unwrap();
    assert_eq!(length, text.len());
    assert_eq!((request.host.as_str(), request.port), ("example.org", 8080));
    assert_eq!(request.isolation.as_deref(), Some(&b"t"[..]));
    let ProxyRequest::Forward { head, body } = request.request else {
        panic!()
    };
    assert_eq!(
        String::from_utf8(head).unwrap(),
        "GET /a?b HTTP/1.1\r\nHost: Example.org:8080\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(body, Body::Length(0));
    let (_, request) = parse("GET http://h?q HTTP/1.0\r\n\r\n").unwrap().unwrap();
    let ProxyRequest::Forward { head, .. } = request.request else {
        panic!()
    };
    assert!(head.starts_with(b"GET /?q HTTP/1.0\r\nHost: h\r\n"));
}

#[test]
fn what_is_refused() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::OriginForm),
        (
            "POST /x HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n\r\n",
            HttpError::OriginForm,
        ),
        ("GET https://h/ HTTP/1.1\r\n\r\n", HttpError::Scheme),
        ("GET ftp://h/ HTTP/1.1\r\n\r\n", HttpError::Scheme),
        ("GET h HTTP/1.1\r\n\r\n", HttpError::Malformed),
        ("GET * HTTP/1.1\r\n\r\n", HttpError::Method),
        ("CONNECT h HTTP/1.1\r\n\r\n", HttpError::Target),
        ("CONNECT h:0 HTTP/1.1\r\n\r\n", HttpError::Target),
        ("CONNECT h:+1 HTTP/1.1\r\n\r\n", HttpError::Target),
        ("CONNECT h:65536 HTTP/1.1\r\n\r\n", HttpError::Target),
        ("CONNECT :80 HTTP/1.1\r\n\r\n", HttpError::Target),
        ("CONNECT [h]:80 HTTP/1.1\r\n\r\n", HttpError::Target),
        ("GET http://user:pw@h/ HTTP/1.1\r\n\r\n", HttpError::Target),
        (
            "CONNECT h:1 HTTP/1.1\r\nProxy-Authorization: a\r\nProxy-Authorization: a\r\n\r\n",
            HttpError::Duplicate,
        ),
        (
            "POST http://h/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HttpError::BodyLength,
        ),
        (
            "POST http://h/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            HttpError::BodyLength,
        ),
        ("POST http://h/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n", HttpError::BodyLength),
        ("POST http://h/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", HttpError::BodyLength),
        ("GET http://h/\x01 HTTP/1.1\r\n\r\n", HttpError::Malformed),
        ("\0\r\n\r\n", HttpError::Malformed),
    ];
    for (text, error) in cases {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    let large = format!("GET http://h/ HTTP/1.1\r\nX: {}", "a".repeat(HEAD_MAX_BYTES));
    assert_eq!(parse(&large), Err(HttpError::TooLarge));
    let many = format!("GET http://h/ HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(HEAD_MAX_FIELDS + 1));
    assert_eq!(parse(&many), Err(HttpError::TooLarge));
    assert_eq!(
        parse("OPTIONS * HTTP/1.1\r\n\r\n").unwrap().unwrap().1.request,
        ProxyRequest::Options
    );
}

#[test]
fn chunked_bodies_end_where_they_end() {
    let body = b"4;x=y\r\nWiki\r\n1\r\na\r\n0\r\nT: 1\r\n\r\nGET /next";
    for cut in 0..body.len() {
        let mut framing = Body::Chunked(ChunkScanner::default());
        let (first, done) = framing.scan(&body[..cut]).unwrap();
        let total = if done {
            first
        } else {
            first + framing.scan(&body[first..]).unwrap().0
        };
        assert_eq!(total, body.len() - 9, "cut at {cut}");
    }
    let mut framing = Body::Chunked(ChunkScanner::default());
    assert!(framing.scan(b"zz\r\n").is_err());
    let mut framing = Body::Chunked(ChunkScanner::default());
    assert!(framing.scan(b"fffffffffffffffff\r\n").is_err());
    let mut framing = Body::Chunked(ChunkScanner::default());
    assert!(framing.scan(b"1\r\nab").is_err());
}

#[test]
fn responses_lose_their_hop_by_hop_headers() {
    let text = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\nbody";
    let (length, head, interim) = rewrite_response(text).unwrap().unwrap();
    assert_eq!(&text[length..], b"body");
    assert!(!interim);
    assert_eq!(
        String::from_utf8(head).unwrap(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\nConnection: close\r\n\r\n"
    );
    let (_, head, interim) = rewrite_response(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().unwrap();
    assert!(interim);
    assert_eq!(head, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(rewrite_response(b"HTTP/1.1 200"), Ok(None));
    assert_eq!(rewrite_response(b"SSH-2.0-x\r\n"), Err(HttpError::Malformed));
    assert_eq!(rewrite_response(b"HTTP/1.1 020 OK\r\n\r\n"), Err(HttpError::Malformed));
}

#[test]
fn pages_are_complete_answers() {
    for kind in ErrorKind::ALL {
        let page = page(status_of(*kind), kind.code(), kind.advice());
        let text = String::from_utf8(page).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(
            !head.contains(&format!(" {} Error\r\n", status_of(*kind))),
            "a status without a reason of its own"
        );
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_request(&input);
        let _ = rewrite_response(&input);
        let _ = Body::Chunked(ChunkScanner::default()).scan(&input);
    }

    #[test]
    fn heads_survive_any_cut(cut in 0usize..90) {
        let text = "GET http://example.org:8080/a?b HTTP/1.1\r\nHost: evil\r\nAccept: */*\r\n\r\n";
        let cut = cut.min(text.len() - 1);
        prop_assert_eq!(parse(&text[..cut]), Ok(None));
    }
}
