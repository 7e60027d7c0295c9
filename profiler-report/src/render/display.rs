//! Words that several renderers share.

use super::lanes::{self, Item};
use crate::{
    catalogue::Place,
    report::{Handover, Outcome, Report, VmStatus},
};

/// `outgoing`, `jump`, `incoming`.
pub fn kernel(place: Place) -> &'static str {
    match place {
        Place::Outgoing => "outgoing",
        Place::Jump => "jump",
        Place::Incoming => "incoming",
    }
}

/// `complete`, `partial`, `failed`.
pub fn outcome(report: &Report) -> &'static str {
    match report.outcome {
        Outcome::Complete => "complete",
        Outcome::Partial => "partial",
        Outcome::Failed => "failed",
    }
}

/// `intact`, `rejected`, `absent`.
pub fn handover(report: &Report) -> &'static str {
    match report.handover {
        Handover::Intact => "intact",
        Handover::Rejected => "rejected",
        Handover::Absent => "absent",
    }
}

/// How much of a guest's window is known.
pub fn status(status: VmStatus) -> &'static str {
    match status {
        VmStatus::Measured => "measured",
        VmStatus::Bounded => "at most",
        VmStatus::NotResumed => "not resumed",
        VmStatus::ResumeUnknown => "resume unknown",
        VmStatus::StopUnknown => "stop unknown",
    }
}

/// `7.2.13 -> 7.3.4`; a kernel that is not known is `?`.
pub fn releases(report: &Report) -> String {
    let [from, to] = [&report.outgoing, &report.incoming]
        .map(|kernel| kernel.as_ref().map_or("?", |kernel| kernel.release.as_str()));
    format!("{from} -> {to}")
}

/// Where records can be lost, and how many were; `None` where the place did not exist in this run.
pub(crate) fn losses(report: &Report) -> Vec<(String, Option<u64>)> {
    let loss = &report.loss;
    let places = [
        ("live stream", loss.streamed),
        ("flight recorder", loss.flight_recorder),
        ("hot paths", loss.hot),
        ("boot trace", loss.boot_trace),
        ("kernel log", loss.kmsg),
        ("recording", Some(loss.recording)),
    ];
    let named =
        loss.per_probe.iter().map(|lost| (format!("{}: {}", lost.probe, lost.reason), Some(lost.count)));
    places.into_iter().map(|(place, count)| (place.to_owned(), count)).chain(named).collect()
}

/// One line for what was lost; `None` if nothing was.
pub(crate) fn lost(report: &Report) -> Option<String> {
    let counts =
        losses(report).into_iter().filter_map(|(place, count)| Some((place, count.filter(|n| *n > 0)?)));
    let words: Vec<String> = counts.map(|(place, count)| format!("{place} {count}")).collect();
    (!words.is_empty()).then(|| format!("LOST {} records: {}", report.loss.total(), words.join(", ")))
}

/// The spans of the window with the most time of their own.
pub(crate) fn largest(report: &Report, count: usize) -> Vec<Item<'_>> {
    let mut items = lanes::items(report);
    items.retain(|item| item.phase.is_some() && item.span.self_ns.unwrap_or(0) > 0);
    items.sort_by_key(|item| std::cmp::Reverse(item.span.self_ns));
    items.truncate(count);
    items
}

/// A span's name and whose it is.
pub(crate) fn name(item: &Item) -> String {
    let span = item.span;
    if span.subject.is_empty() { span.name.clone() } else { format!("{} [{}]", span.name, span.subject) }
}
