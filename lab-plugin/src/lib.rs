//! Counts the instructions that the lab's virtual machine executes, block by block: `cargo lab overhead --instructions`
//! has QEMU load it. It knows addresses and nothing else; `lab::instructions` knows what they are.
//!
//! Arguments: `out=FILE`, and `border=ADDRESS` (hexadecimal) for each place where counts are written. Whenever the
//! machine comes to a border, a line `ADDRESS COUNT` is written for each block that was executed since the last one, by
//! the virtual address of its begin, and then `border ADDRESS TOTAL`: all instructions since the machine began.
//!
//! Nothing is called while blocks are executed: QEMU translates the counting with them. That is right for one thread
//! only, as it is in deterministic mode.

mod qemu;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Which version of the interface this is for: QEMU looks at it before it calls anything.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is QEMU's")]
pub static qemu_plugin_version: c_int = qemu::VERSION;

static COUNTING: Mutex<Option<Counting>> = Mutex::new(None);

struct Counting {
    out: BufWriter<File>,
    borders: BTreeSet<u64>,
    blocks: BTreeMap<u64, Count>,
}

struct Count {
    /// All instructions of the blocks that begin there. Translated code adds to it, so it never goes away.
    now: &'static AtomicU64,
    /// What of them has been written.
    written: u64,
}

/// Begins to count. QEMU calls it when it has loaded the plugin; what is not 0 makes it give up.
///
/// # Safety
/// `values` are `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _info: *const c_void,
    count: c_int,
    values: *const *const c_char,
) -> c_int {
    let count = usize::try_from(count).unwrap_or_default();
    // SAFETY: there are so many, says the caller.
    let arguments = (0..count).map(|index| unsafe { CStr::from_ptr(*values.add(index)) }.to_string_lossy());
    match Counting::new(arguments) {
        Ok(counting) => *lock() = Some(counting),
        Err(error) => {
            eprintln!("lab-plugin: {error}");
            return 1;
        }
    }
    // SAFETY: `plugin` is what QEMU calls this one.
    unsafe { qemu::qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated) };
    0
}

fn lock() -> std::sync::MutexGuard<'static, Option<Counting>> {
    // Counts are sound after each step.
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn translated(_plugin: u64, block: *mut qemu::Block) {
    let mut counting = lock();
    let Some(counting) = counting.as_mut() else { return };
    // SAFETY: the block is valid for as long as this call takes.
    let (address, length) =
        unsafe { (qemu::qemu_plugin_tb_vaddr(block), qemu::qemu_plugin_tb_n_insns(block)) };
    let count = counting
        .blocks
        .entry(address)
        .or_insert_with(|| Count { now: Box::leak(Box::new(AtomicU64::new(0))), written: 0 });
    // By instruction and not by block: one that faults does not come to its end, and begins anew in another.
    for index in 0..length {
        let number = count.now.as_ptr().cast();
        // SAFETY: the block has that instruction, and the number is there for ever.
        unsafe {
            let instruction = qemu::qemu_plugin_tb_get_insn(block, index);
            qemu::qemu_plugin_register_vcpu_insn_exec_inline(instruction, qemu::INLINE_ADD_U64, number, 1);
        }
    }
    if counting.borders.contains(&address) {
        // SAFETY: what is given with the callback is a number and no address of ours.
        unsafe {
            let address = std::ptr::without_provenance_mut(address as usize);
            qemu::qemu_plugin_register_vcpu_tb_exec_cb(block, at_border, qemu::CB_NO_REGS, address);
        }
    }
}

extern "C" fn at_border(_cpu: c_uint, address: *mut c_void) {
    let mut counting = lock();
    let written = counting.as_mut().map(|counting| counting.write(address.addr()));
    if let Some(Err(error)) = written {
        // The lab finds the border missing, and shows this.
        eprintln!("lab-plugin: cannot write the counts: {error}");
        *counting = None;
    }
}

impl Counting {
    fn new<T: AsRef<str>>(arguments: impl Iterator<Item = T>) -> Result<Self, String> {
        let (mut out, mut borders) = (None, BTreeSet::new());
        for argument in arguments {
            let argument = argument.as_ref();
            match argument.split_once('=') {
                Some(("out", path)) => {
                    out = Some(File::create(path).map_err(|error| format!("cannot write {path}: {error}"))?);
                }
                Some(("border", text)) => {
                    let address =
                        u64::from_str_radix(text, 16).map_err(|error| format!("{text}: {error}"))?;
                    borders.insert(address);
                }
                _ => return Err(format!("{argument}: neither out=FILE nor border=ADDRESS")),
            }
        }
        let out = BufWriter::new(out.ok_or("no out=FILE")?);
        Ok(Self { out, borders, blocks: BTreeMap::new() })
    }

    fn write(&mut self, border: usize) -> io::Result<()> {
        let mut total = 0;
        for (address, count) in &mut self.blocks {
            let now = count.now.load(Ordering::Relaxed);
            if now != count.written {
                writeln!(self.out, "{address:x} {}", now - count.written)?;
            }
            count.written = now;
            total += now;
        }
        writeln!(self.out, "border {border:x} {total}")?;
        // Nobody says when QEMU ends: it may be killed.
        self.out.flush()
    }
}
