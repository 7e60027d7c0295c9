//! Entries and returns -> calls.

use std::collections::HashMap;

use crate::{
    recording::Side,
    stitch::{Carried, Moment, Sighting, Source, What},
};

/// One call of a function, as far as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// In which kernel.
    pub side: Side,
    /// Probe, or the initcall's function.
    pub name: String,
    /// Family of the probe, or `initcall`.
    pub kind: String,
    /// Whose time it is.
    pub subject: String,
    /// Its entry.
    pub enter: Moment,
    /// Its return, if that was seen.
    pub exit: Option<Moment>,
    /// CPU at entry.
    pub cpu: Option<u32>,
    /// Task.
    pub pid: Option<u32>,
    /// The task's name.
    pub comm: Option<String>,
    /// What it returned, if that means anything: a negative value is an errno.
    pub retval: Option<i64>,
    /// How it was seen.
    pub source: Source,
    /// Calls in it of the function that it carries, if it told.
    pub carried: Option<Carried>,
    /// It lies on the critical path of a phase.
    pub critical: bool,
}

impl Call {
    /// Where it ends, ticks: a program that was not seen to end runs on; of any other call without a
    /// return only the entry is known.
    pub fn end_ticks(&self) -> u64 {
        match self.exit {
            Some(exit) => exit.ticks,
            None if self.kind == super::PROCESS => u64::MAX,
            None => self.enter.ticks,
        }
    }
}

/// Which open call a return belongs to.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    side: Side,
    pid: Option<u32>,
    name: &'a str,
    source: Source,
}

/// Pairs entries with returns. Sightings are in order of time; the calls come in order of entry.
///
/// A return without its entry (the probe came in the middle of the call) makes no call.
pub fn pair(sightings: &[Sighting]) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: HashMap<Key, Vec<usize>> = HashMap::new();
    for sighting in sightings {
        let key = |name, source| Key { side: sighting.side, pid: sighting.pid, name, source };
        let (key, end) = match &sighting.what {
            What::Enter { probe, source, .. } => (key(&probe.name, *source), None),
            What::Reached { .. } => {
                calls.extend(begin(sighting));
                continue;
            }
            What::Exit { probe, source, retval } => {
                (key(&probe.name, *source), Some(probe.errno.then_some(i64::from(*retval as i32))))
            }
            What::InitcallBegin { function, .. } => (key(function, Source::Event), None),
            What::InitcallEnd { function, retval } => {
                (key(function, Source::Event), Some(Some(i64::from(*retval))))
            }
            _ => continue,
        };
        let stack = open.entry(key).or_default();
        match end {
            None => {
                stack.push(calls.len());
                calls.extend(begin(sighting));
            }
            Some(retval) => {
                if let Some(call) = stack.pop().and_then(|index| calls.get_mut(index)) {
                    call.exit = Some(sighting.at);
                    call.retval = retval;
                }
            }
        }
    }
    merge(calls)
}

fn begin(sighting: &Sighting) -> Option<Call> {
    let of_module;
    let (name, kind, subject, comm, source, carried) = match &sighting.what {
        What::Enter { probe, source, subject, comm, carried } => {
            (&probe.name, probe.family.as_str(), subject.as_str(), comm.clone(), *source, *carried)
        }
        What::Reached { probe, subject, comm } => {
            (&probe.name, probe.family.as_str(), subject.as_str(), comm.clone(), Source::Event, None)
        }
        What::InitcallBegin { function, module } => {
            of_module = module.as_ref().map(|module| format!("module {module}")).unwrap_or_default();
            (function, "initcall", of_module.as_str(), None, Source::Event, None)
        }
        _ => return None,
    };
    Some(Call {
        side: sighting.side,
        name: name.clone(),
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        enter: sighting.at,
        exit: None,
        cpu: sighting.cpu,
        pid: sighting.pid,
        comm,
        retval: None,
        source,
        carried,
        critical: false,
    })
}

/// Makes one call of each that two sources saw: a task cannot be in the same function twice at once
/// unless it recurses, and none of the catalogue's does.
fn merge(calls: Vec<Call>) -> Vec<Call> {
    let mut merged: Vec<Call> = Vec::with_capacity(calls.len());
    // Last call of each function and task, where a second sighting of it can be.
    let mut last: HashMap<(Side, Option<u32>, String), usize> = HashMap::new();
    for call in calls {
        let key = (call.side, call.pid, call.name.clone());
        let twin = last.get(&key).and_then(|index| merged.get_mut(*index));
        match twin {
            Some(twin) if twin.source != call.source && overlap(twin, &call) => absorb(twin, call),
            _ => {
                last.insert(key, merged.len());
                merged.push(call);
            }
        }
    }
    merged
}

fn overlap(first: &Call, second: &Call) -> bool {
    // The two probes sit on the same instruction: their stamps differ by the probes' own cost, but a
    // stamp carries its clock's error.
    let slack = first.exit.map_or(0, |exit| exit.error_ticks) + second.enter.error_ticks;
    first.exit.is_none_or(|exit| second.enter.ticks <= exit.ticks.saturating_add(slack))
}

fn absorb(twin: &mut Call, other: Call) {
    let (times, names) = if other.source < twin.source { (&other, &*twin) } else { (&*twin, &other) };
    let subject = if names.subject.is_empty() { &times.subject } else { &names.subject };
    *twin = Call {
        subject: subject.clone(),
        comm: times.comm.clone().or_else(|| names.comm.clone()),
        exit: times.exit.or(names.exit),
        retval: times.retval.or(names.retval),
        carried: times.carried.or(names.carried),
        ..times.clone()
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::CATALOGUE;

    fn sighting(ticks: u64, pid: u32, what: What) -> Sighting {
        Sighting { side: Side::Incoming, at: Moment::exact(ticks), cpu: Some(0), pid: Some(pid), what }
    }

    fn enter(ticks: u64, pid: u32, name: &str, source: Source) -> Sighting {
        let probe = CATALOGUE.by_name(name).unwrap();
        let comm = (source == Source::Ebpf).then(|| "luod".to_owned());
        sighting(ticks, pid, What::Enter { probe, source, subject: "s".into(), comm, carried: None })
    }

    fn exit(ticks: u64, pid: u32, name: &str, source: Source, retval: u64) -> Sighting {
        let probe = CATALOGUE.by_name(name).unwrap();
        sighting(ticks, pid, What::Exit { probe, source, retval })
    }

    #[test]
    fn tasks_do_not_mix_and_errors_keep_their_sign() {
        let calls = pair(&[
            enter(10, 1, "file-retrieve", Source::BootKprobe),
            enter(12, 2, "file-retrieve", Source::BootKprobe),
            exit(15, 1, "file-retrieve", Source::BootKprobe, 0xffff_fffe),
            exit(19, 2, "file-retrieve", Source::BootKprobe, 0),
        ]);
        let ends: Vec<_> = calls.iter().map(|c| (c.exit.unwrap().ticks, c.retval)).collect();
        assert_eq!(ends, [(15, Some(-2)), (19, Some(0))]);
    }

    #[test]
    fn a_call_that_two_sources_saw_is_one_call_with_the_better_clock() {
        let calls = pair(&[
            enter(10, 1, "file-retrieve", Source::Ebpf),
            enter(11, 1, "file-retrieve", Source::BootKprobe),
            exit(20, 1, "file-retrieve", Source::BootKprobe, 0),
            exit(21, 1, "file-retrieve", Source::Ebpf, 0),
            enter(30, 1, "file-retrieve", Source::BootKprobe),
            exit(31, 1, "file-retrieve", Source::BootKprobe, 0),
        ]);
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].enter.ticks, calls[0].exit.unwrap().ticks), (11, 20));
        assert_eq!(calls[0].comm.as_deref(), Some("luod"));
    }

    #[test]
    fn a_return_alone_makes_no_call_and_an_entry_alone_has_no_end() {
        let calls =
            pair(&[exit(5, 1, "luo-open", Source::Ebpf, 0), enter(10, 1, "session-finish", Source::Ebpf)]);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].exit, None);
    }
}
