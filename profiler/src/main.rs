//! `blackout`: the command.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use profiler::{agent, privilege};
use rustix::{fs::Mode, process::umask};

mod cli;

/// Profiler for the live-update blackout window: kexec with preserved guests (KHO, LUO).
///
/// what can be measured here?           blackout check
/// On the host, before a live update:   blackout arm && blackout load KERNEL --initrd INITRD
/// start it:                            blackout kexec
/// in the incoming kernel:              blackout collect -- COMMAND-THAT-RESTORES
/// by the VMM, in either kernel:        blackout mark NAME --vm NAME
/// on the host, to watch from outside:  blackout serve
/// anywhere, without privileges:        blackout report FILE, blackout tui FILE
/// by systemd, once set up:             blackout setup --apply, then systemctl kexec and blackout last
/// is a build slower?                   blackout compare BASE... -- NEW...
///
/// Exit codes: 0 ok, 1 error, 2 usage, 3 regression or budget exceeded, 4 undecided (with --fail-on
/// inconclusive), 5 recording lossy or partial, or kernel not ready (with --strict).
#[derive(Parser)]
#[command(name = "blackout", version, verbatim_doc_comment)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Folder of the recordings, one file a live update.
#[derive(clap::Args)]
struct State {
    /// Folder of the recordings, one file a live update
    #[arg(long = "state", value_name = "DIR", default_value = "/var/lib/blackout")]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    Check(cli::check::Args),
    /// Arm probes and flight recorder in the outgoing kernel; no process is needed afterwards
    Arm {
        #[command(flatten)]
        state: State,
        /// Count functions that are called once a page or folio; what that costs is in the report
        #[arg(long)]
        hot: bool,
    },
    /// Take the probes out again
    Disarm,
    /// Print the command line that makes the incoming kernel's boot visible
    Cmdline {
        /// Run id to put on it
        #[arg(long, value_name = "ID", default_value = "0000000000000000")]
        run: String,
        /// Parameters to append
        #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
        append: String,
        /// Trace boot functions at their entry too (costs boot time; without it, log lines are the borders)
        #[arg(long)]
        trace_boot: bool,
    },
    /// Load the incoming kernel for the run that is armed, or will be
    Load {
        /// The image (bzImage) [default: the system's own, /vmlinuz, with its initramfs]
        kernel: Option<PathBuf>,
        /// Its initramfs
        #[arg(long, value_name = "FILE", requires = "kernel")]
        initrd: Option<PathBuf>,
        /// Parameters to append to its command line
        #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
        append: String,
        /// Stamp the image in memory, to split the dark stretch; not possible where signatures are enforced
        #[arg(long)]
        stamp: bool,
        /// Trace boot functions at their entry too (costs boot time; without it, log lines are the borders)
        #[arg(long)]
        trace_boot: bool,
        #[command(flatten)]
        state: State,
    },
    /// Start the loaded kernel: the blackout begins. Comes back only on failure
    Kexec {
        #[command(flatten)]
        state: State,
    },
    /// Leave the outgoing kernel's last words, before the kexec of another program
    Seal {
        #[command(flatten)]
        state: State,
    },
    /// In the incoming kernel: watch the restore, then write the recording
    Collect {
        #[command(flatten)]
        state: State,
        /// Load the eBPF programs before the command, not beside it: they see all of it, and the blackout is longer
        /// by the loading
        #[arg(long)]
        probes_first: bool,
        /// Count functions that are called once a page or folio, from before the command starts on; what that costs is
        /// in the report
        #[arg(long)]
        hot: bool,
        /// The command that restores; without one, collect until SIGINT or SIGTERM
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// In either kernel, by a VMM: name this moment; reports can measure from and to it
    Mark {
        /// Its name, such as pause-asked, state-saved, restore-begun, vm-running
        name: String,
        /// The guest it is about: by this name it is known again in the incoming kernel
        #[arg(long, value_name = "NAME")]
        vm: Option<String>,
        /// Process of its VMM [default: the process that calls this command]
        #[arg(long)]
        pid: Option<u32>,
    },
    /// Compute the report from a recording
    Report(cli::report::Args),
    /// Compute the report of the newest recording of this host
    Last(cli::report::LastArgs),
    /// Remove recordings that are too many or too old
    Prune {
        #[command(flatten)]
        state: State,
        /// How many of the newest stay
        #[arg(long, value_name = "N", default_value_t = 100)]
        keep: usize,
        /// Age beyond which even those go
        #[arg(long, value_name = "DAYS")]
        max_age_days: Option<u32>,
    },
    Compare(cli::compare::Args),
    Budget(cli::budget::Args),
    Trend(cli::trend::Args),
    Export(cli::export::Args),
    Push(cli::push::Args),
    /// Print the raw evidence of a recording, one JSON line a frame
    Dump(cli::dump::Args),
    /// Stream the live update while it happens, under either kernel, to whoever connects
    Serve(cli::serve::Args),
    /// Print or record a stream: one JSON object a line
    Stream(cli::stream::Args),
    /// Watch a live update in the terminal: while it happens, from anywhere, or afterwards
    Tui(cli::tui::Args),
    Setup(cli::setup::Args),
    Man(cli::manual::ManArgs),
    #[command(hide = true)]
    Completions(cli::manual::CompletionsArgs),
    /// Print the JSON Schema of the report, or of another output
    Schema {
        /// Of which output
        #[arg(value_enum, default_value_t = Schema::Report)]
        of: Schema,
    },
}

/// JSON outputs with a schema.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Schema {
    /// blackout.report/1
    Report,
    /// blackout.compare/1
    Compare,
    /// blackout.budget/1
    Budget,
    /// blackout.trend/1
    Trend,
    /// blackout.stream/1, of a line
    Stream,
    /// blackout.check/1
    Check,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    let matches = Args::command().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match confine(matches.subcommand_name().unwrap_or_default()).and_then(|()| run(args)) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blackout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Before anything else: says what this process lacks for `command`, and gives up what the command does not need.
/// What it writes is for its user alone. (`docs/privileges.md`)
fn confine(command: &str) -> Result<()> {
    let Some(need) = privilege::of(command) else { return Ok(()) };
    let missing = need.missing().context("cannot read this process's capabilities")?;
    if !missing.is_empty() {
        bail!("`blackout {command}` needs {}: run it as root", missing.join(", "));
    }
    // The command that `collect` runs is another's: it gives up its own rights after it has started it.
    if command != "collect" {
        need.confine().context("cannot give up capabilities")?;
        umask(Mode::from_bits_truncate(0o077));
    }
    Ok(())
}

fn run(args: Args) -> Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match args.command {
        Command::Check(args) => return cli::check::run(&args, &mut stdout),
        Command::Arm { state, hot } => writeln!(stdout, "{}", agent::arm(&state.dir, hot)?.id)?,
        Command::Disarm => agent::disarm()?,
        Command::Cmdline { run, append, trace_boot } => {
            writeln!(stdout, "{}", agent::cmdline(&run, &append, trace_boot)?)?;
        }
        Command::Load { kernel, initrd, append, stamp, trace_boot, state } => {
            let options = agent::LoadOptions { kernel, initrd, append, stamp, trace_boot };
            writeln!(stdout, "{}", agent::load(&state.dir, &options)?)?;
        }
        Command::Kexec { state } => match agent::jump(&state.dir)? {},
        Command::Seal { state } => agent::seal(&state.dir)?,
        Command::Collect { state, probes_first, hot, command } => {
            let collected = agent::collect(&state.dir, &command, agent::Look { probes_first, hot })?;
            writeln!(stdout, "{}", collected.path.display())?;
            // The command's own code, as `env` and `timeout` do: what calls us sees through us.
            return Ok(ExitCode::from(u8::try_from(collected.exit_code).unwrap_or(1)));
        }
        Command::Mark { name, vm, pid } => {
            let pid = pid.unwrap_or_else(std::os::unix::process::parent_id);
            profiler_mark::Marks::open(pid, vm.as_deref())?.mark(&name)?;
        }
        Command::Report(args) => return cli::report::run(&args, &mut stdout),
        Command::Last(args) => return cli::report::last(&args, &mut stdout),
        Command::Prune { state, keep, max_age_days } => {
            let max_age = max_age_days.map(|days| DAY * days);
            for path in agent::prune(&state.dir, agent::Retention { keep, max_age })? {
                writeln!(stdout, "removed {}", path.display())?;
            }
        }
        Command::Setup(args) => cli::setup::run(&args, &mut stdout)?,
        Command::Man(args) => cli::manual::man(&args, Args::command())?,
        Command::Completions(args) => cli::manual::completions(&args, Args::command(), &mut stdout)?,
        Command::Compare(args) => return cli::compare::run(&args, &mut stdout),
        Command::Budget(args) => return cli::budget::run(&args, &mut stdout),
        Command::Trend(args) => cli::trend::run(&args, &mut stdout)?,
        Command::Export(args) => cli::export::run(&args)?,
        Command::Push(args) => return cli::push::run(&args),
        Command::Dump(args) => cli::dump::run(&args, &mut stdout)?,
        Command::Serve(args) => cli::serve::run(&args)?,
        Command::Stream(args) => cli::stream::run(&args, &mut stdout)?,
        Command::Tui(args) => cli::tui::run(&args)?,
        Command::Schema { of } => {
            let schema = match of {
                Schema::Report => profiler_report::report::schema(),
                Schema::Compare => profiler_compare::schema(),
                Schema::Budget => profiler_compare::budget::schema(),
                Schema::Trend => profiler_compare::trend::schema(),
                Schema::Stream => profiler_watch::message::schema(),
                Schema::Check => profiler::check::schema(),
            };
            let schema = serde_json::to_string_pretty(&schema).context("schema")?;
            writeln!(stdout, "{schema}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}
