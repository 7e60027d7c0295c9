//! A report's spans as rows of a table, and as lanes of a timeline.

use std::collections::BTreeMap;

use profiler_report::{
    catalogue::Place,
    report::{Report, Span},
};

/// A span with where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The span.
    pub span: &'a Span,
    /// Id of its phase; empty before the window.
    pub phase: &'a str,
    /// Its kernel.
    pub kernel: Place,
}

/// Order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By own time, the longest first.
    Own,
    /// By total time, the longest first.
    Total,
    /// By begin.
    Start,
    /// By name.
    Name,
}

impl Order {
    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Own => Self::Total,
            Self::Total => Self::Start,
            Self::Start => Self::Name,
            Self::Name => Self::Own,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own time",
            Self::Total => "total time",
            Self::Start => "begin",
            Self::Name => "name",
        }
    }
}

/// Every span, those inside others too.
pub fn all(report: &Report) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    flatten(&report.brownout, "", Place::Outgoing, &mut rows);
    for phase in &report.phases {
        flatten(&phase.spans, &phase.id, phase.kernel, &mut rows);
    }
    rows
}

fn flatten<'a>(spans: &'a [Span], phase: &'a str, kernel: Place, rows: &mut Vec<Row<'a>>) {
    for span in spans {
        rows.push(Row { span, phase, kernel });
        flatten(&span.spans, phase, kernel, rows);
    }
}

/// The rows that hold `filter` anywhere, in order.
pub fn table<'a>(report: &'a Report, filter: &str, order: Order, reverse: bool) -> Vec<Row<'a>> {
    let filter = filter.to_lowercase();
    let mut rows = all(report);
    rows.retain(|row| filter.is_empty() || row.matches(&filter));
    match order {
        Order::Own => rows.sort_by_key(|row| std::cmp::Reverse(row.span.self_ns)),
        Order::Total => rows.sort_by_key(|row| std::cmp::Reverse(row.span.duration_ns)),
        Order::Start => rows.sort_by_key(|row| row.span.start_ns),
        Order::Name => rows.sort_by(|a, b| a.span.name.cmp(&b.span.name)),
    }
    if reverse {
        rows.reverse();
    }
    rows
}

impl Row<'_> {
    /// Whether any of its texts holds the lower-case `filter`.
    fn matches(&self, filter: &str) -> bool {
        let span = self.span;
        let texts = [&span.name, &span.kind, &span.subject, span.comm.as_ref().unwrap_or(&span.kind)];
        texts.iter().any(|text| text.to_lowercase().contains(filter)) || self.phase.contains(filter)
    }
}

/// One lane: rows of spans that do not overlap, callers above callees.
#[derive(Debug)]
pub struct Lane<'a> {
    /// What it is of.
    pub label: String,
    /// Its kernel.
    pub kernel: Place,
    /// Spans by depth, each by begin.
    pub rows: Vec<Vec<Row<'a>>>,
}

/// Spans in lanes of each kernel: by CPU, or by task.
pub fn lanes<'a>(report: &'a Report, filter: &str, by_cpu: bool) -> Vec<Lane<'a>> {
    let mut groups: BTreeMap<(Place, Option<u32>), Vec<Row>> = BTreeMap::new();
    for row in table(report, filter, Order::Start, false) {
        let key = if by_cpu { row.span.cpu } else { row.span.pid };
        groups.entry((row.kernel, key)).or_default().push(row);
    }
    groups.into_iter().map(|((kernel, key), rows)| lane(kernel, key, rows, by_cpu)).collect()
}

fn lane(kernel: Place, key: Option<u32>, mut spans: Vec<Row<'_>>, by_cpu: bool) -> Lane<'_> {
    let number = key.map_or("?".to_owned(), |key| key.to_string());
    let comm = spans.iter().find_map(|row| row.span.comm.as_deref());
    let label = match comm {
        _ if by_cpu => format!("cpu {number}"),
        Some(comm) => format!("{number} {comm}"),
        None => format!("task {number}"),
    };
    let end = |row: &Row| row.span.start_ns.saturating_add_unsigned(row.span.duration_ns.unwrap_or(0));
    spans.sort_by_key(|row| (row.span.start_ns, std::cmp::Reverse(end(row))));
    let mut rows: Vec<Vec<Row>> = Vec::new();
    // In each row the end of its last span: a span goes to the first row that is free.
    let mut ends: Vec<i64> = Vec::new();
    for span in spans {
        let depth = ends.iter().position(|end| *end <= span.span.start_ns).unwrap_or(ends.len());
        if depth == ends.len() {
            ends.push(0);
            rows.push(Vec::new());
        }
        if let (Some(last), Some(row)) = (ends.get_mut(depth), rows.get_mut(depth)) {
            *last = end(&span).max(span.span.start_ns.saturating_add(1));
            row.push(span);
        }
    }
    Lane { label, kernel, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_report::{recording::read, report};

    fn plain() -> Report {
        report::build(&read(include_bytes!("../../../fixtures/plain.blackout")).unwrap()).unwrap()
    }

    #[test]
    fn a_lanes_rows_do_not_overlap_and_lose_nothing() {
        let report = plain();
        for by_cpu in [false, true] {
            let lanes = lanes(&report, "", by_cpu);
            let spans: usize = lanes.iter().flat_map(|lane| &lane.rows).map(Vec::len).sum();
            assert_eq!(spans, all(&report).len());
            for row in lanes.iter().flat_map(|lane| &lane.rows) {
                for pair in row.windows(2) {
                    let end = pair[0].span.start_ns + pair[0].span.duration_ns.unwrap_or(0) as i64;
                    assert!(end <= pair[1].span.start_ns);
                }
            }
        }
    }

    #[test]
    fn the_filter_looks_everywhere() {
        let report = plain();
        for filter in ["svm_init", "SVM_", "session lab-0", "device-shutdown", "initcall"] {
            assert!(!table(&report, filter, Order::Own, false).is_empty(), "{filter}");
        }
        assert!(table(&report, "no such thing", Order::Own, false).is_empty());
        let own = table(&report, "", Order::Own, false);
        assert!(own.windows(2).all(|pair| pair[0].span.self_ns >= pair[1].span.self_ns));
    }
}
