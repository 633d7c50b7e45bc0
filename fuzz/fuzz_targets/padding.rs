//! The frames of a QUIC packet: only zeros at its end go, and padding that is added goes again.
#![no_main]

use anonnet_transport::unpadded_len;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let left = unpadded_len(data);
    assert!(left <= data.len() && (left > 0 || data.is_empty()));
    assert!(data[left..].iter().all(|byte| *byte == 0));
    if left < data.len() {
        let mut more = data.to_vec();
        more.resize(data.len() + 700, 0);
        assert_eq!(unpadded_len(&more), left);
    }
});
