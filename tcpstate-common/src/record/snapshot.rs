//! What iterators write.

use super::{HolderWire, RecordHeader};

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
