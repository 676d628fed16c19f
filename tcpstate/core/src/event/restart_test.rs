//! The answer of `restart-test`: whether a server restarts, in each way that it may be
//! stopped. Not an event of a stream: it stands alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnosis::{Diagnosis, Fix};
use super::socket::State;

/// How clients and server part before the server is started again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Nobody is connected.
    Idle,
    /// Clients hold their connections until the server that is told to end closes them.
    ServerClosesFirst,
    /// Clients have closed before the server is told to end.
    ClientClosesFirst,
    /// Clients do not close what the server closes; every second one has closed its own
    /// direction before.
    HalfClosed,
    /// Clients have sent what the server has not read.
    UnreadData,
    /// Clients hold their connections, and all processes of the server are killed.
    Sigkill,
    /// Clients hold their connections, and the first process of the server alone is killed.
    ChildLeft,
}

impl Way {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::ServerClosesFirst,
        Self::ClientClosesFirst,
        Self::HalfClosed,
        Self::UnreadData,
        Self::Sigkill,
        Self::ChildLeft,
    ];

    /// The name as in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::ServerClosesFirst => "server_closes_first",
            Self::ClientClosesFirst => "client_closes_first",
            Self::HalfClosed => "half_closed",
            Self::UnreadData => "unread_data",
            Self::Sigkill => "sigkill",
            Self::ChildLeft => "child_left",
        }
    }

    /// The way of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// What a restart was like, and what all of them were like.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RestartOutcome {
    /// As fast as the first start, without a failed bind more than that had.
    AtOnce,
    /// By itself, but later, or after failed binds.
    Waits,
    /// Not at all within the time.
    Fails,
    /// It could not be told.
    Unknown,
}

impl RestartOutcome {
    /// The name as in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::Waits => "waits",
            Self::Fails => "fails",
            Self::Unknown => "unknown",
        }
    }
}

/// Sockets that were on the port when the server was started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftSockets {
    /// Their state.
    pub state: State,
    /// How many.
    pub count: u32,
}

/// A process of the stopped server that was there when it had been started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftProcess {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// One stop and start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestartRound {
    /// How clients and server parted.
    pub way: Way,
    /// Which restart of this way, from 1.
    pub number: u32,
    /// Whether it was as fast as the first start.
    pub at_once: bool,
    /// The same with more answers.
    pub outcome: RestartOutcome,
    /// Milliseconds from the signal that stopped the server to the first connection that the
    /// restarted one accepted, and to its being ready; null: it did not come to that.
    pub downtime_ms: Option<u64>,
    /// The part of it from the second start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// The same of the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_start_ms: Option<u64>,
    /// Connections of clients that were refused (ECONNREFUSED) while it was down: one tries
    /// every 5 ms.
    pub refused: u64,
    /// Connections of clients that were reset, held ones and new ones.
    pub reset: u64,
    /// Calls of `bind` and `listen` that failed in the restarted server's processes; null:
    /// they could not be seen.
    pub failed_binds: Option<u64>,
    /// Why the last of them failed, or would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Box<Diagnosis>>,
    /// Sockets on the port when it was started again, the stopped server's listeners too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftSockets>,
    /// Processes of the stopped server that went on; they were ended afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftover: Vec<LeftProcess>,
    /// What else there is to say, a sentence each: why it is unknown, how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl RestartRound {
    /// A round of which nothing was measured.
    #[must_use]
    pub fn new(way: Way, number: u32, outcome: RestartOutcome) -> Self {
        Self {
            way,
            number,
            at_once: outcome == RestartOutcome::AtOnce,
            outcome,
            downtime_ms: None,
            start_ms: None,
            first_start_ms: None,
            refused: 0,
            reset: 0,
            failed_binds: None,
            diagnosis: None,
            left: Vec::new(),
            leftover: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// A way that does not exist for this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedWay {
    /// Which.
    pub way: Way,
    /// Why.
    pub why: String,
}

/// Whether a server restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestartTest {
    /// The port.
    pub port: u16,
    /// Whether it was done in network namespaces made for it, and not on the host.
    pub private: bool,
    /// Every stop and start.
    pub rounds: Vec<RestartRound>,
    /// Ways that this server cannot be stopped in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedWay>,
    /// The worst of the rounds.
    pub verdict: RestartOutcome,
    /// What to do: of each cause the fix that helps its program.
    pub fixes: Vec<Fix>,
    /// What else there is to say, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
