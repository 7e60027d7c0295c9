//! Makes up a fleet: live updates of many hosts into several kernels, most well, some slow, failed, or with half their
//! evidence lost. Writes what a fleet's stores would get, and the answers to the questions of `docs/parquet.md`, which
//! it knows because it made the data. Started by `cargo xtask fleet`.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use profiler_fleet::{
    openmetrics::{self, Tally},
    parquet::Writer,
};
use profiler_report::{
    files::{self, Pending},
    report,
};

mod answers;
mod host;
mod random;

use answers::Answers;
use host::{Fleet, Host};

#[derive(Parser)]
struct Args {
    /// Hosts
    #[arg(long, default_value_t = 1_000)]
    hosts: u32,
    /// Live updates of each, a week apart
    #[arg(long, default_value_t = 10)]
    updates: u32,
    /// Another number is another fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many times longer the initcalls of the newest kernel are
    #[arg(long, default_value_t = 1.05)]
    slower: f64,
    /// Folder for Parquet files, one for each CPU
    #[arg(long, value_name = "DIR")]
    parquet: Option<PathBuf>,
    /// Folder for textfiles, one for each host: HOST/blackout.prom
    #[arg(long, value_name = "DIR")]
    textfiles: Option<PathBuf>,
    /// Folder for reports in JSON, one for each live update
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
    /// The answers
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let fleet = Fleet::new(args.hosts, args.updates, args.seed, args.slower)?;
    let workers =
        thread::available_parallelism().map_or(1, |workers| workers.get() as u32).min(args.hosts.max(1));
    let part = |worker: u32| {
        let hosts = (0..args.hosts).skip(worker as usize).step_by(workers as usize);
        hosts_of(&args, &fleet, worker, hosts)
    };
    let parts = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || part(worker))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a worker panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mut answers = Answers::default();
    parts.into_iter().for_each(|part| answers.join(part));
    println!("{} live updates of {} hosts, {} rows", answers.updates, args.hosts, answers.rows);
    if let Some(path) = &args.answers {
        files::replace(path, &serde_json::to_vec_pretty(&answers.json())?, 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// One worker's hosts.
fn hosts_of(args: &Args, fleet: &Fleet, worker: u32, hosts: impl Iterator<Item = u32>) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut pending = match &args.parquet {
        Some(dir) => Some(Pending::create(&folder(dir)?.join(format!("part-{worker}.parquet")), 0o644)?),
        None => None,
    };
    let mut writer = match &mut pending {
        Some(pending) => Some(Writer::new(pending.file().try_clone()?)?),
        None => None,
    };
    for number in hosts {
        let host = Host::new(fleet, number);
        let mut tally = Tally::default();
        for update in 0..fleet.updates {
            let report = host.report(update);
            answers.add(&report);
            if let Some(writer) = &mut writer {
                writer.add_clean(&report)?;
            }
            if let Some(dir) = &args.reports {
                fs::write(folder(dir)?.join(format!("{}.json", report.run.id)), report::json(&report)?)?;
            }
            if args.textfiles.is_some() {
                tally.add(report);
            }
        }
        if let Some(dir) = &args.textfiles {
            // One torn file in the fleet.
            if number == 0 {
                tally.add_unreadable();
            }
            let path = folder(&dir.join(&host.name))?.join("blackout.prom");
            files::replace(&path, openmetrics::render(&tally)?.as_bytes(), 0o644)?;
        }
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    pending.map_or(Ok(()), Pending::done)?;
    Ok(answers)
}

fn folder(path: &Path) -> Result<&Path> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}
