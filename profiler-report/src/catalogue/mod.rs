//! Which probes exist, how a window is divided, what both need of a kernel: data files, checked when built.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::recording::Side;

mod milestone;
mod needs;
pub mod path;
mod subject;

pub use milestone::Milestone;
pub use needs::{Level, NEEDS, Need};
pub use subject::{Found, Template};

/// The catalogue that this build carries.
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    // `tests` below read the same text: a build whose catalogue is empty does not pass.
    Catalogue::read(PROBES, PHASES).unwrap_or_default()
});

/// `probes.toml` and `phases.toml`, made into JSON by build.rs.
const PROBES: &str = include_str!(concat!(env!("OUT_DIR"), "/probes.json"));
const PHASES: &str = include_str!(concat!(env!("OUT_DIR"), "/phases.json"));

/// Ends the name of a return probe's event among the incoming kernel's boot kprobes; an entry's is the
/// symbol alone.
pub const RETURN_SUFFIX: &str = "_ret";

/// The symbol that the event of a boot kprobe is named after, whichever end of the function it is about.
pub fn boot_symbol(event: &str) -> &str {
    event.strip_suffix(RETURN_SUFFIX).unwrap_or(event)
}

/// What lies before the window, where something of it is told among phases.
pub(crate) const BROWNOUT: &str = "brownout";

/// Probes and phases.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Every probe, in file order.
    pub probes: Vec<Probe>,
    /// Every phase, in the order of time.
    pub phases: Vec<Phase>,
    /// The host window.
    pub host_window: Option<Window>,
}

/// One function of the live-update path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name everywhere.
    pub name: String,
    /// What it belongs to.
    pub family: String,
    /// What the time in it is, for a person.
    pub title: String,
    /// Ordered alternatives.
    pub symbols: Vec<String>,
    /// Ways to see it in the outgoing kernel.
    #[serde(default)]
    pub outgoing: Vec<Way>,
    /// Ways to see it in the incoming kernel.
    #[serde(default)]
    pub incoming: Vec<Way>,
    /// Whose time it is.
    #[serde(default)]
    pub subject: Template,
    /// Where it has no subject of its own, its caller's is.
    #[serde(default)]
    pub of_caller: bool,
    /// It returns a negative errno when it fails.
    #[serde(default)]
    pub errno: bool,
    /// Which kernels have it, in words; empty for those that every kernel with LUO has.
    #[serde(default)]
    pub since: String,
    /// The function that is called once for each of what the first number of the subject counts: so its calls are known
    /// without a look at it.
    pub carries: Option<String>,
    /// In which function those calls were, if not in this one.
    pub carried_from: Option<String>,
}

/// A way to see a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// eBPF at entry and return.
    Call,
    /// eBPF at entry only: it does not return, or its return tells nothing.
    Enter,
    /// A program of its own on a tracepoint; here for its name alone.
    Tracepoint,
    /// Counted where it runs, not written, and only with `--hot`: it is called once a page.
    Hot,
    /// `kprobe_event=` on the incoming kernel's command line, entry and return.
    BootCall,
    /// Likewise, if a device is passed through to a guest: each one costs the booting kernel some time.
    BootDevice,
    /// `ftrace_filter=` on the incoming kernel's command line.
    BootEnter,
    /// `trace_event=` on the incoming kernel's command line.
    BootEvent,
}

/// One phase of a window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Stable name.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Whose time it is.
    pub kernel: Place,
    /// Where it begins: ordered alternatives.
    pub begin: Vec<Milestone>,
    /// `begin` counts only after the last occurrence of this.
    pub after: Option<Milestone>,
    /// Where it ends if the next begin was not seen: ordered alternatives.
    #[serde(default)]
    pub end: Vec<Milestone>,
    /// Its absence leaves no hole.
    #[serde(default)]
    pub optional: bool,
    /// No span is expected to divide it: its own name is the finest there is.
    #[serde(default)]
    pub leaf: bool,
    /// Only if this was seen.
    pub needs: Option<Milestone>,
    /// Only if this was not seen.
    pub unless: Option<Milestone>,
    /// Functions that are counted are counted anew from its begin on.
    #[serde(default)]
    pub epoch: bool,
}

/// Whose time a phase is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The outgoing kernel's.
    Outgoing,
    /// Nobody's: between the kernels.
    Jump,
    /// The incoming kernel's.
    Incoming,
}

impl From<Side> for Place {
    fn from(side: Side) -> Self {
        match side {
            Side::Outgoing => Self::Outgoing,
            Side::Incoming => Self::Incoming,
        }
    }
}

/// Borders of a window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// For a person.
    pub title: String,
    /// First occurrence: ordered alternatives.
    pub begin: Vec<Milestone>,
    /// Last occurrence: ordered alternatives.
    pub end: Vec<Milestone>,
}

impl Catalogue {
    /// Reads the two data files, as JSON.
    fn read(probes: &str, phases: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Probes {
            probe: Vec<Probe>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Phases {
            window: Windows,
            phase: Vec<Phase>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Windows {
            host: Window,
        }
        let Probes { probe: probes } = serde_json::from_str(probes)?;
        let Phases { window, phase: phases } = serde_json::from_str(phases)?;
        Ok(Self { probes, phases, host_window: Some(window.host) })
    }

    /// The probe that watches this symbol.
    pub fn by_symbol(&self, symbol: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.symbols.iter().any(|s| s == symbol))
    }

    /// Phases of one kernel from whose begin on calls are counted anew: the first one begins epoch 1.
    pub fn epochs(&self, kernel: Place) -> impl Iterator<Item = &Phase> {
        self.phases.iter().filter(move |phase| phase.kernel == kernel && phase.epoch)
    }

    /// The phase in which calls of one kernel's epoch were counted. Epoch 0 is what lies before the first: the brownout
    /// of the outgoing kernel, the phase before in the incoming one. `None` if there is no such epoch.
    pub fn phase_of_epoch(&self, kernel: Place, epoch: u32) -> Option<&str> {
        let Some(index) = epoch.checked_sub(1) else {
            let first = self.phases.iter().position(|phase| phase.kernel == kernel && phase.epoch)?;
            let before = self.phases.get(first.checked_sub(1)?)?;
            return Some(if kernel == Place::Outgoing { BROWNOUT } else { &before.id });
        };
        self.epochs(kernel).nth(index as usize).map(|phase| phase.id.as_str())
    }

    /// The probe of this name.
    pub fn by_name(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.name == name)
    }
}

impl Probe {
    /// The member of `struct liveupdate_file_ops` whose functions it watches, if it is not one for fixed
    /// symbols.
    pub fn callback(&self) -> Option<&str> {
        self.symbols.first()?.strip_prefix("liveupdate_file_ops.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn catalogue() -> Catalogue {
        Catalogue::read(PROBES, PHASES).unwrap()
    }

    #[test]
    fn names_are_unique_and_symbols_belong_to_one_probe() {
        let catalogue = catalogue();
        let mut names = HashSet::new();
        let mut symbols = HashSet::new();
        for probe in &catalogue.probes {
            assert!(names.insert(&probe.name), "{} twice", probe.name);
            assert!(!probe.symbols.is_empty(), "{} has no symbol", probe.name);
            assert!(
                !(probe.outgoing.is_empty() && probe.incoming.is_empty()),
                "{} is never seen",
                probe.name
            );
            for symbol in &probe.symbols {
                assert!(symbols.insert(symbol), "{symbol} twice");
            }
        }
        let ids: HashSet<_> = catalogue.phases.iter().map(|p| &p.id).collect();
        assert_eq!(ids.len(), catalogue.phases.len());
    }

    #[test]
    fn phases_refer_to_probes_that_exist_and_follow_the_order_of_kernels() {
        let catalogue = catalogue();
        let window = catalogue.host_window.as_ref().unwrap();
        let of_phases = catalogue
            .phases
            .iter()
            .flat_map(|p| p.begin.iter().chain(&p.end).chain(&p.after).chain(&p.needs).chain(&p.unless));
        for milestone in of_phases.chain(&window.begin).chain(&window.end) {
            if let Milestone::Enter(name) | Milestone::Exit(name) = milestone {
                assert!(catalogue.by_name(name).is_some(), "no probe {name}");
            }
        }
        assert!(catalogue.phases.is_sorted_by_key(|p| p.kernel));
    }

    #[test]
    fn counted_functions_fit_what_the_programs_have_room_for() {
        use profiler_common::hot::{EPOCHS, FUNCTIONS};
        let catalogue = catalogue();
        for (kernel, ways) in [
            (Place::Outgoing, (|probe| &probe.outgoing) as fn(&Probe) -> &Vec<Way>),
            (Place::Incoming, |probe| &probe.incoming),
        ] {
            let hot = catalogue.probes.iter().filter(|probe| ways(probe).contains(&Way::Hot));
            assert!((1..=FUNCTIONS as usize).contains(&hot.count()));
            let epochs: Vec<_> = catalogue.epochs(kernel).collect();
            assert!((1..EPOCHS as usize).contains(&epochs.len()));
            for phase in epochs {
                assert!(matches!(phase.begin[0], Milestone::Enter(_)), "{} begins with no call", phase.id);
            }
            assert_eq!(catalogue.phase_of_epoch(kernel, EPOCHS), None);
        }
        assert_eq!(catalogue.phase_of_epoch(Place::Outgoing, 0), Some(BROWNOUT));
        assert_eq!(catalogue.phase_of_epoch(Place::Outgoing, 1), Some("freeze"));
        assert_eq!(catalogue.phase_of_epoch(Place::Incoming, 0), Some("user-space"));
        assert_eq!(catalogue.phase_of_epoch(Place::Incoming, 1), Some("restore"));
        for probe in catalogue.probes.iter().filter(|probe| probe.carries.is_some()) {
            let carried = catalogue.by_name(probe.carries.as_deref().unwrap()).unwrap();
            assert!(carried.outgoing.contains(&Way::Hot) || carried.incoming.contains(&Way::Hot));
            assert!(!probe.subject.numbers.is_empty(), "{} carries no number", probe.name);
            assert!(probe.carried_from.as_ref().is_none_or(|from| catalogue.by_name(from).is_some()));
        }
    }

    #[test]
    fn subjects_name_arguments_and_strings() {
        let catalogue = catalogue();
        let file = catalogue.by_symbol("luo_retrieve_file").unwrap();
        let mut found = Found { args: [1, 0x1ab, 3], ..Found::default() };
        assert_eq!(file.subject.fill(&found), "token 0x1ab");
        let session = catalogue.by_symbol("luo_session_retrieve").unwrap();
        found.texts = ["vm-7".into(), String::new()];
        assert_eq!(session.subject.fill(&found), "session vm-7");
        assert!(catalogue.probes.len() < profiler_common::walk::SUBJECTS as usize);
    }
}
