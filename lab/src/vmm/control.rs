//! What init and a VMM say to each other: one JSON value a line, over a socket that is the VMM's standard input.

use crate::result::GuestResult;
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
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

/// One end.
pub struct Control {
    reader: BufReader<UnixStream>,
}

impl Control {
    /// Takes one end of a pair.
    pub fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// From now on, waiting longer than this for the other side is an error.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_patience(&self, patience: Duration) -> Result<()> {
        Ok(self.reader.get_ref().set_read_timeout(Some(patience))?)
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
        let mut line = String::new();
        match self.reader.read_line(&mut line).context("nothing was said in time")? {
            0 => Ok(None),
            _ => serde_json::from_str(&line).map(Some).with_context(|| format!("`{}`", line.trim_end())),
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
}
