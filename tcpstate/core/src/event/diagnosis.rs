//! `diagnosis`: derived.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::RelationName;
use super::socket::{Endpoint, Process, Reuse, Sock, State};

/// Why a call failed. `docs/causes.md` describes each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Another socket listens on the address and port.
    ActiveListener,
    /// The listening socket's creator has gone and another process still holds it.
    InheritedListener,
    /// Only TIME_WAIT or closing sockets, left with `SO_REUSEADDR`; the new socket does not set it.
    TimeWaitNoReuse,
    /// A TIME_WAIT was left by a socket without `SO_REUSEADDR`.
    TimeWaitLeftWithoutReuse,
    /// Only sockets that are still closing.
    Closing,
    /// CLOSE_WAIT connections of a process that does not close them.
    CloseWaitLeak,
    /// Accepted connections of an earlier server are still open.
    EstablishedLeftover,
    /// An outgoing connection has the port.
    EphemeralCollision,
    /// A socket is bound and neither listens nor is connected.
    BoundNotListening,
    /// An IPv6 socket without `IPV6_V6ONLY` and an IPv4 one want the same port.
    DualStack,
    /// `SO_REUSEPORT` on one side only, or of another user.
    ReuseportMismatch,
    /// EACCES below `ip_unprivileged_port_start`.
    PrivilegedPort,
    /// EADDRNOTAVAIL: the address is on no interface of this namespace.
    AddressNotLocal,
    /// EINVAL: the socket is bound already.
    AlreadyBound,
    /// EPERM or EACCES that no port rule explains.
    DeniedByPolicy,
    /// EADDRNOTAVAIL: the address is there and cannot be used, or none of the family can.
    AddressUnusable,
    /// No free local port was found.
    EphemeralExhausted,
    /// `connect`: the same pair of addresses is in use.
    FourTupleInUse,
    /// What held it was gone when we looked.
    HolderGone,
    /// None of these could be shown.
    Unknown,
}

impl Cause {
    /// All causes, in the order of the contract.
    pub const ALL: [Self; 20] = [
        Self::ActiveListener,
        Self::InheritedListener,
        Self::TimeWaitNoReuse,
        Self::TimeWaitLeftWithoutReuse,
        Self::Closing,
        Self::CloseWaitLeak,
        Self::EstablishedLeftover,
        Self::EphemeralCollision,
        Self::BoundNotListening,
        Self::DualStack,
        Self::ReuseportMismatch,
        Self::PrivilegedPort,
        Self::AddressNotLocal,
        Self::AlreadyBound,
        Self::DeniedByPolicy,
        Self::AddressUnusable,
        Self::EphemeralExhausted,
        Self::FourTupleInUse,
        Self::HolderGone,
        Self::Unknown,
    ];

    /// The name as in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ActiveListener => "active_listener",
            Self::InheritedListener => "inherited_listener",
            Self::TimeWaitNoReuse => "time_wait_no_reuse",
            Self::TimeWaitLeftWithoutReuse => "time_wait_left_without_reuse",
            Self::Closing => "closing",
            Self::CloseWaitLeak => "close_wait_leak",
            Self::EstablishedLeftover => "established_leftover",
            Self::EphemeralCollision => "ephemeral_collision",
            Self::BoundNotListening => "bound_not_listening",
            Self::DualStack => "dual_stack",
            Self::ReuseportMismatch => "reuseport_mismatch",
            Self::PrivilegedPort => "privileged_port",
            Self::AddressNotLocal => "address_not_local",
            Self::AlreadyBound => "already_bound",
            Self::DeniedByPolicy => "denied_by_policy",
            Self::AddressUnusable => "address_unusable",
            Self::EphemeralExhausted => "ephemeral_exhausted",
            Self::FourTupleInUse => "four_tuple_in_use",
            Self::HolderGone => "holder_gone",
            Self::Unknown => "unknown",
        }
    }
}

/// How a holder's address meets the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The same address.
    Exact,
    /// One of the two is the wildcard.
    Wildcard,
    /// An IPv6 socket that also takes IPv4 meets an IPv4 one.
    DualStack,
}

/// A socket that stood in the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// State.
    pub state: State,
    /// How its address meets the requested one.
    pub overlap: Overlap,
    /// Its options at that moment; absent: they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
    /// Processes that have the descriptor open, at most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Arc<Process>>>,
    /// Further ones, which are counted and not listed.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub processes_more: u32,
    /// Who that is to the process that asked, as far as it is known: the nearest of those
    /// that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<RelationName>,
    /// The process that closed first (TIME_WAIT and closing sockets).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_by: Option<Arc<Process>>,
    /// Milliseconds until its timer ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Further sockets that differ from this one in nothing that a `bind` looks at
    /// (mostly in peer and timer), and whose timers end no later; they are counted and
    /// not listed.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub alike: u32,
    /// The kernel's own comparison ended at this one, as a function hook saw;
    /// others may stand in the way as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_tripped_over: bool,
    /// Positions of the events that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<u64>,
}

/// An answer that may be withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum YesNo {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Cannot tell.
    Unknown,
}

/// Would the same call have worked with this option set, everything else the same?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WouldWork {
    /// With `SO_REUSEADDR`.
    pub reuseaddr: YesNo,
    /// With `SO_REUSEPORT`.
    pub reuseport: YesNo,
    /// With `IPV6_V6ONLY`.
    pub v6only: YesNo,
}

/// Whether a fix applies to this failure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Applies {
    /// It would have made this call work.
    Now,
    /// It makes the next restart work, not this one.
    NextTime,
    /// Often advised and wrong here; `why` says so.
    No,
}

/// What running a command does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It shows something, or waits.
    Reads,
    /// It changes a setting.
    Changes,
    /// It ends connections, processes or services.
    Destroys,
}

impl Effect {
    /// What a reader is warned of before running it: `It ...`.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Reads => None,
            Self::Changes => Some("changes settings of the system"),
            Self::Destroys => Some("ends connections or processes"),
        }
    }
}

/// Something to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// Stable name, such as `set_reuseaddr`.
    pub id: Arc<str>,
    /// What to do, in one sentence.
    pub text: String,
    /// A command of the shell, or a line of code where `language` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Programming language of `command`, such as `python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
    /// What running `command` does; absent where it is a line of code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Whether it applies.
    pub applies: Applies,
    /// Why, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How certain a diagnosis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The holders were read inside the failing call and the kernel's rule
    /// says that they refuse it.
    Proven,
    /// Something was read a moment later, or had to be assumed; `missing` says what.
    Likely,
    /// Cannot tell; `missing` says why.
    Unknown,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Position of the failed call.
    pub of: u64,
    /// The cause.
    pub cause: Cause,
    /// One sentence that a tired person understands.
    pub summary: String,
    /// The sockets that stood in the way.
    pub holders: Vec<Holder>,
    /// Further ones, which are counted and not listed.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub holders_more: u32,
    /// Milliseconds until the last blocker is gone by itself; absent: never by
    /// itself, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clears_ms: Option<u64>,
    /// What would have worked.
    pub would_work: WouldWork,
    /// What to do, most useful first.
    pub fixes: Vec<Fix>,
    /// How certain this is.
    pub certainty: Certainty,
    /// What could not be seen.
    pub missing: Vec<String>,
}
