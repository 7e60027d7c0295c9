//! Functions that are called once a page, counted where they run (`--hot`): too many to be written.
//!
//! The cheapest way there is: one program on a trampoline (`fsession`, Linux 7.0), which keeps the time of entry in
//! the call's own frame. So calls that nest, sleep or move to another CPU cannot be mixed up, and nothing is looked up
//! at the entry.

use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};

use aya_ebpf::{
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_get_attach_cookie, bpf_map_lookup_percpu_elem},
    },
    macros::{kprobe, map},
    maps::{Array, PerCpuArray},
    programs::ProbeContext,
};
use profiler_common::{
    cost,
    hot::{self, BUCKETS, EPOCHS, Share, WORDS, Where, kfunc},
};

use crate::record::{add, emit, next};

/// Calls of each function and epoch: function * `EPOCHS` + epoch. User space makes as many as it needs.
#[map]
static HOT_SHARES: PerCpuArray<Share> = PerCpuArray::with_max_entries(1, 0);

/// Addresses of the functions, by their number, which is the attach cookie.
#[map]
static HOT_FUNCTIONS: Array<u64> = Array::with_max_entries(hot::FUNCTIONS, 0);

/// What there is one of (`profiler_common::hot`).
#[map]
static HOT_STATE: Array<u64> = Array::with_max_entries(hot::STATE, 0);

/// Words of the next record, and how many of them there are, while the shares are written out.
#[map]
static HOT_LINE: Array<[u64; WORDS + 1]> = Array::with_max_entries(1, 0);

/// Entry and return of a function that is counted. Loaded as `BPF_TRACE_FSESSION`; the section's name only satisfies
/// the object's parser, which knows no such type.
#[unsafe(no_mangle)]
#[unsafe(link_section = "kprobe/hot_call")]
extern "C" fn hot_call(ctx: *mut c_void) -> i32 {
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the kernel gives every call a word of its own, 0 at first, for as long as it lasts.
    unsafe {
        let entered_ns: *mut u64 = session_cookie(ctx);
        if session_is_return(ctx) {
            returned(ctx, now_ns, *entered_ns);
        } else {
            *entered_ns = now_ns;
        }
    }
    if now_ns & cost::SAMPLE_MASK == 0 {
        sample(now_ns);
    }
    0
}

#[inline(always)]
fn returned(ctx: *mut c_void, now_ns: u64, entered_ns: u64) {
    if entered_ns == 0 {
        if let Some(unpaired) = HOT_STATE.get_ptr_mut(hot::UNPAIRED) {
            add(unpaired, 1);
        }
        return;
    }
    // SAFETY: the context is the one the kernel gave us.
    let function = unsafe { bpf_get_attach_cookie(ctx) };
    let share = function * u64::from(EPOCHS) + state(hot::EPOCH);
    let Some(share) = HOT_SHARES.get_ptr_mut(share as u32) else { return };
    let ns = now_ns - entered_ns;
    let bucket = hot::bucket(ns);
    // SAFETY: a value lives as long as its map. Nobody else writes it: the kernel does not move us to another CPU,
    // and runs no function's program inside itself.
    unsafe {
        (*share).total_ns += ns;
        if (*share).count == 0 || ns < (*share).min_ns {
            (*share).min_ns = ns;
        }
        if ns > (*share).max_ns {
            (*share).max_ns = ns;
        }
        (*share).count += 1;
        if bucket < BUCKETS {
            let calls = (&raw mut (*share).buckets).cast::<u32>().add(bucket);
            *calls += 1;
        }
    }
}

/// Keeps what this run has taken so far.
#[inline(always)]
fn sample(began_ns: u64) {
    // SAFETY: the helper has no preconditions.
    let ns = unsafe { bpf_ktime_get_ns() } - began_ns;
    if let (Some(samples), Some(total)) =
        (HOT_STATE.get_ptr_mut(hot::SAMPLES), HOT_STATE.get_ptr_mut(hot::SAMPLED_NS))
    {
        add(samples, 1);
        add(total, ns);
    }
}

/// At the milestones that begin an epoch; its number is the attach cookie.
#[kprobe]
pub fn hot_epoch(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the one the kernel gave us.
    let epoch = unsafe { bpf_get_attach_cookie(aya_ebpf::EbpfContext::as_ptr(&ctx)) };
    if let Some(present) = HOT_STATE.get_ptr_mut(hot::EPOCH) {
        // SAFETY: a value lives as long as its map. An epoch does not come back.
        unsafe {
            if *present < epoch {
                *present = epoch;
            }
        }
    }
    0
}

/// Outgoing, at `machine_kexec`: writes the shares out. No function runs any more.
#[kprobe]
pub fn hot_flush(_ctx: ProbeContext) -> u32 {
    let mut written = 0;
    for_each(state(hot::COUNTED) as i32, |function| {
        let ip = HOT_FUNCTIONS.get(function).copied().unwrap_or(0);
        for_each(EPOCHS as i32, |epoch| {
            for_each(CPUS_MAX, |cpu| {
                let index = function * EPOCHS + epoch;
                // SAFETY: map and index are as the helper wants them; it gives a value or nothing.
                let share: *const Share = unsafe {
                    bpf_map_lookup_percpu_elem(
                        (&raw const HOT_SHARES).cast_mut().cast(),
                        (&raw const index).cast(),
                        cpu,
                    )
                    .cast()
                };
                if share.is_null() {
                    // There is no such CPU.
                    return false;
                }
                // SAFETY: a value of that map lives as long as it.
                if unsafe { (*share).count } != 0 {
                    flush(ip, Where { epoch, cpu }, share);
                    written += 1;
                }
                true
            });
            true
        });
        true
    });
    emit(&hot::WRITTEN_FORMAT, &[next(), written, state(hot::UNPAIRED)]);
    let costs = [next(), cost::HOT, 0, state(hot::SAMPLES), state(hot::SAMPLED_NS)];
    emit(&cost::COST_FORMAT, &costs);
    0
}

/// More CPUs than any machine has.
const CPUS_MAX: i32 = 1 << 16;

/// Writes one share out.
#[inline(always)]
fn flush(ip: u64, at: Where, share: *const Share) {
    // SAFETY: the caller has it from its map.
    let share = unsafe { &*share };
    let Share { count, total_ns, min_ns, max_ns, .. } = *share;
    emit(&hot::SHARE_FORMAT, &[next(), ip, at.word(), count, total_ns, min_ns, max_ns]);
    let Some(line) = HOT_LINE.get_ptr_mut(0) else { return };
    // SAFETY: the only value of its map; only this program, which runs once, uses it.
    let line = unsafe { &mut *line };
    *line = [0; WORDS + 1];
    for_each(BUCKETS as i32, |bucket| {
        let calls = share.buckets.get(bucket as usize).copied().unwrap_or(0);
        if calls != 0 {
            let [used, words @ ..] = line;
            if let Some(word) = words.get_mut(*used as usize) {
                *word = hot::pack(bucket as usize, calls);
            }
            *used += 1;
            if *used == WORDS as u64 {
                write(ip, at, line);
            }
        }
        true
    });
    if line[0] != 0 {
        write(ip, at, line);
    }
}

/// Writes the durations that were gathered, and begins anew.
#[inline(always)]
fn write(ip: u64, at: Where, line: &mut [u64; WORDS + 1]) {
    let [_, a, b, c, d, e, f, g, h] = *line;
    emit(&hot::BUCKETS_FORMAT, &[next(), ip, at.word(), a, b, c, d, e, f, g, h]);
    *line = [0; WORDS + 1];
}

#[inline(always)]
fn state(index: u32) -> u64 {
    HOT_STATE.get(index).copied().unwrap_or(0)
}

/// Calls `each` for 0 to `end` until it gives false. The verifier looks at the body once, not at every round.
#[inline(always)]
fn for_each(end: i32, mut each: impl FnMut(u32) -> bool) {
    let mut iterator = MaybeUninit::<u64>::uninit();
    let iterator = iterator.as_mut_ptr();
    // SAFETY: the word is made an iterator, used as one, and given up, in this order.
    unsafe {
        iter_num_new(iterator, 0, end);
        loop {
            let number = iter_num_next(iterator);
            if number.is_null() || !each(*number as u32) {
                break;
            }
        }
        iter_num_destroy(iterator);
    }
}

/// A kernel function, by the number that the loader knows it by.
macro_rules! kfunc {
    ($name:ident = $number:path, ($($arg:ident: $of:ty),*) $(-> $gives:ty)?) => {
        #[inline(always)]
        pub unsafe fn $name($($arg: $of),*) $(-> $gives)? {
            // SAFETY: the loader makes this a call of the kernel function with that signature.
            unsafe {
                let function: unsafe extern "C" fn($($of),*) $(-> $gives)? = transmute($number);
                function($($arg),*)
            }
        }
    };
}

kfunc!(session_is_return = kfunc::SESSION_IS_RETURN, (ctx: *mut c_void) -> bool);
kfunc!(session_cookie = kfunc::SESSION_COOKIE, (ctx: *mut c_void) -> *mut u64);
kfunc!(iter_num_new = kfunc::ITER_NUM_NEW, (it: *mut u64, start: i32, end: i32) -> i32);
kfunc!(iter_num_next = kfunc::ITER_NUM_NEXT, (it: *mut u64) -> *mut i32);
kfunc!(iter_num_destroy = kfunc::ITER_NUM_DESTROY, (it: *mut u64));
