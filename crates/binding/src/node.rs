//! The class `NativeNode`.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anonnet_engine::{Ask, EventQueue, Node, PathHop, Peer};
use anonnet_errors::ErrorKind;
use napi::Env;
use napi::bindgen_prelude::{Buffer, Function, ObjectFinalize, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::bytes::{address, array, hex, node_id};
use crate::error::{Result, invalid, thrown};
use crate::event::NativeEvent;
use crate::options::NativeNodeOptions;
use crate::runtime;
use crate::snapshot::{NativeCircuit, NativeLink, NativeSnapshot};

/// Another node: 64 hex digits, and `ip:port`.
#[napi(object, object_to_js = false)]
pub struct NativePeer {
    pub node_id: String,
    pub address: String,
}

/// One relay of a path.
#[napi(object, object_to_js = false)]
pub struct NativeHop {
    pub node_id: String,
    pub onion_key: Uint8Array,
    pub address: String,
}

/// A node. Methods return at once; those with an `op` are answered by an event of that number.
#[napi(custom_finalize)]
pub struct NativeNode {
    pub(crate) node: Node,
}

/// An Ed25519 seed; empty: a fresh one.
fn seed(key: &[u8]) -> Result<Option<[u8; 32]>> {
    if key.is_empty() { Ok(None) } else { array(key, "key").map(Some) }
}

pub(crate) fn milliseconds(value: u32) -> Duration {
    Duration::from_millis(value.into())
}

#[napi]
impl NativeNode {
    /// Starts a node. `wake` is called when events wait for `drain()`; it does not keep the process alive.
    #[napi(constructor, catch_unwind)]
    pub fn new(options: NativeNodeOptions, wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .max_queue_size::<4>()
            .build()
            .map_err(|_| thrown(ErrorKind::Internal))?;
        let events = EventQueue::new(move || {
            #[cfg(feature = "testing")]
            crate::testing::callback();
            // A full queue means that a call waits already; a closing environment needs none.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        });
        #[cfg(not(feature = "exit"))]
        options.refuse_exit()?;
        let node = Node::start(options.into_engine()?, events, runtime::handle()?).map_err(thrown)?;
        Ok(Self { node })
    }

    #[napi(catch_unwind)]
    pub fn drain(&self) -> Vec<NativeEvent> {
        self.node.drain().into_iter().map(NativeEvent::from).collect()
    }

    #[napi(catch_unwind)]
    pub fn node_id(&self) -> String {
        hex(&self.node.node_id())
    }

    #[napi(catch_unwind)]
    pub fn public_key(&self) -> Buffer {
        self.node.public_key().to_vec().into()
    }

    #[napi(catch_unwind)]
    pub fn onion_key(&self) -> Buffer {
        self.node.onion_key().to_vec().into()
    }

    #[napi(catch_unwind)]
    pub fn local_address(&self) -> Option<String> {
        self.node.local_address().map(|address| address.to_string())
    }

    /// An Ed25519 signature by the node's identity.
    #[napi(catch_unwind)]
    pub fn sign(&self, message: &[u8]) -> Buffer {
        self.node.sign(message).to_vec().into()
    }

    #[napi(catch_unwind)]
    pub fn rotate_onion_key(&self) -> Result<Buffer> {
        self.node.rotate_onion_key().map(|key| key.to_vec().into()).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn set_known_relays(&self, relays: Vec<NativePeer>) -> Result<()> {
        let addresses = relays.iter().map(|relay| address(&relay.address)).collect::<Result<Vec<_>>>()?;
        self.node.set_known_relays(&addresses);
        Ok(())
    }

    /// Asks another node. `opOk.bytes`: the answer. `fresh`: over a link that is dialled for it alone.
    #[napi(catch_unwind)]
    pub fn rpc(&self, op: u32, peer: NativePeer, body: &[u8], timeout_ms: u32, max_reply_bytes: u32, fresh: Option<bool>) -> Result<()> {
        let peer = Peer {
            node: node_id(&peer.node_id)?,
            address: address(&peer.address)?,
        };
        let ask = Ask {
            body: body.to_vec(),
            timeout: milliseconds(timeout_ms),
            max_reply: usize::try_from(max_reply_bytes).unwrap_or(usize::MAX),
            fresh: fresh.unwrap_or(false),
        };
        self.node.rpc(op, peer, ask).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn rpc_reply(&self, request: u32, body: &[u8]) -> bool {
        self.node.rpc_reply(request, body.to_vec())
    }

    #[napi(catch_unwind)]
    pub fn rpc_reject(&self, request: u32) -> bool {
        self.node.rpc_reject(request)
    }

    /// Builds a circuit. `opOk.number`: the circuit.
    #[napi(catch_unwind)]
    pub fn build_circuit(&self, op: u32, path: Vec<NativeHop>, timeout_ms: u32) -> Result<()> {
        let hop = |hop: &NativeHop| {
            let onion_key = array(&hop.onion_key, "onionKey")?;
            Ok(PathHop {
                node: node_id(&hop.node_id)?,
                onion_key,
                address: address(&hop.address)?,
            })
        };
        let path = path.iter().map(hop).collect::<Result<Vec<_>>>()?;
        self.node.build_circuit(op, &path, milliseconds(timeout_ms)).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn close_circuit(&self, circuit: u32) -> bool {
        self.node.close_circuit(circuit)
    }

    /// Closes every link to other nodes, with all that runs on them; the next operation dials anew.
    #[napi(catch_unwind)]
    pub fn close_links(&self) {
        self.node.close_links();
    }

    /// Asks the last hop of a circuit. `opOk.bytes`: the answer.
    #[napi(catch_unwind)]
    pub fn circuit_rpc(&self, op: u32, circuit: u32, body: &[u8], timeout_ms: u32, max_reply_bytes: u32) -> Result<()> {
        let max_reply = usize::try_from(max_reply_bytes).unwrap_or(usize::MAX);
        self.node
            .circuit_rpc(op, circuit, body.to_vec(), milliseconds(timeout_ms), max_reply)
            .map_err(thrown)
    }

    /// Resolves a name at the last hop. `opOk.text`: a JSON array of addresses.
    #[napi(catch_unwind)]
    pub fn resolve(&self, op: u32, circuit: u32, host: String, timeout_ms: u32) -> Result<()> {
        self.node.resolve(op, circuit, host, milliseconds(timeout_ms)).map_err(thrown)
    }

    /// Opens a stream. `opOk.number`: the stream.
    #[napi(catch_unwind)]
    pub fn connect(&self, op: u32, circuit: u32, host: String, port: u32, timeout_ms: u32) -> Result<()> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| invalid("port"))?;
        self.node.connect(op, circuit, host, port, milliseconds(timeout_ms)).map_err(thrown)
    }

    /// Reads from a stream. `opOk.bytes`: 64 KiB at most; absent at the end.
    #[napi(catch_unwind)]
    pub fn read(&self, op: u32, stream: u32) -> Result<()> {
        self.node.read(op, stream).map_err(thrown)
    }

    /// Writes to a stream, 1 MiB at most; answered when its bounded queue has taken it.
    #[napi(catch_unwind)]
    pub fn write(&self, op: u32, stream: u32, data: &[u8]) -> Result<()> {
        self.node.write(op, stream, data.to_vec()).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn end(&self, stream: u32) {
        self.node.end(stream);
    }

    #[napi(catch_unwind)]
    pub fn destroy(&self, stream: u32) {
        self.node.destroy(stream);
    }

    /// Opens a SOCKS and HTTP proxy. `opOk.text`: its address, `opOk.number`: its number.
    #[napi(catch_unwind)]
    pub fn listen_proxy(&self, op: u32, at: String) -> Result<()> {
        self.proxies_listen(op, &at)
    }

    #[napi(catch_unwind)]
    pub fn close_proxy(&self, listener: u32) -> bool {
        self.proxies_close(listener)
    }

    /// With `stands_ms` and `streams`, the same request gets the circuit again for so long, unless it has so many streams: without an event
    /// before it is connected.
    #[napi(catch_unwind)]
    pub fn attach(&self, request: u32, circuit: u32, stands_ms: Option<u32>, streams: Option<u32>) -> bool {
        self.proxies_attach(request, circuit, stands_ms.zip(streams))
    }

    /// Takes back what stands for a circuit, or everything.
    #[napi(catch_unwind)]
    pub fn withdraw(&self, circuit: Option<u32>) {
        self.proxies_withdraw(circuit);
    }

    #[napi(catch_unwind)]
    pub fn refuse(&self, request: u32, code: String) -> Result<bool> {
        let kind = ErrorKind::from_code(&code).ok_or_else(|| invalid("code"))?;
        Ok(self.proxies_refuse(request, kind))
    }

    #[napi(catch_unwind)]
    pub fn cancel(&self, op: u32) {
        self.node.cancel(op);
    }

    /// Listens for direct links, under an identity of its own. `opOk.number`: the listener, which `destroy` ends; `opOk.text`: `ip:port`;
    /// `opOk.bytes`: its node id.
    #[napi(catch_unwind)]
    pub fn listen_direct(&self, op: u32, at: String, key: &[u8], max_links: u32) -> Result<()> {
        let links = usize::try_from(max_links).unwrap_or(usize::MAX);
        self.node.listen_direct(op, address(&at)?, seed(key)?, links).map_err(thrown)
    }

    /// Opens a direct link, under an identity of its own. `opOk.number`: the stream.
    #[napi(catch_unwind)]
    pub fn connect_direct(&self, op: u32, node: String, at: String, key: &[u8], timeout_ms: u32) -> Result<()> {
        let peer = Peer {
            node: node_id(&node)?,
            address: address(&at)?,
        };
        self.node
            .connect_direct(op, peer, seed(key)?, milliseconds(timeout_ms))
            .map_err(thrown)
    }

    /// The node's own circuits.
    #[napi(catch_unwind)]
    pub fn circuits(&self) -> Vec<NativeCircuit> {
        self.node.circuits().into_iter().map(NativeCircuit::from).collect()
    }

    /// The node's links.
    #[napi(catch_unwind)]
    pub fn links(&self) -> Vec<NativeLink> {
        self.node.links().into_iter().map(NativeLink::from).collect()
    }

    /// Counters, links and circuits. Needs the feature `metrics`.
    #[napi(catch_unwind)]
    pub fn snapshot(&self) -> Result<NativeSnapshot> {
        self.counters()
    }

    /// Ends the node; every other operation fails with ERR_ANONNET_CLOSED, and this one is answered last.
    #[napi(catch_unwind)]
    pub fn close(&self, op: u32, drain_ms: u32) -> Result<()> {
        self.node.close(op, milliseconds(drain_ms)).map_err(thrown)
    }
}

// Called by the garbage collector, through which nothing may unwind: the panic has been told of already.
impl ObjectFinalize for NativeNode {
    fn finalize(self, _: Env) -> napi::Result<()> {
        let _ = std::panic::catch_unwind(AssertUnwindSafe(move || {
            #[cfg(feature = "testing")]
            crate::testing::finalizer();
            drop(self);
        }));
        Ok(())
    }
}

impl Drop for NativeNode {
    fn drop(&mut self) {
        self.node.abandon();
    }
}
