//! Perfetto's protobuf trace of track events: `perfetto.protos.Trace`. Only the fields that are written
//! are declared; their numbers are those of `protos/perfetto/trace/` in Perfetto's sources.

use prost::Message;

use super::trace::{self, Detail, Flow, Process, Slice, Trace};
use crate::report::Report;

/// The only writer of the trace.
const SEQUENCE: u32 = 1;
/// `SEQ_INCREMENTAL_STATE_CLEARED`: nothing before this packet is needed to read what follows.
const STATE_CLEARED: u32 = 1;
/// The only flow: from kernel to kernel.
const KEXEC_FLOW: u64 = 1;

#[derive(Message)]
struct Packets {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Message)]
struct Packet {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, tag = "10")]
    trusted_packet_sequence_id: u32,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Message)]
struct TrackDescriptor {
    #[prost(uint64, tag = "1")]
    uuid: u64,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
    /// 3: by `sibling_order_rank`.
    #[prost(int32, optional, tag = "11")]
    child_ordering: Option<i32>,
    #[prost(int32, optional, tag = "12")]
    sibling_order_rank: Option<i32>,
}

#[derive(Message)]
struct ProcessDescriptor {
    #[prost(int32, tag = "1")]
    pid: i32,
    #[prost(string, tag = "6")]
    process_name: String,
}

#[derive(Message)]
struct CounterDescriptor {
    /// 2: a count.
    #[prost(int32, tag = "3")]
    unit: i32,
}

#[derive(Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(enumeration = "EventType", tag = "9")]
    r#type: i32,
    #[prost(uint64, tag = "11")]
    track_uuid: u64,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    counter_value: Option<i64>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum EventType {
    Unspecified = 0,
    SliceBegin = 1,
    SliceEnd = 2,
    Instant = 3,
    Counter = 4,
}

#[derive(Message)]
struct DebugAnnotation {
    #[prost(bool, optional, tag = "2")]
    bool_value: Option<bool>,
    #[prost(int64, optional, tag = "4")]
    int_value: Option<i64>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, tag = "10")]
    name: String,
}

/// Renders it. Times are the report's plus a constant, which the window's slice tells (`axis_offset_ns`).
pub fn render(report: &Report) -> Vec<u8> {
    let trace = trace::trace(report);
    let slices = trace.slices.iter().chain(&trace.instants).map(|slice| slice.start_ns);
    let earliest =
        slices.chain(trace.counters.iter().filter_map(|counter| Some(counter.points.first()?.0))).min();
    let offset = earliest.unwrap_or(0).min(0).saturating_neg();
    let mut packets = descriptors(&trace);
    if let Some(first) = packets.first_mut() {
        first.sequence_flags = Some(STATE_CLEARED);
    }
    let mut events = events(&trace, offset);
    // Stable: what ends at an instant ends before what begins there, and outer slices begin first.
    events.sort_by_key(|packet| packet.timestamp);
    packets.extend(events);
    Packets { packet: packets }.encode_to_vec()
}

fn process_uuid(process: Process) -> u64 {
    process as u64
}

fn track_uuid(track: usize) -> u64 {
    100 + track as u64
}

fn counter_uuid(trace: &Trace, counter: usize) -> u64 {
    track_uuid(trace.tracks.len() + counter)
}

fn descriptors(trace: &Trace) -> Vec<Packet> {
    let packet = |track_descriptor| Packet {
        trusted_packet_sequence_id: SEQUENCE,
        track_descriptor: Some(track_descriptor),
        ..Packet::default()
    };
    let processes = trace.processes.iter().map(|(process, name)| TrackDescriptor {
        uuid: process_uuid(*process),
        process: Some(ProcessDescriptor { pid: *process as i32, process_name: name.clone() }),
        child_ordering: Some(3),
        ..TrackDescriptor::default()
    });
    let tracks = trace.tracks.iter().enumerate().map(|(index, (process, name))| TrackDescriptor {
        uuid: track_uuid(index),
        name: Some(name.clone()),
        parent_uuid: Some(process_uuid(*process)),
        sibling_order_rank: i32::try_from(index).ok(),
        ..TrackDescriptor::default()
    });
    let counters = trace.counters.iter().enumerate().map(|(index, counter)| TrackDescriptor {
        uuid: counter_uuid(trace, index),
        name: Some(counter.name.clone()),
        parent_uuid: Some(process_uuid(counter.process)),
        counter: Some(CounterDescriptor { unit: 2 }),
        sibling_order_rank: i32::try_from(trace.tracks.len() + index).ok(),
        ..TrackDescriptor::default()
    });
    processes.chain(tracks).chain(counters).map(packet).collect()
}

fn events(trace: &Trace, offset: i64) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut push = |at_ns: i64, track_event| {
        packets.push(Packet {
            timestamp: u64::try_from(at_ns.saturating_add(offset)).ok(),
            trusted_packet_sequence_id: SEQUENCE,
            track_event: Some(track_event),
            ..Packet::default()
        });
    };
    // Tracks are written one by one; ends of the slices that are open in the one at hand.
    let mut open: Vec<i64> = Vec::new();
    let mut current = None;
    for slice in &trace.slices {
        let until = if current == Some(slice.track) { slice.start_ns } else { i64::MAX };
        close(&mut open, until, current, &mut push);
        current = Some(slice.track);
        push(slice.start_ns, event(slice, EventType::SliceBegin, offset));
        open.push(slice.start_ns.saturating_add(i64::try_from(slice.duration_ns).unwrap_or(i64::MAX)));
    }
    close(&mut open, i64::MAX, current, &mut push);
    for instant in &trace.instants {
        push(instant.start_ns, event(instant, EventType::Instant, offset));
    }
    for (index, counter) in trace.counters.iter().enumerate() {
        for (at_ns, total) in &counter.points {
            let event = TrackEvent {
                r#type: EventType::Counter.into(),
                track_uuid: counter_uuid(trace, index),
                counter_value: Some(*total),
                ..TrackEvent::default()
            };
            push(*at_ns, event);
        }
    }
    packets
}

/// Ends the slices of `track` that end at `until` or before.
fn close(open: &mut Vec<i64>, until: i64, track: Option<usize>, push: &mut impl FnMut(i64, TrackEvent)) {
    while let (Some(end), Some(track)) = (open.pop_if(|end| *end <= until), track) {
        let r#type = EventType::SliceEnd.into();
        push(end, TrackEvent { r#type, track_uuid: track_uuid(track), ..TrackEvent::default() });
    }
}

fn event(slice: &Slice, kind: EventType, offset: i64) -> TrackEvent {
    let mut notes: Vec<DebugAnnotation> =
        slice.details.iter().map(|(name, detail)| annotation(name, detail)).collect();
    if slice.category == "window" {
        notes.push(annotation("axis_offset_ns", &Detail::Number(offset)));
    }
    let (flow_ids, terminating_flow_ids) = match slice.flow {
        Some(Flow::Begin | Flow::Step) => (vec![KEXEC_FLOW], Vec::new()),
        Some(Flow::End) => (Vec::new(), vec![KEXEC_FLOW]),
        None => (Vec::new(), Vec::new()),
    };
    TrackEvent {
        debug_annotations: notes,
        r#type: kind.into(),
        track_uuid: track_uuid(slice.track),
        categories: vec![slice.category.clone()],
        name: Some(slice.name.clone()),
        counter_value: None,
        flow_ids,
        terminating_flow_ids,
    }
}

fn annotation(name: &str, detail: &Detail) -> DebugAnnotation {
    let mut annotation = DebugAnnotation { name: name.to_owned(), ..DebugAnnotation::default() };
    match detail {
        Detail::Text(text) => annotation.string_value = Some(text.clone()),
        Detail::Number(number) => annotation.int_value = Some(*number),
        Detail::Flag(flag) => annotation.bool_value = Some(*flag),
    }
    annotation
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        report::Span,
        testing::{report, span},
    };
    use proptest::prelude::*;

    /// (name, start, length) of every slice, as a reader of the trace finds them; times the report's.
    fn read(bytes: &[u8]) -> Vec<(String, i64, i64)> {
        let packets = Packets::decode(bytes).expect("our own fields").packet;
        let offset = packets
            .iter()
            .filter_map(|packet| packet.track_event.as_ref())
            .flat_map(|event| &event.debug_annotations)
            .find(|note| note.name == "axis_offset_ns")
            .and_then(|note| note.int_value)
            .expect("a window");
        let mut open: HashMap<u64, Vec<(String, i64)>> = HashMap::new();
        let (mut slices, mut last) = (Vec::new(), 0);
        for packet in packets {
            let Some(event) = packet.track_event else { continue };
            let time = packet.timestamp.expect("every event has a time");
            assert!(time >= last, "time goes back");
            last = time;
            let (at, stack) = (time as i64 - offset, open.entry(event.track_uuid).or_default());
            match event.r#type() {
                EventType::SliceBegin => stack.push((event.name.expect("a name"), at)),
                EventType::SliceEnd => {
                    let (name, start) = stack.pop().expect("a slice to end");
                    slices.push((name, start, at - start));
                }
                _ => {}
            }
        }
        assert!(open.values().all(Vec::is_empty), "a slice never ends");
        slices.sort();
        slices
    }

    proptest! {
        #[test]
        fn a_reader_finds_every_span_where_the_report_has_it(
            times in proptest::collection::vec((-900i64..900, 0u64..400, 0u32..3), 0..40)
        ) {
            let spans = times.iter().enumerate().map(|(index, (start, length, pid))| {
                Span { pid: Some(*pid), ..span(&format!("s{index}"), *start, *length) }
            });
            let spans: Vec<Span> = spans.collect();
            let mut expected: Vec<(String, i64, i64)> = spans
                .iter()
                .map(|span| (span.name.clone(), span.start_ns, span.duration_ns.unwrap_or(0) as i64))
                .chain([("first".into(), 0, 500), ("second".into(), 500, 500), ("blackout window (host)".into(), 0, 1_000)])
                .collect();
            expected.sort();
            prop_assert_eq!(read(&render(&report(spans))), expected);
        }
    }
}
