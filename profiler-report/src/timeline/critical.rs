//! The critical path: what a phase waited for, walked back from its end.
//!
//! The walk follows the task that ended the phase. Where that task waited for another, and the evidence
//! shows it, the walk goes on in the other one: a process waits for the process it made if it did nothing
//! else until that ended; the boot task waits for the threads that initialise deferred pages; and before
//! a task's begin the phase waited for its maker. What ran beside the path lengthened nothing.

use std::collections::HashMap;

use super::{Call, Cell, Tasks, nodes::NODE, tasks::PROCESS};
use crate::{
    catalogue::Place,
    recording::Side,
    stitch::{Moment, Sighting},
};

/// The task that boots the kernel once it has tasks (`kernel_init`, init/main.c, Linux 7.3).
const BOOT_TASK: u32 = 1;
/// Calls that a kexec which works never returns from: all that follows is inside them.
const NO_RETURN: [&str; 2] = ["reboot-syscall", "kernel-kexec"];
/// Makers of makers that are followed.
const DEPTH: usize = 64;

/// A stretch of a phase's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The innermost call of the path's task, as an index into the calls; `None` where none was seen.
    pub call: Option<usize>,
    /// Its begin.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
}

/// Finds paths.
pub struct Paths<'a> {
    calls: &'a [Call],
    tasks: &'a Tasks,
    sightings: &'a [Sighting],
    /// Calls of each task that last, by entry, outer before inner.
    of_task: HashMap<(Side, u32), Vec<usize>>,
    /// Calls that the boot task waits for.
    joined: Vec<usize>,
}

impl<'a> Paths<'a> {
    /// Sorts the calls by task.
    pub fn new(calls: &'a [Call], tasks: &'a Tasks, sightings: &'a [Sighting]) -> Self {
        let mut of_task: HashMap<(Side, u32), Vec<usize>> = HashMap::new();
        let mut joined = Vec::new();
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| end(call) > call.enter.ticks) {
            if let Some(pid) = call.pid {
                of_task.entry((call.side, pid)).or_default().push(index);
            }
            if call.name == NODE {
                joined.push(index);
            }
        }
        for indices in of_task.values_mut() {
            let order = |index: &usize| {
                calls.get(*index).map(|call| (call.enter.ticks, std::cmp::Reverse(end(call))))
            };
            indices.sort_by_key(order);
        }
        Self { calls, tasks, sightings, of_task, joined }
    }

    /// The path of a phase, in order of time and without a hole; empty if nobody is known to have ended
    /// the phase.
    pub fn of(&self, cell: &Cell) -> Vec<Link> {
        let side = match cell.place {
            Place::Outgoing => Side::Outgoing,
            Place::Incoming => Side::Incoming,
            Place::Jump => return Vec::new(),
        };
        let mut links = Vec::new();
        if let Some(task) = self.ending_task(side, cell) {
            self.walk((side, task), cell.begin, cell.end, DEPTH, &mut links);
        }
        links.reverse();
        links
    }

    /// Calls that lie on a path with any of their time.
    pub fn on(&self, links: &[Link]) -> Vec<usize> {
        let mut on = Vec::new();
        for link in links {
            // Whatever holds the innermost call is on the path with it.
            let Some(call) = link.call.and_then(|index| self.calls.get(index)) else { continue };
            let Some(own) = call.pid.and_then(|pid| self.of_task.get(&(call.side, pid))) else { continue };
            let holds = |index: &usize| {
                self.calls
                    .get(*index)
                    .is_some_and(|outer| outer.enter.ticks < link.to.ticks && end(outer) > link.from.ticks)
            };
            on.extend(own.iter().copied().filter(holds));
        }
        on.sort_unstable();
        on.dedup();
        on
    }

    /// The task whose call ends the phase or begins the next one; else the one that wrote the log line
    /// there; else the one whose call was the last to end.
    fn ending_task(&self, side: Side, cell: &Cell) -> Option<u32> {
        let here = |call: &&Call| call.side == side && call.pid.is_some();
        let touches = |call: &&Call| call.enter == cell.end || call.exit == Some(cell.end);
        let inside = |call: &&Call| {
            call.exit.is_some_and(|exit| exit > cell.begin && exit < cell.end) && call.kind != PROCESS
        };
        let wrote = || self.sightings.iter().find(|s| s.side == side && s.at == cell.end && s.pid.is_some());
        let touching = self.calls.iter().filter(here).find(touches).and_then(|call| call.pid);
        let last = || self.calls.iter().filter(here).filter(inside).max_by_key(|call| call.exit)?.pid;
        touching.or_else(|| wrote()?.pid).or_else(last)
    }

    /// Links of `task` from `to` back to `from`, the latest first.
    fn walk(&self, task: (Side, u32), from: Moment, to: Moment, depth: usize, links: &mut Vec<Link>) {
        let born =
            self.tasks.born(task.0, task.1).filter(|(_, at)| at.ticks > from.ticks && at.ticks <= to.ticks);
        let floor = born.map_or(from, |(_, at)| at);
        let mut at = to;
        while depth > 0
            && let Some((other, begin, end)) = self.waited_for(task, floor, at)
        {
            self.stretch(task, end, at, links);
            self.walk((task.0, other), begin, end, depth - 1, links);
            at = begin;
        }
        self.stretch(task, floor, at, links);
        match born {
            Some((maker, _)) if depth > 0 => self.walk((task.0, maker), from, floor, depth - 1, links),
            Some(_) => links.push(Link { call: None, from, to: floor }),
            None => {}
        }
    }

    /// What the task waited for last between two moments: the other task, its begin and its end.
    fn waited_for(&self, task: (Side, u32), from: Moment, to: Moment) -> Option<(u32, Moment, Moment)> {
        let children = self.tasks.ended_children(task.0, task.1);
        let joined = self.joined.iter().filter(|_| task.1 == BOOT_TASK).filter_map(|index| {
            let call =
                self.calls.get(*index).filter(|call| call.side == task.0 && call.pid != Some(task.1))?;
            Some((call.pid?, call.enter, call.exit?))
        });
        let inside = |(_, begin, end): &(u32, Moment, Moment)| {
            begin.ticks >= from.ticks && end.ticks <= to.ticks && begin.ticks < end.ticks
        };
        let idle = |(_, begin, end): &(u32, Moment, Moment)| self.idle(task, *begin, *end);
        children.chain(joined).filter(inside).filter(idle).max_by_key(|(.., end)| *end)
    }

    /// Whether no call of the task begins between two moments, programs aside.
    fn idle(&self, task: (Side, u32), from: Moment, to: Moment) -> bool {
        let own = self.of_task.get(&task).into_iter().flatten().filter_map(|index| self.calls.get(*index));
        let mut begun = own.filter(|call| call.kind != PROCESS);
        !begun.any(|call| call.enter.ticks > from.ticks && call.enter.ticks < to.ticks)
    }

    /// One task's part of the path, divided by its innermost calls; the latest first.
    fn stretch(&self, task: (Side, u32), from: Moment, to: Moment, links: &mut Vec<Link>) {
        let mut forward: Vec<Link> = Vec::new();
        let mut push = |call: Option<usize>, until: Moment| {
            let begin = forward.last().map_or(from, |link| link.to);
            if until.ticks > begin.ticks {
                forward.push(Link { call, from: begin, to: until });
            }
        };
        // Calls that are open, outer first.
        let mut open: Vec<usize> = Vec::new();
        let close = |open: &mut Vec<usize>, until: u64, push: &mut dyn FnMut(Option<usize>, Moment)| {
            while let Some((index, call)) =
                open.last().and_then(|index| Some((*index, self.calls.get(*index)?)))
                && end(call) <= until
            {
                push(Some(index), call.exit.unwrap_or(to));
                open.pop();
            }
        };
        for index in self.of_task.get(&task).into_iter().flatten() {
            let Some(call) = self.calls.get(*index) else { continue };
            if call.enter.ticks >= to.ticks || end(call) <= from.ticks {
                continue;
            }
            close(&mut open, call.enter.ticks, &mut push);
            push(open.last().copied(), call.enter);
            open.push(*index);
        }
        close(&mut open, to.ticks, &mut push);
        push(open.last().copied(), to);
        links.extend(forward.into_iter().rev());
    }
}

/// Where a call ends, ticks.
fn end(call: &Call) -> u64 {
    let stays = call.exit.is_none() && NO_RETURN.contains(&call.name.as_str());
    if stays { u64::MAX } else { call.end_ticks() }
}

#[cfg(test)]
#[path = "critical_tests.rs"]
mod tests;
