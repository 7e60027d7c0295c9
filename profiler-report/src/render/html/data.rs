//! What the page's script draws: the report's times, its spans as columns, and where each is drawn.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    render::{
        display,
        lanes::{self, Grouping, Item, Lane, Seat},
    },
    report::Report,
};

/// The whole of it. Times are nanoseconds from the start of the window; `null` is not known.
#[derive(Serialize)]
struct Data<'a> {
    window: Option<Window>,
    phases: Vec<Phase<'a>>,
    guests: Vec<Guest<'a>>,
    marks: Vec<Mark<'a>>,
    /// Every string of the spans, once.
    words: Vec<&'a str>,
    spans: Columns,
    groupings: [GroupingData; 2],
}

#[derive(Serialize)]
struct Window {
    duration: u64,
}

#[derive(Serialize)]
struct Phase<'a> {
    id: &'a str,
    title: &'a str,
    kernel: &'static str,
    start: i64,
    duration: u64,
    error: u64,
}

#[derive(Serialize)]
struct Guest<'a> {
    name: String,
    status: &'a str,
    /// Its own window first, then its vCPUs'.
    rows: Vec<(String, Option<i64>, Option<i64>)>,
}

#[derive(Serialize)]
struct Mark<'a> {
    name: &'a str,
    kind: &'static str,
    at: i64,
}

/// One entry a span, outer before inner; words by number.
#[derive(Default, Serialize)]
struct Columns {
    name: Vec<usize>,
    kind: Vec<usize>,
    subject: Vec<usize>,
    comm: Vec<Option<usize>>,
    start: Vec<i64>,
    duration: Vec<Option<u64>>,
    own: Vec<Option<u64>>,
    phase: Vec<Option<usize>>,
    cpu: Vec<Option<u32>>,
    pid: Vec<Option<u32>>,
    /// As text: 64 bits are more than a script's number holds.
    retval: Vec<Option<String>>,
    critical: Vec<u8>,
}

#[derive(Serialize)]
struct GroupingData {
    title: &'static str,
    lanes: Vec<LaneData>,
    lane: Vec<usize>,
    level: Vec<usize>,
}

#[derive(Serialize)]
struct LaneData {
    kernel: &'static str,
    title: String,
    levels: usize,
}

/// The data as JSON that may stand inside a `<script>` element.
///
/// # Errors
/// Serde's.
pub fn json(report: &Report) -> serde_json::Result<String> {
    let items = lanes::items(report);
    let mut words = Words::default();
    let spans = columns(&items, &mut words);
    let grouping = |title, by| {
        let (lanes, seats): (Vec<Lane>, Vec<Seat>) = lanes::seat(&items, by);
        let lanes = lanes.into_iter().map(|Lane { kernel, title, levels }| LaneData {
            kernel: display::kernel(kernel),
            title,
            levels,
        });
        GroupingData {
            title,
            lanes: lanes.collect(),
            lane: seats.iter().map(|seat| seat.lane).collect(),
            level: seats.iter().map(|seat| seat.level).collect(),
        }
    };
    let data = Data {
        window: report.window.as_ref().map(|window| Window { duration: window.duration_ns }),
        phases: phases(report),
        guests: guests(report),
        marks: marks(report),
        words: words.list,
        spans,
        groupings: [grouping("task", Grouping::Task), grouping("CPU", Grouping::Cpu)],
    };
    Ok(inert(&serde_json::to_string(&data)?))
}

/// JSON in which no HTML parser finds a tag, comment or reference; these characters stand only in strings.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[derive(Default)]
struct Words<'a> {
    list: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> usize {
        *self.numbers.entry(word).or_insert_with(|| {
            self.list.push(word);
            self.list.len() - 1
        })
    }
}

fn columns<'a>(items: &[Item<'a>], words: &mut Words<'a>) -> Columns {
    let mut columns = Columns::default();
    for item in items {
        let span = item.span;
        columns.name.push(words.number(&span.name));
        columns.kind.push(words.number(&span.kind));
        columns.subject.push(words.number(&span.subject));
        columns.comm.push(span.comm.as_deref().map(|comm| words.number(comm)));
        columns.start.push(span.start_ns);
        columns.duration.push(span.duration_ns);
        columns.own.push(span.self_ns);
        columns.phase.push(item.phase);
        columns.cpu.push(span.cpu);
        columns.pid.push(span.pid);
        columns.retval.push(span.retval.map(|value| value.to_string()));
        columns.critical.push(span.critical.into());
    }
    columns
}

fn phases(report: &Report) -> Vec<Phase<'_>> {
    report
        .phases
        .iter()
        .map(|phase| Phase {
            id: &phase.id,
            title: &phase.title,
            kernel: display::kernel(phase.kernel),
            start: phase.start_ns,
            duration: phase.duration_ns,
            error: phase.error_ns,
        })
        .collect()
}

fn guests(report: &Report) -> Vec<Guest<'_>> {
    let guest = |vm: &crate::report::Vm| {
        let own = (vm.name.clone(), vm.start_ns, vm.end_ns);
        let vcpus =
            vm.vcpus.iter().map(|vcpu| (format!("vCPU {}", vcpu.id), vcpu.last_exit_ns, vcpu.first_entry_ns));
        Guest {
            name: vm.name.clone(),
            status: display::status(vm.status),
            rows: std::iter::once(own).chain(vcpus).collect(),
        }
    };
    report.vms.iter().map(guest).collect()
}

fn marks(report: &Report) -> Vec<Mark<'_>> {
    let named = report.marks.iter().map(|mark| Mark { name: &mark.name, kind: "mark", at: mark.at_ns });
    let failed = report
        .failures
        .iter()
        .filter_map(|failure| Some(Mark { name: &failure.message, kind: "failure", at: failure.at_ns? }));
    named.chain(failed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{report, span};

    #[test]
    fn no_string_ends_the_script_and_every_one_survives() {
        let name = "</script><!--<script>&amp;";
        let json = json(&report(vec![span(name, 0, 5)])).unwrap();
        assert!(!json.contains(['<', '>', '&']));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value["words"].as_array().unwrap().iter().any(|word| word == name));
    }
}
