//! Tasks: who made whom, and which programs ran in them.

use std::collections::HashMap;

use super::Call;
use crate::{
    evidence::event::Event,
    recording::Side,
    stitch::{Moment, Sighting, Source, What},
};

/// Kind of a program's call: from the task's begin, or from the program before it, to the next one, or
/// the task's end.
pub const PROCESS: &str = "process";

/// The idle task, which makes the first task, and `kthreadd`, which makes every kernel thread (`rest_init`,
/// init/main.c, Linux 7.3): what those make runs the kernel's own code before its first program.
const KERNEL: [u32; 2] = [0, 2];

/// Every task that was seen to be made, to become a program, or to end.
#[derive(Debug, Default)]
pub struct Tasks {
    lives: HashMap<(Side, u32), Life>,
    children: HashMap<(Side, u32), Vec<u32>>,
}

/// What was seen of one task.
#[derive(Debug, Default)]
struct Life {
    /// Who made it, and when.
    born: Option<(u32, Moment)>,
    /// When the kernel said that it makes this its first program (`run_init_process`, init/main.c, Linux 7.3): reading
    /// and mapping it is the program's time, as of every other.
    announced: Option<Moment>,
    /// The systemd unit, or other control group, that it or who made it was put into last.
    unit: Option<String>,
    /// Programs it became: when, on which CPU, which file.
    programs: Vec<(Moment, Option<u32>, String)>,
    /// When it ended, its name then, and whether its process ended with it.
    died: Option<(Moment, String, bool)>,
}

impl Tasks {
    /// Gathers what static events told. Of a number that was given twice the last task counts.
    pub fn new(sightings: &[Sighting]) -> Self {
        let mut tasks = Self::default();
        for sighting in sightings {
            let (side, at) = (sighting.side, sighting.at);
            if let What::Log { text } = &sighting.what
                && text.contains("as init process")
            {
                tasks.lives.entry((side, 1)).or_default().announced.get_or_insert(at);
            }
            let (What::Event { event, .. }, Some(pid)) = (&sighting.what, sighting.pid) else { continue };
            match event {
                Event::Fork { child } => {
                    let born = Some((pid, at));
                    let unit = tasks.lives.get(&(side, pid)).and_then(|life| life.unit.clone());
                    tasks.lives.insert((side, *child), Life { born, unit, ..Life::default() });
                    tasks.children.entry((side, pid)).or_default().push(*child);
                }
                Event::Exec { file } => {
                    let program = (at, sighting.cpu, file.clone());
                    tasks.lives.entry((side, pid)).or_default().programs.push(program);
                }
                Event::End { comm, last } => {
                    let died = Some((at, comm.clone(), *last == Some(true)));
                    tasks.lives.entry((side, pid)).or_default().died = died;
                }
                Event::Attach { pid, group } => {
                    tasks.lives.entry((side, *pid)).or_default().unit = unit(group);
                }
                Event::CpuStep { .. } | Event::CpuStepEnd { .. } => {}
            }
        }
        tasks
    }

    /// Who made a task, and when.
    pub fn born(&self, side: Side, pid: u32) -> Option<(u32, Moment)> {
        self.lives.get(&(side, pid))?.born
    }

    /// Processes that a task made and that ended: which, begin and end.
    pub fn ended_children(&self, side: Side, pid: u32) -> impl Iterator<Item = (u32, Moment, Moment)> {
        let children = self.children.get(&(side, pid)).into_iter().flatten();
        children.filter_map(move |child| {
            let life = self.lives.get(&(side, *child)).filter(|life| self.is_process(side, life))?;
            let ((parent, born), (died, ..)) = (life.born?, life.died.as_ref()?);
            (parent == pid).then_some((*child, born, *died))
        })
    }

    /// A thread's end is not its process's; a process that became no program runs its maker's.
    fn is_process(&self, side: Side, life: &Life) -> bool {
        let by_a_program = || {
            let maker = life.born.and_then(|(parent, _)| self.lives.get(&(side, parent)));
            maker.is_some_and(|maker| !maker.programs.is_empty())
        };
        let ended_whole = life.died.as_ref().is_some_and(|(.., last)| *last);
        !life.programs.is_empty() || ended_whole && by_a_program()
    }

    /// What ran: a call for each program of each process, without kernel threads, by entry. One that
    /// still ran when the evidence ends has no return.
    pub fn processes(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for ((side, pid), life) in self.lives.iter().filter(|((side, _), life)| self.is_process(*side, life))
        {
            let born = life.born.filter(|(parent, _)| !KERNEL.contains(parent)).map(|(_, at)| at);
            let born = born.or(life.announced);
            let died = life.died.as_ref().map(|(at, ..)| *at);
            let comm = life.died.as_ref().map(|(_, comm, _)| comm.clone());
            let call = |name: &str, subject: &str, enter, exit, cpu, comm| Call {
                side: *side,
                name: name.to_owned(),
                kind: PROCESS.to_owned(),
                subject: subject.to_owned(),
                enter,
                exit,
                cpu,
                pid: Some(*pid),
                comm,
                retval: None,
                source: Source::Event,
                carried: None,
                critical: false,
            };
            for (index, (at, cpu, file)) in life.programs.iter().enumerate() {
                let name = file.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(file);
                let enter = if index == 0 { born.unwrap_or(*at) } else { *at };
                let next = life.programs.get(index + 1).map(|(at, ..)| *at);
                // Its name at its end is the last program's.
                let comm = if next.is_none() { comm.clone() } else { None };
                let comm = comm.unwrap_or_else(|| name.chars().take(15).collect());
                let subject =
                    life.unit.as_ref().map_or_else(|| file.clone(), |unit| format!("{file}, {unit}"));
                calls.push(call(name, &subject, enter, next.or(died), *cpu, Some(comm)));
            }
            if let (true, Some(enter), Some(comm)) = (life.programs.is_empty(), born, comm) {
                calls.push(call(&comm, "", enter, died, None, Some(comm.clone())));
            }
        }
        calls.sort_by_key(|call| (call.enter, call.pid));
        calls
    }
}

/// The systemd unit that a control group is of (systemd.unit(5)), else the group itself; `None` at the root.
fn unit(group: &str) -> Option<String> {
    const KINDS: [&str; 5] = [".service", ".scope", ".mount", ".swap", ".socket"];
    let parts = || group.split('/').filter(|part| !part.is_empty());
    let unit = parts().rfind(|part| KINDS.iter().any(|kind| part.ends_with(kind)));
    unit.or_else(|| parts().next_back()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::testing::{event, log};

    fn fork(at: u64, pid: u32, child: u32) -> Sighting {
        event(at, pid, Event::Fork { child })
    }

    fn exec(at: u64, pid: u32, file: &str) -> Sighting {
        event(at, pid, Event::Exec { file: file.into() })
    }

    fn end(at: u64, pid: u32, comm: &str, last: bool) -> Sighting {
        event(at, pid, Event::End { comm: comm.into(), last: Some(last) })
    }

    #[test]
    fn a_program_is_of_the_unit_that_it_or_its_maker_was_put_into() {
        let attach = |at, pid, group: &str| event(at, 1, Event::Attach { pid, group: group.into() });
        let tasks = Tasks::new(&[
            exec(1, 1, "/sbin/init"),
            attach(2, 1, "/init.scope"),
            fork(10, 1, 100),
            attach(12, 100, "/system.slice/luod.service"),
            exec(14, 100, "/usr/sbin/luod"),
            fork(20, 100, 101),
            exec(22, 101, "/usr/bin/vmm"),
            attach(24, 101, "/machine.slice/vm-1.scope/vcpus"),
            fork(30, 1, 102),
            attach(31, 102, "/"),
            exec(32, 102, "/bin/login"),
        ]);
        let subjects: Vec<_> = tasks.processes().into_iter().map(|call| call.subject).collect();
        let expected = [
            "/sbin/init, init.scope",
            "/usr/sbin/luod, luod.service",
            "/usr/bin/vmm, vm-1.scope",
            "/bin/login",
        ];
        assert_eq!(subjects, expected);
    }

    #[test]
    fn programs_are_listed_one_after_the_other_and_threads_are_not() {
        let tasks = Tasks::new(&[
            fork(3, 0, 1),  // the first task, which boots the kernel
            fork(5, 2, 40), // a kernel thread
            log(8, Some(1), "Run /init as init process"),
            exec(10, 1, "/init"),         // its first program
            fork(20, 1, 100),             // a process
            exec(22, 100, "/bin/mount"),  //
            fork(24, 100, 101),           // a thread of it
            end(26, 101, "mount", false), //
            end(30, 100, "mount", true),  //
            fork(35, 1, 102),             // a subshell
            end(38, 102, "init", true),
            end(39, 40, "kworker", true),
            exec(50, 1, "/sbin/init"), // another program in the same task
        ]);
        let ran: Vec<_> = tasks
            .processes()
            .into_iter()
            .map(|call| (call.name, call.pid.unwrap(), call.enter.ticks, call.exit.map(|exit| exit.ticks)))
            .collect();
        let process = |name: &str, pid, from, to| (name.to_owned(), pid, from, to);
        assert_eq!(
            ran,
            [
                process("init", 1, 8, Some(50)),
                process("mount", 100, 20, Some(30)),
                process("init", 102, 35, Some(38)),
                process("init", 1, 50, None),
            ]
        );
        let children: Vec<u32> = tasks.ended_children(Side::Incoming, 1).map(|(child, ..)| child).collect();
        assert_eq!(children, [100, 102]);
        assert_eq!(tasks.ended_children(Side::Incoming, 100).count(), 0);
        assert_eq!(tasks.born(Side::Incoming, 100).map(|(parent, at)| (parent, at.ticks)), Some((1, 20)));
    }
}
