//! What init and a VMM say to each other: one JSON value a line, over a socket that is the VMM's standard input.

use crate::result::GuestResult;
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// From init to a VMM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Preserve what can be preserved while the guest runs.
    Preserve,
    /// Stop the guest and put its state into preserved memory.
    Pause,
    /// The live update did not happen: let the guest run again.
    Resume,
    /// Stop the guest for good and say how it fared.
    Judge,
}

/// From a VMM to init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// All vCPUs go round.
    Running,
    /// [`Order::Preserve`] is done.
    Preserved,
    /// [`Order::Pause`] is done.
    Paused,
    /// [`Order::Judge`] is done; unasked: the guest does not run, and nothing more will come.
    Judged(Box<GuestResult>),
    /// Nothing more will come.
    Failed(String),
}

/// One step of a limited wait.
pub const STEP: Duration = Duration::from_secs(1);

/// One end.
pub struct Control {
    reader: BufReader<UnixStream>,
    /// Steps that a wait may take; `None` for no limit.
    steps: Option<u32>,
}

impl Control {
    /// Takes one end of a pair.
    pub fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream), steps: None }
    }

    /// Limits every wait for the other side to `steps`, each of [`STEP`]. Steps are counted and not time: the clock
    /// runs on while the machine is stopped, and of such a stop only one step is seen.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn limit_waits(&mut self, steps: u32) -> Result<()> {
        self.steps = Some(steps);
        Ok(self.reader.get_ref().set_read_timeout(Some(STEP))?)
    }

    /// Says something.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn send(&self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut stream = self.reader.get_ref();
        stream.write_all(&line).context("nobody hears")
    }

    /// Waits for what the other side says; `None` when it is gone.
    ///
    /// # Errors
    /// When it says nothing in time, or nothing that can be understood.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = Vec::new();
        let mut steps = 0;
        // A step that ends leaves in `line` the bytes that have come so far.
        while let Err(error) = self.reader.read_until(b'\n', &mut line) {
            let over = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            steps += 1;
            if !over || self.steps.is_none_or(|limit| steps >= limit) {
                return Err(error).context("nothing was said in time");
            }
        }
        match line.as_slice() {
            [] => Ok(None),
            line => serde_json::from_slice(line)
                .map(Some)
                .with_context(|| format!("`{}`", String::from_utf8_lossy(line).trim_end())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_until_the_other_side_is_gone() {
        let (here, there) = UnixStream::pair().unwrap();
        let (here, mut there) = (Control::new(here), Control::new(there));
        here.send(&Order::Preserve).unwrap();
        here.send(&Answer::Failed("a\nb".into())).unwrap();
        assert_eq!(there.receive::<Order>().unwrap(), Some(Order::Preserve));
        assert_eq!(there.receive::<Answer>().unwrap(), Some(Answer::Failed("a\nb".into())));
        drop(here);
        assert_eq!(there.receive::<Order>().unwrap(), None);
    }
    #[test]
    fn a_limited_wait_counts_its_steps() {
        let (here, there) = UnixStream::pair().unwrap();
        let (here, mut there) = (Control::new(here), Control::new(there));
        there.limit_waits(2).unwrap();
        let error = there.receive::<Order>().unwrap_err();
        assert_eq!(error.to_string(), "nothing was said in time");
        here.send(&Order::Judge).unwrap();
        assert_eq!(there.receive::<Order>().unwrap(), Some(Order::Judge));
    }

    #[test]
    fn a_line_may_come_in_several_steps() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut there = Control::new(there);
        there.limit_waits(60).unwrap();
        // The second part comes when the first step is over, or later.
        let writer = std::thread::spawn(move || {
            (&here).write_all(b"\"pre").unwrap();
            std::thread::sleep(STEP * 3 / 2);
            (&here).write_all(b"serve\"\n").unwrap();
        });
        assert_eq!(there.receive::<Order>().unwrap(), Some(Order::Preserve));
        writer.join().unwrap();
    }
}
