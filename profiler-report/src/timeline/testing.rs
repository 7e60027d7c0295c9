//! Sightings and calls of the incoming kernel, made in code.

use super::Call;
use crate::{
    catalogue::CATALOGUE,
    evidence::event::Event,
    recording::Side,
    stitch::{Moment, Sighting, Source, What},
};

/// A static event of a task.
pub fn event(ticks: u64, pid: u32, event: Event) -> Sighting {
    let probe = CATALOGUE.by_name("process-fork").unwrap();
    sighting(ticks, Some(pid), What::Event { probe, event, function: None })
}

/// A line of the log, by a task.
pub fn log(ticks: u64, pid: Option<u32>, text: &str) -> Sighting {
    sighting(ticks, pid, What::Log { text: text.into() })
}

/// Anything, on CPU 0.
pub fn sighting(ticks: u64, pid: Option<u32>, what: What) -> Sighting {
    Sighting { side: Side::Incoming, at: Moment::exact(ticks), cpu: Some(0), pid, what }
}

/// A call of a task.
pub fn call(name: &str, kind: &str, pid: u32, enter: u64, exit: Option<u64>) -> Call {
    Call {
        side: Side::Incoming,
        name: name.into(),
        kind: kind.into(),
        subject: String::new(),
        enter: Moment::exact(enter),
        exit: exit.map(Moment::exact),
        cpu: Some(0),
        pid: Some(pid),
        comm: None,
        retval: None,
        source: Source::Event,
        carried: None,
        critical: false,
    }
}
