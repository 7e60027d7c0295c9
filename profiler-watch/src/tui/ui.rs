//! Where the user looks.

use std::ops::Range;

use super::{action::Action, rows::Order};

/// The views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Phases, guests, where it stands.
    Overview,
    /// Lanes of spans.
    Timeline,
    /// Table of spans.
    Spans,
    /// Functions that are counted.
    Hot,
    /// What was probed, and what was lost.
    Coverage,
    /// Beside another one.
    Compare,
}

/// All views, in the order of their numbers.
pub const VIEWS: [(View, &str); 6] = [
    (View::Overview, "overview"),
    (View::Timeline, "timeline"),
    (View::Spans, "spans"),
    (View::Hot, "hot"),
    (View::Coverage, "coverage"),
    (View::Compare, "compare"),
];

/// Where the user looks.
#[derive(Debug, Clone)]
pub struct Ui {
    /// Which view.
    pub view: View,
    /// The help is shown.
    pub help: bool,
    /// A filter is being typed.
    pub typing: bool,
    /// The filter.
    pub filter: String,
    /// Selected, or first shown, row of each view.
    rows: [usize; VIEWS.len()],
    /// Rows that the view shows at once, and places that its row can have: told by who draws it.
    page: usize,
    places: usize,
    /// Rows that are shown, and how many there are; `None` where nothing scrolls.
    in_sight: Option<(Range<usize>, usize)>,
    /// Order of the spans.
    pub order: Order,
    /// The other way round.
    pub reverse: bool,
    /// Lanes by CPU, not by task.
    pub by_cpu: bool,
    /// Part of the whole that the timeline shows: begin and length, 0 to 1; `None` is the window.
    zoom: Option<(f64, f64)>,
    /// Part of the whole that is the window: told by who draws it.
    window: (f64, f64),
    /// The user wants to leave.
    pub quit: bool,
}

/// Shortest part of the whole that is shown.
const CLOSEST: f64 = 1e-7;
/// Characters of a filter.
const MAX_FILTER: usize = 100;

impl Default for Ui {
    fn default() -> Self {
        Self {
            view: View::Overview,
            help: false,
            typing: false,
            filter: String::new(),
            rows: [0; VIEWS.len()],
            page: 1,
            places: 0,
            in_sight: None,
            order: Order::Own,
            reverse: false,
            by_cpu: false,
            zoom: None,
            window: (0.0, 1.0),
            quit: false,
        }
    }
}

impl Ui {
    /// Takes an action; those about a replay are not its own.
    pub fn take(&mut self, action: Action) {
        match action {
            Action::Quit => self.quit = true,
            Action::Help => self.help = !self.help,
            Action::View(index) => self.show(index),
            Action::NextView(forward) => {
                let step = if forward { 1 } else { VIEWS.len() - 1 };
                self.show((self.index() + step) % VIEWS.len());
            }
            Action::Down(rows) => self.go(self.row().saturating_add_signed(rows)),
            Action::PageDown(pages) => {
                let rows = pages.saturating_mul(isize::try_from(self.page).unwrap_or(1));
                self.go(self.row().saturating_add_signed(rows));
            }
            Action::End(last) => self.go(if last { usize::MAX } else { 0 }),
            Action::Right(eighths) => {
                let (begin, length) = self.shown();
                self.look(begin + eighths as f64 * length / 8.0, length);
            }
            Action::Zoom(closer) => {
                let (begin, length) = self.shown();
                let new = length * if closer { 0.5 } else { 2.0 };
                self.look(begin + (length - new) / 2.0, new);
            }
            Action::ZoomReset => self.look(0.0, 1.0),
            Action::Sort => self.order = self.order.next(),
            Action::Reverse => self.reverse = !self.reverse,
            Action::Lanes => self.by_cpu = !self.by_cpu,
            Action::Search => (self.typing, self.filter) = (true, String::new()),
            Action::Type(c) if !c.is_control() && self.filter.chars().count() < MAX_FILTER => {
                self.filter.push(c);
                self.go(0);
            }
            Action::Type(_) => {}
            Action::Backspace => drop(self.filter.pop()),
            Action::Enter => self.typing = false,
            Action::Escape if self.help => self.help = false,
            Action::Escape => (self.typing, self.filter) = (false, String::new()),
            Action::Play | Action::Faster(_) | Action::Seek(_) => {}
        }
    }

    /// Row of the view that is shown.
    pub fn row(&self) -> usize {
        self.rows.get(self.index()).copied().unwrap_or(0)
    }

    /// Tells how many rows there are, and how many of them are shown; gives the first to show so that the
    /// selected one is among them.
    pub fn fit(&mut self, total: usize, page: usize) -> usize {
        (self.places, self.page) = (total, page.max(1));
        self.go(self.row());
        let first = self.row().saturating_sub(self.page.saturating_sub(1));
        self.in_sight = Some((first..total.min(first + page), total));
        first
    }

    /// Likewise for a text that scrolls: its row is the first that is shown.
    pub fn scroll(&mut self, total: usize, page: usize) -> usize {
        (self.places, self.page) = (total.saturating_sub(page).saturating_add(1), page.max(1));
        self.go(self.row());
        self.in_sight = Some((self.row()..total.min(self.row() + page), total));
        self.row()
    }

    /// Nothing has been drawn of this frame yet.
    pub fn begin(&mut self) {
        self.in_sight = None;
    }

    /// Which rows are shown, if they are not all: "3-20 of 483".
    pub fn place(&self) -> Option<String> {
        let (shown, total) = self.in_sight.as_ref().filter(|(shown, total)| shown.len() < *total)?;
        Some(format!("{}-{} of {total}", shown.start + 1, shown.end))
    }

    /// Part of the whole that the timeline shows, of which `window` is the window.
    pub fn zoom(&mut self, window: (f64, f64)) -> (f64, f64) {
        self.window = window;
        self.shown()
    }

    fn shown(&self) -> (f64, f64) {
        self.zoom.unwrap_or(self.window)
    }

    /// Shows a part of the whole on the timeline, with room around it.
    pub fn locate(&mut self, begin: f64, length: f64) {
        self.view = View::Timeline;
        self.look(begin - length, length * 3.0);
    }

    fn show(&mut self, index: usize) {
        if let Some((view, _)) = VIEWS.get(index) {
            self.view = *view;
        }
    }

    fn index(&self) -> usize {
        VIEWS.iter().position(|(view, _)| *view == self.view).unwrap_or(0)
    }

    fn go(&mut self, row: usize) {
        let row = row.min(self.places.saturating_sub(1));
        let index = self.index();
        if let Some(place) = self.rows.get_mut(index) {
            *place = row;
        }
    }

    fn look(&mut self, begin: f64, length: f64) {
        let length = length.clamp(CLOSEST, 1.0);
        self.zoom = Some((begin.clamp(0.0, 1.0 - length), length));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_view_keeps_its_row() {
        let mut ui = Ui::default();
        ui.take(Action::View(2));
        ui.fit(100, 10);
        ui.take(Action::PageDown(1));
        ui.take(Action::Down(5));
        ui.take(Action::NextView(true));
        ui.fit(3, 10);
        ui.take(Action::End(true));
        assert_eq!(ui.row(), 2);
        ui.take(Action::NextView(false));
        assert_eq!((ui.fit(100, 10), ui.row()), (6, 15));
        assert_eq!(ui.place().as_deref(), Some("7-16 of 100"));
        assert_eq!((ui.fit(4, 10), ui.row(), ui.place()), (0, 3, None));
    }

    proptest! {
        #[test]
        fn the_timeline_never_leaves_the_whole(steps in prop::collection::vec(0_usize..5, 0..200)) {
            let mut ui = Ui::default();
            for step in steps {
                let actions = [
                    Action::Zoom(true), Action::Zoom(false), Action::Right(1), Action::Right(-3), Action::ZoomReset,
                ];
                ui.take(actions[step]);
                let (begin, length) = ui.zoom((0.25, 0.75));
                prop_assert!(begin >= 0.0 && length > 0.0 && begin + length <= 1.0 + 1e-9);
            }
        }
    }
}
