//! Divides a window into phases, completely.

use super::{Ends, Milestones, WindowKind};
use crate::{
    catalogue::{CATALOGUE, Milestone, Phase, Place},
    recording::Side,
    stitch::Moment,
};

/// Id of a cell that no evidence covers.
pub const UNOBSERVED: &str = "unobserved";

/// Id of the cell between the begin of a chosen window and the first phase.
pub const OPENING: &str = "opening";

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
    /// No span is expected to divide it.
    pub leaf: bool,
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
    let Borders { running, missing_first, list: borders } = borders(phases, milestones, window);
    let mut cells = Cells { list: Vec::new(), cursor: window.start };
    let first = borders.first().map_or(window.end, |border| border.at);
    match (running, borders.first()) {
        (Some(Phase { id, title, kernel, .. }), _) if missing_first.is_empty() => {
            cells.push(id, title, *kernel, first, &window.starts_with);
        }
        (None, Some(border)) if missing_first.is_empty() && window.kind == WindowKind::Chosen => {
            cells.push(OPENING, "up to the first phase", border.phase.kernel, first, &window.starts_with);
        }
        // Before the first border: only if the window itself starts with something else.
        (_, Some(border)) => {
            let titles = titles(running, &missing_first);
            cells.push(UNOBSERVED, &titles, border.phase.kernel, first, &window.starts_with);
        }
        (_, None) => {
            let title = "no milestone was seen";
            cells.push(UNOBSERVED, title, Place::Incoming, first, &window.starts_with);
        }
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

/// Which phases the window holds.
struct Borders<'a> {
    /// The phase in whose midst the window begins.
    running: Option<&'a Phase>,
    /// Phases that are missing before the first that was seen.
    missing_first: Vec<&'a Phase>,
    /// Those that were seen to begin inside, in order.
    list: Vec<Border<'a>>,
}

/// The borders that were seen, in order, and the phases that are missing before the first.
fn borders<'a>(phases: &'a [Phase], milestones: &Milestones, window: &Ends) -> Borders<'a> {
    let seen = |milestone: &Milestone| !milestones.occurrences(milestone, None).is_empty();
    let mut borders: Vec<Border> = Vec::new();
    let mut missing_first = Vec::new();
    let mut running = None;
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
            (None, _) if window.kind == WindowKind::Chosen && lies_outside(phase, milestones, window) => {
                // Only the latest that began before the window is still running.
                if borders.is_empty() && begins_before(phase, milestones, window) {
                    running = Some(phase);
                    missing_first.clear();
                }
            }
            (None, _) if phase.optional => {}
            (None, Some(border)) => border.missing.push(phase),
            (None, None) => missing_first.push(phase),
        }
    }
    Borders { running, missing_first, list: borders }
}

/// Whether a phase begins before the window or after it, in its own kernel.
fn lies_outside(phase: &Phase, milestones: &Milestones, window: &Ends) -> bool {
    let inside = window.start.ticks..window.end.ticks;
    let mut begins = begins(phase, milestones).peekable();
    begins.peek().is_some() && begins.all(|at| !inside.contains(&at.ticks))
}

fn begins_before(phase: &Phase, milestones: &Milestones, window: &Ends) -> bool {
    begins(phase, milestones).any(|at| at.ticks < window.start.ticks)
}

fn begins(phase: &Phase, milestones: &Milestones) -> impl Iterator<Item = Moment> {
    let side = match phase.kernel {
        Place::Outgoing => Some(Side::Outgoing),
        Place::Incoming => Some(Side::Incoming),
        Place::Jump => None,
    };
    phase.begin.iter().flat_map(move |milestone| milestones.occurrences(milestone, side))
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
        // What the catalogue does not know (unobserved, up to the first phase) is no phase that spans divide.
        let leaf = CATALOGUE.phases.iter().find(|phase| phase.id == id).is_none_or(|phase| phase.leaf);
        self.list.push(Cell { id, title, place, begin, end, begins_with, leaf });
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
