//! The parts of a layer, and single steps of relays and clients from a given state.

use super::{Outcome, bytes, exact, list, section};
use anonnet_crypto::cgo::client_originate;
use anonnet_crypto::cgo::vectors::{Parts, client, client_parts, et, prf_body, prf_next, relay, relay_parts};
use serde_json::{Map, Value};

/// The length of the first body in the file; all others have to be of the same.
pub fn body_len(file: &Map<String, Value>, sections: &[&str]) -> Result<usize, String> {
    for name in sections {
        for (at, vector) in section(file, name)?.iter().enumerate() {
            let (body, beside) = match *name {
                "et" => (vector.get(2), 17),
                "prf" if vector.get(1) == Some(&Value::from(0)) => (vector.get(3), 0),
                "prf" => continue,
                "client_originate" => (vector.get(3), 0),
                _ => (vector.get(4), 0),
            };
            let length = bytes(body, "body").map_err(|error| format!("{name} {}: {error}", at + 1))?.len();
            return Ok(length.saturating_sub(beside));
        }
    }
    // Without a body there is nothing that depends on its length but where the second part of the PRF begins.
    Ok(493)
}

/// Check all vectors of `sections`.
pub fn check<const N: usize>(file: &Map<String, Value>, sections: &[&str]) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    for name in sections {
        for (at, vector) in section(file, name)?.iter().enumerate() {
            let name = || format!("{name} {}", at + 1);
            let passed = one::<N>(&name(), vector).map_err(|error| format!("{}: {error}", name()))?;
            outcome.note(passed, name);
        }
    }
    Ok(outcome)
}

fn one<const N: usize>(name: &str, vector: &Value) -> Result<bool, String> {
    match name.split(' ').next() {
        Some("et") => check_et::<N>(vector),
        Some("prf") => check_prf::<N>(vector),
        Some("uiv") => check_uiv::<N>(vector),
        Some("relay") => check_relay::<N>(vector),
        _ => check_client::<N>(vector),
    }
}

fn flag(value: Option<&Value>, what: &str) -> Result<bool, String> {
    value.and_then(Value::as_bool).ok_or_else(|| format!("{what} is not a boolean"))
}

fn state(value: Option<&Value>) -> Result<Parts, String> {
    let parts = list(value, "state")?;
    Ok((
        exact(parts.first(), "K")?,
        exact(parts.get(1), "N")?,
        exact(parts.get(2), "T_prev")?,
    ))
}

fn states(value: Option<&Value>) -> Result<Vec<Parts>, String> {
    list(value, "hops")?.iter().map(|hop| state(Some(hop))).collect()
}

/// [encrypt, KB||KU, T, M, output]
fn check_et<const N: usize>(vector: &Value) -> Result<bool, String> {
    let encrypt = flag(vector.get(0), "encrypt")?;
    let keys = exact(vector.get(1), "KB||KU")?;
    let tweak = bytes(vector.get(2), "T")?;
    let parts = tweak
        .split_first_chunk::<16>()
        .and_then(|(tag, rest)| rest.split_first().map(|(command, body)| (tag, command, body)));
    let (tag, command, body) = parts.ok_or("T is too short")?;
    let body: &[u8; N] = body
        .try_into()
        .map_err(|_| format!("T has {} bytes in place of {}", tweak.len(), 17 + N))?;
    let out = et(encrypt, &keys, tag, *command, body, &exact(vector.get(3), "M")?);
    Ok(out == exact(vector.get(4), "output")?)
}

/// [K||B, t, tweak, output]
fn check_prf<const N: usize>(vector: &Value) -> Result<bool, String> {
    let (keys, tweak) = (exact(vector.get(0), "K||B")?, exact(vector.get(2), "tweak")?);
    match vector.get(1).and_then(Value::as_u64) {
        Some(0) => Ok(prf_body::<N>(&keys, &tweak) == exact(vector.get(3), "output")?),
        Some(1) => Ok(prf_next::<N>(&keys, &tweak) == exact(vector.get(3), "output")?),
        _ => Err("t is neither 0 nor 1".into()),
    }
}

/// [encrypt, J||S, H = T_prev || AD, X_L, X_R, [Y_L, Y_R]]
fn check_uiv<const N: usize>(vector: &Value) -> Result<bool, String> {
    let encrypt = flag(vector.get(0), "encrypt")?;
    let keys = exact(vector.get(1), "J||S")?;
    let header: [u8; 17] = exact(vector.get(2), "H")?;
    let (last_tag, [command]) = header
        .split_first_chunk::<16>()
        .and_then(|(tag, rest)| Some((tag, rest.first_chunk::<1>()?)))
        .ok_or("H")?;
    let (mut tag, mut body): ([u8; 16], [u8; N]) = (exact(vector.get(3), "X_L")?, exact(vector.get(4), "X_R")?);
    // Passing a cell on is the bare construction, and so is peeling one that is not recognised. No tag of a file is its nonce.
    let from = (keys, [0; 16], *last_tag);
    if encrypt {
        relay(&from).pass_back(*command, &mut tag, &mut body);
    } else {
        client(&from).peel(*command, &mut tag, &mut body);
    }
    let expected = list(vector.get(5), "[Y_L, Y_R]")?;
    Ok(tag == exact(expected.first(), "Y_L")? && body == exact::<N>(expected.get(1), "Y_R")?)
}

/// [inbound, [K, N, T_prev], AD, T, C, [[K, N, T_prev] after, [T_out, C_out]]]
fn check_relay<const N: usize>(vector: &Value) -> Result<bool, String> {
    let inbound = flag(vector.get(0), "inbound")?;
    let mut layer = relay::<N>(&state(vector.get(1))?);
    let [command] = exact(vector.get(2), "AD")?;
    let (mut tag, mut body): ([u8; 16], [u8; N]) = (exact(vector.get(3), "T")?, exact(vector.get(4), "C")?);
    if inbound {
        layer.pass_back(command, &mut tag, &mut body);
    } else {
        layer.forward(command, &mut tag, &mut body);
    }
    let [after, out] = list(vector.get(5), "result")? else {
        return Err("result is not a pair".into());
    };
    let after = state(Some(after))?;
    Ok(tag == exact(out.get(0), "T_out")? && body == exact::<N>(out.get(1), "C_out")? && relay_parts(&layer) == after)
}

/// [[K, N, T_prev] per hop, destination hop (1-based), AD, M, [[K, N, T_prev] per hop after, [T, C]]]
fn check_client<const N: usize>(vector: &Value) -> Result<bool, String> {
    let mut layers: Vec<_> = states(vector.get(0))?.iter().map(client::<N>).collect();
    let hop = vector
        .get(1)
        .and_then(Value::as_u64)
        .and_then(|hop| usize::try_from(hop).ok())
        .filter(|hop| *hop > 0);
    let path = layers.get_mut(..hop.ok_or("no such hop")?).ok_or("no such hop")?;
    let [command] = exact(vector.get(2), "AD")?;
    let (mut tag, mut body): ([u8; 16], [u8; N]) = ([0; 16], exact(vector.get(3), "M")?);
    client_originate(path, command, &mut tag, &mut body);
    let [after, out] = list(vector.get(4), "result")? else {
        return Err("result is not a pair".into());
    };
    let after = states(Some(after))?;
    let same = layers.iter().map(client_parts).collect::<Vec<_>>() == after;
    Ok(same && tag == exact(out.get(0), "T")? && body == exact::<N>(out.get(1), "C")?)
}
