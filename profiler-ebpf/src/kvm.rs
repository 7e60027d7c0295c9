//! vCPUs: the last exit of each in the outgoing kernel, its first entry in the incoming one.
//!
//! Exits are too frequent to be written: each vCPU has a seat that keeps its last one, and the seats are
//! written out at `machine_kexec`, when no vCPU can run any more.
//!
//! One program a kernel serves both tracepoints: guests wait for the verifier, which takes what both need once (`subject`).

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_get_attach_cookie, bpf_get_current_comm},
    },
    macros::{kprobe, map, tracepoint},
    maps::{Array, HashMap},
    programs::{ProbeContext, TracePointContext},
};
use profiler_common::vcpu::{self, Hook, VcpuId};

use crate::record::{add, emit, next};

/// What is kept of one vCPU; times are `CLOCK_MONOTONIC`, nanoseconds.
#[derive(Clone, Copy)]
#[repr(C)]
struct Seat {
    /// `VcpuId::word`.
    id: u64,
    /// Its last entry.
    entry_ns: u64,
    /// Outgoing: its last exit.
    exit_ns: u64,
    /// Outgoing: the exit of the last stay in which the guest ran (`vcpu::RUNS`).
    ran_ns: u64,
    /// Outgoing: its shortest stay; 0 before the first.
    shortest_ns: u64,
    /// Exits.
    exits: u64,
    /// Reason of the last exit, as the hardware tells it.
    reason: u64,
    /// Name of its thread.
    comm: [u64; 2],
}

/// Seats by number.
#[map]
static KVM_SEATS: Array<Seat> = Array::with_max_entries(vcpu::SEATS, 0);

/// Number of a vCPU's seat, by `VcpuId::word`.
#[map]
static KVM_VCPUS: HashMap<u64, u32> = HashMap::with_max_entries(vcpu::SEATS, 0);

/// Seats taken, and events that found none (`profiler_common::vcpu`).
#[map]
static KVM_COUNTERS: Array<u64> = Array::with_max_entries(vcpu::COUNTERS, 0);

/// Outgoing, at `kvm:kvm_entry` and `kvm:kvm_exit`: keeps them.
#[tracepoint]
pub fn vcpu_keep(ctx: TracePointContext) -> u32 {
    // Before anything else: this is the exit.
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let event = Event::of(&ctx);
    let Some((seat, _)) = seat(event.id) else { return 0 };
    // SAFETY: a seat lives as long as its map, and only its vCPU's own thread writes it; the helper has no preconditions.
    unsafe {
        if !event.exit {
            // Last of all: this is the entry.
            (*seat).entry_ns = bpf_ktime_get_ns();
            return 0;
        }
        (*seat).exit_ns = now_ns;
        (*seat).exits += 1;
        (*seat).reason = u64::from(event.reason);
        // Entered before the probes came: nobody knows how long it stayed.
        if (*seat).entry_ns != 0 {
            let stay_ns = now_ns - (*seat).entry_ns;
            let shortest_ns = (*seat).shortest_ns;
            if shortest_ns == 0 || stay_ns < shortest_ns {
                (*seat).shortest_ns = stay_ns;
            } else if stay_ns >= vcpu::RUNS * shortest_ns {
                (*seat).ran_ns = now_ns;
            }
        }
    }
    0
}

/// Outgoing, at `machine_kexec`: writes the seats out.
#[kprobe]
pub fn vcpu_flush(_ctx: ProbeContext) -> u32 {
    let wanted = counter(vcpu::SEATED);
    let taken = if wanted > u64::from(vcpu::SEATS) { vcpu::SEATS } else { wanted as u32 };
    for index in 0..vcpu::SEATS {
        if index >= taken {
            break;
        }
        if let Some(seat) = KVM_SEATS.get(index) {
            let [low, high] = seat.comm;
            // SAFETY: the helper has no preconditions.
            let now_ns = unsafe { bpf_ktime_get_ns() };
            emit(
                &vcpu::LAST_EXIT_FORMAT,
                &[next(), seat.id, seat.exit_ns, seat.ran_ns, now_ns, seat.exits, seat.reason, low, high],
            );
        }
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    emit(&vcpu::FLUSHED_FORMAT, &[next(), u64::from(taken), counter(vcpu::REFUSED), now_ns]);
    0
}

/// Incoming, at the same: writes the first entry of each vCPU, and its first stays.
#[tracepoint]
pub fn vcpu_write(ctx: TracePointContext) -> u32 {
    // SAFETY: the helper has no preconditions.
    let exit_ns = unsafe { bpf_ktime_get_ns() };
    let Event { exit, id, reason } = Event::of(&ctx);
    let Some((seat, new)) = seat(id) else { return 0 };
    // SAFETY: a seat lives as long as its map, and only its vCPU's own thread writes it; the helper has no preconditions.
    let (entry_ns, stays, [low, high]) = unsafe {
        if !exit {
            (*seat).entry_ns = bpf_ktime_get_ns();
        }
        ((*seat).entry_ns, (*seat).exits, (*seat).comm)
    };
    if exit {
        // SAFETY: as above.
        unsafe { (*seat).exits = stays + 1 };
        if stays < vcpu::STAYS {
            emit(&vcpu::STAY_FORMAT, &[next(), id, entry_ns, exit_ns, u64::from(reason)]);
        }
    } else if new {
        emit(&vcpu::FIRST_ENTRY_FORMAT, &[next(), id, entry_ns, low, high]);
    }
    0
}

/// What one of the tracepoints tells.
struct Event {
    exit: bool,
    /// `VcpuId::word`.
    id: u64,
    reason: u32,
}

impl Event {
    #[inline(always)]
    fn of(ctx: &TracePointContext) -> Self {
        // SAFETY: the context is the one the kernel gave us.
        let hook = Hook::of(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) });
        // SAFETY: the helper checks what it reads.
        let field = |offset: u16| unsafe { ctx.read_at::<u32>(usize::from(offset)) }.unwrap_or(0);
        let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        Self {
            exit: hook.exit,
            id: VcpuId { pid, vcpu: field(hook.vcpu) }.word(),
            reason: field(hook.reason),
        }
    }
}

/// The seat of a vCPU, and whether it has just been taken; `None` if all are.
#[inline(always)]
fn seat(id: u64) -> Option<(*mut Seat, bool)> {
    // SAFETY: a seat's number is written once, before anybody can find it.
    if let Some(index) = unsafe { KVM_VCPUS.get(&id) } {
        return Some((KVM_SEATS.get_ptr_mut(*index)?, false));
    }
    let index = KVM_COUNTERS.get_ptr_mut(vcpu::SEATED).map_or(u64::MAX, |seated| add(seated, 1));
    let seat = if index < u64::from(vcpu::SEATS) { KVM_SEATS.get_ptr_mut(index as u32) } else { None };
    let known = seat.is_some() && KVM_VCPUS.insert(&id, &(index as u32), u64::from(BPF_NOEXIST)).is_ok();
    let Some(seat) = seat.filter(|_| known) else {
        if let Some(refused) = KVM_COUNTERS.get_ptr_mut(vcpu::REFUSED) {
            add(refused, 1);
        }
        return None;
    };
    // SAFETY: a seat lives as long as its map; the buffer is as long as said.
    unsafe {
        (*seat).id = id;
        bpf_get_current_comm((&raw mut (*seat).comm).cast(), 16);
    }
    Some((seat, true))
}

#[inline(always)]
fn counter(index: u32) -> u64 {
    KVM_COUNTERS.get(index).copied().unwrap_or(0)
}
