//! What the test programs share. Each test runs in a process of its own
//! (`cargo xtask test`), so that nothing of one is in the way of another.
//!
//! - [`require`] and [`on_stage`]: what a test needs of the machine
//! - [`socket`]: sockets; [`stage`]: the namespace that they are in
//! - [`Watch`]: the program watching it; [`TCPSTATE`], [`run`]: the program itself
//! - [`Cgroup`]: a control group; [`Stalls`]: times without a processor
//! - [`assert_no_file_but`]: expected output that no test compares any more
//! - [`lines`], [`paths`], [`scenario`]: what output must be, and events to make it from

#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test fails by a panic"
)]

mod cgroup;
mod expected;
pub mod lines;
pub mod paths;
mod program;
mod requirement;
pub mod scenario;
pub mod socket;
pub mod stage;
mod stalls;
mod watch;

pub use cgroup::Cgroup;
pub use expected::assert_no_file_but;
pub use program::{TCPSTATE, Tcpstate, patience, run, run_around};
pub use requirement::{
    Before, DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS, Lacking, Linux, Optional, Processors,
    Program, PythonModule, RealTime, Requirement, Root, Sources, leave_out, report_figures,
    require, running_linux, skip_for,
};
pub use socket::{at, connection, drain, listener, port_of, socket, try_bind};
pub use stage::{count_listed, on_stage, ss, wait_for_time_wait, wait_until, wait_until_gone};
pub use stalls::Stalls;
pub use watch::{Watch, listing, path_of};
