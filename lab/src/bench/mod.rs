//! Two builds, several live updates of each in a mixed order, and the verdict whether one is slower.
//!
//! ```text
//! plant     a delay in one side, to see that it is found
//! order     which side's run comes when
//! journal   what the series is, and what of it is done
//! noise     what else the machine did
//! ```
mod journal;
mod noise;
mod order;
pub mod plant;

use crate::kernel::{self, Kernel, Request};
use crate::kernel_config::KernelConfig;
use crate::live_update::LiveUpdate;
use crate::reports::Reported;
use crate::result::Outcome;
use crate::run::Lab;
use anyhow::{Context, Result, bail};
use journal::{Build, Entry, Inputs, Journal};
use noise::Watch;
use order::{SIDES, Side, order};
use plant::Plant;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use toolbox::binaries::{self, Binaries};
use toolbox::cache::Cache;
use toolbox::fingerprint::fingerprint;
use toolbox::program;

/// Runs of each side that support a verdict over some twenty phases.
const DEFAULT_RUNS: u32 = 10;

/// Is the second build slower than the first, where, and by how much?
///
/// Runs live updates of both in a mixed order and compares their reports (`blackout compare`). Interrupted, the same
/// command goes on where it was. With --deterministic, one run a side is exact.
///
/// Exit codes: 0 not slower, 1 error or a live update failed, 2 usage, 3 slower or a budget exceeded,
/// 4 inconclusive (with `-- --fail-on inconclusive`).
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A build: an image, a source tree, or a version of the mirror such as 7.2; twice, for the first and the second
    /// side. One alone, or none (the newest), is for both
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<Request>,
    /// Kernel options of the first side over the lab's own, such as "CONFIG_NUMA=n CONFIG_HZ_1000=y"
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    config_a: KernelConfig,
    /// Kernel options of the second side
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    config_b: KernelConfig,
    /// Plant a delay of the lab's driver into the first side, such as retrieve_delay_us=40000
    #[arg(long, value_name = "DELAY")]
    plant_a: Vec<Plant>,
    /// Plant a delay into the second side
    #[arg(long, value_name = "DELAY")]
    plant_b: Vec<Plant>,
    /// Live updates of each side [default: 10, or 1 with --deterministic]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Decides over the order of the runs [default: a new one; it is kept with the series]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of the series [default: one in the cache, named by its inputs; the last 20 are kept]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    update: LiveUpdate,
    /// Passed on to `blackout compare`, such as `-- --budget budget.toml`
    #[arg(last = true, value_name = "COMPARE")]
    compare: Vec<String>,
}

/// Runs what of the series is left to run, then compares.
///
/// # Errors
/// When a build, a run's report or the comparison cannot be made.
pub fn main(options: &Options) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let [a, b] = requests(options)?;
    options.update.check(&cache, &[(&a, &options.config_a), (&b, &options.config_b)], &[])?;
    let kernels = kernels(&cache, options, [a, b])?;
    let binaries = binaries::build()?;
    let delays = plant::of_both(&options.plant_a, &options.plant_b);
    let prepare = |kernel: &Kernel, delays: &plant::Delays| {
        let both = (kernel.clone(), kernel.clone());
        options.update.prepare(&cache, both, delays.clone(), &binaries, PathBuf::new())
    };
    let mut labs = [prepare(&kernels[0], &delays[0])?, prepare(&kernels[1], &delays[1])?];
    let plantable = kernels.iter().all(|kernel| kernel.lab_driver);
    if !delays[0].is_empty() && !plantable {
        bail!(
            "delays are planted into the lab's driver, which only kernels of the mirror have: no image, no tree"
        );
    }
    let inputs = inputs(&labs)?;
    let dir = match &options.out {
        Some(dir) => dir.clone(),
        None => cache.newest_of("bench", &inputs.name()?)?,
    };
    let mut journal = Journal::open(&dir, &inputs, options.seed.unwrap_or_else(new_seed))?;
    let dir = dir.canonicalize().with_context(|| format!("folder {}", dir.display()))?;
    for (lab, side) in labs.iter_mut().zip(SIDES) {
        lab.out = dir.join(side.to_string());
        fs::create_dir_all(&lab.out).with_context(|| format!("cannot create {}", lab.out.display()))?;
    }
    let runs = options.runs.unwrap_or(if options.update.is_deterministic() { 1 } else { DEFAULT_RUNS });
    series(&cache, &labs, &mut journal, runs, &binaries)?;
    eprintln!("lab: the series is in {}", dir.display());
    verdict(&dir, &journal, runs, &binaries, &options.compare)
}

fn requests(options: &Options) -> Result<[Request; 2]> {
    Ok(match options.kernel.as_slice() {
        [] => [Request::Newest, Request::Newest],
        [both] => [both.clone(), both.clone()],
        [a, b] => [a.clone(), b.clone()],
        more => bail!("--kernel is given {} times: a comparison has two sides", more.len()),
    })
}

fn kernels(cache: &Cache, options: &Options, requests: [Request; 2]) -> Result<[Kernel; 2]> {
    let a = kernel::resolve(cache, &requests[0], &options.config_a)?;
    let same = requests[0] == requests[1] && options.config_a == options.config_b;
    let b = if same { a.clone() } else { kernel::resolve(cache, &requests[1], &options.config_b)? };
    Ok([a, b])
}

fn inputs(labs: &[Lab; 2]) -> Result<Inputs> {
    let build = |lab: &Lab| -> Result<Build> {
        let image = &lab.incoming.image;
        let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        Ok(Build {
            release: lab.incoming.release.clone(),
            image: fingerprint(&[&bytes]),
            initrd: fingerprint(&[&lab.initrd]),
            delays: format!("{:?}", lab.plan.delays),
        })
    };
    // The plan is in the initramfs. Where things are does not count: those paths are new each time.
    let Lab { append, emulator, accel, cpus, memory_bytes, .. } = &labs[0];
    let machine =
        format!("QEMU {}, {accel:?}, {cpus} CPUs, {memory_bytes} bytes, {append:?}", emulator.version);
    Ok(Inputs { sides: [build(&labs[0])?, build(&labs[1])?], machine })
}

fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}

/// Does the runs that are not done.
fn series(
    cache: &Cache,
    labs: &[Lab; 2],
    journal: &mut Journal,
    runs: u32,
    binaries: &Binaries,
) -> Result<()> {
    let all: Vec<(Side, u32)> = order(journal.seed, runs).collect();
    let left: Vec<_> = all.iter().copied().filter(|(side, number)| !journal.has(*side, *number)).collect();
    eprintln!(
        "lab: {} runs, {} of them done; order by seed {}",
        all.len(),
        all.len() - left.len(),
        journal.seed
    );
    let scratch = cache.temporary()?;
    for (index, (side, number)) in left.iter().copied().enumerate() {
        let lab = if side == Side::A { &labs[0] } else { &labs[1] };
        eprintln!("lab: side {side}, run {number} of {runs}{}", time_left(journal, left.len() - index));
        let started_at =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let watch = Watch::start();
        let suffix = format!("-{number}");
        let finished = lab.run(&suffix, &scratch.path().join("share"))?;
        let noise = watch.stop();
        let (outcome, mut message) = (finished.result.outcome, finished.result.message.clone());
        // A machine so busy that its clocks part gives no report: that run is lost, not the series.
        let window_ns = match Reported::make(lab, &suffix, finished, &binaries.blackout) {
            Ok(reported) => reported.window_ns(),
            Err(error) => {
                message = format!("no report: {error:#}");
                eprintln!("lab: {message}");
                None
            }
        };
        journal.add(Entry { side, number, outcome, message, window_ns, started_at, noise })?;
    }
    Ok(())
}

/// How long the rest will take, by the middle of what the runs so far took.
fn time_left(journal: &Journal, runs: usize) -> String {
    let mut walls: Vec<u64> = journal.entries.iter().map(|entry| entry.noise.wall_ms).collect();
    walls.sort_unstable();
    let Some(middle) = walls.get(walls.len() / 2) else { return String::new() };
    let seconds =
        Duration::from_millis(*middle).saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX)).as_secs();
    format!("; {} runs, some {} min {} s left", runs, seconds / 60, seconds % 60)
}

/// Lets the profiler compare the reports of both sides.
fn verdict(
    dir: &Path,
    journal: &Journal,
    runs: u32,
    binaries: &Binaries,
    arguments: &[String],
) -> Result<ExitCode> {
    let wanted = |entry: &&Entry| entry.number <= runs;
    let failed: Vec<&Entry> =
        journal.entries.iter().filter(wanted).filter(|entry| entry.outcome == Outcome::Failed).collect();
    for Entry { side, number, message, .. } in &failed {
        eprintln!("lab: side {side}, run {number} failed: {message}");
    }
    let reports = |side: Side| -> Vec<PathBuf> {
        let path = |number: u32| dir.join(format!("{side}/report-{number}.json"));
        (1..=runs).map(path).filter(|path| path.exists()).collect()
    };
    let [a, b] = SIDES.map(reports);
    if a.is_empty() || b.is_empty() {
        bail!("nothing to compare: all live updates of side {} failed", if a.is_empty() { "a" } else { "b" });
    }
    let mut command = program::command(&binaries.blackout);
    command.arg("compare").args(arguments).args(a).arg("--").args(b);
    let status = command.status().with_context(|| format!("cannot run {}", binaries.blackout.display()))?;
    let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) else {
        bail!("`blackout compare` ended by a signal ({status})");
    };
    // A build whose live updates fail has not passed, however fast the others are.
    Ok(if code == 0 && !failed.is_empty() { ExitCode::FAILURE } else { ExitCode::from(code) })
}
