//! Which failed calls are reported one by one, and what is counted of the others.

use super::{COMM_LEN, CallRecord};

/// Failures of one kind ([`RepeatKey`]) that are reported in one second; what is beyond
/// them is counted. A server that tries again in a loop says nothing new the tenth time.
pub const REPEATS_A_SECOND: u32 = 10;
/// Failed calls of one sort (bind, listen, connect) that are explained in a second for as
/// long as they go on, whoever makes them. What explaining costs is in
/// `docs/performance.md`.
pub const FAILED_A_SECOND: u64 = 200;
/// So many are explained at once before that rate holds: a test suite, or a walk over the
/// ports, is no flood. Fewer than the ring buffer has room for.
pub const FAILED_AT_ONCE: u64 = 1_250;
/// Of that rate, what one user gets: the rest stays for the others.
pub const FAILED_A_SECOND_BY_USER: u64 = 100;
/// So many of one user are explained at once before that rate holds.
pub const FAILED_AT_ONCE_BY_USER: u64 = 1_000;
/// The last of [`FAILED_AT_ONCE`] are kept for users who fail seldom.
pub const FAILED_IN_RESERVE: u64 = 250;
/// What each user gets of them in a second, and at once.
pub const RESERVE_A_SECOND_BY_USER: u64 = 5;
/// See [`RESERVE_A_SECOND_BY_USER`].
pub const RESERVE_AT_ONCE_BY_USER: u64 = 10;

wire! {
    /// By what a failed call is the same as another one; the key of the map of
    /// [`RepeatWire`].
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    pub struct RepeatKey {
        /// Process, in the initial pid namespace; 0: the kernel.
        pub tgid: u32,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// The error number.
        pub errno: u32,
        /// The port that was asked for; for `listen`, and a `connect` that could not have
        /// the local port that it was fixed to, that of the socket.
        pub port: u16,
        /// [`call`].
        pub call: u8,
        /// Low byte of the address family.
        pub family: u8,
    } size 16
}

wire! {
    /// How often a call has failed in the same way.
    pub struct RepeatWire {
        /// Times since `began_ns`, those that were reported among them.
        pub total: u64,
        /// When the first of them failed, `CLOCK_MONOTONIC`.
        pub began_ns: u64,
        /// When the second began in which one was reported last.
        pub second_ns: u64,
        /// How many were reported in it.
        pub in_second: u32,
        /// Zero.
        pub reserved: u32,
        /// The first of them.
        pub call: CallRecord,
    } size 184
}

wire! {
    /// Whose failed calls of a sort these are; the key of the map of [`UserWire`].
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    pub struct UserKey {
        /// Effective user id in the initial user namespace.
        pub uid: u32,
        /// [`call`].
        pub call: u32,
    } size 8
}

wire! {
    /// What a user's failed calls use of what is explained, and what is beyond it.
    pub struct UserWire {
        /// Failures beyond it that no [`RepeatWire`] counts.
        pub over: u64,
        /// When the user's whole budget is there again, `CLOCK_MONOTONIC`: each call that
        /// is explained puts it off by the time in which one comes back.
        pub used_until_ns: u64,
        /// The same of the user's share of the reserve.
        pub reserve_until_ns: u64,
        /// The latest process beyond it, in the initial pid namespace.
        pub pid: u32,
        /// Zero.
        pub reserved: u32,
        /// Its name, padded with NUL.
        pub comm: [u8; COMM_LEN],
    } size 48
}
