//! A vCPU and the thread that runs it.

use anyhow::{Context, Result, anyhow, bail};
use kvm_ioctls::VcpuFd;
use rustix::thread::gettid;
use std::os::unix::thread::JoinHandleExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

/// A vCPU at rest.
pub struct Vcpu {
    /// Its number.
    pub id: u32,
    /// KVM's handle.
    pub fd: VcpuFd,
}

/// A vCPU that runs.
pub struct Running {
    id: u32,
    /// `kvm_run.immediate_exit`, in the page that KVM shares with us; mapped as long as the thread has the vCPU.
    immediate_exit: NonNull<u8>,
    /// Kernel's number of the thread; 0 until it has started.
    task: Arc<AtomicI32>,
    thread: JoinHandle<(Vcpu, Result<()>)>,
}

impl Vcpu {
    /// Lets it run, in a thread named after the guest and it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut self, guest: &str) -> Result<Running> {
        accept_kicks();
        let run = self.fd.get_kvm_run();
        run.immediate_exit = 0;
        let immediate_exit = NonNull::from(&mut run.immediate_exit);
        let id = self.id;
        let task = Arc::new(AtomicI32::new(0));
        let own_task = Arc::clone(&task);
        let thread = std::thread::Builder::new()
            .name(format!("{guest}/vcpu{id}"))
            .spawn(move || {
                own_task.store(gettid().as_raw_pid(), Ordering::Relaxed);
                let ended = run_until_kicked(&mut self.fd);
                (self, ended)
            })
            .with_context(|| format!("cannot start the thread of vCPU {id}"))?;
        Ok(Running { id, immediate_exit, task, thread })
    }
}

impl Running {
    /// Asks it to stop, and does not wait. KVM looks at the flag before it enters the guest, and the signal makes
    /// it leave: whichever comes first, none is missed (Documentation/virt/kvm/api.rst, `immediate_exit`).
    pub fn ask_to_stop(&self) {
        // SAFETY: the thread keeps the vCPU, and with it the mapping, until it is joined in `stopped`.
        let immediate_exit = unsafe { AtomicU8::from_ptr(self.immediate_exit.as_ptr()) };
        immediate_exit.store(1, Ordering::SeqCst);
        // SAFETY: the thread was not joined yet, so that its handle is valid; the signal has a handler.
        unsafe { libc::pthread_kill(self.thread.as_pthread_t(), libc::SIGUSR1) };
    }

    /// Whether it has ended by itself: the guest crashed.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether its thread sleeps. The thread of a vCPU that executes instructions never does: it runs, or waits for a
    /// processor. That of a halted vCPU sleeps in KVM.
    pub fn is_asleep(&self) -> bool {
        let task = self.task.load(Ordering::Relaxed);
        // There is no such file before the thread has started, and after it has ended.
        let stat = std::fs::read_to_string(format!("/proc/self/task/{task}/stat"));
        stat.is_ok_and(|stat| state(&stat) == Some('S'))
    }

    /// Waits for it to stop.
    ///
    /// # Errors
    /// When it had stopped by itself.
    pub fn stopped(self) -> Result<Vcpu> {
        let (vcpu, ended) =
            self.thread.join().map_err(|_| anyhow!("the thread of vCPU {} panicked", self.id))?;
        ended.with_context(|| format!("vCPU {} stopped by itself", vcpu.id))?;
        Ok(vcpu)
    }
}

/// The guest's loop gives KVM no reason to come back to us: only a kick does.
fn run_until_kicked(fd: &mut VcpuFd) -> Result<()> {
    loop {
        let exit = match fd.run() {
            Ok(exit) => format!("{exit:?}"),
            Err(error) if error.errno() == libc::EINTR => {
                if fd.get_kvm_run().immediate_exit != 0 {
                    return Ok(());
                }
                continue;
            }
            Err(error) if error.errno() == libc::EAGAIN => continue,
            Err(error) => return Err(error).context("KVM_RUN"),
        };
        let rip = fd.get_regs().map(|regs| regs.rip).unwrap_or_default();
        bail!("unexpected exit {exit} at {rip:#x}");
    }
}

/// State of a thread in its `stat` file: `TID (NAME) STATE ...` (proc(5)). The name may hold anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Makes SIGUSR1 interrupt a system call and do nothing else.
fn accept_kicks() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: an all-zero sigaction is a valid one: no flags (so no restart of system calls), empty mask. The
        // handler does nothing, which is safe at any time.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_the_name() {
        assert_eq!(state("7 (vm0/vcpu1) S 1 7"), Some('S'));
        assert_eq!(state("7 (a) b) R 1 7"), Some('R'));
        assert_eq!(state("7"), None);
        let own = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        assert_eq!(state(&own), Some('R'));
    }
}
