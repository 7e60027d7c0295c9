//! The window that is divided.

use super::Milestones;
use crate::{catalogue::Window, recording::Side, stitch::Moment};

/// Both ends of a window, and what they rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ends {
    /// Its start.
    pub start: Moment,
    /// Its end.
    pub end: Moment,
    /// What begins it, in words.
    pub starts_with: String,
    /// What ends it, in words.
    pub ends_with: String,
    /// How much of a window it is.
    pub kind: WindowKind,
}

/// How much of a window the evidence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Both ends are those of the definition.
    Whole,
    /// Both ends are as asked for, a guest's or marks': phases may lie outside.
    Chosen,
    /// The evidence starts late, or stops early: the true window is longer.
    Cut,
    /// `reboot(2)` came back: the window ends where it did.
    Returned,
}

/// The host window: reboot system call to the last finished session, as far as the evidence goes.
///
/// `first` and `last` are the evidence's own ends, taken where the definition's are missing;
/// `None` if there is no evidence at all.
pub fn host_window(
    definition: &Window,
    milestones: &Milestones,
    returned: Option<Moment>,
    incoming: Option<(Moment, Moment)>,
    outgoing_last: Option<Moment>,
) -> Option<Ends> {
    // The last one: user space may have called reboot(2) for other ends before.
    let start = milestones.last(&definition.begin, Side::Outgoing);
    if let (Some((milestone, start)), Some(end)) = (start, returned) {
        return Some(Ends {
            start,
            end: end.max(start),
            starts_with: milestone.to_string(),
            ends_with: "reboot(2) came back".to_owned(),
            kind: WindowKind::Returned,
        });
    }
    let end = milestones.last(&definition.end, Side::Incoming);
    let kind = if start.is_some() && end.is_some() { WindowKind::Whole } else { WindowKind::Cut };
    let (starts_with, start) = match (start, incoming) {
        (Some((milestone, start)), _) => (milestone.to_string(), start),
        (None, Some((first, _))) => ("first evidence of the incoming kernel".to_owned(), first),
        (None, None) => return None,
    };
    let (ends_with, end) = match (end, incoming) {
        (Some((milestone, end)), _) => (milestone.to_string(), end),
        (None, Some((_, last))) => ("last evidence of the incoming kernel".to_owned(), last),
        (None, None) => ("last evidence of the outgoing kernel".to_owned(), outgoing_last?),
    };
    Some(Ends { start, end: end.max(start), starts_with, ends_with, kind })
}
