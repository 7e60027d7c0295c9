//! An instant that borders phases, as `phases.toml` writes it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, de};

/// An instant that the evidence may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Milestone {
    /// A probe's function was entered.
    Enter(String),
    /// It returned.
    Exit(String),
    /// A kernel log line that holds this text.
    Log(String),
    /// A VMM made a mark of this name.
    Mark(String),
    /// The guest whose window is divided stopped.
    GuestStopped,
    /// The image's 64-bit entry was reached (image stamp).
    StampEntry,
    /// The image was decompressed (image stamp).
    StampDecompressed,
    /// The incoming kernel's log clock read 0.
    ClockEpoch,
    /// The first thread that initialises a NUMA node's deferred pages was made.
    NodesBegin,
    /// The first initcall after the driver model began.
    InitcallsBegin,
    /// The last initcall of the boot returned.
    InitcallsEnd,
}

impl FromStr for Milestone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) =
            text.split_once(' ').ok_or_else(|| format!("milestone {text:?} has no argument"))?;
        match (kind, rest) {
            ("enter", probe) => Ok(Self::Enter(probe.into())),
            ("exit", probe) => Ok(Self::Exit(probe.into())),
            ("log", line) => Ok(Self::Log(line.into())),
            ("mark", name) => Ok(Self::Mark(name.into())),
            ("guest", "stopped") => Ok(Self::GuestStopped),
            ("stamp", "entry") => Ok(Self::StampEntry),
            ("stamp", "decompressed") => Ok(Self::StampDecompressed),
            ("clock", "epoch") => Ok(Self::ClockEpoch),
            ("nodes", "begin") => Ok(Self::NodesBegin),
            ("initcalls", "begin") => Ok(Self::InitcallsBegin),
            ("initcalls", "end") => Ok(Self::InitcallsEnd),
            _ => Err(format!("unknown milestone {text:?}")),
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enter(probe) => write!(f, "enter {probe}"),
            Self::Exit(probe) => write!(f, "exit {probe}"),
            Self::Log(line) => write!(f, "log {line}"),
            Self::Mark(name) => write!(f, "mark {name}"),
            Self::GuestStopped => f.write_str("guest stopped"),
            Self::StampEntry => f.write_str("stamp entry"),
            Self::StampDecompressed => f.write_str("stamp decompressed"),
            Self::ClockEpoch => f.write_str("clock epoch"),
            Self::NodesBegin => f.write_str("nodes begin"),
            Self::InitcallsBegin => f.write_str("initcalls begin"),
            Self::InitcallsEnd => f.write_str("initcalls end"),
        }
    }
}

impl<'de> Deserialize<'de> for Milestone {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "enter a-b",
            "exit x",
            "log mem auto-init:",
            "stamp entry",
            "clock epoch",
            "initcalls end",
            "mark x",
            "guest stopped",
        ] {
            assert_eq!(text.parse::<Milestone>().unwrap().to_string(), text);
        }
        assert!("stamp middle".parse::<Milestone>().is_err());
        assert!("enter".parse::<Milestone>().is_err());
    }
}
