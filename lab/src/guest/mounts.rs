//! File systems init needs.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;

/// Where the folder shared with the host is mounted.
pub const HOST: &str = "/host";

/// Type and mount point. The kernel's tracing folder exists only once sysfs is there, so order counts.
const PSEUDO: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("tracefs", "/sys/kernel/tracing"),
    ("debugfs", "/sys/kernel/debug"),
    ("bpf", "/sys/fs/bpf"),
];

/// Tag of the 9p share, and its options. `msize` stays below virtio's limit of 512000 bytes, above
/// which the kernel logs a warning (`p9_virtio_create`, net/9p/trans_virtio.c, 7.3).
const SHARE_TAG: &str = "lab";
const SHARE_OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=262144";

/// Mounts everything but the share. Returns what could not be mounted: a kernel without debugfs is
/// no reason not to try.
pub fn pseudo() -> Vec<String> {
    PSEUDO
        .iter()
        .filter_map(|(kind, target)| one(kind, kind, target, "").err())
        .map(|error| format!("{error:#}"))
        .collect()
}

/// Mounts the folder shared with the host at [`HOST`].
///
/// # Errors
/// When the kernel has no 9p over virtio, or QEMU offers no share with our tag.
pub fn share() -> Result<()> {
    one(SHARE_TAG, "9p", HOST, SHARE_OPTIONS)
        .context("the guest needs the host's folder as a 9p share over virtio (CONFIG_NET_9P_VIRTIO)")
}

/// Writes the share back and takes it down.
pub fn drop_share() {
    rustix::fs::sync();
    // The machine is about to power off: an error here changes nothing.
    let _ = unmount(HOST, UnmountFlags::empty());
}

fn one(source: &str, kind: &str, target: &str, options: &str) -> Result<()> {
    // sysfs and tracefs make their own mount points, and refuse mkdir.
    if !fs::exists(target).unwrap_or(false) {
        fs::create_dir_all(target).with_context(|| format!("cannot create {target}"))?;
    }
    let options = CString::new(options)?;
    mount(source, target, kind, MountFlags::empty(), options.as_c_str())
        .with_context(|| format!("cannot mount {kind} at {target}"))
}
