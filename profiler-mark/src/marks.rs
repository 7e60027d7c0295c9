//! Writes marks into the trace buffer that the running kernel's state asks for.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    MarkError, MarkLine,
    monotonic::monotonic_ns,
    ticks,
    tracefs::{FLIGHT_RECORDER, RECORD_EVENT, ROOT},
};

/// Marks of one VMM. It keeps its files open: a mark costs two system calls.
///
/// In an armed kernel marks go into the flight recorder, which crosses the kexec; in any other into the
/// global trace buffer, which `blackout collect` reads. The buffer is chosen anew for each mark: a VMM runs
/// long before the host is armed.
///
/// ```no_run
/// let mut marks = profiler_mark::Marks::open(std::process::id(), Some("vm-7"))?;
/// marks.mark("pause-asked")?;
/// # Ok::<(), profiler_mark::MarkError>(())
/// ```
#[derive(Debug)]
pub struct Marks {
    pid: u32,
    vm: Option<String>,
    global: Marker,
    recorder: Option<Recorder>,
}

/// An open `trace_marker`: each write is one record.
#[derive(Debug)]
struct Marker {
    file: File,
    path: PathBuf,
}

/// The flight recorder, as far as marks need it.
#[derive(Debug)]
struct Recorder {
    marker: Marker,
    /// Reads as 1 while the kernel is armed.
    armed: File,
    armed_path: PathBuf,
}

impl Marks {
    /// Opens the marks of the VMM that is process `pid`. The report joins the two kernels' marks of a guest by its
    /// name `vm`.
    ///
    /// # Errors
    /// If tracefs is not mounted, or not writable by this process.
    pub fn open(pid: u32, vm: Option<&str>) -> Result<Self, MarkError> {
        let root = Path::new(ROOT);
        if !root.join("trace").exists() {
            return Err(MarkError::NoTracefs);
        }
        let global = Marker::open(root)?;
        let recorder = root.join("instances").join(FLIGHT_RECORDER);
        let recorder = if recorder.exists() { Recorder::open(&recorder)? } else { None };
        Ok(Self { pid, vm: vm.map(str::to_owned), global, recorder })
    }

    /// Marks this moment.
    ///
    /// # Errors
    /// If `name` is empty, or the trace buffer rejects the mark (`tracing_on` is 0).
    pub fn mark(&mut self, name: &str) -> Result<(), MarkError> {
        let tsc = ticks();
        let monotonic_ns = monotonic_ns();
        let tsc_after = ticks();
        let mark = MarkLine { tsc, monotonic_ns, tsc_after, pid: self.pid, vm: self.vm.as_deref(), name };
        let line = mark.encode().ok_or(MarkError::Name)?;
        match &mut self.recorder {
            // A write into a recorder that is not armed would clear what the kernel before left in it.
            Some(recorder) if recorder.is_armed()? => recorder.marker.write(&line),
            _ => self.global.write(&line),
        }
    }
}

impl Marker {
    /// Opens the `trace_marker` of the instance in `dir`.
    fn open(dir: &Path) -> Result<Self, MarkError> {
        let path = dir.join("trace_marker");
        let file = OpenOptions::new().write(true).open(&path).map_err(MarkError::file("open", &path))?;
        Ok(Self { file, path })
    }

    fn write(&mut self, line: &str) -> Result<(), MarkError> {
        self.file.write_all(line.as_bytes()).map_err(MarkError::file("write", &self.path))
    }
}

impl Recorder {
    /// Opens the flight recorder in `dir`; `None` if this kernel has no such event and cannot be armed.
    fn open(dir: &Path) -> Result<Option<Self>, MarkError> {
        let armed_path = dir.join("events").join(RECORD_EVENT).join("enable");
        match File::open(&armed_path) {
            Ok(armed) => Ok(Some(Self { marker: Marker::open(dir)?, armed, armed_path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MarkError::file("open", armed_path)(source)),
        }
    }

    fn is_armed(&self) -> Result<bool, MarkError> {
        let mut state = [0];
        let read = self.armed.read_at(&mut state, 0);
        read.map_err(MarkError::file("read", &self.armed_path))?;
        Ok(state == *b"1")
    }
}
