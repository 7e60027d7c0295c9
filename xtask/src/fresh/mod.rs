//! `cargo xtask fresh`: what the README promises, on a machine that has nothing but what the README asks for.
//!
//! ```text
//! root     a minimal Debian root, and commands in it
//! readme   the README's commands, as one user
//! ```

mod readme;
mod root;

use crate::{test, workspace};
use anyhow::{Context, Result, bail, ensure};
use root::{FreshRoot, User};
use std::fs;
use toolbox::cache::Cache;
use toolbox::needs;
use toolbox::progress::Progress;

/// How fresh the machine is, and for whom.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// With the kernels of this machine's cache: nothing is compiled but this checkout
    #[arg(long)]
    warm: bool,
    /// As one user only [default: both, each on a machine of its own]
    #[arg(long, value_enum)]
    user: Option<User>,
    /// The short form: only whether the packages that the tests name ship what they need; nothing is built
    #[arg(long, conflicts_with_all = ["warm", "user"])]
    needs: bool,
}

/// Does what the options say.
///
/// # Errors
/// As [`readme()`] and [`needs_resolve`].
pub fn run(options: &Options) -> Result<()> {
    if options.needs { needs_resolve() } else { readme(options) }
}

/// Runs the README's commands in fresh roots. An ordinary user must be told once for each command, and exactly, which
/// packages are missing. What the commands print stays in `target/fresh`.
///
/// # Errors
/// When not root, or when a command failed.
pub fn readme(options: &Options) -> Result<()> {
    let cache = Cache::open()?;
    let out = workspace::target("fresh")?;
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let users = options.user.map_or(vec![User::Root, User::Ordinary], |user| vec![user]);
    let mut took = String::new();
    for user in users {
        let scratch = cache.temporary()?;
        let mut root = FreshRoot::make(&cache, scratch.path())?;
        root.add_checkout(user)?;
        if options.warm {
            root.add_kernels(&cache, user)?;
        }
        let runs = match readme::commands(&root, user, &out) {
            Ok(runs) => runs,
            Err(error) => {
                let kept = scratch.keep();
                return Err(error.context(format!("the root stays, to be looked at: {}", kept.display())));
            }
        };
        for run in runs {
            took += &format!("  {:>8.1} s  {user}: {}\n", run.took.as_secs_f64(), run.what);
        }
    }
    print!("{took}");
    Ok(())
}

/// Whether the packages that all steps of `cargo xtask test` name are there and ship what the steps need. Nothing is built.
///
/// # Errors
/// When not root, or when a package does not exist or does not ship it.
pub fn needs_resolve() -> Result<()> {
    let cache = Cache::open()?;
    let scratch = cache.temporary()?;
    let root = FreshRoot::make(&cache, scratch.path())?;
    let needs = test::needs_of_steps(true);
    let packages = needs::missing_below(root.path(), &needs);
    ensure!(!packages.is_empty(), "a fresh root lacks nothing: it cannot show what is missing");
    let progress = Progress::start(format!("{} packages into a fresh root", packages.len()));
    let line = format!("{} {}", needs::INSTALL, packages.join(" "));
    let log = scratch.path().join("log");
    root.run(User::Root, &line, &log)?;
    let still = needs::missing_below(root.path(), &needs);
    if !still.is_empty() {
        bail!("installed, and yet what they are installed for is missing: {}", still.join(" "));
    }
    progress.done();
    Ok(())
}
