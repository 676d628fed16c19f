//! Maps: where records go, what hooks hand on to each other, what is counted.
//! Every map has a fixed size and a stated behaviour when it is full.

use aya_ebpf::{
    bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_map_type},
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use tcpstate_common::{
    config::ListenerKey,
    record::{self, RepeatKey, RepeatWire, TaskWire, UserKey, UserWire},
};

use crate::{in_flight::InFlight, scratch::Scratch};

/// 16 MiB: 115,000 state records, about half a second of a machine that opens
/// and closes 50,000 connections a second. Full: records are counted and lost.
const EVENTS_BYTES: u32 = 16 << 20;
/// 4 MiB: 1,360 failed calls, more than may be reported at once. They have it to
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
/// which is microseconds. Full: the least recently used is evicted, and its
/// TIME_WAIT is found by the next resync.
const MAX_TW_BY_SOCK: u32 = 4_096;
/// Conflicts found between the comparison and the call's return. Full: the least
/// recently used is evicted, and its call names no single socket.
const MAX_CONFLICTS: u32 = 1_024;
/// Threads inside an `io_uring` request at one time. Full: the least recently used
/// is evicted, and its call counts as a system call.
const MAX_IO_URING: u32 = 4_096;
/// Threads between the trailing hooks of a call that has failed. Full: the least recently
/// used is evicted, and its call is reported twice.
const MAX_REPORTED: u32 = 8_192;
/// Sockets between `connect` and the peer's answer whose port was chosen for them.
/// Full: the least recently used is evicted, and nobody is named for its
/// connection.
const MAX_CONNECTING: u32 = 4_096;
/// Sockets of the watched processes. Full: the least recently used is evicted.
const MAX_WATCHED: u32 = 65_536;
/// Listening (process, namespace, port). Full: the least recently used is
/// evicted, and its accepts are reported as somebody else's.
const MAX_LISTENERS: u32 = 4_096;

/// Records for user space.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

/// [`FailedCallRecord`](record::FailedCallRecord)s for user space, which reads these first.
#[map]
pub(crate) static FAILED: RingBuf = RingBuf::with_byte_size(FAILED_BYTES, 0);

/// How often which call has failed. Not an LRU map: what is counted
/// here and was not reported stays until user space has taken it.
#[map]
pub(crate) static REPEATS: HashMap<RepeatKey, RepeatWire> =
    HashMap::with_max_entries(MAX_REPEATS, 0);

/// What each user's failed calls use of what is reported.
#[map]
pub(crate) static USERS: HashMap<UserKey, UserWire> = HashMap::with_max_entries(MAX_USERS, 0);

/// When the budget of all failed calls is whole again, by [`record::call`].
#[map]
pub(crate) static BUDGETS: Array<u64> = Array::with_max_entries(4, 0);

/// One value for each [`record::Counter`].
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
pub(crate) static TW_BY_SOCK: LruHashMap<u64, u64> =
    LruHashMap::with_max_entries(MAX_TW_BY_SOCK, 0);

/// The mini-socket that a CPU is about to bring to its end.
#[map]
pub(crate) static PENDING_KILL: PerCpuArray<PendingKill> = PerCpuArray::with_max_entries(1, 0);

/// The socket that a failing bind or listen conflicts with, by the socket of the
/// call.
#[map]
pub(crate) static CONFLICTS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_CONFLICTS, 0);

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

/// The mini-socket that this CPU is about to bring to its end.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PendingKill {
    /// Address of the mini-socket.
    pub(crate) tw: u64,
    /// `tcpstate_common::record::mini_end`.
    pub(crate) why: u64,
    /// When that was decided, `CLOCK_MONOTONIC`.
    pub(crate) decided_ns: u64,
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
