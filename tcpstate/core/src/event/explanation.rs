//! The answer of `explain` and `wait`: would a bind succeed now? Not an event
//! of a stream: it stands alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::call::Requested;
use super::diagnosis::{Cause, Certainty, Fix, Holder, WouldWork, YesNo};
use super::socket::{Endpoint, Reuse};

/// What came of trying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// Whether the bind succeeded; it was undone at once.
    pub ok: bool,
    /// The error's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_name: Option<Arc<str>>,
}

/// What may go wrong although a bind succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HazardKind {
    /// `localhost` with this port leads to another listener, for some or for all.
    LocalhostElsewhere,
    /// The socket would join others with `SO_REUSEPORT`, and each connection go to one of them.
    SharedConnections,
}

/// A hazard of a bind that succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hazard {
    /// Which.
    pub kind: HazardKind,
    /// In words.
    pub text: String,
    /// The address of the other listener, or of one of them.
    pub local: Endpoint,
    /// Processes that have it open.
    pub processes: Vec<u32>,
}

/// Would a bind, and then a listen, succeed now?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The address and port that were asked about.
    pub requested: Requested,
    /// Options of the socket that would bind.
    pub reuse: Reuse,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// User of the socket that would bind.
    pub uid: u32,
    /// Would `bind` succeed?
    pub would_bind: YesNo,
    /// Would `listen` succeed after it?
    pub would_listen: YesNo,
    /// Why not; absent where it would succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One sentence that a tired person understands.
    pub summary: String,
    /// The sockets that stand in the way, or may.
    pub holders: Vec<Holder>,
    /// Sockets on the port that do not stand in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Holder>,
    /// Milliseconds until the last blocker is gone by itself; absent: never by
    /// itself, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clears_ms: Option<u64>,
    /// Would it work with one option more?
    pub would_work: WouldWork,
    /// What to do, most useful first.
    pub fixes: Vec<Fix>,
    /// What may go wrong although it succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hazards: Vec<Hazard>,
    /// How certain this is.
    pub certainty: Certainty,
    /// What could not be seen.
    pub missing: Vec<String>,
    /// With `--try`: what the kernel answered to a real bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// Of `wait`: how long it waited, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
}
