//! `bind` and `listen` through `io_uring` (Linux 6.11): no system call of that
//! name is made, so failures are taken from the completion of the request.

use aya_ebpf::{EbpfContext, macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::{
    offsets::MISSING,
    record::{AF_INET, AF_INET6, SOCKADDR_LEN, call, via},
};

use super::calls::{self, Returned};
use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::offset,
    in_flight::InFlight,
    memory::{Addr, read, read_addr, read_into, untyped_arg},
    task,
};

/// `enum io_uring_op`: user ABI.
const IORING_OP_BIND: u8 = 56;
const IORING_OP_LISTEN: u8 = 57;
/// `io_uring_cqe.res`: user ABI.
const CQE_RES: u64 = 8;
/// Arguments of the tracepoint since the completion entry is one of them.
const ARGS_WITH_ENTRY: u32 = 3;

#[btf_tracepoint(function = "io_uring_complete")]
pub(crate) fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    finish(try_complete(&ctx));
    0
}

#[inline(always)]
fn try_complete(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let request: Addr = untyped_arg(ctx.as_ptr(), 1)?;
    // Completions that belong to no request have none.
    if request == 0 || offset!(io_kiocb_opcode) == MISSING {
        return Err(Skip::NotWanted);
    }
    let call = match read(request + u64::from(offset!(io_kiocb_opcode)))? {
        IORING_OP_BIND => call::BIND,
        IORING_OP_LISTEN => call::LISTEN,
        _ => return Err(Skip::NotWanted),
    };
    let result: i32 = if offset!(io_uring_complete_args) == ARGS_WITH_ENTRY {
        read(untyped_arg(ctx.as_ptr(), 2)? + CQE_RES)?
    } else {
        untyped_arg(ctx.as_ptr(), 3)? as i32
    };
    if result >= 0 || !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let mut in_flight = InFlight::of(call);
    if call == call::BIND {
        let addr = address_of(request)?;
        // SAFETY: the buffer is `SOCKADDR_LEN` bytes long; the kernel's copy of
        // the address is longer.
        unsafe { read_into::<{ SOCKADDR_LEN as u32 }>(in_flight.requested.as_mut_ptr(), addr)? };
        in_flight.addr_len = if read::<u16>(addr)? == AF_INET6 {
            SOCKADDR_LEN as u16
        } else {
            16
        };
    }
    let file = read_addr(request + u64::from(offset!(io_kiocb_file)))?;
    let returned = Returned {
        call,
        via: via::IO_URING,
        errno: result.wrapping_neg() as u32,
        sk: task::sock_of_file(file)?,
        is_followed: false,
    };
    calls::report_failure(ctx, &in_flight, &returned)
}

/// The kernel's copy of a bind's address: an `io_async_msghdr` has it or, on
/// later kernels, it lies there alone. A message begins with a pointer, which
/// no family's number can be taken for.
#[inline(always)]
fn address_of(request: Addr) -> Result<Addr, Skip> {
    let data = read_addr(request + u64::from(offset!(io_kiocb_async_data)))?;
    Ok(match read(data)? {
        AF_INET | AF_INET6 => data,
        _ => data + u64::from(offset!(io_async_msghdr_addr)),
    })
}
