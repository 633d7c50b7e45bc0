//! The HTTP proxy's parsers: requests, answers, chunked bodies.
#![no_main]

use anonnet_engine::proxy::http::{Body, ChunkScanner, HttpError, ProxyRequest, parse_request, rewrite_response};
use anonnet_fuzz::Input;
use libfuzzer_sys::fuzz_target;

/// Where a chunked body ends when its bytes come in pieces of that length.
fn scan(bytes: &[u8], piece: usize) -> Result<Option<usize>, HttpError> {
    let (mut body, mut at) = (Body::Chunked(ChunkScanner::default()), 0);
    for piece in bytes.chunks(piece) {
        let (count, done) = body.scan(piece)?;
        at += count;
        if done {
            return Ok(Some(at));
        }
        assert_eq!(count, piece.len());
    }
    Ok(None)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mode = input.byte();
    let piece = usize::from(input.byte()) + 1;
    let bytes = input.0;
    match mode % 3 {
        0 => {
            if let Ok(Some((length, request))) = parse_request(bytes) {
                assert!(length <= bytes.len());
                if let ProxyRequest::Forward { head, .. } = &request.request {
                    assert_eq!(
                        parse_request(head),
                        Err(HttpError::OriginForm),
                        "what is sent is a request, and only one"
                    );
                    assert!(head.ends_with(b"\r\nConnection: close\r\n\r\n"));
                }
                assert_eq!(parse_request(&bytes[..length]), Ok(Some((length, request))));
            }
        }
        1 => {
            if let Ok(Some((length, head, interim))) = rewrite_response(bytes) {
                assert!(length <= bytes.len());
                assert_eq!(
                    rewrite_response(&head),
                    Ok(Some((head.len(), head.clone(), interim))),
                    "nothing is left to rewrite"
                );
            }
        }
        _ => assert_eq!(scan(bytes, piece), scan(bytes, bytes.len().max(1))),
    }
});
