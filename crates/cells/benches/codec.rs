//! What a cell costs without its cryptography: taking it apart, reading its message, and writing one.

use anonnet_cells::{BODY_LEN, BodyWriter, CELL_LEN, CellError, Command, Kind, MAX_DATA, Message, Messages, append, cells, split};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const RUN: usize = 64;

fn write_run(out: &mut Vec<u8>, data: &[u8]) -> Result<(), CellError> {
    for seq in 1..=RUN as u32 {
        append(out, Command::Relay, |_, body| {
            BodyWriter::new(body).push(&Message {
                kind: Kind::Data,
                stream: 1,
                seq,
                more: false,
                data,
            })
        })?;
    }
    Ok(())
}

fn read_run(run: &mut [u8]) -> Result<usize, CellError> {
    let mut bytes = 0;
    for cell in cells(run)? {
        for message in Messages::new(split(cell)?.body) {
            bytes += message?.data.len();
        }
    }
    Ok(bytes)
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes((RUN * CELL_LEN) as u64));
    for (name, len) in [("full", MAX_DATA), ("small", 64)] {
        let data = vec![7; len];
        let mut out = Vec::new();
        group.bench_function(format!("write {RUN} cells, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                let written = write_run(&mut out, black_box(&data));
                assert_eq!(written, Ok(()));
            });
        });
        group.bench_function(format!("read {RUN} cells, {name}"), |bencher| {
            bencher.iter(|| assert_eq!(read_run(black_box(&mut out)), Ok(RUN * len)));
        });
    }
    group.throughput(Throughput::Bytes(BODY_LEN as u64));
    let empty = [0; BODY_LEN];
    group.bench_function("read an empty body", |bencher| {
        bencher.iter(|| Messages::new(black_box(&empty)).count())
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
