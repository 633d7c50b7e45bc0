//! Our own code that QUIC calls during a handshake, under the lock of a connection: a panic there would poison the lock, and with it every
//! stream of that connection, whose ends panic in turn when they are dropped. Here it fails the handshake.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustls::{
    Error, NamedGroup, ProtocolVersion,
    crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup},
    ffdhe_groups::FfdheGroup,
};

/// Runs `work`, of which a panic is an error.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::General("a bug of ours".into())))
}

/// A key exchange whose panics are errors.
#[derive(Debug)]
pub(super) struct Caught(pub(super) &'static dyn SupportedKxGroup);

impl SupportedKxGroup for Caught {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        caught(|| Ok(Box::new(Exchange(self.0.start()?)) as Box<dyn ActiveKeyExchange>))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        caught(|| self.0.start_and_complete(peer))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

struct Exchange(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        caught(|| self.0.complete(peer))
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Bad;

    impl SupportedKxGroup for Bad {
        fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
            Ok(Box::new(BadExchange))
        }

        fn start_and_complete(&self, _: &[u8]) -> Result<CompletedKeyExchange, Error> {
            panic!("planted")
        }

        fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
            None
        }

        fn name(&self) -> NamedGroup {
            NamedGroup::X25519MLKEM768
        }
    }

    struct BadExchange;

    impl ActiveKeyExchange for BadExchange {
        fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
            panic!("planted")
        }

        fn pub_key(&self) -> &[u8] {
            &[]
        }

        fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
            None
        }

        fn group(&self) -> NamedGroup {
            NamedGroup::X25519MLKEM768
        }
    }

    #[test]
    fn a_key_exchange_that_panics_fails_the_handshake() {
        let group = Caught(&Bad);
        assert!(matches!(group.start_and_complete(&[]), Err(Error::General(_))));
        assert!(matches!(group.start().unwrap().complete(&[]), Err(Error::General(_))));
    }
}
