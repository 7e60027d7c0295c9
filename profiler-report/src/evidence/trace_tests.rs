use super::*;
use crate::evidence::testing::PageWriter;
use proptest::prelude::*;

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
";

fn format(path: &str, id: u16, fields: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    format!(
        "# {path}\nname: {name}\nID: {id}\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n{fields}\n\nprint fmt: \"\"\n"
    )
}

fn buffer() -> TraceBuffer {
    let u64_at = |name: &str, offset: usize| {
        format!("\tfield:unsigned long {name};\toffset:{offset};\tsize:8;\tsigned:0;\n")
    };
    let loc = |name: &str, offset: usize| {
        format!("\tfield:__data_loc char[] {name};\toffset:{offset};\tsize:4;\tsigned:0;\n")
    };
    let int =
        |name: &str, offset: usize| format!("\tfield:int {name};\toffset:{offset};\tsize:4;\tsigned:1;\n");
    let formats = vec![
        format("ftrace/function", 1, &(u64_at("ip", 8) + &u64_at("parent_ip", 16))),
        format(
            "ftrace/print",
            5,
            &(u64_at("ip", 8) + "\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n"),
        ),
        format("initcall/initcall_start", 60, &u64_at("func", 8)),
        format("initcall/initcall_finish", 61, &(u64_at("func", 8) + &int("ret", 16))),
        format("bpf_trace/bpf_trace_printk", 300, &loc("bpf_string", 8)),
        format("kprobes/luo_in", 900, &(u64_at("__probe_ip", 8) + &u64_at("token", 16) + &loc("name", 24))),
        format(
            "kprobes/luo_out",
            901,
            &(u64_at("__probe_func", 8) + &u64_at("__probe_ret_ip", 16) + &int("ret", 24)),
        ),
        format("sched/sched_switch", 400, ""),
    ];
    TraceBuffer { name: "boot".into(), clock: "x86-tsc".into(), header_page: HEADER_PAGE.into(), formats }
}

fn record(id: u16, rest: &[&[u8]]) -> Vec<u8> {
    let mut record = id.to_le_bytes().to_vec();
    record.extend([0, 0]);
    record.extend(42i32.to_le_bytes());
    record.extend(rest.concat());
    record
}

fn decode_pages(pages: &[(u32, Vec<u8>)]) -> Trace {
    let pages = pages.iter().map(|(cpu, blob)| CpuPages { cpu: *cpu, page_size: 4096, blob });
    decode(&buffer(), pages).unwrap()
}

#[test]
fn types_every_event_and_merges_cpus() {
    let word = 0xffff_ffff_8100_0010u64.to_le_bytes();
    let mut first = PageWriter::new(100);
    first
        .data(0, &record(1, &[&word, &7u64.to_le_bytes()]))
        .data(20, &record(60, &[&word]))
        .data(20, &record(61, &[&word, &(-19i32).to_le_bytes()]));
    let mut second = PageWriter::new(110);
    second
        .data(0, &record(5, &[&word, b"blackout:M:1:pause\n\0"]))
        .data(20, &record(300, &[&(4u32 << 16 | 12).to_le_bytes(), b"<1 \0"]))
        .data(1, &record(900, &[&word, &5u64.to_le_bytes(), &(3u32 << 16 | 28).to_le_bytes(), b"vm\0"]))
        .data(1, &record(901, &[&word, &9u64.to_le_bytes(), &(-2i32).to_le_bytes()]))
        .data(50, &record(400, &[]));
    let trace = decode_pages(&[(0, first.page(0, None)), (3, second.page(0, None))]);
    assert!(trace.loss.is_none(), "{:?}", trace.loss);
    let ip = u64::from_le_bytes(word);
    let expected = [
        (100, 0, TraceKind::Function { ip, parent_ip: 7 }),
        (110, 3, TraceKind::Print { text: "blackout:M:1:pause".into() }),
        (120, 0, TraceKind::InitcallStart { func: ip }),
        (130, 3, TraceKind::BpfPrintk { text: "<1 ".into() }),
        (
            131,
            3,
            TraceKind::Kprobe {
                name: "luo_in".into(),
                point: ProbePoint::Entry,
                ip,
                args: vec![("token".into(), Value::Unsigned(5)), ("name".into(), Value::Text("vm".into()))],
            },
        ),
        (
            132,
            3,
            TraceKind::Kprobe {
                name: "luo_out".into(),
                point: ProbePoint::Return,
                ip,
                args: vec![("ret".into(), Value::Signed(-2))],
            },
        ),
        (140, 0, TraceKind::InitcallFinish { func: ip, ret: -19 }),
        (182, 3, TraceKind::Other { name: "sched:sched_switch".into(), args: vec![] }),
    ];
    let expected = expected.map(|(ts, cpu, event)| TraceEvent { ts, cpu, pid: 42, event });
    assert_eq!(trace.events, expected);
}

#[test]
fn counts_what_it_cannot_give() {
    let mut page = PageWriter::new(0);
    page.data(1, &record(1484, &[])).data(1, &record(1, &[&[1; 8]])).data(1, &record(1484, &[]));
    let mut pages = page.page((1 << 31) | (1 << 30), Some(12));
    pages.extend(page.page(1 << 31, None));
    let cut = pages.len() - 4096 + 40;
    let mut text = buffer();
    text.formats.push("name: broken\n".into());
    let trace = decode(&text, [CpuPages { cpu: 1, page_size: 4096, blob: &pages[..cut] }]).unwrap();
    assert_eq!(trace.events, []);
    let loss = trace.loss;
    assert_eq!(
        (loss.missed_events, loss.missed_unknown, loss.damaged_pages, loss.short_records),
        (12, 1, 1, 1)
    );
    assert_eq!(loss.unknown, BTreeMap::from([(1484, 3)]));
    assert_eq!(
        loss.problems,
        [
            "format of trace event `broken` has no usable `ID:` line",
            "buffer `boot`, CPU 1, page 1: page claims 44 bytes of events and has room for 24",
        ]
    );
}

#[test]
fn an_event_of_another_system_is_not_taken_for_ours() {
    let mut text = buffer();
    text.formats = vec![format("someone/console", 8, "")];
    let page = PageWriter::new(0).data(1, &record(8, &[])).page(0, None);
    let trace = decode(&text, [CpuPages { cpu: 0, page_size: 4096, blob: &page }]).unwrap();
    assert_eq!(trace.events[0].event, TraceKind::Other { name: "someone:console".into(), args: vec![] });
}

#[test]
fn needs_a_page_layout() {
    let error = decode(&TraceBuffer::default(), []).unwrap_err();
    assert!(error.to_string().contains("header_page"), "{error}");
}

proptest! {
    #[test]
    fn any_pages_decode(blob in proptest::collection::vec(any::<u8>(), 0..500), page_size in 0u32..200) {
        let trace = decode(&buffer(), [CpuPages { cpu: 0, page_size, blob: &blob }]).unwrap();
        prop_assert!(trace.events.len() <= blob.len());
        prop_assert!(trace.loss.problems.len() <= MAX_PROBLEMS);
    }
}
