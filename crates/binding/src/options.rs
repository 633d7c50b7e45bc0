//! What a node is made of, as JavaScript says it.

use anonnet_engine::{NodeOptions, RateLimit, Roles, StoredAt};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::bytes;
use crate::error::{Result, invalid};

/// New links or handshakes a second from one address prefix (/24, /48), and how many at once.
#[napi(object, object_to_js = false)]
pub struct NativeRateLimit {
    pub rate: f64,
    pub burst: u32,
}

#[napi(object, object_to_js = false)]
pub struct NativeRoles {
    pub relay: bool,
    pub exit: bool,
    pub bootstrap: bool,
}

#[napi(object, object_to_js = false)]
pub struct NativeNodeOptions {
    /// Path of a key file; made, with mode 0600, where there is none. Absent: fresh keys in memory.
    pub identity: Option<String>,
    pub passphrase: Option<Uint8Array>,
    /// `ip:port`; absent: a client only.
    pub listen: Option<String>,
    pub roles: Option<NativeRoles>,
    pub exit_policy: Option<Vec<String>>,
    /// Test networks only.
    pub allow_private: Option<bool>,
    /// Bytes a second; 0 or absent: no limit.
    pub bandwidth_rate: Option<f64>,
    /// Bytes; absent: one second's worth.
    pub bandwidth_burst: Option<f64>,
    pub client_links_per_prefix: Option<NativeRateLimit>,
    pub handshakes_per_prefix: Option<NativeRateLimit>,
}

/// New links a second from one prefix, and at once, unless told otherwise.
const LINKS: RateLimit = RateLimit { rate: 20.0, burst: 100 };
/// Handshakes a second from one prefix, and at once, unless told otherwise.
const HANDSHAKES: RateLimit = RateLimit { rate: 100.0, burst: 1000 };

fn whole(value: Option<f64>, what: &str) -> Result<u64> {
    let value = value.unwrap_or(0.0);
    // 2^53: the whole numbers that JavaScript has.
    if !(0.0..=9_007_199_254_740_992.0).contains(&value) {
        return Err(invalid(what));
    }
    Ok(value as u64)
}

fn limit(value: Option<NativeRateLimit>, default: RateLimit, what: &str) -> Result<RateLimit> {
    match value {
        None => Ok(default),
        Some(NativeRateLimit { rate, burst }) if rate.is_finite() && rate >= 0.0 => Ok(RateLimit { rate, burst }),
        Some(_) => Err(invalid(what)),
    }
}

impl NativeNodeOptions {
    /// An addon without exits takes neither the role nor a policy for it.
    #[cfg(not(feature = "exit"))]
    pub(crate) fn refuse_exit(&self) -> Result<()> {
        let asked = self.roles.as_ref().is_some_and(|roles| roles.exit) || self.exit_policy.as_ref().is_some_and(|lines| !lines.is_empty());
        if asked { Err(crate::error::missing("exit")) } else { Ok(()) }
    }

    pub(crate) fn into_engine(self) -> Result<NodeOptions> {
        let passphrase = self.passphrase.map(|passphrase| passphrase.to_vec().into());
        let keys = self.identity.map(|path| StoredAt {
            path: path.into(),
            passphrase,
        });
        let roles = self.roles.map_or_else(Roles::default, |roles| Roles {
            relay: roles.relay,
            exit: roles.exit,
        });
        let bandwidth_rate = whole(self.bandwidth_rate, "bandwidthRate")?;
        let bandwidth_burst = match whole(self.bandwidth_burst, "bandwidthBurst")? {
            0 => bandwidth_rate,
            burst => burst,
        };
        Ok(NodeOptions {
            keys,
            listen: self.listen.as_deref().map(bytes::address).transpose()?,
            roles,
            exit_policy: self.exit_policy.unwrap_or_default(),
            allow_private: self.allow_private.unwrap_or(false),
            bandwidth_rate,
            bandwidth_burst,
            links: limit(self.client_links_per_prefix, LINKS, "clientLinksPerPrefix")?,
            handshakes: limit(self.handshakes_per_prefix, HANDSHAKES, "handshakesPerPrefix")?,
            #[cfg(feature = "exit")]
            resolver: std::sync::Arc::new(anonnet_engine::SystemResolver),
        })
    }
}
