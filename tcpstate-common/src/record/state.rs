//! Changes of state.

use super::{AF_INET, COMM_LEN, RecordHeader, SocketWire, TaskWire};

/// Bits of [`StateRecord::sk_flags`].
pub mod sk_flags {
    /// `SOCK_DEAD`: no descriptor holds the socket any more.
    pub const DEAD: u8 = 1 << 0;
    /// `SOCK_DONE`: the peer's FIN has come.
    pub const DONE: u8 = 1 << 1;
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
