//! The stretches of the window, between calls of kernel functions, and what was executed in each.

use super::counts::Counts;
use super::symbols::{Place, Symbols};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// A stretch, from a call of a function (Linux 7.3) to that of the next stretch's.
struct Stretch {
    name: &'static str,
    begins: &'static str,
    /// What runs in the lower half of the address space.
    low: &'static str,
}

const USER: &str = "user space";
/// Code that the running kernel made.
const MADE: &str = "programs, trampolines";

/// In their order, up to the call of [`END`]. The first begins where the workload has read its clock and says so on the
/// console: with blackout the process that is to call `reboot(2)` comes then.
const STRETCHES: [Stretch; 8] = [
    Stretch { name: "to reboot(2)", begins: "n_tty_write", low: USER },
    Stretch { name: "reboot(2)", begins: "__do_sys_reboot", low: USER },
    Stretch { name: "before boot", begins: JUMP, low: "purgatory, decompressor" },
    Stretch { name: "boot to kernel_init", begins: "start_kernel", low: USER },
    Stretch { name: "to the first process", begins: "kernel_init", low: USER },
    Stretch { name: "to the restore", begins: "run_init_process", low: USER },
    Stretch { name: "restore", begins: "luo_open", low: USER },
    Stretch { name: "finish", begins: "luo_session_finish", low: USER },
];
/// The outgoing kernel's last, and the only border of which there is one in a live update.
const JUMP: &str = "machine_kexec";
/// The workload closes its sessions once all of them are finished.
const END: &str = "luo_session_release";

/// What was executed in a stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Executed {
    /// The stretch.
    pub stretch: &'static str,
    /// Instructions, as the plugin counted them.
    pub total: u64,
    /// Instructions by function.
    pub functions: BTreeMap<String, u64>,
}

/// The addresses of the functions at which stretches begin and end.
///
/// # Errors
/// When the kernel has no such function.
pub fn borders(symbols: &Symbols) -> Result<Vec<u64>> {
    let names = STRETCHES.iter().map(|stretch| stretch.begins).chain([END]);
    names.map(|name| symbols.address(name).with_context(|| format!("no function `{name}`"))).collect()
}

/// What was executed in each stretch of the window. It is around the last jump: before that the last call of each
/// function begins a stretch, and after it the first.
///
/// # Errors
/// When the machine did not come so far.
pub fn window(counts: &[Counts], symbols: &Symbols) -> Result<Vec<Executed>> {
    let borders = borders(symbols)?;
    let never = |at: usize| {
        let name = STRETCHES.get(at).map_or(END, |stretch| stretch.begins);
        move || format!("the machine never came to `{name}`")
    };
    let jump = STRETCHES.iter().position(|stretch| stretch.begins == JUMP).unwrap_or_default();
    // Where in `counts` each border is.
    let mut places = VecDeque::new();
    for (at, border) in borders.iter().enumerate().take(jump + 1).rev() {
        let before = counts.get(..places.front().copied().unwrap_or(counts.len())).unwrap_or_default();
        places.push_front(before.iter().rposition(|part| part.until == *border).with_context(never(at))?);
    }
    for (at, border) in borders.iter().enumerate().skip(jump + 1) {
        let from = places.back().map_or(0, |last| last + 1);
        let place = counts.iter().skip(from).position(|part| part.until == *border);
        places.push_back(from + place.with_context(never(at))?);
    }
    let parts = places.iter().zip(places.iter().skip(1)).map(|(begin, end)| counts.get(begin + 1..=*end));
    let stretches = STRETCHES.iter().zip(parts);
    Ok(stretches.map(|(stretch, parts)| executed(stretch, parts.unwrap_or_default(), symbols)).collect())
}

fn executed(stretch: &Stretch, parts: &[Counts], symbols: &Symbols) -> Executed {
    let mut all = Executed { stretch: stretch.name, ..Executed::default() };
    for part in parts {
        all.total += part.total;
        for (address, count) in &part.blocks {
            let function = match symbols.place(*address) {
                Place::Low => stretch.low,
                Place::Function(name) => name,
                Place::Made => MADE,
            };
            match all.functions.get_mut(function) {
                Some(sum) => *sum += count,
                None => drop(all.functions.insert(function.to_owned(), *count)),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every border function, 0x100 apart, and one more behind them.
    fn symbols() -> Symbols {
        let names = STRETCHES.iter().map(|stretch| stretch.begins).chain([END, "other"]);
        let lines = names.enumerate().map(|(at, name)| format!("ffffffff81000{at}00 T {name}\n"));
        Symbols::parse(&(lines.collect::<String>() + "ffffffff81001000 B _end\n")).unwrap()
    }

    fn part(symbols: &Symbols, until: &str, blocks: &[(u64, u64)]) -> Counts {
        let total = blocks.iter().map(|(_, count)| count).sum();
        Counts { until: symbols.address(until).unwrap(), total, blocks: blocks.to_vec() }
    }

    #[test]
    fn the_window_is_around_the_last_jump() {
        let symbols = symbols();
        let other = symbols.address("other").unwrap();
        // The first boot comes to the same functions.
        let mut counts = vec![part(&symbols, "start_kernel", &[(other, 999)])];
        counts.extend(["kernel_init", "luo_open"].map(|name| part(&symbols, name, &[(other, 999)])));
        let ends = STRETCHES.iter().map(|stretch| stretch.begins).chain([END]);
        counts.extend(ends.map(|end| part(&symbols, end, &[(other + 4, 3), (0x1000, 2), (1 << 63, 1)])));
        // Again within the restore, and what comes behind the window.
        counts.insert(10, part(&symbols, "luo_open", &[(other, 10)]));
        counts.push(part(&symbols, END, &[(other, 999)]));

        let window = window(&counts, &symbols).unwrap();
        let totals: Vec<_> = window.iter().map(|part| (part.stretch, part.total)).collect();
        assert_eq!(totals[..3], [("to reboot(2)", 6), ("reboot(2)", 6), ("before boot", 6)]);
        assert_eq!(totals[6..], [("restore", 16), ("finish", 6)]);
        let before = &window[2].functions;
        assert_eq!((before["other"], before["purgatory, decompressor"], before[MADE]), (3, 2, 1));
        assert!(window.iter().all(|part| part.functions.values().sum::<u64>() == part.total));
    }

    #[test]
    fn a_machine_that_did_not_come_so_far_has_no_window() {
        let symbols = symbols();
        let error = |names: &[&str]| {
            let counts: Vec<_> = names.iter().map(|name| part(&symbols, name, &[])).collect();
            window(&counts, &symbols).unwrap_err().to_string()
        };
        assert!(error(&["start_kernel"]).contains("`machine_kexec`"));
        assert!(error(&[JUMP]).contains("`__do_sys_reboot`"));
        assert!(error(&["__do_sys_reboot", JUMP]).contains("`n_tty_write`"));
        assert!(error(&["n_tty_write", "__do_sys_reboot", JUMP, "start_kernel"]).contains("`kernel_init`"));
    }
}
