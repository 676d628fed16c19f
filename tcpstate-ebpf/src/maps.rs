//! Maps: where records go, what is remembered between hooks, what is counted.
//! Every map has a fixed size and a stated behaviour when it is full.

use aya_ebpf::{
    bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_map_type},
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use tcpstate_common::{
    config::ListenerKey,
    record::{self, Counter, RepeatKey, RepeatWire, SOCKADDR_LEN, TaskWire, UserKey, UserWire},
};

use crate::{holders::Scratch, probes::function::time_wait::Going};

/// 16 MiB: 115,000 state records, about half a second of a machine that opens
/// and closes 50,000 connections a second. Full: records are counted and lost.
const EVENTS_BYTES: u32 = 16 << 20;
/// 4 MiB: 1,360 failed calls, more than may be told at once. They have it for
/// themselves, so that no other record pushes them out. Full: they are counted.
const FAILED_BYTES: u32 = 4 << 20;
/// Kinds of failed calls whose repetitions are counted. User space takes out those that
/// have come to rest. Full: what is new goes by its user's share alone.
const MAX_REPEATS: u32 = 4_096;
/// Users whose failed calls are counted, for each call. Full: a further one's go by the
/// share of all, and what is beyond it is lost and counted.
const MAX_USERS: u32 = 1_024;
/// Threads inside bind, listen or connect at one time. Full: the call goes
/// unreported and is counted.
const MAX_IN_FLIGHT: u32 = 8_192;
/// Sockets between the making of their mini-socket and their last transition,
/// which is microseconds. Full: the least recently used is forgotten, and its
/// TIME_WAIT is found by the next look.
const MAX_BORN: u32 = 4_096;
/// Conflicts found between the comparison and the call's return. Full: the least
/// recently used is forgotten, and its call names no single socket.
const MAX_TRIPPED: u32 = 1_024;
/// Threads inside an `io_uring` request at one time. Full: the least recently used
/// is forgotten, and its call counts as a system call.
const MAX_IO_URING: u32 = 4_096;
/// Threads between the hooks behind a call that has failed. Full: the least recently
/// used is forgotten, and its call is reported twice.
const MAX_REPORTED: u32 = 8_192;
/// Sockets between `connect` and the peer's answer whose port was chosen for them.
/// Full: the least recently used is forgotten, and nobody is named for its
/// connection.
const MAX_CONNECTING: u32 = 4_096;
/// Sockets of the watched processes. Full: the least recently used is forgotten.
const MAX_WATCHED: u32 = 65_536;
/// Listening (process, namespace, port). Full: the least recently used is
/// forgotten, and its accepts are reported as somebody else's.
const MAX_LISTENERS: u32 = 4_096;

/// Records for user space.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

/// [`FailedCallRecord`](record::FailedCallRecord)s for user space, which reads these first.
#[map]
pub(crate) static FAILED: RingBuf = RingBuf::with_byte_size(FAILED_BYTES, 0);

/// How often which call has failed. Not one that forgets by itself: what is counted
/// here and was not told stays until user space has taken it.
#[map]
pub(crate) static REPEATS: HashMap<RepeatKey, RepeatWire> =
    HashMap::with_max_entries(MAX_REPEATS, 0);

/// What each user's failed calls use of what is told.
#[map]
pub(crate) static USERS: HashMap<UserKey, UserWire> = HashMap::with_max_entries(MAX_USERS, 0);

/// When the budget of all failed calls is whole again, by [`record::call`].
#[map]
pub(crate) static BUDGETS: Array<u64> = Array::with_max_entries(4, 0);

/// [`Counter`]s.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(record::COUNTERS, 0);

/// What a call asked for, from its entry to its return, where the entry is hooked;
/// keyed by thread.
#[map]
pub(crate) static IN_FLIGHT: HashMap<u64, InFlight> = HashMap::with_max_entries(MAX_IN_FLIGHT, 0);

/// Where a failed call is put together: too large for the stack.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The mini-socket that was made for a socket, from its making to the socket's
/// last transition.
#[map]
pub(crate) static BORN: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_BORN, 0);

/// The mini-socket that a CPU is about to bring to its end.
#[map]
pub(crate) static GOING: PerCpuArray<Going> = PerCpuArray::with_max_entries(1, 0);

/// The socket that a failing bind or listen trips over, by the socket of the
/// call.
#[map]
pub(crate) static TRIPPED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_TRIPPED, 0);

/// Threads inside a function that carries out an `io_uring` request.
#[map]
pub(crate) static IO_URING: LruHashMap<u64, u32> = LruHashMap::with_max_entries(MAX_IO_URING, 0);

/// Threads whose failed call was reported a moment ago.
#[map]
pub(crate) static REPORTED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(MAX_REPORTED, 0);

/// Who connects a socket that has neither cookie nor port yet.
#[map]
pub(crate) static CONNECTING: LruHashMap<u64, TaskWire> =
    LruHashMap::with_max_entries(MAX_CONNECTING, 0);

/// Cookies of the sockets of the watched processes.
#[map]
pub(crate) static WATCHED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(MAX_WATCHED, 0);

/// Who listens: an accept by anybody else is worth a record. User space adds
/// who listened before the hooks were on.
#[map]
pub(crate) static LISTENERS: LruHashMap<ListenerKey, u64> =
    LruHashMap::with_max_entries(MAX_LISTENERS, 0);

/// A listening socket's own cookie, which its accepted children inherit.
#[btf_map]
pub(crate) static ORIGIN: OriginStorage = OriginStorage::new();

/// A call between entry and return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    /// The caller's `struct sockaddr`.
    pub(crate) user_addr: u64,
    /// Descriptor.
    pub(crate) fd: u32,
    /// `tcpstate_common::record::call`.
    pub(crate) call: u16,
    /// Length of the address, at most 65,535.
    pub(crate) addr_len: u16,
    /// The address, where it was read at entry.
    pub(crate) requested: [u8; SOCKADDR_LEN],
    /// Zero.
    pub(crate) reserved: u32,
}

impl InFlight {
    /// No call.
    pub(crate) const NONE: Self = Self {
        user_addr: 0,
        fd: 0,
        call: 0,
        addr_len: 0,
        requested: [0; SOCKADDR_LEN],
        reserved: 0,
    };

    /// A call of which no more is known yet.
    #[inline(always)]
    pub(crate) fn of(call: u8) -> Self {
        let mut in_flight = Self::NONE;
        in_flight.call = u16::from(call);
        in_flight
    }
}

/// Socket storage with `BPF_F_CLONE`, which aya's own type does not offer.
#[repr(C)]
pub(crate) struct OriginStorage {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const u64,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the pointers only carry types for the loader; nobody follows them.
unsafe impl Sync for OriginStorage {}

impl OriginStorage {
    const fn new() -> Self {
        Self {
            r#type: ::core::ptr::null(),
            key: ::core::ptr::null(),
            value: ::core::ptr::null(),
            max_entries: ::core::ptr::null(),
            map_flags: ::core::ptr::null(),
        }
    }

    /// The map's address, as helpers want it.
    pub(crate) fn as_ptr(&self) -> *mut ::core::ffi::c_void {
        ::core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's slot; an interrupt in between can lose one count.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}
