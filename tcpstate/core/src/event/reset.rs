//! `tcp.reset`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::{Endpoint, Process, Sock, State};

/// Which way an RST went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This host sent it (`tcp:tcp_send_reset`).
    Sent,
    /// This host handled one (`tcp:tcp_receive_reset`).
    Received,
}

/// An RST was sent or received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reset {
    /// Which way it went.
    pub direction: Direction,
    /// The socket; absent where no socket was involved (a closed port).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock: Option<Sock>,
    /// This host's address.
    pub local: Endpoint,
    /// The other side.
    pub peer: Endpoint,
    /// The socket's state at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The kernel's reason (`enum sk_rst_reason`, without its prefix, in lower case).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The running kernel's number for the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_raw: Option<u32>,
    /// The process whose call sent it, or whose socket it is; see `via`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
}
