//! System calls that failed, with what stood in their way.

use super::{CallRecord, HolderWire, RepeatKey};

/// Bytes of `argv` that a failed call keeps; longer command lines are cut.
pub const ARGV_LEN: usize = 256;
/// Holders that one failed call can carry. A bucket with more is marked as
/// [`WalkStatus::Truncated`] and user space takes a snapshot instead.
pub const MAX_HOLDERS: usize = 32;
/// Sockets of one local address that a walk visits at most. TIME_WAITs come at the
/// head of a list: without this a busy address would hide the listener of
/// another one.
pub const MAX_PER_ADDRESS: u16 = 192;

/// How a walk over the bind bucket ended. Values of [`FailedCallRecord::walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WalkStatus {
    /// The failure does not call for one.
    NotRun = 0,
    /// Every owner of the bucket is in the record.
    Complete = 1,
    /// The bucket has more owners than were visited or fit.
    Truncated = 2,
    /// A field that the walk needs is missing on this kernel, or a read failed.
    Failed = 3,
    /// The port has no bucket (any more).
    NoBucket = 4,
    /// User space reads the bucket: at most the socket in conflict is in the
    /// record.
    Deferred = 5,
}

impl WalkStatus {
    /// The status with this raw value; an unknown one reads as failed.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::NotRun,
            1 => Self::Complete,
            2 => Self::Truncated,
            4 => Self::NoBucket,
            5 => Self::Deferred,
            _ => Self::Failed,
        }
    }
}

wire! {
    /// What the last socket that bound with `SO_REUSEPORT` left in the bind
    /// bucket: who matches it is let in without a look at the other sockets.
    pub struct SharingWire {
        /// `fast_v6_rcv_saddr`, or `fast_rcv_saddr` in the first four bytes.
        pub addr: [u8; 16],
        /// `fastuid`.
        pub uid: u32,
        /// `fast_sk_family`.
        pub family: u16,
        /// `fastreuseport`: [`sharing`].
        pub mode: u8,
        /// `fast_ipv6_only`.
        pub v6only: u8,
    } size 24
}

/// Values of [`SharingWire::mode`]; any other one: nobody.
pub mod sharing {
    /// Whoever sets `SO_REUSEPORT` and is of the same user.
    pub const ANY_ADDRESS: u8 = 1;
    /// Of those the ones whose address is within the one that is kept.
    pub const SAME_ADDRESS: u8 = 2;
}

wire! {
    /// Which process and program made a call. 0: not read.
    pub struct ProgramWire {
        /// `start_boottime` of the process, in nanoseconds since the boot.
        pub start_boottime: u64,
        /// `i_ino` of its executable.
        pub inode: u64,
        /// `s_dev` of the file system that the executable is on: the major number in
        /// the upper 12 bits, the minor one in the lower 20.
        pub dev: u32,
        /// Zero.
        pub reserved: u32,
    } size 24
}

wire! {
    /// A system call on a TCP socket that failed, with what stood in its way.
    pub struct FailedCallRecord {
        /// The call.
        pub call: CallRecord,
        /// [`WalkStatus`].
        pub walk: u8,
        /// Zero.
        pub reserved: u8,
        /// Number of `holders` in use.
        pub recorded: u16,
        /// Number of sockets in the bucket that were visited.
        pub visited: u16,
        /// Bytes of `argv` in use.
        pub argv_len: u16,
        /// `sk_uid` of the socket.
        pub uid: u32,
        /// 1: `uid` was readable.
        pub has_uid: u8,
        /// 1: `fastreuse` of the bucket is positive, so that `bind` lets a socket with
        /// `SO_REUSEADDR` in without a look at the others. Filled where the bucket was found.
        pub admits_reuseaddr: u8,
        /// Zero.
        pub padding: [u8; 2],
        /// Filled where the bucket was found.
        pub sharing: SharingWire,
        /// The task's arguments, separated by NUL, as `/proc/PID/cmdline` has them.
        pub argv: [u8; ARGV_LEN],
        /// The first `recorded` are in use.
        pub holders: [HolderWire; MAX_HOLDERS],
        /// The task's process and program.
        pub program: ProgramWire,
        /// By which it is the same failure as another one.
        pub repeat: RepeatKey,
        /// [`RepeatWire::total`] with this one in it; 0: nobody counts its kind, so that
        /// it stands for itself alone.
        pub total: u64,
        /// [`RepeatWire::began_ns`] of that count.
        pub total_began_ns: u64,
    } size 3064
}
