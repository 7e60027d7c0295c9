//! Guests on a host with systemd: what luod and VMMs do there. Not process 1, as `init` is, but services and a hook.
//!
//! The outgoing side must live until the kexec, for a session ends with its last descriptor. systemd's last killing
//! spares processes whose name begins with `@` (systemd.io/ROOT_STORAGE_DAEMONS).

use super::fleet::{Fleet, complain};
use super::workload::open_orchestrator;
use crate::plan::Plan;
use anyhow::{Context, Result, bail};
use rustix::process::getpid;
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

/// First argument; then `outgoing`, `pause` or `incoming`.
pub const COMMAND: &str = "host-guests";
/// What a VMM's process is called, so that it lives as long as its session must.
pub const SPARED_NAME: &str = "@blackout-lab";
/// Where the outgoing side listens: no file, for files may be gone when it is asked to pause.
const SOCKET: &[u8] = b"blackout-lab/guests";
/// Tells `systemctl start` that the guests run and are preserved.
const READY: &str = "/run/lab-guests";
/// What became of the guests, for the administrator.
const FATE: &str = "/var/lib/lab/guests.txt";

/// Runs the side that the arguments name; an exit code.
pub fn main() -> i32 {
    let ended = match std::env::args().nth(2).as_deref() {
        Some("outgoing") => outgoing(),
        Some("pause") => pause(),
        Some("incoming") => incoming(),
        other => Err(anyhow::anyhow!("`{COMMAND}` takes outgoing, pause or incoming, not {other:?}")),
    };
    match ended {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            1
        }
    }
}

/// Starts the guests, preserves them, and pauses them when asked to. Comes back only with an error.
fn outgoing() -> Result<()> {
    let mut fleet = Fleet::start(&Plan::read()?)?;
    fleet.preserve();
    if let Some(lost) = fleet.results().iter().find(|guest| !guest.message.is_empty()) {
        bail!("guest {}: {}", lost.name, lost.message);
    }
    let address = SocketAddr::from_abstract_name(SOCKET)?;
    let listener = UnixListener::bind_addr(&address).context("cannot listen")?;
    fs::write(READY, getpid().as_raw_nonzero().to_string())?;
    loop {
        // The stream ends with the answer.
        let _asker = listener.accept().context("cannot hear")?;
        fleet.pause();
    }
}

/// In the last hook before the kexec.
fn pause() -> Result<()> {
    if !Path::new(READY).exists() {
        return Ok(());
    }
    let address = SocketAddr::from_abstract_name(SOCKET)?;
    let mut guests = UnixStream::connect_addr(&address).context("the guests' process is gone")?;
    // The stream carries no bytes: it ends when the guests are paused. systemd ends a hook that takes too long.
    guests.read_to_end(&mut Vec::new()).context("the guests do not pause")?;
    Ok(())
}

/// Restores the guests, lets them run, and judges them.
fn incoming() -> Result<()> {
    let plan = Plan::read()?;
    let mut fleet = Fleet::restore(&plan, &open_orchestrator()?)?;
    fleet.wait_until_running();
    let results = fleet.judge();
    let fate = complain(&results);
    let said = match &fate {
        Ok(()) => format!("{} guest(s) restored and intact", results.len()),
        Err(error) => format!("{error:#}"),
    };
    fs::create_dir_all("/var/lib/lab")?;
    fs::write(FATE, said).with_context(|| format!("cannot write {FATE}"))?;
    fate
}
