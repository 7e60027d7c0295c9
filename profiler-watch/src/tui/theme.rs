//! Colours: those of Okabe and Ito ("Color Universal Design", 2008), which people with any common form of
//! colour blindness tell apart. Nothing is said by colour alone: phases have letters, states have words.

use profiler_report::catalogue::{CATALOGUE, Place};
use ratatui::style::{Color, Modifier, Style};

/// Its place among all phases there are.
fn place(id: &str) -> Option<usize> {
    CATALOGUE.phases.iter().position(|phase| phase.id == id)
}

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours at all (`NO_COLOR`).
    pub colour: bool,
}

/// Orange, sky blue, green, yellow, blue, vermilion, purple: of the terminal's 256 colours.
const CYCLE: [u8; 7] = [214, 74, 36, 227, 32, 166, 175];

impl Theme {
    fn paint(self, style: Style, colour: u8) -> Style {
        if self.colour { style.fg(Color::Indexed(colour)) } else { style }
    }

    /// Of a phase: the same in every report.
    pub fn phase(self, id: &str) -> Style {
        match place(id) {
            Some(index) => self.cycle(index),
            None => self.bad(),
        }
    }

    /// The n-th of some colours that differ.
    pub fn cycle(self, index: usize) -> Style {
        let colour = CYCLE.get(index % CYCLE.len()).copied().unwrap_or(214);
        self.paint(Style::new(), colour)
    }

    /// Letter of a phase: the same in every report; `?` for what nobody saw.
    pub fn letter(id: &str) -> char {
        let letters = ('a'..='z').chain('A'..='Z');
        place(id).and_then(|index| letters.cycle().nth(index % 52)).unwrap_or('?')
    }

    /// Pattern of a phase in a bar: its neighbours have others.
    pub fn pattern(id: &str) -> char {
        const PATTERNS: [char; 4] = ['█', '▒', '▓', '░'];
        place(id).and_then(|index| PATTERNS.get(index % 4).copied()).unwrap_or('?')
    }

    /// Of what belongs to a kernel.
    pub fn kernel(self, place: Place) -> Style {
        match place {
            Place::Outgoing => self.paint(Style::new(), 214),
            Place::Jump => self.paint(Style::new(), 175),
            Place::Incoming => self.paint(Style::new(), 74),
        }
    }

    /// What is wrong, or lost.
    pub fn bad(self) -> Style {
        self.paint(Style::new().add_modifier(Modifier::BOLD), 166)
    }

    /// What is as it should be.
    pub fn good(self) -> Style {
        self.paint(Style::new(), 36)
    }

    /// What is beside the point.
    pub fn dim(self) -> Style {
        self.paint(Style::new().add_modifier(Modifier::DIM), 248)
    }

    /// As it is, for what is on the chain that ended its phase.
    pub fn critical(self, style: Style) -> Style {
        style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Headings.
    pub fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is selected.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
