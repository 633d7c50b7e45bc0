use super::*;
use proptest::prelude::*;

fn run(input: &[u8]) -> (Result<Option<SocksRequest>, SocksError>, usize, Vec<u8>) {
    let mut socks = Socks::default();
    let (mut at, mut sent) = (0, Vec::new());
    loop {
        match socks.step(&input[at..]) {
            Ok(Step::Wait) => return (Ok(None), at, sent),
            Ok(Step::Send { consumed, bytes }) => {
                at += consumed;
                sent.extend(bytes);
            }
            Ok(Step::Request { consumed, request }) => return (Ok(Some(request)), at + consumed, sent),
            Err(error) => return (Err(error), at, sent),
        }
    }
}

const NAMED: &[u8] = b"\x05\x02\x00\x02\x01\x03bob\x02pw\x05\x01\x00\x03\x0bexample.org\x00\x50GET /";

#[test]
fn a_name_with_a_password_and_early_data() {
    let (result, consumed, sent) = run(NAMED);
    let request = result.unwrap().unwrap();
    assert_eq!(request.host, "example.org");
    assert_eq!((request.port, request.literal), (80, false));
    assert_eq!(request.user.as_deref(), Some(&b"bob"[..]));
    assert_eq!(request.password.as_deref(), Some(&b"pw"[..]));
    assert_eq!(&NAMED[consumed..], b"GET /");
    assert_eq!(sent, [5, 2, 1, 0]);
}

#[test]
fn every_prefix_waits_and_never_fails() {
    for end in 0..NAMED.len() - 5 {
        assert_eq!(run(&NAMED[..end]).0, Ok(None), "prefix of {end} bytes");
    }
}

#[test]
fn addresses_and_socks_4() {
    let v4 = run(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90").0.unwrap().unwrap();
    assert_eq!((v4.host.as_str(), v4.port, v4.literal), ("127.0.0.1", 8080, true));
    let v6 = run(b"\x05\x01\x00\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50")
        .0
        .unwrap()
        .unwrap();
    assert_eq!(v6.host, "::1");
    let four = run(b"\x04\x01\x00\x50\x01\x02\x03\x04bob\0").0.unwrap().unwrap();
    assert_eq!((four.version, four.host.as_str()), (4, "1.2.3.4"));
    let named = run(b"\x04\x01\x00\x50\x00\x00\x00\x01\0Example.org\0x").0.unwrap().unwrap();
    assert_eq!((named.host.as_str(), named.literal), ("example.org", false));
    let resolve = run(b"\x05\x01\x00\x05\xf0\x00\x03\x01a\0\0").0.unwrap().unwrap();
    assert_eq!(resolve.command, Command::Resolve);
}

#[test]
fn refusals_use_the_codes_of_the_protocol() {
    let cases: &[(&[u8], SocksError, Option<u8>)] = &[
        (
            b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x1f\x90",
            SocksError::Command(2),
            Some(7),
        ),
        (
            b"\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x1f\x90",
            SocksError::Command(3),
            Some(7),
        ),
        (
            b"\x05\x01\x00\x05\xf1\x00\x01\x7f\x00\x00\x01\x1f\x90",
            SocksError::Command(0xf1),
            Some(7),
        ),
        (b"\x05\x01\x00\x05\x01\x00\x09", SocksError::AddressType(9), Some(8)),
        (b"\x05\x01\x00\x05\x01\x00\x03\x02a\n\0\x50", SocksError::Name, Some(8)),
        (b"\x05\x01\x00\x05\x01\x00\x03\x00\0\x50", SocksError::Name, Some(8)),
        (b"\x05\x01\x01", SocksError::NoMethod, Some(0xff)),
        (b"\x05\x01\x02\x01\x09<torS0X>1\x00", SocksError::UnknownExtension, Some(1)),
        (b"\x05\x01\x02\x01\x0a<torS0X>0x\x00", SocksError::UnknownExtension, Some(1)),
        (b"\x05\x01\x00\x06", SocksError::Malformed, Some(1)),
        (b"\x07", SocksError::Version, None),
    ];
    for (input, error, code) in cases {
        assert_eq!(run(input).0, Err(*error), "{input:?}");
        assert_eq!(Socks::refusal(*error).map(|bytes| bytes[1]), *code);
    }
    assert!(
        run(b"\x05\x01\x02\x01\x09<torS0X>0\x03iso\x05\x01\x00\x03\x01a\0\x50")
            .0
            .unwrap()
            .is_some()
    );
    let long = [&b"\x04\x01\x00\x50\x01\x02\x03\x04"[..], &[b'a'; 300]].concat();
    assert_eq!(run(&long).0, Err(SocksError::Malformed));
}

#[test]
fn replies() {
    assert_eq!(reply(5, Reply::Refused, None), [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        reply(5, Reply::Succeeded, Some("1.2.3.4".parse().unwrap())),
        [5, 0, 0, 1, 1, 2, 3, 4, 0, 0]
    );
    assert_eq!(reply(5, Reply::Succeeded, Some("::1".parse().unwrap())).len(), 22);
    assert_eq!(reply(4, Reply::Succeeded, None), [0, 0x5a, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reply(4, Reply::General, None), [0, 0x5b, 0, 0, 0, 0, 0, 0]);
    for kind in ErrorKind::ALL {
        assert_ne!(Reply::from_kind(*kind), Reply::Succeeded);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = run(&input);
    }

    #[test]
    fn damaged_requests_never_panic(at in 0..NAMED.len(), byte in any::<u8>()) {
        let mut input = NAMED.to_vec();
        input[at] = byte;
        let _ = run(&input);
    }
}
