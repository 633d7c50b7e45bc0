//! Cells: their headers, and the handshakes in CREATE and CREATED.
#![no_main]

use anonnet_cells::{Assembler, CELL_LEN, Command, MAX_HANDSHAKE, cells, split, write_fragments};
use anonnet_fuzz::{Input, edited};
use libfuzzer_sys::fuzz_target;

fn assemble(command: Command, run: &[u8]) -> Option<Vec<u8>> {
    let mut assembler = Assembler::new(command);
    for piece in run.chunks(CELL_LEN) {
        match assembler.receive(piece) {
            Ok(None) => {}
            Ok(complete) => return complete,
            Err(_) => return None,
        }
    }
    None
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let command = if input.byte() % 2 == 0 { Command::Create } else { Command::Created };
    if input.byte() % 2 == 0 {
        // Arbitrary cells.
        let mut run = input.0.to_vec();
        if let Some(handshake) = assemble(command, &run) {
            let mut again = Vec::new();
            write_fragments(command, &handshake, &mut again).unwrap();
            assert!(run.starts_with(&again), "there is one way to write a handshake");
        }
        let whole = run.len() % CELL_LEN == 0;
        match cells(&mut run) {
            Ok(cells) => {
                assert!(whole);
                for cell in cells {
                    let _ = split(cell);
                }
            }
            Err(_) => assert!(!whole),
        }
    } else {
        // A handshake of a length of the fuzzer's, with changes.
        let handshake = vec![7; usize::from(input.u16())];
        let mut run = Vec::new();
        match write_fragments(command, &handshake, &mut run) {
            Ok(()) => {
                assert_eq!(assemble(command, &run).as_ref(), Some(&handshake));
                let _ = assemble(command, &edited(&run, &mut input));
            }
            Err(_) => assert!(handshake.is_empty() || handshake.len() > MAX_HANDSHAKE),
        }
    }
});
