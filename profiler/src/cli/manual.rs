//! `blackout man` and `blackout completions`: made from the definition of the command line itself.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// Write the manual pages
#[derive(clap::Args)]
pub struct ManArgs {
    /// Folder for them
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Print the completions of a shell
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A page for the command and one for each subcommand.
pub fn man(args: &ManArgs, command: Command) -> Result<()> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for sub in command.get_subcommands() {
        let name = format!("{}-{}", command.get_name(), sub.get_name());
        page(dir, sub.clone().name(name.clone()).display_name(name))?;
    }
    page(dir, command)
}

fn page(dir: &Path, command: Command) -> Result<()> {
    let path = dir.join(format!("{}.1", command.get_name()));
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// A script for the shell.
pub fn completions(args: &CompletionsArgs, mut command: Command, stdout: &mut impl Write) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "blackout", &mut script);
    stdout.write_all(&script).context("cannot write")
}
