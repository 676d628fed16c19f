//! What is known about sockets and ports right now, and how it came about.
//!
//! Pure: fed by the engine, reads no clock, does no IO.

pub mod chart;
pub mod log;
pub mod poll_schedule;
pub mod port;
pub mod socket;
pub mod table;

pub use chart::{Chart, Sample};
pub use log::EventLog;
pub use poll_schedule::PollSchedule;
pub use port::{Listener, Phase, PortHistory, PortKey, Ports};
pub use socket::{Origin, Socket, SocketId, Step, Tuple};
pub use table::SocketTable;

/// The clock counts nanoseconds, events speak of milliseconds.
/// Nanoseconds of a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
