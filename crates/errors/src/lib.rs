//! What can go wrong, in one registry.
//!
//! Every crate has an error type of its own, with fields instead of prose; each of them maps to one [`ErrorKind`].
//! The kind carries the stable code that programs branch on, whose doing it was, and whether trying again helps.
//! The binding hands this registry to TypeScript, where a test compares it with the classes and the documentation.

#![forbid(unsafe_code)]

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// This machine: its disk, its ports, its clock, its configuration.
    Local,
    /// The other end broke the protocol, or refused.
    Peer,
    /// The path between: loss, a dead relay, no route.
    Network,
    /// The program that called us.
    Caller,
    /// Us.
    Bug,
}

impl Blame {
    /// The word that the public API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Network => "network",
            Self::Caller => "caller",
            Self::Bug => "bug",
        }
    }
}

/// Whether doing the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It will fail the same way.
    Never,
    /// At once, over another circuit or link.
    Now,
    /// After a pause.
    Later,
}

impl Retry {
    /// The word that the public API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Now => "now",
            Self::Later => "later",
        }
    }
}

macro_rules! registry {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $blame:ident, $retry:ident, $advice:literal;)*) => {
        /// One entry of the registry. The code never changes once released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $(#[doc = $advice] $name,)* }

        impl ErrorKind {
            /// Every kind there is, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, `ERR_ANONNET_…`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => concat!("ERR_ANONNET_", $code),)* }
            }

            /// Whose doing it is.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)* }
            }

            /// Whether trying again helps.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }

            /// One sentence for a person: what happened and what to do. Never an address, a key or a target.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }

            /// The kind with that code.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.code() == code)
            }
        }
    };
}

registry! {
    InvalidArgument = "INVALID_ARGUMENT", Caller, Never, "An argument is of the wrong type, shape or range.";
    InvalidAddress = "INVALID_ADDRESS", Caller, Never, "The target is not of the form host:port, or its name or port is not valid.";
    ConfigInvalid = "CONFIG_INVALID", Caller, Never, "The configuration has an unknown key or a value that does not fit.";
    Closed = "CLOSED", Caller, Never, "The node, circuit or stream was already closed.";
    Aborted = "ABORTED", Caller, Never, "The operation was cancelled by its caller.";
    Unsupported = "UNSUPPORTED", Caller, Never, "This version does not do that yet.";
    NotBuilt = "NOT_BUILT", Caller, Never, "The addon was built without a part that this needs; build it with the feature that is named.";
    BindFailed = "BIND_FAILED", Local, Never, "The address could not be bound: it is in use, not of this machine, or needs a privilege.";
    StoreFailed = "STORE_FAILED", Local, Later, "A file of the state directory could not be read or written.";
    KeyInvalid = "KEY_INVALID", Local, Never, "A key or a key file is damaged or not of a known form.";
    KeyPassphrase = "KEY_PASSPHRASE", Local, Never, "The key file needs a passphrase, or the passphrase is wrong.";
    KeyPermissions = "KEY_PERMISSIONS", Local, Never, "The key file can be read by others; make its mode 0600.";
    ResourceLimit = "RESOURCE_LIMIT", Local, Later, "A limit of this node was reached; see docs/limits.md.";
    RateLimited = "RATE_LIMITED", Peer, Later, "The other side takes no more from this address for now.";
    LinkUnreachable = "LINK_UNREACHABLE", Network, Later, "The relay does not answer at its address.";
    LinkIdentity = "LINK_IDENTITY", Peer, Never, "The relay at that address has not the identity that was asked for.";
    LinkProtocol = "LINK_PROTOCOL", Peer, Never, "The other end of a link broke the protocol.";
    LinkClosed = "LINK_CLOSED", Network, Now, "The link to a relay ended.";
    RpcInvalid = "RPC_INVALID", Peer, Never, "A request or an answer between nodes was malformed or too large.";
    RpcRefused = "RPC_REFUSED", Peer, Later, "The other node refused the request.";
    HandshakeFailed = "HANDSHAKE_FAILED", Peer, Never, "The circuit handshake did not authenticate the relay, or was malformed.";
    CellMalformed = "CELL_MALFORMED", Peer, Never, "A cell or a message in it was malformed.";
    CircuitProtocol = "CIRCUIT_PROTOCOL", Peer, Never, "A relay or the other end broke the circuit protocol.";
    CircuitClosed = "CIRCUIT_CLOSED", Network, Now, "The circuit ended.";
    ExtendRefused = "EXTEND_REFUSED", Peer, Now, "A relay refused to extend the circuit.";
    Timeout = "TIMEOUT", Network, Later, "It took too long.";
    NoPath = "NO_PATH", Network, Later, "No relays fit the rules for a path.";
    NotBootstrapped = "NOT_BOOTSTRAPPED", Network, Later, "There is no relay list yet that a majority of the bootstrap keys signed.";
    StreamRefused = "STREAM_REFUSED", Peer, Later, "The target refused the connection.";
    StreamReset = "STREAM_RESET", Peer, Now, "The stream was reset.";
    HostUnreachable = "HOST_UNREACHABLE", Peer, Later, "The target cannot be reached from the exit.";
    NameNotResolved = "NAME_NOT_RESOLVED", Peer, Later, "The exit could not resolve the name.";
    ExitPolicy = "EXIT_POLICY", Peer, Never, "The exit's policy does not allow that target.";
    StreamLimit = "STREAM_LIMIT", Peer, Now, "The circuit carries no more streams.";
    ListInvalid = "LIST_INVALID", Peer, Later, "A relay list is not signed by a majority of the bootstrap keys, too old, or malformed.";
    DescriptorInvalid = "DESCRIPTOR_INVALID", Peer, Never, "A relay descriptor is malformed, expired, or its signature is wrong.";
    RecordInvalid = "RECORD_INVALID", Peer, Never, "A stored record is malformed, expired, or its signature is wrong.";
    NotFound = "NOT_FOUND", Network, Later, "Nobody who was asked has it.";
    ServiceAddress = "SERVICE_ADDRESS", Caller, Never, "No service can have that address: a character was mistyped, or it is of another version.";
    ServiceNotFound = "SERVICE_NOT_FOUND", Network, Later, "Nobody who was asked has a descriptor of the service: it is not running, or its address is wrong.";
    IntroductionFailed = "INTRODUCTION_FAILED", Network, Later, "No introduction point of the service passed the introduction on.";
    IntroductionTimeout = "INTRODUCTION_TIMEOUT", Network, Later, "The service was introduced to and did not answer in time.";
    RendezvousFailed = "RENDEZVOUS_FAILED", Network, Later, "The meeting with the service did not come about, or its other end is not the service.";
    ClientAuth = "CLIENT_AUTH", Caller, Never, "The service is for authorised clients only, and no key for it is known.";
    ClientAuthWrong = "CLIENT_AUTH_WRONG", Caller, Never, "The service does not authorise the key that is known for it.";
    Internal = "INTERNAL", Bug, Later, "A bug of AnonNet; please report it with the code and what you did.";
}

/// What every crate's error can say of itself.
pub trait HasKind {
    /// The entry of the registry.
    fn kind(&self) -> ErrorKind;
}

impl HasKind for ErrorKind {
    fn kind(&self) -> ErrorKind {
        *self
    }
}

impl core::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.advice())
    }
}

impl std::error::Error for ErrorKind {}

#[cfg(test)]
mod tests {
    use super::ErrorKind;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_found_again() {
        let codes: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(*kind));
            assert!(kind.advice().ends_with('.'));
        }
        assert_eq!(ErrorKind::from_code("ERR_ANONNET_"), None);
    }
}
