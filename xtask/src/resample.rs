//! `cargo xtask resample`: how often the gate of `blackout compare` is right, measured on real runs.

use anyhow::{Result, bail};
use profiler_compare::{
    Options, inputs,
    resample::{self, Tally},
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

/// What to draw.
#[derive(clap::Args)]
pub struct Draw {
    /// Runs of one build: files, folders, patterns
    pool: PathBuf,
    /// Runs of another build; without them both sides are drawn from the same, and every alarm is false
    #[arg(long)]
    against: Option<PathBuf>,
    /// Runs a side in each comparison
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Comparisons
    #[arg(long, default_value_t = 2000)]
    trials: u32,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Draws, compares and prints what was said how often.
///
/// # Errors
/// When runs cannot be read, or are too few to draw from.
pub fn run(draw: &Draw) -> Result<()> {
    // A folder of the lab's has each run twice: as a recording and as a report.
    let load = |path: &PathBuf| -> Result<Vec<_>> {
        let mut runs = inputs::load(std::slice::from_ref(path), &|_, _| ())?;
        let mut ids = BTreeSet::new();
        runs.retain(|run| ids.insert(run.identity.id.clone()));
        Ok(runs)
    };
    let pool = load(&draw.pool)?;
    let options = Options::default();
    let Draw { runs, trials, seed, .. } = *draw;
    let tally = match &draw.against {
        None if pool.len() < 2 * runs => bail!("{} runs are too few to deal {} twice", pool.len(), runs),
        None => resample::one_build(&pool, runs, trials, seed, &options),
        Some(path) => {
            let other = load(path)?;
            if pool.len().min(other.len()) < runs {
                bail!("{} and {} runs are too few to draw {runs} of each", pool.len(), other.len());
            }
            resample::two_builds(&pool, &other, runs, trials, seed, &options)
        }
    };
    print(&tally);
    Ok(())
}

fn print(tally: &Tally) {
    println!("{} comparisons", tally.trials);
    table("verdicts", &tally.verdicts, tally.trials);
    table("phases that regressed", &tally.regressed, tally.trials);
    table("span that regressed most, where its phase did", &tally.blamed, tally.trials);
    table(
        "any span, as with --fail-on-span",
        &BTreeMap::from([("regressed", tally.span_alarms)]),
        tally.trials,
    );
    table("span that regressed most, wherever", &tally.longer, tally.trials);
}

fn table<K: Debug>(title: &str, counts: &BTreeMap<K, u32>, trials: u32) {
    println!("{title}");
    for (key, count) in counts {
        println!("  {count:>6} {:>7.2} %  {key:?}", f64::from(*count) * 100.0 / f64::from(trials.max(1)));
    }
}
