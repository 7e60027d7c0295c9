//! Chrome's trace JSON: complete events that nest in each thread. Times are microseconds, so nanoseconds
//! are its decimals. Source: "Trace Event Format", the catapult project.

use serde_json::{Map, Value, json};

use super::{
    display,
    trace::{self, Detail, Flow, Process, Slice},
};
use crate::report::Report;

/// Renders it as one JSON object.
///
/// # Errors
/// Serde's.
pub fn render(report: &Report) -> serde_json::Result<Vec<u8>> {
    let trace = trace::trace(report);
    let thread = |track: usize| json!({ "pid": trace.tracks.get(track).map(|(process, _)| *process as u32), "tid": track + 1 });
    let mut events = Vec::new();
    for (process, name) in &trace.processes {
        events
            .push(json!({"ph": "M", "name": "process_name", "pid": *process as u32, "args": {"name": name}}));
        events.push(json!({"ph": "M", "name": "process_sort_index", "pid": *process as u32,
            "args": {"sort_index": *process as u32}}));
    }
    for (track, (_, name)) in trace.tracks.iter().enumerate() {
        events.push(merge(thread(track), json!({"ph": "M", "name": "thread_name", "args": {"name": name}})));
        events.push(merge(
            thread(track),
            json!({"ph": "M", "name": "thread_sort_index", "args": {"sort_index": track}}),
        ));
    }
    for slice in &trace.slices {
        let event = json!({"ph": "X", "dur": length(slice.start_ns, slice.duration_ns)});
        events.push(merge(merge(thread(slice.track), event), common(slice)));
        if let Some(flow) = slice.flow {
            let phase = match flow {
                Flow::Begin => "s",
                Flow::Step => "t",
                Flow::End => "f",
            };
            // A flow event binds to the slice that encloses its time.
            let event = json!({"ph": phase, "id": 1, "bp": "e", "name": "kexec", "cat": "kexec", "ts": micros(slice.start_ns as f64)});
            events.push(merge(thread(slice.track), event));
        }
    }
    for instant in &trace.instants {
        events.push(merge(merge(thread(instant.track), json!({"ph": "i", "s": "t"})), common(instant)));
    }
    for counter in &trace.counters {
        for (at, total) in &counter.points {
            events.push(json!({"ph": "C", "pid": counter.process as u32, "name": counter.name,
                "ts": micros(*at as f64), "args": {"calls": total}}));
        }
    }
    let window = report.window.as_ref().map(|window| window.duration_ns);
    let other = json!({
        "run": report.run.id, "kernels": display::releases(report), "outcome": display::outcome(report),
        "window_ns": window, "clock_error_ns": report.clock.error_ns, "lost_records": report.loss.total(),
        "processes": { "window": Process::Window as u32, "outgoing": Process::Outgoing as u32, "incoming": Process::Incoming as u32 },
    });
    serde_json::to_vec(&json!({"displayTimeUnit": "ns", "otherData": other, "traceEvents": events}))
}

fn common(slice: &Slice) -> Value {
    let details: Map<String, Value> = slice
        .details
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Detail::Text(text) => json!(text),
                Detail::Number(number) => json!(number),
                Detail::Flag(flag) => json!(flag),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    json!({"name": slice.name, "cat": slice.category, "ts": micros(slice.start_ns as f64), "args": details})
}

fn micros(ns: f64) -> f64 {
    ns / 1e3
}

/// Microseconds that, added to those of the start, make those of the end: viewers add them, and drop what
/// then overlaps its neighbour by a rounding error.
fn length(start_ns: i64, duration_ns: u64) -> f64 {
    let (start, plain) = (micros(start_ns as f64), micros(duration_ns as f64));
    let end = micros(start_ns.saturating_add_unsigned(duration_ns) as f64);
    let exact = end - start;
    let fits = [plain, exact].into_iter().find(|length| start + length == end);
    fits.unwrap_or(exact.next_down().max(0.0))
}

fn merge(mut into: Value, from: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut into, from) {
        into.extend(from);
    }
    into
}
