//! Calls that have failed, with what stood in their way.

use aya_ebpf::{EbpfContext, helpers::bpf_get_current_pid_tgid};
use aya_log_ebpf::warn;
use tcpstate_common::record::{Counter, FailedCallRecord, Kind, RepeatKey, WalkStatus, call, via};

use super::{
    Returned,
    record::{Target, acquire_scratch, release_scratch, requested_port, target, write_call},
    returned::{code, outcome},
};
use crate::{
    conflicts, counters,
    error::Skip,
    flood,
    in_flight::InFlight,
    maps::{FAILED, IN_FLIGHT, SCRATCH},
    output, owner,
    sock::{Common, SockCommon as _},
    task,
    walk::{self, Exempt},
};

const EADDRINUSE: u32 = 98;
const EADDRNOTAVAIL: u32 = 99;

/// Reports a call that has failed, with the bucket of the port that it is about.
#[inline(always)]
pub(in crate::probes) fn report_failure<C: EbpfContext>(
    ctx: &C,
    in_flight: &InFlight,
    returned: &Returned,
) -> Result<(), Skip> {
    acquire_scratch(in_flight)?;
    let code = failed_call(returned.sk, returned.packed());
    release_scratch();
    let walk = outcome(code)?;
    count_written();
    // Rare, and a hint at a layout that was not understood.
    if walk == WalkStatus::Failed as u64 {
        warn!(
            ctx,
            "call {}: the bind bucket could not be walked", returned.call
        );
    }
    Ok(())
}

/// Reports a call that was refused before any port was checked.
#[inline(always)]
pub(in crate::probes) fn report_refusal(
    in_flight: &InFlight,
    returned: &Returned,
) -> Result<(), Skip> {
    acquire_scratch(in_flight)?;
    let code = refused_call(returned.sk, returned.packed());
    release_scratch();
    outcome(code)?;
    count_written();
    Ok(())
}

/// Writes the record of a call that has failed; gives the status of the walk.
/// One copy for all programs that report calls; what it needs of the call lies
/// in the scratch, since up to Linux 5.11 such a function is handed nothing but
/// numbers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn failed_call(sk: u64, packed: u64) -> u64 {
    match try_failed(&Returned::unpacked(sk, packed), true) {
        Ok(walk) => walk,
        Err(skip) => code(skip),
    }
}

/// The same for a call that was refused before any port was checked.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refused_call(sk: u64, packed: u64) -> u64 {
    match try_failed(&Returned::unpacked(sk, packed), false) {
        Ok(walk) => walk,
        Err(skip) => code(skip),
    }
}

#[inline(always)]
fn try_failed(returned: &Returned, may_walk: bool) -> Result<u64, Skip> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: this CPU's scratch, which was taken.
    let (common, in_flight) = unsafe { (&mut (*scratch).caller, &(*scratch).in_flight) };
    let target = target(returned.sk, in_flight, common)?;
    let key = repeat_key(in_flight, returned, &target, common);
    let is_counted = flood::check(&key, returned.via == via::KERNEL)?;
    // SAFETY: as above. Every field is written but the holders from `recorded` on and the
    // arguments from `argv_len` on, which nobody reads.
    unsafe {
        let record = &raw mut (*scratch).record;
        write_failed(record, in_flight, returned, &target, common);
        flood::begin_to_count(record, &raw mut (*scratch).first, &key, is_counted);
        let port = contested_port(in_flight, returned, common);
        let status = if port == 0 || !may_walk {
            WalkStatus::NotRun
        } else {
            let outside_vrf = common.bound_dev_if() == 0;
            walk::walk(
                scratch,
                common.net(),
                port,
                &Exempt {
                    failing: target.carrier.sk,
                    conflict: conflicts::take(target.carrier.sk),
                },
                outside_vrf,
                target.netns,
            )
        };
        (*record).walk = status as u8;
        let wake = if returned.is_followed {
            output::NO_WAKEUP
        } else {
            output::FORCE_WAKEUP
        };
        if FAILED.output::<FailedCallRecord>(&*record, wake).is_err() {
            return Err(not_written((*record).total != 0));
        }
        Ok(u64::from((*record).walk))
    }
}

/// Reports a call that has failed without its port's bucket, for which there is no
/// room to put it together: user space reads it then.
#[inline(always)]
pub(in crate::probes) fn report_briefly(
    in_flight: &InFlight,
    returned: &Returned,
) -> Result<(), Skip> {
    let thread = bpf_get_current_pid_tgid();
    IN_FLIGHT
        .insert(thread, in_flight, 0)
        .map_err(|_| Skip::NotStored)?;
    let code = brief_call(returned.sk, returned.packed());
    let _ = IN_FLIGHT.remove(thread);
    outcome(code)?;
    count_written();
    Ok(())
}

/// Writes the record of [`report_briefly`] for the call that this thread has in flight;
/// see [`failed_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn brief_call(sk: u64, packed: u64) -> u64 {
    match try_brief(&Returned::unpacked(sk, packed)) {
        Ok(()) => 0,
        Err(skip) => code(skip),
    }
}

#[inline(always)]
fn try_brief(returned: &Returned) -> Result<(), Skip> {
    let Some(entry) = IN_FLIGHT.get_ptr(bpf_get_current_pid_tgid()) else {
        return Err(Skip::NotStored);
    };
    // SAFETY: a value of this map, and nobody else has this thread's key.
    let in_flight = unsafe { &*entry };
    let mut common = Common::empty();
    let target = target(returned.sk, in_flight, &mut common)?;
    let key = repeat_key(in_flight, returned, &target, &common);
    let is_counted = flood::check(&key, returned.via == via::KERNEL)?;
    let conflict = conflicts::take(target.carrier.sk);
    let Some(mut entry) = FAILED.reserve::<FailedCallRecord>(0) else {
        return Err(not_written(is_counted));
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written but `sharing` and
    // the holders, arguments and options that nobody reads.
    unsafe {
        write_failed(record, in_flight, returned, &target, &common);
        flood::write_count(record, &key, is_counted);
        let port = contested_port(in_flight, returned, &common);
        (*record).walk = if port == 0 {
            WalkStatus::NotRun as u8
        } else {
            WalkStatus::Deferred as u8
        };
        if port != 0 && conflict != 0 {
            walk::write_alone(record, conflict, &mut common, port, target.netns);
        }
    }
    entry.submit(output::NO_WAKEUP);
    Ok(())
}

/// Why a call that should be reported is not: where its kind is counted, it is in the count.
#[inline(always)]
fn not_written(is_counted: bool) -> Skip {
    if is_counted {
        Skip::Counted
    } else {
        Skip::Full
    }
}

#[inline(always)]
fn count_written() {
    counters::count(Counter::Written);
    counters::count(Counter::WrittenFailed);
}

/// By what this failure is the same as another one.
#[inline(always)]
fn repeat_key(
    in_flight: &InFlight,
    returned: &Returned,
    target: &Target,
    common: &Common,
) -> RepeatKey {
    let tgid = if returned.via == via::KERNEL {
        0
    } else {
        task::tgid()
    };
    // Connects from one port after another to the same peer are different failures.
    let port = match (returned.call, contested_port(in_flight, returned, common)) {
        (call::LISTEN, _) => common.local_port(),
        (_, 0) => requested_port(in_flight),
        (_, contested) => contested,
    };
    RepeatKey {
        tgid,
        netns: target.netns,
        errno: returned.errno,
        port,
        call: returned.call,
        family: common.family() as u8,
    }
}

/// Writes all of a failed call but the walk and what it finds.
///
/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
unsafe fn write_failed(
    record: *mut FailedCallRecord,
    in_flight: &InFlight,
    returned: &Returned,
    target: &Target,
    common: &Common,
) {
    // SAFETY: the caller vouches for `record`.
    unsafe {
        let head = &raw mut (*record).call;
        write_call(head, Kind::FailedCall, in_flight, returned, target, common);
        task::write_lineage(&raw mut (*head).task);
        (*record).walk = 0;
        (*record).reserved = 0;
        (*record).recorded = 0;
        (*record).visited = 0;
        (*record).admits_reuseaddr = 0;
        (*record).padding = [0; 2];
        let uid = owner::uid(target.carrier.sk);
        (*record).uid = uid.unwrap_or(0);
        (*record).has_uid = u8::from(uid.is_some());
        task::write_program(&raw mut (*record).program);
        // A task without readable arguments has none.
        let _ = task::write_argv(
            (&raw mut (*record).argv).cast(),
            &raw mut (*record).argv_len,
        );
    }
}

/// The port whose holders explain the failure; 0: none would.
#[inline(always)]
fn contested_port(in_flight: &InFlight, returned: &Returned, common: &Common) -> u16 {
    match (returned.call, returned.errno) {
        (call::BIND, EADDRINUSE) => requested_port(in_flight),
        (call::LISTEN, EADDRINUSE) | (call::CONNECT, EADDRINUSE | EADDRNOTAVAIL) => {
            common.local_port()
        }
        _ => 0,
    }
}
