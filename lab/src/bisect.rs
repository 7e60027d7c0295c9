//! One step of `git bisect run`: is the kernel that is checked out good, bad, or none to judge by?

use crate::kernel::{self, Request};
use crate::kernel_config::KernelConfig;
use crate::live_update::LiveUpdate;
use crate::reports::Reported;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolbox::binaries::{self, Binaries};
use toolbox::cache::Cache;
use toolbox::{needs, program};

/// Build a kernel tree, run live updates of it, and hold them to a budget, for `git bisect run`
///
/// Exit codes as git bisect reads them: 0 within the budget, 1 over it, 125 skip (the tree does not build, or its
/// live update does not come through), 128 stop (the budget, a package or this machine is at fault). Objects stay in
/// the cache, so that a step builds only what its commit changed. docs/bisect.md has a recipe.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The kernel's source tree; it is not written to
    #[arg(long, value_name = "DIR", default_value = ".")]
    kernel_src: PathBuf,
    /// What must hold (`blackout budget --help`)
    #[arg(long, value_name = "FILE")]
    budget: PathBuf,
    /// Runs that the budget's relative limits compare with; may be repeated
    #[arg(long, value_name = "RUNS")]
    baseline: Vec<PathBuf>,
    /// Kernel options over the lab's own, such as "CONFIG_NUMA=n CONFIG_HZ_1000=y"
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    config: KernelConfig,
    /// Live updates of each commit
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    update: LiveUpdate,
}

/// What a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Good,
    Bad,
    Skip,
    Stop,
}

impl From<Judgement> for ExitCode {
    /// git-bisect(1), "bisect run": 125 skips, 1 to 127 but 125 are bad, 128 and more end the bisection.
    fn from(judgement: Judgement) -> Self {
        Self::from(match judgement {
            Judgement::Good => 0,
            Judgement::Bad => 1,
            Judgement::Skip => 125,
            Judgement::Stop => 128,
        })
    }
}

/// Judges. An error is told here: any other exit code would be taken for a bad commit.
pub fn main(options: &Options) -> ExitCode {
    let judgement = judge(options).unwrap_or_else(|error| {
        eprintln!("lab: {error:#}");
        Judgement::Stop
    });
    eprintln!("lab: bisect: {judgement:?}");
    judgement.into()
}

/// # Errors
/// Where no commit is to blame.
fn judge(options: &Options) -> Result<Judgement> {
    let cache = Cache::open()?;
    kernel::check_tree(&options.kernel_src)?;
    let budget = &options.budget;
    if !budget.is_file() {
        bail!("there is no budget {}", budget.display());
    }
    let tree = Request::Tree(options.kernel_src.clone());
    options.update.check(&cache, &[(&tree, &options.config)], &[])?;
    let binaries = binaries::build()?;
    let kernel = match kernel::resolve(&cache, &tree, &options.config) {
        Ok(kernel) => kernel,
        Err(error) if error.chain().any(|cause| cause.is::<needs::Missing>()) => return Err(error),
        Err(error) => {
            eprintln!("lab: it does not build: {error:#}");
            return Ok(Judgement::Skip);
        }
    };
    let lab =
        options.update.prepare(&cache, (kernel.clone(), kernel), Vec::new(), &binaries, cache.new_run()?)?;
    let scratch = cache.temporary()?;
    let mut reports = Vec::new();
    for number in 1..=options.runs {
        let suffix = format!("-{number}");
        let finished = lab.run(&suffix, &scratch.path().join("share"))?;
        let reported = Reported::make(&lab, &suffix, finished, &binaries.blackout)?;
        if !reported.complete() {
            eprintln!("lab: the live update does not come through: {}", reported.finished.result.message);
            return Ok(Judgement::Skip);
        }
        reports.push(lab.file("report", &suffix, "json"));
    }
    hold(budget, &options.baseline, &reports, &binaries)
}

fn hold(budget: &Path, baseline: &[PathBuf], reports: &[PathBuf], binaries: &Binaries) -> Result<Judgement> {
    let mut command = program::command(&binaries.blackout);
    command.arg("budget").arg(budget).args(reports);
    for runs in baseline {
        command.arg("--baseline").arg(runs);
    }
    let status = command.status().with_context(|| format!("cannot run {}", binaries.blackout.display()))?;
    match judgement(status.code()) {
        Some(judgement) => Ok(judgement),
        None => bail!("`blackout budget` could not judge ({status})"),
    }
}

/// What an exit code of `blackout budget` says of the commit; `None`: nothing.
fn judgement(code: Option<i32>) -> Option<Judgement> {
    match code? {
        0 => Some(Judgement::Good),
        3 => Some(Judgement::Bad),
        4 => Some(Judgement::Skip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exceeded_budget_is_a_bad_commit() {
        assert_eq!(
            [Some(0), Some(3), Some(4)].map(judgement),
            [Judgement::Good, Judgement::Bad, Judgement::Skip].map(Some)
        );
        for trouble in [Some(1), Some(2), Some(5), None] {
            assert_eq!(judgement(trouble), None);
        }
    }

    #[test]
    fn what_is_no_commits_fault_ends_the_bisection() {
        #[derive(clap::Parser)]
        struct Parser {
            #[command(flatten)]
            options: Options,
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        let arguments = ["x", "--kernel-src", dir, "--budget", "/no/such/budget.toml", "--guests", "0"];
        let options = <Parser as clap::Parser>::try_parse_from(arguments).unwrap().options;
        let error = judge(&options).unwrap_err();
        // Before anything is installed.
        assert!(error.to_string().contains(dir), "{error:#}");
    }
}
