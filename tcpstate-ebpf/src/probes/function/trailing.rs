//! Two more hooks that run after that of the functions whose failures matter most: the second reports a
//! call that the first one did not, the third wakes the reader.
//!
//! On a preemptible kernel a task may be put aside inside a hook, and until it goes on
//! the kernel does not run that hook for anybody else on the processor. A reader that
//! is woken runs at once, so that whoever wakes it is put aside: the third hook does
//! nothing else, and may be left out without harm.
//!
//! The hook that was attached last runs first, so that these are attached before the
//! other.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use tcpstate_common::record::{Counter, call};

use super::{
    calls::{self, BIND, CONNECT, Function, LISTEN},
    reported,
};
use crate::{
    counters::{self, finish},
    error::Skip,
    maps::FAILED,
    output,
    probes::calls::{is_final, report_briefly},
};

/// Both hooks at the return of a function.
macro_rules! trailing {
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

trailing!(inet_bind_second, inet_bind_waker, "inet_bind", BIND);
trailing!(inet6_bind_second, inet6_bind_waker, "inet6_bind", BIND);
trailing!(inet_listen_second, inet_listen_waker, "inet_listen", LISTEN);
trailing!(
    inet_stream_connect_second,
    inet_stream_connect_waker,
    "inet_stream_connect",
    CONNECT
);

#[inline(always)]
fn try_second(ctx: &FExitContext, function: &Function) -> Result<(), Skip> {
    if !has_failed(ctx, function)? || reported::is_noted() {
        return Err(Skip::NotWanted);
    }
    let (in_flight, returned) = calls::returned(ctx, function)?;
    let reported = report_briefly(&in_flight, &returned);
    reported::note(&reported);
    // A call that is only counted is not lost either.
    if matches!(reported, Ok(()) | Err(Skip::Counted)) {
        counters::count(Counter::MadeUpFor);
    }
    reported
}

/// Wakes the reader after a call that was reported, with a record that it never sees.
#[inline(always)]
fn try_wake(ctx: &FExitContext, function: &Function) -> Result<(), Skip> {
    if !has_failed(ctx, function)? {
        return Err(Skip::NotWanted);
    }
    let Some(is_written) = reported::take() else {
        return Err(Skip::NotWanted);
    };
    if is_written && let Some(entry) = FAILED.reserve::<u64>(0) {
        entry.discard(output::FORCE_WAKEUP);
    }
    Ok(())
}

#[inline(always)]
fn has_failed(ctx: &FExitContext, function: &Function) -> Result<bool, Skip> {
    let errno = calls::errno(ctx, function)?;
    Ok(errno != 0 && (function.call != call::CONNECT || is_final(errno)))
}
