//! The SOCKS handshake: the same steps wherever the bytes are cut.
#![no_main]

use anonnet_engine::proxy::socks::{Socks, SocksError, SocksRequest, Step};
use anonnet_fuzz::Input;
use libfuzzer_sys::fuzz_target;

type Outcome = (Result<Option<SocksRequest>, SocksError>, usize, Vec<u8>);

/// What comes of the bytes when they arrive in pieces of that length.
fn run(bytes: &[u8], piece: usize) -> Outcome {
    let (mut socks, mut at, mut sent, mut arrived) = (Socks::default(), 0, Vec::new(), 0);
    loop {
        match socks.step(&bytes[at..arrived]) {
            Ok(Step::Wait) if arrived == bytes.len() => return (Ok(None), at, sent),
            Ok(Step::Wait) => arrived = bytes.len().min(arrived + piece),
            Ok(Step::Send { consumed, bytes }) => {
                assert!(consumed > 0);
                at += consumed;
                sent.extend(bytes);
            }
            Ok(Step::Request { consumed, request }) => {
                assert!(request.host.len() <= 255 && !request.host.is_empty());
                return (Ok(Some(request)), at + consumed, sent);
            }
            Err(error) => {
                let _ = Socks::refusal(error);
                return (Err(error), at, sent);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let piece = usize::from(input.byte()) + 1;
    let whole = run(input.0, usize::MAX / 2);
    let cut = run(input.0, piece);
    // Where both are refused, the reason may depend on how much was there to look at.
    if whole.0.is_ok() || cut.0.is_ok() {
        assert_eq!(whole, cut);
    }
});
