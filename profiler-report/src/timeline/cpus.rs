//! Bringing up the other CPUs: one span a CPU and turn, with the steps that took long.

use std::collections::HashMap;

use super::Call;
use crate::{
    evidence::event::Event,
    recording::Side,
    stitch::{Moment, Sighting, Source, What},
};

/// Family of the probes that see it.
const KIND: &str = "smp";
/// One turn of bringing up one CPU. With parallel bring-up (`cpuhp_bringup_cpus_parallel`, kernel/cpu.c,
/// Linux 7.3) each has two: all are started first, then all are brought online.
pub const CPU_UP: &str = "cpu-up";
/// From the moment a CPU was told to start to the first step it takes itself.
pub const CPU_WAKE: &str = "cpu-wake";
/// The step that tells it: it ends when the CPU has been told.
const KICK: &str = "cpuhp_kick_ap_alive";
/// Lines before and behind it (`bringup_nonboot_cpus` is between them: `smp_init`, kernel/smp.c).
const BEGINS: &str = "Bringing up secondary CPUs";
const ENDS: &str = "Brought up";

/// One step.
struct Step<'a> {
    cpu: u32,
    function: &'a str,
    enter: Moment,
    exit: Moment,
    pid: Option<u32>,
    on: Option<u32>,
}

/// Calls of the incoming kernel's bring-up. `least` is the shortest step that is listed, ticks.
pub fn cpus(sightings: &[Sighting], least: u64) -> Vec<Call> {
    let steps = steps(sightings);
    let mut calls = Vec::new();
    let mut kicked: HashMap<u32, Moment> = HashMap::new();
    for run in steps.chunk_by(|one, next| one.cpu == next.cpu) {
        let (Some(first), Some(last)) = (run.first(), run.iter().map(|step| step.exit).max()) else {
            continue;
        };
        let call = |name: &str, pid, enter, exit| Call {
            side: Side::Incoming,
            name: name.to_owned(),
            kind: KIND.to_owned(),
            subject: format!("CPU {}", first.cpu),
            enter,
            exit: Some(exit),
            cpu: first.on,
            pid,
            comm: None,
            retval: None,
            source: Source::Event,
            carried: None,
            critical: false,
        };
        // The control CPU's task waits for what the other one does: all of it is its time.
        calls.push(call(CPU_UP, first.pid, first.enter, last));
        for step in run {
            if step.on == Some(step.cpu)
                && let Some(told) = kicked.remove(&step.cpu)
            {
                // Told in an earlier turn: nobody waited for it alone.
                let pid = if told >= first.enter { first.pid } else { None };
                calls.push(call(CPU_WAKE, pid, told, step.enter));
            }
            if step.function == KICK {
                kicked.insert(step.cpu, step.exit);
            }
            if step.exit.ticks.saturating_sub(step.enter.ticks) >= least && !step.function.is_empty() {
                calls.push(call(step.function, first.pid, step.enter, step.exit));
            }
        }
    }
    calls
}

/// Steps by their begin, between the two lines.
fn steps(sightings: &[Sighting]) -> Vec<Step<'_>> {
    let says = |text: &'static str| move |sighting: &&Sighting| matches!(&sighting.what, What::Log { text: line } if line.contains(text));
    let (Some(from), Some(to)) = (sightings.iter().find(says(BEGINS)), sightings.iter().find(says(ENDS)))
    else {
        return Vec::new();
    };
    let inside = sightings
        .iter()
        .filter(|s| s.side == Side::Incoming && (from.at.ticks..to.at.ticks).contains(&s.at.ticks));
    let mut steps: Vec<Step> = Vec::new();
    // Open steps by task and CPU: a step may run others, of the same CPU in another task.
    let mut open: HashMap<(Option<u32>, Option<u32>, u32), Vec<usize>> = HashMap::new();
    for sighting in inside {
        let What::Event { event, function, .. } = &sighting.what else { continue };
        match event {
            Event::CpuStep { cpu, .. } => {
                open.entry((sighting.pid, sighting.cpu, *cpu)).or_default().push(steps.len());
                steps.push(Step {
                    cpu: *cpu,
                    function: function.as_deref().unwrap_or_default(),
                    enter: sighting.at,
                    exit: sighting.at,
                    pid: sighting.pid,
                    on: sighting.cpu,
                });
            }
            Event::CpuStepEnd { cpu } => {
                let begun = open.get_mut(&(sighting.pid, sighting.cpu, *cpu)).and_then(Vec::pop);
                if let Some(step) = begun.and_then(|index| steps.get_mut(index)) {
                    step.exit = sighting.at;
                }
            }
            _ => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::CATALOGUE,
        timeline::testing::{log, sighting},
    };

    fn step(from: u64, to: u64, pid: u32, on: u32, cpu: u32, function: &str) -> [Sighting; 2] {
        let probe = CATALOGUE.by_name("cpu-step").unwrap();
        let at = |ticks, event, function| Sighting {
            cpu: Some(on),
            ..sighting(ticks, Some(pid), What::Event { probe, event, function })
        };
        [
            at(from, Event::CpuStep { cpu, function: 0 }, Some(function.to_owned())),
            at(to, Event::CpuStepEnd { cpu }, None),
        ]
    }

    fn told(steps: &[[Sighting; 2]]) -> Vec<(String, String, Option<u32>, u64, u64)> {
        let mut all = vec![log(100, Some(1), "smp: Bringing up secondary CPUs ...")];
        all.extend(steps.iter().flatten().cloned());
        all.push(log(900, Some(1), "smp: Brought up 1 node, 3 CPUs"));
        // A state that is registered later runs on every CPU: no bring-up.
        all.extend(step(950, 960, 1, 0, 1, "late_state"));
        all.sort_by_key(|sighting| sighting.at);
        let calls = cpus(&all, 50);
        calls.into_iter().map(|c| (c.name, c.subject, c.pid, c.enter.ticks, c.exit.unwrap().ticks)).collect()
    }

    #[test]
    fn one_cpu_after_the_other_is_one_span_each_and_the_boot_task_waits_for_all_of_it() {
        let calls = told(&[
            step(110, 120, 1, 0, 1, KICK),
            step(130, 300, 1, 0, 1, "cpuhp_bringup_ap"),
            step(200, 210, 0, 1, 1, "starting"),
            step(310, 320, 1, 0, 2, KICK),
            step(400, 410, 0, 2, 2, "starting"),
        ]);
        let call = |name: &str, cpu, pid, from, to| (name.to_owned(), format!("CPU {cpu}"), pid, from, to);
        assert_eq!(
            calls,
            [
                call(CPU_UP, 1, Some(1), 110, 300),
                call("cpuhp_bringup_ap", 1, Some(1), 130, 300),
                call(CPU_WAKE, 1, Some(1), 120, 200),
                call(CPU_UP, 2, Some(1), 310, 410),
                call(CPU_WAKE, 2, Some(1), 320, 400),
            ]
        );
    }

    #[test]
    fn started_together_nobody_waits_for_one_alone() {
        let calls = told(&[
            step(110, 120, 1, 0, 1, KICK),
            step(130, 140, 1, 0, 2, KICK),
            step(200, 220, 0, 1, 1, "starting"),
            step(230, 240, 0, 2, 2, "starting"),
        ]);
        let wakes: Vec<_> = calls.iter().filter(|(name, ..)| name == CPU_WAKE).collect();
        assert!(wakes.iter().all(|(.., pid, _, _)| pid.is_none()), "{calls:?}");
        assert_eq!(calls.iter().filter(|(name, ..)| name == CPU_UP).count(), 4);
    }
}
