//! Divides a window into phases, completely.

use super::{Ends, Milestones, WindowKind};
use crate::{
    catalogue::{Milestone, Phase, Place},
    stitch::Moment,
};

/// Id of a cell that no evidence covers.
pub const UNOBSERVED: &str = "unobserved";

/// One cell of the partition: it begins where the one before it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Phase id, or [`UNOBSERVED`].
    pub id: String,
    /// For a person.
    pub title: String,
    /// Whose time it is.
    pub place: Place,
    /// Its begin.
    pub begin: Moment,
    /// Its end.
    pub end: Moment,
    /// What begins it, in words.
    pub begins_with: String,
}

/// A phase whose begin was seen, and the phases that were expected between it and the next one seen.
struct Border<'a> {
    phase: &'a Phase,
    at: Moment,
    milestone: &'a Milestone,
    missing: Vec<&'a Phase>,
}

/// Divides the window. The cells fill it without hole or overlap; time that no evidence covers is a
/// cell of its own and never a neighbour's.
pub fn partition(phases: &[Phase], milestones: &Milestones, window: &Ends) -> Vec<Cell> {
    let (missing_first, borders) = borders(phases, milestones, window);
    let mut cells = Cells { list: Vec::new(), cursor: window.start };
    if let Some(first) = borders.first() {
        // Before the first border: only if the window itself starts with something else.
        let titles = titles(None, &missing_first);
        cells.push(UNOBSERVED, &titles, first.phase.kernel, first.at, &window.starts_with);
    } else {
        cells.push(UNOBSERVED, "no milestone was seen", Place::Incoming, window.end, &window.starts_with);
    }
    for (index, border) in borders.iter().enumerate() {
        let next = borders.get(index + 1);
        let until = next.map_or(window.end, |next| next.at);
        let Phase { id, title, kernel, end, .. } = border.phase;
        let begins_with = border.milestone.to_string();
        // What was cut off behind the last border was never expected.
        let cut = next.is_none() && window.kind != WindowKind::Whole;
        if border.missing.is_empty() || cut {
            cells.push(id, title, *kernel, until, &begins_with);
            continue;
        }
        let own_end = end.iter().find_map(|milestone| {
            let mut within = milestones.occurrences(milestone, None).into_iter();
            let end = within.rfind(|at| (border.at.ticks..=until.ticks).contains(&at.ticks))?;
            Some((milestone, end))
        });
        match own_end {
            Some((milestone, own_end)) => {
                cells.push(id, title, *kernel, own_end, &begins_with);
                let titles = titles(None, &border.missing);
                cells.push(UNOBSERVED, &titles, *kernel, until, &milestone.to_string());
            }
            None => {
                let titles = titles(Some(border.phase), &border.missing);
                cells.push(UNOBSERVED, &titles, *kernel, until, &begins_with);
            }
        }
    }
    cells.list
}

/// The borders that were seen, in order, and the phases that are missing before the first.
fn borders<'a>(
    phases: &'a [Phase],
    milestones: &Milestones,
    window: &Ends,
) -> (Vec<&'a Phase>, Vec<Border<'a>>) {
    let seen = |milestone: &Milestone| !milestones.occurrences(milestone, None).is_empty();
    let mut borders: Vec<Border> = Vec::new();
    let mut missing_first = Vec::new();
    let mut cursor = window.start.ticks;
    for phase in phases {
        if phase.needs.as_ref().is_some_and(|m| !seen(m)) || phase.unless.as_ref().is_some_and(seen) {
            continue;
        }
        let after = phase.after.as_ref().and_then(|milestone| {
            let all = milestones.occurrences(milestone, None);
            all.into_iter().map(|at| at.ticks).rfind(|at| (cursor..window.end.ticks).contains(at))
        });
        let from = after.unwrap_or(cursor);
        let found = phase.begin.iter().find_map(|milestone| {
            let all = milestones.occurrences(milestone, None);
            let at = all.into_iter().find(|at| (from..window.end.ticks).contains(&at.ticks))?;
            Some((milestone, at))
        });
        match (found, borders.last_mut()) {
            (Some((milestone, at)), _) => {
                cursor = at.ticks;
                borders.push(Border { phase, at, milestone, missing: Vec::new() });
            }
            (None, _) if phase.optional => {}
            (None, Some(border)) => border.missing.push(phase),
            (None, None) => missing_first.push(phase),
        }
    }
    (missing_first, borders)
}

fn titles(first: Option<&Phase>, missing: &[&Phase]) -> String {
    let all: Vec<&str> =
        first.into_iter().chain(missing.iter().copied()).map(|phase| phase.title.as_str()).collect();
    if all.is_empty() { "before the first milestone".to_owned() } else { all.join("; ") }
}

/// Cells that follow one another.
struct Cells {
    list: Vec<Cell>,
    cursor: Moment,
}

impl Cells {
    /// Adds the cell from the cursor to `end`; an empty one is left out.
    fn push(&mut self, id: &str, title: &str, place: Place, end: Moment, begins_with: &str) {
        let begin = self.cursor;
        if end.ticks <= begin.ticks {
            return;
        }
        self.cursor = end;
        let (id, title, begins_with) = (id.to_owned(), title.to_owned(), begins_with.to_owned());
        self.list.push(Cell { id, title, place, begin, end, begins_with });
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
