//! A client that holds its layers itself, and so can say what no honest one says.

use super::*;
use anonnet_cells::{Body, BodyWriter, Kind, Message, append, cells, split};
use anonnet_crypto::cgo::{ClientLayer, client_originate, client_receive};
use anonnet_crypto::handshake::{ClientHandshake, HopSecrets};

/// A client that keeps to no rule: one hop, whose layers it holds itself.
pub(super) struct Bare {
    pub(super) send: MemSend,
    pub(super) recv: MemRecv,
    pub(super) secrets: HopSecrets,
    forward: Vec<ClientLayer<1084>>,
    backward: Vec<ClientLayer<1084>>,
}

impl Bare {
    pub(super) async fn new(client: &Client, relay: &Relay) -> Self {
        let link = client.transport.dial(relay.id, relay.address, DialRole::Client).await.unwrap();
        let (mut send, mut recv) = link.open(StreamKind::Circuit).await.unwrap();
        let (handshake, request) = ClientHandshake::start(&mut rng(3), &relay.id, &relay.onion, &[]).unwrap();
        let mut out = Vec::new();
        write_fragments(Command::Create, &request, &mut out).unwrap();
        send.write_all(&out).await.unwrap();
        let (mut assembler, mut cell) = (Assembler::new(Command::Created), vec![0; CELL_LEN]);
        let reply = loop {
            soon(recv.read_exact(&mut cell)).await.unwrap();
            if let Some(reply) = assembler.receive(&cell).unwrap() {
                break reply;
            }
        };
        let (secrets, _) = handshake.finish(&reply).unwrap();
        Self {
            send,
            recv,
            forward: vec![ClientLayer::new(&secrets.forward)],
            backward: vec![ClientLayer::new(&secrets.backward)],
            secrets,
        }
    }

    pub(super) async fn say_as(&mut self, command: Command, kind: Kind, payload: &[u8]) {
        let mut out = Vec::new();
        let mut parts = payload.chunks(1075).peekable();
        let mut data = parts.next().unwrap_or_default();
        loop {
            let more = parts.peek().is_some();
            append::<(), anonnet_cells::CellError>(&mut out, command, |tag, body: &mut Body| {
                BodyWriter::new(body).push(&Message {
                    kind,
                    stream: 0,
                    seq: 0,
                    more,
                    data,
                })?;
                client_originate(&mut self.forward, command as u8, tag, body);
                Ok(())
            })
            .unwrap();
            match parts.next() {
                Some(next) => data = next,
                None => break,
            }
        }
        // A relay that has ended the circuit takes nothing more.
        let _ = self.send.write_all(&out).await;
    }

    pub(super) async fn say(&mut self, kind: Kind, payload: &[u8]) {
        self.say_as(Command::Relay, kind, payload).await;
    }

    /// The next message of the relay; `None` when it ends the circuit.
    pub(super) async fn hear(&mut self) -> Option<(Kind, Vec<u8>)> {
        let mut cell = vec![0; CELL_LEN];
        soon(self.recv.read_exact(&mut cell)).await.ok()?;
        let parts = split(&mut cells(&mut cell).unwrap()[0]).unwrap();
        assert_eq!(
            client_receive(&mut self.backward, parts.command as u8, parts.tag, parts.body),
            Some(0)
        );
        let body: &Body = parts.body;
        let message = anonnet_cells::Messages::new(body).next().unwrap().unwrap();
        Some((message.kind, message.data.to_vec()))
    }
}
