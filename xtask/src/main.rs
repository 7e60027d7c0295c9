//! `cargo xtask`: the steps that keep the checkout true: the committed eBPF object, the committed schema,
//! and the one command that tests everything.

mod dashboards;
mod dependencies;
mod digest;
mod docs;
mod ebpf;
mod exports;
mod fleet;
mod fresh;
mod lab_tests;
mod package;
mod page;
mod release;
mod resample;
mod schema;
mod sysroot;
mod terminal;
mod test;
mod toolchain;
mod tools;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Build and test steps of blackout. Exit codes: 0 done, 1 error, 2 usage or missing packages. Tools and caches live in $BLACKOUT_CACHE (or the user's cache folder).
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF programs into profiler-ebpf/prebuilt; only needed after a change of their source
    Ebpf {
        /// Change nothing: fail if the committed object is not what the sources give
        #[arg(long)]
        check: bool,
    },
    /// Write the report's JSON Schema into docs/schema
    Schema {
        /// Change nothing: fail if the committed schema is not the profiler's
        #[arg(long)]
        check: bool,
    },
    /// Write Grafana's dashboards out of dashboards/spec
    Dashboards {
        /// Change nothing: fail if the committed dashboards are not what the specifications give
        #[arg(long)]
        check: bool,
    },
    /// Check links and words of the documents, and build the book of docs/ into target/book
    Book,
    /// Write the book's generated tables: commands, phases, probes, needs, report
    Reference {
        /// Change nothing: fail if a committed table is not what the program and its data files give
        #[arg(long)]
        check: bool,
    },
    /// Make a fleet up, as Parquet and textfiles in target/fleet, or let a fleet's stores work on one
    Fleet(fleet::Options),
    /// Build the Debian package and print its path
    Package {
        /// Then install, upgrade, remove and purge it in a clean Debian root (as root)
        #[arg(long)]
        check: bool,
    },
    /// Build the release: archive, package, SBOM and checksums
    Release,
    /// Drive the HTML report in a headless Chromium
    Page,
    /// Have exports read by the programs they are written for: Perfetto, DevTools, flamegraph.pl and others
    Exports,
    /// Take the pictures of the README and the book again: of the HTML report, and of the terminal
    Pictures,
    /// Measure how often the gate of `blackout compare` is right, by comparing random draws of real runs
    Resample(resample::Draw),
    /// Run the README's commands on a fresh machine: a minimal Debian root, as root and as an ordinary user
    Fresh(fresh::Options),
    /// Run every check there is: formatting, lints, licences, tests, documentation, live updates in a VM
    Test {
        /// Also the long live updates (full_*), the README's commands on a fresh machine, and every fuzz target for a
        /// minute
        #[arg(long)]
        full: bool,
    },
}

fn main() -> ExitCode {
    let done = match Options::parse().task {
        Task::Ebpf { check: false } => ebpf::write(),
        Task::Ebpf { check: true } => ebpf::check(),
        Task::Schema { check: false } => schema::write(),
        Task::Schema { check: true } => schema::check(),
        Task::Dashboards { check: false } => dashboards::write(),
        Task::Dashboards { check: true } => dashboards::check(),
        Task::Book => docs::check(),
        Task::Reference { check: false } => docs::reference::write(),
        Task::Reference { check: true } => docs::reference::check(),
        Task::Fleet(options) => fleet::run_with(&options),
        Task::Package { check: false } => package::write(),
        Task::Package { check: true } => package::check(),
        Task::Release => release::write(),
        Task::Page => page::check(),
        Task::Exports => exports::check(),
        Task::Resample(draw) => resample::run(&draw),
        Task::Pictures => terminal::picture().and_then(|()| page::pictures()),
        Task::Fresh(options) => fresh::run(&options),
        Task::Test { full } => test::everything(full),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            let missing = error.chain().any(|cause| cause.is::<toolbox::needs::Missing>());
            ExitCode::from(if missing { 2 } else { 1 })
        }
    }
}
