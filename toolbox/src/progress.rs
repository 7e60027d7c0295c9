//! What a long step is doing, on stderr: one line that changes on a terminal, plain lines elsewhere.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How often a changing line is drawn on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a step that goes on says so where there is no terminal.
const REMINDER: Duration = Duration::from_secs(30);
/// Longest detail shown, in characters.
const DETAIL_WIDTH: usize = 60;

/// A step that takes a while.
#[derive(Debug)]
pub struct Progress {
    title: String,
    started: Instant,
    drawn: Instant,
    terminal: bool,
}

impl Progress {
    /// Starts a step and names it.
    pub fn start(title: impl Into<String>) -> Self {
        let (title, now, terminal) = (title.into(), Instant::now(), stderr().is_terminal());
        eprint!("{}: {title}{}", program(), if terminal { "" } else { "\n" });
        Self { title, started: now, drawn: now, terminal }
    }

    /// Shows what the step is at, without keeping it on the screen.
    pub fn detail(&mut self, text: &str) {
        if self.drawn.elapsed() < if self.terminal { REDRAW } else { REMINDER } {
            return;
        }
        self.drawn = Instant::now();
        let detail: String = scrub(text.trim()).chars().take(DETAIL_WIDTH).collect();
        let line = format!("{}: {} ({} s) {detail}", program(), self.title, self.started.elapsed().as_secs());
        if self.terminal {
            eprint!("\r\x1b[K{line}")
        } else {
            eprintln!("{line}")
        }
        let _ = stderr().flush();
    }

    /// Shows a line that stays.
    pub fn note(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}: [{:6.1} s] {}", program(), self.started.elapsed().as_secs_f64(), scrub(text));
    }

    /// Ends the step and says how long it took.
    pub fn done(self) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!(
            "{clear}{}: {}: done in {:.1} s",
            program(),
            self.title,
            self.started.elapsed().as_secs_f64()
        );
    }
}

/// Prints a line that belongs to no step.
pub fn say(text: &str) {
    eprintln!("{}: {}", program(), scrub(text));
}

/// Name of this program, which stands before every line: `lab` or `xtask`.
fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let path = env::current_exe().unwrap_or_default();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        name.strip_prefix("blackout-").unwrap_or(&name).to_owned()
    })
}

/// Replaces control characters, so that outside text cannot steer the terminal.
pub fn scrub(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn scrub_leaves_no_control_character() {
        assert_eq!(super::scrub("a\x1b[2J\tb\r"), "a\u{fffd}[2J\tb\u{fffd}");
    }
}
