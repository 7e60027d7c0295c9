//! What the kernel says while it says it: a trace instance of the agent's own, and the kernel log.
//!
//! The instance gets a copy of every record that our programs write, as the flight recorder does; reading
//! it consumes nothing of the recorder's. Its clock is the TSC itself.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

use profiler_report::{
    evidence::{
        kmsg::{self, KmsgLine},
        trace::{self, CpuPages, Trace},
    },
    recording::{Side, frame::TraceBuffer},
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::agent::{AgentError, tracefs::Instance};

/// Name of the instance.
pub const INSTANCE: &str = "blackout_live";

/// Pages read from one CPU before the others have their turn.
const TURN_PAGES: usize = 16;

/// The instance, switched on.
pub struct Source {
    instance: Instance,
    buffer: TraceBuffer,
    page_size: u32,
    cpus: Vec<(u32, File)>,
}

impl Source {
    /// Makes the instance, or takes one that a killed agent left, and switches on what `side` has to tell.
    pub fn open(side: Side) -> Result<Self, AgentError> {
        let instance = Instance::create(INSTANCE)?;
        // A setting that an older kernel lacks costs memory or promptness, no more.
        let _ = instance.set("buffer_size_kb", "256");
        let _ = instance.set("buffer_percent", "0");
        instance.set("trace_clock", "x86-tsc")?;
        instance.clear()?;
        let mut events = vec!["ftrace/print".to_owned(), "bpf_trace/bpf_trace_printk".to_owned()];
        instance.set("events/bpf_trace/bpf_trace_printk/enable", "1")?;
        if side == Side::Incoming {
            let kprobes = instance.events_of("kprobes");
            if !kprobes.is_empty() {
                instance.set("events/kprobes/enable", "1")?;
            }
            events.extend(kprobes);
        }
        let buffer = instance.describe("live", &events)?.0;
        let cpus = instance.open_pages()?;
        Ok(Self { page_size: instance.page_size(), instance, buffer, cpus })
    }

    /// Waits until there is something to read, at most for `timeout`.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut fds: Vec<PollFd> =
            self.cpus.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN)).collect();
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is there, in order of time.
    pub fn read(&mut self) -> Trace {
        let page_size = self.page_size;
        let mut pages = Vec::new();
        for (cpu, file) in &mut self.cpus {
            let mut blob = Vec::new();
            for _ in 0..TURN_PAGES {
                let start = blob.len();
                blob.resize(start + page_size as usize, 0);
                // A CPU that went offline, or an error, is no more than nothing to read.
                let read = blob.get_mut(start..).map_or(0, |page| file.read(page).unwrap_or(0));
                if read == 0 {
                    blob.truncate(start);
                    break;
                }
            }
            if !blob.is_empty() {
                pages.push((*cpu, blob));
            }
        }
        let pages = pages.iter().map(|(cpu, blob)| CpuPages { cpu: *cpu, page_size, blob });
        // The kernel's own `header_page` can be read, or the recording could not be either.
        trace::decode(&self.buffer, pages).unwrap_or_default()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.cpus.clear();
        // Left behind it costs memory; the next agent takes it over.
        let _ = self.instance.set("tracing_on", "0");
        let _ = self.instance.remove();
    }
}

/// The kernel log, as far as it was not read yet.
pub struct Log {
    file: File,
}

impl Log {
    /// From its first line on.
    pub fn open() -> Result<Self, AgentError> {
        const PATH: &str = "/dev/kmsg";
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(PATH);
        opened.map(|file| Self { file }).map_err(AgentError::file("open", PATH))
    }

    /// New lines, and how many were overwritten before they could be read.
    pub fn read(&mut self) -> (Vec<KmsgLine>, u64) {
        const RECORD_BYTES: usize = 8192;
        let mut blob = Vec::new();
        let mut record = [0; RECORD_BYTES];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    blob.extend_from_slice(record.get(..length).unwrap_or(&record));
                    blob.push(0);
                }
                // EPIPE: overwritten while we read; the numbers show the gap.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EINTR)) => {}
                Err(_) => break,
            }
        }
        let log = kmsg::parse(&blob);
        (log.lines, log.lost)
    }
}
