//! `blackout tui` in a real terminal: a detached tmux, which types the keys and gives the screens.

use crate::run::{fixture, lab};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;
use toolbox::binaries;
use toolbox::program::TMUX;

/// Pause between two looks at the screen.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks before a screen is given up: ten minutes and more. Looks are counted and not time: on a busy machine each takes
/// longer, as the program does, and a process that is stopped makes none.
const LOOKS: u32 = 30_000;

/// A terminal with `blackout tui` in it; ends when dropped.
struct Terminal {
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Terminal {
    fn open(width: u16, height: u16, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let terminal = Self { socket: dir.path().join("tmux"), _dir: dir };
        let program = binaries::build().unwrap().blackout;
        let (width, height) = (width.to_string(), height.to_string());
        let mut command =
            terminal.tmux(&["-f", "/dev/null", "-u", "new-session", "-d", "-x", &width, "-y", &height]);
        command.env("TERM", "screen-256color").arg(program).arg("tui").args(arguments);
        assert!(command.status().unwrap().success());
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = TMUX.command().unwrap();
        command.arg("-S").arg(&self.socket).args(arguments);
        command
    }

    fn press(&self, keys: &[&str]) {
        assert!(self.tmux(&["send-keys"]).args(keys).status().unwrap().success());
    }

    /// What it shows now; empty once the program has ended.
    fn screen(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for a screen that holds `text`.
    fn wait(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits for a screen that is `right`; `wanted` names it.
    fn wait_until(&self, wanted: &str, right: impl Fn(&str) -> bool) -> String {
        let mut screen = self.screen();
        for _ in 0..LOOKS {
            if right(&screen) {
                return screen;
            }
            sleep(PAUSE);
            screen = self.screen();
        }
        panic!("no `{wanted}` in:\n{screen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tmux(&["kill-server"]).output();
    }
}

#[test]
#[ignore = "builds the program for the guest, and needs tmux"]
fn a_recording_is_looked_through_with_keys() {
    let recording = fixture("plain.blackout");
    let terminal = Terminal::open(100, 30, &[recording.to_str().unwrap()]);
    terminal.wait("window 2843.638 ms");
    terminal.press(&["3"]);
    terminal.wait("1 of 484 spans, by own time");
    terminal.press(&["/", "s", "v", "m", "Enter"]);
    terminal.wait("1 of 1 spans");
    // On the timeline, zoomed in to where it is.
    terminal.press(&["Enter"]);
    terminal.wait("[svm_init");
    terminal.press(&["Escape", "s", "5"]);
    terminal.wait("flight recorder                    0");
    terminal.press(&["?"]);
    terminal.wait("views");
    // The replay stands at its end. Back at its start it stands too, and so does each screen that is awaited here:
    // one that only passes may pass between two looks.
    terminal.press(&["?", "1"]);
    terminal.press(&["["; 10]);
    terminal.wait("brownout: the guests run");
    terminal.press(&["Space"]);
    terminal.wait("window 2843.638 ms");
    terminal.press(&["["]);
    terminal.wait("BLACKOUT  ");
    terminal.press(&["q"]);
    terminal.wait_until("end of the program", str::is_empty);
}

/// Screens in the order they were seen, without repetitions.
fn film(terminal: &Terminal, over: &AtomicBool) -> Vec<String> {
    let mut screens: Vec<String> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let screen = terminal.screen();
        if screens.last() != Some(&screen) {
            screens.push(screen);
        }
        sleep(Duration::from_millis(50));
    }
    screens
}

#[test]
#[ignore = "boots a virtual machine, and needs tmux"]
fn full_a_terminal_outside_follows_a_whole_live_update() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("live.sock");
    let (endpoint, baseline) = (format!("unix:{}", socket.display()), fixture("plain.blackout"));
    let terminal =
        Terminal::open(120, 40, &["--connect", &endpoint, "--baseline", baseline.to_str().unwrap()]);
    let over = AtomicBool::new(false);
    let (run, screens) = thread::scope(|scope| {
        let filming = scope.spawn(|| film(&terminal, &over));
        let run = lab(&["--serve", socket.to_str().unwrap()]);
        // The last line may still be on its way.
        if run.exit_code == 0 {
            terminal.wait("window ");
        }
        over.store(true, Ordering::Relaxed);
        (run, filming.join().unwrap())
    });
    assert_eq!(run.exit_code, 0, "{run}");
    let at = |text: &str| screens.iter().position(|screen| screen.contains(text));
    let moments = ["brownout: the guests run", "BLACKOUT  ", "restored "].map(at);
    assert!(
        moments.iter().all(Option::is_some) && moments.is_sorted(),
        "{moments:?}\n{}",
        screens.join("\n")
    );
    assert!(screens.iter().any(|screen| screen.contains("by now: ")), "{}", screens.join("\n"));

    // At the end: the report's own figure.
    let text = fs::read_to_string(run.file("report.txt")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("blackout window (host)")).unwrap();
    let figure = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let last = terminal.screen();
    assert!(last.contains(&format!("window {figure}")), "{figure} is not in:\n{last}");
    assert!(last.contains("complete"), "{last}");
    save(&run.file("screens"), &moments, &screens, &last);
}

/// Keeps the screens that tell the story; a failed test keeps its folder.
fn save(dir: &Path, moments: &[Option<usize>], screens: &[String], last: &str) {
    fs::create_dir_all(dir).unwrap();
    let told = moments.iter().flatten().filter_map(|index| screens.get(*index)).map(String::as_str);
    for (number, screen) in told.chain([last]).enumerate() {
        fs::write(dir.join(format!("{number}.txt")), screen).unwrap();
    }
}
