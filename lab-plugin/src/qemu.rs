//! The part of QEMU's plugin interface that counting needs (include/qemu/qemu-plugin.h, version 1, QEMU 7.2).
//!
//! Each instruction calls back. An inline addition (`..._exec_inline_per_vcpu`, since version 2) would be faster, but
//! it breaks the guest if one thread runs several vCPUs. Translated code then multiplies the vCPU's index in place, and
//! the index is a constant that other instructions of the block use (`gen_plugin_u64_ptr`, accel/tcg/plugin-gen.c, QEMU
//! 10.2). QEMU 10.0.2 and 11.1.3 crash with two vCPUs.

use std::ffi::{c_int, c_uint, c_void};

/// Version of the interface.
pub const VERSION: c_int = 1;

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

/// `qemu_plugin_vcpu_tb_trans_cb_t`: plugin, block.
pub type Translated = extern "C" fn(u64, *mut Block);
/// `qemu_plugin_vcpu_udata_cb_t`: vCPU, user data.
pub type Executed = extern "C" fn(c_uint, *mut c_void);

// SAFETY: the declarations match the header. QEMU, which loads this library, defines the functions.
unsafe extern "C" {
    /// Registers `callback` for the translation of each block.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, callback: Translated);
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
