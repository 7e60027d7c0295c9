//! Pages of a real kernel against its own text.
//!
//! `fixtures/` holds one page each of two buffers of Linux 7.3.4 in QEMU, and what the kernel's `trace`
//! file said of the same records (option `sym-addr`; columns before the time cut off): `boot` on clock
//! `x86-tsc` with the function tracer and initcalls, `flight` on `local` with markers, kprobes and a
//! BPF program's lines, after its ring had wrapped 1034 events.

use super::trace::{CpuPages, ProbePoint, Trace, TraceKind, Value, decode};
use crate::recording::frame::TraceBuffer;

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:0;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
";

fn decode_page(page: &[u8]) -> Trace {
    let formats = include_str!("fixtures/formats.txt").split("# ").skip(1);
    let formats = formats.map(|text| format!("# {text}")).collect();
    let buffer = TraceBuffer { header_page: HEADER_PAGE.into(), formats, ..TraceBuffer::default() };
    decode(&buffer, [CpuPages { cpu: 0, page_size: 4096, blob: page }]).unwrap()
}

/// Whether `event` is what the kernel printed as `text`.
fn agrees(event: &TraceKind, text: &str) -> bool {
    match event {
        TraceKind::Function { ip, parent_ip } => {
            text.contains(&format!(" <{ip:x}> <-")) && text.ends_with(&format!(" <{parent_ip:x}>"))
        }
        TraceKind::Print { text: line } => text.split_once(">: ").is_some_and(|(_, text)| text == line),
        TraceKind::InitcallLevel { level } => text == format!("initcall_level: level={level}"),
        // The kernel prints a symbol, and no page says where it is.
        TraceKind::InitcallStart { func } => {
            text.starts_with("initcall_start: ") && func >> 31 == 0x1_ffff_ffff
        }
        TraceKind::InitcallFinish { func, ret } => {
            text.starts_with("initcall_finish: ")
                && func >> 31 == 0x1_ffff_ffff
                && text.ends_with(&format!(" ret={ret}"))
        }
        TraceKind::BpfPrintk { text: line } => text == format!("bpf_trace_printk: {line}"),
        TraceKind::Kprobe { name, point, ip, args } => {
            let args = args.iter().map(|(name, value)| match value {
                Value::Signed(value) => format!("{name}={value}"),
                Value::Unsigned(value) => format!("{name}=0x{value:x}"),
                Value::Text(value) => format!("{name}=\"{value}\""),
            });
            let place = match point {
                ProbePoint::Entry => format!(" <{ip:x}>) "),
                ProbePoint::Return => format!(" <- do_sys_openat2 <{ip:x}>) "),
            };
            text.starts_with(&format!("{name}: ("))
                && text.contains(&(place + &args.collect::<Vec<_>>().join(" ")))
        }
        TraceKind::Console { .. } | TraceKind::Other { .. } => false,
    }
}

/// Compares a page with its text; `in_text` turns a record's time into the text's.
fn check(trace: &Trace, text: &str, in_text: impl Fn(u64) -> String) {
    assert_eq!(trace.events.len(), text.lines().count());
    for (event, line) in trace.events.iter().zip(text.lines()) {
        let (ts, what) = line.split_once(": ").unwrap();
        assert_eq!(in_text(event.ts), ts, "{line}");
        assert!(agrees(&event.event, what), "{:?}\n{what}", event.event);
    }
}

#[test]
fn boot_tracer() {
    let trace = decode_page(include_bytes!("fixtures/boot.page"));
    assert!(trace.loss.is_none(), "{:?}", trace.loss);
    check(&trace, include_str!("fixtures/boot.trace"), |ticks| ticks.to_string());
}

#[test]
fn flight_recorder() {
    let trace = decode_page(include_bytes!("fixtures/flight.page"));
    assert_eq!((trace.loss.missed_events, trace.loss.missed_unknown, trace.loss.damaged_pages), (1034, 0, 0));
    // `ns2usecs` rounds.
    let micros = |ns: u64| format!("{}.{:06}", (ns + 500) / 1_000_000_000, (ns + 500) / 1000 % 1_000_000);
    check(&trace, include_str!("fixtures/flight.trace"), micros);
}
