//! Cells through a circuit: the client on one side, the relays on the other, state kept from cell to cell.

use super::{Outcome, bytes, exact, list, section};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate, client_receive};
use serde_json::{Map, Value};

/// The length of the first message in the file; all others have to be of the same.
pub fn body_len(file: &Map<String, Value>, sections: &[&str]) -> Result<usize, String> {
    for name in sections {
        for circuit in section(file, name)? {
            if let Some(cell) = circuit.get("cells").and_then(|cells| cells.get(0)) {
                return Ok(bytes(cell.get("message"), "message")?.len());
            }
        }
    }
    Ok(1084)
}

/// Check all cells of `sections`.
pub fn check<const N: usize>(file: &Map<String, Value>, sections: &[&str]) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    for name in sections {
        for (at, value) in section(file, name)?.iter().enumerate() {
            let name = format!("{name} {}", at + 1);
            let mut circuit = Circuit::<N>::new(value).map_err(|error| format!("{name}: {error}"))?;
            let cells = list(value.get("cells"), "cells").map_err(|error| format!("{name}: {error}"))?;
            for (at, cell) in cells.iter().enumerate() {
                let name = || format!("{name}, cell {}", at + 1);
                let passed = circuit
                    .cell(name().starts_with("forward"), cell)
                    .map_err(|error| format!("{}: {error}", name()))?;
                outcome.note(passed, name);
            }
        }
    }
    Ok(outcome)
}

struct Circuit<const N: usize> {
    client: Vec<ClientLayer<N>>,
    relays: Vec<RelayLayer<N>>,
}

impl<const N: usize> Circuit<N> {
    fn new(value: &Value) -> Result<Self, String> {
        let seeds: Vec<[u8; 80]> = list(value.get("seeds"), "seeds")?
            .iter()
            .map(|seed| exact(Some(seed), "seed"))
            .collect::<Result<_, _>>()?;
        if seeds.is_empty() {
            return Err("no seeds".into());
        }
        Ok(Self {
            client: seeds.iter().map(ClientLayer::new).collect(),
            relays: seeds.iter().map(RelayLayer::new).collect(),
        })
    }

    /// The cell has to look as the file says on the wire, and to arrive at the other end's last hop as it started.
    fn cell(&mut self, forward: bool, cell: &Value) -> Result<bool, String> {
        let [command] = exact(cell.get("command"), "command")?;
        let message: [u8; N] = exact(cell.get("message"), "message")?;
        let wire = bytes(cell.get("wire"), "wire")?;
        if wire.len() != 16 + N {
            return Err(format!("wire has {} bytes in place of {}", wire.len(), 16 + N));
        }
        let (mut tag, mut body, last) = ([0; 16], message, self.relays.len() - 1);
        let arrived = if forward {
            client_originate(&mut self.client, command, &mut tag, &mut body);
            let same = [&tag[..], &body].concat() == wire;
            let taken = self.relays.iter_mut().position(|relay| relay.forward(command, &mut tag, &mut body));
            same && taken == Some(last)
        } else {
            let mut outward = self.relays.iter_mut().rev();
            if let Some(origin) = outward.next() {
                origin.originate(command, &mut tag, &mut body);
            }
            outward.for_each(|relay| relay.pass_back(command, &mut tag, &mut body));
            let same = [&tag[..], &body].concat() == wire;
            let taken = client_receive(&mut self.client, command, &mut tag, &mut body);
            same && taken == Some(last)
        };
        Ok(arrived && body == message)
    }
}
