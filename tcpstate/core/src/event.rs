//! Typed, owned events with their time: what the engine is fed with and what
//! it answers, and at the same time the lines of the JSON export.
//!
//! An event is either *raw* (a fact that somebody observed) or *derived*
//! (the engine's conclusion). A recording holds both; a replay feeds the raw
//! ones to the engine and computes the derived ones anew.
//!
//! Pure: no IO, no clock.

mod body;
pub(crate) mod call;
pub(crate) mod diagnosis;
pub(crate) mod ephemeral;
mod errno;
pub(crate) mod explanation;
pub(crate) mod fallback;
pub(crate) mod flood;
pub(crate) mod holders;
pub(crate) mod identity;
pub(crate) mod lifecycle;
pub(crate) mod location;
mod payload;
mod payloads;
pub(crate) mod release;
pub(crate) mod reset;
pub(crate) mod restart;
pub(crate) mod restart_test;
pub mod rfc3339;
pub(crate) mod run;
pub(crate) mod socket;
pub(crate) mod time_wait;

pub use body::Body;
pub(crate) use body::for_payload;
pub use call::{
    Call, Ipv6State, OnInterface, Requested, Rights, Seen, SeenHolder, SeenSource, Sharing, Unread,
    Via,
};
pub use diagnosis::{
    Applies, Cause, Certainty, Diagnosis, Effect, Fix, Holder, Overlap, WouldWork, YesNo,
};
pub use ephemeral::{Ephemeral, EphemeralUser};
pub use errno::Errno;
pub use explanation::{Explanation, Hazard, HazardKind, Tried};
pub use fallback::{FailedTry, Fallback};
pub use flood::{CallName, Flood};
pub use holders::LateHolders;
pub use identity::{Ancestor, Identity, RelationName, Supervisor};
pub use lifecycle::{Mini, NetnsEnd, SocketSeen, StateChange};
pub use location::{Container, ForeignNetns, location};
pub use release::{
    DoneStep, IsFree, Outcome, Refusal, RefusedFor, Release, ReleaseStep, ReleasedPort, StepKind,
};
pub use reset::{Direction, Reset};
pub use restart::Restart;
pub use restart_test::{
    LeftProcess, LeftSockets, RestartOutcome, RestartRound, RestartTest, SkippedWay, Way,
};
pub use run::{
    Ability, Capture, ClockAnchor, Filters, Footer, Header, Loss, LossStage, Probe, ProbeStatus,
    Sysctls, Tick,
};
pub use socket::{
    Endpoint, Family, FileId, Halted, HeldIn, KnownBy, Process, Reuse, Sock, Source, State, Unit,
    UnitMember,
};
pub use time_wait::{ExitReason, TimeWaitEnter, TimeWaitExit};

/// Version of the JSON schema that this program writes.
pub const SCHEMA_VERSION: &str = "1";

/// One event: a line of the export.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Position in the stream, from 0, without gaps.
    pub seq: u64,
    /// `CLOCK_MONOTONIC` of the observed kernel, in nanoseconds.
    pub mono_ns: u64,
    /// What happened.
    pub body: Body,
}

/// Whether a field is left out of the JSON.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
