//! Keeps failed calls to what can be explained: of the same failure so many a second are
//! reported, of one user's and of all so many; what is beyond that is counted, each once.
//!
//! Counts of one kind are never set back, so that two processors cannot both take them:
//! a record says how many there were in all, and user space knows how many it has reported.
//! Which calls are reported may depend on a race of two processors, the sum does not.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use tcpstate_common::record::{
    CallRecord, FAILED_A_SECOND, FAILED_A_SECOND_BY_USER, FAILED_A_SECOND_IN_RESERVE,
    FailedCallRecord, REPEATS_A_SECOND, RepeatKey, RepeatWire, UserKey, UserWire,
};

use crate::{
    atomic::add_one,
    error::Skip,
    maps::{BUDGETS, REPEATS, USERS},
    task,
};

const SECOND_NS: u64 = 1_000_000_000;

/// What [`admit`] and [`count_beyond`] return.
const YES: u64 = 1;
const NO: u64 = 0;

/// Whether a failed call is reported now; else it is counted.
#[inline(always)]
pub(crate) fn check(key: &RepeatKey, is_kernels: bool) -> Result<(), Skip> {
    let now_ns = now();
    let whose = whose(key, is_kernels);
    if let Some(entry) = REPEATS.get_ptr_mut(key) {
        // SAFETY: a value of this map.
        let is_due = unsafe {
            add_one(&raw mut (*entry).total);
            is_due(entry, now_ns)
        };
        if !is_due || admit(whose, now_ns) == NO {
            return Err(Skip::Counted);
        }
        // SAFETY: as above.
        unsafe { note_reported(entry, now_ns) };
        return Ok(());
    }
    if admit(whose, now_ns) == YES {
        return Ok(());
    }
    if count_beyond(whose) == YES {
        Err(Skip::Counted)
    } else {
        Err(Skip::Full)
    }
}

/// Writes what user space takes the count of a reported call from, and begins to count its
/// kind with `first`, where there is room for one.
///
/// # Safety
///
/// `record` is valid for writes, and its call is written; `first` is in a map.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "handed over by value it would be copied to the stack, which has 512 bytes"
)]
pub(crate) unsafe fn begin_to_count(
    record: *mut FailedCallRecord,
    first: *mut RepeatWire,
    key: &RepeatKey,
) {
    if REPEATS.get_ptr(key).is_none() {
        // SAFETY: the caller vouches for both.
        let began = unsafe {
            (*first).total = 1;
            (*first).began_ns = (*record).call.header.mono_ns;
            (*first).second_ns = (*record).call.header.mono_ns;
            (*first).in_second = 1;
            (*first).reserved = 0;
            copy_call(&raw mut (*first).call, &raw const (*record).call);
            REPEATS.insert(key, &*first, u64::from(BPF_NOEXIST))
        };
        // Another processor was first, or there is no room.
        if began.is_err()
            && let Some(entry) = REPEATS.get_ptr_mut(key)
        {
            // SAFETY: a value of this map.
            unsafe { add_one(&raw mut (*entry).total) };
        }
    }
    // SAFETY: the caller vouches for `record`.
    unsafe { write_count(record, key) };
}

/// Writes what user space takes the count of a reported call from.
///
/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_count(record: *mut FailedCallRecord, key: &RepeatKey) {
    // SAFETY: the caller vouches for `record`, the map for its value.
    unsafe {
        (*record).repeat = *key;
        (*record).total = 0;
        (*record).total_began_ns = 0;
        if let Some(entry) = REPEATS.get_ptr(key) {
            (*record).total = (&raw const (*entry).total).read_volatile();
            (*record).total_began_ns = (*entry).began_ns;
        }
    }
}

/// Whether another one of this kind may be reported.
///
/// # Safety
///
/// `entry` is a value of the map.
#[inline(always)]
unsafe fn is_due(entry: *mut RepeatWire, now_ns: u64) -> bool {
    // SAFETY: the caller vouches for `entry`.
    unsafe { is_over((*entry).second_ns, now_ns) || (*entry).in_second < REPEATS_A_SECOND }
}

/// # Safety
///
/// `entry` is a value of the map.
#[inline(always)]
unsafe fn note_reported(entry: *mut RepeatWire, now_ns: u64) {
    // SAFETY: the caller vouches for `entry`.
    unsafe {
        if is_over((*entry).second_ns, now_ns) {
            (*entry).second_ns = now_ns;
            (*entry).in_second = 0;
        }
        (*entry).in_second += 1;
    }
}

/// Whether another second has begun. Another processor's clock may be a little ahead.
#[inline(always)]
fn is_over(second_ns: u64, now_ns: u64) -> bool {
    now_ns > second_ns && now_ns - second_ns >= SECOND_NS
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// The user and the call in one word.
#[inline(always)]
fn whose(key: &RepeatKey, is_kernels: bool) -> u64 {
    let uid = if is_kernels {
        0
    } else {
        task::effective_user()
    };
    u64::from(uid) << 32 | u64::from(key.call)
}

#[inline(always)]
fn user_key(whose: u64) -> UserKey {
    UserKey {
        uid: (whose >> 32) as u32,
        call: whose as u32,
    }
}

/// Whether another failed call of this user may be reported. One copy for all programs, with
/// a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admit(whose: u64, now_ns: u64) -> u64 {
    let key = user_key(whose);
    let Some(budget) = BUDGETS.get_ptr_mut(key.call) else {
        return NO;
    };
    if USERS.get_ptr(key).is_none() {
        let mut fresh = MaybeUninit::<UserWire>::uninit();
        let words = fresh.as_mut_ptr().cast::<u64>();
        // Word by word: what sets memory at once would be one more function, with a share
        // of the stack that there is no more of.
        // SAFETY: as many words as it has; all of its fields may be 0.
        let fresh = unsafe {
            for word in 0..size_of::<UserWire>() / 8 {
                words.add(word).write_volatile(0);
            }
            (*fresh.as_mut_ptr()).second_ns = now_ns;
            fresh.assume_init_ref()
        };
        // Where there is no room the share of all is what counts.
        let _ = USERS.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    let user = USERS.get_ptr_mut(key);
    // SAFETY: values of these maps.
    unsafe {
        if is_over((*budget).second_ns, now_ns) {
            (*budget).second_ns = now_ns;
            (*budget).in_second = 0;
        }
        let mut own = 0;
        if let Some(user) = user {
            if is_over((*user).second_ns, now_ns) {
                (*user).second_ns = now_ns;
                (*user).in_second = 0;
            }
            own = (*user).in_second;
        }
        let all = (*budget).in_second;
        let is_in_reserve = all >= u64::from(FAILED_A_SECOND - FAILED_A_SECOND_BY_USER);
        let is_free = all < u64::from(FAILED_A_SECOND)
            && own < FAILED_A_SECOND_BY_USER
            && (!is_in_reserve || own < FAILED_A_SECOND_IN_RESERVE);
        if !is_free {
            return NO;
        }
        (*budget).in_second = all + 1;
        if let Some(user) = user {
            (*user).in_second = own + 1;
        }
    }
    YES
}

/// Counts a failed call that only its user is counted with; [`NO`]: not even that.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_beyond(whose: u64) -> u64 {
    let key = user_key(whose);
    let Some(user) = USERS.get_ptr_mut(key) else {
        return NO;
    };
    // SAFETY: a value of this map.
    unsafe {
        add_one(&raw mut (*user).over);
        (*user).pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        task::write_comm(&raw mut (*user).comm);
    }
    YES
}

/// Copies word by word, which needs no stack.
///
/// # Safety
///
/// `to` is valid for writes, `from` for reads.
#[inline(always)]
unsafe fn copy_call(to: *mut CallRecord, from: *const CallRecord) {
    // SAFETY: the caller vouches for both; whole words of eight bytes.
    unsafe {
        for index in 0..size_of::<CallRecord>() / 8 {
            let word = from.cast::<u64>().add(index).read_volatile();
            to.cast::<u64>().add(index).write_volatile(word);
        }
    }
}
