//! What one link costs: both ends in one process, over loopback.
//!
//! `cargo run --release -p anonnet-transport --example link_bench -- [MB] [streams] [node|client] [threads]`
//! prints MB/s and CPU seconds per GB of both ends together.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, net::Ipv4Addr, sync::Arc, time::Instant};

use anonnet_crypto::keys::IdentityKey;
use anonnet_transport::{DialRole, Link, QuicConfig, QuicTransport, StreamKind, StreamRecv, StreamSend, Transport};
use bytes::Bytes;

type Failure = Box<dyn Error + Send + Sync>;

/// As much as a relay moves at once: a run of cells.
const RUN: usize = 1104 * 15;

fn identity() -> Result<Arc<IdentityKey>, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| "randomness")?;
    Ok(Arc::new(IdentityKey::from_bytes(&seed)))
}

/// CPU seconds of this process so far, user and system.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Writes so many bytes.
async fn write<S: StreamSend, R: StreamRecv>(mut send: S, _recv: R, mut left: usize) -> Result<(), Failure> {
    let run = Bytes::from(vec![7; RUN]);
    while left > 0 {
        let part = run.slice(..left.min(RUN));
        left -= part.len();
        // As a relay does: a fresh buffer for every run.
        send.write_chunk(Bytes::copy_from_slice(&part)).await?;
    }
    send.finish();
    send.stopped().await;
    Ok(())
}

/// Reads to the end: bytes and reads.
async fn read<S: StreamSend, R: StreamRecv>(_send: S, mut recv: R) -> Result<(usize, usize), Failure> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut got, mut reads) = (0, 0);
    loop {
        match recv.read(&mut buffer).await? {
            0 => return Ok((got, reads)),
            count => (got, reads) = (got + count, reads + 1),
        }
    }
}

type Readers = Vec<tokio::task::JoinHandle<Result<(usize, usize), Failure>>>;

/// A reader for each of so many streams of the next link.
async fn accept(listener: QuicTransport, streams: usize) -> Result<Readers, Failure> {
    let accepted = listener.accept().await.ok_or("no link")?;
    let mut readers = Vec::new();
    for _ in 0..streams {
        let (_, send, recv) = accepted.accept().await?;
        readers.push(tokio::spawn(read(send, recv)));
    }
    Ok(readers)
}

async fn run(total: usize, streams: usize, role: DialRole) -> Result<(), Failure> {
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = QuicTransport::bind(QuicConfig::node(local, identity()?))?;
    if role == DialRole::Node {
        listener.set_known_relays([Ipv4Addr::LOCALHOST.into()]);
    }
    let dialler = QuicTransport::bind(QuicConfig::node(local, identity()?))?;
    let address = listener.local_addr()?;
    let id = listener.node_id().ok_or("no id")?;

    let start = Instant::now();
    let link = dialler.dial(id, address, role).await?;
    println!("dial      {:.2} ms", start.elapsed().as_secs_f64() * 1e3);

    let each = total / streams;
    let (cpu, start) = (cpu_seconds()?, Instant::now());
    let accepting = tokio::spawn(accept(listener.clone(), streams));
    let mut writers = Vec::new();
    for _ in 0..streams {
        let (send, recv) = link.open(StreamKind::Circuit).await?;
        writers.push(tokio::spawn(write(send, recv, each)));
    }
    let readers = accepting.await??;
    let (mut got, mut reads) = (0, 0);
    for reader in readers {
        let (bytes, count) = reader.await??;
        (got, reads) = (got + bytes, reads + count);
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    for writer in writers {
        writer.await??;
    }
    let stats = link.stats();
    println!(
        "moved     {:.0} MB over {streams} streams as {role:?} in {elapsed:.2} s",
        got as f64 / 1e6
    );
    println!("goodput   {:.0} MB/s", got as f64 / 1e6 / elapsed);
    println!("cpu       {:.2} s/GB, both ends", cpu / (got as f64 / 1e9));
    println!("read      {:.0} bytes at a time", got as f64 / reads.max(1) as f64);
    println!(
        "link      mtu {} rtt {:?} cwnd {} sent {} lost {} acks in {} datagrams",
        stats.mtu, stats.rtt, stats.congestion_window, stats.sent_packets, stats.lost_packets, stats.received_datagrams
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let megabytes: usize = args.next().map_or(Ok(1000), |arg| arg.parse())?;
    let streams: usize = args.next().map_or(Ok(8), |arg| arg.parse())?;
    let role = if args.next().as_deref() == Some("client") {
        DialRole::Client
    } else {
        DialRole::Node
    };
    let threads: usize = args.next().map_or(Ok(2), |arg| arg.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    runtime.block_on(run(megabytes * 1_000_000, streams.max(1), role))
}
