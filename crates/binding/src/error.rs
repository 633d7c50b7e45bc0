//! One place for errors: what a call throws has the registry's code and advice, and nothing else.

use anonnet_errors::{ErrorKind, HasKind};

/// What a synchronous call throws: `code` is the stable code, `message` the advice.
pub struct Code(ErrorKind);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0.code()
    }
}

pub type Thrown = napi::Error<Code>;
pub type Result<T> = std::result::Result<T, Thrown>;

pub(crate) fn thrown(error: impl HasKind) -> Thrown {
    let kind = error.kind();
    napi::Error::new(Code(kind), kind.advice())
}

/// An argument that does not fit; `what` names it.
pub(crate) fn invalid(what: &str) -> Thrown {
    let kind = ErrorKind::InvalidArgument;
    napi::Error::new(Code(kind), format!("{} ({what})", kind.advice()))
}

/// A part that this addon was built without.
#[cfg(not(all(feature = "exit", feature = "metrics", feature = "proxy")))]
pub(crate) fn missing(feature: &str) -> Thrown {
    let kind = ErrorKind::NotBuilt;
    napi::Error::new(Code(kind), format!("{} ({feature})", kind.advice()))
}
