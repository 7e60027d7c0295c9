//! Functions that are called once a page (`--hot`): counted in the kernel by one program on a trampoline each.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use profiler_common::hot::{self, EPOCHS, kfunc};
use profiler_mark::ticks;
use profiler_report::{
    catalogue::{CATALOGUE, Milestone, Probe, Way},
    recording::{
        Side,
        frame::{Counted, ProbeState, Share},
    },
};

use super::bpf::{
    Object, Oracle,
    link::{self, End, Place},
    sys::{self, Kind},
};
use crate::btf::Btf;

/// Where the shares are written out: as late as the vCPUs' last exits.
const FLUSH_AT: &std::ffi::CStr = c"machine_kexec";

/// What is attached.
#[derive(Debug, Default)]
pub struct Hot {
    /// How each probe went.
    pub states: Vec<ProbeState>,
    /// Links, by name.
    pub links: Vec<(String, OwnedFd)>,
    /// Addresses and names of the functions, in the order of their numbers.
    pub functions: Vec<(u64, String)>,
}

/// Room that `side` needs: functions and epochs.
pub fn shares(side: Side) -> u32 {
    probes(side).count() as u32 * EPOCHS
}

/// Counts what `side` wants counted, in a kernel whose functions the programs know (`ready`). What cannot be is an
/// entry in the coverage, not an error.
pub fn attach(object: &Object, oracle: &Oracle, ready: &Result<&Btf, String>, side: Side) -> Hot {
    let mut counted = Hot::default();
    for probe in probes(side) {
        let attached = ready.clone().and_then(|btf| counted.add(object, oracle, btf, probe));
        counted.states.push(ProbeState {
            probe: probe.name.clone(),
            symbol: attached.as_ref().ok().cloned(),
            method: "fsession".to_owned(),
            attached_tsc: attached.is_ok().then(ticks),
            error: attached.err(),
        });
    }
    if !counted.functions.is_empty()
        && let Err(error) = counted.around(object, side)
    {
        counted.states.iter_mut().for_each(|state| state.error = Some(error.clone()));
    }
    counted
}

impl Hot {
    /// Counts one function, under the first of its symbols that the kernel takes; gives that symbol.
    fn add(&mut self, object: &Object, oracle: &Oracle, btf: &Btf, probe: &Probe) -> Result<String, String> {
        let mut error = "No such file or directory".to_owned();
        for symbol in &probe.symbols {
            let (Some(function), Some(address)) = (btf.function(symbol), oracle.address(symbol)) else {
                continue;
            };
            let number = self.functions.len() as u32;
            let attached =
                object.load("hot_call", Kind::Session(function)).map_err(|error| error.to_string());
            let attached = attached.and_then(|program| {
                set(object, "HOT_FUNCTIONS", number, address)?;
                link::session(program.as_fd(), number.into()).map_err(|error| error.to_string())
            });
            match attached {
                Ok(link) => {
                    self.links.push((format!("{symbol}-counted"), link));
                    self.functions.push((address, symbol.clone()));
                    return Ok(symbol.clone());
                }
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    /// What tells the epochs apart, and what writes the shares out.
    fn around(&mut self, object: &Object, side: Side) -> Result<(), String> {
        set(object, "HOT_STATE", hot::COUNTED, self.functions.len() as u64)?;
        let pmu = link::kprobe_pmu().map_err(|error| format!("no kprobe events: {error}"))?;
        let epoch = object.load("hot_epoch", Kind::Kprobe).map_err(|error| error.to_string())?;
        for (phase, number) in CATALOGUE.epochs(side.into()).zip(1..) {
            let symbols = phase.begin.iter().filter_map(|begin| match begin {
                Milestone::Enter(probe) => CATALOGUE.by_name(probe),
                _ => None,
            });
            // Without it, calls are counted in the epoch before.
            let link = symbols.flat_map(|probe| &probe.symbols).find_map(|symbol| {
                let symbol = sys::c_string(symbol.as_bytes()).ok()?;
                link::kprobe(epoch.as_fd(), Place::Symbol(&symbol), End::Entry, pmu, number).ok()
            });
            self.links.extend(link.map(|link| (format!("epoch-{number}"), link)));
        }
        if side == Side::Outgoing {
            let flush = object.load("hot_flush", Kind::Kprobe).map_err(|error| error.to_string())?;
            let link = link::kprobe(flush.as_fd(), Place::Symbol(FLUSH_AT), End::Entry, pmu, 0);
            self.links.push(("hot-flush".to_owned(), link.map_err(|error| error.to_string())?));
        }
        Ok(())
    }
}

/// Reads what was counted; `None` if the kernel does not give it.
pub fn read(object: &Object, functions: &[(u64, String)]) -> Option<Counted> {
    let (map, state) = (object.map("HOT_SHARES").ok()?, object.map("HOT_STATE").ok()?);
    let cpus = possible_cpus()?;
    let of = |index| sys::array_word(state, index).ok();
    let mut counted = Counted {
        unpaired: of(hot::UNPAIRED)?,
        sampled: (of(hot::SAMPLES)?, of(hot::SAMPLED_NS)?),
        ..Counted::default()
    };
    for (number, (ip, _)) in (0..).zip(functions) {
        for epoch in 0..EPOCHS {
            let shares: Vec<hot::Share> = sys::per_cpu_values(map, number * EPOCHS + epoch, cpus).ok()?;
            let taken = (0..).zip(&shares).filter(|(_, share)| share.count > 0);
            counted.shares.extend(taken.map(|(cpu, share)| {
                Share {
                    ip: *ip,
                    epoch,
                    cpu,
                    count: share.count,
                    total_ns: share.total_ns,
                    min_ns: share.min_ns,
                    max_ns: share.max_ns,
                    buckets: (0..)
                        .zip(&share.buckets)
                        .filter(|(_, calls)| **calls > 0)
                        .map(|(bucket, calls)| (bucket, u64::from(*calls)))
                        .collect(),
                }
            }));
        }
    }
    Some(counted)
}

fn probes(side: Side) -> impl Iterator<Item = &'static Probe> {
    let ways = move |probe: &'static Probe| match side {
        Side::Outgoing => &probe.outgoing,
        Side::Incoming => &probe.incoming,
    };
    CATALOGUE.probes.iter().filter(move |probe| ways(probe).contains(&Way::Hot))
}

/// Tells the programs where the kernel's functions are that they call.
pub fn kernel_functions<'b>(object: &mut Object, btf: Option<&'b Btf<'b>>) -> Result<&'b Btf<'b>, String> {
    let btf = btf.ok_or("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")?;
    let ids = kfunc::NAMES.iter().map(|name| (name, btf.function(name)));
    let ids = ids.map(|(name, id)| id.ok_or_else(|| format!("the kernel has no {name} (Linux 7.0)")));
    object.set_kfuncs(ids.collect::<Result<_, _>>()?);
    Ok(btf)
}

fn set(object: &Object, map: &'static str, index: u32, value: u64) -> Result<(), String> {
    let map = object.map(map).map_err(|error| error.to_string())?;
    sys::array_set(map, index, &value).map_err(|error| error.to_string())
}

/// CPUs for which maps hold values: one more than the highest of a list such as `0-3,8`.
fn possible_cpus() -> Option<usize> {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    Some(list.trim().rsplit([',', '-']).next()?.parse::<usize>().ok()? + 1)
}
