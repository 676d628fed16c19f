//! `tcp.time_wait.enter` and `tcp.time_wait.exit`: derived.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::{Endpoint, Process, Reuse, Sock, Source, State};

/// A port began to be held by TIME_WAIT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeWaitEnter {
    /// Which socket (the cookie is that of the connection).
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address.
    pub peer: Endpoint,
    /// The state before.
    pub from: State,
    /// The options that it was left with; they decide who may bind over it.
    pub reuse: Reuse,
    /// The process that closed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_by: Option<Arc<Process>>,
    /// Milliseconds until its timer ends; the port is free one to two seconds
    /// after that at the latest, and later if the peer sends again.
    pub expires_ms: u64,
    /// How it is known.
    pub source: Source,
}

/// Which way a TIME_WAIT ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// Its timer ran out.
    Expired,
    /// A new connection took over the same pair of addresses.
    Reused,
    /// Gone before its time: an RST, `SOCK_DESTROY`, or its namespace ended.
    Destroyed,
    /// Not known.
    Unknown,
}

/// A TIME_WAIT ended; it no longer holds the port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeWaitExit {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address.
    pub peer: Endpoint,
    /// Which way.
    pub reason: ExitReason,
    /// Milliseconds that it was known to live.
    pub lived_ms: u64,
    /// How it is known.
    pub source: Source,
}
