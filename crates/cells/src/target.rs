//! What a stream goes to. BEGIN: `4 | ip[4] | port`, `6 | ip[16] | port` or `1 | name | port`, port u16; to a service
//! `0 | port`. RESOLVE: the name alone.

use crate::error::CellError;
use crate::kind::Kind;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The longest DNS name in bytes.
pub const MAX_NAME_LEN: usize = 253;
/// The longest BEGIN in bytes.
pub const MAX_TARGET_LEN: usize = 1 + MAX_NAME_LEN + 2;

const MAX_LABEL_LEN: usize = 63;
const SERVICE: u8 = 0;
const NAME: u8 = 1;
const V4: u8 = 4;
const V6: u8 = 6;
const MALFORMED: CellError = CellError::Payload { kind: Kind::Begin };

/// A host. Names are resolved at the exit and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A DNS name.
    Name(&'a str),
    /// The service at the other end of a rendezvous: it has ports and no name.
    Service,
}

/// Host and port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port, not 0.
    pub port: u16,
}

// Targets never reach a log through a derived Debug.
impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4(_) => "Host::V4(..)",
            Self::V6(_) => "Host::V6(..)",
            Self::Name(_) => "Host::Name(..)",
            Self::Service => "Host::Service",
        })
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Whether `name` may stand in BEGIN or RESOLVE: labels of 1 to 63 letters, digits, `-` or `_`, 253 bytes in all, no dot at the end.
pub fn check_name(name: &str) -> Result<(), CellError> {
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME_LEN
        && name.split('.').all(|label| {
            (1..=MAX_LABEL_LEN).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    if fits { Ok(()) } else { Err(CellError::Name) }
}

/// Reads a name that the peer sent.
pub(crate) fn read_name(bytes: &[u8], kind: Kind) -> Result<&str, CellError> {
    let name = core::str::from_utf8(bytes).map_err(|_| CellError::Payload { kind })?;
    check_name(name).map_err(|_| CellError::Payload { kind })?;
    Ok(name)
}

impl<'a> Host<'a> {
    /// Reads what a person or a proxy client wrote: an address, an IPv6 address in brackets, or a name (a dot at its end is dropped).
    /// [`CellError::Name`] when it is none of them.
    pub fn parse(text: &'a str) -> Result<Self, CellError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::V4(ip));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse() {
            return Ok(Self::V6(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        check_name(name)?;
        Ok(Self::Name(name))
    }

    /// Reads the payload of a RESOLVE.
    pub fn read_resolve(payload: &'a [u8]) -> Result<&'a str, CellError> {
        read_name(payload, Kind::Resolve)
    }
}

impl<'a> Target<'a> {
    /// Reads the payload of a BEGIN.
    pub fn read(payload: &'a [u8]) -> Result<Self, CellError> {
        let (kind, rest) = payload.split_first().ok_or(MALFORMED)?;
        let (host, port) = rest.split_last_chunk::<2>().ok_or(MALFORMED)?;
        let host = match *kind {
            V4 => Host::V4(Ipv4Addr::from(<[u8; 4]>::try_from(host).map_err(|_| MALFORMED)?)),
            V6 => Host::V6(Ipv6Addr::from(<[u8; 16]>::try_from(host).map_err(|_| MALFORMED)?)),
            NAME => Host::Name(read_name(host, Kind::Begin)?),
            SERVICE if host.is_empty() => Host::Service,
            _ => return Err(MALFORMED),
        };
        let port = u16::from_be_bytes(*port);
        if port == 0 {
            return Err(MALFORMED);
        }
        Ok(Self { host, port })
    }

    /// The payload of a BEGIN, in a buffer of the caller. [`CellError::Name`] for a name or a port that no target has.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_TARGET_LEN]) -> Result<&'b [u8], CellError> {
        let (v4, v6);
        let (kind, host): (u8, &[u8]) = match self.host {
            Host::V4(ip) => {
                v4 = ip.octets();
                (V4, &v4)
            }
            Host::V6(ip) => {
                v6 = ip.octets();
                (V6, &v6)
            }
            Host::Name(name) => {
                check_name(name)?;
                (NAME, name.as_bytes())
            }
            Host::Service => (SERVICE, &[]),
        };
        if self.port == 0 {
            return Err(CellError::Name);
        }
        let bytes = buffer.get_mut(..host.len() + 3).ok_or(CellError::Full)?;
        let (first, rest) = bytes.split_first_mut().ok_or(CellError::Full)?;
        let (middle, last) = rest.split_last_chunk_mut::<2>().ok_or(CellError::Full)?;
        *first = kind;
        middle.copy_from_slice(host);
        *last = self.port.to_be_bytes();
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, MALFORMED, MAX_NAME_LEN, MAX_TARGET_LEN, Target, check_name};
    use crate::CellError;

    fn written(host: Host<'_>, port: u16) -> Vec<u8> {
        Target { host, port }.write(&mut [0; MAX_TARGET_LEN]).unwrap().to_vec()
    }

    #[test]
    fn every_form_goes_there_and_back() {
        let longest = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), "d".repeat(61).as_str()].join(".");
        assert_eq!(longest.len(), MAX_NAME_LEN);
        for text in [
            "1.2.3.4",
            "2001:db8::1",
            "[::1]",
            "example.org",
            "_http._tcp.x-1.net",
            "a",
            &longest,
        ] {
            let host = Host::parse(text).unwrap();
            let bytes = written(host, 443);
            assert_eq!(Target::read(&bytes), Ok(Target { host, port: 443 }));
        }
        assert_eq!(Host::parse("example.org."), Ok(Host::Name("example.org")));
        assert_eq!(written(Host::parse("1.2.3.4").unwrap(), 80), [4, 1, 2, 3, 4, 0, 80]);
        assert_eq!(written(Host::Service, 80), [0, 0, 80]);
        assert_eq!(
            Target::read(&[0, 0, 80]),
            Ok(Target {
                host: Host::Service,
                port: 80
            })
        );
    }

    #[test]
    fn names_are_refused_unless_they_are_names() {
        let (label, name) = ("a".repeat(64), format!("{}a", "a.".repeat(127)));
        for bad in ["", ".", "a..b", ".a", "a b", "a/b", "ü.de", "a:1", "[::1", "a\0", &label, &name] {
            assert_eq!(Host::parse(bad), Err(CellError::Name), "{bad}");
        }
        assert_eq!(check_name("a."), Err(CellError::Name));
        assert_eq!(Host::read_resolve(b"example.org"), Ok("example.org"));
        assert_eq!(
            Host::read_resolve(b"a b"),
            Err(CellError::Payload {
                kind: crate::Kind::Resolve
            })
        );
        assert_eq!(
            Host::read_resolve(&[0xff]),
            Err(CellError::Payload {
                kind: crate::Kind::Resolve
            })
        );
    }

    #[test]
    fn payloads_that_are_not_exact_are_refused() {
        let v4 = written(Host::parse("1.2.3.4").unwrap(), 80);
        let v6 = written(Host::parse("::1").unwrap(), 80);
        for bytes in [&v4, &v6] {
            for len in 0..bytes.len() {
                assert_eq!(Target::read(&bytes[..len]), Err(MALFORMED));
            }
            assert_eq!(Target::read(&[bytes.as_slice(), &[0]].concat()), Err(MALFORMED));
        }
        assert_eq!(Target::read(&[1, b'a', 0, 0]), Err(MALFORMED));
        assert_eq!(Target::read(&[1, 0, 80]), Err(MALFORMED));
        assert_eq!(Target::read(&[0, 0, 0]), Err(MALFORMED));
        assert_eq!(Target::read(&[0, b'a', 0, 80]), Err(MALFORMED));
        assert_eq!(Target::read(&[2, b'a', 0, 80]), Err(MALFORMED));
        let mut buffer = [0; MAX_TARGET_LEN];
        assert_eq!(
            Target {
                host: Host::Name("a"),
                port: 0
            }
            .write(&mut buffer),
            Err(CellError::Name)
        );
        assert_eq!(
            Target {
                host: Host::Name("a b"),
                port: 1
            }
            .write(&mut buffer),
            Err(CellError::Name)
        );
    }

    #[test]
    fn a_target_never_shows_in_debug() {
        for text in ["1.2.3.4", "::1", "secret.example"] {
            let target = Target {
                host: Host::parse(text).unwrap(),
                port: 4711,
            };
            let shown = format!("{target:?}");
            assert!(!shown.contains(text) && !shown.contains("4711"), "{shown}");
        }
    }
}
