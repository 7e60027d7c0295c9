//! Our own LUO client: sessions that hold memfds whose every byte is known on the other side.
//!
//! It restores as a virtual machine monitor does: retrieve everything, use it, then finish.

use super::console::say;
use super::fleet::{self, Fleet};
use super::luo::{DEVICE, Orchestrator, Session};
use super::mapping::Mapping;
use super::observer::{self, ticks};
use super::pattern::{Mismatch, PAGE_BYTES, Pattern, mix};
use crate::plan::{Fault, Luo, Plan, Workload};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the kernel took to preserve the memfds, ticks.
pub static PRESERVING: AtomicU64 = AtomicU64::new(0);

/// Device of the lab's own kernel driver (`lab/kernel-driver`).
const LAB_DEVICE: &str = "/dev/lab_luo";
/// Token of the driver's one file, in the first session: above those of any memfd there.
const LAB_TOKEN: u64 = 0x1ab << 32;
/// Bytes written at once: whole pages.
const CHUNK_BYTES: usize = 16 * PAGE_BYTES;

/// The most the kernel allows a process by default (`sysctl_nr_open`, fs/file.c, 7.3).
const OPEN_FILES: u64 = 1024 * 1024;

/// What must stay open until the kexec: closing a session gives its preservations up.
pub struct Held {
    _sessions: Vec<Session>,
}

/// Creates the sessions and preserves their files.
///
/// # Errors
/// Names the session and the token at which it failed.
pub fn preserve(load: &Luo, plan: &Plan) -> Result<Held> {
    allow_open_files()?;
    let orchestrator = open_orchestrator()?;
    let sessions = (0..load.sessions).map(|session| {
        let name = session_name(session);
        let held = orchestrator.create(&name).with_context(|| format!("cannot create session `{name}`"))?;
        if plan.fault == Some(Fault::Unpreserved) {
            return Ok(held);
        }
        for file in 0..load.files {
            let token = token(session, file);
            let corrupt = plan.fault == Some(Fault::Corrupted) && (session, file) == (0, 0);
            preserve_one(&held, token, load.file_bytes, corrupt)
                .with_context(|| format!("cannot preserve session `{name}`, token {token:#x}"))?;
        }
        if carries_register(session, plan) {
            preserve_register(&held)
                .with_context(|| format!("cannot preserve {LAB_DEVICE} in session `{name}`"))?;
        }
        Ok(held)
    });
    Ok(Held { _sessions: sessions.collect::<Result<_>>()? })
}

/// Retrieves, checks and finishes everything [`preserve`] left; an exit code.
pub fn restore_main() -> i32 {
    let restored = Plan::read().and_then(|plan| match plan.workload {
        Workload::Luo(ref load) => restore(load, &plan),
        Workload::Custom => bail!("the plan names a workload of its own"),
    });
    match restored {
        Ok(()) => 0,
        Err(error) => {
            // Standard error is the recording process's, which shows it; there is no other place.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            1
        }
    }
}

fn restore(load: &Luo, plan: &Plan) -> Result<()> {
    observer::tell("restore", ticks());
    allow_open_files()?;
    let orchestrator = open_orchestrator()?;
    // Guests come first: they are what waits.
    let mut guests = Fleet::restore(plan, &orchestrator)?;
    let restored = restore_files(load, plan, &orchestrator);
    guests.wait_until_running();
    fleet::hand_over(&guests.judge())?;
    restored
}

fn restore_files(load: &Luo, plan: &Plan, orchestrator: &Orchestrator) -> Result<()> {
    let sessions = (0..load.sessions).map(|session| Restored::retrieve(orchestrator, session, load, plan));
    let sessions = sessions.collect::<Result<Vec<_>>>()?;
    observer::tell("retrieved", ticks());
    for session in &sessions {
        session.check(load.file_bytes)?;
    }
    for session in &sessions {
        session.session.finish().with_context(|| format!("cannot finish session `{}`", session.name))?;
    }
    observer::tell("finished", ticks());
    Ok(())
}

/// One session under the incoming kernel.
struct Restored {
    name: String,
    session: Session,
    memfds: Vec<(u64, File)>,
    register: Option<File>,
}

impl Restored {
    fn retrieve(orchestrator: &Orchestrator, index: u32, load: &Luo, plan: &Plan) -> Result<Self> {
        let name = session_name(index);
        let session =
            orchestrator.retrieve(&name).with_context(|| format!("cannot retrieve session `{name}`"))?;
        let file = |token| {
            session
                .retrieve(token)
                .with_context(|| format!("cannot retrieve session `{name}`, token {token:#x}"))
        };
        let memfds = (0..load.files)
            .map(|number| {
                let token = token(index, number);
                Ok((token, file(token)?))
            })
            .collect::<Result<_>>()?;
        let register = carries_register(index, plan).then(|| file(LAB_TOKEN)).transpose()?;
        Ok(Restored { name, session, memfds, register })
    }

    fn check(&self, size: u64) -> Result<()> {
        for (token, file) in &self.memfds {
            check_memfd(file, *token, size)
                .with_context(|| format!("session `{}`, token {token:#x}", self.name))?;
        }
        match &self.register {
            Some(file) => check_register(file).with_context(|| format!("session `{}`", self.name)),
            None => Ok(()),
        }
    }
}

/// Makes the lab driver refuse to freeze from now on.
///
/// # Errors
/// When the kernel has no lab driver, or nothing of its kind was preserved.
pub fn refuse_freeze(plan: &Plan) -> Result<()> {
    let ours = matches!(&plan.workload, Workload::Luo(load) if load.sessions > 0);
    ensure!(ours, "only the lab's own workload with at least one session can be made to refuse to freeze");
    ensure!(plan.lab_driver, "refusing to freeze takes two kernels with the lab's driver lab_luo");
    let parameter = "/sys/module/lab_luo/parameters/freeze_errno";
    std::fs::write(parameter, libc::EIO.to_string())
        .with_context(|| format!("cannot write {parameter}: the kernel lacks the lab's driver lab_luo"))
}

/// Every session stays open, and every restored file: more than a process may have by default.
fn allow_open_files() -> Result<()> {
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

/// Opens the device, or says what is missing.
pub fn open_orchestrator() -> Result<Orchestrator> {
    Orchestrator::open().with_context(|| match std::fs::exists(DEVICE) {
        Ok(true) => {
            format!("cannot open {DEVICE}: another process has it, or a preserved file type is unknown to this kernel")
        }
        _ => format!("cannot open {DEVICE}: CONFIG_LIVEUPDATE, and kho=on liveupdate=on, are needed"),
    })
}

fn preserve_one(session: &Session, token: u64, size: u64, corrupt: bool) -> Result<()> {
    let file = File::from(memfd_create("blackout-lab", MemfdFlags::CLOEXEC)?);
    fill(&file, token, size)?;
    if corrupt {
        flip_a_byte(&file, size / 2)?;
        say(format_args!("flipped a byte of token {token:#x} at offset {:#x}", size / 2));
    }
    let began = ticks();
    session.preserve(file.as_fd(), token)?;
    PRESERVING.fetch_add(ticks() - began, Ordering::Relaxed);
    Ok(())
}

fn fill(mut file: &File, token: u64, size: u64) -> Result<()> {
    let pattern = Pattern::new(token);
    let mut buffer = vec![0; CHUNK_BYTES];
    for (page, length) in chunks(size) {
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        pattern.fill(page, chunk);
        file.write_all(chunk)?;
    }
    Ok(())
}

fn check_memfd(file: &File, token: u64, size: u64) -> Result<()> {
    let found = file.metadata()?.len();
    ensure!(found == size, "the file has {found} bytes, not {size}");
    // SAFETY: of that size, and held by this process and by the kernel's LUO, which leaves it alone.
    let content = unsafe { Mapping::new(file, usize::try_from(size)?) }.context("cannot map the file")?;
    match Pattern::new(token).mismatch(0, &content) {
        None => Ok(()),
        Some(Mismatch { offset, found, expected }) => {
            bail!("the byte at offset {offset:#x} is {found:#04x}, not {expected:#04x}")
        }
    }
}

/// First page and length in bytes of each chunk of a file.
fn chunks(size: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..size).step_by(CHUNK_BYTES).map(move |start| {
        let length = (size - start).min(CHUNK_BYTES as u64) as usize;
        (start / PAGE_BYTES as u64, length)
    })
}

fn flip_a_byte(file: &File, offset: u64) -> Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).context("the file has no byte to corrupt")?;
    byte[0] ^= 1;
    Ok(file.write_all_at(&byte, offset)?)
}

fn preserve_register(session: &Session) -> Result<()> {
    let mut register = File::options().read(true).write(true).open(LAB_DEVICE)?;
    register.write_all(&mix(LAB_TOKEN).to_ne_bytes())?;
    Ok(session.preserve(register.as_fd(), LAB_TOKEN)?)
}

fn check_register(mut register: &File) -> Result<()> {
    let mut value = [0; 8];
    register.read_exact(&mut value).context("cannot read the lab driver's file")?;
    let (found, expected) = (u64::from_ne_bytes(value), mix(LAB_TOKEN));
    ensure!(found == expected, "the lab driver's file holds {found:#x}, not {expected:#x}");
    Ok(())
}

/// Whether the session holds a file of the lab's driver: the same answer under both kernels.
fn carries_register(session: u32, plan: &Plan) -> bool {
    session == 0 && plan.lab_driver && Path::new(LAB_DEVICE).exists()
}

fn session_name(session: u32) -> String {
    format!("lab-{session}")
}

/// Token of a memfd: unique in the whole run, so that its content is too.
fn token(session: u32, file: u32) -> u64 {
    u64::from(session) << 32 | u64::from(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd() -> File {
        File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap())
    }

    #[test]
    fn a_filled_file_checks_and_a_flipped_byte_is_named() {
        for size in [0, 1, 4095, 4096, CHUNK_BYTES as u64, CHUNK_BYTES as u64 + 4097] {
            let file = memfd();
            fill(&file, 7, size).unwrap();
            check_memfd(&file, 7, size).unwrap();
            assert!(check_memfd(&file, 7, size + 1).is_err());
            // Two patterns may agree in a single byte, not in a page.
            assert_eq!(check_memfd(&file, 8, size).is_err(), size >= 4095);
            if size > 0 {
                flip_a_byte(&file, size - 1).unwrap();
                let error = check_memfd(&file, 7, size).unwrap_err().to_string();
                assert!(error.contains(&format!("offset {:#x} ", size - 1)), "{error}");
            }
        }
    }

    #[test]
    fn tokens_do_not_collide() {
        assert_eq!(token(1, 2), 0x1_0000_0002);
        assert!((0..=u32::MAX).rev().take(2).all(|file| token(0, file) < LAB_TOKEN));
    }
}
