//! `blackout.stream/1`: one JSON object a line.
//!
//! Times are ticks of the TSC, which runs on across the kexec; a [`Hello`] tells how many there are in a
//! second. The two halves of a live update are told by two agents, one under each kernel: what joins them
//! is the run id. A reader skips types it does not know.

use profiler_report::{
    catalogue::{CATALOGUE, Milestone},
    recording::Side,
    report::Report,
    stitch::{Moment, Sighting, What},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Value of [`Hello::schema`].
pub const SCHEMA: &str = "blackout.stream/1";

/// Bytes of a line that readers take: a report of some ten thousand spans.
pub(crate) const MAX_LINE_BYTES: usize = 4 << 20;

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// The first line of every connection.
    Hello(Hello),
    /// An instant that borders phases, as `phases.toml` writes it: "log smp: Bringing up".
    Milestone {
        /// Kernel that it is of.
        kernel: Place,
        /// Its name.
        name: String,
        /// When, ticks.
        tsc: u64,
        /// The true moment lies at most this far away, ticks.
        error_ticks: u64,
    },
    /// A call began.
    Begin {
        /// Kernel that it is of.
        kernel: Place,
        /// Its probe, or the initcall's function.
        name: String,
        /// Family of the probe, or `initcall`.
        kind: String,
        /// Whose time it is: session, token; may be empty.
        subject: String,
        /// When, ticks.
        tsc: u64,
        /// CPU.
        cpu: Option<u32>,
        /// Task.
        pid: Option<u32>,
        /// The task's name.
        comm: Option<String>,
    },
    /// The innermost call of this name and task ended.
    End {
        /// Kernel that it is of.
        kernel: Place,
        /// Name of its [`Message::Begin`].
        name: String,
        /// When, ticks.
        tsc: u64,
        /// Task.
        pid: Option<u32>,
        /// What it returned, where that means something: negative is an errno.
        retval: Option<i64>,
    },
    /// Where the live update stands; several a second, so that silence means something.
    Counters(Counters),
    /// Something is missing from here on; `count` is all of it since the agent began, or, for `client`,
    /// since this connection began.
    Loss {
        /// What is missing.
        place: LossPlace,
        /// How many.
        count: u64,
    },
    /// The report of the recording, once it is written: the last word on every number before.
    Report {
        /// The report; without its smaller spans if it would be too long for a line.
        report: Box<Report>,
        /// Spans that were left out.
        spans_left_out: u64,
    },
    /// The last line.
    Bye {
        /// Why.
        reason: String,
    },
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The one that is replaced.
    Outgoing,
    /// The one that replaces it.
    Incoming,
}

impl From<Side> for Place {
    fn from(side: Side) -> Self {
        match side {
            Side::Outgoing => Self::Outgoing,
            Side::Incoming => Self::Incoming,
        }
    }
}

impl From<Place> for Side {
    fn from(place: Place) -> Self {
        match place {
            Place::Outgoing => Self::Outgoing,
            Place::Incoming => Self::Incoming,
        }
    }
}

/// Who speaks, and when it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// `blackout.stream/1`.
    pub schema: String,
    /// Version of the agent.
    pub tool: String,
    /// Kernel that the agent runs under.
    pub kernel: Place,
    /// Run id.
    pub run: String,
    /// Host name.
    pub host: String,
    /// `uname -r`.
    pub release: String,
    /// CPUs online.
    pub cpus: u32,
    /// Ticks in a second, if known.
    pub tsc_hz: Option<u64>,
    /// TSC when this was said.
    pub tsc: u64,
    /// Realtime clock when this was said, nanoseconds since 1970.
    pub realtime_ns: u64,
}

/// Where the live update stands, as far as this agent saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counters {
    /// TSC when this was said.
    pub tsc: u64,
    /// Records read from the trace instance.
    pub records: u64,
    /// Sessions created (outgoing) or retrieved (incoming).
    pub sessions: u64,
    /// Files preserved (outgoing) or retrieved (incoming).
    pub files: u64,
    /// Bytes of the preserved files whose size could be read.
    pub bytes: u64,
    /// Preserved files whose size could not be read: they were closed at once, or have none.
    pub files_of_unknown_size: u64,
    /// Sessions finished (incoming).
    pub finished: u64,
    /// vCPUs that were seen to run again (incoming).
    pub vcpus: u64,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LossPlace {
    /// Records that the trace instance dropped before the agent read them.
    Trace,
    /// Lines that this client was too slow for, or came too late for.
    Client,
    /// Kernel log lines that were overwritten before the agent read them.
    Log,
    /// Records of functions that the agent has no name for.
    Nameless,
}

impl Message {
    /// As a line, with its newline. `None` for a value that is not JSON, which no message is.
    pub fn line(&self) -> Option<String> {
        let mut line = serde_json::to_string(self).ok()?;
        line.push('\n');
        Some(line)
    }

    /// TSC that it carries.
    pub fn tsc(&self) -> Option<u64> {
        match self {
            Self::Hello(hello) => Some(hello.tsc),
            Self::Milestone { tsc, .. } | Self::Begin { tsc, .. } | Self::End { tsc, .. } => Some(*tsc),
            Self::Counters(counters) => Some(counters.tsc),
            Self::Loss { .. } | Self::Report { .. } | Self::Bye { .. } | Self::Unknown => None,
        }
    }

    /// What a sighting is to a reader; `None` for what it need not know.
    pub fn of(sighting: &Sighting) -> Option<Self> {
        let kernel = sighting.side.into();
        let (tsc, pid) = (sighting.at.ticks, sighting.pid);
        let begin = |name: &str, kind: &str, subject: &str, comm: &Option<String>| Self::Begin {
            kernel,
            name: name.to_owned(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            tsc,
            cpu: sighting.cpu,
            pid,
            comm: comm.clone(),
        };
        Some(match &sighting.what {
            What::Enter { probe, subject, comm, .. } => begin(&probe.name, &probe.family, subject, comm),
            What::Reached { probe, subject, comm } => begin(&probe.name, &probe.family, subject, comm),
            What::InitcallBegin { function, .. } => begin(function, INITCALL, "", &None),
            What::Exit { probe, retval, .. } => {
                let retval = probe.errno.then_some(i64::from(*retval as i32));
                Self::End { kernel, name: probe.name.clone(), tsc, pid, retval }
            }
            What::InitcallEnd { function, retval } => {
                Self::End { kernel, name: function.clone(), tsc, pid, retval: Some(i64::from(*retval)) }
            }
            What::Log { text } => Self::milestone(sighting.side, &log_milestone(text)?, sighting.at),
            What::StampEntry => Self::milestone(sighting.side, &Milestone::StampEntry, sighting.at),
            What::StampDecompressed => {
                Self::milestone(sighting.side, &Milestone::StampDecompressed, sighting.at)
            }
            What::ClockEpoch => Self::milestone(sighting.side, &Milestone::ClockEpoch, sighting.at),
            #[allow(unreachable_patterns, reason = "kinds that only reports need come and go")]
            _ => return None,
        })
    }

    /// A milestone that is no call.
    pub fn milestone(side: Side, milestone: &Milestone, at: Moment) -> Self {
        let Moment { ticks: tsc, error_ticks } = at;
        Self::Milestone { kernel: side.into(), name: milestone.to_string(), tsc, error_ticks }
    }
}

/// [`Message::Begin`]'s kind of an initcall.
pub(crate) const INITCALL: &str = "initcall";

/// The phase border that a kernel log line is, if it is one.
pub fn log_milestone(line: &str) -> Option<Milestone> {
    let borders = CATALOGUE.phases.iter().flat_map(|phase| phase.begin.iter().chain(&phase.end));
    let is = |border: &&Milestone| matches!(border, Milestone::Log(text) if line.contains(text.as_str()));
    borders.into_iter().find(is).cloned()
}

/// JSON Schema of a line.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Message).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_lines_that_border_phases_are_milestones() {
        let border = log_milestone("smp: Bringing up secondary CPUs ...");
        assert_eq!(border, Some(Milestone::Log("smp: Bringing up secondary CPUs".to_owned())));
        assert_eq!(log_milestone("usb 1-1: new device"), None);
    }

    #[test]
    fn lines_have_the_documented_form() {
        let bye = Message::Bye { reason: "stopped".to_owned() };
        assert_eq!(bye.line().unwrap(), "{\"type\":\"bye\",\"reason\":\"stopped\"}\n");
        let loss = Message::Loss { place: LossPlace::Client, count: 3 };
        assert_eq!(loss.line().unwrap(), "{\"type\":\"loss\",\"place\":\"client\",\"count\":3}\n");
        let newer: Message = serde_json::from_str(r#"{"type":"weather","sunny":true}"#).unwrap();
        assert_eq!(newer, Message::Unknown);
    }
}
