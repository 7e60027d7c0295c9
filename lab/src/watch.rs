//! What the guest's serial console says: stages, crashes, the end.

use crate::result::{LINE_PREFIX, Stage};
use std::collections::VecDeque;
use toolbox::progress::scrub;

/// Lines kept to be shown when a run fails.
const KEPT: usize = 30;
/// Longest line kept, bytes.
const LINE_LIMIT: usize = 1024;

/// Something the console said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stage was reached.
    Stage(Stage),
    /// The guest is about to power off, with this exit code.
    Done(i32),
    /// Init reports an error.
    Error(String),
    /// The kernel panicked.
    Panic(String),
    /// The kernel reports a fault it may survive.
    Oops(String),
}

/// How the virtual machine came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest finished with this exit code.
    Done(i32),
    /// The kernel crashed with this message.
    Crash(String),
    /// The machine printed nothing in this many seconds of its own time.
    Silence(u64),
    /// QEMU ended by itself, with what it said, if anything.
    Exited(String),
    /// QEMU died of this signal, with what it said, if anything: no doing of the guest's.
    Killed(i32, String),
}

impl End {
    /// What to tell the user, given the last stage that was reached; `None` if all is well.
    pub fn complaint(&self, stage: Stage) -> Option<String> {
        match self {
            Self::Done(0) => None,
            Self::Done(code) => Some(format!("the guest ended with code {code} after stage `{stage}`")),
            Self::Crash(line) => Some(format!("{} crashed after stage `{stage}`: {line}", kernel(stage))),
            Self::Silence(seconds) => Some(format!(
                "{} hung: silent for {seconds} s of machine time after stage `{stage}`",
                kernel(stage)
            )),
            Self::Exited(said) if !said.is_empty() => {
                Some(format!("QEMU ended after stage `{stage}`: {said}"))
            }
            Self::Exited(_) if stage == Stage::Kexec => Some(
                "the kexec did not happen: the machine reset or powered off without entering \
                      the incoming kernel's init"
                    .into(),
            ),
            Self::Killed(signal, said) => {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                Some(format!("QEMU itself died of signal {signal} after stage `{stage}`{said}"))
            }
            Self::Exited(_) => Some(format!("the machine reset or powered off after stage `{stage}`")),
        }
    }
}

fn kernel(stage: Stage) -> &'static str {
    match stage {
        Stage::IncomingUp | Stage::Restored | Stage::Done => "the incoming kernel",
        Stage::Kexec => "the outgoing kernel, in its kexec, or the incoming one, before its init,",
        _ => "the outgoing kernel",
    }
}

/// The console so far.
#[derive(Debug)]
pub struct Console {
    partial: Vec<u8>,
    last: VecDeque<String>,
    stage: Stage,
    error: Option<String>,
}

impl Default for Console {
    fn default() -> Self {
        Self { partial: Vec::new(), last: VecDeque::new(), stage: Stage::Started, error: None }
    }
}

impl Console {
    /// Takes what was printed since the last call.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial);
                let line = scrub(line.trim_end());
                self.partial.clear();
                events.extend(self.line(line));
            } else if self.partial.len() < LINE_LIMIT {
                self.partial.push(byte);
            }
        }
        events
    }

    /// The last stage that was reached.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The last error that init reported.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The last lines, oldest first.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    fn line(&mut self, line: String) -> Option<Event> {
        let event = event(&line);
        match &event {
            Some(Event::Stage(stage)) => self.stage = *stage,
            Some(Event::Done(_)) => self.stage = Stage::Done,
            Some(Event::Error(message)) => self.error = Some(message.clone()),
            _ => {}
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
        event
    }
}

fn event(line: &str) -> Option<Event> {
    if let Some((_, said)) = line.split_once(LINE_PREFIX) {
        return match said.split_once(' ') {
            Some(("done", code)) => code.parse().ok().map(Event::Done),
            Some(("error", message)) => Some(Event::Error(message.into())),
            _ => said.parse().ok().map(Event::Stage),
        };
    }
    let message = without_time(line);
    if message.starts_with("Kernel panic - not syncing") {
        Some(Event::Panic(message.into()))
    } else if message.starts_with("BUG: ") || message.starts_with("Oops") {
        Some(Event::Oops(message.into()))
    } else {
        None
    }
}

/// The line without the `[    1.234567] ` printk puts in front.
fn without_time(line: &str) -> &str {
    let bracketed = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match bracketed {
        Some((time, message)) if time.bytes().all(|byte| b" .0123456789".contains(&byte)) => message,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_may_come_in_pieces() {
        let mut console = Console::default();
        assert_eq!(console.feed(b"SeaBIOS\r\nLAB: outgo"), []);
        assert_eq!(
            console.feed(b"ing up\r\nLAB: armed\n"),
            [Event::Stage(Stage::OutgoingUp), Event::Stage(Stage::Armed)]
        );
        assert_eq!(
            console.feed(b"LAB: error blackout load: exit code 1\nLAB: done 1\n"),
            [Event::Error("blackout load: exit code 1".into()), Event::Done(1)]
        );
        assert_eq!(console.stage(), Stage::Done);
        assert_eq!(console.error(), Some("blackout load: exit code 1"));
        assert_eq!(console.tail().next(), Some("SeaBIOS"));
    }

    #[test]
    fn crashes_are_known() {
        let panic = "Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(event(&format!("[    2.345678] {panic}")), Some(Event::Panic(panic.into())));
        assert_eq!(event(panic), Some(Event::Panic(panic.into())));
        let bug = "BUG: kernel NULL pointer dereference, address: 0000000000000000";
        assert_eq!(event(&format!("[    0.1] {bug}")), Some(Event::Oops(bug.into())));
        assert_eq!(
            event("[    0.1] Oops: Oops: 0002 [#1] SMP"),
            Some(Event::Oops("Oops: Oops: 0002 [#1] SMP".into()))
        );
        for harmless in ["[    0.1] DEBUG: x", "[drm] BUG: x", "", "LAB: ", "LAB: nothing", "LAB: done x"] {
            assert_eq!(event(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn complaints_tell_the_cases_apart() {
        assert_eq!(End::Done(0).complaint(Stage::Done), None);
        let all = [
            (End::Done(1), Stage::Restored, "code 1"),
            (End::Crash("BUG: x".into()), Stage::IncomingUp, "the incoming kernel crashed"),
            (End::Silence(120), Stage::Loaded, "the outgoing kernel hung: silent for 120 s of machine time"),
            (End::Exited(String::new()), Stage::Kexec, "the kexec did not happen"),
            (End::Exited("no such machine".into()), Stage::Started, "no such machine"),
            (End::Exited(String::new()), Stage::Armed, "after stage `armed`"),
            (
                End::Killed(11, String::new()),
                Stage::Kexec,
                "QEMU itself died of signal 11 after stage `kexec`",
            ),
            (End::Killed(6, "assertion".into()), Stage::Kexec, "signal 6 after stage `kexec`: assertion"),
        ];
        for (end, stage, expected) in all {
            let complaint = end.complaint(stage).unwrap();
            assert!(complaint.contains(expected), "{complaint}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..3000), 0..6))
        {
            let mut console = Console::default();
            for piece in pieces {
                console.feed(&piece);
            }
            prop_assert!(console.partial.len() <= LINE_LIMIT);
            prop_assert!(console.tail().count() <= KEPT);
            prop_assert!(console.tail().all(|line| !line.contains(['\x1b', '\0', '\n'])));
        }
    }
}
