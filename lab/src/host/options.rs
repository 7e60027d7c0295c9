//! The command line of `cargo lab host`.

use super::flow;
use crate::accel;
use crate::emulator::{Emulator, Purpose};
use crate::kernel::{self, Request};
use crate::kernel_config::KernelConfig;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use toolbox::binaries;
use toolbox::cache::Cache;
use toolbox::{debian_root, exec, needs, program};

/// A Debian host with systemd: installs the package, sets it up, and measures `systemctl kexec` with a guest.
///
/// Runs as root, for it makes the root file system of Debian packages (once).
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Kernel image (bzImage) of both sides [default: the lab's newest]
    #[arg(long, value_name = "IMAGE")]
    kernel: Option<PathBuf>,
    /// The package [default: what `cargo xtask package` makes]
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// Live updates, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    updates: u32,
    /// Then: how many times the cable is pulled, each time in a copy of the host before its live update
    #[arg(long, default_value_t = 0)]
    cuts: u32,
    /// Seed of the moments at which it is pulled
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Memory of the machine, MiB
    #[arg(long, default_value_t = 2048)]
    memory: u64,
    /// Folder for what is left [default: a new one in the cache]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seconds of machine time without output after which the machine is taken to hang
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Runs it.
///
/// # Errors
/// When the host cannot be made, or something was not as it must be.
pub fn main(options: &Options) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let request = options.kernel.clone().map_or(Request::Newest, Request::Image);
    let config = KernelConfig::default();
    let kernel_needs = kernel::needs(&cache, &request, &config);
    needs::declare("cargo lab host", &[needs::STATIC, needs::PACKAGE, needs::DEBIAN_ROOT, &kernel_needs])?;
    let kernel = kernel::resolve(&cache, &request, &config)?;
    let emulator = Emulator::choose(&cache, None, Purpose::Any)?;
    let binaries = binaries::build()?;
    let deb = match &options.deb {
        Some(deb) => deb.clone(),
        None => package()?,
    };
    let base = debian_root::base(&cache)?;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => cache.new_run()?,
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let scratch = cache.temporary()?;
    let host = flow::Host {
        base,
        accel: accel::choose(&cache, &emulator, &kernel.image)?,
        emulator,
        kernel,
        lab: binaries.lab,
        deb,
        memory_bytes: options.memory << 20,
        timeout: Duration::from_secs(options.timeout),
        scratch: scratch.path().into(),
        out,
    };
    host.measure(options.updates)?;
    if options.cuts > 0 {
        host.pull_the_cable(options.cuts, options.seed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The package, made from this checkout.
fn package() -> Result<PathBuf> {
    let mut command = program::cargo();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let said = exec::output(command.args(["run", "--quiet", "--package", "xtask", "--", "package"]))?;
    said.lines().last().map(PathBuf::from).context("`cargo xtask package` names no package")
}
