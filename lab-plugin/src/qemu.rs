//! The part of QEMU's plugin interface that counting needs.
//!
//! The declarations follow include/qemu/qemu-plugin.h (up to QEMU 10.2) and include/plugins/qemu-plugin.h (since QEMU
//! 11.0). QEMU loads a plugin whose version lies between `QEMU_PLUGIN_MIN_VERSION` (plugins/plugin.h) and
//! `QEMU_PLUGIN_VERSION` (the header):
//!
//! | QEMU | lowest | highest |
//! |---|---:|---:|
//! | 7.2 | 0 | 1 |
//! | 9.0 | 2 | 2 |
//! | 10.0 | 2 | 4 |
//! | 10.2 | 2 | 5 |
//! | 11.0 | 2 | 6 |
//! | 11.1 | 7 | 7 |
//!
//! The functions below are the same in all these versions, except the registration of the translation callback:
//! version 7 added user data to it, and removed the plugin's identifier from the callback (`qemu_plugin_tb_trans_cb`,
//! plugins/core.c, QEMU 11.1).
//!
//! Each instruction calls back. An inline addition (`..._exec_inline_per_vcpu`, since version 2) would be faster, but
//! it breaks the guest if one thread runs several vCPUs. Translated code then multiplies the vCPU's index in place, and
//! the index is a constant that other instructions of the block use (`gen_plugin_u64_ptr`, accel/tcg/plugin-gen.c, QEMU
//! 10.2). QEMU 10.0.2 and 11.1.3 crash with two vCPUs.

use std::ffi::{CStr, c_int, c_uint, c_void};

/// First version that passes user data to the translation callback.
pub const VERSION_USER_DATA: c_int = 7;

/// Versions of the interface to choose from, the newest first, each with a function that only QEMUs with this version
/// have. QEMU 11.0 is an exception: it has the same functions as QEMU 11.1, so it gets version 7, and refuses it.
const VERSIONS: [(c_int, &CStr); 2] =
    [(VERSION_USER_DATA, c"qemu_plugin_set_pc"), (2, c"qemu_plugin_scoreboard_new")];
/// Version for a QEMU without these functions.
pub const VERSION_OLDEST: c_int = 1;

/// `QEMU_PLUGIN_CB_NO_REGS`: the callback reads no register.
pub const CB_NO_REGS: c_int = 0;

/// `struct qemu_plugin_tb`: a block of instructions during its translation.
#[repr(C)]
pub struct Block {
    opaque: [u8; 0],
}

/// `struct qemu_plugin_insn`: an instruction of a block.
#[repr(C)]
pub struct Instruction {
    opaque: [u8; 0],
}

/// `qemu_plugin_vcpu_tb_trans_cb_t` before version 7: plugin, block.
pub type Translated = extern "C" fn(u64, *mut Block);
/// `qemu_plugin_vcpu_tb_trans_cb_t` since version 7: block, user data.
pub type TranslatedUserData = extern "C" fn(*mut Block, *mut c_void);
/// `qemu_plugin_vcpu_udata_cb_t`: vCPU, user data.
pub type Executed = extern "C" fn(c_uint, *mut c_void);

// SAFETY: the declarations match the header. QEMU, which loads this library, defines the functions.
#[allow(clashing_extern_declarations, reason = "version 7 changed a signature, and kept the name")]
unsafe extern "C" {
    /// Registers `callback` for the translation of each block, before version 7.
    #[link_name = "qemu_plugin_register_vcpu_tb_trans_cb"]
    pub fn register_translation(plugin: u64, callback: Translated);
    /// Registers `callback` for the translation of each block, since version 7.
    #[link_name = "qemu_plugin_register_vcpu_tb_trans_cb"]
    pub fn register_translation_user_data(plugin: u64, callback: TranslatedUserData, userdata: *mut c_void);
    /// Registers `callback` for each run of `block`, before its first instruction.
    pub fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Block,
        callback: Executed,
        flags: c_int,
        userdata: *mut c_void,
    );
    /// Registers `callback` for each run of `instruction`, before it.
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: Executed,
        flags: c_int,
        userdata: *mut c_void,
    );
    /// Returns the number of instructions of `block`.
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// Returns the virtual address of the first instruction of `block`.
    pub fn qemu_plugin_tb_vaddr(block: *const Block) -> u64;
    /// Returns an instruction of `block`; null if `index` is out of range.
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
}

/// Returns the version of the interface to declare to this QEMU. No version suits both QEMU 10 and QEMU 11.1.
pub fn version() -> c_int {
    let exists = |function: &CStr| {
        // SAFETY: the name is a C string.
        !unsafe { libc::dlsym(libc::RTLD_DEFAULT, function.as_ptr()) }.is_null()
    };
    VERSIONS.iter().find(|(_, function)| exists(function)).map_or(VERSION_OLDEST, |(version, _)| *version)
}
