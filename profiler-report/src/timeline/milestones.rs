//! Where each milestone occurs.

use super::{Call, NodeInit};
use crate::{
    catalogue::Milestone,
    evidence::mark::Mark,
    recording::Side,
    stitch::{Moment, Sighting, What},
};

/// Occurrences of every milestone.
#[derive(Debug, Default)]
pub struct Milestones {
    enters: Vec<(Side, String, Moment)>,
    exits: Vec<(Side, String, Moment)>,
    logs: Vec<(Side, String, Moment)>,
    marks: Vec<(Side, Mark, Moment)>,
    initcalls: Vec<(Moment, Option<Moment>)>,
    nodes_begin: Option<Moment>,
    guest_stopped: Option<Moment>,
    stamp_entry: Option<Moment>,
    stamp_decompressed: Option<Moment>,
    clock_epoch: Option<Moment>,
}

impl Milestones {
    /// Indexes what was seen.
    pub fn new<'n>(
        sightings: &[Sighting],
        calls: &[Call],
        nodes: impl IntoIterator<Item = &'n NodeInit>,
    ) -> Self {
        let nodes_begin = nodes.into_iter().map(|node| node.begin).min();
        let mut index = Self { nodes_begin, ..Self::default() };
        for call in calls {
            if call.kind == "initcall" {
                index.initcalls.push((call.enter, call.exit));
                continue;
            }
            index.enters.push((call.side, call.name.clone(), call.enter));
            index.exits.extend(call.exit.map(|exit| (call.side, call.name.clone(), exit)));
        }
        for sighting in sightings {
            match &sighting.what {
                What::Log { text } => index.logs.push((sighting.side, text.clone(), sighting.at)),
                What::Mark { mark } => index.marks.push((sighting.side, mark.clone(), sighting.at)),
                What::StampEntry => index.stamp_entry = Some(sighting.at),
                What::StampDecompressed => index.stamp_decompressed = Some(sighting.at),
                What::ClockEpoch => index.clock_epoch = Some(sighting.at),
                _ => {}
            }
        }
        // Modules that user space loads have initcalls too; they are not the boot's.
        let entered = index.enters.iter().find(|(_, name, _)| name == "run-init").map(|(.., at)| *at);
        let said = || index.logs.iter().find(|(_, line, _)| line.ends_with(" as init process"));
        let run_init = entered.or_else(|| said().map(|(.., at)| *at));
        index.initcalls.retain(|(begin, _)| run_init.is_none_or(|run_init| *begin < run_init));
        index
    }

    /// The same for the window of one guest: with its stop, and without the marks of others.
    pub fn of_guest(mut self, name: &str, stopped: Option<Moment>) -> Self {
        self.marks.retain(|(_, mark, _)| mark.vm.as_deref().is_none_or(|vm| vm == name));
        Self { guest_stopped: stopped, ..self }
    }

    /// All occurrences in one kernel, or in both, by time.
    pub fn occurrences(&self, milestone: &Milestone, side: Option<Side>) -> Vec<Moment> {
        let of = |list: &[(Side, String, Moment)], wanted: &dyn Fn(&str) -> bool| {
            let here = |of_side: Side| side.is_none_or(|side| side == of_side);
            list.iter().filter(|(s, text, _)| here(*s) && wanted(text)).map(|(.., at)| *at).collect()
        };
        let mut found: Vec<Moment> = match milestone {
            Milestone::Enter(probe) => of(&self.enters, &|name| name == probe),
            Milestone::Exit(probe) => of(&self.exits, &|name| name == probe),
            Milestone::Log(text) => of(&self.logs, &|line| line.contains(text.as_str())),
            Milestone::Mark(name) => {
                let marks = self.marks.iter().filter(|(of_side, mark, _)| {
                    mark.name == *name && side.is_none_or(|side| side == *of_side)
                });
                marks.map(|(.., at)| *at).collect()
            }
            Milestone::GuestStopped => self.guest_stopped.into_iter().collect(),
            Milestone::StampEntry => self.stamp_entry.into_iter().collect(),
            Milestone::StampDecompressed => self.stamp_decompressed.into_iter().collect(),
            Milestone::ClockEpoch => self.clock_epoch.into_iter().collect(),
            Milestone::NodesBegin => self.nodes_begin.into_iter().collect(),
            Milestone::InitcallsBegin => self.initcalls.iter().map(|(begin, _)| *begin).collect(),
            Milestone::InitcallsEnd => {
                self.initcalls.iter().filter_map(|(_, end)| *end).max().into_iter().collect()
            }
        };
        found.sort_unstable();
        found
    }

    /// The first of the alternatives that occurs at all, with its last occurrence.
    pub fn last<'a>(&self, alternatives: &'a [Milestone], side: Side) -> Option<(&'a Milestone, Moment)> {
        alternatives.iter().find_map(|m| Some((m, *self.occurrences(m, Some(side)).last()?)))
    }
}
