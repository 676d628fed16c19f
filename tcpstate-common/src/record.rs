//! Records that the kernel program writes: to the ring buffer, and, for a
//! snapshot, to the socket iterator's file.

/// Marks `derive`s for safe decoding in user space.
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* } size $size:expr) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

mod budget;
mod counter;
mod failed_call;
mod mini_socket;
mod reset;
mod snapshot;
mod socket;
mod state;
mod system_call;

pub use budget::{
    FAILED_A_SECOND, FAILED_A_SECOND_BY_USER, FAILED_AT_ONCE, FAILED_AT_ONCE_BY_USER,
    FAILED_IN_RESERVE, REPEATS_A_SECOND, RESERVE_A_SECOND_BY_USER, RESERVE_AT_ONCE_BY_USER,
    RepeatKey, RepeatWire, UserKey, UserWire,
};
pub use counter::{COUNTERS, Counter};
pub use failed_call::{
    ARGV_LEN, FailedCallRecord, MAX_HOLDERS, MAX_PER_ADDRESS, ProgramWire, SharingWire, WalkStatus,
    sharing,
};
pub use mini_socket::{MiniRecord, mini_end, mini_event};
pub use reset::{ResetRecord, direction};
pub use snapshot::{OpenSocketRecord, SnapshotRecord};
pub use socket::{AF_INET, AF_INET6, HolderWire, SocketWire, socket_flags, userlocks};
pub use state::{ShortStateRecord, StateRecord, mini, sk_flags};
pub use system_call::{COMM_LEN, CallRecord, SOCKADDR_LEN, TaskWire, call, via};

/// What a record is. The first two bytes of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`StateRecord`].
    State = 1,
    /// [`ResetRecord`].
    Reset = 2,
    /// [`CallRecord`]: a `bind`, `listen`, `connect` or `accept` that succeeded.
    Call = 3,
    /// [`FailedCallRecord`].
    FailedCall = 4,
    /// [`SnapshotRecord`], from an iterator.
    Snapshot = 5,
    /// [`FailedCallRecord`] of which only the head, the walk and the holders
    /// are filled: a port's bind bucket, read on demand.
    Port = 6,
    /// [`MiniRecord`].
    Mini = 7,
    /// [`ShortStateRecord`].
    ShortState = 8,
}

impl Kind {
    /// The kind with this raw value.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::State),
            2 => Some(Self::Reset),
            3 => Some(Self::Call),
            4 => Some(Self::FailedCall),
            5 => Some(Self::Snapshot),
            6 => Some(Self::Port),
            7 => Some(Self::Mini),
            8 => Some(Self::ShortState),
            _ => None,
        }
    }
}

wire! {
    /// Header of every record.
    pub struct RecordHeader {
        /// [`Kind`] as a raw value.
        pub kind: u16,
        /// Zero.
        pub reserved: u16,
        /// The CPU that wrote the record.
        pub cpu: u32,
        /// `CLOCK_MONOTONIC` in nanoseconds (`bpf_ktime_get_ns`).
        pub mono_ns: u64,
    } size 16
}
