//! A port's bind bucket, read on demand. Never attached: user space runs it
//! (`BPF_PROG_TEST_RUN`) with a socket of its own as the guide to the
//! namespace.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tcpstate_common::record::{FailedCallRecord, Kind};

use crate::{
    counters::finish,
    error::Skip,
    maps::{EVENTS, SCRATCH},
    output,
    sock::{self, Common, SockCommon as _},
    task,
    walk::{self, Exempt},
};

/// Arguments: the descriptor of a TCP socket in the namespace that is meant,
/// and the port.
#[raw_tracepoint]
pub(crate) fn port_bucket(ctx: RawTracePointContext) -> i32 {
    finish(try_port(ctx.arg(0), ctx.arg(1)));
    0
}

#[inline(always)]
fn try_port(fd: u64, port: u64) -> Result<(), Skip> {
    let mut common = Common::empty();
    let guide = task::sock_of(fd as u32)?;
    common.fill(guide)?;
    let netns = sock::netns_of(common.net())?;
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: this CPU's scratch: the kernel keeps the program on its CPU, and
    // nothing else of this object runs.
    unsafe {
        let record = &raw mut (*scratch).record;
        output::write_header(&raw mut (*record).call.header, Kind::Port);
        (*record).reserved = 0;
        (*record).recorded = 0;
        (*record).visited = 0;
        (*record).argv_len = 0;
        let outside_vrf = common.bound_dev_if() == 0;
        let status = walk::walk(
            scratch,
            common.net(),
            port as u16,
            &Exempt {
                failing: guide,
                conflict: 0,
            },
            outside_vrf,
            netns,
        );
        (*record).walk = status as u8;
        EVENTS
            .output::<FailedCallRecord>(&*record, output::NO_WAKEUP)
            .map_err(|_| Skip::Full)
    }
}
