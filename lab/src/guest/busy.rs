//! A planted fault: somebody else holds the kexec lock while the live update begins.

use anyhow::{Context, Result};
use std::ffi::c_ulong;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// An "image" of zeros. `kexec_file_load` takes the kexec lock, reads the file whole, and only then
/// finds that it is no kernel (kernel/kexec_file.c, 7.3): the lock is held nearly all the time, and
/// the image that was loaded before stays.
const NO_IMAGE: &str = "/run/no-kernel";
const NO_IMAGE_BYTES: u64 = 64 << 20;

/// Holds the kexec lock until dropped.
pub struct LockHolder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LockHolder {
    /// Begins to hold the lock.
    ///
    /// # Errors
    /// When the file that is no kernel cannot be made.
    pub fn start() -> Result<Self> {
        let image = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(NO_IMAGE)
            .and_then(|file| file.set_len(NO_IMAGE_BYTES).map(|()| file))
            .with_context(|| format!("cannot make {NO_IMAGE}"))?;
        // A file that is open for writing is refused with ETXTBSY.
        drop(image);
        let image = File::open(NO_IMAGE).with_context(|| format!("cannot open {NO_IMAGE}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("kexec-lock".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    fail_to_load(&image);
                }
            })
            .context("cannot start the thread that holds the kexec lock")?;
        Ok(LockHolder { stop, thread: Some(thread) })
    }
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only loops; there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

/// Its failure is the purpose.
fn fail_to_load(image: &File) {
    const NO_INITRAMFS: c_ulong = 4;
    let command_line = c"";
    // SAFETY: the descriptor is open, and the command line is one terminating zero, as its length says.
    unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            image.as_raw_fd(),
            -1,
            1 as c_ulong,
            command_line.as_ptr(),
            NO_INITRAMFS,
        );
    }
}
