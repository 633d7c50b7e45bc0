//! The frames of requests between nodes, from a link and from a circuit, in any pieces.
#![no_main]

use anonnet_engine::fuzzing::{frame_of_link, frame_of_stream};
use anonnet_fuzz::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let max = usize::from(input.u16());
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let length = usize::from(input.byte()) + 1;
        let piece = input.take(length);
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    let all = pieces.concat();
    let expected = all.split_first_chunk().and_then(|(length, rest)| {
        let length = u32::from_be_bytes(*length) as usize;
        rest.get(..length).filter(|_| length <= max)
    });
    assert_eq!(frame_of_link(&pieces, max).ok().as_deref(), expected);
    // Through a circuit a request has its stream to itself; how much of what follows it has come is a matter of time.
    if let Ok(frame) = frame_of_stream(&pieces, max) {
        assert_eq!(Some(frame.as_slice()), expected);
    } else {
        assert!(expected.is_none_or(|frame| frame.len() + 4 < all.len()));
    }
});
