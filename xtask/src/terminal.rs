//! The book's picture of `blackout tui`: a real terminal's screen (tmux), as SVG.

use crate::workspace::{self, cargo, run};
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use toolbox::program::TMUX;
use toolbox::{exec, needs};

const PICTURE: &str = "docs/tui.svg";
const COLUMNS: usize = 110;
const ROWS: usize = 28;
/// Looks at the screen, 50 ms apart, before it is given up: ten minutes. They are counted, and not time: on a busy
/// machine both sides are slower.
const LOOKS: u32 = 12_000;
/// Pixels of a cell.
const CELL: (f64, f64) = (8.0, 17.0);
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d7dae0";

/// Takes the picture again, of a recording half-way through its replay.
///
/// # Errors
/// When the profiler does not build, or there is no tmux.
pub fn picture() -> Result<()> {
    needs::require("a terminal", needs::TERMINAL)?;
    run(cargo()?.args(["build", "--locked", "--package", "profiler"]))?;
    let screen = screen()?;
    fs::write(workspace::root()?.join(PICTURE), svg(&screen))
        .with_context(|| format!("cannot write {PICTURE}"))?;
    eprintln!("xtask: wrote {PICTURE}");
    Ok(())
}

/// The screen with its escape sequences.
fn screen() -> Result<String> {
    let root = workspace::root()?;
    let dir = workspace::target("terminal")?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let tmux = |arguments: &[&str]| -> Result<Command> {
        let mut command = TMUX.command()?;
        command.current_dir(&root).arg("-S").arg(dir.join("tmux")).args(arguments);
        Ok(command)
    };
    let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
    let mut start = tmux(&["-f", "/dev/null", "-u", "new-session", "-d", "-x", &columns, "-y", &rows])?;
    start.env("TERM", "screen-256color").env_remove("NO_COLOR").arg(root.join("target/debug/blackout"));
    start.args(["tui", "fixtures/plain.blackout", "--baseline", "fixtures/other-kernel.blackout"]);
    run(&mut start)?;
    let show = || exec::output(&mut tmux(&["capture-pane", "-e", "-p"])?);
    let wait = |text: &str| -> Result<String> {
        let mut last = String::new();
        for _ in 0..LOOKS {
            let screen = show()?;
            // Twice the same: a frame that is being drawn shows some of the one before.
            if screen.contains(text) && screen == last {
                return Ok(screen);
            }
            last = screen;
            sleep(Duration::from_millis(50));
        }
        bail!("the terminal never shows `{text}`")
    };
    let taken = wait("complete").and_then(|_| {
        // To where the incoming kernel boots: 23 hundredths before the end.
        run(tmux(&["send-keys"])?.args(["[", "[", ",", ",", ","]))?;
        wait("BLACKOUT")
    });
    // Whatever came of it, nothing stays behind.
    let _ = tmux(&["kill-server"]).map(|mut kill| kill.output());
    taken
}

/// How a character looks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Look {
    colour: Option<u8>,
    bold: bool,
    dim: bool,
    reverse: bool,
}

impl Look {
    /// Takes the parameters of one `ESC [ ... m`.
    fn take(&mut self, parameters: &str) {
        let mut numbers = parameters.split(';').map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                27 => self.reverse = false,
                38 => self.colour = numbers.nth(1).and_then(|colour| u8::try_from(colour).ok()),
                39 => self.colour = None,
                _ => {}
            }
        }
    }
}

fn svg(screen: &str) -> String {
    let (width, height) = (COLUMNS as f64 * CELL.0 + 16.0, ROWS as f64 * CELL.1 + 16.0);
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\">\n\
         <title>blackout tui</title>\n<rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{BACKGROUND}\"/>"
    );
    let mut look = Look::default();
    for (row, line) in screen.lines().take(ROWS).enumerate() {
        for (column, text, look) in runs(line, &mut look) {
            let _ = out.write_str(&piece(row, column, &text, look));
        }
    }
    out += "</svg>\n";
    out
}

/// Pieces of a line that look alike: column, text, look.
fn runs(line: &str, look: &mut Look) -> Vec<(usize, String, Look)> {
    let mut runs: Vec<(usize, String, Look)> = Vec::new();
    let mut column = 0;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((parameters, after)) = rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m'))
        {
            look.take(parameters);
            rest = after;
            continue;
        }
        match runs.last_mut().filter(|(.., last)| last == look) {
            Some((_, text, _)) => text.push(c),
            None => runs.push((column, c.to_string(), *look)),
        }
        column += 1;
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    runs.retain(|(_, text, look)| look.reverse || !text.trim().is_empty());
    runs
}

fn piece(row: usize, column: usize, text: &str, look: Look) -> String {
    let cells = text.chars().count() as f64;
    let (x, y, width) = (8.0 + column as f64 * CELL.0, 8.0 + row as f64 * CELL.1, cells * CELL.0);
    let colour = look.colour.map_or(FOREGROUND.to_owned(), rgb);
    let mut out = String::new();
    if look.reverse {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/>",
            CELL.1
        );
    }
    let fill = if look.reverse { BACKGROUND } else { &colour };
    let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
    let opacity = if look.dim { " opacity=\"0.7\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" \
         fill=\"{fill}\"{weight}{opacity}>{text}</text>",
        y + 13.0
    );
    out
}

/// One of the terminal's 256 colours: those above the first 16, which differ between terminals.
fn rgb(colour: u8) -> String {
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    let (r, g, b) = match colour {
        0..16 => return FOREGROUND.to_owned(),
        16..232 => {
            let cube = colour - 16;
            (level(cube / 36), level(cube / 6 % 6), level(cube % 6))
        }
        232.. => {
            let grey = 8 + 10 * (colour - 232);
            (grey, grey, grey)
        }
    };
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_begin_and_end_where_the_terminal_says() {
        let mut look = Look::default();
        let runs = runs("a\u{1b}[1m\u{1b}[38;5;214mbc\u{1b}[0m d\u{1b}[7m \u{1b}[m", &mut look);
        let bold = Look { colour: Some(214), bold: true, ..Look::default() };
        let reverse = Look { reverse: true, ..Look::default() };
        let plain = Look::default();
        let expected = [(0, "a", plain), (1, "bc", bold), (3, " d", plain), (5, " ", reverse)];
        assert_eq!(runs, expected.map(|(column, text, look)| (column, text.to_owned(), look)));
        assert_eq!(look, plain);
        assert_eq!((rgb(214), rgb(248)), ("#ffaf00".to_owned(), "#a8a8a8".to_owned()));
    }
}
