//! `blackout serve` beside the live update, and its stream out of the machine: a virtio port that QEMU ties
//! to a socket outside.

use super::console::say;
use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use toolbox::program;

/// Name of the port, which the host gives it.
pub const PORT: &str = "blackout";

const SOCKET: &str = "/run/blackout.sock";
const PORTS: &str = "/sys/class/virtio-ports";
/// How long the agent may take until it listens, and the port until it is there.
const START: Duration = Duration::from_secs(20);
/// How long a reader outside may let its end be full once there is no more to come.
const LAST_LINES: Duration = Duration::from_secs(5);

/// An agent and the bridge that carries its stream out.
pub struct Live(JoinHandle<Result<()>>);

impl Live {
    /// Starts both; they run beside whatever comes next. Init reaps the agent as it does all others. `crowd` is
    /// how many clients more there are, which never read.
    ///
    /// # Errors
    /// When either cannot be started.
    pub fn start(blackout: &str, state: &str, crowd: u32) -> Result<Self> {
        let mut agent = program::command(blackout);
        agent.args(["serve", "--state", state]).stdin(Stdio::null()).stdout(Stdio::null());
        agent.spawn().context("cannot start `blackout serve`")?;
        let bridge = thread::Builder::new().name("bridge".into()).spawn(move || bridge(crowd))?;
        Ok(Self(bridge))
    }

    /// Waits until the agent sees what happens, or until it cannot be hoped for any more.
    pub fn ready(&self) {
        let _ = patiently(|| fs::metadata(SOCKET).context("no socket"));
    }

    /// Waits until the agent has ended and its last line is out.
    pub fn finish(self) {
        match self.0.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))) {
            Ok(()) => {}
            Err(error) => say(format_args!("warning the stream's bridge: {error:#}")),
        }
    }
}

/// Copies from the agent to the port until the agent closes. A reader that is slow outside makes this a
/// slow client of the agent, which knows what to do with those.
fn bridge(crowd: u32) -> Result<()> {
    let mut port = port()?;
    let mut agent = connect()?;
    let _crowd = (0..crowd).map(stranger).collect::<Result<Vec<_>>>()?;
    let mut buffer = vec![0; 16 * 1024];
    let mut ended = None;
    loop {
        let length = match agent.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read from the agent"),
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match port.write(rest) {
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    ended = None;
                }
                // Full, or nobody outside.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&port)?;
                    let since = ended.get_or_insert_with(Instant::now);
                    if !fs::exists(SOCKET).unwrap_or(false) && since.elapsed() > LAST_LINES {
                        bail!("nobody outside takes the last lines");
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write to the port"),
            }
        }
    }
}

fn wait(port: &File) -> Result<()> {
    let mut fds = [PollFd::new(port, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    match poll(&mut fds, Some(&timeout)) {
        // A port whose other end is closed says so at once.
        Ok(_) if fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP)) => {
            thread::sleep(Duration::from_millis(50));
            Ok(())
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for the port"),
    }
}

/// Opens the port of our name, once the kernel has heard of it: the device tells its ports after its driver
/// has begun.
fn port() -> Result<File> {
    patiently(find_port)
}

/// The numbers in ports' other names depend on the machine.
fn find_port() -> Result<File> {
    let entries = fs::read_dir(PORTS).with_context(|| format!("{PORTS}: CONFIG_VIRTIO_CONSOLE is needed"))?;
    let named = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == PORT)
    };
    let entry = entries.flatten().find(named).with_context(|| format!("no virtio port `{PORT}`"))?;
    let path = std::path::Path::new("/dev").join(entry.file_name());
    let mut options = File::options();
    let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

fn connect() -> Result<UnixStream> {
    patiently(|| UnixStream::connect(SOCKET).with_context(|| format!("cannot connect to {SOCKET}")))
}

/// A client that never reads; one with an odd number also sends what is no message, as much as is taken.
fn stranger(number: u32) -> Result<UnixStream> {
    let mut stranger = connect()?;
    if number % 2 == 1 {
        stranger.set_nonblocking(true).context("cannot send garbage")?;
        while stranger.write(&[0x1b; 4096]).is_ok() {}
    }
    Ok(stranger)
}

/// Tries until it works; the last error if it never does.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(_) if started.elapsed() < START => thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}
