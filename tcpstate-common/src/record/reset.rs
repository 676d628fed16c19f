//! Resets.

use super::{RecordHeader, SocketWire, TaskWire};

/// Values of [`ResetRecord::direction`].
pub mod direction {
    /// We sent an RST.
    pub const SENT: u8 = 1;
    /// The kernel handled a received RST.
    pub const RECEIVED: u8 = 2;
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
