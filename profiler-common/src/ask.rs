//! A question to the running kernel, answered by the program `ask` run once (`BPF_PROG_TEST_RUN`).

/// Bytes of a symbol's name, with its closing NUL.
pub const NAME_BYTES: usize = 128;
/// Bytes of kernel memory that one question gives.
pub const DATA_BYTES: usize = 128;

/// Context of the program `ask`: question and answer in one.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Symbol whose address is asked for, NUL-padded; all zero to read memory instead.
    pub name: [u8; NAME_BYTES],
    /// Asked by name: the symbol's address. Else the kernel address to read from.
    pub address: u64,
    /// What lies there.
    pub data: [u8; DATA_BYTES],
}

impl Question {
    /// Where is the symbol of this name? `None` if the name does not fit.
    pub fn symbol(name: &str) -> Option<Self> {
        let mut question = Self { name: [0; NAME_BYTES], address: 0, data: [0; DATA_BYTES] };
        let room = question.name.get_mut(..name.len()).filter(|room| room.len() < NAME_BYTES)?;
        room.copy_from_slice(name.as_bytes());
        (!name.is_empty()).then_some(question)
    }

    /// What lies at this kernel address?
    pub fn memory(address: u64) -> Self {
        Self { name: [0; NAME_BYTES], address, data: [0; DATA_BYTES] }
    }
}
