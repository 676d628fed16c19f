//! `bind`, `listen`, `connect`: what was asked for, what came of it, and on
//! failure what stood in the way; all at the call's return.
//!
//! Up to Linux 5.14 a program cannot ask for the registers of its task: there
//! the entry is hooked too and stores the arguments. A thread that is killed
//! inside a call still runs its return tracepoint, so entries do not pile up.

mod failed;
mod record;
mod returned;
mod succeeded;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, generated},
    macros::tracepoint,
    programs::TracePointContext,
};
use tcpstate_common::{
    config::flags,
    record::{SOCKADDR_LEN, call, via},
};

pub(super) use failed::{report_briefly, report_failure, report_refusal};
pub(super) use returned::Returned;
pub(super) use succeeded::report_success;

use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::{is_set, offset},
    in_flight::InFlight,
    maps::IN_FLIGHT,
    memory::read,
    task,
};

const EINTR: u32 = 4;
const EISCONN: u32 = 106;
const EALREADY: u32 = 114;
const EINPROGRESS: u32 = 115;
/// `ERESTARTSYS` and its kin, which never reach the caller.
const ERESTART_FIRST: u32 = 512;
const ERESTART_LAST: u32 = 531;

#[tracepoint(category = "syscalls", name = "sys_enter_bind")]
pub(crate) fn sys_enter_bind(ctx: TracePointContext) -> u32 {
    finish(try_enter(&ctx, call::BIND));
    0
}

#[tracepoint(category = "syscalls", name = "sys_enter_listen")]
pub(crate) fn sys_enter_listen(ctx: TracePointContext) -> u32 {
    finish(try_enter(&ctx, call::LISTEN));
    0
}

#[tracepoint(category = "syscalls", name = "sys_enter_connect")]
pub(crate) fn sys_enter_connect(ctx: TracePointContext) -> u32 {
    finish(try_enter(&ctx, call::CONNECT));
    0
}

/// The return of all three calls: one program for three tracepoints, since the
/// walk of the bucket is what the verifier spends its time on.
#[tracepoint]
pub(crate) fn sys_exit_call(ctx: TracePointContext) -> u32 {
    finish(try_exit(&ctx));
    0
}

/// Word `INDEX` of a system call tracepoint's record: 2 to 7 are the arguments
/// at entry, 2 is the result at return.
#[inline(always)]
pub(super) fn word<const INDEX: usize>(ctx: &TracePointContext) -> u64 {
    const { assert!(INDEX < 8) };
    // SAFETY: the tracepoint's record has these words; the verifier checks it.
    unsafe { ctx.as_ptr().cast::<u64>().add(INDEX).read_volatile() }
}

#[inline(always)]
fn try_enter(ctx: &TracePointContext, call: u8) -> Result<(), Skip> {
    if !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let mut in_flight = InFlight::of(call);
    in_flight.fd = word::<2>(ctx) as u32;
    if call != call::LISTEN {
        in_flight.user_addr = word::<3>(ctx);
        let len = word::<4>(ctx) as u32;
        in_flight.addr_len = if len > 0xffff { 0xffff } else { len as u16 };
    }
    if call == call::BIND {
        read_address(&mut in_flight);
    }
    IN_FLIGHT
        .insert(bpf_get_current_pid_tgid(), in_flight, 0)
        .map_err(|_| Skip::NotStored)
}

#[inline(always)]
fn try_exit(ctx: &TracePointContext) -> Result<(), Skip> {
    let result = word::<2>(ctx) as i64;
    // Filled in where it is: on Linux 5.10 the stack has no room for a copy.
    let mut in_flight = InFlight::NONE;
    if is_set(flags::HAS_TASK_REGISTERS) {
        fill_from_registers(ctx, result, &mut in_flight)?;
    } else {
        recall(&mut in_flight)?;
    }
    let call = in_flight.call as u8;
    if result >= 0 {
        if call == call::CONNECT {
            if !is_set(flags::REPORT_CONNECTS) {
                return Err(Skip::NotWanted);
            }
            read_address(&mut in_flight);
        }
        let returned = Returned {
            call,
            via: via::SYSCALL,
            errno: 0,
            sk: task::sock_of(in_flight.fd)?,
            is_followed: false,
        };
        return report_success(&in_flight, &returned);
    }
    let errno = result.wrapping_neg() as u32;
    if call == call::CONNECT {
        if !is_final(errno) {
            return Err(Skip::NotWanted);
        }
        read_address(&mut in_flight);
    }
    let returned = Returned {
        call,
        via: via::SYSCALL,
        errno,
        sk: task::sock_of(in_flight.fd)?,
        is_followed: false,
    };
    report_failure(ctx, &in_flight, &returned)
}

/// What the entry hook has stored of this thread's call.
#[inline(always)]
fn recall(in_flight: &mut InFlight) -> Result<(), Skip> {
    let key = bpf_get_current_pid_tgid();
    let Some(entry) = IN_FLIGHT.get_ptr(key) else {
        return Err(Skip::NotWanted);
    };
    // SAFETY: a value of this map, and nobody else has this thread's key.
    *in_flight = unsafe { *entry };
    let _ = IN_FLIGHT.remove(key);
    Ok(())
}

/// What this thread's call was made with, if it is to be reported at all.
#[inline(always)]
fn fill_from_registers(
    ctx: &TracePointContext,
    result: i64,
    in_flight: &mut InFlight,
) -> Result<(), Skip> {
    let number = word::<1>(ctx) as u32;
    let call = if number == offset!(number_of_connect) {
        call::CONNECT
    } else if number == offset!(number_of_bind) {
        call::BIND
    } else {
        call::LISTEN
    };
    // Nearly every call is a connect that succeeds or goes on by itself.
    let is_unreported = call == call::CONNECT
        && if result >= 0 {
            !is_set(flags::REPORT_CONNECTS)
        } else {
            !is_final(result.wrapping_neg() as u32)
        };
    if is_unreported || !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let registers = task::registers();
    let fd: u64 = read(registers + u64::from(offset!(regs_first)))?;
    in_flight.call = u16::from(call);
    in_flight.fd = fd as u32;
    if call != call::LISTEN {
        in_flight.user_addr = read(registers + u64::from(offset!(regs_second)))?;
        let len = read::<u64>(registers + u64::from(offset!(regs_third)))? as u32;
        in_flight.addr_len = if len > 0xffff { 0xffff } else { len as u16 };
    }
    if call == call::BIND {
        read_address(in_flight);
    }
    Ok(())
}

/// Whether a failed `connect` is over: not under way, not interrupted.
#[inline(always)]
pub(super) fn is_final(errno: u32) -> bool {
    !matches!(
        errno,
        EINTR | EISCONN | EALREADY | EINPROGRESS | ERESTART_FIRST..=ERESTART_LAST
    )
}

/// Copies the caller's address; what cannot be read stays zero.
#[inline(always)]
fn read_address(in_flight: &mut InFlight) {
    let from = in_flight.user_addr;
    let to = in_flight.requested.as_mut_ptr();
    // `sockaddr_in` or `sockaddr_in6`: the caller's buffer need not hold more
    // than the length that it gave.
    // SAFETY: both sizes fit the buffer; the helper checks the address.
    unsafe {
        if in_flight.addr_len >= SOCKADDR_LEN as u16 {
            generated::bpf_probe_read_user(to.cast(), SOCKADDR_LEN as u32, from as *const _);
        } else if in_flight.addr_len >= 16
            && let Ok(addr) = bpf_probe_read_user::<[u64; 2]>(from as *const _)
        {
            to.cast::<[u64; 2]>().write_unaligned(addr);
        }
    }
}
