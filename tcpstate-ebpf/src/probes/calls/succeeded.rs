//! Calls that have succeeded.

use tcpstate_common::{
    config::ListenerKey,
    record::{CallRecord, Counter, Kind, call},
};

use super::{
    Returned,
    record::{acquire_scratch, release_scratch, target, write_call},
    returned::{code, outcome},
};
use crate::{
    counters,
    error::Skip,
    in_flight::InFlight,
    maps::{EVENTS, LISTENERS, SCRATCH},
    output,
    sock::SockCommon as _,
    task,
};

/// Reports a call that has succeeded.
#[inline(always)]
pub(in crate::probes) fn report_success(
    in_flight: &InFlight,
    returned: &Returned,
) -> Result<(), Skip> {
    acquire_scratch(in_flight)?;
    let code = succeeded_call(returned.sk, returned.packed());
    release_scratch();
    outcome(code)?;
    counters::count(Counter::Written);
    Ok(())
}

/// Writes the record of a call that has succeeded; see [`failed_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn succeeded_call(sk: u64, packed: u64) -> u64 {
    match try_succeeded(&Returned::unpacked(sk, packed)) {
        Ok(()) => 0,
        Err(skip) => code(skip),
    }
}

#[inline(always)]
fn try_succeeded(returned: &Returned) -> Result<(), Skip> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: this CPU's scratch, which was taken.
    let (common, in_flight) = unsafe { (&mut (*scratch).caller, &(*scratch).in_flight) };
    let target = target(returned.sk, in_flight, common)?;
    if returned.call == call::LISTEN {
        let key = ListenerKey {
            tgid: task::tgid(),
            netns: target.netns,
            port: u32::from(common.local_port()),
        };
        // A full map evicts its least recently used entry.
        let _ = LISTENERS.insert(key, common.cookie(), 0);
    }
    let Some(mut entry) = EVENTS.reserve::<CallRecord>(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: reserved memory of this type; every field is written.
    unsafe {
        write_call(
            entry.as_mut_ptr(),
            Kind::Call,
            in_flight,
            returned,
            &target,
            common,
        );
    }
    entry.submit(output::NO_WAKEUP);
    Ok(())
}
