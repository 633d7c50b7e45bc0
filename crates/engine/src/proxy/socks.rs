//! SOCKS 4, 4a and 5 (RFC 1928, RFC 1929, Tor's RESOLVE and extended errors) as a machine over bytes: no I/O.
//!
//! A caller keeps everything that it has read in one buffer and asks for the next [`Step`]; bytes past what a step consumed belong to the
//! application and are never dropped. User and password are not checked: they are an isolation key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anonnet_errors::{ErrorKind, HasKind};

const METHOD_NONE: u8 = 0x00;
const METHOD_PASSWORD: u8 = 0x02;
const METHOD_REFUSED: u8 = 0xff;
/// Longest user, host or similar text of SOCKS 4, which ends with a zero instead of having a length.
const TEXT4_MAX_BYTES: usize = 255;
/// What a user name of the extended form begins with (Tor proposal 351).
const EXTENDED_MAGIC: &[u8] = b"<torS0X>";

/// SOCKS reply codes (RFC 1928 section 6), and those that Tor's clients know for hidden services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    Succeeded = 0x00,
    General = 0x01,
    NotAllowed = 0x02,
    NetworkUnreachable = 0x03,
    HostUnreachable = 0x04,
    Refused = 0x05,
    TimedOut = 0x06,
    Command = 0x07,
    AddressType = 0x08,
    ServiceNotFound = 0xf0,
    ServiceInvalid = 0xf1,
    IntroductionFailed = 0xf2,
    RendezvousFailed = 0xf3,
    ClientAuthMissing = 0xf4,
    ClientAuthWrong = 0xf5,
    ServiceAddress = 0xf6,
    IntroductionTimedOut = 0xf7,
}

impl Reply {
    /// What a client is told for an error.
    pub fn from_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ExitPolicy => Self::NotAllowed,
            ErrorKind::NoPath | ErrorKind::NotBootstrapped | ErrorKind::LinkUnreachable => Self::NetworkUnreachable,
            ErrorKind::HostUnreachable | ErrorKind::NameNotResolved | ErrorKind::NotFound => Self::HostUnreachable,
            ErrorKind::StreamRefused => Self::Refused,
            ErrorKind::Timeout => Self::TimedOut,
            ErrorKind::Unsupported => Self::Command,
            ErrorKind::InvalidAddress => Self::AddressType,
            ErrorKind::ServiceNotFound => Self::ServiceNotFound,
            // The only record that is fetched for a proxy client is a service's descriptor.
            ErrorKind::RecordInvalid => Self::ServiceInvalid,
            ErrorKind::IntroductionFailed => Self::IntroductionFailed,
            ErrorKind::RendezvousFailed => Self::RendezvousFailed,
            ErrorKind::ClientAuth => Self::ClientAuthMissing,
            ErrorKind::ClientAuthWrong => Self::ClientAuthWrong,
            ErrorKind::ServiceAddress => Self::ServiceAddress,
            ErrorKind::IntroductionTimeout => Self::IntroductionTimedOut,
            _ => Self::General,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    #[error("not a SOCKS version that is spoken here")]
    Version,
    #[error("no acceptable method was offered")]
    NoMethod,
    #[error("malformed message")]
    Malformed,
    #[error("a user name in an extended form that is not known")]
    UnknownExtension,
    #[error("command {0} is not supported")]
    Command(u8),
    #[error("address type {0} is not supported")]
    AddressType(u8),
    #[error("the name is not a valid host name")]
    Name,
}

impl HasKind for SocksError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Command(_) => ErrorKind::Unsupported,
            Self::AddressType(_) | Self::Name => ErrorKind::InvalidAddress,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Connect,
    Resolve,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocksRequest {
    pub version: u8,
    pub command: Command,
    /// A name, or the text form of an address.
    pub host: String,
    pub port: u16,
    /// The client gave an address where it could have given a name: it may have resolved the name itself.
    pub literal: bool,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    Wait,
    /// Send these bytes; `consumed` bytes of the buffer are done with.
    Send {
        consumed: usize,
        bytes: [u8; 2],
    },
    Request {
        consumed: usize,
        request: SocksRequest,
    },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Greeting,
    Password,
    Request,
}

/// One client's handshake.
#[derive(Default)]
pub struct Socks {
    phase: Phase,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

/// A reader that says "more" by `None`.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }
}

impl Socks {
    /// What to do with everything received and not yet consumed. An error ends the handshake; [`refusal`](Self::refusal) has the bytes
    /// that say so to the client.
    pub fn step(&mut self, buffer: &[u8]) -> Result<Step, SocksError> {
        match (self.phase, buffer.first()) {
            (_, None) => Ok(Step::Wait),
            (Phase::Greeting, Some(4)) => self.request4(buffer),
            (Phase::Greeting, Some(5)) => self.greeting(buffer),
            (Phase::Greeting, Some(_)) => Err(SocksError::Version),
            (Phase::Password, Some(_)) => self.password(buffer),
            // Some clients send their password although none was asked for.
            (Phase::Request, Some(1)) => self.password(buffer),
            (Phase::Request, Some(_)) => self.request5(buffer),
        }
    }

    /// The bytes that tell the client of an error, if there are any for the state it is in.
    pub fn refusal(error: SocksError) -> Option<Vec<u8>> {
        match error {
            SocksError::Version => None,
            SocksError::NoMethod => Some(vec![5, METHOD_REFUSED]),
            SocksError::UnknownExtension => Some(vec![1, 1]),
            SocksError::Command(_) => Some(reply(5, Reply::Command, None)),
            SocksError::AddressType(_) | SocksError::Name => Some(reply(5, Reply::AddressType, None)),
            SocksError::Malformed => Some(reply(5, Reply::General, None)),
        }
    }

    fn greeting(&mut self, buffer: &[u8]) -> Result<Step, SocksError> {
        let mut cursor = Cursor { bytes: buffer, at: 1 };
        let Some(count) = cursor.byte() else { return Ok(Step::Wait) };
        let Some(methods) = cursor.take(usize::from(count)) else {
            return Ok(Step::Wait);
        };
        let method = if methods.contains(&METHOD_PASSWORD) {
            self.phase = Phase::Password;
            METHOD_PASSWORD
        } else if methods.contains(&METHOD_NONE) {
            self.phase = Phase::Request;
            METHOD_NONE
        } else {
            return Err(SocksError::NoMethod);
        };
        Ok(Step::Send {
            consumed: cursor.at,
            bytes: [5, method],
        })
    }

    fn password(&mut self, buffer: &[u8]) -> Result<Step, SocksError> {
        let mut cursor = Cursor { bytes: buffer, at: 0 };
        let fields = (|| {
            let version = cursor.byte()?;
            let length = cursor.byte()?;
            let user = cursor.take(usize::from(length))?;
            let length = cursor.byte()?;
            Some((version, user, cursor.take(usize::from(length))?))
        })();
        let Some((version, user, password)) = fields else {
            return if buffer.first() == Some(&1) {
                Ok(Step::Wait)
            } else {
                Err(SocksError::Malformed)
            };
        };
        if version != 1 {
            return Err(SocksError::Malformed);
        }
        check_extension(user)?;
        self.user = Some(user.to_vec());
        self.password = Some(password.to_vec());
        self.phase = Phase::Request;
        Ok(Step::Send {
            consumed: cursor.at,
            bytes: [1, 0],
        })
    }

    fn request5(&mut self, buffer: &[u8]) -> Result<Step, SocksError> {
        let mut cursor = Cursor { bytes: buffer, at: 0 };
        let Some(head) = cursor.take(4) else {
            return if buffer.first() == Some(&5) {
                Ok(Step::Wait)
            } else {
                Err(SocksError::Malformed)
            };
        };
        let &[5, command, _, kind] = head else {
            return Err(SocksError::Malformed);
        };
        let (host, literal) = match kind {
            1 => match cursor.take(4).and_then(|octets| <[u8; 4]>::try_from(octets).ok()) {
                None => return Ok(Step::Wait),
                Some(octets) => (IpAddr::V4(Ipv4Addr::from(octets)).to_string(), true),
            },
            4 => match cursor.take(16).and_then(|octets| <[u8; 16]>::try_from(octets).ok()) {
                None => return Ok(Step::Wait),
                Some(octets) => (IpAddr::V6(Ipv6Addr::from(octets)).to_string(), true),
            },
            3 => {
                let Some(length) = cursor.byte() else { return Ok(Step::Wait) };
                let Some(name) = cursor.take(usize::from(length)) else {
                    return Ok(Step::Wait);
                };
                (host_name(name)?, false)
            }
            other => return Err(SocksError::AddressType(other)),
        };
        let Some(port) = cursor.u16() else { return Ok(Step::Wait) };
        let command = match command {
            1 => Command::Connect,
            0xf0 => Command::Resolve,
            other => return Err(SocksError::Command(other)),
        };
        let request = SocksRequest {
            version: 5,
            command,
            host,
            port,
            literal,
            user: self.user.take(),
            password: self.password.take(),
        };
        Ok(Step::Request {
            consumed: cursor.at,
            request,
        })
    }

    fn request4(&mut self, buffer: &[u8]) -> Result<Step, SocksError> {
        let mut cursor = Cursor { bytes: buffer, at: 1 };
        let (Some(command), Some(port), Some(address)) = (cursor.byte(), cursor.u16(), cursor.take(4)) else {
            return Ok(Step::Wait);
        };
        let Some(user) = text4(&mut cursor)? else { return Ok(Step::Wait) };
        let octets: [u8; 4] = address.try_into().map_err(|_| SocksError::Malformed)?;
        // 0.0.0.x with x not 0 announces a name behind the user (SOCKS 4a).
        let (host, literal) = if matches!(octets, [0, 0, 0, last] if last != 0) {
            let Some(name) = text4(&mut cursor)? else { return Ok(Step::Wait) };
            (host_name(name)?, false)
        } else {
            (Ipv4Addr::from(octets).to_string(), true)
        };
        let command = match command {
            1 => Command::Connect,
            0xf0 => Command::Resolve,
            other => return Err(SocksError::Command(other)),
        };
        let user = (!user.is_empty()).then(|| user.to_vec());
        let request = SocksRequest {
            version: 4,
            command,
            host,
            port,
            literal,
            user,
            password: None,
        };
        Ok(Step::Request {
            consumed: cursor.at,
            request,
        })
    }
}

/// Text up to a zero byte; `None`: more is needed.
fn text4<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, SocksError> {
    let rest = cursor.bytes.get(cursor.at..).unwrap_or_default();
    match rest.iter().take(TEXT4_MAX_BYTES + 1).position(|byte| *byte == 0) {
        Some(length) => {
            cursor.at += length + 1;
            Ok(rest.get(..length))
        }
        None if rest.len() > TEXT4_MAX_BYTES => Err(SocksError::Malformed),
        None => Ok(None),
    }
}

fn check_extension(user: &[u8]) -> Result<(), SocksError> {
    match user.strip_prefix(EXTENDED_MAGIC) {
        None | Some(b"0") => Ok(()),
        Some(_) => Err(SocksError::UnknownExtension),
    }
}

/// A host name as clients write it: letters, digits, `-`, `.`, `_`, and `:` of an IPv6 address in text form.
pub(crate) fn host_name(bytes: &[u8]) -> Result<String, SocksError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if bytes.is_empty() || bytes.len() > 255 || !bytes.iter().all(allowed) {
        return Err(SocksError::Name);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SocksError::Name)?;
    if text.contains(':') && text.parse::<Ipv6Addr>().is_err() {
        return Err(SocksError::Name);
    }
    Ok(text.to_ascii_lowercase())
}

/// A reply in the client's version of the protocol. `address`: what a RESOLVE found.
pub fn reply(version: u8, code: Reply, address: Option<IpAddr>) -> Vec<u8> {
    if version == 4 {
        let octets = match address {
            Some(IpAddr::V4(address)) => address.octets(),
            _ => [0; 4],
        };
        let mut bytes = vec![0, if code == Reply::Succeeded { 0x5a } else { 0x5b }, 0, 0];
        bytes.extend_from_slice(&octets);
        return bytes;
    }
    let mut bytes = vec![5, code as u8, 0];
    match address {
        Some(IpAddr::V6(address)) => {
            bytes.push(4);
            bytes.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V4(address)) => {
            bytes.push(1);
            bytes.extend_from_slice(&address.octets());
        }
        None => bytes.extend_from_slice(&[1, 0, 0, 0, 0]),
    }
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

#[cfg(test)]
mod tests;
