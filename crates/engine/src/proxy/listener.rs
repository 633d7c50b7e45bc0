//! Takes a proxy's clients, in a bounded number.

use std::net::SocketAddr;
use std::sync::Arc;

use anonnet_errors::ErrorKind;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::session::{Attach, Client, serve};
use crate::limits::PROXY_CLIENTS_MAX;
use crate::stats::{Counter, Gauge};
use crate::task::{Work, spawn};

#[derive(Default)]
pub(crate) struct ProxyStats {
    pub(crate) requests: Counter,
    pub(crate) open: Gauge,
    pub(crate) refused: Counter,
}

/// Binds a listener and serves it until the returned handle aborts it: with it end its clients.
pub(crate) async fn listen(attach: Attach, listener: u32, address: SocketAddr) -> Result<(SocketAddr, AbortHandle), ErrorKind> {
    let socket = TcpListener::bind(address).await.map_err(|_| ErrorKind::BindFailed)?;
    let bound = socket.local_addr().map_err(|_| ErrorKind::BindFailed)?;
    let task = spawn(async move {
        let places = Arc::new(Semaphore::new(PROXY_CLIENTS_MAX));
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            // With every place taken, further clients wait in the kernel's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match socket.accept().await {
                Ok((socket, remote)) => {
                    let _ = socket.set_nodelay(true);
                    let client = Client {
                        attach: attach.clone(),
                        listener,
                        remote,
                    };
                    let work: Work = Box::pin(async move {
                        let stats = Arc::clone(&client.attach.stats);
                        let _open = stats.open.count();
                        serve(client, socket).await;
                        drop(place);
                    });
                    clients.spawn(work);
                }
                // Out of file descriptors, or a client that was gone at once: neither may spin nor end the proxy.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    });
    Ok((bound, task.abort_handle()))
}
