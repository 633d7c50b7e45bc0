//! The Rust side for tests in another language: one JSON object a line in, one out, bytes as hexadecimal text.
//!
//! `{"op": NAME, ...}` gives `{"ok": {...}}` or `{"error": CODE or text}`. What keeps state gives a `handle`. Random bytes
//! come in as `rng` and have to be used up exactly, so that both sides can be made to do the same.

mod service;

use crate::hex;
use anonnet_crypto::CryptoError;
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate};
use anonnet_crypto::handshake::{ClientHandshake, HopSecrets, relay_respond};
use anonnet_crypto::hash::{h, xof};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, IdentityKey, IdentityPublic, NodeId};
use anonnet_crypto::record::{EncryptedMessage, LongLivedKey, SingleUseKey};
use anonnet_errors::HasKind;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use zeroize::Zeroizing;

/// The longest output of the extendable hash that a question may ask for.
const MAX_XOF_LEN: u64 = 1 << 16;

/// What a question is refused with: a code of the registry, or a text for whoever wrote the test.
struct Refusal(String);

impl From<CryptoError> for Refusal {
    fn from(error: CryptoError) -> Self {
        Self(error.kind().code().into())
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

type Answer = Result<Value, Refusal>;

/// A generator that hands out given bytes.
struct Given {
    bytes: Vec<u8>,
    used: usize,
}

impl Given {
    /// All bytes were asked for, and no more.
    fn finish(&self) -> Result<(), Refusal> {
        match self.used == self.bytes.len() {
            true => Ok(()),
            false => Err(format!("{} bytes of rng used, {} given", self.used, self.bytes.len()).into()),
        }
    }
}

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for (to, from) in to.iter_mut().zip(self.bytes.iter().skip(self.used)) {
            *to = *from;
        }
        self.used += to.len();
        Ok(())
    }
}

impl TryCryptoRng for Given {}

const N: usize = 1084;

#[derive(Default)]
struct Oracle {
    last: u64,
    handshakes: HashMap<u64, ClientHandshake>,
    relays: HashMap<u64, RelayLayer<N>>,
    clients: HashMap<u64, Vec<ClientLayer<N>>>,
    services: service::Services,
}

/// Answer until the questions end.
pub fn run(questions: &mut impl BufRead, answers: &mut impl Write) -> io::Result<u8> {
    let mut oracle = Oracle::default();
    for line in questions.lines() {
        let answer = match oracle.line(&line?) {
            Ok(value) => json!({ "ok": value }),
            Err(Refusal(text)) => json!({ "error": text }),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(0)
}

impl Oracle {
    fn line(&mut self, line: &str) -> Answer {
        let question: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        let question = Question(question.as_object().ok_or("not an object")?);
        match question.text("op")? {
            "h" => Ok(json!({ "out": hex::encode(&question.hashed(h)?) })),
            "xof" => question.xof(),
            "nodeId" => Ok(json!({ "out": NodeId::of(&question.array("publicKey")?).to_string() })),
            "sign" => {
                let key = IdentityKey::from_bytes(&question.array("seed")?);
                Ok(
                    json!({ "publicKey": hex::encode(key.public().as_bytes()), "signature": hex::encode(&key.sign(&question.bytes("message")?)) }),
                )
            }
            "verify" => {
                let key = IdentityPublic::from_bytes(&question.array("publicKey")?)?;
                Ok(json!({ "valid": key.verify(&question.bytes("message")?, &question.array("signature")?).is_ok() }))
            }
            "seal" => {
                let message = question
                    .single_use()?
                    .seal(&question.bytes("aad")?, &question.bytes("plaintext")?)?;
                Ok(json!({ "record": hex::encode(&message.to_bytes()) }))
            }
            "open" => {
                let message = EncryptedMessage::from_bytes(&question.bytes("record")?)?;
                Ok(json!({ "plaintext": hex::encode(&question.single_use()?.open(&question.bytes("aad")?, &message)?) }))
            }
            "sealSalted" => {
                let mut rng = question.rng()?;
                let key = LongLivedKey::new(Zeroizing::new(question.array("key")?));
                let record = key.seal(
                    &mut rng,
                    question.text("purpose")?,
                    &question.bytes("aad")?,
                    &question.bytes("plaintext")?,
                )?;
                rng.finish()?;
                Ok(json!({ "record": hex::encode(&record) }))
            }
            "openSalted" => {
                let key = LongLivedKey::new(Zeroizing::new(question.array("key")?));
                let plaintext = key.open(question.text("purpose")?, &question.bytes("aad")?, &question.bytes("record")?)?;
                Ok(json!({ "plaintext": hex::encode(&plaintext) }))
            }
            "handshakeStart" => self.handshake_start(&question),
            "handshakeFinish" => {
                let client = self.handshakes.remove(&question.number("handle")?).ok_or("no such handle")?;
                let (secrets, extensions) = client.finish(&question.bytes("reply")?)?;
                Ok(secrets_json(&secrets, &[("extensions", &extensions)]))
            }
            "handshakeRespond" => handshake_respond(&question),
            "relayLayer" => {
                let layer = RelayLayer::new(&question.array("seed")?);
                Ok(insert(&mut self.last, &mut self.relays, layer))
            }
            "clientLayers" => {
                let seeds = question.list("seeds")?;
                let layers = seeds
                    .iter()
                    .map(|seed| Ok(ClientLayer::new(&array(seed)?)))
                    .collect::<Result<_, Refusal>>()?;
                Ok(insert(&mut self.last, &mut self.clients, layers))
            }
            op @ ("forward" | "originate" | "passBack") => self.relay_cell(op, &question),
            op @ ("clientOriginate" | "clientReceive") => self.client_cell(op, &question),
            op => self.services.answer(op, &mut self.last, &question),
        }
    }

    fn handshake_start(&mut self, question: &Question<'_>) -> Answer {
        let mut rng = question.rng()?;
        let (id, onion_key) = (NodeId(question.array("id")?), question.array("onionKey")?);
        let (client, request) = ClientHandshake::start(&mut rng, &id, &onion_key, &question.bytes("extensions")?)?;
        rng.finish()?;
        let mut answer = insert(&mut self.last, &mut self.handshakes, client);
        put(&mut answer, "request", hex::encode(&request));
        Ok(answer)
    }

    fn relay_cell(&mut self, op: &str, question: &Question<'_>) -> Answer {
        let layer = self.relays.get_mut(&question.number("handle")?).ok_or("no such handle")?;
        let (command, mut tag, mut body) = question.cell()?;
        let recognised = match op {
            "forward" => layer.forward(command, &mut tag, &mut body),
            "originate" => {
                layer.originate(command, &mut tag, &mut body);
                false
            }
            _ => {
                layer.pass_back(command, &mut tag, &mut body);
                false
            }
        };
        Ok(json!({ "tag": hex::encode(&tag), "body": hex::encode(&body), "recognised": recognised }))
    }

    fn client_cell(&mut self, op: &str, question: &Question<'_>) -> Answer {
        let layers = self.clients.get_mut(&question.number("handle")?).ok_or("no such handle")?;
        let (command, mut tag, mut body) = question.cell()?;
        let hop = if op == "clientOriginate" {
            let hop = usize::try_from(question.number("hop")?).map_err(|_| "no such hop")?;
            client_originate(layers.get_mut(..=hop).ok_or("no such hop")?, command, &mut tag, &mut body);
            Some(hop)
        } else {
            layers.iter_mut().position(|layer| layer.peel(command, &mut tag, &mut body))
        };
        Ok(json!({ "tag": hex::encode(&tag), "body": hex::encode(&body), "hop": hop }))
    }
}

fn handshake_respond(question: &Question<'_>) -> Answer {
    let mut rng = question.rng()?;
    let ring = CircuitKeyRing::new(CircuitKey::from_bytes(&question.array("circuitKey")?), 0);
    let (id, answer) = (NodeId(question.array("id")?), question.bytes("extensions")?);
    let mut seen = Vec::new();
    let (secrets, reply) = relay_respond(&mut rng, &id, &ring, 0, &question.bytes("request")?, |extensions| {
        seen = extensions.to_vec();
        answer
    })?;
    rng.finish()?;
    Ok(secrets_json(&secrets, &[("extensions", &seen), ("reply", &reply)]))
}

fn secrets_json(secrets: &HopSecrets, beside: &[(&str, &[u8])]) -> Value {
    let parts: [(&str, &[u8]); 4] = [
        ("forward", &secrets.forward),
        ("backward", &secrets.backward),
        ("bind", &secrets.bind),
        ("resume", &secrets.resume),
    ];
    parts
        .iter()
        .chain(beside)
        .map(|(name, bytes)| (String::from(*name), Value::from(hex::encode(bytes))))
        .collect()
}

fn insert<T>(last: &mut u64, into: &mut HashMap<u64, T>, value: T) -> Value {
    *last += 1;
    into.insert(*last, value);
    json!({ "handle": *last })
}

fn put(answer: &mut Value, name: &str, text: String) {
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(name.into(), text.into());
    }
}

fn array<const L: usize>(value: &Value) -> Result<[u8; L], Refusal> {
    let bytes = hex::decode(value.as_str().ok_or("not a string")?)?;
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| format!("{} bytes in place of {L}", bytes.len()).into())
}

/// One question, read field by field.
struct Question<'a>(&'a Map<String, Value>);

impl Question<'_> {
    fn field(&self, name: &str) -> Result<&Value, Refusal> {
        self.0.get(name).ok_or_else(|| format!("no {name}").into())
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.field(name)?.as_str().ok_or_else(|| format!("{name} is not a string").into())
    }

    fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.field(name)?.as_u64().ok_or_else(|| format!("{name} is not a number").into())
    }

    fn list(&self, name: &str) -> Result<&[Value], Refusal> {
        self.field(name)?
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| format!("{name} is not a list").into())
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        Ok(hex::decode(self.text(name)?)?)
    }

    fn array<const L: usize>(&self, name: &str) -> Result<[u8; L], Refusal> {
        array(self.field(name)?).map_err(|Refusal(error)| format!("{name}: {error}").into())
    }

    fn rng(&self) -> Result<Given, Refusal> {
        Ok(Given {
            bytes: self.bytes("rng")?,
            used: 0,
        })
    }

    fn single_use(&self) -> Result<SingleUseKey, Refusal> {
        Ok(SingleUseKey::new(Zeroizing::new(self.array("key")?)))
    }

    fn cell(&self) -> Result<(u8, [u8; 16], [u8; N]), Refusal> {
        let command = u8::try_from(self.number("command")?).map_err(|_| "command is not a byte")?;
        Ok((command, self.array("tag")?, self.array("body")?))
    }

    fn hashed<T>(&self, hash: impl FnOnce(&str, &[&[u8]]) -> T) -> Result<T, Refusal> {
        let parts = self
            .list("parts")?
            .iter()
            .map(|part| Ok(hex::decode(part.as_str().ok_or("not a string")?)?));
        let parts: Vec<Vec<u8>> = parts.collect::<Result<_, Refusal>>()?;
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(hash(self.text("domain")?, &parts))
    }

    fn xof(&self) -> Answer {
        let length = self.number("length")?;
        let length = usize::try_from(length.min(MAX_XOF_LEN)).map_err(|_| "length")?;
        let mut out = vec![0; length];
        self.hashed(|domain, parts| xof(domain, parts, &mut out))?;
        Ok(json!({ "out": hex::encode(&out) }))
    }
}
