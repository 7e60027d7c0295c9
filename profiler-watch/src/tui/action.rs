//! Keys -> what the user wants.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To leave.
    Quit,
    /// The list of keys, or back from it.
    Help,
    /// A view by number, from 0.
    View(usize),
    /// The next view, or the one before.
    NextView(bool),
    /// Rows down; negative is up.
    Down(isize),
    /// Pages down.
    PageDown(isize),
    /// The first row, or the last.
    End(bool),
    /// Later in time, in eighths of what is shown; negative is earlier.
    Right(isize),
    /// Closer, or further away.
    Zoom(bool),
    /// All of it.
    ZoomReset,
    /// Another order.
    Sort,
    /// The other way round.
    Reverse,
    /// Other lanes.
    Lanes,
    /// What is selected.
    Enter,
    /// To look for something.
    Search,
    /// A character of what is looked for.
    Type(char),
    /// Without its last character.
    Backspace,
    /// Not to look for it any more.
    Escape,
    /// Replay: to run, or to stand.
    Play,
    /// Replay: faster, or slower.
    Faster(bool),
    /// Replay: seconds ahead; negative is back.
    Seek(i64),
}

/// What a key means; `typing` is whether it may be text.
pub fn action(key: KeyEvent, typing: bool) -> Option<Action> {
    use KeyCode::{BackTab, Char, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab, Up};
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control {
        return match key.code {
            Char('c') => Some(Action::Quit),
            Char('d') => Some(Action::PageDown(1)),
            Char('u') => Some(Action::PageDown(-1)),
            _ => None,
        };
    }
    if typing {
        return match key.code {
            Enter => Some(Action::Enter),
            Esc => Some(Action::Escape),
            KeyCode::Backspace => Some(Action::Backspace),
            Char(c) => Some(Action::Type(c)),
            _ => None,
        };
    }
    Some(match key.code {
        Char('q') => Action::Quit,
        Char('?') | KeyCode::F(1) => Action::Help,
        Char(digit @ '1'..='6') => Action::View(digit as usize - '1' as usize),
        Tab => Action::NextView(true),
        BackTab => Action::NextView(false),
        Down | Char('j') => Action::Down(1),
        Up | Char('k') => Action::Down(-1),
        PageDown => Action::PageDown(1),
        PageUp => Action::PageDown(-1),
        Home | Char('g') => Action::End(false),
        End | Char('G') => Action::End(true),
        Right | Char('l') => Action::Right(1),
        Left | Char('h') => Action::Right(-1),
        Char('+' | '=') => Action::Zoom(true),
        Char('-') => Action::Zoom(false),
        Char('0') => Action::ZoomReset,
        Char('s') => Action::Sort,
        Char('r') => Action::Reverse,
        Char('t') => Action::Lanes,
        Enter => Action::Enter,
        Char('/') => Action::Search,
        Esc => Action::Escape,
        Char(' ' | 'p') => Action::Play,
        Char('>') => Action::Faster(true),
        Char('<') => Action::Faster(false),
        Char('.') => Action::Seek(1),
        Char(',') => Action::Seek(-1),
        Char(']') => Action::Seek(10),
        Char('[') => Action::Seek(-10),
        _ => return None,
    })
}

/// Every key, for the help.
pub(crate) const KEYS: [(&str, &str); 15] = [
    ("1-6  Tab", "views"),
    ("j k  Up Down", "row; hot paths: whose histogram"),
    ("PgUp PgDn  g G", "page, first and last row"),
    ("h l  Left Right", "timeline: earlier, later"),
    ("+ -  0", "timeline: closer, further, all of it"),
    ("t", "timeline: lanes by task or by CPU"),
    ("s  r", "spans: another order, the other way round"),
    ("Enter", "spans: show it on the timeline"),
    ("/", "look for: name, kind, subject, task, phase"),
    ("Esc", "everything again"),
    ("Space", "replay: run or stand"),
    ("< >", "replay: slower, faster"),
    (", .  [ ]", "replay: 1/100 or 1/10 of it back, ahead"),
    ("?", "this help"),
    ("q  Ctrl-C", "leave"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_only_where_it_is_typed() {
        let key = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!(action(key('q'), false), Some(Action::Quit));
        assert_eq!(action(key('q'), true), Some(Action::Type('q')));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(interrupt, true), Some(Action::Quit));
    }
}
