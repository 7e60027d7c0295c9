//! How long a large comparison takes: 100 reports a side, 10 000 spans in each.
#![allow(missing_docs, clippy::unwrap_used, reason = "macros of criterion; a benchmark may stop anywhere")]

use std::{fs, hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use profiler_compare::{Options, Verdict, compare, inputs, random::Random};
use profiler_report::{
    recording::read,
    report::{self, Report, Span},
};

const RUNS: usize = 100;
const SPANS: usize = 10_000;

fn benchmark(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let sides = [("base", 0), ("new", 5)].map(|(side, slower)| {
        let side = dir.path().join(side);
        write_side(&side, slower);
        side
    });
    let load = |side: &Path| inputs::load(&[side.to_owned()], &|_, _| ()).unwrap();
    let [base, new] = [load(&sides[0]), load(&sides[1])];
    let options = Options::default();
    assert_eq!(compare(&base, &new, &options).verdict, Verdict::Regression);

    let mut group = criterion.benchmark_group("2 x 100 reports of 10 000 spans");
    group.sample_size(10);
    group.bench_function("compare", |bencher| {
        bencher.iter(|| compare(black_box(&base), black_box(&new), &options));
    });
    group.bench_function("read and compare", |bencher| {
        bencher.iter(|| compare(&load(&sides[0]), &load(&sides[1]), &options));
    });
    group.finish();
}

/// Reports of one build as `blackout report --format json` writes them, each with noise of its own; the spans
/// are longer by `slower` per cent.
fn write_side(dir: &Path, slower: u64) {
    fs::create_dir(dir).unwrap();
    let recording = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/plain.blackout")).unwrap();
    let plain = report::build(&read(&recording).unwrap()).unwrap();
    let mut random = Random::new(slower);
    for number in 0..RUNS {
        let mut report = plain.clone();
        report.run.id = format!("{slower}-{number}");
        fill(&mut report, |ns| {
            (ns as f64 * (1.0 + slower as f64 / 100.0) * (1.0 + 0.01 * random.normal())) as u64
        });
        fs::write(dir.join(format!("{number}.json")), report::json(&report).unwrap()).unwrap();
    }
}

/// Gives the longest phase [`SPANS`] spans, one behind the other, and the window what they add to it.
fn fill(report: &mut Report, mut noisy: impl FnMut(u64) -> u64) {
    let window = report.window.as_mut().unwrap();
    let phase = report.phases.iter_mut().max_by_key(|phase| phase.duration_ns).unwrap();
    let pattern = phase.spans[0].clone();
    window.duration_ns -= phase.duration_ns;
    phase.duration_ns = 0;
    phase.spans.clear();
    for number in 0..SPANS {
        let ns = noisy(100_000);
        phase.spans.push(Span {
            name: format!("initcall_{number}"),
            start_ns: phase.start_ns + phase.duration_ns as i64,
            duration_ns: Some(ns),
            self_ns: Some(ns),
            ..pattern.clone()
        });
        phase.duration_ns += ns;
    }
    window.duration_ns += phase.duration_ns;
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
