//! `socket` and `tcp.state`: a socket is there, a socket changes.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::{Endpoint, Process, Reuse, Sock, Source, State};
use super::time_wait::ExitReason;

/// A socket that existed before we attached, or that a snapshot revealed; or a
/// mini-socket that a function hook saw change.
///
/// With state `closed`: a socket that we believed in is not there any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SocketSeen {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// State. `time_wait`, and `fin_wait_2` with `expires_ms`, are kernel
    /// mini-sockets without a descriptor.
    pub state: State,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
    /// All processes that have its descriptor open, where that was looked for:
    /// for a listening socket whose process has gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Arc<Process>>>,
    /// Its options, where they could be read (not through `sock_diag`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// Milliseconds until the mini-socket's timer ends; 0: overdue, and the
    /// port is still held. With state `closed`: what is gone was a mini-socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Why a snapshot of it found nothing, where that is not because the socket
    /// alone is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_ended: Option<NetnsEnd>,
    /// Which way a mini-socket ended, where a function hook saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<ExitReason>,
    /// `snapshot`; `kernel` where a function hook saw a mini-socket change or
    /// end.
    pub source: Source,
}

/// What became of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetnsEnd {
    /// It does not exist any more, and with it its sockets.
    Gone,
    /// Nothing that could be seen refers to it: it is gone, or hidden.
    Unreachable,
}

impl SocketSeen {
    /// Only mini-sockets have a timer that a snapshot shows.
    #[must_use]
    pub fn is_mini(&self) -> bool {
        self.expires_ms.is_some()
    }
}

/// A kernel mini-socket (`inet_timewait_sock`) that took a socket's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mini {
    /// `time_wait`, or `fin_wait_2` for an orphan that waits for the peer's FIN.
    pub state: State,
    /// Milliseconds until its timer ends, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// The options that it was left with.
    pub reuse: Reuse,
    /// `kernel`: found in the kernel's tables; `inferred`: from the socket's fields.
    pub source: Source,
}

/// A socket changed its state (`sock:inet_sock_set_state`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateChange {
    /// Which socket.
    pub sock: Sock,
    /// Local address; port 0 on the way to SYN_SENT: not chosen yet.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// State before.
    pub old: State,
    /// State after.
    pub new: State,
    /// The kernel's number of `old`.
    pub old_raw: u8,
    /// The kernel's number of `new`.
    pub new_raw: u8,
    /// The process that made it change, or whose socket it is; see `via`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
    /// The socket's options at that moment.
    pub reuse: Reuse,
    /// Name of the error that ended the socket (`ECONNRESET`, `ETIMEDOUT`, …);
    /// absent for an orderly end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
    /// Cookie of the listening socket that it was accepted through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<u64>,
    /// Where `new` is `listen`: tells apart namespaces that had the same inode
    /// number one after the other (low half of the kernel's `net_cookie`; before
    /// Linux 5.12 a number made anew in each run).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_cookie: Option<u32>,
    /// What goes on holding the port after `new` is `closed`; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mini: Option<Mini>,
}

impl StateChange {
    /// Whether the peer has answered a `connect`, which no process does: whoever is
    /// named for it had connected before.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.old == State::SynSent && self.new != State::Closed
    }
}
