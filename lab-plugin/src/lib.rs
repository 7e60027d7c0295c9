//! Counts the instructions that the lab's virtual machine executes, by block. `cargo lab overhead --instructions` makes
//! QEMU load it. The plugin reports addresses; `lab::instructions` attributes them to functions.
//!
//! Arguments:
//!
//! - `out=FILE`: the file that gets the counts.
//! - `border=ADDRESS` (hexadecimal), once for each place where the plugin writes the counts.
//!
//! Whenever a block begins at a border, the plugin writes:
//!
//! 1. a line `ADDRESS COUNT` for each block that ran since the previous border, by the virtual address of its begin;
//! 2. a line `border ADDRESS TOTAL`, with all instructions since the machine started.
//!
//! Each instruction adds 1 to the counter of its block, not atomically. So the counts are exact only if QEMU runs all
//! vCPUs in one thread, as in deterministic mode. An instruction that runs again counts again: after a page fault, or
//! because it wrote into its own block.

mod qemu;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Version of the plugin interface. QEMU reads it before it calls a function (`plugin_load`, plugins/loader.c).
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is QEMU's")]
pub static qemu_plugin_version: AtomicI32 = AtomicI32::new(qemu::VERSION_OLDEST);

/// Sets [`qemu_plugin_version`] while the dynamic loader loads this library.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = set_version;

static COUNTING: Mutex<Option<Counting>> = Mutex::new(None);

struct Counting {
    out: BufWriter<File>,
    borders: BTreeSet<u64>,
    /// By the virtual address of the first instruction.
    blocks: BTreeMap<u64, BlockCount>,
}

/// Instructions of the blocks that begin at one address.
struct BlockCount {
    /// All instructions so far. Translated code refers to it, so it is never freed.
    counter: &'static AtomicU64,
    /// Instructions that have been written.
    written: u64,
}

extern "C" fn set_version() {
    qemu_plugin_version.store(qemu::version(), Ordering::Relaxed);
}

/// Starts counting. QEMU calls it once the plugin is loaded. A return value other than 0 makes QEMU exit.
///
/// # Safety
/// `values` points to `count` C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _info: *const c_void,
    count: c_int,
    values: *const *const c_char,
) -> c_int {
    let count = usize::try_from(count).unwrap_or_default();
    // SAFETY: the caller passes `count` strings.
    let arguments = (0..count).map(|index| unsafe { CStr::from_ptr(*values.add(index)) }.to_string_lossy());
    match Counting::new(arguments) {
        Ok(counting) => *lock() = Some(counting),
        Err(error) => {
            eprintln!("lab-plugin: {error}");
            return 1;
        }
    }
    // QEMU accepted this version, and calls the plugin accordingly.
    let user_data = qemu_plugin_version.load(Ordering::Relaxed) >= qemu::VERSION_USER_DATA;
    // SAFETY: `plugin` is this plugin's identifier, and the callback has the version's signature.
    unsafe {
        if user_data {
            qemu::register_translation_user_data(plugin, translated_user_data, ptr::null_mut());
        } else {
            qemu::register_translation(plugin, translated);
        }
    }
    0
}

fn lock() -> MutexGuard<'static, Option<Counting>> {
    // The counts are valid after each step, so a panic elsewhere does not matter.
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn translated(_plugin: u64, block: *mut qemu::Block) {
    if let Some(counting) = lock().as_mut() {
        // SAFETY: QEMU passes a block that is valid during this call.
        unsafe { counting.instrument(block) };
    }
}

extern "C" fn translated_user_data(block: *mut qemu::Block, _userdata: *mut c_void) {
    translated(0, block);
}

extern "C" fn executed(_cpu: c_uint, counter: *mut c_void) {
    // SAFETY: `instrument` passes a counter that is never freed.
    let counter = unsafe { &*counter.cast::<AtomicU64>() };
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

extern "C" fn at_border(_cpu: c_uint, address: *mut c_void) {
    let mut counting = lock();
    let written = counting.as_mut().map(|counting| counting.write(address.addr()));
    if let Some(Err(error)) = written {
        // The lab finds that the border is missing, and shows this message.
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
                    let address = u64::from_str_radix(text, 16)
                        .map_err(|error| format!("invalid address border={text}: {error}"))?;
                    borders.insert(address);
                }
                _ => {
                    return Err(format!("unknown argument {argument}: out=FILE or border=ADDRESS expected"));
                }
            }
        }
        let out = BufWriter::new(out.ok_or("the argument out=FILE is missing")?);
        Ok(Self { out, borders, blocks: BTreeMap::new() })
    }

    /// Adds the counting to a block, and the callback if the block begins at a border.
    ///
    /// # Safety
    /// `block` is being translated.
    unsafe fn instrument(&mut self, block: *mut qemu::Block) {
        // SAFETY: the block is valid during its translation.
        let (address, length) =
            unsafe { (qemu::qemu_plugin_tb_vaddr(block), qemu::qemu_plugin_tb_n_insns(block)) };
        let new = || BlockCount { counter: Box::leak(Box::default()), written: 0 };
        let counter = self.blocks.entry(address).or_insert_with(new).counter;
        // An instruction that faults ends its run of the block early. So each instruction counts itself.
        for index in 0..length {
            let counter = ptr::from_ref(counter).cast_mut().cast();
            // SAFETY: the block has this instruction, and `executed` takes a counter.
            unsafe {
                let instruction = qemu::qemu_plugin_tb_get_insn(block, index);
                qemu::qemu_plugin_register_vcpu_insn_exec_cb(
                    instruction,
                    executed,
                    qemu::CB_NO_REGS,
                    counter,
                );
            }
        }
        if self.borders.contains(&address) {
            // SAFETY: the user data is a number, and is not dereferenced.
            unsafe {
                let address = ptr::without_provenance_mut(address as usize);
                qemu::qemu_plugin_register_vcpu_tb_exec_cb(block, at_border, qemu::CB_NO_REGS, address);
            }
        }
    }

    fn write(&mut self, border: usize) -> io::Result<()> {
        let mut total = 0;
        for (address, count) in &mut self.blocks {
            let now = count.counter.load(Ordering::Relaxed);
            if now != count.written {
                writeln!(self.out, "{address:x} {}", now - count.written)?;
            }
            count.written = now;
            total += now;
        }
        writeln!(self.out, "border {border:x} {total}")?;
        // The lab may kill QEMU at any time.
        self.out.flush()
    }
}
