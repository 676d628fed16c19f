//! The whole bind bucket of a port, at the instant at which a call failed.
//!
//! What changes on the way (how many are recorded, how many may still be
//! looked at) lives in the record and not in registers: the verifier then has
//! one state per step instead of one per combination.

use tcpstate_common::{
    offsets::MISSING,
    record::{FailedCallRecord, HolderWire, MAX_HOLDERS, WalkStatus},
};

use crate::{
    bucket::{self, Bucket},
    error::Stop,
    globals::offset,
    memory::{Addr, read, read_addr},
    sock::{self, Common, state},
};

/// Steps of one walk; a step looks at one socket or enters one list. The
/// verifier of Linux 5.10 follows this many within its limit of a million
/// instructions with a wide margin.
const MAX_STEPS: u32 = 256;
/// Sockets of one local address that are looked at. TIME_WAITs come at the
/// head of a list: without this a busy address would hide the listener of
/// another one.
const MAX_PER_ADDRESS: u16 = 192;
/// Mini-sockets that are recorded. One is like the other; a listener or a
/// connection behind 30,000 of them says more.
const MAX_MINIS: u8 = 16;

/// Walks the bucket of `port` in the namespace at `net` into `record`,
/// without the socket `failing` itself.
///
/// # Safety
///
/// `record` is valid for reads and writes, its counters are 0.
#[inline(always)]
pub(crate) unsafe fn walk(
    record: *mut FailedCallRecord,
    net: Addr,
    port: u16,
    failing: Addr,
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
        let counters = Counters::of(record);
        match collect(record, counters, bucket, failing) {
            Ok(true) => {}
            Ok(false) => counters.miss(),
            Err(_) => return WalkStatus::Failed,
        }
        fill(record, counters, port, netns);
        counters.status()
    }
}

/// First pass: which sockets to record; their addresses wait in the cookies of
/// their places. Two passes, because the verifier follows the long one once
/// per step. Returns whether the end was reached.
#[inline(always)]
unsafe fn collect(
    record: *mut FailedCallRecord,
    counters: Counters,
    bucket: Addr,
    failing: Addr,
) -> Result<bool, Stop> {
    let first = bucket::first_node(bucket)?;
    let (mut address, mut node) = if bucket::has_second_level() {
        (first, 0)
    } else {
        (0, first)
    };
    counters.start_address();
    for _ in 0..MAX_STEPS {
        if node == 0 {
            if address == 0 {
                return Ok(true);
            }
            node = bucket::second_level_owners(bucket::second_level(address))?;
            address = read_addr(address)?;
            counters.start_address();
            continue;
        }
        let sk = bucket::owner(node);
        node = read_addr(node)?;
        if counters.is_address_done() {
            counters.miss();
            node = 0;
            continue;
        }
        if sk == failing {
            continue;
        }
        let state: u8 = read(sk + u64::from(offset!(skc_state)))?;
        match counters.next(state == state::TIME_WAIT) {
            // SAFETY: `index` is below `MAX_HOLDERS`.
            Some(index) => unsafe { (*holder(record, index)).socket.cookie = sk },
            None => counters.miss(),
        }
    }
    Ok(false)
}

/// Second pass: from addresses to what user space reads. A socket that went in
/// between has given its port back, or its memory is another's: it is left
/// with no family.
#[inline(always)]
unsafe fn fill(record: *mut FailedCallRecord, counters: Counters, port: u16, netns: u32) {
    for index in 0..MAX_HOLDERS {
        if index >= counters.recorded() {
            return;
        }
        // SAFETY: `index` is below `MAX_HOLDERS`.
        let to = unsafe { holder(record, index) };
        // SAFETY: written by the first pass.
        let sk = unsafe { (*to).socket.cookie };
        let mut common = Common::empty();
        let is_there = common.fill(sk).is_ok() && common.local_port() == port;
        // SAFETY: a place in the record.
        let is_written = is_there
            && unsafe { sock::write_holder(to, sk, &common, common.cookie(), netns) }.is_ok();
        if !is_written {
            // SAFETY: as above.
            unsafe { (*to).socket.family = 0 };
            counters.miss();
        }
    }
}

#[inline(always)]
unsafe fn holder(record: *mut FailedCallRecord, index: usize) -> *mut HolderWire {
    // SAFETY: the caller vouches for `record` and for `index`.
    unsafe { (&raw mut (*record).holders).cast::<HolderWire>().add(index) }
}

/// The counters of a walk, kept in fields of the record that are free until it
/// is submitted.
#[derive(Clone, Copy)]
struct Counters {
    recorded: *mut u16,
    visited: *mut u16,
    minis: *mut u8,
    missed: *mut u8,
    left: *mut u16,
}

impl Counters {
    #[inline(always)]
    unsafe fn of(record: *mut FailedCallRecord) -> Self {
        // SAFETY: the caller vouches for `record`; only addresses are taken.
        unsafe {
            Self {
                recorded: &raw mut (*record).recorded,
                visited: &raw mut (*record).visited,
                minis: &raw mut (*record).reserved,
                missed: &raw mut (*record).walk,
                left: &raw mut (*record).call.head.reserved,
            }
        }
    }

    #[inline(always)]
    fn start_address(self) {
        // SAFETY: a field of the record; volatile, so that the verifier sees
        // memory and not a value that it knows. The same for all below.
        unsafe { self.left.write_volatile(MAX_PER_ADDRESS) };
    }

    #[inline(always)]
    fn is_address_done(self) -> bool {
        // SAFETY: as above.
        unsafe {
            let left = self.left.read_volatile();
            self.left.write_volatile(left.wrapping_sub(1));
            left == 0
        }
    }

    #[inline(always)]
    fn recorded(self) -> usize {
        // SAFETY: as above.
        usize::from(unsafe { self.recorded.read_volatile() })
    }

    /// Notes that a socket is not in the record.
    #[inline(always)]
    fn miss(self) {
        // SAFETY: as above.
        unsafe { self.missed.write_volatile(1) };
    }

    /// Where the next holder goes, if there is room for its kind.
    #[inline(always)]
    fn next(self, is_mini: bool) -> Option<usize> {
        // SAFETY: as above.
        unsafe {
            self.visited
                .write_volatile(self.visited.read_volatile().wrapping_add(1));
            let minis = self.minis.read_volatile();
            if is_mini && minis >= MAX_MINIS {
                return None;
            }
            let index = self.recorded.read_volatile();
            if usize::from(index) >= MAX_HOLDERS {
                return None;
            }
            if is_mini {
                self.minis.write_volatile(minis.wrapping_add(1));
            }
            self.recorded.write_volatile(index + 1);
            Some(usize::from(index))
        }
    }

    #[inline(always)]
    fn status(self) -> WalkStatus {
        // SAFETY: as above.
        if unsafe { self.missed.read_volatile() } == 0 {
            WalkStatus::Complete
        } else {
            WalkStatus::Truncated
        }
    }
}
