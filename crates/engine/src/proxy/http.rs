//! The HTTP proxy's requests and answers as functions over bytes: no I/O.
//!
//! `CONNECT host:port` opens a tunnel. An absolute-form `http://` request is rewritten to origin form, its hop-by-hop headers are
//! stripped, and it gets a stream of its own; the connection to the client ends with its answer, so that no second request can reach
//! the first one's server. Everything else is refused with a page that says what to do.

mod body;

use anonnet_errors::ErrorKind;

use super::socks::host_name;

pub use body::{Body, ChunkScanner};

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

/// The status for a request that could not be carried out.
pub fn status_of(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidAddress | ErrorKind::InvalidArgument | ErrorKind::ServiceAddress => 400,
        ErrorKind::StreamRefused | ErrorKind::ClientAuth | ErrorKind::ClientAuthWrong => 403,
        ErrorKind::ExitPolicy
        | ErrorKind::NoPath
        | ErrorKind::NotBootstrapped
        | ErrorKind::NameNotResolved
        | ErrorKind::HostUnreachable
        | ErrorKind::StreamReset
        | ErrorKind::ServiceNotFound
        | ErrorKind::IntroductionFailed
        | ErrorKind::RendezvousFailed => 503,
        ErrorKind::Timeout | ErrorKind::IntroductionTimeout => 504,
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
mod tests;
