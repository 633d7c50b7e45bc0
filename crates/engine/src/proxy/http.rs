//! The HTTP proxy's requests and answers as functions over bytes: no I/O.
//!
//! `CONNECT host:port` opens a tunnel. An absolute-form `http://` request is rewritten to origin form, its hop-by-hop headers are
//! stripped, and it gets a stream of its own; the connection to the client ends with its answer, so that no second request can reach
//! the first one's server. Everything else is refused with a page that says what to do.

use anonnet_errors::ErrorKind;

use super::socks::host_name;

/// Longest request or response head.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;
/// Most header fields in a head.
pub const HEAD_MAX_FIELDS: usize = 128;

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
];
const ISOLATION: &[&str] = &["tor-stream-isolation", "x-tor-stream-isolation"];

/// Why a request is refused: a status, and a sentence for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the request is malformed")]
    Malformed,
    #[error("the request's head is too large")]
    TooLarge,
    #[error("the target is not of the form host:port")]
    Target,
    #[error("this is a proxy, not a web site")]
    OriginForm,
    #[error("only http:// is forwarded; other schemes need CONNECT")]
    Scheme,
    #[error("the method is not supported without a target")]
    Method,
    #[error("a header that may stand once stands twice")]
    Duplicate,
    #[error("the length of the body is ambiguous")]
    BodyLength,
}

impl HttpError {
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Method => 501,
            _ => 400,
        }
    }
}

/// How a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes more.
    Length(u64),
    Chunked(ChunkScanner),
}

impl Body {
    /// How many of `bytes` belong to the body, and whether it is complete with them.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), HttpError> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok((taken, *left == 0))
            }
            Self::Chunked(scanner) => scanner.scan(bytes),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyRequest {
    Connect,
    /// The head to send to the server, and how the body that follows it ends.
    Forward {
        head: Vec<u8>,
        body: Body,
    },
    /// `OPTIONS *`: answered by the proxy itself.
    Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub request: ProxyRequest,
    pub host: String,
    pub port: u16,
    /// The raw value of `Proxy-Authorization`: an isolation key, never checked.
    pub authorization: Option<Vec<u8>>,
    /// The value of `Tor-Stream-Isolation`.
    pub isolation: Option<Vec<u8>>,
}

/// Reads a request's head. `None`: more bytes are needed. Otherwise the request and the length of its head; what follows is the body, or
/// the tunnel's first bytes.
pub fn parse_request(buffer: &[u8]) -> Result<Option<(usize, HttpRequest)>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX_BYTES => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_MAX_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HttpError::TooLarge),
        Err(_) => return Err(HttpError::Malformed),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HttpError::Malformed);
    };
    let fields: &[httparse::Header<'_>] = parsed.headers;
    let authorization = single(fields, &["proxy-authorization"])?;
    let isolation = single(fields, ISOLATION)?;
    let build = |request, host, port| {
        Ok(Some((
            length,
            HttpRequest {
                request,
                host,
                port,
                authorization: authorization.map(<[u8]>::to_vec),
                isolation: isolation.map(<[u8]>::to_vec),
            },
        )))
    };
    if method.eq_ignore_ascii_case("CONNECT") {
        let (host, port) = authority(target, None)?;
        return build(ProxyRequest::Connect, host, port);
    }
    if target == "*" {
        return if method == "OPTIONS" {
            build(ProxyRequest::Options, String::new(), 0)
        } else {
            Err(HttpError::Method)
        };
    }
    if target.starts_with('/') {
        return Err(HttpError::OriginForm);
    }
    let rest = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"))
        .and_then(|_| target.get(7..));
    let Some(rest) = rest else {
        return Err(if target.contains("://") {
            HttpError::Scheme
        } else {
            HttpError::Malformed
        });
    };
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, path) = rest.split_at_checked(split).ok_or(HttpError::Target)?;
    let (host, port) = authority(name, Some(80))?;
    let body = body_of(fields)?;

    let mut head = Vec::with_capacity(length + 32);
    head.extend_from_slice(method.as_bytes());
    head.extend_from_slice(if path.starts_with('/') { b" " } else { b" /" });
    head.extend_from_slice(path.split('#').next().unwrap_or_default().as_bytes());
    head.extend_from_slice(if version == 0 {
        b" HTTP/1.0\r\nHost: "
    } else {
        b" HTTP/1.1\r\nHost: "
    });
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b"\r\n");
    copy_fields(fields, &mut head, &["host"]);
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    build(ProxyRequest::Forward { head, body }, host, port)
}

/// Rewrites a response's head: hop-by-hop headers out, `Connection: close` in. `None`: more is needed. Otherwise its length, the new
/// head, and whether another head follows it (a 1xx answer).
pub fn rewrite_response(buffer: &[u8]) -> Result<Option<(usize, Vec<u8>, bool)>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX_BYTES => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_MAX_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HttpError::TooLarge),
        Err(_) => return Err(HttpError::Malformed),
    };
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
        return Err(HttpError::Malformed);
    };
    // Three digits may still be a number that is no status.
    if code < 100 {
        return Err(HttpError::Malformed);
    }
    let interim = code < 200;
    let mut head = Vec::with_capacity(length + 32);
    head.extend_from_slice(format!("HTTP/1.{version} {code} {}\r\n", parsed.reason.unwrap_or_default()).as_bytes());
    copy_fields(parsed.headers, &mut head, &[]);
    head.extend_from_slice(if interim { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    Ok(Some((length, head, interim)))
}

/// Copies the header fields that are meant for the other end.
fn copy_fields(fields: &[httparse::Header<'_>], head: &mut Vec<u8>, dropped: &[&str]) {
    let named: Vec<String> = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection") || field.name.eq_ignore_ascii_case("proxy-connection"))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .collect();
    for field in fields {
        let name = field.name.to_ascii_lowercase();
        let name = name.as_str();
        // A Connection header must not take away what frames the body.
        let nominated = named.iter().any(|other| other == name) && !matches!(name, "transfer-encoding" | "content-length");
        if HOP_BY_HOP.contains(&name) || ISOLATION.contains(&name) || dropped.contains(&name) || nominated {
            continue;
        }
        head.extend_from_slice(field.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(field.value);
        head.extend_from_slice(b"\r\n");
    }
}

fn single<'a>(fields: &[httparse::Header<'a>], names: &[&str]) -> Result<Option<&'a [u8]>, HttpError> {
    let mut found = fields
        .iter()
        .filter(|field| names.iter().any(|name| field.name.eq_ignore_ascii_case(name)));
    let first = found.next();
    if found.next().is_some() {
        return Err(HttpError::Duplicate);
    }
    Ok(first.map(|field| field.value))
}

fn body_of(fields: &[httparse::Header<'_>]) -> Result<Body, HttpError> {
    let named = |name: &str| {
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .collect::<Vec<_>>()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Body::Length(0)),
        ([], [coding]) if coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked(ChunkScanner::default())),
        ([length], []) => {
            let digits = length.value.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(HttpError::BodyLength);
            }
            let text = std::str::from_utf8(digits).map_err(|_| HttpError::BodyLength)?;
            text.parse().map(Body::Length).map_err(|_| HttpError::BodyLength)
        }
        _ => Err(HttpError::BodyLength),
    }
}

/// `host:port`, `[v6]:port`, or without a port where there is a default.
fn authority(text: &str, default_port: Option<u16>) -> Result<(String, u16), HttpError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(HttpError::Target)?;
            if !host.contains(':') {
                return Err(HttpError::Target);
            }
            (
                host,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':').ok_or(HttpError::Target)?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match (port, default_port) {
        (Some(port), _) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| HttpError::Target)?,
        (None, Some(port)) => port,
        _ => return Err(HttpError::Target),
    };
    if port == 0 {
        return Err(HttpError::Target);
    }
    Ok((host_name(host.as_bytes()).map_err(|_| HttpError::Target)?, port))
}

/// Finds the end of a chunked body without changing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkScanner {
    state: ChunkState,
    left: u64,
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    Data,
    DataEnd,
    Trailer,
}

/// Longest line between chunks, and longest trailer.
const CHUNK_LINE_MAX_BYTES: usize = 8192;

impl ChunkScanner {
    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), HttpError> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.state == ChunkState::Data {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += taken;
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataEnd;
                }
                continue;
            }
            at += 1;
            self.line_bytes += 1;
            if self.line_bytes > CHUNK_LINE_MAX_BYTES {
                return Err(HttpError::TooLarge);
            }
            if self.between(byte)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// One byte outside a chunk's data; `true` at the end of the body. `left` holds the size while a size line is read.
    fn between(&mut self, byte: u8) -> Result<bool, HttpError> {
        match (self.state, byte) {
            (ChunkState::Size | ChunkState::Extension, b'\n') => {
                if self.line_bytes == 1 {
                    return Err(HttpError::Malformed);
                }
                self.line_bytes = 0;
                self.state = if self.left == 0 { ChunkState::Trailer } else { ChunkState::Data };
            }
            (ChunkState::Size, b';' | b' ' | b'\t' | b'\r') => self.state = ChunkState::Extension,
            (ChunkState::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(HttpError::Malformed)?;
                self.left = self
                    .left
                    .checked_mul(16)
                    .and_then(|left| left.checked_add(u64::from(digit)))
                    .ok_or(HttpError::Malformed)?;
            }
            (ChunkState::DataEnd, b'\r') => {}
            (ChunkState::DataEnd, b'\n') => {
                self.line_bytes = 0;
                self.state = ChunkState::Size;
            }
            (ChunkState::DataEnd, _) => return Err(HttpError::Malformed),
            // The body ends with an empty line; `left` counts the bytes of the current trailer line, CR apart.
            (ChunkState::Trailer, b'\n') if self.left == 0 => return Ok(true),
            (ChunkState::Trailer, b'\n') => self.left = 0,
            (ChunkState::Trailer, b'\r') => {}
            (ChunkState::Trailer, _) => self.left += 1,
            (ChunkState::Extension | ChunkState::Data, _) => {}
        }
        Ok(false)
    }
}

/// The status for a request that could not be carried out.
pub fn status_of(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidAddress | ErrorKind::InvalidArgument => 400,
        ErrorKind::StreamRefused => 403,
        ErrorKind::ExitPolicy
        | ErrorKind::NoPath
        | ErrorKind::NotBootstrapped
        | ErrorKind::NameNotResolved
        | ErrorKind::HostUnreachable
        | ErrorKind::StreamReset => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::Internal => 500,
        ErrorKind::Unsupported => 501,
        _ => 502,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

/// A complete answer with a page. `code`: the stable error code, for programs.
pub fn page(status: u16, code: &str, sentence: &str) -> Vec<u8> {
    let reason = reason(status);
    let body = format!(
        "<!doctype html><meta charset=utf-8><title>{status} {reason}</title><h1>{status} {reason}</h1><p>{sentence}</p>\n\
         <p>This port is the HTTP and SOCKS proxy of AnonNet. Set it as the proxy of your browser or program, for example \
         <code>curl --socks5-hostname HOST:PORT URL</code> or <code>curl -x http://HOST:PORT URL</code>.</p>\n"
    );
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nAnonNet-Error: {code}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The answer to `OPTIONS *`.
pub fn options() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nAllow: OPTIONS, CONNECT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
}

/// The answer to a CONNECT that succeeded.
pub const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

#[cfg(test)]
mod tests {
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
}
