//! Whether KVM can be used: `/dev/kvm` may be there and no guest come up with it.

use crate::emulator::Emulator;
use crate::qemu::{Accel, Iommu, Machine};
use crate::session::Session;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Duration;
use toolbox::cache::Cache;
use toolbox::progress::Progress;

/// Machine time that a guest has to print its first line.
const DEADLINE: Duration = Duration::from_secs(10);

/// The answer, valid until the host is booted again.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    boot_id: String,
    usable: bool,
}

/// The accelerator to use when the user leaves the choice to us; `kernel` is booted once to find out.
///
/// # Errors
/// When QEMU cannot be started at all.
pub fn choose(cache: &Cache, emulator: &Emulator, kernel: &Path) -> Result<Accel> {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let file = cache.path("kvm.json");
    let known: Option<Answer> = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let usable = match known.filter(|answer| answer.boot_id == boot_id) {
        Some(answer) => answer.usable,
        None => {
            let usable = guest_boots(cache, emulator, kernel)?;
            // Not to remember it only costs a probe the next time.
            let _ = serde_json::to_vec(&Answer { boot_id, usable }).map(|text| fs::write(&file, text));
            usable
        }
    };
    Ok(if usable { Accel::Kvm } else { Accel::Tcg })
}

/// Whether a kernel prints anything when it is run by KVM.
fn guest_boots(cache: &Cache, emulator: &Emulator, kernel: &Path) -> Result<bool> {
    let mut progress = Progress::start("trying whether KVM works here");
    let dir = cache.temporary()?;
    let machine = Machine {
        emulator: emulator.clone(),
        accel: Accel::Kvm,
        cpus: 1,
        memory_bytes: 512 << 20,
        numa_nodes: 1,
        iommu: Iommu::None,
        device: false,
        kernel: kernel.into(),
        initrd: None,
        cmdline: "console=ttyS0 panic=-1".into(),
        serial: dir.path().join("serial.log"),
        messages: dir.path().join("qemu.log"),
        share: None,
        mailbox: None,
        live: None,
        deterministic: false,
        counting: None,
        disks: Vec::new(),
    };
    let mut session = Session::start(&machine)?;
    let printed = |session: &Session| session.console.tail().any(|line| line.contains("Linux"));
    let mut ended = false;
    while !ended && session.now < DEADLINE && !printed(&session) {
        ended = session.step()?.ended.is_some();
    }
    let usable = printed(&session);
    progress.note(if usable { "KVM works" } else { "KVM does not work here: emulating (TCG)" });
    Ok(usable)
}
