//! What a fleet's stores get: metrics for node_exporter, traces and metrics for a collector, each once.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use flate2::read::GzDecoder;
use profiler_fleet::{
    openmetrics::{self, Tally},
    otlp::{
        self,
        proto::{Data, KeyValue, MetricsRequest, Span, TraceRequest, Value},
    },
    push::{Collector, Outcome, Queue, Signals},
};
use profiler_report::{report::Report, testing::rich};
use prost::Message;

const BOTH: Signals = Signals { traces: true, metrics: true };

#[test]
fn metrics_for_node_exporter() {
    for name in ["plain", "freeze-fails", "rich"] {
        let mut tally = Tally::default();
        tally.add(if name == "rich" { rich::rich() } else { rich::fixture(name) });
        insta::assert_snapshot!(format!("{name}.prom"), openmetrics::render(&tally).unwrap());
    }
}

fn attributes(all: &[KeyValue]) -> HashMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Flag(flag) => Some(flag.to_string()),
    };
    all.iter().filter_map(|attribute| Some((attribute.key.as_str(), text(attribute)?))).collect()
}

fn spans(requests: &[TraceRequest]) -> Vec<Span> {
    let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|r| &r.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

#[test]
fn a_trace_has_every_phase_and_span_where_the_report_has_it() {
    for report in [rich::fixture("plain"), rich::fixture("stamped"), rich::rich()] {
        let spans = spans(&otlp::trace(&report).unwrap());
        let origin = report.clock.origin_unix_ns.unwrap();
        let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
        assert_eq!(by_id.len(), spans.len(), "ids are unique");
        let roots = spans.iter().filter(|span| span.parent_span_id.is_empty()).count();
        assert_eq!(roots, 1);
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
        let window = spans.iter().find(|span| span.name == "blackout window").unwrap();
        assert_eq!(window.start_time_unix_nano, origin);
        let length = report.window.as_ref().unwrap().duration_ns;
        assert_eq!(window.end_time_unix_nano - window.start_time_unix_nano, length);
        let phases: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == window.span_id).collect();
        assert_eq!(phases.len(), report.phases.len());
        for (span, phase) in phases.iter().zip(&report.phases) {
            assert_eq!(attributes(&span.attributes)["blackout.phase"], phase.id);
            assert_eq!(span.start_time_unix_nano as i64 - origin as i64, phase.start_ns, "{}", phase.id);
            assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, phase.duration_ns);
            let inside: Vec<&Span> = spans.iter().filter(|s| s.parent_span_id == span.span_id).collect();
            let names = |spans: &[profiler_report::report::Span]| {
                spans.iter().map(|s| s.name.clone()).collect::<Vec<_>>()
            };
            assert_eq!(inside.iter().map(|s| s.name.clone()).collect::<Vec<_>>(), names(&phase.spans));
        }
        let mut parents = spans.iter().filter(|span| !span.parent_span_id.is_empty());
        assert!(parents.all(|span| by_id.contains_key(span.parent_span_id.as_slice())));
    }
}

#[test]
fn a_large_trace_comes_in_requests_that_collectors_take() {
    let mut report = rich::fixture("plain");
    let spans: Vec<_> = report.phases.iter().flat_map(|phase| phase.spans.clone()).collect();
    report.phases[0].spans = spans.iter().cycle().take(10 * spans.len()).cloned().collect();
    let requests = otlp::trace(&report).unwrap();
    assert!(requests.len() > 1);
    assert!(requests.iter().all(|request| request.encoded_len() < 2 << 20));
}

/// Answers of a collector, and what it got.
#[derive(Default)]
struct Script {
    /// Status and whether the answer is sent, request by request; then 200 for ever.
    answers: Vec<(u16, bool)>,
    got: Vec<(String, Vec<u8>)>,
}

/// A collector on a port of its own. Gives its address; it lives as long as the test.
fn collector(answers: &[(u16, bool)]) -> (String, Arc<Mutex<Script>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(Mutex::new(Script { answers: answers.to_vec(), got: Vec::new() }));
    let shared = script.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &shared);
        }
    });
    (base, script)
}

fn answer(stream: TcpStream, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("post ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut message = Vec::new();
    GzDecoder::new(body.as_slice()).read_to_end(&mut message).unwrap();
    let mut script = script.lock().unwrap();
    let (status, answers) = if script.answers.is_empty() { (200, true) } else { script.answers.remove(0) };
    script.got.push((path, message));
    if answers {
        let _ = write!(&stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

fn push(state: &Path, base: &str, reports: &[Report]) -> Outcome {
    // As a process of its own would: everything it knows is on disk.
    let mut queue = Queue::open(state).unwrap();
    let queued = queue.put(reports, BOTH).unwrap();
    let collector = Collector::new(base, "").unwrap();
    let outcome = queue.deliver(&collector, BOTH, Duration::ZERO).unwrap();
    Outcome { queued, ..outcome }
}

/// Updates that the metrics of a request count.
fn updates(request: &[u8]) -> i64 {
    let request = MetricsRequest::decode(request).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let updates = metrics.iter().find(|metric| metric.name == "blackout.updates").unwrap();
    let Some(Data::Sum(sum)) = &updates.data else { panic!("a sum") };
    sum.data_points.iter().filter_map(|point| point.as_int).sum()
}

#[test]
fn what_the_collector_misses_is_delivered_later_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (rich::fixture("plain"), rich::fixture("stamped"));
    // Nobody listens there.
    let outcome = push(dir.path(), "http://127.0.0.1:1", std::slice::from_ref(&first));
    assert_eq!((outcome.queued, outcome.delivered, outcome.waiting), (1, 0, 2), "{outcome:?}");
    // Its recording is gone by the time that the collector is back; another live update has come.
    let (base, script) = collector(&[]);
    let outcome = push(dir.path(), &base, std::slice::from_ref(&second));
    assert_eq!((outcome.queued, outcome.delivered, outcome.waiting), (1, 3, 0), "{outcome:?}");
    let outcome = push(dir.path(), &base, &[first, second]);
    assert_eq!((outcome.queued, outcome.delivered, outcome.waiting), (0, 0, 0), "{outcome:?}");
    let got = &script.lock().unwrap().got;
    let paths: Vec<&str> = got.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/traces", "/v1/traces", "/v1/metrics"]);
    assert_ne!(got[0].1, got[1].1);
    assert_eq!(updates(&got[2].1), 2);
}

#[test]
fn an_answer_that_is_lost_repeats_the_very_same_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (base, script) = collector(&[(200, false), (200, true), (200, false)]);
    let report = rich::fixture("plain");
    let outcome = push(dir.path(), &base, std::slice::from_ref(&report));
    assert_eq!((outcome.delivered, outcome.waiting), (0, 2), "{outcome:?}");
    let outcome = push(dir.path(), &base, std::slice::from_ref(&report));
    assert_eq!((outcome.delivered, outcome.waiting), (1, 1), "{outcome:?}");
    let outcome = push(dir.path(), &base, &[report]);
    assert_eq!((outcome.delivered, outcome.waiting), (1, 0), "{outcome:?}");
    let got = &script.lock().unwrap().got;
    assert_eq!(got[0], got[1]);
    // The totals came twice, and count once.
    assert_eq!((updates(&got[2].1), updates(&got[3].1), got.len()), (1, 1, 4));
}

#[test]
fn what_is_refused_for_good_is_set_aside_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (base, script) = collector(&[(400, true)]);
    let report = rich::fixture("plain");
    let outcome = push(dir.path(), &base, std::slice::from_ref(&report));
    assert_eq!((outcome.delivered, outcome.waiting), (1, 0));
    assert!(outcome.notes[0].contains("400"), "{outcome:?}");
    assert_eq!(push(dir.path(), &base, &[report]), Outcome::default());
    assert_eq!(script.lock().unwrap().got.len(), 2);
    let kept = std::fs::read_dir(dir.path().join("push/spool")).unwrap().count();
    assert_eq!(kept, 1);
}

#[test]
fn a_run_that_is_only_armed_is_not_told_before_it_has_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _script) = collector(&[]);
    let mut armed = rich::fixture("plain");
    let done = armed.clone();
    (armed.incoming, armed.outcome) = (None, profiler_report::report::Outcome::Partial);
    assert!(armed.is_open());
    assert_eq!(push(dir.path(), &base, &[armed.clone()]).queued, 0);
    assert_eq!(push(dir.path(), &base, &[done]).queued, 1);
    // One that a later run has left behind will not be completed any more.
    armed.run.id = "0123456789abcdef".to_owned();
    armed.run.recorded_at = "2001-01-01T00:00:00Z".to_owned();
    assert_eq!(push(dir.path(), &base, &[armed]).queued, 1);
}
