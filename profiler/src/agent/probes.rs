//! Puts the probes of the catalogue into the kernel.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use profiler_common::record::{NAMED, REJECTED, SEEN};

use super::{
    AgentError,
    bpf::{
        BpfError, Object, Oracle,
        sys::{self, End, Kind},
    },
    missed,
    ticks::ticks,
    vcpus,
};
use crate::{
    catalogue::{CATALOGUE, Probe, Way},
    recording::{
        Side,
        frame::{Coverage, ProbeState},
    },
};

const PIN_DIR: &str = "/sys/fs/bpf/blackout";

/// How the kernel numbers its kprobe events; absent without `CONFIG_KPROBE_EVENTS`.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Probes in the kernel; they end with this value unless they were pinned.
pub struct Probes {
    object: Object,
    links: Vec<(String, OwnedFd)>,
    /// Address and name of every function that is probed.
    pub symbols: Vec<(u64, String)>,
}

impl Probes {
    /// Loads the programs and attaches every probe that `side` wants, by trying. In the outgoing kernel
    /// they are pinned and stay when this process ends.
    ///
    /// Each probe of its own costs a walk over all traceable functions, and one that serves many costs
    /// some of them, once. So in the incoming kernel the urgent ones come first, one by one, each before
    /// the restore can need it, and the rest by one such probe.
    ///
    /// A probe that cannot be attached is an entry in the coverage, not an error.
    pub fn attach(side: Side) -> Result<(Self, Coverage), AgentError> {
        let mut coverage = Coverage { load_begin_tsc: ticks(), ..Coverage::default() };
        let object = Object::prepare()?;
        // First of all: guests do not wait for us.
        let (states, links) = vcpus::attach(&object, side);
        coverage.probes = states;
        let singly = Singly::new(&object)?;
        coverage.loaded_tsc = ticks();
        let mut probes = Self { object, links, symbols: Vec::new() };
        let wanted = CATALOGUE.probes.iter().filter_map(|probe| Wanted::of(probe, side));
        let (first, rest): (Vec<_>, Vec<_>) =
            wanted.partition(|wanted| side == Side::Outgoing || wanted.probe.urgent);
        for wanted in &first {
            coverage.probes.push(probes.one_by_one(&singly, wanted));
        }
        coverage.probes.extend(probes.together(&singly, &rest)?);
        coverage.attached_tsc = ticks();
        if side == Side::Outgoing {
            probes.pin()?;
        }
        let oracle = Oracle::new(&probes.object)?;
        let symbols = coverage.probes.iter().filter_map(|state| state.symbol.as_ref());
        probes.symbols =
            symbols.filter_map(|symbol| Some((oracle.address(symbol)?, symbol.clone()))).collect();
        Ok((probes, coverage))
    }

    /// Calls that the probes could not show so far: probe and how many.
    pub fn missed(&self) -> Vec<(String, u64)> {
        missed::of_links(self.links.iter().map(|(name, link)| (name.as_str(), link.as_fd())))
    }

    /// Events of vCPUs that found no room in the programs' maps.
    pub fn refused_vcpu_events(&self) -> Option<u64> {
        vcpus::refused(&self.object)
    }

    /// Takes the probes out; gives the records begun and the records refused since loading.
    pub fn finish(self) -> Option<(u64, u64)> {
        drop(self.links);
        let counters = self.object.map("COUNTERS").ok()?;
        Some((sys::array_word(counters, SEEN).ok()?, sys::array_word(counters, REJECTED).ok()?))
    }

    /// Gives a function probes of its own, under the first of its symbols that takes them.
    fn one_by_one(&mut self, singly: &Singly, wanted: &Wanted) -> ProbeState {
        let mut state = wanted.state("kprobe");
        for symbol in &wanted.probe.symbols {
            match singly.attach(symbol, wanted) {
                Ok(links) => {
                    self.links.extend(links);
                    state.attached_tsc = Some(ticks());
                    state.symbol = Some(symbol.clone());
                    state.error = None;
                    break;
                }
                Err(error) => state.error = Some(error.to_string()),
            }
        }
        state
    }

    /// Attaches many with one link for all entries and one for all returns; where the kernel refuses that,
    /// one by one.
    fn together(&mut self, singly: &Singly, wanted: &[Wanted]) -> Result<Vec<ProbeState>, BpfError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let oracle = Oracle::new(&self.object)?;
        let find = |wanted: &Wanted| {
            let symbol =
                wanted.probe.symbols.iter().find_map(|symbol| Some((oracle.address(symbol)?, symbol)));
            symbol.map(|(address, symbol)| (address, symbol.clone()))
        };
        let found: Vec<_> = wanted.iter().map(find).collect();
        let targets = || wanted.iter().zip(&found).filter_map(|(w, f)| Some((w, f.as_ref()?.0)));
        let entries: Vec<(u64, u64)> = targets().map(|(w, address)| (address, w.cookie())).collect();
        let returns: Vec<(u64, u64)> = targets().filter(|(w, _)| w.returns).map(|(_, a)| (a, 0)).collect();
        let links = many(&self.object, "enter", &entries, End::Entry)
            .and_then(|entry| Ok([entry, many(&self.object, "exit", &returns, End::Return)?]));
        let Ok(links) = links else {
            return Ok(wanted.iter().map(|wanted| self.one_by_one(singly, wanted)).collect());
        };
        let [entry, exit] = links.map(|link| link.map(|link| ("together".to_owned(), link)));
        self.links.extend(entry.into_iter().chain(exit));
        let states = wanted.iter().zip(found).map(|(wanted, found)| {
            let mut state = wanted.state("kprobe-multi");
            match found {
                Some((_, symbol)) => state.symbol = Some(symbol),
                None => state.error = Some(io::Error::from_raw_os_error(libc::ENOENT).to_string()),
            }
            state
        });
        Ok(states.collect())
    }

    fn pin(&self) -> Result<(), AgentError> {
        fs::create_dir_all(PIN_DIR).map_err(AgentError::file("create", PIN_DIR))?;
        for (name, link) in &self.links {
            let path = Path::new(PIN_DIR).join(name);
            let pinned = c_string(path.as_os_str().as_bytes()).and_then(|path| sys::pin(link.as_fd(), &path));
            pinned.map_err(AgentError::file("pin a probe as", path))?;
        }
        Ok(())
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

/// A function that one side wants to see.
struct Wanted {
    probe: &'static Probe,
    returns: bool,
}

impl Wanted {
    fn of(probe: &'static Probe, side: Side) -> Option<Self> {
        let ways = match side {
            Side::Outgoing => &probe.outgoing,
            Side::Incoming => &probe.incoming,
        };
        let returns = ways.contains(&Way::Call);
        (returns || ways.contains(&Way::Enter)).then_some(Self { probe, returns })
    }

    fn cookie(&self) -> u64 {
        if self.probe.named { NAMED } else { 0 }
    }

    fn state(&self, method: &str) -> ProbeState {
        let (probe, method) = (self.probe.name.clone(), method.to_owned());
        ProbeState { probe, symbol: None, method, attached_tsc: None, error: None }
    }
}

/// The pair of programs that gives each function probes of its own.
struct Singly {
    enter: OwnedFd,
    exit: OwnedFd,
    pmu: Result<u32, io::Error>,
}

impl Singly {
    fn new(object: &Object) -> Result<Self, BpfError> {
        let (enter, exit) = (object.load("enter", Kind::Kprobe)?, object.load("exit", Kind::Kprobe)?);
        Ok(Self { enter, exit, pmu: kprobe_pmu() })
    }

    /// Attaches to one symbol: both ends or none.
    fn attach(&self, symbol: &str, wanted: &Wanted) -> io::Result<Vec<(String, OwnedFd)>> {
        let pmu = match &self.pmu {
            Ok(pmu) => *pmu,
            Err(error) => return Err(io::Error::other(format!("no kprobe events: {error}"))),
        };
        let name = c_string(symbol.as_bytes())?;
        let entry = sys::attach_kprobe(self.enter.as_fd(), &name, End::Entry, pmu, wanted.cookie())?;
        let mut links = vec![(format!("{symbol}-entry"), entry)];
        if wanted.returns {
            let exit = sys::attach_kprobe(self.exit.as_fd(), &name, End::Return, pmu, 0)?;
            links.push((format!("{symbol}-return"), exit));
        }
        Ok(links)
    }
}

/// One link for one end of all `targets`, address and cookie; none if there are none.
fn many(
    object: &Object,
    program: &'static str,
    targets: &[(u64, u64)],
    end: End,
) -> Result<Option<OwnedFd>, ManyError> {
    if targets.is_empty() {
        return Ok(None);
    }
    let program = object.load(program, Kind::KprobeMulti)?;
    let (addresses, cookies): (Vec<u64>, Vec<u64>) = targets.iter().copied().unzip();
    Ok(Some(sys::attach_many(program.as_fd(), &addresses, &cookies, end)?))
}

/// Why many could not be attached at once: nobody asks, there is another way.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ManyError {
    Program(#[from] BpfError),
    Attach(#[from] io::Error),
}

/// Number of the kernel's kprobe events.
pub fn kprobe_pmu() -> io::Result<u32> {
    fs::read_to_string(KPROBE_PMU)?.trim().parse().map_err(io::Error::other)
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::other)
}
