//! System calls on TCP sockets, and the tasks that make them.

use super::{RecordHeader, SocketWire};

/// Bytes of a socket address that are kept as they were requested
/// (`struct sockaddr_in6` is the longest that concerns us).
pub const SOCKADDR_LEN: usize = 28;

/// Bytes of a task's `comm`, as in `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

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
