//! The part of QEMU's plugin interface that counting needs (include/qemu/qemu-plugin.h, API version 1, QEMU 7.2).
//! QEMU 9.0 has another way of adding (version 2, `..._inline_per_vcpu`), and refuses to load this.

use std::ffi::{c_int, c_uint, c_void};

/// The version of the interface that this is written for.
pub const VERSION: c_int = 1;
/// `QEMU_PLUGIN_INLINE_ADD_U64`: translated code adds a number to a `uint64_t`, not atomically.
pub const INLINE_ADD_U64: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS`: the callback looks at no register.
pub const CB_NO_REGS: c_int = 0;

/// `struct qemu_plugin_tb`: a block of instructions while it is translated.
#[repr(C)]
pub struct Block {
    opaque: [u8; 0],
}

/// `struct qemu_plugin_insn`: an instruction of it.
#[repr(C)]
pub struct Instruction {
    opaque: [u8; 0],
}

/// `qemu_plugin_vcpu_tb_trans_cb_t`: plugin, block.
pub type Translated = extern "C" fn(u64, *mut Block);
/// `qemu_plugin_vcpu_udata_cb_t`: virtual CPU, what was given with the callback.
pub type Executed = extern "C" fn(c_uint, *mut c_void);

// SAFETY: declared as in the header. QEMU, which loads this library, has them.
unsafe extern "C" {
    /// Has `callback` called for each block that is translated.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, callback: Translated);
    /// Has `callback` called before the first instruction of each run of `block`.
    pub fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Block,
        callback: Executed,
        flags: c_int,
        userdata: *mut c_void,
    );
    /// Has `operation` done on `number` before each run of `instruction`.
    pub fn qemu_plugin_register_vcpu_insn_exec_inline(
        instruction: *mut Instruction,
        operation: c_int,
        number: *mut c_void,
        operand: u64,
    );
    /// How many instructions `block` has.
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// The virtual address of its first one.
    pub fn qemu_plugin_tb_vaddr(block: *const Block) -> u64;
    /// One of its instructions; null if it has not so many.
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
}
