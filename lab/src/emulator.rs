//! Which QEMU runs the virtual machine: the newest of Debian's backports that runs here, unpacked into the cache, else
//! the system's own.
//!
//! The system's package is neither needed nor touched, and every machine runs the same emulator. Multi-threaded
//! emulation of QEMU 7.2, which Debian 12 ships, has races: it runs stale translations, and dies of signal 11.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use toolbox::apt::Suites;
use toolbox::cache::Cache;
use toolbox::unpacked::Unpacked;
use toolbox::{exec, program};

/// The package, and its program.
const PACKAGE: &str = "qemu-system-x86";
const PROGRAM: &str = "usr/bin/qemu-system-x86_64";
/// Where packages have the firmware.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];
/// Where packages have the parts of QEMU that it loads when they are wanted.
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";
/// Debian 13 and its backports: QEMU 10.0 and 11.1 at the time of writing.
const TRIXIE: Suites = Suites { all: &["trixie"], preferred: None };
const TRIXIE_BACKPORTS: Suites =
    Suites { all: &["trixie", "trixie-backports"], preferred: Some("trixie-backports") };
/// Debian 12 with its backports: QEMU 10.0.
const BOOKWORM_BACKPORTS: Suites =
    Suites { all: &["bookworm", "bookworm-backports"], preferred: Some("bookworm-backports") };

/// What a machine must be able to do, which decides over its emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Run a live update.
    Any,
    /// Run it so that every figure repeats.
    ///
    /// From QEMU 10.2 on, a processor is taken from a virtual CPU if it kept it for 50 ms of the host's time while RCU
    /// waits (`wait_for_readers`, util/rcu.c; `rr_force_rcu`, accel/tcg/tcg-accel-ops-rr.c). With several virtual CPUs,
    /// the order in which they run is then another each time.
    Deterministic,
}

impl Purpose {
    /// Suites with a QEMU for it, the best first.
    fn suites(self) -> &'static [Suites] {
        match self {
            Self::Any => &[TRIXIE_BACKPORTS, TRIXIE, BOOKWORM_BACKPORTS],
            Self::Deterministic => &[TRIXIE, BOOKWORM_BACKPORTS],
        }
    }
}

/// A QEMU that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    place: Place,
    /// Its version, as it prints it: `11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)`.
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Unpacked(Unpacked),
    System(PathBuf),
}

impl Emulator {
    /// Finds the emulator for `purpose`, and unpacks it at first use.
    ///
    /// # Errors
    /// When no mirror has one and the system has none; the message says what was tried.
    fn obtain(cache: &Cache, purpose: Purpose) -> Result<Self> {
        let mut tried = Vec::new();
        for suites in purpose.suites() {
            let found = Unpacked::obtain(cache, PACKAGE, *suites).map(Place::Unpacked).and_then(Self::at);
            match found {
                Ok(emulator) => return Ok(emulator),
                Err(error) => tried.push(format!("{} of {}: {error:#}", PACKAGE, suites.name())),
            }
        }
        let Some(system) = program::QEMU.find() else {
            bail!(
                "no emulator: {}; and {PACKAGE} is not installed. As root, run:\n  \
                 apt-get install -y --no-install-recommends {PACKAGE}",
                tried.join("; ")
            );
        };
        let emulator = Self::at(Place::System(system))?;
        eprintln!(
            "lab: using the system's QEMU {}, because there is no newer one: {}",
            emulator.version,
            tried.join("; ")
        );
        Ok(emulator)
    }

    /// One that cannot be run, for tests.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { place: Place::System(PathBuf::new()), version: String::new() }
    }

    /// The emulator at `given`, else the best one for `purpose`, which is unpacked at first use.
    ///
    /// # Errors
    /// When the one at `given` does not start; when no mirror has one and the system has none.
    pub fn choose(cache: &Cache, given: Option<&Path>, purpose: Purpose) -> Result<Self> {
        given.map_or_else(|| Self::obtain(cache, purpose), |path| Self::at(Place::System(path.into())))
    }

    /// The emulator at `place`, if it starts here.
    fn at(place: Place) -> Result<Self> {
        let mut emulator = Self { place, version: String::new() };
        let text = exec::output(emulator.command()?.arg("--version"))?;
        let version = text.lines().next().and_then(|line| line.strip_prefix("QEMU emulator version "));
        emulator.version = version.with_context(|| format!("not QEMU: {text}"))?.to_owned();
        Ok(emulator)
    }

    /// Returns a command that runs it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn command(&self) -> Result<Command> {
        match &self.place {
            Place::System(path) => Ok(program::command(path)),
            Place::Unpacked(unpacked) => {
                let mut command = unpacked.command(PROGRAM)?;
                command.env("QEMU_MODULE_DIR", unpacked.path(MODULES));
                for firmware in FIRMWARE {
                    command.arg("-L").arg(unpacked.path(firmware));
                }
                Ok(command)
            }
        }
    }
}
