//! Keeps failed calls to what can be explained: of the same failure so many a second are
//! reported, of one user's and of all so many as long as they go on; what is beyond that is
//! counted, each once.
//!
//! A user's budget and that of all are buckets of tokens. Of a bucket nothing is kept but
//! when it will be full again: each call puts that off by the time in which a token comes
//! back, and is refused where it is further away than the whole bucket takes. So a burst
//! is explained call by call, and only what is sustained is counted.
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
    CallRecord, FAILED_A_SECOND, FAILED_A_SECOND_BY_USER, FAILED_AT_ONCE, FAILED_AT_ONCE_BY_USER,
    FAILED_IN_RESERVE, FailedCallRecord, REPEATS_A_SECOND, RESERVE_A_SECOND_BY_USER,
    RESERVE_AT_ONCE_BY_USER, RepeatKey, RepeatWire, UserKey, UserWire,
};

use crate::{
    atomic::add_one,
    error::Skip,
    maps::{BUDGETS, REPEATS, USERS},
    task,
};

const SECOND_NS: u64 = 1_000_000_000;

/// A bucket of tokens.
#[derive(Clone, Copy)]
struct Bucket {
    /// In which one token comes back.
    token_ns: u64,
    /// In which all of them do.
    whole_ns: u64,
}

impl Bucket {
    const fn new(a_second: u64, at_once: u64) -> Self {
        let token_ns = SECOND_NS / a_second;
        Self {
            token_ns,
            whole_ns: token_ns * at_once,
        }
    }

    /// Whether it has a token, where it will be full at `full_ns`.
    #[inline(always)]
    fn has_token(self, full_ns: u64, now_ns: u64) -> bool {
        full_ns < now_ns + self.whole_ns
    }

    /// When it will be full without one token more.
    #[inline(always)]
    fn without_token(self, full_ns: u64, now_ns: u64) -> u64 {
        let from_ns = if full_ns > now_ns { full_ns } else { now_ns };
        from_ns + self.token_ns
    }
}

const OF_ALL: Bucket = Bucket::new(FAILED_A_SECOND, FAILED_AT_ONCE);
/// The same without what is kept for users who fail seldom.
const OPEN: Bucket = Bucket::new(FAILED_A_SECOND, FAILED_AT_ONCE - FAILED_IN_RESERVE);
const OF_USER: Bucket = Bucket::new(FAILED_A_SECOND_BY_USER, FAILED_AT_ONCE_BY_USER);
const RESERVE_OF_USER: Bucket = Bucket::new(RESERVE_A_SECOND_BY_USER, RESERVE_AT_ONCE_BY_USER);

/// What [`admit`] and [`count_beyond`] return.
const YES: u64 = 1;
const NO: u64 = 0;

/// Whether a failed call is reported now; else it is counted. Gives whether one that is
/// reported is in the count of its kind: not if nobody counted that kind yet.
#[inline(always)]
pub(crate) fn check(key: &RepeatKey, is_kernels: bool) -> Result<bool, Skip> {
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
        return Ok(true);
    }
    if admit(whose, now_ns) == YES {
        return Ok(false);
    }
    if count_beyond(whose) == YES {
        Err(Skip::Counted)
    } else {
        Err(Skip::Full)
    }
}

/// Writes what user space takes the count of a reported call from. Of a call that is in no
/// count yet ([`check`]) its kind's begins with `first`, where there is room for one.
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
    mut is_counted: bool,
) {
    if !is_counted {
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
        is_counted = began.is_ok();
        // Another processor was first, or there is no room.
        if !is_counted && let Some(entry) = REPEATS.get_ptr_mut(key) {
            // SAFETY: a value of this map.
            unsafe { add_one(&raw mut (*entry).total) };
            is_counted = true;
        }
    }
    // SAFETY: the caller vouches for `record`.
    unsafe { write_count(record, key, is_counted) };
}

/// Writes what user space takes the count of a reported call from: none for a call that is
/// in no count, which stands for itself.
///
/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_count(record: *mut FailedCallRecord, key: &RepeatKey, is_counted: bool) {
    // SAFETY: the caller vouches for `record`, the map for its value.
    unsafe {
        (*record).repeat = *key;
        (*record).total = 0;
        (*record).total_began_ns = 0;
        if is_counted && let Some(entry) = REPEATS.get_ptr(key) {
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
    let Some(all) = BUDGETS.get_ptr_mut(key.call) else {
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
            fresh.assume_init_ref()
        };
        // Where there is no room the budget of all is what counts.
        let _ = USERS.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    let user = USERS.get_ptr_mut(key);
    // SAFETY: values of these maps.
    unsafe {
        if !OF_ALL.has_token(*all, now_ns) {
            return NO;
        }
        let is_in_reserve = !OPEN.has_token(*all, now_ns);
        if let Some(user) = user {
            if !OF_USER.has_token((*user).used_until_ns, now_ns) {
                return NO;
            }
            if is_in_reserve {
                if !RESERVE_OF_USER.has_token((*user).reserve_until_ns, now_ns) {
                    return NO;
                }
                (*user).reserve_until_ns =
                    RESERVE_OF_USER.without_token((*user).reserve_until_ns, now_ns);
            }
            (*user).used_until_ns = OF_USER.without_token((*user).used_until_ns, now_ns);
        }
        *all = OF_ALL.without_token(*all, now_ns);
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
