//! Marks: a VMM names a point in time, in the outgoing kernel or in the incoming one.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use rustix::time::ClockId;

use super::{
    AgentError,
    anchors::nanoseconds,
    arm::EVENT,
    ticks::ticks,
    tracefs::{Instance, Marker},
};
use crate::evidence::mark::Mark;

/// Marks of one VMM. It keeps its files open: a mark costs two system calls.
///
/// In an armed kernel marks go into the flight recorder, which crosses the kexec; in any other into the
/// global trace buffer, which `blackout collect` reads. Which one is asked anew for each mark: a VMM runs
/// long before the host is armed.
///
/// ```no_run
/// let mut marks = profiler::mark::Marks::open(std::process::id(), Some("vm-7"))?;
/// marks.mark("pause-asked")?;
/// # Ok::<(), profiler::agent::AgentError>(())
/// ```
#[derive(Debug)]
pub struct Marks {
    pid: u32,
    vm: Option<String>,
    global: Marker,
    recorder: Option<Recorder>,
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
    /// Opens the marks of the VMM that is process `pid`; `vm` is the guest's name, by which it is known
    /// again in the incoming kernel.
    ///
    /// # Errors
    /// If tracefs is not mounted, or not writable by this process.
    pub fn open(pid: u32, vm: Option<&str>) -> Result<Self, AgentError> {
        let global = Instance::global()?.marker()?;
        let recorder = match Instance::flight_recorder()? {
            Some(instance) => Recorder::open(&instance)?,
            None => None,
        };
        Ok(Self { pid, vm: vm.map(str::to_owned), global, recorder })
    }

    /// Marks this moment.
    ///
    /// # Errors
    /// If `name` holds nothing printable, or the trace buffer does not take it (`tracing_on` is 0).
    pub fn mark(&mut self, name: &str) -> Result<(), AgentError> {
        let tsc = ticks();
        let monotonic_ns = nanoseconds(ClockId::Monotonic);
        let (pid, vm, name) = (self.pid, self.vm.clone(), name.to_owned());
        let mark = Mark { tsc, monotonic_ns, tsc_after: ticks(), pid, vm, name };
        let line = mark.fit().and_then(|mark| mark.line().ok()).ok_or(AgentError::MarkName)?;
        match &mut self.recorder {
            // A write into a recorder that is not armed would clear what the kernel before left in it.
            Some(recorder) if recorder.is_armed()? => recorder.marker.write(&line),
            _ => self.global.write(&line),
        }
    }
}

impl Recorder {
    /// `None` if this kernel has no such event: then it cannot be armed.
    fn open(instance: &Instance) -> Result<Option<Self>, AgentError> {
        let armed_path = instance.path(&format!("events/{EVENT}/enable"));
        match File::open(&armed_path) {
            Ok(armed) => Ok(Some(Self { marker: instance.marker()?, armed, armed_path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AgentError::file("open", armed_path)(source)),
        }
    }

    fn is_armed(&self) -> Result<bool, AgentError> {
        let mut state = [0];
        let read = self.armed.read_at(&mut state, 0);
        read.map_err(AgentError::file("read", &self.armed_path))?;
        Ok(state == *b"1")
    }
}
