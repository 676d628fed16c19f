//! The whole bind bucket of a port, at the instant at which a call failed.
//!
//! One step of the walk, and the copying of one holder, are global functions:
//! the verifier follows such a function once, by itself, and not once per
//! round of the loop that calls it. Up to Linux 5.11 it hands them nothing but
//! numbers, so what they work on lies in [`SCRATCH`].

use tcpstate_common::{
    offsets::MISSING,
    record::{FailedCallRecord, HolderWire, MAX_HOLDERS, MAX_PER_ADDRESS, WalkStatus},
};

use crate::{
    bucket::{self, Bucket},
    error::Skip,
    globals::offset,
    holder,
    maps::SCRATCH,
    memory::{Addr, read, read_addr},
    scratch::{Scratch, Walk},
    sock::{Common, SockCommon as _, state},
};

/// Steps of one walk; a step visits one socket or enters one list. 60 µs at
/// most, which the failing call waits.
const MAX_STEPS: u32 = 256;
/// Mini-sockets that are recorded. One is like the other; a listener or a
/// connection behind 30,000 of them says more.
const MAX_MINIS: u8 = 16;

/// What [`walk_step`] returns: there may be more.
const CONTINUE: u64 = 0;
/// That was the last one.
const END: u64 = 1;
/// Kernel memory could not be read.
const FAILED: u64 = 2;

/// The two sockets that a walk passes over.
pub(crate) struct Exempt {
    /// That of the failed call.
    pub(crate) failing: Addr,
    /// The one that the kernel conflict over; 0: not known.
    pub(crate) conflict: Addr,
}

/// Walks the bucket of `port` in the namespace at `net` into the record,
/// without the failing socket itself; the one that the kernel conflict over comes
/// first.
///
/// # Safety
///
/// `scratch` is this CPU's [`SCRATCH`], and the record's counters are 0.
#[inline(always)]
pub(crate) unsafe fn walk(
    scratch: *mut Scratch,
    net: Addr,
    port: u16,
    exempt: &Exempt,
    outside_vrf: bool,
    netns: u32,
) -> WalkStatus {
    if offset!(net_death_row) == MISSING
        || offset!(tb_node) == MISSING
        || (offset!(tb_owners) == MISSING && offset!(tb_bhash2) == MISSING)
    {
        return WalkStatus::Failed;
    }
    let bucket = match bucket::find(net, port, outside_vrf) {
        Ok(Bucket::At(bucket)) => bucket,
        Ok(Bucket::None) => return WalkStatus::NoBucket,
        Ok(Bucket::Unknown) | Err(_) => return WalkStatus::Failed,
    };
    // SAFETY: as the caller says.
    unsafe {
        (*scratch).record.admits_reuseaddr = bucket::admits_reuseaddr(bucket);
        bucket::write_sharing(&raw mut (*scratch).record.sharing, bucket);
    }
    let Ok(first) = bucket::first_node(bucket) else {
        return WalkStatus::Failed;
    };
    let (address, node) = if bucket::has_second_level() {
        (first, 0)
    } else {
        (0, first)
    };
    // SAFETY: as the caller says; the functions called here see this CPU's
    // scratch, too: a tracepoint's program is not moved and not nested.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        walk.write(Walk {
            address,
            node,
            failing: exempt.failing,
            conflict: exempt.conflict,
            netns,
            port,
            left: MAX_PER_ADDRESS,
            minis: 0,
            missed: 0,
            reserved: [0; 6],
        });
        if exempt.conflict != 0 {
            let record = &raw mut (*scratch).record;
            (*holder_at(record, 0)).socket.cookie = exempt.conflict;
            (*record).recorded = 1;
            (*record).visited = 1;
        }
        match collect() {
            END => {}
            CONTINUE => (*walk).missed = 1,
            _ => return WalkStatus::Failed,
        }
        for index in 0..MAX_HOLDERS as u64 {
            if walk_fill(index) == END {
                break;
            }
        }
        if (&raw const (*walk).missed).read_volatile() == 0 {
            WalkStatus::Complete
        } else {
            WalkStatus::Truncated
        }
    }
}

/// Puts the socket at `sk` into a record that no walk has filled; one that has given
/// the port back is left out.
///
/// # Safety
///
/// `record` is valid for writes, and its counters are 0.
#[inline(always)]
pub(crate) unsafe fn write_alone(
    record: *mut FailedCallRecord,
    sk: Addr,
    common: &mut Common,
    port: u16,
    netns: u32,
) {
    if common.fill(sk).is_err() || common.local_port() != port {
        return;
    }
    // SAFETY: the caller vouches for `record`.
    unsafe {
        let to = holder_at(record, 0);
        if holder::write(to, sk, common, common.cookie(), netns).is_ok() {
            (*to).is_tripped_over = 1;
            (*record).recorded = 1;
            (*record).visited = 1;
        }
    }
}

/// First pass: which sockets to record.
#[inline(always)]
fn collect() -> u64 {
    for _ in 0..MAX_STEPS {
        match walk_step() {
            CONTINUE => {}
            end => return end,
        }
    }
    CONTINUE
}

/// One step of the first pass. The address of a socket to record waits in the
/// cookie of its slot.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_step() -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return FAILED;
    };
    // SAFETY: this CPU's scratch, and nobody else has it.
    unsafe { step(scratch) }.unwrap_or(FAILED)
}

/// # Safety
///
/// `scratch` is this CPU's, and nobody else has it.
#[inline(always)]
unsafe fn step(scratch: *mut Scratch) -> Result<u64, Skip> {
    // SAFETY: the caller vouches for `scratch`.
    let (record, walk) = unsafe { (&raw mut (*scratch).record, &mut (*scratch).walk) };
    if walk.node == 0 {
        if walk.address == 0 {
            return Ok(END);
        }
        walk.node = bucket::second_level_owners(bucket::second_level(walk.address))?;
        walk.address = read_addr(walk.address)?;
        walk.left = MAX_PER_ADDRESS;
        return Ok(CONTINUE);
    }
    if walk.left == 0 {
        walk.missed = 1;
        walk.node = 0;
        return Ok(CONTINUE);
    }
    walk.left -= 1;
    let sk = bucket::owner(walk.node);
    walk.node = read_addr(walk.node)?;
    if sk == walk.failing || sk == walk.conflict {
        return Ok(CONTINUE);
    }
    let state: u8 = read(sk + u64::from(offset!(skc_state)))?;
    let is_mini = state == state::TIME_WAIT;
    // SAFETY: a record in the scratch; `recorded` is checked.
    unsafe {
        (*record).visited = (*record).visited.wrapping_add(1);
        let index = usize::from((*record).recorded);
        if index >= MAX_HOLDERS || (is_mini && walk.minis >= MAX_MINIS) {
            walk.missed = 1;
            return Ok(CONTINUE);
        }
        (*holder_at(record, index)).socket.cookie = sk;
        (*record).recorded = index as u16 + 1;
    }
    walk.minis += u8::from(is_mini);
    Ok(CONTINUE)
}

/// One step of the second pass: from an address to what user space reads. A
/// socket that went in between has given its port back, or its memory is
/// another's: it is left with no family.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_fill(index: u64) -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return END;
    };
    // SAFETY: this CPU's scratch, and nobody else has it.
    let (record, walk, common) = unsafe {
        (
            &raw mut (*scratch).record,
            &mut (*scratch).walk,
            &mut (*scratch).common,
        )
    };
    // SAFETY: as above.
    let recorded = unsafe { (*record).recorded };
    if index >= MAX_HOLDERS as u64 || index >= u64::from(recorded) {
        return END;
    }
    // SAFETY: `index` is below `MAX_HOLDERS`.
    let to = unsafe { holder_at(record, index as usize) };
    // SAFETY: written by the first pass.
    let sk = unsafe { (*to).socket.cookie };
    let is_there = common.fill(sk).is_ok() && common.local_port() == walk.port;
    // SAFETY: a slot of the record.
    let is_written =
        is_there && unsafe { holder::write(to, sk, common, common.cookie(), walk.netns) }.is_ok();
    // SAFETY: as above.
    unsafe {
        if !is_written {
            (*to).socket.family = 0;
            walk.missed = 1;
        } else if sk == walk.conflict {
            (*to).is_tripped_over = 1;
        }
    }
    CONTINUE
}

/// # Safety
///
/// `record` is valid for writes, and `index` is below [`MAX_HOLDERS`].
#[inline(always)]
unsafe fn holder_at(record: *mut FailedCallRecord, index: usize) -> *mut HolderWire {
    // SAFETY: the caller vouches for `record` and for `index`.
    unsafe { (&raw mut (*record).holders).cast::<HolderWire>().add(index) }
}
