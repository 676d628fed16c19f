//! A socket, and a socket that holds a port.

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

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

/// Bits of [`HolderWire::userlocks`], as in the kernel's `sk_userlocks`.
pub mod userlocks {
    /// `SOCK_BINDADDR_LOCK`: bound to an address by `bind`.
    pub const BINDADDR: u8 = 4;
    /// `SOCK_BINDPORT_LOCK`: bound to a port by `bind`.
    pub const BINDPORT: u8 = 8;
    /// `SOCK_CONNECT_BIND`: port chosen by `connect` (Linux 6.18 and later).
    pub const CONNECT_BIND: u8 = 16;
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
