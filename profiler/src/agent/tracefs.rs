//! Files of tracefs: one instance's pages, formats, markers and switches.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use profiler_mark::tracefs::{FLIGHT_RECORDER, ROOT};
use profiler_report::recording::{
    Frame, Side,
    frame::{Body, TraceBuffer},
};

use super::{AgentError, error::chain};

/// Whether tracefs is mounted and may be entered.
pub fn reachable() -> io::Result<()> {
    fs::metadata(Path::new(ROOT).join("trace")).map(drop)
}

/// One trace instance.
#[derive(Debug, Clone)]
pub struct Instance {
    dir: PathBuf,
}

impl Instance {
    /// The global buffer.
    pub fn global() -> Result<Self, AgentError> {
        let dir = PathBuf::from(ROOT);
        if dir.join("trace").exists() { Ok(Self { dir }) } else { Err(AgentError::NoTracefs) }
    }

    /// The flight recorder; `None` if it is not on this kernel's command line.
    pub fn flight_recorder() -> Result<Option<Self>, AgentError> {
        let dir = Self::global()?.dir.join("instances").join(FLIGHT_RECORDER);
        Ok(dir.exists().then_some(Self { dir }))
    }

    /// Path of a file of this instance.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// An instance beside the others, made if it is not there yet.
    pub fn create(name: &str) -> Result<Self, AgentError> {
        let dir = Self::global()?.dir.join("instances").join(name);
        if !dir.exists() {
            fs::create_dir(&dir).map_err(AgentError::file("create", &dir))?;
        }
        Ok(Self { dir })
    }

    /// The instances beside the global buffer, by name.
    pub fn instances(&self) -> Vec<(String, Self)> {
        let Ok(entries) = fs::read_dir(self.dir.join("instances")) else { return Vec::new() };
        let entries = entries.filter_map(Result::ok);
        entries
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), Self { dir: entry.path() }))
            .collect()
    }

    /// Takes the instance away; the kernel refuses while one of its files is open.
    pub fn remove(&self) -> Result<(), AgentError> {
        fs::remove_dir(&self.dir).map_err(AgentError::file("remove", &self.dir))
    }

    /// Writes a switch file.
    pub fn set(&self, file: &str, value: &str) -> Result<(), AgentError> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(AgentError::file("write", path))
    }

    /// Adds a line to a file that is a list.
    pub fn add(&self, file: &str, line: &str) -> Result<(), AgentError> {
        let path = self.dir.join(file);
        let opened = OpenOptions::new().append(true).open(&path);
        opened.and_then(|mut list| list.write_all(line.as_bytes())).map_err(AgentError::file("write", path))
    }

    /// Reads a text file.
    pub fn get(&self, file: &str) -> Result<String, AgentError> {
        let path = self.dir.join(file);
        text(&path).map_err(AgentError::file("read", path))
    }

    /// Its clock.
    pub fn clock(&self) -> Result<String, AgentError> {
        // All clocks, the selected one in brackets.
        Ok(self.get("trace_clock")?.split(['[', ']']).nth(1).unwrap_or("local").to_owned())
    }

    /// Records that it holds now, on all CPUs.
    pub fn records(&self) -> Result<u64, AgentError> {
        let entries = |cpu: &u32| {
            let stats = self.get(&format!("per_cpu/cpu{cpu}/stats")).ok()?;
            stats.lines().find_map(|line| line.strip_prefix("entries:")?.trim().parse::<u64>().ok())
        };
        Ok(self.cpus()?.iter().filter_map(entries).sum())
    }

    /// Empties the buffer.
    pub fn clear(&self) -> Result<(), AgentError> {
        self.set("trace", "")
    }

    /// Opens `trace_marker`: each write is one record.
    pub fn marker(&self) -> Result<Marker, AgentError> {
        let path = self.dir.join("trace_marker");
        let file = OpenOptions::new().write(true).open(&path).map_err(AgentError::file("open", &path))?;
        Ok(Marker { file, path })
    }

    /// Layout and clock of this buffer. `events` are `system/event` names; those that the kernel does
    /// not have are left out. With it: what is wrong with a kprobe's format, which is only asked for if the
    /// kernel listed it.
    pub fn describe(&self, name: &str, events: &[String]) -> Result<(TraceBuffer, Vec<String>), AgentError> {
        let clock = self.clock()?;
        let events_dir = Path::new(ROOT).join("events");
        let header_page = events_dir.join("header_page");
        let header_page = text(&header_page).map_err(AgentError::file("read", header_page))?;
        let (mut formats, mut homeless) = (Vec::new(), Vec::new());
        for event in events {
            match text(&events_dir.join(event).join("format")) {
                Ok(format) if !format.is_empty() => formats.push(format!("# {event}\n{format}")),
                // What the kernel listed is there, wherever it says so.
                _ if event.starts_with("kprobes/") => homeless.push(event),
                _ => {}
            }
        }
        let mut problems = Vec::new();
        for (event, format) in without_folders(&homeless) {
            match format {
                Ok(format) => formats.push(format!("# {event}\n{format}")),
                Err(error) => problems.push(format!("no format of {event}: {error}")),
            }
        }
        Ok((TraceBuffer { name: name.to_owned(), clock, header_page, formats }, problems))
    }

    /// Names of the events of one system, as its folder lists them; none if there is no such system.
    pub fn events_of(&self, system: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.dir.join("events").join(system)) else { return Vec::new() };
        let folders = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
        folders.map(|entry| format!("{system}/{}", entry.file_name().to_string_lossy())).collect()
    }

    /// Reads out (consumes) every page of every CPU, and the loss counters.
    pub fn drain(&self, name: &str, side: Side) -> Result<Vec<Frame>, AgentError> {
        let mut frames = Vec::new();
        let per_cpu = self.dir.join("per_cpu");
        for cpu in self.cpus()? {
            // Before the pages: reading them changes the counters.
            let text = self.get(&format!("per_cpu/cpu{cpu}/stats"))?;
            frames.push(Frame::bare(side, Body::TraceStats { buffer: name.to_owned(), cpu, text }));
            let path = per_cpu.join(format!("cpu{cpu}/trace_pipe_raw"));
            let (page_size, blob) = self.read_pages(&path)?;
            if !blob.is_empty() {
                let body = Body::TracePages { buffer: name.to_owned(), cpu, page_size };
                frames.push(Frame { side, body, blob });
            }
        }
        Ok(frames)
    }

    /// `trace_pipe_raw` of every CPU, to be read without waiting: what is read is gone.
    pub fn open_pages(&self) -> Result<Vec<(u32, File)>, AgentError> {
        let open = |cpu| {
            let path = self.dir.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
            let mut options = OpenOptions::new();
            let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path);
            Ok((cpu, opened.map_err(AgentError::file("open", path))?))
        };
        self.cpus()?.into_iter().map(open).collect()
    }

    /// CPUs that have a buffer here.
    fn cpus(&self) -> Result<Vec<u32>, AgentError> {
        let per_cpu = self.dir.join("per_cpu");
        let entries = fs::read_dir(&per_cpu).map_err(AgentError::file("list", &per_cpu))?;
        let number = |entry: io::Result<fs::DirEntry>| {
            entry.ok()?.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()
        };
        let mut cpus: Vec<u32> = entries.filter_map(number).collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    /// All pages of one `trace_pipe_raw`, each padded to the sub-buffer's size.
    fn read_pages(&self, path: &Path) -> Result<(u32, Vec<u8>), AgentError> {
        let page_size = self.page_size();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(AgentError::file("open", path))?;
        let mut pages = Vec::new();
        let mut page = vec![0; page_size as usize];
        loop {
            page.fill(0);
            match file.read(&mut page) {
                Ok(0) => break,
                Ok(_) => pages.extend_from_slice(&page),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AgentError::file("read", path)(error)),
            }
        }
        Ok((page_size, pages))
    }

    /// `buffer_subbuf_size_kb`, since Linux 6.8; a page before.
    pub fn page_size(&self) -> u32 {
        let kilobytes =
            self.get("buffer_subbuf_size_kb").ok().and_then(|text| text.trim().parse::<u32>().ok());
        kilobytes.filter(|kb| (4..=1024).contains(kb)).map_or(4096, |kb| kb * 1024)
    }
}

/// An open `trace_marker`.
#[derive(Debug)]
pub struct Marker {
    file: File,
    path: PathBuf,
}

impl Marker {
    /// One record.
    pub fn write(&mut self, text: &str) -> Result<(), AgentError> {
        self.file.write_all(text.as_bytes()).map_err(AgentError::file("write", &self.path))
    }
}

/// A whole tracefs file. `header_page` gives all of itself to the first read and nothing to a second
/// (`show_header_page_file`, kernel/trace/trace_events.c, Linux 7.3), so that read must be large;
/// `fs::read_to_string` begins with a small one.
fn text(path: &Path) -> io::Result<String> {
    const READ_BYTES: usize = 64 * 1024;
    let mut file = File::open(path)?;
    let mut all = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&all).into_owned()),
            Ok(length) => all.extend_from_slice(buffer.get(..length).unwrap_or(&buffer)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The formats of events that have no folder among the global ones, or why there are none.
///
/// A boot kprobe may have none: `event_trace_init` makes the folders of all events that there are, and only later, when
/// its lock is free again, tells those that come to make their own (`eventdir_initialized`,
/// kernel/trace/trace_events.c, Linux 7.3), while `init_kprobe_trace` may run on another CPU. A new instance has
/// folders of all events; one serves all, for it also has rings for every CPU.
fn without_folders<'e>(events: &[&'e String]) -> Vec<(&'e String, Result<String, String>)> {
    let read = || {
        let spare = Instance::create("blackout-formats")?;
        let formats: Vec<_> = events
            .iter()
            .map(|event| spare.get(&format!("events/{event}/format")).map_err(|error| chain(&error)))
            .collect();
        spare.remove().map(|()| formats)
    };
    if events.is_empty() {
        return Vec::new();
    }
    let formats = read().unwrap_or_else(|error: AgentError| vec![Err(chain(&error)); events.len()]);
    events.iter().copied().zip(formats).collect()
}
