//! Two more hooks behind the functions whose failures matter most: the second reports a
//! call that the first one did not, the third wakes the reader.
//!
//! On a preemptible kernel a task may be put aside inside a hook, and until it goes on
//! the kernel does not run that hook for anybody else on the processor. A reader that
//! is woken runs at once, so that whoever wakes it is put aside: the third hook does
//! nothing else, and may be left out without harm.
//!
//! The hook that was attached last runs first, so that these are attached before the
//! other.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::fexit, programs::FExitContext};
use tcpstate_common::record::{Counter, call};

use super::calls::{self, BIND, CONNECT, Function, LISTEN};
use crate::{
    error::{Skip, finish},
    maps::{self, FAILED, REPORTED},
    output,
    probes::calls::{is_final, report_briefly},
};

/// Both hooks at the return of a function.
macro_rules! behind {
    ($second:ident, $waker:ident, $text:literal, $function:expr) => {
        #[fexit(function = $text)]
        pub(crate) fn $second(ctx: FExitContext) -> i32 {
            finish(try_second(&ctx, &$function));
            0
        }

        #[fexit(function = $text)]
        pub(crate) fn $waker(ctx: FExitContext) -> i32 {
            finish(try_wake(&ctx, &$function));
            0
        }
    };
}

behind!(inet_bind_second, inet_bind_waker, "inet_bind", BIND);
behind!(inet6_bind_second, inet6_bind_waker, "inet6_bind", BIND);
behind!(inet_listen_second, inet_listen_waker, "inet_listen", LISTEN);
behind!(
    inet_stream_connect_second,
    inet_stream_connect_waker,
    "inet_stream_connect",
    CONNECT
);

/// What [`REPORTED`] says of a call: there is something to wake the reader for.
const WRITTEN: u32 = 1;
/// There is not.
const NOT_WRITTEN: u32 = 2;

/// Notes for the hooks behind what became of the current thread's failed call: what
/// was counted, or found no room in the ring buffer, need not be tried again.
#[inline(always)]
pub(super) fn note(reported: &Result<(), Skip>) {
    let note = match reported {
        Ok(()) => WRITTEN,
        Err(Skip::Full | Skip::Counted) => NOT_WRITTEN,
        Err(_) => return,
    };
    // A full map forgets its least recently used entry.
    let _ = REPORTED.insert(bpf_get_current_pid_tgid(), note, 0);
}

#[inline(always)]
fn try_second(ctx: &FExitContext, function: &Function) -> Result<(), Skip> {
    if !has_failed(ctx, function)? || REPORTED.get_ptr(bpf_get_current_pid_tgid()).is_some() {
        return Err(Skip::NotWanted);
    }
    let (in_flight, returned) = calls::returned(ctx, function)?;
    let reported = report_briefly(&in_flight, &returned);
    note(&reported);
    // A call that is only counted is not lost either.
    if matches!(reported, Ok(()) | Err(Skip::Counted)) {
        maps::count(Counter::MadeUpFor);
    }
    reported
}

/// Wakes the reader after a call that was reported, with a record that it never sees.
#[inline(always)]
fn try_wake(ctx: &FExitContext, function: &Function) -> Result<(), Skip> {
    let thread = bpf_get_current_pid_tgid();
    if !has_failed(ctx, function)? {
        return Err(Skip::NotWanted);
    }
    let Some(note) = REPORTED.get_ptr(thread) else {
        return Err(Skip::NotWanted);
    };
    // SAFETY: a value of this map, and nobody else has this thread's key.
    let is_written = unsafe { *note == WRITTEN };
    let _ = REPORTED.remove(thread);
    if is_written && let Some(entry) = FAILED.reserve::<u64>(0) {
        entry.discard(output::AT_ONCE);
    }
    Ok(())
}

#[inline(always)]
fn has_failed(ctx: &FExitContext, function: &Function) -> Result<bool, Skip> {
    let errno = calls::errno(ctx, function)?;
    Ok(errno != 0 && (function.call != call::CONNECT || is_final(errno)))
}
