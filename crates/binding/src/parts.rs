//! What an addon may be built without. The methods are there in every build, so that index.d.ts is one: those of a part that was left out
//! say which one it is.

use crate::error::Result;
#[cfg(not(all(feature = "metrics", feature = "proxy")))]
use crate::error::missing;
use crate::node::NativeNode;
use crate::snapshot::NativeSnapshot;
use anonnet_errors::ErrorKind;

#[cfg(feature = "proxy")]
impl NativeNode {
    pub(crate) fn proxies_listen(&self, op: u32, at: &str) -> Result<()> {
        self.node.listen_proxy(op, crate::bytes::address(at)?).map_err(crate::error::thrown)
    }

    pub(crate) fn proxies_close(&self, listener: u32) -> bool {
        self.node.close_proxy(listener)
    }

    pub(crate) fn proxies_attach(&self, request: u32, circuit: u32, stands: Option<(u32, u32)>) -> bool {
        let stands = stands.map(|(time, streams)| anonnet_engine::Stands {
            time: crate::node::milliseconds(time),
            streams,
        });
        self.node.attach(request, circuit, stands)
    }

    pub(crate) fn proxies_withdraw(&self, circuit: Option<u32>) {
        self.node.withdraw(circuit);
    }

    pub(crate) fn proxies_refuse(&self, request: u32, kind: ErrorKind) -> bool {
        self.node.refuse(request, kind)
    }
}

// There are no listeners and no requests: nobody waits for these.
#[cfg(not(feature = "proxy"))]
#[expect(clippy::unused_self, reason = "the methods of every build")]
impl NativeNode {
    pub(crate) fn proxies_listen(&self, _: u32, _: &str) -> Result<()> {
        Err(missing("proxy"))
    }

    pub(crate) fn proxies_close(&self, _: u32) -> bool {
        false
    }

    pub(crate) fn proxies_attach(&self, _: u32, _: u32, _: Option<(u32, u32)>) -> bool {
        false
    }

    pub(crate) fn proxies_withdraw(&self, _: Option<u32>) {}

    pub(crate) fn proxies_refuse(&self, _: u32, _: ErrorKind) -> bool {
        false
    }
}

impl NativeNode {
    #[cfg(feature = "metrics")]
    pub(crate) fn counters(&self) -> Result<NativeSnapshot> {
        Ok(self.node.snapshot().into())
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "the method of every build")]
    pub(crate) fn counters(&self) -> Result<NativeSnapshot> {
        Err(missing("metrics"))
    }
}
