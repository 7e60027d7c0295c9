//! Puts the eBPF programs into the kernel.

use std::{fs, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    programs::{KProbe, links::FdLink},
};

use super::{AgentError, missed, ticks::ticks};
use crate::{
    catalogue::{CATALOGUE, Probe, Way},
    recording::{
        Side,
        frame::{Coverage, ProbeState},
    },
};

/// The programs, built by `cargo xtask ebpf`; instructions are little-endian words, so it is aligned.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../profiler-ebpf/prebuilt/blackout-probes.bpf.o");

const PROGRAMS: [&str; 3] = ["enter_plain", "enter_named", "exit"];

const PIN_DIR: &str = "/sys/fs/bpf/blackout";

/// Whether probes are pinned in bpffs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// They must outlive this process.
    Must,
    /// Only to ask what they missed.
    May,
}

/// Loaded programs; their probes end with this value unless they were pinned.
pub struct Probes {
    ebpf: Ebpf,
}

impl Probes {
    /// Loads the programs and attaches every probe that `side` wants, by trying; pinned
    /// probes stay when this process ends.
    ///
    /// A probe that cannot be attached is an entry in the coverage, not an error.
    pub fn attach(side: Side, pin: Pin) -> Result<(Self, Coverage), AgentError> {
        let mut coverage = Coverage { load_begin_tsc: ticks(), ..Coverage::default() };
        let mut ebpf = EbpfLoader::new().load(OBJECT)?;
        for program in PROGRAMS {
            kprobe(&mut ebpf, program)?
                .load()
                .map_err(|source| AgentError::LoadProgram { program, source })?;
        }
        coverage.loaded_tsc = ticks();
        let pinned = match fs::create_dir_all(PIN_DIR) {
            Err(source) if pin == Pin::Must => return Err(AgentError::file("create", PIN_DIR)(source)),
            created => created.is_ok(),
        };
        for probe in &CATALOGUE.probes {
            let ways = match side {
                Side::Outgoing => &probe.outgoing,
                Side::Incoming => &probe.incoming,
            };
            let returns = ways.contains(&Way::Call);
            if returns || ways.contains(&Way::Enter) {
                coverage.probes.push(attach_one(&mut ebpf, probe, returns, pinned)?);
            }
        }
        coverage.attached_tsc = ticks();
        Ok((Self { ebpf }, coverage))
    }

    /// Takes the probes out; gives the records begun and the records refused since loading.
    pub fn finish(mut self) -> Option<(u64, u64)> {
        use profiler_common::record::{REJECTED, SEEN};
        for program in PROGRAMS {
            // A program that cannot be taken out goes with the process.
            let _ = kprobe(&mut self.ebpf, program).map(KProbe::unload);
        }
        let map = aya::maps::Array::<_, u64>::try_from(self.ebpf.map("COUNTERS")?).ok()?;
        Some((map.get(&SEEN, 0).ok()?, map.get(&REJECTED, 0).ok()?))
    }
}

/// Calls that the pinned probes could not show.
pub fn missed() -> Vec<(String, u64)> {
    missed::of_pinned(Path::new(PIN_DIR))
}

/// Takes pinned probes out of the kernel; nothing to do is fine.
pub fn unpin() -> Result<(), AgentError> {
    if !Path::new(PIN_DIR).exists() {
        return Ok(());
    }
    fs::remove_dir_all(PIN_DIR).map_err(AgentError::file("remove", PIN_DIR))
}

fn kprobe<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut KProbe, AgentError> {
    let program_mut = ebpf.program_mut(program).ok_or(AgentError::Program(program))?;
    program_mut.try_into().map_err(|_| AgentError::Program(program))
}

/// Tries the symbols of one probe in order.
fn attach_one(ebpf: &mut Ebpf, probe: &Probe, returns: bool, pin: bool) -> Result<ProbeState, AgentError> {
    let entry = if probe.named { "enter_named" } else { "enter_plain" };
    let mut state =
        ProbeState { probe: probe.name.clone(), symbol: None, method: "kprobe".to_owned(), error: None };
    for symbol in &probe.symbols {
        let attached = hook(kprobe(ebpf, entry)?, symbol, pin).and_then(|()| {
            if !returns {
                return Ok(());
            }
            let exit = kprobe(ebpf, "exit").map_err(|error| error.to_string())?;
            hook(exit, symbol, pin)
        });
        match attached {
            Ok(()) => {
                state.symbol = Some(symbol.clone());
                state.error = None;
                break;
            }
            Err(error) => state.error = Some(error),
        }
    }
    Ok(state)
}

/// Attaches one program to one symbol; the error is text for the coverage table.
fn hook(program: &mut KProbe, symbol: &str, pin: bool) -> Result<(), String> {
    let kind = format!("{:?}", program.kind()).to_lowercase();
    let link = program.attach(symbol, 0).map_err(|error| reason(&error))?;
    if pin {
        let link = program.take_link(link).map_err(|error| reason(&error))?;
        let link: FdLink = link.try_into().map_err(|error| reason(&error))?;
        link.pin(Path::new(PIN_DIR).join(format!("{symbol}-{kind}"))).map_err(|error| reason(&error))?;
    }
    Ok(())
}

/// The innermost cause: the outer layers repeat what the coverage table says already.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
