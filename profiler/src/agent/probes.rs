//! Puts the probes of the catalogue into the kernel.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::LazyLock,
};

use profiler_common::record::{REJECTED, RUN_NS, SEEN};
use profiler_mark::ticks;
use profiler_report::{
    catalogue::{CATALOGUE, Probe, Way},
    recording::{
        Side,
        frame::{Counted, Coverage, ProbeState},
    },
};

use super::{
    AgentError,
    bpf::{
        BpfError, Object, Oracle,
        link::{self, End, Place},
        sys::{self, Kind},
    },
    handlers, hot, missed, names,
    together::{Targets, TogetherError},
    vcpus,
};
use crate::btf::Btf;

const PIN_DIR: &str = "/sys/fs/bpf/blackout";

/// Probes in the kernel; they end with this value unless they were pinned.
pub struct Probes {
    object: Object,
    oracle: Oracle,
    links: Vec<(String, OwnedFd)>,
    /// Address and name of every function that is probed.
    pub symbols: Vec<(u64, String)>,
    /// Likewise of every function that is counted.
    counted: Vec<(u64, String)>,
}

/// How much is looked at, at the restore's expense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// The programs are loaded before the command that restores, not beside it.
    pub probes_first: bool,
    /// Functions that are called once a page are counted.
    pub hot: bool,
}

/// What the programs know when they are out.
#[derive(Debug, Default)]
pub struct Left {
    /// Records begun, and records refused, since loading.
    pub records: Option<(u64, u64)>,
    /// Runs of the programs that write records, and their time, nanoseconds.
    pub program_stats: Option<(u64, u64)>,
    /// What was counted; `None` if nothing was to be.
    pub counted: Option<Counted>,
}

impl Probes {
    /// Loads the programs and attaches every probe that `side` wants, by trying. In the outgoing kernel
    /// they are pinned and stay when this process ends.
    ///
    /// A link costs walks over all traceable functions, however many of them it serves. So one serves both ends of all of
    /// them, callbacks included, where the kernel can do that (`CONFIG_FPROBE`); without kprobes too.
    ///
    /// With [`Look::hot`], functions that are called once a page are counted, from before `ready` is called on: that
    /// takes the BTF, so it is read first.
    ///
    /// Else `ready` is called once vCPUs are watched.
    ///
    /// A probe that cannot be attached is an entry in the coverage, not an error.
    pub fn attach(side: Side, look: Look, ready: impl FnOnce()) -> Result<(Self, Coverage), AgentError> {
        let (mut probes, coverage) = Self::attach_for_now(side, look, ready)?;
        if side == Side::Outgoing {
            // Without it the cost of looking is not known.
            probes.links.extend(cost_flush(&probes.object).ok().map(|link| ("cost-flush".to_owned(), link)));
            probes.pin()?;
        }
        Ok((probes, coverage))
    }

    /// The same, but they end with the value in any case.
    pub fn attach_for_now(
        side: Side,
        look: Look,
        ready: impl FnOnce(),
    ) -> Result<(Self, Coverage), AgentError> {
        let mut coverage = Coverage { load_begin_tsc: ticks(), ..Coverage::default() };
        // On another CPU, if there is one: reading takes as long as the programs for vCPUs.
        let types = std::thread::spawn(|| {
            LazyLock::force(&CATALOGUE);
            names::kernel_types()
        });
        let object = Object::prepare(if look.hot { hot::shares(side) } else { 0 })?;
        // First of all: guests do not wait for us.
        let (states, links) = vcpus::attach(&object, side);
        coverage.probes = states;
        if side == Side::Incoming {
            coverage.vmms_at_attach = vcpus::may_have_run().ok();
        }
        let mut ready = Some(ready);
        if !look.hot {
            ready.take().into_iter().for_each(|ready| ready());
        }
        coverage.loaded_tsc = ticks();
        let oracle = Oracle::new(&object)?;
        let mut probes = Self { object, oracle, links, symbols: Vec::new(), counted: Vec::new() };
        let btf = types.join().unwrap_or_default();
        let kernel_functions = hot::kernel_functions(&mut probes.object, btf.as_ref());
        let all = &mut coverage.probes;
        if look.hot {
            all.extend(probes.count(&kernel_functions, side));
            ready.take().into_iter().for_each(|ready| ready());
        }
        let wanted = CATALOGUE.probes.iter().filter_map(|probe| Wanted::of(probe, side));
        let (handlers, functions): (Vec<_>, Vec<_>) = wanted.partition(|w| w.probe.callback().is_some());
        let mut missing = probes.name(functions.iter().chain(&handlers), btf.as_ref())?;
        probes.resolve(all);
        let mut found: Vec<(&Wanted, Places)> =
            functions.iter().map(|wanted| (wanted, probes.find(wanted))).collect();
        probes.symbols.extend(found.iter().flat_map(|(_, places)| places.iter().cloned()));
        let callbacks = probes.callbacks(&handlers, btf.as_ref());
        probes.symbols.extend(callbacks.iter().flat_map(|(_, places)| places.iter().cloned()));
        found.extend(callbacks);
        all.extend(probes.together(kernel_functions.is_ok(), found)?);
        for state in all.iter_mut().filter(|state| state.error.is_none()) {
            state.error = missing.remove(&state.probe);
        }
        coverage.attached_tsc = ticks();
        Ok((probes, coverage))
    }

    /// Counts what is called once a page.
    fn count(&mut self, ready: &Result<&Btf, String>, side: Side) -> Vec<ProbeState> {
        let hot::Hot { states, links, functions } = hot::attach(&self.object, &self.oracle, ready, side);
        self.links.extend(links);
        self.counted = functions;
        states
    }

    /// Hands the programs the walks of these probes; gives what of their subjects this kernel cannot say, by probe.
    fn name<'w>(
        &self,
        wanted: impl Iterator<Item = &'w Wanted>,
        btf: Option<&Btf>,
    ) -> Result<BTreeMap<String, String>, BpfError> {
        let direct_map = btf.and_then(|_| names::direct_map(&self.oracle));
        let mut missing = BTreeMap::new();
        names::set_nobodys(&self.object)?;
        for wanted in wanted {
            let errors = names::set(&self.object, wanted.probe, btf, direct_map)?;
            missing.extend(errors.first().map(|error| (wanted.probe.name.clone(), error.to_string())));
        }
        Ok(missing)
    }

    /// Where a probe's function lies: the first of its symbols that this kernel has.
    fn find(&self, wanted: &Wanted) -> Places {
        let symbols = wanted.probe.symbols.iter();
        symbols.filter_map(|symbol| Some((self.oracle.address(symbol)?, symbol.clone()))).take(1).collect()
    }

    /// Where the callbacks of all registered handlers lie, but for those that are probed as functions.
    fn callbacks<'w>(&self, wanted: &'w [Wanted], btf: Option<&Btf>) -> Vec<(&'w Wanted, Places)> {
        let Some(btf) = btf else { return wanted.iter().map(|wanted| (wanted, Vec::new())).collect() };
        let handlers = handlers::registered(&self.oracle, btf);
        let places = |wanted: &Wanted| -> Places {
            let Some(member) = wanted.probe.callback() else { return Vec::new() };
            let mut places: Places = handlers
                .iter()
                .filter_map(|handler| handler.callback(&self.oracle, btf, member))
                .filter(|address| self.symbols.iter().all(|(known, _)| known != address))
                .map(|address| (address, format!("liveupdate_file_ops.{member}")))
                .collect();
            // Two handlers may share a callback.
            places.sort();
            places.dedup();
            places
        };
        wanted.iter().map(|wanted| (wanted, places(wanted))).collect()
    }

    /// Notes where the functions of probes that were attached by name lie.
    fn resolve(&mut self, states: &[ProbeState]) {
        let symbols = states.iter().filter_map(|state| state.symbol.as_ref());
        let found = symbols.filter_map(|symbol| Some((self.oracle.address(symbol)?, symbol.clone())));
        self.symbols = found.collect();
        self.symbols.extend(self.counted.iter().cloned());
    }

    /// Calls that the probes could not show so far: probe and how many.
    pub fn missed(&self) -> Vec<(String, u64)> {
        missed::of_links(self.links.iter().map(|(name, link)| (name.as_str(), link.as_fd())))
    }

    /// Events of vCPUs that found no room in the programs' maps.
    pub fn refused_vcpu_events(&self) -> Option<u64> {
        vcpus::refused(&self.object)
    }

    /// Takes the probes out; gives what they know.
    pub fn finish(self) -> Left {
        drop(self.links);
        let of = |counter| sys::array_word(self.object.map("COUNTERS").ok()?, counter).ok();
        Left {
            records: of(SEEN).zip(of(REJECTED)),
            program_stats: of(SEEN).zip(of(RUN_NS)),
            counted: (!self.counted.is_empty()).then(|| hot::read(&self.object, &self.counted)).flatten(),
        }
    }

    /// Gives the functions at all these places probes of their own.
    fn at_all(&mut self, singly: &Singly, wanted: &Wanted, places: &Places) -> ProbeState {
        let mut state = wanted.state("kprobe");
        state.error = places.is_empty().then(|| wanted.absent());
        for (address, symbol) in places {
            match singly.attach(&format!("{symbol}-{address:x}"), Place::Address(*address), wanted) {
                Ok(links) => {
                    self.links.extend(links);
                    state.symbol = Some(symbol.clone());
                }
                Err(error) => state.error = Some(error.to_string()),
            }
        }
        state
    }

    /// Attaches many with one link for both ends of all, if the kernel has what a `session` takes; where it cannot do
    /// that, with one link for all entries and one for all returns; where it cannot do that either, one by one.
    fn together(
        &mut self,
        session: bool,
        wanted: Vec<(&Wanted, Places)>,
    ) -> Result<Vec<ProbeState>, BpfError> {
        let mut targets = Targets::default();
        for (wanted, places) in &wanted {
            let list = if wanted.returns { &mut targets.calls } else { &mut targets.entries };
            list.extend(places.iter().map(|(address, _)| (*address, names::cookie(wanted.probe))));
        }
        let Ok((method, links)) = targets.attach(&self.object, session) else {
            let singly = Singly::new(&self.object)?;
            return Ok(wanted.iter().map(|(wanted, places)| self.at_all(&singly, wanted, places)).collect());
        };
        let attached_tsc = ticks();
        self.links.extend(links.into_iter().map(|(name, link)| (format!("together-{name}"), link)));
        let states = wanted.into_iter().map(|(wanted, places)| {
            let mut state = wanted.state(method);
            state.attached_tsc = (!places.is_empty()).then_some(attached_tsc);
            state.symbol = places.first().map(|(_, symbol)| symbol.clone());
            state.error = places.is_empty().then(|| wanted.absent());
            state
        });
        Ok(states.collect())
    }

    fn pin(&self) -> Result<(), AgentError> {
        fs::create_dir_all(PIN_DIR).map_err(AgentError::file("create", PIN_DIR))?;
        for (name, link) in &self.links {
            let path = Path::new(PIN_DIR).join(name);
            let pinned =
                sys::c_string(path.as_os_str().as_bytes()).and_then(|path| sys::pin(link.as_fd(), &path));
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

/// Addresses of functions, and what they are called in the evidence.
type Places = Vec<(u64, String)>;

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

    /// Why there is nothing to attach it to.
    fn absent(&self) -> String {
        let error = io::Error::from_raw_os_error(libc::ENOENT);
        match self.probe.callback() {
            Some(_) => {
                format!("{error}: no other registered file handler, or no BTF and symbols to find them by")
            }
            None => error.to_string(),
        }
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
        Ok(Self { enter, exit, pmu: link::kprobe_pmu() })
    }

    /// Attaches to one function: both ends or none. The links go by `name`.
    fn attach(&self, name: &str, place: Place, wanted: &Wanted) -> io::Result<Vec<(String, OwnedFd)>> {
        let pmu = match &self.pmu {
            Ok(pmu) => *pmu,
            Err(error) => {
                return Err(io::Error::other(format!("no kprobe events (CONFIG_KPROBE_EVENTS): {error}")));
            }
        };
        let cookie = names::cookie(wanted.probe);
        let entry = link::kprobe(self.enter.as_fd(), place, End::Entry, pmu, cookie)?;
        // bpffs takes no dots in names.
        let name = name.replace('.', "-");
        let mut links = vec![(format!("{name}-entry"), entry)];
        if wanted.returns {
            let exit = link::kprobe(self.exit.as_fd(), place, End::Return, pmu, 0)?;
            links.push((format!("{name}-return"), exit));
        }
        Ok(links)
    }
}

/// What writes out, as late as can be, what the programs have taken.
fn cost_flush(object: &Object) -> Result<OwnedFd, TogetherError> {
    let program = object.load("cost_flush", Kind::Kprobe)?;
    let place = Place::Symbol(c"machine_kexec");
    Ok(link::kprobe(program.as_fd(), place, End::Entry, link::kprobe_pmu()?, 0)?)
}
