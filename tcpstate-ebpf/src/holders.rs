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
    memory::{Addr, read_addr},
    sock::{self, Common, state},
};

/// Steps of one walk; a step looks at one socket or enters one list. The
/// verifier of Linux 5.10 follows this many within its limit of a million
/// instructions with a wide margin.
const MAX_STEPS: u32 = 512;
/// Sockets of one local address that are looked at. TIME_WAITs come at the
/// head of a list: without this a busy address would hide the listener of
/// another one.
const MAX_PER_ADDRESS: u16 = 256;
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
    unsafe { walk_bucket(record, bucket, failing, netns) }.unwrap_or(WalkStatus::Failed)
}

#[inline(always)]
unsafe fn walk_bucket(
    record: *mut FailedCallRecord,
    bucket: Addr,
    failing: Addr,
    netns: u32,
) -> Result<WalkStatus, Stop> {
    let first = bucket::first_node(bucket)?;
    let (mut address, mut node) = if bucket::has_second_level() {
        (first, 0)
    } else {
        (0, first)
    };
    // SAFETY: as the caller says; the same for the blocks below.
    let counters = unsafe { Counters::of(record) };
    counters.start_address();
    for _ in 0..MAX_STEPS {
        if node == 0 {
            if address == 0 {
                return Ok(counters.status());
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
        // SAFETY: as above.
        unsafe { record_owner(record, counters, sk, netns)? };
    }
    Ok(WalkStatus::Truncated)
}

#[inline(always)]
unsafe fn record_owner(
    record: *mut FailedCallRecord,
    counters: Counters,
    sk: Addr,
    netns: u32,
) -> Result<(), Stop> {
    let mut common = Common::empty();
    common.fill(sk)?;
    let is_mini = common.state() == state::TIME_WAIT;
    let Some(index) = counters.next(is_mini) else {
        counters.miss();
        return Ok(());
    };
    // SAFETY: `index` is below `MAX_HOLDERS`.
    unsafe {
        let to = (&raw mut (*record).holders).cast::<HolderWire>().add(index);
        sock::write_holder(to, sk, &common, common.cookie(), netns)
    }
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
