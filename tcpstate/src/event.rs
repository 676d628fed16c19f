//! Typed, owned events with their time: what the engine is fed with and what
//! it answers, and at the same time the lines of the JSON export.
//!
//! An event is either *raw* (a fact that somebody observed) or *derived*
//! (the engine's conclusion). A recording holds both; a replay feeds the raw
//! ones to the engine and computes the derived ones anew.
//!
//! Pure: no IO, no clock.

pub mod call;
pub mod diagnosis;
pub mod explanation;
pub mod fallback;
pub mod flood;
pub mod lifecycle;
pub mod place;
pub mod reset;
pub mod restart;
pub mod rfc3339;
pub mod run;
pub mod socket;
pub mod time_wait;
mod weight;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use call::{Call, Requested, Seen, SeenHolder, SeenSource, Sharing, Unread, Via};
pub use diagnosis::{
    Applies, Cause, Certainty, Diagnosis, Effect, Fix, Holder, Overlap, WouldWork, YesNo,
};
pub use explanation::{Explanation, Tried};
pub use fallback::{FailedTry, Fallback};
pub use flood::{CallName, Flood};
pub use lifecycle::{Mini, NetnsEnd, SocketSeen, StateChange};
pub use place::{Container, ForeignNetns, place};
pub use reset::{Direction, Reset};
pub use restart::Restart;
pub use run::{
    Capture, ClockAnchor, Filters, Footer, Header, Loss, LossStage, Probe, ProbeStatus, Sysctls,
    Tick,
};
pub use socket::{
    Endpoint, Family, FileId, KnownBy, Process, Reuse, Sock, Source, State, Unit, UnitMember,
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

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event")]
pub enum Body {
    /// First line of every stream.
    #[serde(rename = "header")]
    Header(Box<Header>),
    /// A socket that a snapshot found.
    #[serde(rename = "socket")]
    Socket(SocketSeen),
    /// A socket changed its state.
    #[serde(rename = "tcp.state")]
    State(StateChange),
    /// A port began to be held by TIME_WAIT. Derived.
    #[serde(rename = "tcp.time_wait.enter")]
    TimeWaitEnter(TimeWaitEnter),
    /// A TIME_WAIT ended. Derived.
    #[serde(rename = "tcp.time_wait.exit")]
    TimeWaitExit(TimeWaitExit),
    /// An RST was sent or received.
    #[serde(rename = "tcp.reset")]
    Reset(Reset),
    /// A `bind` returned.
    #[serde(rename = "bind")]
    Bind(Box<Call>),
    /// A `listen` returned.
    #[serde(rename = "listen")]
    Listen(Box<Call>),
    /// A `connect` returned.
    #[serde(rename = "connect")]
    Connect(Box<Call>),
    /// An `accept` returned: who took the connection.
    #[serde(rename = "accept")]
    Accept(Box<Call>),
    /// Why a call failed. Derived.
    #[serde(rename = "diagnosis")]
    Diagnosis(Box<Diagnosis>),
    /// A port was listened on again. Derived.
    #[serde(rename = "restart")]
    Restart(Box<Restart>),
    /// A process that could not have a port took another one. Derived.
    #[serde(rename = "fallback")]
    Fallback(Box<Fallback>),
    /// Failed calls of one user that were counted and not told one by one.
    #[serde(rename = "flood")]
    Flood(Flood),
    /// Events or sockets that could not be seen.
    #[serde(rename = "loss")]
    Loss(Loss),
    /// Time passed.
    #[serde(rename = "tick")]
    Tick(Tick),
    /// Last line of every stream that ended in order.
    #[serde(rename = "footer")]
    Footer(Box<Footer>),
}

impl Body {
    /// The `event` field of the JSON line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Socket(_) => "socket",
            Self::State(_) => "tcp.state",
            Self::TimeWaitEnter(_) => "tcp.time_wait.enter",
            Self::TimeWaitExit(_) => "tcp.time_wait.exit",
            Self::Reset(_) => "tcp.reset",
            Self::Bind(_) => "bind",
            Self::Listen(_) => "listen",
            Self::Connect(_) => "connect",
            Self::Accept(_) => "accept",
            Self::Diagnosis(_) => "diagnosis",
            Self::Restart(_) => "restart",
            Self::Fallback(_) => "fallback",
            Self::Flood(_) => "flood",
            Self::Loss(_) => "loss",
            Self::Tick(_) => "tick",
            Self::Footer(_) => "footer",
        }
    }

    /// Whether the engine concluded this rather than being told.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        match self {
            Self::TimeWaitEnter(_)
            | Self::TimeWaitExit(_)
            | Self::Diagnosis(_)
            | Self::Restart(_)
            | Self::Fallback(_) => true,
            Self::Header(_)
            | Self::Socket(_)
            | Self::State(_)
            | Self::Reset(_)
            | Self::Bind(_)
            | Self::Listen(_)
            | Self::Connect(_)
            | Self::Accept(_)
            | Self::Flood(_)
            | Self::Loss(_)
            | Self::Tick(_)
            | Self::Footer(_) => false,
        }
    }

    /// The network namespace of the socket that it is about.
    #[must_use]
    pub fn netns(&self) -> Option<u32> {
        let sock = match self {
            Self::Socket(seen) => Some(seen.sock),
            Self::State(change) => Some(change.sock),
            Self::Reset(reset) => reset.sock,
            Self::Bind(call) | Self::Listen(call) | Self::Connect(call) | Self::Accept(call) => {
                call.sock
            }
            _ => None,
        };
        sock.map(|sock| sock.netns)
    }

    /// The call, for `bind`, `listen`, `connect` and `accept`.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Bind(call) | Self::Listen(call) | Self::Connect(call) | Self::Accept(call) => {
                Some(call)
            }
            _ => None,
        }
    }
}
