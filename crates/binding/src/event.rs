//! Events on their way up.

use anonnet_engine::{Event, Failure, OpValue, ProxyProtocol, ProxyRequestEvent};
use anonnet_errors::ErrorKind;
use napi_derive::napi;

use crate::bytes::{Copied, hex};

/// Something that happened. Which fields are there depends on `type`; ts/native has a type for each.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct NativeEvent {
    #[napi(
        ts_type = "'opOk' | 'opFailed' | 'circuitClosed' | 'linkUp' | 'linkDown' | 'rpcRequest' | 'proxyRequest' | 'proxyConnected' | 'proxyFailed' | 'streamEnded' | 'bug' | 'introduced' | 'incomingStream' | 'directStream'"
    )]
    pub r#type: &'static str,
    pub op: Option<u32>,
    #[napi(ts_type = "Buffer")]
    pub bytes: Option<Copied>,
    pub text: Option<String>,
    pub number: Option<u32>,
    pub code: Option<&'static str>,
    pub hop: Option<u8>,
    pub circuit: Option<u32>,
    pub node_id: Option<String>,
    pub authenticated: Option<bool>,
    pub request: Option<u32>,
    pub address: Option<String>,
    pub via_circuit: Option<bool>,
    #[napi(ts_type = "Buffer")]
    pub body: Option<Copied>,
    pub listener: Option<u32>,
    pub protocol: Option<&'static str>,
    pub kind: Option<&'static str>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub client: Option<String>,
    pub literal: Option<bool>,
    pub again: Option<u32>,
    pub stream: Option<u32>,
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        let base = Self::default();
        match event {
            Event::OpDone {
                op,
                result: Ok(OpValue { bytes, text, number }),
            } => Self {
                r#type: "opOk",
                op: Some(op),
                bytes: bytes.map(Copied),
                text,
                number,
                ..base
            },
            Event::OpDone {
                op,
                result: Err(Failure { kind, hop }),
            } => Self {
                r#type: "opFailed",
                op: Some(op),
                code: Some(kind.code()),
                hop,
                ..base
            },
            Event::CircuitClosed { circuit, kind } => Self {
                r#type: "circuitClosed",
                circuit: Some(circuit),
                code: Some(kind.code()),
                ..base
            },
            Event::Link {
                up,
                node,
                authenticated,
                kind,
            } => Self {
                r#type: if up { "linkUp" } else { "linkDown" },
                node_id: node.map(|id| hex(&id)),
                authenticated: Some(authenticated),
                code: kind.map(ErrorKind::code),
                ..base
            },
            Event::RpcRequest {
                request,
                node,
                address,
                via_circuit,
                body,
            } => Self {
                r#type: "rpcRequest",
                request: Some(request),
                node_id: node.map(|id| hex(&id)),
                address: Some(address.to_string()),
                via_circuit: Some(via_circuit),
                body: Some(Copied(body)),
                ..base
            },
            Event::ProxyRequest(request) => Self::from(request),
            Event::ProxyConnected { request, circuit } => Self {
                r#type: "proxyConnected",
                request: Some(request),
                circuit: Some(circuit),
                ..base
            },
            Event::ProxyFailed { request, circuit, kind } => Self {
                r#type: "proxyFailed",
                request: Some(request),
                circuit: Some(circuit),
                code: Some(kind.code()),
                ..base
            },
            Event::Introduced { circuit, request, payload } => Self {
                r#type: "introduced",
                circuit: Some(circuit),
                request: Some(request),
                body: Some(Copied(payload)),
                ..base
            },
            Event::IncomingStream { circuit, stream, port } => Self {
                r#type: "incomingStream",
                circuit: Some(circuit),
                stream: Some(stream),
                port: Some(port),
                ..base
            },
            Event::DirectStream {
                listener,
                stream,
                node,
                address,
            } => Self {
                r#type: "directStream",
                listener: Some(listener),
                stream: Some(stream),
                node_id: Some(hex(&node)),
                address: Some(address.to_string()),
                ..base
            },
            Event::Bug { place } => Self {
                r#type: "bug",
                code: Some(ErrorKind::Internal.code()),
                text: Some(place),
                ..base
            },
            Event::StreamEnded { circuit, kind } => Self {
                r#type: "streamEnded",
                circuit: Some(circuit),
                code: kind.map(ErrorKind::code),
                ..base
            },
        }
    }
}

impl From<ProxyRequestEvent> for NativeEvent {
    fn from(request: ProxyRequestEvent) -> Self {
        Self {
            r#type: "proxyRequest",
            request: Some(request.request),
            listener: Some(request.listener),
            protocol: Some(match request.protocol {
                ProxyProtocol::Socks4 => "socks4",
                ProxyProtocol::Socks5 => "socks5",
                ProxyProtocol::Http => "http",
            }),
            kind: Some(if request.resolve { "resolve" } else { "connect" }),
            host: Some(request.host),
            port: Some(request.port),
            user: request.user.map(|user| isolation(&user)),
            password: request.password.map(|password| isolation(&password)),
            client: Some(request.client.to_string()),
            literal: Some(request.literal),
            again: request.again,
            circuit: request.circuit,
            ..Self::default()
        }
    }
}

/// A credential as a key: any bytes, one text each (so that two that differ never become the same).
fn isolation(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("hex:") => text.to_owned(),
        _ => format!("hex:{}", hex(bytes)),
    }
}
