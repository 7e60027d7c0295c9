//! A guest at rest: who it is, and its vCPUs' registers. And as bytes, for the memfd that carries it across.
//!
//! ```text
//! "BLKVMST1"  body length, u32  CRC-32 of the body, u32   then the body: fields, each its length, u32, and bytes
//! ```
//! KVM's structures are carried as they are: they are kernel ABI, and a kernel of another series knows them.

use crate::result::DeviceResult;
use kvm_bindings::{
    kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const MAGIC: &[u8; 8] = b"BLKVMST1";
const HEADER_BYTES: usize = 16;

/// A guest at rest.
pub struct GuestState {
    /// Its name.
    pub name: String,
    /// Length of its memory, bytes.
    pub memory_bytes: u64,
    /// What its passed-through device did so far, if it has one.
    pub device: Option<DeviceResult>,
    /// Its vCPUs, in the order of their numbers.
    pub vcpus: Vec<VcpuState>,
}

/// A vCPU at rest.
pub struct VcpuState {
    /// Rounds of the guest's loop so far.
    pub loops: u64,
    /// Guest TSC minus host TSC, ticks.
    pub tsc_offset: u64,
    /// What CPUID shows.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// General registers.
    pub regs: kvm_regs,
    /// Segments, control registers, APIC base.
    pub sregs: kvm_sregs,
    /// Extended control registers.
    pub xcrs: kvm_xcrs,
    /// FPU, vector registers.
    pub xsave: kvm_xsave,
    /// Model-specific registers but for the TSC, which `tsc_offset` gives.
    pub msrs: Vec<kvm_msr_entry>,
    /// Local APIC.
    pub lapic: kvm_lapic_state,
    /// Pending exceptions and interrupts.
    pub events: kvm_vcpu_events,
    /// Debug registers.
    pub debug: kvm_debugregs,
    /// Running, halted, or not started.
    pub mp_state: kvm_mp_state,
}

/// Bytes that are no guest's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Something else.
    #[error("it does not begin as a guest's state does")]
    NoState,
    /// Cut off.
    #[error("it ends before its end")]
    Short,
    /// Changed.
    #[error("its checksum is {found:#010x}, not {expected:#010x}")]
    Checksum {
        /// That of the bytes.
        found: u32,
        /// That in the header.
        expected: u32,
    },
    /// A field of another length.
    #[error("a field has {0} bytes, which is not what its type has")]
    Field(usize),
    /// A name that is no text.
    #[error("the guest's name is not text")]
    Name,
    /// What it says about the device cannot be understood.
    #[error("what it says about the device cannot be understood")]
    Device,
}

impl GuestState {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, self.name.as_bytes());
        put(&mut body, self.memory_bytes.as_bytes());
        // Numbers and text always make JSON.
        put(&mut body, &serde_json::to_vec(&self.device).unwrap_or_default());
        for vcpu in &self.vcpus {
            put(&mut body, vcpu.loops.as_bytes());
            put(&mut body, vcpu.tsc_offset.as_bytes());
            put(&mut body, vcpu.cpuid.as_bytes());
            put(&mut body, vcpu.regs.as_bytes());
            put(&mut body, vcpu.sregs.as_bytes());
            put(&mut body, vcpu.xcrs.as_bytes());
            put(&mut body, vcpu.xsave.as_bytes());
            put(&mut body, vcpu.msrs.as_bytes());
            put(&mut body, vcpu.lapic.as_bytes());
            put(&mut body, vcpu.events.as_bytes());
            put(&mut body, vcpu.debug.as_bytes());
            put(&mut body, vcpu.mp_state.as_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// From the beginning of `bytes`; what follows is left alone.
    ///
    /// # Errors
    /// When they are not what [`GuestState::encode`] gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(StateError::Short)?;
        let rest_of_header = header.strip_prefix(MAGIC).ok_or(StateError::NoState)?;
        let words: [u32; 2] = FromBytes::read_from_bytes(rest_of_header).map_err(|_| StateError::Short)?;
        let [length, expected] = words;
        let mut body =
            usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or(StateError::Short)?;
        let found = crc32fast::hash(body);
        if found != expected {
            return Err(StateError::Checksum { found, expected });
        }
        let body = &mut body;
        let name = String::from_utf8(field(body)?.into()).map_err(|_| StateError::Name)?;
        let memory_bytes = one(body)?;
        let device = serde_json::from_slice(field(body)?).map_err(|_| StateError::Device)?;
        let mut vcpus = Vec::new();
        while !body.is_empty() {
            vcpus.push(VcpuState {
                loops: one(body)?,
                tsc_offset: one(body)?,
                cpuid: many(body)?,
                regs: one(body)?,
                sregs: one(body)?,
                xcrs: one(body)?,
                xsave: one(body)?,
                msrs: many(body)?,
                lapic: one(body)?,
                events: one(body)?,
                debug: one(body)?,
                mp_state: one(body)?,
            });
        }
        Ok(Self { name, memory_bytes, device, vcpus })
    }
}

fn put(body: &mut Vec<u8>, field: &[u8]) {
    body.extend((field.len() as u32).to_le_bytes());
    body.extend(field);
}

fn field<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], StateError> {
    let (length, rest) = body.split_first_chunk::<4>().ok_or(StateError::Short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| StateError::Short)?;
    let (field, rest) = rest.split_at_checked(length).ok_or(StateError::Short)?;
    *body = rest;
    Ok(field)
}

fn one<T: FromBytes>(body: &mut &[u8]) -> Result<T, StateError> {
    let field = field(body)?;
    T::read_from_bytes(field).map_err(|_| StateError::Field(field.len()))
}

fn many<T: FromBytes + Immutable>(body: &mut &[u8]) -> Result<Vec<T>, StateError> {
    let field = field(body)?;
    let chunks = field.chunks_exact(size_of::<T>());
    if !chunks.remainder().is_empty() {
        return Err(StateError::Field(field.len()));
    }
    chunks.map(|chunk| T::read_from_bytes(chunk).map_err(|_| StateError::Field(chunk.len()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(name: String, vcpus: &[(u64, u8)]) -> GuestState {
        let vcpu = |&(loops, filler): &(u64, u8)| {
            let mut lapic = kvm_lapic_state::default();
            lapic.as_mut_bytes().fill(filler);
            let mut xsave = kvm_xsave::default();
            xsave.as_mut_bytes().fill(filler);
            VcpuState {
                loops,
                tsc_offset: loops.wrapping_neg(),
                cpuid: vec![kvm_cpuid_entry2 { function: 1, ..Default::default() }; usize::from(filler % 5)],
                regs: kvm_regs { rip: loops, ..Default::default() },
                sregs: kvm_sregs { cr3: loops, ..Default::default() },
                xcrs: kvm_xcrs::default(),
                xsave,
                msrs: vec![
                    kvm_msr_entry { index: 0x174, data: loops, ..Default::default() };
                    usize::from(filler % 7)
                ],
                lapic,
                events: kvm_vcpu_events::default(),
                debug: kvm_debugregs::default(),
                mp_state: kvm_mp_state { mp_state: u32::from(filler) },
            }
        };
        let device = (vcpus.len() > 1).then(DeviceResult::default);
        GuestState { name, memory_bytes: 1 << 25, device, vcpus: vcpus.iter().map(vcpu).collect() }
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(name in ".{0,20}", vcpus in proptest::collection::vec(any::<(u64, u8)>(), 0..4)) {
            let bytes = state(name, &vcpus).encode();
            let mut padded = bytes.clone();
            padded.extend([0; 99]);
            let again = GuestState::decode(&padded).unwrap();
            prop_assert_eq!(again.vcpus.len(), vcpus.len());
            prop_assert_eq!(again.encode(), bytes);
        }

        #[test]
        fn a_changed_or_missing_byte_is_found(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let bytes = state("vm0".into(), &[(7, 3)]).encode();
            let at = at.index(bytes.len());
            prop_assert!(GuestState::decode(&bytes[..at]).is_err());
            let mut changed = bytes;
            changed[at] ^= 1 << bit;
            prop_assert!(GuestState::decode(&changed).is_err());
        }

        #[test]
        fn any_body_with_a_right_checksum_is_taken(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(crc32fast::hash(&body).to_le_bytes());
            bytes.extend(body);
            let _ = GuestState::decode(&bytes);
        }
    }
}
