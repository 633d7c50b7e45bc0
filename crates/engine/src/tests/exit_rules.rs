//! What an exit connects to: names, policies, and never a private address.

use super::exit::{echo, exit_circuit, server};
use super::*;

#[tokio::test]
async fn the_policy_decides_by_port_and_address_after_resolving() {
    let (open, closed) = (server(echo).await, server(echo).await);
    let lines: &'static [&'static str] = Box::leak(Box::new([
        &*Box::leak(format!("reject 127.0.0.9:{open}").into_boxed_str()),
        &*Box::leak(format!("accept *:{open}").into_boxed_str()),
    ]));
    let names = Names::new(&[("no.test", &["127.0.0.9"]), ("yes.test", &["127.0.0.9", "127.0.0.1"])]);
    let (circuit, last) = exit_circuit(
        &Net::new(),
        Options {
            policy: lines,
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(circuit.stream("127.0.0.1", closed).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(circuit.stream("127.0.0.9", open).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(circuit.stream("no.test", open).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(last.stats().exit_streams, 0);
    assert!(circuit.stream("yes.test", open).await.is_ok());
    // A relay that is no exit opens nothing, whatever its policy says.
    let roles = Roles { relay: true, exit: false };
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            roles,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(circuit.stream("127.0.0.1", open).await.err(), Some(ErrorKind::ExitPolicy));
    let asked = circuit.handle.clone().resolve("yes.test").await.unwrap();
    assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::ExitPolicy));
}

const PRIVATE: &[&str] = &[
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
];

#[tokio::test]
async fn attack_39_exit_ssrf() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let port = server(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    let names: Vec<(&'static str, Vec<&str>)> = vec![
        ("metadata.test", vec!["169.254.169.254"]),
        ("local.test", vec!["127.0.0.1"]),
        ("local6.test", vec!["::1"]),
        ("all.test", PRIVATE.to_vec()),
    ];
    let names: Vec<(&'static str, &[&str])> = names.iter().map(|(name, list)| (*name, list.as_slice())).collect();
    let options = Options {
        allow_private: false,
        resolver: Names::new(&names),
        ..Options::default()
    };
    let (circuit, last) = exit_circuit(&Net::new(), options).await;
    for target in PRIVATE.iter().chain(&["metadata.test", "local.test", "local6.test", "all.test"]) {
        assert_eq!(circuit.stream(target, port).await.err(), Some(ErrorKind::ExitPolicy), "{target}");
    }
    // Nor are such addresses told to whoever only asks for the name.
    for name in ["metadata.test", "local.test", "local6.test", "all.test"] {
        let asked = circuit.handle.clone().resolve(name).await.unwrap();
        assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::ExitPolicy), "{name}");
    }
    assert_eq!((connections.load(Ordering::Relaxed), last.stats().exit_streams), (0, 0));
}

/// A name that is public the first time and private the second.
struct Rebinding(AtomicUsize);

impl Resolve for Rebinding {
    fn resolve(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let address: IpAddr = if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            [192, 0, 3, 1].into()
        } else {
            [127, 0, 0, 1].into()
        };
        Box::pin(async move { Ok(vec![address]) })
    }
}

#[tokio::test]
async fn attack_39_exit_ssrf_by_dns_rebinding() {
    let port = server(echo).await;
    let resolver = Arc::new(Rebinding(AtomicUsize::new(0)));
    let options = Options {
        allow_private: false,
        resolver: Arc::clone(&resolver) as Arc<dyn Resolve>,
        ..Options::default()
    };
    let (circuit, _last) = exit_circuit(&Net::new(), options).await;
    let asked = circuit.handle.clone().resolve("rebinding.test").await.unwrap();
    assert!(soon(asked.answer()).await.is_ok());
    // What is checked is what is connected to: the name is resolved once for one connection.
    assert_eq!(circuit.stream("rebinding.test", port).await.err(), Some(ErrorKind::ExitPolicy));
    assert_eq!(resolver.0.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn resolve_answers_with_addresses_bounded_in_number() {
    let many: Vec<String> = (0..40).map(|last| format!("9.9.9.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let names = Names::new(&[
        ("both.test", &["9.9.9.9", "2620:fe::fe", "9.9.9.9"]),
        ("many.test", &many),
        ("mixed.test", &["10.0.0.1", "9.9.9.9"]),
    ]);
    let (circuit, _last) = exit_circuit(
        &Net::new(),
        Options {
            allow_private: false,
            resolver: names,
            ..Options::default()
        },
    )
    .await;
    let resolve = async |name| match soon(circuit.handle.clone().resolve(name).await.unwrap().answer()).await {
        Ok(crate::pipe::Answer::Resolved(addresses)) => Ok(addresses),
        Ok(other) => panic!("{other:?}"),
        Err(kind) => Err(kind),
    };
    let parse = |addresses: &[&str]| {
        addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(resolve("both.test").await, Ok(parse(&["9.9.9.9", "2620:fe::fe"])), "each once");
    assert_eq!(resolve("mixed.test").await, Ok(parse(&["9.9.9.9"])));
    assert_eq!(resolve("many.test").await.unwrap().len(), crate::limits::DNS_ADDRESSES_MAX);
    assert_eq!(resolve("none.test").await, Err(ErrorKind::NameNotResolved));
}

/// Never answers.
pub(super) struct Slow;

impl Resolve for Slow {
    fn resolve(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_costs_its_deadline_and_no_circuit() {
    let (circuit, last) = exit_circuit(
        &Net::new(),
        Options {
            resolver: Arc::new(Slow),
            ..Options::default()
        },
    )
    .await;
    let began = tokio::time::Instant::now();
    let stream = circuit.handle.clone().connect("slow.test", 80).await.unwrap();
    assert_eq!(soon(stream.answer()).await.err(), Some(ErrorKind::Timeout));
    assert!(began.elapsed() < crate::limits::CONNECT_TIMEOUT + Duration::from_secs(1));
    // More than there are places: each waits for its own time only.
    let mut waiting = Vec::new();
    for _ in 0..3 * crate::limits::DNS_CONCURRENT_MAX {
        waiting.push(circuit.handle.clone().resolve("slow.test").await.unwrap());
    }
    let began = tokio::time::Instant::now();
    for asked in &waiting {
        assert_eq!(soon(asked.answer()).await.err(), Some(ErrorKind::Timeout));
    }
    assert!(began.elapsed() < Duration::from_secs(12));
    // Whoever gives up meanwhile frees the place.
    drop(circuit.handle.clone().connect("slow.test", 80).await.unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(last.server.names.available_permits(), crate::limits::DNS_CONCURRENT_MAX);
}
