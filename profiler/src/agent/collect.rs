//! Collects in the incoming kernel: watches the restore, then reads what both kernels left.
//!
//! While the command runs, only the eBPF programs are loaded and a few clocks are read; whatever is
//! slow (pages, kernel log, symbols) comes after it, outside the window.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    sync::mpsc,
};

use profiler_report::recording::{
    Frame, Side,
    frame::{Body, CommandResult, Coverage},
    reader,
};
use tokio::process::Command;

use profiler_mark::ticks;

use super::{
    AgentError, anchors, boot,
    error::chain,
    identity, kallsyms, kmsg,
    probes::{Left, Look, Probes},
    state::{self, Recorder},
    tracefs::Instance,
};
use crate::privilege;

/// Where `collect` in an initramfs leaves its half: `/run` goes on into the system.
const INITRAMFS_STATE: &str = "/run/blackout/initramfs";

/// What became of a collection.
#[derive(Debug)]
pub struct Collected {
    /// The recording.
    pub path: PathBuf,
    /// Exit code of the command that ran; 0 if none did.
    pub exit_code: i32,
}

/// Runs `argv` (the restore) under observation, or waits for a signal if it is empty; then writes the
/// incoming half of the recording into `state_dir`.
pub fn collect(state_dir: &Path, argv: &[String], look: Look) -> Result<Collected, AgentError> {
    let run_id = identity::run_on_cmdline().ok_or(AgentError::NoRunId)?;
    let path = state::path(state_dir, &run_id);
    let early = state::path(Path::new(INITRAMFS_STATE), &run_id);
    if early != path && early.exists() {
        watching();
        return adopt(&early, path);
    }
    // Attach beside the restore, not before it: looking must not lengthen what is looked at. But for the two probes
    // of vCPUs: a guest that runs before them has no window, and on a busy host they lose that race.
    let (loading, loaded) = mpsc::channel::<()>();
    let loader = std::thread::spawn(move || {
        confine()?;
        // Nobody listens only if nobody waits.
        let ready = || {
            let _ = loading.send(());
        };
        Probes::attach(Side::Incoming, look, ready)
    });
    // Every wait ends with the loader, whatever becomes of it. With `hot`, what is counted is counted from the first
    // call on.
    let _ = loaded.recv();
    // In a kernel without kprobes nothing else sees the restore's first calls.
    if look.probes_first || !Instance::global()?.path("kprobe_events").exists() {
        while loaded.recv().is_ok() {}
    }
    watching();
    let command = observe(argv)?;
    let loaded = loader.join();
    let (mut misses, mut symbols, mut counted) = (Vec::new(), Vec::new(), None);
    let coverage = match loaded {
        Ok(Ok((mut probes, coverage))) => {
            misses = probes.missed();
            symbols = std::mem::take(&mut probes.symbols);
            let refused_vcpu_events = probes.refused_vcpu_events();
            let left = probes.finish();
            counted = left.counted;
            let Left { records, program_stats, .. } = left;
            Ok(Coverage { refused_vcpu_events, records, program_stats, ..coverage })
        }
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err("the loading thread died".to_owned()),
    };
    let exit_code = command.as_ref().map_or(0, |result| result.exit_code);
    let mut frames = evidence(command, coverage)?;
    // After those of kallsyms: a handler's callback goes by what it is called for.
    frames.push(Frame::bare(Side::Incoming, Body::Symbols { symbols }));
    frames.push(Frame::bare(Side::Incoming, Body::Missed { misses }));
    frames.extend(counted.map(|counted| Frame::bare(Side::Incoming, Body::Counted(counted))));

    frames.insert(0, Frame::bare(Side::Incoming, Body::Run(identity::run(run_id))));
    frames.push(Frame::bare(Side::Incoming, Body::End));
    append(&path, &frames)?;
    Ok(Collected { path, exit_code })
}

/// Adds the incoming half to a recording, which is new if the outgoing kernel left none.
fn append(path: &Path, frames: &[Frame]) -> Result<(), AgentError> {
    let existing = path.exists();
    let mut file = if existing { Recorder::append(path)? } else { Recorder::create(path)? };
    file.write(frames)?;
    file.sync()
}

/// The initramfs has collected already, where it had no disk to write to: its half is put in its place.
fn adopt(early: &Path, path: PathBuf) -> Result<Collected, AgentError> {
    let bytes = fs::read(early).map_err(AgentError::file("read", early))?;
    let read = reader::read(&bytes);
    let recording = read.map_err(|source| AgentError::Read { path: early.into(), source })?;
    append(&path, &recording.frames)?;
    fs::remove_file(early).map_err(AgentError::file("remove", early))?;
    Ok(Collected { path, exit_code: 0 })
}

/// Tells a service manager that vCPUs are watched, if it asked to be told (sd_notify(3)): what restores may begin now.
fn watching() {
    // Whoever does not hear it starts the restore when its patience ends.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Gives up, for this thread, what collecting does not need. Not for the command that restores, which is another's.
fn confine() -> Result<(), AgentError> {
    match privilege::of("collect") {
        Some(need) => need.confine().map_err(AgentError::syscall("capset")),
        None => Ok(()),
    }
}

/// Runs the command to its end, or waits for SIGINT or SIGTERM.
fn observe(argv: &[String]) -> Result<Option<CommandResult>, AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::syscall("epoll_create"))?;
    runtime.block_on(async {
        let Some((program, rest)) = argv.split_first() else {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::syscall("sigaction"))?;
            confine()?;
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return Ok(None);
        };
        let started_tsc = ticks();
        let failed = |source| AgentError::Command { program: program.clone(), source };
        let mut child =
            Command::new(program).args(rest).env_remove("NOTIFY_SOCKET").spawn().map_err(failed)?;
        confine()?;
        let status = child.wait().await.map_err(failed)?;
        let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(Some(CommandResult { argv: argv.to_vec(), exit_code, started_tsc, ended_tsc: ticks() }))
    })
}

/// Everything both kernels left, as frames.
fn evidence(
    command: Option<CommandResult>,
    coverage: Result<Coverage, String>,
) -> Result<Vec<Frame>, AgentError> {
    let incoming = |body| Frame::bare(Side::Incoming, body);
    let global = Instance::global()?;
    let boot_events = boot::events(&global);
    let (boot, problems) = global.describe("boot", &boot_events)?;
    let mut frames = vec![incoming(Body::Anchors(anchors::take()))];
    frames.extend(problems.into_iter().map(|text| incoming(Body::Note { text })));
    if boot.clock != "x86-tsc" {
        super::arm::burst(&mut global.marker()?, 3)?;
    }
    global.set("tracing_on", "0")?;

    if let Some(recorder) = Instance::flight_recorder()? {
        frames.extend(recorder.drain("flight", Side::Outgoing)?);
        // Layout only: the formats of its events are the outgoing kernel's, which it carries itself.
        frames.push(Frame::bare(
            Side::Outgoing,
            Body::TraceBuffer(recorder.describe("flight", &["ftrace/print".to_owned()])?.0),
        ));
    }
    if let Ok(text) = global.get("kprobe_profile") {
        frames.push(incoming(Body::KprobeProfile { text }));
    }
    let pages = global.drain("boot", Side::Incoming)?;
    let addresses = boot::addresses(&boot, &pages);
    boot::quiet(&global, &boot_events)?;
    frames.push(incoming(Body::TraceBuffer(boot)));
    frames.extend(pages);
    let functions = kallsyms::Functions::read()?;
    frames.push(incoming(Body::Symbols { symbols: functions.names(&addresses) }));
    frames.extend(functions.modules(&addresses).map(|modules| incoming(Body::Modules { modules })));

    let log = kmsg::read_all()?;
    frames.push(incoming(Body::Kernel(identity::kernel(&log))));
    frames.push(Frame { side: Side::Incoming, body: Body::Kmsg, blob: log });
    frames.extend(identity::config(Side::Incoming));
    if let Ok(blob) = fs::read("/sys/kernel/boot_params/data") {
        frames.push(Frame { side: Side::Incoming, body: Body::BootParams, blob });
    }
    if let Ok(blob) = fs::read("/proc/zoneinfo") {
        frames.push(Frame { side: Side::Incoming, body: Body::ZoneInfo, blob });
    }
    frames.push(incoming(match coverage {
        Ok(coverage) => Body::Coverage(coverage),
        Err(text) => Body::Note { text: format!("no eBPF in the incoming kernel: {text}") },
    }));
    frames.extend(command.map(|command| incoming(Body::Command(command))));
    Ok(frames)
}
