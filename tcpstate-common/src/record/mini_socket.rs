//! What happens to mini-sockets.

use super::{HolderWire, RecordHeader};

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
