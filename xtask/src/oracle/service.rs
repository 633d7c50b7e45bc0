//! Section 11: blinded keys, the handshake of services, introduction points, proof of work.

use super::{Answer, Question, Refusal, insert, put, secrets_json};
use crate::hex;
use anonnet_crypto::keys::IdentityKey;
use anonnet_crypto::service::{BlindedKey, IntroKeys, Pow, ServiceClient, ServiceEntry, blind, subcredential, verify_establish};
use serde_json::json;
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct Services {
    clients: HashMap<u64, Box<ServiceClient>>,
    points: HashMap<u64, IntroKeys>,
}

impl Services {
    pub(super) fn answer(&mut self, op: &str, last: &mut u64, question: &Question<'_>) -> Answer {
        match op {
            "serviceBlind" => {
                let (key, period) = (question.array("publicKey")?, question.number("period")?);
                Ok(json!({
                    "blinded": hex::encode(&blind(&key, period)?),
                    "subcredential": hex::encode(&subcredential(&key, period)?),
                }))
            }
            "serviceSign" => {
                let identity = IdentityKey::from_bytes(&question.array("seed")?);
                let key = BlindedKey::new(&identity, question.number("period")?);
                Ok(json!({ "signature": hex::encode(&key.sign(&question.bytes("message")?)) }))
            }
            "serviceStart" => {
                let mut rng = question.rng()?;
                let entry = ServiceEntry {
                    auth_key: question.array("authKey")?,
                    onion_key: question.array("onionKey")?,
                    kem_key: Box::new(question.array("kemKey")?),
                    subcredential: question.array("subcredential")?,
                };
                let (client, message) = ServiceClient::start(&mut rng, entry, &question.bytes("payload")?)?;
                rng.finish()?;
                let mut answer = insert(last, &mut self.clients, client);
                put(&mut answer, "message", hex::encode(&message));
                Ok(answer)
            }
            "serviceFinish" => {
                let client = self.clients.get(&question.number("handle")?).ok_or("no such handle")?;
                Ok(secrets_json(&client.finish(&question.bytes("reply")?)?, &[]))
            }
            "servicePoint" => {
                let mut rng = question.rng()?;
                let keys = IntroKeys::generate(&mut rng);
                rng.finish()?;
                let (entry, establish) = (keys.entry(), keys.establish(&question.array("bind")?));
                let mut answer = insert(last, &mut self.points, keys);
                put(&mut answer, "entry", hex::encode(&entry));
                put(&mut answer, "establish", hex::encode(&establish));
                Ok(answer)
            }
            "serviceVerifyEstablish" => {
                let key = verify_establish(&question.array("bind")?, &question.bytes("payload")?)?;
                Ok(json!({ "authKey": hex::encode(&key) }))
            }
            "serviceRespond" => {
                let point = self.points.get(&question.number("handle")?).ok_or("no such handle")?;
                let subcredentials = question.list("subcredentials")?.iter().map(super::array);
                let subcredentials = subcredentials.collect::<Result<Vec<_>, Refusal>>()?;
                let (introduction, payload) = point.open(&subcredentials, &question.bytes("message")?)?;
                let mut rng = question.rng()?;
                let (secrets, reply) = introduction.respond(&mut rng)?;
                rng.finish()?;
                Ok(secrets_json(&secrets, &[("payload", &payload), ("reply", &reply)]))
            }
            "pow" => {
                let effort = u32::try_from(question.number("effort")?).map_err(|_| "effort")?;
                let mut pow = Pow::new(&question.array("seed")?, &question.array("blinded")?, effort)?;
                Ok(json!({ "valid": pow.check(&question.array("nonce")?) }))
            }
            op => Err(format!("unknown op {op:?}").into()),
        }
    }
}
