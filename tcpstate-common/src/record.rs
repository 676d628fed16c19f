//! Records that the kernel program writes: to the ring buffer, and, for a
//! snapshot, to the socket iterator's file.

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// Bytes of `argv` that a failed call keeps; longer command lines are cut.
pub const ARGV_LEN: usize = 256;
/// Holders that one failed call can carry. A bucket with more is marked as
/// [`WalkStatus::Truncated`] and user space takes a snapshot instead.
pub const MAX_HOLDERS: usize = 32;
/// Sockets of one local address that a walk visits at most. TIME_WAITs come at the
/// head of a list: without this a busy address would hide the listener of
/// another one.
pub const MAX_PER_ADDRESS: u16 = 192;
/// Bytes of a socket address that are kept as they were requested
/// (`struct sockaddr_in6` is the longest that concerns us).
pub const SOCKADDR_LEN: usize = 28;
/// Bytes of a task's `comm`, as in `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

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

/// Bits of [`SocketWire::flags`].
pub mod socket_flags {
    /// `skc_reuse` is 1 (`SO_REUSEADDR`).
    pub const REUSEADDR: u8 = 1 << 0;
    /// `skc_reuse` is 2 (`SK_FORCE_REUSE`, `TCP_REPAIR`).
    pub const FORCE_REUSE: u8 = 1 << 1;
    /// `skc_reuseport` (`SO_REUSEPORT`).
    pub const REUSEPORT: u8 = 1 << 2;
    /// `skc_ipv6only` (`IPV6_V6ONLY`).
    pub const V6ONLY: u8 = 1 << 3;
    /// The socket is a kernel mini-socket (`inet_timewait_sock`): TIME_WAIT or
    /// an orphan FIN_WAIT_2.
    pub const MINI: u8 = 1 << 4;
    /// The call was made on an MPTCP socket (`sk_protocol` 262); the record is
    /// about the TCP socket that carries it.
    pub const MPTCP: u8 = 1 << 5;
    /// The socket is the kernel's own: it never had a descriptor.
    pub const KERNEL: u8 = 1 << 6;
}

/// Bits of [`StateRecord::sk_flags`].
pub mod sk_flags {
    /// `SOCK_DEAD`: no descriptor holds the socket any more.
    pub const DEAD: u8 = 1 << 0;
    /// `SOCK_DONE`: the peer's FIN has come.
    pub const DONE: u8 = 1 << 1;
}

/// Bits of [`HolderWire::userlocks`], as in the kernel's `sk_userlocks`.
pub mod userlocks {
    /// `SOCK_BINDADDR_LOCK`: bound to an address by `bind`.
    pub const BINDADDR: u8 = 4;
    /// `SOCK_BINDPORT_LOCK`: bound to a port by `bind`.
    pub const BINDPORT: u8 = 8;
    /// `SOCK_CONNECT_BIND`: port chosen by `connect` (Linux 6.18 and later).
    pub const CONNECT_BIND: u8 = 16;
}

/// How the search for a mini-socket at a socket's last transition ended.
/// Values of [`StateRecord::mini`].
pub mod mini {
    /// This transition cannot make one; not searched for.
    pub const NOT_SEARCHED: u8 = 0;
    /// The kernel made none: the port is free.
    pub const NONE: u8 = 1;
    /// Found among the connections.
    pub const FOUND: u8 = 2;
    /// The search was given up; the socket's fields say that one was made.
    pub const INFERRED: u8 = 3;
}

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

/// Values of [`CallRecord::call`].
pub mod call {
    /// `bind(2)`.
    pub const BIND: u8 = 1;
    /// `listen(2)`.
    pub const LISTEN: u8 = 2;
    /// `connect(2)`.
    pub const CONNECT: u8 = 3;
    /// `accept(2)`, `accept4(2)`.
    pub const ACCEPT: u8 = 4;
}

/// Values of [`CallRecord::via`].
pub mod via {
    /// A system call's tracepoint.
    pub const SYSCALL: u8 = 1;
    /// An `io_uring` request.
    pub const IO_URING: u8 = 2;
    /// The kernel itself.
    pub const KERNEL: u8 = 3;
}

/// Values of [`ResetRecord::direction`].
pub mod direction {
    /// We sent an RST.
    pub const SENT: u8 = 1;
    /// The kernel handled a received RST.
    pub const RECEIVED: u8 = 2;
}

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

wire! {
    /// A socket's identity and the flags that decide bind conflicts.
    pub struct SocketWire {
        /// The kernel's socket cookie; 0 where it has none.
        pub cookie: u64,
        /// Local address; IPv4 in the first four bytes. Network byte order.
        pub local_addr: [u8; 16],
        /// Peer address; IPv4 in the first four bytes. Network byte order.
        pub peer_addr: [u8; 16],
        /// Local port, host byte order.
        pub local_port: u16,
        /// Peer port, host byte order.
        pub peer_port: u16,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// `AF_INET` or `AF_INET6`.
        pub family: u16,
        /// [`socket_flags`].
        pub flags: u8,
        /// TCP state; for a mini-socket its substate (5 or 6).
        pub state: u8,
        /// `skc_bound_dev_if` (`SO_BINDTODEVICE`); 0: none.
        pub bound_dev_if: u32,
    } size 56
}

wire! {
    /// The task that made a system call.
    pub struct TaskWire {
        /// Process id (`tgid`) in the initial pid namespace; 0: not known.
        pub pid: u32,
        /// Thread id.
        pub tid: u32,
        /// Parent's process id; 0: not captured.
        pub ppid: u32,
        /// Effective user id in the initial user namespace.
        pub uid: u32,
        /// cgroup v2 id; 0: not captured.
        pub cgroup: u64,
        /// `comm`, padded with NUL.
        pub comm: [u8; COMM_LEN],
    } size 40
}

wire! {
    /// A socket changed its state (`inet_sock_set_state`).
    pub struct StateRecord {
        /// Header.
        pub header: RecordHeader,
        /// The socket as it is at the transition; `state` is the new state.
        pub socket: SocketWire,
        /// State before.
        pub old: u8,
        /// State after.
        pub new: u8,
        /// [`mini`].
        pub mini: u8,
        /// Substate of the mini-socket (5 or 6) where one was found.
        pub mini_state: u8,
        /// `sk_err` at the transition.
        pub sk_err: u16,
        /// [`sk_flags`].
        pub sk_flags: u8,
        /// [`socket_flags`] of the mini-socket.
        pub mini_flags: u8,
        /// Milliseconds until the mini-socket's timer ends.
        pub mini_expires_ms: u32,
        /// Where `new` is LISTEN: low half of the namespace's cookie, which no
        /// other one gets although inode numbers come back; before Linux 5.12 its
        /// `hash_mix`, a secret; 0: not known.
        pub netns_cookie: u32,
        /// Cookie of the listening socket that this one came from; 0: none or
        /// not known. Set where `old` is SYN_RECV.
        pub listener: u64,
        /// The task, where the transition runs in process context; else `pid` 0.
        pub task: TaskWire,
    } size 136
}

wire! {
    /// A [`StateRecord`] of an IPv4 socket, without a task.
    pub struct ShortStateRecord {
        /// Header.
        pub header: RecordHeader,
        /// As in [`SocketWire`].
        pub cookie: u64,
        /// As in [`StateRecord`].
        pub listener: u64,
        /// Local address, network byte order.
        pub local_addr: [u8; 4],
        /// Peer address, network byte order.
        pub peer_addr: [u8; 4],
        /// Local port, host byte order.
        pub local_port: u16,
        /// Peer port, host byte order.
        pub peer_port: u16,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// State before.
        pub old: u8,
        /// State after.
        pub new: u8,
        /// [`socket_flags`].
        pub flags: u8,
        /// [`mini`].
        pub mini: u8,
        /// `sk_err` at the transition.
        pub sk_err: u16,
        /// Substate of the mini-socket (5 or 6) where one was found.
        pub mini_state: u8,
        /// [`socket_flags`] of the mini-socket.
        pub mini_flags: u8,
        /// Milliseconds until the mini-socket's timer ends.
        pub mini_expires_ms: u32,
        /// As in [`SocketWire`].
        pub bound_dev_if: u32,
    } size 64
}

impl ShortStateRecord {
    /// The same in full.
    #[must_use]
    pub fn to_long(&self) -> StateRecord {
        let wide = |addr: [u8; 4]| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&addr);
            bytes
        };
        StateRecord {
            header: self.header,
            socket: SocketWire {
                cookie: self.cookie,
                local_addr: wide(self.local_addr),
                peer_addr: wide(self.peer_addr),
                local_port: self.local_port,
                peer_port: self.peer_port,
                netns: self.netns,
                family: AF_INET,
                flags: self.flags,
                state: self.new,
                bound_dev_if: self.bound_dev_if,
            },
            old: self.old,
            new: self.new,
            mini: self.mini,
            mini_state: self.mini_state,
            sk_err: self.sk_err,
            sk_flags: 0,
            mini_flags: self.mini_flags,
            mini_expires_ms: self.mini_expires_ms,
            netns_cookie: 0,
            listener: self.listener,
            task: TaskWire {
                pid: 0,
                tid: 0,
                ppid: 0,
                uid: 0,
                cgroup: 0,
                comm: [0; COMM_LEN],
            },
        }
    }
}

wire! {
    /// An RST was sent or handled.
    pub struct ResetRecord {
        /// Header.
        pub header: RecordHeader,
        /// The socket, or the addresses of the packet where there is none;
        /// `local` is always this host's side.
        pub socket: SocketWire,
        /// [`direction`].
        pub direction: u8,
        /// 1: the socket is known; 0: no socket was involved.
        pub has_socket: u8,
        /// 1: in reply to a packet; 0: sent on the socket's own account.
        pub has_packet: u8,
        /// 1: `reason` is known on this kernel.
        pub has_reason: u8,
        /// `enum sk_rst_reason` of the running kernel.
        pub reason: u32,
        /// The task, where the reset was sent in process context; else `pid` 0.
        pub task: TaskWire,
    } size 120
}

wire! {
    /// A system call on a TCP socket.
    pub struct CallRecord {
        /// Header; the time is that of the call's return.
        pub header: RecordHeader,
        /// The socket after the call.
        pub socket: SocketWire,
        /// [`call`].
        pub call: u8,
        /// [`via`].
        pub via: u8,
        /// Length of the address that was asked for, as the caller gave it,
        /// at most 65,535.
        pub addr_len: u16,
        /// 0, or the error number (positive).
        pub errno: u32,
        /// `struct sockaddr` as it was asked for.
        pub requested: [u8; SOCKADDR_LEN],
        /// `ip_unprivileged_port_start` of the namespace; `u32::MAX`: not known.
        pub unprivileged_port_start: u32,
        /// The calling task.
        pub task: TaskWire,
    } size 152
}

wire! {
    /// A socket that holds a port, as seen in the bind bucket or by an iterator.
    pub struct HolderWire {
        /// The holder.
        pub socket: SocketWire,
        /// Inode number of the socket's file; 0: no descriptor holds it.
        pub inode: u64,
        /// Milliseconds until the mini-socket's timer ends; negative: overdue.
        pub expires_ms: i32,
        /// `sk_uid`; 0 for mini-sockets.
        pub uid: u32,
        /// [`userlocks`]; of a mini-socket `CONNECT_BIND` alone.
        pub userlocks: u8,
        /// 1: `userlocks`, `uid` and `inode` were readable.
        pub has_owner_fields: u8,
        /// 1: the one whose presence made the call fail, as a function hook saw.
        pub is_tripped_over: u8,
        /// Zero.
        pub reserved: [u8; 5],
    } size 80
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

wire! {
    /// A descriptor of a socket that a process has open, as an iterator saw it.
    pub struct OpenSocketRecord {
        /// `i_ino` of the socket.
        pub inode: u64,
        /// Process, in the initial pid namespace.
        pub tgid: u32,
        /// Descriptor.
        pub fd: u32,
    } size 16
}

wire! {
    /// One socket as an iterator saw it.
    pub struct SnapshotRecord {
        /// Header.
        pub header: RecordHeader,
        /// The socket.
        pub holder: HolderWire,
    } size 96
}

/// Values of [`MiniRecord::what`].
pub mod mini_event {
    /// Its timer begins anew; an orphan's FIN_WAIT_2 may be a TIME_WAIT now.
    pub const REARMED: u8 = 1;
    /// It is gone, and holds the port no longer.
    pub const ENDED: u8 = 2;
}

/// Values of [`MiniRecord::why`].
pub mod mini_end {
    /// No hook saw what led to it.
    pub const UNKNOWN: u8 = 0;
    /// Its timer ran out.
    pub const EXPIRED: u8 = 1;
    /// A new connection takes its place.
    pub const REUSED: u8 = 2;
    /// Neither: an RST, `SOCK_DESTROY`, or the end of its namespace.
    pub const DESTROYED: u8 = 3;
}

wire! {
    /// Something happened to a mini-socket (function hooks only).
    pub struct MiniRecord {
        /// Header.
        pub header: RecordHeader,
        /// The mini-socket; where it is re-armed with its new time.
        pub holder: HolderWire,
        /// [`mini_event`].
        pub what: u8,
        /// [`mini_end`].
        pub why: u8,
        /// Zero.
        pub reserved: [u8; 6],
    } size 104
}

/// Index of a counter in the kernel program's per-CPU counter array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Records that found no room in the ring buffer.
    Dropped = 0,
    /// Records written.
    Written = 1,
    /// Calls whose entry could not be stored (map full).
    CallsForgotten = 2,
    /// Reads of kernel memory that failed.
    ReadFailed = 3,
    /// Failed calls that a hook did not report, and the one that runs after it did.
    MadeUpFor = 4,
    /// Failed calls that were counted and not reported.
    Counted = 5,
    /// Of the records written, those of failed calls.
    WrittenFailed = 6,
}

/// Number of [`Counter`]s.
pub const COUNTERS: u32 = 7;
