//! The last act in the outgoing kernel: anchors, then `reboot(2)`.

use std::{io, path::Path};

use profiler_mark::ticks;
use profiler_report::{
    evidence::carrier,
    recording::{Frame, Side, frame::Body},
};

use super::{
    AgentError, anchors, arm, kmsg, probes,
    state::{self, Recorder},
    tracefs::Instance,
};

/// Starts the loaded kernel. Comes back only if that failed: the recording then holds the outgoing
/// kernel's evidence of the attempt, and the probes are taken out.
///
/// # Errors
/// Always: what `reboot(2)` said, or what went wrong before it.
pub fn jump(state_dir: &Path) -> Result<std::convert::Infallible, AgentError> {
    let (_, path) = state::armed(state_dir)?;
    let recorder = Instance::flight_recorder()?;
    let mut file = Recorder::append(&path)?;
    last_words(recorder.as_ref(), Some(&mut file))?;

    let errno = kexec_reboot();
    let tsc = ticks();
    let source = io::Error::from_raw_os_error(errno);
    let mut frames = vec![Frame::bare(Side::Outgoing, Body::RebootReturned { errno, tsc })];
    if let Some(recorder) = &recorder {
        arm::burst(&mut recorder.marker()?, 2)?;
        arm::disarm()?;
        frames.extend(recorder.drain("flight", Side::Outgoing)?);
    }
    frames.push(Frame { side: Side::Outgoing, body: Body::Kmsg, blob: kmsg::read_all()? });
    frames.push(Frame::bare(Side::Outgoing, Body::End));
    file.write(&frames)?;
    file.sync()?;
    Err(AgentError::Syscall { call: "reboot(LINUX_REBOOT_CMD_KEXEC)", source })
}

/// The last words of an armed kernel that another program will leave by `reboot(2)`, as systemd-shutdown does: clocks
/// and counters that only the end can tell. Nothing to say is fine. The disk is read-only by then, or gone, so that the
/// flight recorder alone may hear them.
///
/// # Errors
/// When the flight recorder cannot be written.
pub fn seal(state_dir: &Path) -> Result<(), AgentError> {
    let Ok((_, path)) = state::armed(state_dir) else { return Ok(()) };
    let mut file = Recorder::append(&path).ok();
    last_words(Instance::flight_recorder()?.as_ref(), file.as_mut())
}

fn last_words(recorder: Option<&Instance>, file: Option<&mut Recorder>) -> Result<(), AgentError> {
    let missed = Body::Missed { misses: probes::missed() };
    if let Some(file) = file {
        let last = [Body::Anchors(anchors::take()), missed.clone()];
        file.write(&last.map(|body| Frame::bare(Side::Outgoing, body)))?;
        file.sync()?;
    }
    if let Some(recorder) = recorder {
        let mut marker = recorder.marker()?;
        // The file may be lost in the kexec: what is lost besides must be known all the same.
        for chunk in carrier::chunks(&[missed])? {
            marker.write(&chunk)?;
        }
        arm::burst(&mut marker, 1)?;
    }
    Ok(())
}

/// `reboot(LINUX_REBOOT_CMD_KEXEC)`; the errno with which it came back.
fn kexec_reboot() -> i32 {
    // SAFETY: reboot takes plain numbers; if it succeeds, nothing of this process is left to be unsound.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
