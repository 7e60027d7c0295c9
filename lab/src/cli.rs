//! The command line of `cargo lab`.

use crate::bench::plant::{Plant, of_both};
use crate::kernel::{self, Request};
use crate::kernel_config::KernelConfig;
use crate::live_update::{LiveUpdate, Usage};
use crate::reports::{self, Reported};
use crate::{accuracy, bench, bisect, host, overhead};
use anyhow::{Context, Result};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toolbox::binaries;
use toolbox::cache::Cache;
use toolbox::needs;

/// One real live update in a virtual machine, measured.
///
/// Without options: the newest kernel source of the machine's own Debian mirror is built (once, some minutes)
/// and a live update from that kernel to itself is run, with a virtual machine and some memfds taken across it.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Subcommand>,
    /// Kernel image (bzImage) for both sides
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["kernel_src", "from", "to"])]
    kernel: Option<PathBuf>,
    /// Kernel source tree to build, for both sides; it is not written to
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "to"])]
    kernel_src: Option<PathBuf>,
    /// Outgoing kernel: an image, a source tree, or a version of the mirror such as 7.2
    #[arg(long, value_name = "KERNEL")]
    from: Option<Request>,
    /// Incoming kernel, likewise
    #[arg(long, value_name = "KERNEL")]
    to: Option<Request>,
    /// Kernel options for both sides over the lab's own, such as "CONFIG_NUMA=n CONFIG_HZ_1000=y"
    #[arg(long, value_name = "OPTIONS", conflicts_with = "kernel")]
    config: Option<KernelConfig>,
    /// Likewise, from a file
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    config_file: Option<PathBuf>,
    /// Kernel options of the outgoing kernel alone
    #[arg(long, value_name = "OPTIONS", conflicts_with = "kernel")]
    from_config: Option<KernelConfig>,
    /// Kernel options of the incoming kernel alone
    #[arg(long, value_name = "OPTIONS", conflicts_with = "kernel")]
    to_config: Option<KernelConfig>,
    /// Delay a step of the lab's driver, such as retrieve_delay_us=40000 (microseconds)
    #[arg(long, value_name = "DELAY")]
    plant: Vec<Plant>,
    /// Live updates to run, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    update: LiveUpdate,
    /// Folder for the recording and the reports [default: a new one in the cache; the last 20 are kept]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Keep the folder shared with the guest, as `share` beside the results
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    Accuracy(Box<accuracy::Options>),
    Overhead(Box<overhead::Options>),
    Bench(Box<bench::Options>),
    BisectStep(Box<bisect::Options>),
    Host(Box<host::Options>),
}

/// Runs the command line. Exit codes: 0 all live updates came through, 1 error, 2 usage or missing packages.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match &options.command {
        None => run(&options).map(|complete| if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Some(Subcommand::Accuracy(options)) => accuracy::main(options),
        Some(Subcommand::Overhead(options)) => overhead::main(options),
        Some(Subcommand::Bench(options)) => bench::main(options),
        Some(Subcommand::Host(options)) => host::main(options),
        Some(Subcommand::BisectStep(options)) => Ok(bisect::main(options)),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            let usage = error.chain().any(|cause| cause.is::<needs::Missing>() || cause.is::<Usage>());
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// Whether all live updates came through.
fn run(options: &Options) -> Result<bool> {
    let cache = Cache::open()?;
    let [from, to] = requests(options)?;
    options.update.check(&cache, &[(&from.0, &from.1), (&to.0, &to.1)], &[])?;
    let outgoing = kernel::resolve(&cache, &from.0, &from.1)?;
    let incoming = if from == to { outgoing.clone() } else { kernel::resolve(&cache, &to.0, &to.1)? };
    let binaries = binaries::build()?;
    let out = cache.results(options.out.as_deref())?;
    let [delays, _] = of_both(&options.plant, &[]);
    let lab = options.update.prepare(&cache, (outgoing, incoming), delays, &binaries, out)?;
    let scratch = cache.temporary()?;
    let share = if options.keep { lab.out.join("share") } else { scratch.path().join("share") };
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        let suffix = if options.runs == 1 { String::new() } else { format!("-{number}") };
        let finished = lab.run(&suffix, &share)?;
        let reported = Reported::make(&lab, &suffix, finished, &binaries.blackout)?;
        reported.guest_lines().for_each(|line| eprintln!("lab: {line}"));
        runs.push(reported);
    }
    eprintln!("lab: results are in {}", lab.out.display());
    std::io::stdout()
        .write_all(reports::output(&runs, options.json).as_bytes())
        .context("cannot write the report")?;
    Ok(runs.iter().all(Reported::complete))
}

/// The kernels that the options ask for, outgoing and incoming.
fn requests(options: &Options) -> Result<[(Request, KernelConfig); 2]> {
    let both = options.kernel.clone().map(Request::Image).or(options.kernel_src.clone().map(Request::Tree));
    let of_file = options.config_file.as_deref().map(KernelConfig::read).transpose()?.unwrap_or_default();
    let config = of_file.with(&options.config.clone().unwrap_or_default());
    let side = |side: &Option<Request>, own: &Option<KernelConfig>| {
        let request = both.clone().or(side.clone()).unwrap_or(Request::Newest);
        (request, config.with(&own.clone().unwrap_or_default()))
    };
    Ok([side(&options.from, &options.from_config), side(&options.to, &options.to_config)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        assert!(Options::try_parse_from(["lab", "--kernel", "a", "--from", "7.3"]).is_err());
        assert!(Options::try_parse_from(["lab", "--fault", "none"]).is_err());
        assert!(Options::try_parse_from(["lab", "--workload", "d", "--files", "3"]).is_err());
    }
}
