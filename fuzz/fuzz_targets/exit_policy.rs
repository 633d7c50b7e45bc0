//! Exit policies: any text is read or refused, and what is read is written and read again as the same.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anonnet_fuzz::Input;
use anonnet_relay::ExitPolicy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let port = input.u16();
    let v6: [u8; 16] = std::array::from_fn(|_| input.byte());
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    let Ok(policy) = ExitPolicy::parse(&lines) else { return };
    let again = ExitPolicy::parse(&policy.lines()).unwrap();
    assert_eq!(again, policy);
    let [a, b, c, d, ..] = v6;
    for address in [IpAddr::V6(Ipv6Addr::from(v6)), IpAddr::V4(Ipv4Addr::new(a, b, c, d))] {
        let anywhere = policy.check(address, port, true).is_ok();
        assert!(!anywhere || policy.may_allow_port(port));
        assert!(anywhere || policy.check(address, port, false).is_err());
    }
});
