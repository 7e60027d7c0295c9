//! `blackout serve` beside the live update, and its stream out of the machine: a virtio port that QEMU ties
//! to a socket outside.

use super::console::say;
use super::observer::ticks;
use anyhow::{Context, Result, anyhow, bail};
use profiler_watch::decode::parse;
use profiler_watch::message::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use toolbox::program;

/// Name of the port, which the host gives it.
pub const PORT: &str = "blackout";

const SOCKET: &str = "/run/blackout.sock";
const PORTS: &str = "/sys/class/virtio-ports";
/// Pause between two looks at what is to happen.
const LOOK: Duration = Duration::from_millis(2);
/// Looks before the agent, its socket or the port is given up: five minutes and more. They are counted, and not time: the
/// clock runs on while the emulator waits for a processor or is stopped.
const LOOKS: u32 = 150_000;
/// Looks at a full port once no more lines follow, each of 200 ms, or of 50 ms while no reader is connected.
const LAST_LOOKS: u32 = 3000;

/// An agent and the bridge that carries its stream out.
pub struct Live {
    agent: Arc<Agent>,
    bridge: JoinHandle<Result<()>>,
    /// TSC of the last counters that the reader outside has.
    counted: Arc<AtomicU64>,
}

impl Live {
    /// Starts both; they run beside whatever comes next. Init reaps the agent as it does all others. `crowd` is
    /// how many clients more there are, which never read.
    ///
    /// # Errors
    /// When either cannot be started.
    pub fn start(blackout: &str, state: &str, crowd: u32) -> Result<Self> {
        let agent = Arc::new(Agent::start(blackout, state)?);
        let counted = Arc::new(AtomicU64::new(0));
        let shared = (Arc::clone(&agent), Arc::clone(&counted));
        let bridge = thread::Builder::new()
            .name("bridge".into())
            .spawn(move || bridge(&shared.0, &shared.1, crowd))?;
        Ok(Self { agent, bridge, counted })
    }

    /// Waits until the agent sees what happens, or has ended.
    pub fn ready(&self) {
        let _ = self.agent.patiently(|| fs::metadata(SOCKET).context("no socket"));
    }

    /// Waits until the reader outside has everything that the agent could see so far. The port ends with the kernel:
    /// what is under way then is lost, and on a busy machine that may be much.
    pub fn settle(&self) {
        // Counters are sent after the records of one reading. The first that come may be those of a reading before now.
        for _ in 0..2 {
            let since = ticks();
            let settled = || match self.counted.load(Ordering::Acquire) > since || self.bridge.is_finished() {
                true => Ok(()),
                false => Err(anyhow!("no counters came out")),
            };
            if let Err(error) = self.agent.patiently(settled) {
                say(format_args!("warning the stream: {error:#}"));
            }
        }
    }

    /// Waits until the agent has ended and its last line is out.
    pub fn finish(self) {
        match self.bridge.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))) {
            Ok(()) => {}
            Err(error) => say(format_args!("warning the stream's bridge: {error:#}")),
        }
    }
}

/// `blackout serve`.
struct Agent(OwnedFd);

impl Agent {
    fn start(blackout: &str, state: &str) -> Result<Self> {
        let mut agent = program::command(blackout);
        agent.args(["serve", "--state", state]).stdin(Stdio::null()).stdout(Stdio::null());
        let agent = agent.spawn().context("cannot start `blackout serve`")?;
        let pid = Pid::from_child(&agent);
        // Unlike the child itself, this descriptor shows the agent's end even after init has reaped it.
        Ok(Self(pidfd_open(pid, PidfdFlags::empty()).context("cannot watch `blackout serve`")?))
    }

    fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Tries until it works; the last error if it never does, or if the agent has ended.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        for _ in 1..LOOKS {
            // Read before the attempt: the attempt then sees everything that the agent did before its end.
            let ended = self.has_ended();
            match attempt() {
                Err(_) if !ended => thread::sleep(LOOK),
                result => return result,
            }
        }
        attempt()
    }
}

/// Copies from the agent to the port until the agent closes. A reader that is slow outside makes this a
/// slow client of the agent, which knows what to do with those.
fn bridge(agent: &Agent, counted: &AtomicU64, crowd: u32) -> Result<()> {
    // The device announces its ports after its driver has begun.
    let mut port = agent.patiently(find_port)?;
    let mut stream = agent.patiently(connect)?;
    let stranger = |number| agent.patiently(connect).and_then(|stream| stranger(stream, number));
    let _crowd = (0..crowd).map(stranger).collect::<Result<Vec<_>>>()?;
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut looks = 0;
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read from the agent"),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let mut rest = bytes;
        while !rest.is_empty() {
            match port.write(rest) {
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    looks = 0;
                }
                // Full, or nobody outside.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&port)?;
                    looks += 1;
                    if looks > LAST_LOOKS && !fs::exists(SOCKET).unwrap_or(false) {
                        bail!("no reader outside takes the last lines");
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write to the port"),
            }
        }
        if let Some(tsc) = lines.last_counters(bytes) {
            // The port can be written again once the host has taken what was written (`will_write_block`,
            // drivers/char/virtio_console.c, 7.3).
            while !wait(&port)? && !agent.has_ended() {}
            counted.store(tsc, Ordering::Release);
        }
    }
}

/// Waits a moment until the port can be written; whether it can.
fn wait(port: &File) -> Result<bool> {
    let mut fds = [PollFd::new(port, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let polled = poll(&mut fds, Some(&timeout));
    let found = |flag| fds.iter().any(|fd| fd.revents().contains(flag));
    match polled {
        // A port whose other end is closed says so at once.
        Ok(_) if found(PollFlags::HUP) => {
            thread::sleep(Duration::from_millis(50));
            Ok(false)
        }
        Ok(_) => Ok(found(PollFlags::OUT)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("cannot wait for the port"),
    }
}

/// The stream's lines, as far as they have come.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes more of the stream; TSC of the last counters in it. No other line is parsed: a report is long, and the
    /// window is running.
    fn last_counters(&mut self, bytes: &[u8]) -> Option<u64> {
        const COUNTERS: &[u8] = br#"{"type":"counters""#;
        let mut last = None;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut self.partial);
            if line.starts_with(COUNTERS)
                && let Some(Message::Counters(counters)) = parse(line.trim_ascii_end())
            {
                last = Some(counters.tsc);
            }
        }
        last
    }
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
    UnixStream::connect(SOCKET).with_context(|| format!("cannot connect to {SOCKET}"))
}

/// Turns a connection into a client that never reads. A client with an odd number also sends garbage, as much as the
/// agent takes.
fn stranger(mut stream: UnixStream, number: u32) -> Result<UnixStream> {
    if number % 2 == 1 {
        stream.set_nonblocking(true).context("cannot send garbage")?;
        while stream.write(&[0x1b; 4096]).is_ok() {}
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_watch::message::Counters;

    #[test]
    fn counters_are_found_in_pieces_of_a_stream() {
        let line = |tsc| Message::Counters(Counters { tsc, ..Counters::default() }).line().unwrap();
        let stream = format!("\n{}{{\"type\":\"bye\",\"reason\":\"x\"}}\n{}{}", line(7), line(8), line(9));
        let mut lines = Lines::default();
        assert_eq!(lines.last_counters(stream.as_bytes()), Some(9));
        let found: Vec<u64> =
            stream.as_bytes().chunks(5).filter_map(|piece| lines.last_counters(piece)).collect();
        assert_eq!(found, [7, 8, 9]);
    }

    #[test]
    fn an_attempt_is_given_up_once_the_agent_has_ended() {
        let agent = Agent::start("/bin/true", "/nowhere").unwrap();
        let mut attempts = 0;
        let error = agent.patiently(|| -> Result<()> {
            attempts += 1;
            bail!("attempt {attempts}")
        });
        assert_eq!(error.unwrap_err().to_string(), format!("attempt {attempts}"));
        let agent = Agent::start("/bin/true", "/nowhere").unwrap();
        assert_eq!(agent.patiently(|| Ok(5)).unwrap(), 5);
    }
}
