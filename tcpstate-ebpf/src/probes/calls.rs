//! `bind`, `listen`, `connect`: what was asked for, what came of it, and on
//! failure what stood in the way; all at the call's return.
//!
//! Up to Linux 5.14 a program cannot ask for the registers of its task: there
//! the entry is hooked too and remembers the arguments. A thread that is killed
//! inside a call still runs its return tracepoint, so entries do not pile up.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, generated},
    macros::tracepoint,
    programs::TracePointContext,
};
use aya_log_ebpf::warn;
use tcpstate_common::{
    config::{ListenerKey, flags},
    offsets::MISSING,
    record::{
        AF_INET, AF_INET6, CallRecord, Counter, FailedCallRecord, Kind, SOCKADDR_LEN, WalkStatus,
        call, socket_flags, via,
    },
};

use super::function::conflict;
use crate::{
    error::{Stop, finish},
    filter,
    globals::{is_set, offset},
    holders::{self, Pair},
    maps::{self, EVENTS, IN_FLIGHT, InFlight, LISTENERS, SCRATCH},
    memory::{Addr, read},
    output,
    sock::{self, Common, Head as _, IPPROTO_MPTCP, IPPROTO_TCP},
    task,
};

const EINTR: u32 = 4;
const EADDRINUSE: u32 = 98;
const EADDRNOTAVAIL: u32 = 99;
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

/// Word `index` of a system call tracepoint's record: 2 to 7 are the arguments
/// at entry, 2 is the result at return.
#[inline(always)]
pub(super) fn word(ctx: &TracePointContext, index: usize) -> u64 {
    // SAFETY: the tracepoint's record has these words; the verifier checks it.
    unsafe { ctx.as_ptr().cast::<u64>().add(index).read_volatile() }
}

#[inline(always)]
fn try_enter(ctx: &TracePointContext, call: u8) -> Result<(), Stop> {
    if !filter::wants_current() {
        return Err(Stop::NotWanted);
    }
    let mut in_flight = InFlight::now(call);
    in_flight.fd = word(ctx, 2) as u32;
    if call != call::LISTEN {
        in_flight.user_addr = word(ctx, 3);
        let len = word(ctx, 4) as u32;
        in_flight.addr_len = if len > 0xffff { 0xffff } else { len as u16 };
    }
    if call == call::BIND {
        read_address(&mut in_flight);
    }
    IN_FLIGHT
        .insert(bpf_get_current_pid_tgid(), in_flight, 0)
        .map_err(|_| Stop::Forgotten)
}

#[inline(always)]
fn try_exit(ctx: &TracePointContext) -> Result<(), Stop> {
    let result = word(ctx, 2) as i64;
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
                return Err(Stop::NotWanted);
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
            return Err(Stop::NotWanted);
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

/// What the entry of this thread's call has remembered.
#[inline(always)]
fn recall(in_flight: &mut InFlight) -> Result<(), Stop> {
    let key = bpf_get_current_pid_tgid();
    let Some(entry) = IN_FLIGHT.get_ptr(key) else {
        return Err(Stop::NotWanted);
    };
    // SAFETY: a value of this map, and nobody else has this thread's key.
    *in_flight = unsafe { *entry };
    let _ = IN_FLIGHT.remove(key);
    Ok(())
}

/// What this thread's call was made with, if it is to be told at all.
#[inline(always)]
fn fill_from_registers(
    ctx: &TracePointContext,
    result: i64,
    in_flight: &mut InFlight,
) -> Result<(), Stop> {
    let number = word(ctx, 1) as u32;
    let call = if number == offset!(number_of_connect) {
        call::CONNECT
    } else if number == offset!(number_of_bind) {
        call::BIND
    } else {
        call::LISTEN
    };
    // Nearly every call is a connect that succeeds or goes on by itself.
    let is_untold = call == call::CONNECT
        && if result >= 0 {
            !is_set(flags::REPORT_CONNECTS)
        } else {
            !is_final(result.wrapping_neg() as u32)
        };
    if is_untold || !filter::wants_current() {
        return Err(Stop::NotWanted);
    }
    let registers = task::registers();
    let fd: u64 = read(registers + u64::from(offset!(regs_first)))?;
    in_flight.see(call);
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

/// The port that was asked for.
#[inline(always)]
fn requested_port(in_flight: &InFlight) -> u16 {
    u16::from_be_bytes([in_flight.requested[2], in_flight.requested[3]])
}

/// A call that has returned.
pub(super) struct Returned {
    /// [`call`].
    pub(super) call: u8,
    /// [`via`].
    pub(super) via: u8,
    /// 0: it succeeded.
    pub(super) errno: u32,
    /// Its socket.
    pub(super) sk: Addr,
    /// Other hooks follow, of which one wakes the reader if the call has failed.
    pub(super) is_followed: bool,
}

impl Returned {
    /// All but the socket in one word.
    #[inline(always)]
    fn packed(&self) -> u64 {
        u64::from(self.errno) << 32
            | u64::from(self.is_followed) << 16
            | u64::from(self.via) << 8
            | u64::from(self.call)
    }

    #[inline(always)]
    fn unpacked(sk: Addr, packed: u64) -> Self {
        Self {
            call: packed as u8,
            via: (packed >> 8) as u8,
            errno: (packed >> 32) as u32,
            sk,
            is_followed: packed >> 16 & 1 == 1,
        }
    }
}

/// The socket of a call, if it is a TCP one that is of interest.
struct Target {
    sk: Addr,
    netns: u32,
    protocol: u16,
}

#[inline(always)]
fn target(mut sk: Addr, in_flight: &InFlight, common: &mut Common) -> Result<Target, Stop> {
    common.fill(sk)?;
    if !matches!(common.family(), AF_INET | AF_INET6) {
        return Err(Stop::NotWanted);
    }
    let mut protocol = sock::protocol(sk)?;
    if !matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP) {
        return Err(Stop::NotWanted);
    }
    if protocol == IPPROTO_MPTCP {
        sk = sock::first_subflow(sk)?;
        common.fill(sk)?;
    } else if is_set(flags::HAS_FUNCTION_HOOKS) && sock::is_mptcp(sk) {
        // A function hook meets the TCP socket that carries it.
        protocol = IPPROTO_MPTCP;
    }
    let requested = requested_port(in_flight);
    if !filter::wants_ports(common.local_port(), common.peer_port())
        && !filter::wants_ports(requested, requested)
    {
        return Err(Stop::NotWanted);
    }
    let netns = sock::netns_of(common.net())?;
    if !filter::wants_netns(netns) {
        return Err(Stop::NotWanted);
    }
    filter::watch(common.cookie());
    Ok(Target {
        sk,
        netns,
        protocol,
    })
}

/// What [`failed_call`] and [`succeeded_call`] return besides a status of the
/// walk: no record was written.
const NOT_WANTED: u64 = 100;
const READ: u64 = 101;
const FULL: u64 = 102;
const BUSY: u64 = 103;

#[inline(always)]
fn code(stop: Stop) -> u64 {
    match stop {
        Stop::NotWanted => NOT_WANTED,
        Stop::Read => READ,
        Stop::Full | Stop::Forgotten => FULL,
        Stop::Busy => BUSY,
    }
}

#[inline(always)]
fn outcome(code: u64) -> Result<u64, Stop> {
    match code {
        NOT_WANTED => Err(Stop::NotWanted),
        READ => Err(Stop::Read),
        FULL => Err(Stop::Full),
        BUSY => Err(Stop::Busy),
        status => Ok(status),
    }
}

/// Reports a call that has succeeded.
#[inline(always)]
pub(super) fn report_success(in_flight: &InFlight, returned: &Returned) -> Result<(), Stop> {
    take_scratch(in_flight)?;
    let code = succeeded_call(returned.sk, returned.packed());
    give_scratch_back();
    outcome(code)?;
    maps::count(Counter::Written);
    Ok(())
}

/// Reports a call that has failed, with the bucket of the port that it is about.
#[inline(always)]
pub(super) fn report_failure<C: EbpfContext>(
    ctx: &C,
    in_flight: &InFlight,
    returned: &Returned,
) -> Result<(), Stop> {
    take_scratch(in_flight)?;
    let code = failed_call(returned.sk, returned.packed());
    give_scratch_back();
    let walk = outcome(code)?;
    maps::count(Counter::Written);
    // Rare, and worth a look at the kernel's layout.
    if walk == WalkStatus::Failed as u64 {
        warn!(
            ctx,
            "call {}: the bind bucket could not be walked", returned.call
        );
    }
    Ok(())
}

/// Reports a call that was refused before any port was looked at.
#[inline(always)]
pub(super) fn report_refusal(in_flight: &InFlight, returned: &Returned) -> Result<(), Stop> {
    take_scratch(in_flight)?;
    let code = refused_call(returned.sk, returned.packed());
    give_scratch_back();
    outcome(code)?;
    maps::count(Counter::Written);
    Ok(())
}

/// Takes this CPU's scratch for a call. A function hook keeps its CPU, but a
/// task may be put aside inside it: then there is none for the next one's call.
#[inline(always)]
fn take_scratch(in_flight: &InFlight) -> Result<(), Stop> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Stop::Full);
    };
    // SAFETY: this CPU's scratch.
    unsafe {
        let is_taken = &raw mut (*scratch).is_taken;
        if is_taken.read_volatile() != 0 {
            return Err(Stop::Busy);
        }
        is_taken.write_volatile(1);
        (*scratch).in_flight = *in_flight;
    }
    Ok(())
}

#[inline(always)]
fn give_scratch_back() {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: this CPU's scratch, which is ours.
        unsafe { (&raw mut (*scratch).is_taken).write_volatile(0) };
    }
}

/// Writes the record of a call that has succeeded; see [`failed_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn succeeded_call(sk: u64, packed: u64) -> u64 {
    match try_succeeded(&Returned::unpacked(sk, packed)) {
        Ok(()) => 0,
        Err(stop) => code(stop),
    }
}

#[inline(always)]
fn try_succeeded(returned: &Returned) -> Result<(), Stop> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Stop::Full);
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
        // A full map forgets its least recently used entry.
        let _ = LISTENERS.insert(key, common.cookie(), 0);
    }
    let Some(mut entry) = EVENTS.reserve::<CallRecord>(0) else {
        return Err(Stop::Full);
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
    entry.submit(output::QUIETLY);
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
        Err(stop) => code(stop),
    }
}

/// The same for a call that was refused before any port was looked at.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refused_call(sk: u64, packed: u64) -> u64 {
    match try_failed(&Returned::unpacked(sk, packed), false) {
        Ok(walk) => walk,
        Err(stop) => code(stop),
    }
}

#[inline(always)]
fn try_failed(returned: &Returned, may_walk: bool) -> Result<u64, Stop> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Stop::Full);
    };
    // SAFETY: this CPU's scratch, which was taken.
    let (common, in_flight) = unsafe { (&mut (*scratch).caller, &(*scratch).in_flight) };
    let target = target(returned.sk, in_flight, common)?;
    // SAFETY: as above. Every field is written but the holders from `recorded` on and the
    // arguments from `argv_len` on, which nobody reads.
    unsafe {
        let record = &raw mut (*scratch).record;
        write_failed(record, in_flight, returned, &target, common);
        let port = contested_port(in_flight, returned, common);
        let status = if port == 0 || !may_walk {
            WalkStatus::NotRun
        } else {
            let outside_vrf = common.bound_dev_if() == 0;
            holders::walk(
                scratch,
                common.net(),
                port,
                &Pair {
                    failing: target.sk,
                    tripped: conflict::tripped_over(target.sk),
                },
                outside_vrf,
                target.netns,
            )
        };
        (*record).walk = status as u8;
        let wake = if returned.is_followed {
            output::QUIETLY
        } else {
            output::AT_ONCE
        };
        EVENTS
            .output::<FailedCallRecord>(&*record, wake)
            .map_err(|_| Stop::Full)?;
        Ok(u64::from((*record).walk))
    }
}

/// Reports a call that has failed without its port's bucket, for which there is no
/// room to put it together: user space reads it then.
#[inline(always)]
pub(super) fn report_briefly(in_flight: &InFlight, returned: &Returned) -> Result<(), Stop> {
    let thread = bpf_get_current_pid_tgid();
    IN_FLIGHT
        .insert(thread, in_flight, 0)
        .map_err(|_| Stop::Forgotten)?;
    let code = brief_call(returned.sk, returned.packed());
    let _ = IN_FLIGHT.remove(thread);
    outcome(code)?;
    maps::count(Counter::Written);
    Ok(())
}

/// Writes the record of [`report_briefly`] for the call that this thread has in flight;
/// see [`failed_call`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn brief_call(sk: u64, packed: u64) -> u64 {
    match try_brief(&Returned::unpacked(sk, packed)) {
        Ok(()) => 0,
        Err(stop) => code(stop),
    }
}

#[inline(always)]
fn try_brief(returned: &Returned) -> Result<(), Stop> {
    let Some(entry) = IN_FLIGHT.get_ptr(bpf_get_current_pid_tgid()) else {
        return Err(Stop::Forgotten);
    };
    // SAFETY: a value of this map, and nobody else has this thread's key.
    let in_flight = unsafe { &*entry };
    let mut common = Common::empty();
    let target = target(returned.sk, in_flight, &mut common)?;
    let tripped = conflict::tripped_over(target.sk);
    let Some(mut entry) = EVENTS.reserve::<FailedCallRecord>(0) else {
        return Err(Stop::Full);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written but `sharing` and
    // the holders, arguments and options that nobody reads.
    unsafe {
        write_failed(record, in_flight, returned, &target, &common);
        let port = contested_port(in_flight, returned, &common);
        (*record).walk = if port == 0 {
            WalkStatus::NotRun as u8
        } else {
            WalkStatus::LeftToUser as u8
        };
        if port != 0 && tripped != 0 {
            holders::write_alone(record, tripped, &mut common, port, target.netns);
        }
    }
    entry.submit(output::QUIETLY);
    Ok(())
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
        (*record).padding = [0; 3];
        let uid = sock::uid(target.sk);
        (*record).uid = uid.unwrap_or(0);
        (*record).has_uid = u8::from(uid.is_some());
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

#[inline(always)]
unsafe fn write_call(
    to: *mut CallRecord,
    kind: Kind,
    in_flight: &InFlight,
    returned: &Returned,
    target: &Target,
    common: &Common,
) {
    let port_start = if offset!(net_prot_sock) == MISSING {
        u32::MAX
    } else {
        read(common.net() + u64::from(offset!(net_prot_sock))).unwrap_or(u32::MAX)
    };
    // SAFETY: the caller vouches for `to`.
    unsafe {
        output::write_head(&raw mut (*to).head, kind);
        let socket = &raw mut (*to).socket;
        common.write_to(socket, common.cookie(), target.netns, common.local_port());
        if target.protocol == IPPROTO_MPTCP {
            (*socket).flags |= socket_flags::MPTCP;
        }
        (*to).call = returned.call;
        (*to).via = returned.via;
        (*to).addr_len = in_flight.addr_len;
        (*to).errno = returned.errno;
        (*to).requested = in_flight.requested;
        (*to).unprivileged_port_start = port_start;
        if returned.via == via::KERNEL {
            task::write_nobody(&raw mut (*to).task);
        } else {
            task::write_current(&raw mut (*to).task);
        }
        (*to).entered_ns = in_flight.entered_ns;
    }
}
