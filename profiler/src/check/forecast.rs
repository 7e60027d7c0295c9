//! What will become of each phase of the host's window.

use profiler_report::{
    catalogue::{self, Catalogue, Milestone, Place},
    evidence::{facts::deferred_pages, kmsg::Kmsg},
};

use super::{Coverage, Expected, Facts, Forecast, Options, Phase, Probe};

/// What will become of each phase, in the order of time.
pub fn phases(facts: &Facts, catalogue: &Catalogue, probes: &[Probe], options: &Options) -> Vec<Phase> {
    let view = View { facts, probes, options };
    let stamped = |milestone: &Milestone| view.will_occur(milestone, Place::Jump);
    let wanted = catalogue.phases.iter().filter(|phase| {
        phase.needs.as_ref().is_none_or(stamped) && !phase.unless.as_ref().is_some_and(stamped)
    });
    let mut list: Vec<(&catalogue::Phase, Phase)> = wanted.map(|phase| (phase, view.phase(phase))).collect();
    // As `timeline::partition` does: a phase whose end nothing shows is lost with the next one.
    let mut previous: Option<usize> = None;
    for index in 0..list.len() {
        let Some((_, phase)) = list.get(index) else { break };
        match phase.state {
            Forecast::Seen => previous = Some(index),
            Forecast::Unobserved => {
                if let Some((source, before)) = previous.take().and_then(|index| list.get_mut(index))
                    && !source.end.iter().any(|end| view.will_occur(end, source.kernel))
                {
                    before.state = Forecast::Unobserved;
                }
            }
            Forecast::Conditional | Forecast::Joined => {}
        }
    }
    list.into_iter().map(|(_, phase)| phase).collect()
}

/// How much of the window will be observed.
pub fn coverage(phases: &[Phase], options: &Options) -> Coverage {
    let count = |state| phases.iter().filter(|phase| phase.state == state).count() as u32;
    let (seen, unobserved) = (count(Forecast::Seen), count(Forecast::Unobserved));
    let share = f64::from(seen) / f64::from((seen + unobserved).max(1));
    let time_share = options.baseline.as_ref().and_then(|baseline| {
        let all: u64 = baseline.iter().map(|(_, ns)| ns).sum();
        // A part that this kernel divides otherwise is observed all the same.
        let lost = |id: &str| {
            id == profiler_report::timeline::UNOBSERVED
                || phases.iter().any(|phase| phase.id == id && phase.state == Forecast::Unobserved)
        };
        let lost: u64 = baseline.iter().filter(|(id, _)| lost(id)).map(|(_, ns)| ns).sum();
        (all > 0).then(|| 1.0 - lost as f64 / all as f64)
    });
    Coverage { seen, unobserved, share, time_share }
}

/// What is known about milestones.
struct View<'a> {
    facts: &'a Facts,
    probes: &'a [Probe],
    options: &'a Options,
}

impl View<'_> {
    fn phase(&self, phase: &catalogue::Phase) -> Phase {
        let begin = phase.begin.iter().find(|milestone| self.will_occur(milestone, phase.kernel));
        let state = match begin {
            Some(milestone) if phase.optional && self.depends(milestone) => Forecast::Conditional,
            Some(_) => Forecast::Seen,
            None if phase.optional => Forecast::Joined,
            None => Forecast::Unobserved,
        };
        let baseline = self.options.baseline.as_deref().unwrap_or_default();
        let all: u64 = baseline.iter().map(|(_, ns)| ns).sum();
        let own: u64 = baseline.iter().filter(|(id, _)| *id == phase.id).map(|(_, ns)| ns).sum();
        Phase {
            id: phase.id.clone(),
            title: phase.title.clone(),
            kernel: phase.kernel,
            state,
            begins_with: begin.map(ToString::to_string),
            share: (all > 0).then(|| own as f64 / all as f64),
        }
    }

    /// Whether the evidence of a live update will hold it. What cannot be looked at is taken to be there.
    fn will_occur(&self, milestone: &Milestone, place: Place) -> bool {
        let event = |name: &str| self.facts.events.as_ref().is_ok_and(|events| events.contains(name));
        match milestone {
            Milestone::Enter(probe) | Milestone::Exit(probe) => self.will_fire(probe, place),
            Milestone::Log(text) => self.will_say(|line| line.contains(text.as_str())),
            Milestone::NodesBegin => self.will_say(|line| deferred_pages(line).is_some()),
            Milestone::Mark(_) | Milestone::GuestStopped => true,
            Milestone::StampEntry | Milestone::StampDecompressed => self.options.stamp,
            Milestone::ClockEpoch => self.facts.kernel.tsc_hz.is_some() || self.facts.log.is_err(),
            Milestone::InitcallsBegin | Milestone::InitcallsEnd => {
                self.facts.events.is_err() || event("initcall:initcall_start")
            }
        }
    }

    /// Another kernel of this build will print what this one did, unless that is forgotten.
    fn will_say(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let said = |log: &Kmsg| log.overwritten > 0 || log.lines.iter().any(|line| is_it(&line.text));
        self.facts.log.as_ref().map_or(true, said)
    }

    fn will_fire(&self, probe: &str, place: Place) -> bool {
        let side = if place == Place::Incoming { Place::Incoming } else { Place::Outgoing };
        // What the outgoing kernel records goes across in the flight recorder, or not at all.
        let carried = side == Place::Incoming || !matches!(self.facts.recorder, Ok(None));
        let fires = |entry: &Probe| {
            entry.probe == probe
                && entry.kernel == side
                && matches!(entry.state, Expected::Attached | Expected::Unknown)
        };
        carried && self.probes.iter().any(fires)
    }

    /// Whether it takes a guest, a device or a VMM's mark; a boot comes by its own functions in any case.
    fn depends(&self, milestone: &Milestone) -> bool {
        match milestone {
            Milestone::Enter(probe) | Milestone::Exit(probe) => {
                !self.probes.iter().any(|entry| entry.probe == *probe && entry.method == "boot-function")
            }
            Milestone::Mark(_) | Milestone::GuestStopped => true,
            _ => false,
        }
    }
}
