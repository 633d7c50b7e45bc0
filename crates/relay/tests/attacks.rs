//! Attacks on the wires and by the client, each named after its row in docs/security.md. "Destroyed" is an error of a relay or of the client:
//! whoever has one resets both of its streams with the one code that there is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use anonnet_cells::{CELL_LEN, CellError, Command};
use anonnet_circuit::{CircuitError, Hop, Violation};
use anonnet_crypto::keys::NodeId;
use anonnet_relay::limits::{MAX_EXTENDS, MAX_RELAY_EARLY};
use anonnet_relay::{ExtendFault, RelayError};
use support::{Chain, Stage, bytes};

const UNRECOGNISED: RelayError = RelayError::Circuit(CircuitError::Violation(Violation::Unrecognised));

/// A circuit of three hops with one stream, on which the client has sent ten full cells that wait on the first wire.
fn with_ten_cells(seed: u64) -> (Chain, u16, Vec<u8>) {
    let mut chain = Chain::ready(seed, 3);
    let stream = chain.stream();
    let data = bytes(seed, 10_750);
    chain.client.send(stream, &data, &mut chain.forward[0]).unwrap();
    assert_eq!(chain.forward[0].len(), 10 * CELL_LEN);
    (chain, stream, data)
}

/// The same the other way: ten cells of the exit that wait on the last wire.
fn with_ten_cells_back(seed: u64) -> (Chain, u16, Vec<u8>) {
    let mut chain = Chain::ready(seed, 3);
    let stream = chain.stream();
    let data = bytes(seed, 10_750);
    let (exit, out) = chain.exit();
    exit.send(stream, &data, out).unwrap();
    (chain, stream, data)
}

fn cell(number: usize) -> std::ops::Range<usize> {
    number * CELL_LEN..(number + 1) * CELL_LEN
}

#[test]
fn attack_01_a_cell_twice_ends_the_circuit_and_changes_no_byte() {
    let (mut chain, stream, data) = with_ten_cells(1);
    let copy = chain.forward[0][cell(3)].to_vec();
    chain.forward[0].splice(4 * CELL_LEN..4 * CELL_LEN, copy);
    chain.run();
    assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED));
    assert_eq!(chain.exit_seen.data[&stream], data[..4 * 1075]);

    let (mut chain, stream, data) = with_ten_cells_back(2);
    let copy = chain.backward[2][cell(3)].to_vec();
    chain.backward[2].splice(4 * CELL_LEN..4 * CELL_LEN, copy);
    chain.run();
    assert_eq!(chain.client_error, Some(CircuitError::Violation(Violation::Unrecognised)));
    assert_eq!(chain.seen.data[&stream], data[..4 * 1075]);
}

#[test]
fn attack_01_an_old_cell_again_later() {
    let (mut chain, stream, data) = with_ten_cells(3);
    let copy = chain.forward[0][cell(0)].to_vec();
    chain.run();
    chain.forward[0].extend(copy);
    chain.run();
    assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED));
    assert_eq!(chain.exit_seen.data[&stream], data);
}

#[test]
fn attack_03_a_flipped_bit_is_never_recognised_and_nothing_comes_out() {
    for at in 0..CELL_LEN {
        let mut chain = Chain::ready(4, 2);
        let stream = chain.stream();
        chain.client.send(stream, &[b'x'; 2000], &mut chain.forward[0]).unwrap();
        chain.forward[0][at] ^= 1 << (at % 8);
        chain.run();
        // The command and the reserved bytes are seen at the first relay, all else at the exit.
        let (first, second) = (&chain.relay_errors[0], &chain.relay_errors[1]);
        assert!(
            if at < 4 {
                first.is_some() || *second == Some(UNRECOGNISED)
            } else {
                *second == Some(UNRECOGNISED)
            },
            "byte {at}"
        );
        assert!(!chain.exit_seen.data.contains_key(&stream), "byte {at}");
    }
}

#[test]
fn attack_03_a_flipped_bit_on_its_way_back() {
    for at in (0..CELL_LEN).step_by(11) {
        let mut chain = Chain::ready(5, 2);
        let stream = chain.stream();
        let (exit, out) = chain.exit();
        exit.send(stream, &[b'x'; 2000], out).unwrap();
        out[at] ^= 1 << (at % 8);
        chain.run();
        assert!(chain.failed().is_some() && !chain.seen.data.contains_key(&stream), "byte {at}");
    }
}

#[test]
fn attack_04_a_dropped_cell_is_noticed_with_the_next() {
    for number in [0, 4, 8] {
        let (mut chain, stream, data) = with_ten_cells(6);
        chain.forward[0].drain(cell(number));
        chain.run();
        assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED));
        assert_eq!(
            chain.exit_seen.data.get(&stream).map_or(&[][..], Vec::as_slice),
            &data[..number * 1075]
        );
    }
    let (mut chain, stream, data) = with_ten_cells_back(7);
    chain.backward[2].drain(cell(4));
    chain.run();
    assert_eq!(chain.client_error, Some(CircuitError::Violation(Violation::Unrecognised)));
    assert_eq!(chain.seen.data[&stream], data[..4 * 1075]);
}

#[test]
fn attack_04_cells_out_of_order_or_cut_short() {
    let (mut chain, stream, data) = with_ten_cells(8);
    let moved: Vec<u8> = chain.forward[0].drain(cell(4)).collect();
    chain.forward[0].splice(5 * CELL_LEN..5 * CELL_LEN, moved);
    chain.run();
    assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED));
    assert_eq!(chain.exit_seen.data[&stream], data[..4 * 1075]);

    let (mut chain, _, _) = with_ten_cells(9);
    chain.forward[0].pop();
    chain.max_run = 100;
    chain.run();
    assert_eq!(
        chain.relay_errors[0],
        Some(RelayError::Cell(CellError::Length { len: 10 * CELL_LEN - 1 }))
    );
    let (mut chain, _, _) = with_ten_cells_back(9);
    chain.backward[2].pop();
    chain.max_run = 100;
    chain.run();
    assert_eq!(
        chain.relay_errors[1],
        Some(RelayError::Cell(CellError::Length { len: 10 * CELL_LEN - 1 }))
    );
}

#[test]
fn attack_05_relay_and_relay_early_cannot_be_exchanged() {
    // RELAY made RELAY_EARLY: the command is in every layer's additional data.
    let (mut chain, stream, data) = with_ten_cells(10);
    chain.forward[0][3 * CELL_LEN] = Command::RelayEarly as u8;
    chain.run();
    assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED));
    assert_eq!(chain.exit_seen.data[&stream], data[..3 * 1075]);
    // RELAY_EARLY made RELAY: an EXTEND on its way to the second relay.
    let mut chain = Chain::with(11, 3, true, |path| path);
    chain.start();
    while chain.forward[0].len() != 2 * CELL_LEN || chain.seen.hops.len() != 2 {
        chain.relay_in(0);
        chain.relay_in(1);
        chain.relay_back(0);
        chain.client_in();
    }
    assert_eq!(chain.forward[0][0], Command::RelayEarly as u8);
    chain.forward[0][0] = Command::Relay as u8;
    chain.run();
    assert_eq!(chain.relay_errors[1], Some(UNRECOGNISED));
    assert!(!chain.seen.ready);
}

#[test]
fn attack_05_relay_early_towards_the_client_ends_the_circuit() {
    let (mut chain, _, _) = with_ten_cells_back(12);
    chain.backward[2][0] = Command::RelayEarly as u8;
    chain.run();
    assert_eq!(chain.relay_errors[1], Some(RelayError::WrongCommand(Command::RelayEarly)));

    let (mut chain, stream, _) = with_ten_cells_back(13);
    chain.relay_back(1);
    while chain.backward[0].is_empty() {
        chain.relay_back(0);
    }
    chain.backward[0][0] = Command::RelayEarly as u8;
    chain.client_in();
    assert_eq!(
        chain.client_error,
        Some(CircuitError::Violation(Violation::WrongCommand(Command::RelayEarly)))
    );
    assert!(!chain.seen.data.contains_key(&stream));
}

#[test]
fn attack_06_the_ninth_extend_is_refused() {
    assert_eq!(MAX_EXTENDS, 8);
    let mut chain = Chain::ready(14, 2);
    let Stage::Pumps(forward, _) = &mut chain.relays[0].stage else {
        panic!("not extended")
    };
    // Two were this relay's own; the other seven EXTENDs pass.
    for _ in 0..MAX_RELAY_EARLY - 2 {
        let mut run = vec![0; CELL_LEN];
        run[0] = Command::RelayEarly as u8;
        forward.process(&mut run).unwrap();
    }
    for _ in 0..2 {
        let mut run = vec![0; CELL_LEN];
        run[0] = Command::RelayEarly as u8;
        assert_eq!(forward.process(&mut run), Err(RelayError::TooManyEarly));
    }
}

/// Builds a circuit along a changed path on relays that take public addresses only, or any.
fn refused(allow_private: bool, path: impl FnOnce(Vec<Hop>) -> Vec<Hop>) -> Vec<Option<RelayError>> {
    let mut chain = Chain::with(15, 3, allow_private, path);
    chain.start();
    chain.run();
    assert!(!chain.seen.ready);
    chain.relay_errors
}

#[test]
fn attack_07_extend_to_self_loop_previous_hop_or_private_address() {
    let fault = |fault| Some(RelayError::Extend(fault));
    assert_eq!(
        refused(true, |path| vec![path[0].clone(), path[0].clone()])[0],
        fault(ExtendFault::ToSelf)
    );
    let elsewhere = |path: &[Hop]| Hop {
        node_id: NodeId([9; 32]),
        ..path[0].clone()
    };
    assert_eq!(
        refused(true, |path| vec![path[0].clone(), elsewhere(&path)])[0],
        fault(ExtendFault::ToSelf)
    );
    let back = |path: Vec<Hop>| vec![path[0].clone(), path[1].clone(), path[0].clone()];
    assert_eq!(refused(true, back)[1], fault(ExtendFault::ToPrevious));
    assert_eq!(refused(false, |path| path)[0], fault(ExtendFault::PrivateAddress));
}

#[test]
fn attack_08_padding_and_kinds_that_are_none_end_the_circuit_wherever_they_come_from() {
    // A hop in the middle that makes cells of its own: nobody recognises them.
    for wire in [0, 1] {
        let mut chain = Chain::ready(16, 3);
        chain.backward[wire] = vec![0; CELL_LEN];
        chain.backward[wire][0] = Command::Relay as u8;
        chain.run();
        assert_eq!(
            chain.client_error,
            Some(CircuitError::Violation(Violation::Unrecognised)),
            "wire {wire}"
        );
    }
    for wire in [1, 2] {
        let mut chain = Chain::ready(17, 3);
        chain.forward[wire] = vec![0; CELL_LEN];
        chain.forward[wire][0] = Command::Relay as u8;
        chain.run();
        assert_eq!(chain.relay_errors[2], Some(UNRECOGNISED), "wire {wire}");
    }
    // Cells that belong elsewhere, and bytes that are reserved.
    for command in [Command::Create, Command::Created] {
        let mut chain = Chain::ready(18, 3);
        chain.forward[0] = vec![0; CELL_LEN];
        chain.forward[0][0] = command as u8;
        chain.backward[2] = chain.forward[0].clone();
        chain.run();
        assert_eq!(
            chain.relay_errors[..2],
            [Some(RelayError::WrongCommand(command)), Some(RelayError::WrongCommand(command))]
        );
    }
    let mut chain = Chain::ready(19, 3);
    chain.forward[0] = vec![1, 1];
    chain.forward[0].resize(CELL_LEN, 0);
    chain.backward[2] = chain.forward[0].clone();
    chain.run();
    assert_eq!(
        chain.relay_errors[..2],
        [
            Some(RelayError::Cell(CellError::Reserved)),
            Some(RelayError::Cell(CellError::Reserved))
        ]
    );
}
