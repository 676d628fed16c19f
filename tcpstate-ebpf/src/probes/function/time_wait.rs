//! A mini-socket's whole life: the function that makes it, the one that winds
//! its timer up again, and the one that every way of its end leads through.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_ktime_get_ns,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use tcpstate_common::{
    offsets::MISSING,
    record::{Kind, MiniRecord, mini_end, mini_event},
};

use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::{config, offset},
    holder,
    maps::{EVENTS, PENDING_KILL, TW_BY_SOCK},
    memory::{Addr, untyped_arg},
    output,
    sock::{self, Common, SockCommon as _},
};

/// From the decision that a mini-socket is to go to its end it is
/// microseconds, with softirqs off; a virtual processor may be put aside in
/// between. What is older belongs to another one that had the same memory.
const DECISION_LASTS_NS: u64 = 200_000_000;

/// `struct inet_timewait_sock *inet_twsk_alloc(sk, …)`: NULL where there is no room.
#[fexit(function = "inet_twsk_alloc")]
pub(crate) fn inet_twsk_alloc(ctx: FExitContext) -> i32 {
    finish(try_alloc(&ctx));
    0
}

/// `void __inet_twsk_schedule(tw, int timeo, bool rearm)`. On later kernels the
/// call that winds the timer up first is compiled into its caller.
#[fentry(function = "__inet_twsk_schedule")]
pub(crate) fn __inet_twsk_schedule(ctx: FEntryContext) -> i32 {
    finish(try_schedule(&ctx));
    0
}

/// `void inet_twsk_kill(tw)`: once for each, on every way to its end.
#[fentry(function = "inet_twsk_kill")]
pub(crate) fn inet_twsk_kill(ctx: FEntryContext) -> i32 {
    finish(try_kill(&ctx));
    0
}

/// `void tw_timer_handler(struct timer_list *)`.
#[fentry(function = "tw_timer_handler")]
pub(crate) fn tw_timer_handler(ctx: FEntryContext) -> i32 {
    finish(try_timer(&ctx));
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(tw, …)`: a SYN that may take its place.
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn tcp_timewait_state_process(ctx: FExitContext) -> i32 {
    finish(try_state_process(&ctx));
    0
}

/// `int tcp_twsk_unique(sk, sktw, twp)`: a connect that takes its place.
#[fexit(function = "tcp_twsk_unique")]
pub(crate) fn tcp_twsk_unique(ctx: FExitContext) -> i32 {
    finish(try_unique(&ctx));
    0
}

#[inline(always)]
fn try_alloc(ctx: &FExitContext) -> Result<(), Skip> {
    let parent = untyped_arg(ctx.as_ptr(), 0)?;
    let tw = untyped_arg(ctx.as_ptr(), u64::from(offset!(twsk_alloc_args)))?;
    // A full map evicts its least recently used entry.
    let _ = TW_BY_SOCK.insert(parent, tw, 0);
    Ok(())
}

#[inline(always)]
fn try_schedule(ctx: &FEntryContext) -> Result<(), Skip> {
    let is_rearmed = untyped_arg(ctx.as_ptr(), 2)? as u8 & 1 == 1;
    if !is_rearmed {
        return Err(Skip::NotWanted);
    }
    let tw = untyped_arg(ctx.as_ptr(), 0)?;
    let jiffies = untyped_arg(ctx.as_ptr(), 1)? as u32;
    let left_ms = sock::millis(u64::from(jiffies), u64::from(config!(hz))) as i32;
    report(tw, mini_event::REARMED, mini_end::UNKNOWN, Some(left_ms))
}

#[inline(always)]
fn try_timer(ctx: &FEntryContext) -> Result<(), Skip> {
    let timer = untyped_arg(ctx.as_ptr(), 0)?;
    decide(
        timer.wrapping_sub(u64::from(offset!(tw_timer))),
        mini_end::EXPIRED,
    );
    Ok(())
}

#[inline(always)]
fn try_state_process(ctx: &FExitContext) -> Result<(), Skip> {
    let status = untyped_arg(ctx.as_ptr(), u64::from(offset!(tw_state_process_args)))? as u32;
    if offset!(tw_status_syn) == MISSING || status != offset!(tw_status_syn) {
        return Err(Skip::NotWanted);
    }
    decide(untyped_arg(ctx.as_ptr(), 0)?, mini_end::REUSED);
    Ok(())
}

#[inline(always)]
fn try_unique(ctx: &FExitContext) -> Result<(), Skip> {
    let is_taken = untyped_arg(ctx.as_ptr(), u64::from(offset!(twsk_unique_args)))? as u32 != 0;
    if !is_taken {
        return Err(Skip::NotWanted);
    }
    decide(untyped_arg(ctx.as_ptr(), 1)?, mini_end::REUSED);
    Ok(())
}

/// Notes why a mini-socket is about to end.
#[inline(always)]
fn decide(tw: Addr, why: u8) {
    if let Some(pending) = PENDING_KILL.get_ptr_mut(0) {
        // SAFETY: this CPU's; whoever decides has softirqs off.
        unsafe {
            (*pending).tw = tw;
            (*pending).why = u64::from(why);
            (*pending).decided_ns = bpf_ktime_get_ns();
        }
    }
}

#[inline(always)]
fn try_kill(ctx: &FEntryContext) -> Result<(), Skip> {
    let tw = untyped_arg(ctx.as_ptr(), 0)?;
    report(tw, mini_event::ENDED, why(tw), None)
}

/// Why the mini-socket at `tw` ends.
#[inline(always)]
fn why(tw: Addr) -> u8 {
    let Some(pending) = PENDING_KILL.get_ptr_mut(0) else {
        return mini_end::UNKNOWN;
    };
    // SAFETY: this CPU's; see `decide`.
    unsafe {
        if (*pending).tw == tw
            && bpf_ktime_get_ns().wrapping_sub((*pending).decided_ns) < DECISION_LASTS_NS
        {
            (*pending).tw = 0;
            return (*pending).why as u8;
        }
    }
    mini_end::DESTROYED
}

#[inline(always)]
fn report(tw: Addr, what: u8, why: u8, left_ms: Option<i32>) -> Result<(), Skip> {
    let mut common = Common::empty();
    common.fill(tw)?;
    if !filter::wants_ports(common.local_port(), common.peer_port()) {
        return Err(Skip::NotWanted);
    }
    let netns = sock::netns_of(common.net())?;
    if !filter::wants_netns(netns) || !filter::wants_socket(common.cookie(), false, 0) {
        return Err(Skip::NotWanted);
    }
    let Some(mut entry) = EVENTS.reserve::<MiniRecord>(0) else {
        return Err(Skip::Full);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written.
    let filled = unsafe {
        output::write_header(&raw mut (*record).header, Kind::Mini);
        (*record).what = what;
        (*record).why = why;
        (*record).reserved = [0; 6];
        let holder = &raw mut (*record).holder;
        let written = holder::write(holder, tw, &common, common.cookie(), netns);
        if let Some(left_ms) = left_ms {
            (*holder).expires_ms = left_ms;
        }
        written
    };
    output::submit_or_discard(entry, filled)
}
