//! `blackout setup`: prints what a host lacks, or does it, or undoes it.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use profiler::{
    agent,
    host::{
        plan::{self, Step},
        setup,
    },
};

/// Set this host up to measure its live updates: print what it lacks, or write it
#[derive(clap::Args)]
pub struct Args {
    /// Write it
    #[arg(long, conflicts_with = "undo")]
    apply: bool,
    /// Remove exactly what --apply wrote
    #[arg(long)]
    undo: bool,
    /// The system's root: another than / is an image that is prepared, where no program is run
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Says what is done, and what remains to be done by hand.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<()> {
    if args.undo {
        let undone = setup::undo(&args.root)?;
        undone.undone.iter().try_for_each(|path| writeln!(stdout, "undone  /{path}"))?;
        undone.left.iter().try_for_each(|path| writeln!(stdout, "left    /{path}: changed since"))?;
        return Ok(());
    }
    let steps = plan::plan(&setup::look(&args.root)?);
    if steps.is_empty() {
        writeln!(stdout, "nothing to do: this host is set up")?;
        return Ok(());
    }
    for step in &steps {
        write!(stdout, "{}", shown(step, !args.apply))?;
    }
    if args.apply {
        setup::apply(&args.root, &steps)?;
        writeln!(stdout, "\ndone; reboot once, then every `systemctl kexec` is measured: `blackout last`")?;
    } else {
        let line = agent::cmdline("0123456789abcdef", "", false);
        writeln!(stdout, "\nthis is only a plan: --apply does it")?;
        if let Ok(line) = line {
            writeln!(stdout, "\n`blackout load` would give the incoming kernel this command line:\n{line}")?;
        }
    }
    Ok(())
}

/// A step in a line, and with `whole` also what a short file is to hold.
fn shown(step: &Step, whole: bool) -> String {
    match step {
        Step::Write { path, content, .. } => {
            let lines = content.lines().filter(|_| whole).map(|line| format!("          {line}\n"));
            format!("write   /{path}\n{}", lines.collect::<String>())
        }
        Step::Install { path } => format!("install /{path}\n"),
        Step::Link { path, target } => format!("link    /{path} -> {target}\n"),
        Step::Run { argv } => format!("run     {}\n", argv.join(" ")),
    }
}
