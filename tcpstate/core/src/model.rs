//! What is known about sockets and ports right now, and how it came about.
//!
//! Pure: fed by the engine, reads no clock, does no IO.

pub mod chart;
pub(crate) mod log;
pub(crate) mod poll_schedule;
pub mod port;
pub mod socket;
pub mod table;

pub use chart::{Chart, Sample};
pub use log::EventLog;
pub use poll_schedule::PollSchedule;
pub use port::{Listener, Phase, PortHistory, PortKey, Ports};
pub use socket::{Origin, Socket, SocketId, Step, Tuple};
pub use table::SocketTable;

/// Nanoseconds of a millisecond: the clock counts the former, events speak of the latter.
pub const NS_PER_MS: u64 = 1_000_000;
/// `TCP_TIMEWAIT_LEN`: a constant of the kernel, not a setting.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h#L136>
pub(crate) const TIME_WAIT_MS: u64 = 60_000;
