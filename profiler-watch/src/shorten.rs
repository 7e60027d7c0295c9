//! A report that fits a line.

use profiler_report::report::{Report, Span};

use super::message::{MAX_LINE_BYTES, Message};

/// The message of a report, without its shortest spans if it would be longer than readers take.
pub fn shorten(report: Report) -> Message {
    shorten_to(report, MAX_LINE_BYTES)
}

fn shorten_to(report: Report, max_bytes: usize) -> Message {
    let mut durations = Vec::new();
    for spans in report.phases.iter().map(|phase| &phase.spans).chain([&report.brownout]) {
        lengths(spans, &mut durations);
    }
    durations.sort_unstable_by(|a, b| b.cmp(a));
    let mut message = Message::Report { report: Box::new(report), spans_left_out: 0 };
    let mut keep = durations.len();
    while keep > 0 && message.line().is_none_or(|line| line.len() > max_bytes) {
        keep /= 2;
        let Message::Report { report, spans_left_out } = &mut message else { break };
        // Of equally long ones some more than `keep` may stay; the next round takes them.
        let least = if keep == 0 { u64::MAX } else { durations.get(keep).map_or(0, |ns| ns + 1) };
        let phases = report.phases.iter_mut().map(|phase| &mut phase.spans);
        for spans in phases.chain([&mut report.brownout]) {
            *spans_left_out += prune(spans, least);
        }
    }
    message
}

fn lengths(spans: &[Span], into: &mut Vec<u64>) {
    for span in spans {
        into.push(span.duration_ns.unwrap_or(0));
        lengths(&span.spans, into);
    }
}

/// Takes out what is shorter than `least_ns`, with all that is inside; how many that were.
fn prune(spans: &mut Vec<Span>, least_ns: u64) -> u64 {
    let mut gone = 0;
    spans.retain_mut(|span| {
        if span.duration_ns.unwrap_or(0) < least_ns {
            gone += count(std::slice::from_ref(span));
            return false;
        }
        gone += prune(&mut span.spans, least_ns);
        true
    });
    gone
}

fn count(spans: &[Span]) -> u64 {
    spans.iter().map(|span| 1 + count(&span.spans)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_report::{recording::read, report};

    #[test]
    fn the_shortest_go_first_and_are_counted() {
        let bytes = include_bytes!("../../fixtures/plain.blackout");
        let report = report::build(&read(bytes).unwrap()).unwrap();
        let all = |report: &Report| -> u64 {
            report.phases.iter().map(|phase| count(&phase.spans)).sum::<u64>() + count(&report.brownout)
        };
        let (before, window) = (all(&report), report.window.clone());
        let whole = shorten_to(report.clone(), MAX_LINE_BYTES);
        assert!(matches!(whole, Message::Report { spans_left_out: 0, .. }));

        let Message::Report { report: short, spans_left_out } = shorten_to(report, 60_000) else { panic!() };
        assert_eq!(all(&short) + spans_left_out, before);
        assert!(spans_left_out > 0 && all(&short) > 0);
        assert_eq!(short.window, window);
        let longest = |report: &Report| {
            let mut lengths_ns = Vec::new();
            report.phases.iter().for_each(|phase| lengths(&phase.spans, &mut lengths_ns));
            lengths_ns.into_iter().max()
        };
        assert!(longest(&short) >= Some(100_000_000));
    }
}
