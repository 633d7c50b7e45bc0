//! The proxies of a node, and what TypeScript decides of their requests.

use std::net::SocketAddr;
use std::sync::Arc;

use anonnet_errors::ErrorKind;
use tokio::task::AbortHandle;

use super::Node;
use crate::events::{OpId, OpValue};
use crate::proxy::{Chosen, Stands, listen};
use crate::sync::lock;

impl Node {
    /// Opens a SOCKS and HTTP proxy; its address and number come with the operation.
    pub fn listen_proxy(&self, op: OpId, address: SocketAddr) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let unmake = move |listener| _ = unmaking.close_proxy(listener);
        let work = async move {
            let id = inner.new_id();
            let (bound, task) = listen(inner.attach.clone(), id, address).await?;
            lock(&inner.proxies).insert(id, task);
            Ok(OpValue {
                text: Some(bound.to_string()),
                number: Some(id),
                bytes: None,
            })
        };
        self.inner.operations.start_making(op, work, unmake)
    }

    /// Closes a proxy and its clients' connections.
    pub fn close_proxy(&self, listener: u32) -> bool {
        let task = lock(&self.inner.proxies).remove(&listener);
        self.inner.attach.answers.close(listener);
        task.inspect(AbortHandle::abort).is_some()
    }

    /// Gives a proxied request a circuit. With `stands`, the same request gets it again without being asked about, once it has connected.
    pub fn attach(&self, request: u32, circuit: u32, stands: Option<Stands>) -> bool {
        let offer = stands.map(|stands| self.inner.attach.answers.offer(stands));
        let choice = self.inner.circuit(circuit).map(|handle| Chosen { circuit, handle, offer });
        self.inner.attach.pending.answer(request, choice)
    }

    /// Takes back every answer that stands for a circuit; without one, all of them.
    pub fn withdraw(&self, circuit: Option<u32>) {
        self.inner.attach.answers.withdraw(circuit);
    }

    /// Refuses a proxied request.
    pub fn refuse(&self, request: u32, kind: ErrorKind) -> bool {
        self.inner.attach.pending.answer(request, Err(kind))
    }
}
