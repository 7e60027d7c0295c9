//! Every renderer over reports of real live updates, checked with parsers that are not ours.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::collections::HashMap;

use profiler_report::{
    render::{self, Format},
    report::{Report, Span},
    testing::rich,
};

const FIXTURES: [&str; 6] =
    ["plain", "stamped", "other-kernel", "freeze-fails", "no-flight-recorder", "rich"];
/// What else the snapshots show is the same again.
const SHOWN: [&str; 3] = ["plain", "freeze-fails", "rich"];

/// The report of a recording; `rich` is made in code.
fn build(name: &str) -> Report {
    if name == "rich" { rich::rich() } else { rich::fixture(name) }
}

/// The same with four spans a phase: the hundreds of initcalls say nothing that a few do not.
fn short(name: &str) -> Report {
    let mut report = build(name);
    report.phases.iter_mut().for_each(|phase| phase.spans.truncate(4));
    report.coverage.truncate(4);
    report
}

fn text(report: &Report, format: Format) -> String {
    String::from_utf8(render::render(report, format).unwrap()).unwrap()
}

fn count(spans: &[Span], which: &impl Fn(&Span) -> bool) -> usize {
    spans.iter().map(|span| usize::from(which(span)) + count(&span.spans, which)).sum()
}

fn spans_of_phases(report: &Report, which: &impl Fn(&Span) -> bool) -> usize {
    report.phases.iter().map(|phase| count(&phase.spans, which)).sum()
}

#[test]
fn snapshots() {
    for name in SHOWN {
        let report = short(name);
        for (format, kind) in [
            (Format::Markdown, "md"),
            (Format::Junit, "xml"),
            (Format::Folded, "folded"),
            (Format::Csv, "csv"),
        ] {
            if report.window.is_some() || format != Format::Folded {
                insta::assert_snapshot!(format!("{name}.{kind}"), text(&report, format));
            }
        }
        let chrome: serde_json::Value = serde_json::from_str(&text(&report, Format::Chrome)).unwrap();
        let events = chrome["traceEvents"].as_array().unwrap().iter().map(|event| event.to_string() + "\n");
        insta::assert_snapshot!(format!("{name}.chrome"), events.collect::<String>());
    }
}

#[test]
fn folded_stacks_add_up_to_the_window() {
    for name in FIXTURES {
        let report = build(name);
        let Some(window) = &report.window else { continue };
        let folded = text(&report, Format::Folded);
        let weights = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
        assert_eq!(weights.sum::<u64>(), window.duration_ns, "{name}");
    }
}

#[test]
fn junit_is_xml_with_a_case_for_each_phase() {
    for name in FIXTURES {
        let report = build(name);
        let junit = text(&report, Format::Junit);
        let document = roxmltree::Document::parse(&junit).unwrap();
        let with = |tag: &str| document.descendants().filter(|node| node.has_tag_name(tag)).count();
        assert_eq!(with("testcase"), report.phases.len() + 1, "{name}");
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!(suite.attribute("tests"), Some((report.phases.len() + 1).to_string().as_str()));
        let cases_with = |tag: &str| {
            let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
            cases.filter(|case| case.children().any(|node| node.has_tag_name(tag))).count().to_string()
        };
        assert_eq!(suite.attribute("failures"), Some(cases_with("failure").as_str()), "{name}");
        assert_eq!(suite.attribute("skipped"), Some(cases_with("skipped").as_str()), "{name}");
    }
}

#[test]
fn csv_has_a_line_for_each_thing_and_its_phases_add_up() {
    for name in FIXTURES {
        let report = build(name);
        let csv = render::render(&report, Format::Csv).unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let head = reader.headers().unwrap().clone();
        let lines: Vec<HashMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
        assert!(lines.iter().all(|line| line.len() == head.len()));
        let of = |record: &str| lines.iter().filter(|line| line["record"] == record).collect::<Vec<_>>();
        let spans = spans_of_phases(&report, &|_| true) + count(&report.brownout, &|_| true);
        assert_eq!((of("phase").len(), of("span").len()), (report.phases.len(), spans), "{name}");
        let sum: u64 = of("phase").iter().map(|line| line["duration_ns"].parse::<u64>().unwrap()).sum();
        assert_eq!(
            of("window")[0]["duration_ns"],
            if report.window.is_some() { sum.to_string() } else { String::new() }
        );
    }
}

/// The number that a text begins with; serde_json's own reading may be off by the last bit.
fn number(text: &str) -> f64 {
    text.split([',', '}']).next().unwrap().parse().unwrap()
}

/// What trace viewers require: within a thread, events nest, in the viewers' own arithmetic (DevTools drops
/// what overlaps by a rounding error).
#[test]
fn chrome_events_nest_in_their_threads() {
    for name in FIXTURES {
        let trace = text(&build(name), Format::Chrome);
        let mut threads: HashMap<(u64, u64), Vec<(f64, f64)>> = HashMap::new();
        // An event's keys are sorted: its length stands before its kind, the others behind it.
        let parts: Vec<&str> = trace.split("\"ph\":\"X\"").collect();
        for pair in parts.windows(2) {
            let (_, length) = pair[0].rsplit_once("\"dur\":").unwrap();
            let [pid, tid, start] =
                ["pid", "tid", "ts"].map(|key| number(pair[1].split_once(&format!("\"{key}\":")).unwrap().1));
            threads.entry((pid as u64, tid as u64)).or_default().push((start, start + number(length)));
        }
        assert!(!threads.is_empty(), "{name}");
        for events in threads.values_mut() {
            events.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
            let mut open: Vec<f64> = Vec::new();
            for (start, end) in events {
                open.retain(|other| other > start);
                assert!(open.iter().all(|other| *end <= *other), "{name}: {start} to {end}");
                open.push(*end);
            }
        }
    }
}

#[test]
fn hlog_holds_every_call_that_has_a_duration() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        },
    };
    for name in FIXTURES {
        let report = build(name);
        let log = render::render(&report, Format::Hlog).unwrap();
        let mut calls = 0;
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                assert!(interval.tag().unwrap().as_str().contains('/'));
                calls += histogram.len();
            }
        }
        let counted: u64 = report.hot.iter().map(|hot| hot.count).sum();
        assert_eq!(
            calls,
            counted + spans_of_phases(&report, &|span| span.duration_ns.is_some()) as u64,
            "{name}"
        );
    }
}

#[test]
fn every_rendering_shows_what_was_lost() {
    let report = rich::rich();
    assert_eq!(report.loss.total(), 5);
    let formats = [
        Format::Chrome,
        Format::Folded,
        Format::Markdown,
        Format::Junit,
        Format::Hlog,
        Format::Html,
        Format::Perfetto,
    ];
    for format in formats {
        let rendered = render::render(&report, format).unwrap();
        let told = b"LOST 5 records";
        assert!(rendered.windows(told.len()).any(|part| part == told), "{format:?}");
    }
    assert!(text(&report, Format::Text).contains("flight recorder 3"));
    assert!(text(&report, Format::Csv).contains("loss,,,flight recorder,,,,,,,3,"));
    assert!(text(&report, Format::Json).contains("\"flight_recorder\": 3"));
}

/// Characters that could steer a terminal, reorder a line or hide in it.
fn is_hostile(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || c.is_control() && c != '\n'
}

#[test]
fn hostile_strings_come_out_harmless() {
    let mut report = short("plain");
    let name = "\x1b[2J\u{202e}</script><img src=x onerror=alert(1)>\u{2028}\r\n| `x` ]]>,\"';=1 \u{9b}";
    for phase in &mut report.phases {
        phase.title = name.to_owned();
        for span in &mut phase.spans {
            (span.name, span.subject, span.comm) =
                (name.to_owned(), "A".repeat(1 << 20), Some(name.to_owned()));
        }
    }
    report.run.host = name.to_owned();
    report.notes.push(name.to_owned());
    let formats = [
        Format::Text,
        Format::Folded,
        Format::Markdown,
        Format::Junit,
        Format::Hlog,
        Format::Csv,
        Format::Chrome,
        Format::Html,
    ];
    for format in formats {
        let rendered = text(&report, format);
        assert!(!rendered.contains(is_hostile), "{format:?}");
        assert!(!rendered.contains(&"A".repeat(5_000)), "{format:?}");
    }
    let tag = |format| text(&report, format).contains("<img");
    assert!(!tag(Format::Markdown) && !tag(Format::Junit));
    roxmltree::Document::parse(&text(&report, Format::Junit)).unwrap();
}

/// A page's tags in their order, without what is between them.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|tail| tail.split([' ', '>', '\n']).next()).collect()
}

fn block<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    page.split_once(from).unwrap().1.split_once(to).unwrap().0
}

const DATA: &str = "<script type=\"application/json\" id=\"data\">";

#[test]
fn a_page_has_the_same_tags_whatever_the_names_are() {
    let named = |name: &str| {
        let mut report = short("plain");
        for phase in &mut report.phases {
            (phase.title, phase.begins_with) = (name.to_owned(), name.to_owned());
            for span in &mut phase.spans {
                (span.name, span.subject, span.kind) = (name.to_owned(), name.to_owned(), name.to_owned());
                span.comm = Some(name.to_owned());
            }
        }
        for probe in &mut report.coverage {
            (probe.probe, probe.reason) = (name.to_owned(), Some(name.to_owned()));
        }
        (report.run.host, report.notes) = (name.to_owned(), vec![name.to_owned()]);
        if let Some(kernel) = &mut report.incoming {
            kernel.cmdline = name.to_owned();
        }
        text(&report, Format::Html)
    };
    let plain = named("plain");
    for hostile in [
        "</script><script>alert(1)</script>",
        "<!--",
        "]]><img src=x>",
        "{{data}}",
        "&lt;b&gt;<b>",
        "\"'><svg/onload=x>",
    ] {
        let page = named(hostile);
        assert_eq!(tags(&page), tags(&plain), "{hostile}");
        let data: serde_json::Value = serde_json::from_str(block(&page, DATA, "</script>")).unwrap();
        assert!(data["words"].as_array().unwrap().iter().any(|word| word == hostile), "{hostile}");
    }
}

#[test]
fn pages() {
    for name in SHOWN {
        let page = text(&short(name), Format::Html);
        let data: serde_json::Value = serde_json::from_str(block(&page, DATA, "</script>")).unwrap();
        let mut lines = String::new();
        for (part, value) in data.as_object().unwrap() {
            lines += &match value {
                serde_json::Value::Object(columns) => columns
                    .iter()
                    .map(|(column, values)| format!("{part}.{column} {values}\n"))
                    .collect::<String>(),
                value => format!("{part} {value}\n"),
            };
        }
        insta::assert_snapshot!(format!("{name}.html-data"), lines);
        // Style and script are files of their own, and the policy holds their digests.
        let body = block(&page, "<body>", DATA);
        insta::assert_snapshot!(format!("{name}.html-body"), body);
        assert_eq!(page.matches("<script").count(), 2);
        assert!(!page.contains(" style=") && !page.contains("http:") && !page.contains("https:"));
    }
}
