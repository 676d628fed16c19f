//! `bind`, `listen`, `connect` and `accept` at the return of the functions that
//! do them: whoever called, through a system call, a 32-bit one, `io_uring`, or
//! in the kernel.
//!
//! The address is the kernel's copy, so that nobody can change it in between.
//! What fails before these functions is not about TCP (a bad descriptor, an
//! address that cannot be read), but for the refusals of security modules.

use aya_ebpf::{EbpfContext, macros::fexit, programs::FExitContext};
use tcpstate_common::{
    config::flags,
    offsets::MISSING,
    record::{SOCKADDR_LEN, call, via},
};

use super::{io_uring, reported};
use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::{is_set, offset},
    in_flight::InFlight,
    memory::{Addr, read_addr, read_into, untyped_arg},
    mptcp, owner,
    probes::{
        accept,
        calls::{self, Returned},
    },
    sock,
};

/// What a function's first argument is.
#[derive(Clone, Copy)]
enum First {
    /// `struct socket *`.
    Socket,
    /// `struct sock *`: called for the TCP socket that carries an MPTCP one;
    /// for others the function above it has a hook of its own.
    SubflowOfMptcp,
}

/// A function that does a call.
pub(super) struct Function {
    pub(super) call: u8,
    first: First,
    /// Whether address and length are the next two arguments.
    has_address: bool,
    /// Number of arguments, which user space has checked.
    args: u64,
    /// It may succeed and be followed by what does the call.
    is_refusal: bool,
    /// It has more hooks: see [`trailing`](super::trailing).
    is_followed: bool,
}

/// A hook at the return of a function.
macro_rules! hook {
    ($name:ident, $text:literal, $function:expr) => {
        #[fexit(function = $text)]
        pub(crate) fn $name(ctx: FExitContext) -> i32 {
            finish(try_call(&ctx, &$function));
            0
        }
    };
}

hook!(inet_bind, "inet_bind", BIND);
hook!(inet6_bind, "inet6_bind", BIND);
hook!(inet_bind_sk, "inet_bind_sk", of_mptcp(BIND));
hook!(inet6_bind_sk, "inet6_bind_sk", of_mptcp(BIND));
hook!(inet_listen, "inet_listen", LISTEN);
hook!(__inet_listen_sk, "__inet_listen_sk", of_mptcp(LISTEN));
hook!(inet_stream_connect, "inet_stream_connect", CONNECT);
hook!(
    mptcp_stream_connect,
    "mptcp_stream_connect",
    Function {
        is_followed: false,
        ..CONNECT
    }
);
hook!(security_socket_bind, "security_socket_bind", refusal(BIND));
hook!(
    security_socket_listen,
    "security_socket_listen",
    refusal(LISTEN)
);
hook!(
    security_socket_connect,
    "security_socket_connect",
    refusal(Function { args: 3, ..CONNECT })
);

pub(super) const BIND: Function = Function {
    call: call::BIND,
    first: First::Socket,
    has_address: true,
    args: 3,
    is_refusal: false,
    is_followed: true,
};

pub(super) const LISTEN: Function = Function {
    call: call::LISTEN,
    first: First::Socket,
    has_address: false,
    args: 2,
    is_refusal: false,
    is_followed: true,
};

pub(super) const CONNECT: Function = Function {
    call: call::CONNECT,
    first: First::Socket,
    has_address: true,
    args: 4,
    is_refusal: false,
    is_followed: true,
};

const fn of_mptcp(function: Function) -> Function {
    Function {
        first: First::SubflowOfMptcp,
        is_followed: false,
        ..function
    }
}

const fn refusal(function: Function) -> Function {
    Function {
        is_refusal: true,
        is_followed: false,
        ..function
    }
}

/// `struct sock *inet_csk_accept(sk, …)`.
#[fexit(function = "inet_csk_accept")]
pub(crate) fn inet_csk_accept(ctx: FExitContext) -> i32 {
    finish(try_accept(&ctx));
    0
}

#[inline(always)]
fn try_call(ctx: &FExitContext, function: &Function) -> Result<(), Skip> {
    let (in_flight, returned) = returned(ctx, function)?;
    if function.is_refusal {
        calls::report_refusal(&in_flight, &returned)
    } else if returned.errno == 0 {
        calls::report_success(&in_flight, &returned)
    } else {
        let reported = calls::report_failure(ctx, &in_flight, &returned);
        if function.is_followed {
            reported::note(&reported);
        }
        reported
    }
}

/// The call that `function` has returned from, if it is to be reported.
#[inline(always)]
pub(super) fn returned(
    ctx: &FExitContext,
    function: &Function,
) -> Result<(InFlight, Returned), Skip> {
    let errno = errno(ctx, function)?;
    let call = function.call;
    let is_unwanted = if errno == 0 {
        function.is_refusal || (call == call::CONNECT && !is_set(flags::REPORT_CONNECTS))
    } else {
        call == call::CONNECT && !calls::is_final(errno)
    };
    if is_unwanted || !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let first = untyped_arg(ctx.as_ptr(), 0)?;
    let sk = match function.first {
        First::Socket => read_addr(first + u64::from(offset!(socket_sk)))?,
        First::SubflowOfMptcp => first,
    };
    if sk == 0 {
        return Err(Skip::NotWanted);
    }
    let is_subflow = is_tcp(sk)? && mptcp::is_subflow(sk);
    let is_reported_elsewhere = match function.first {
        First::SubflowOfMptcp => !is_subflow,
        // Where MPTCP connects, it calls the same function for its subflow.
        First::Socket => call == call::CONNECT && is_subflow,
    };
    if is_reported_elsewhere {
        return Err(Skip::NotWanted);
    }
    let mut in_flight = InFlight::of(call);
    if function.has_address {
        let addr = untyped_arg(ctx.as_ptr(), 1)?;
        let len = untyped_arg(ctx.as_ptr(), 2)? as u32;
        read_address(&mut in_flight, addr, len);
    }
    let returned = Returned {
        call,
        via: via(sk),
        errno,
        sk,
        is_followed: function.is_followed,
    };
    Ok((in_flight, returned))
}

/// The error that a function returns; 0: none.
#[inline(always)]
pub(super) fn errno(ctx: &FExitContext, function: &Function) -> Result<u32, Skip> {
    let result = untyped_arg(ctx.as_ptr(), function.args)? as u32 as i32;
    Ok(if result < 0 { result.unsigned_abs() } else { 0 })
}

#[inline(always)]
fn is_tcp(sk: Addr) -> Result<bool, Skip> {
    Ok(sock::protocol(sk)? == sock::IPPROTO_TCP)
}

/// Copies the kernel's copy of the address; what cannot be read stays zero.
#[inline(always)]
fn read_address(in_flight: &mut InFlight, addr: Addr, len: u32) {
    in_flight.addr_len = if len > 0xffff { 0xffff } else { len as u16 };
    let to = in_flight.requested.as_mut_ptr();
    // SAFETY: both sizes fit the buffer.
    let _ = unsafe {
        if len >= SOCKADDR_LEN as u32 {
            read_into::<{ SOCKADDR_LEN as u32 }>(to, addr)
        } else if len >= 16 {
            read_into::<16>(to, addr)
        } else {
            Ok(())
        }
    };
}

/// How a call on the socket at `sk` came.
#[inline(always)]
fn via(sk: Addr) -> u8 {
    if io_uring::is_inside() {
        via::IO_URING
    } else if owner::is_kernels(sk) {
        via::KERNEL
    } else {
        via::SYSCALL
    }
}

#[inline(always)]
fn try_accept(ctx: &FExitContext) -> Result<(), Skip> {
    if offset!(accept_args) == MISSING || !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let child = untyped_arg(ctx.as_ptr(), u64::from(offset!(accept_args)))?;
    // NULL: it failed.
    if child == 0 {
        return Err(Skip::NotWanted);
    }
    let listener = untyped_arg(ctx.as_ptr(), 0)?;
    accept::report(child, via(listener))
}
