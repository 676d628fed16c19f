//! The answer of `release`: what was planned, what was done, whether the port is free. Not
//! an event of a stream: it stands alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::explanation::Explanation;

/// What a step does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// `SOCK_DESTROY`, socket by socket.
    DestroySockets,
    /// A service is stopped by its manager.
    StopUnit,
    /// A container is stopped by its runtime.
    StopContainer,
    /// SIGTERM to a process.
    StopProcess,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseStep {
    /// What it does.
    pub step: StepKind,
    /// The port that it is to free.
    pub port: u16,
    /// To whom or what: `python3[4711]`, `web.service`, `3 connections`.
    pub target: String,
    /// What it does, in one sentence.
    pub text: String,
    /// The command that advice prints for it; where that would end a process it is the look
    /// that comes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What is lost by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<String>,
}

/// Why a holder of the port is left alone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefusedFor {
    /// The socket is the kernel's own.
    Kernel,
    /// Process 1 has it open.
    Init,
    /// It is this very program.
    Itself,
    /// This program descends from it.
    Ancestor,
    /// It is held for somebody else, who has to be found first: a container, a socket unit.
    HeldForAnother,
    /// An outgoing connection of a process that bound the port before: destroying the
    /// connection leaves the port with the process, which is somebody's client.
    Outgoing,
    /// The unit's main process is another one, which does not hold the port.
    MainProcess,
    /// Nobody was seen to have it open.
    NotSeen,
    /// It could not be made sure that it is who it is taken for.
    NotCertain,
}

/// A holder that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// Why.
    pub why: RefusedFor,
    /// The port that it holds.
    pub port: u16,
    /// Who or what.
    pub target: String,
    /// Why, in one sentence, and what to do instead.
    pub text: String,
    /// A command that helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What became of a step.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and the kernel has let go of what it was about.
    Done,
    /// It was done, and who was stopped came back.
    CameBack,
    /// It was done, and nothing came of it in time.
    TimedOut,
    /// It was not done, because it held the port no longer when its turn had come.
    NotNeeded,
    /// It was not done, because it was not what had been agreed to any more.
    Changed,
    /// It was not done, because this user may not.
    NotAllowed,
    /// It was tried and could not be done.
    Failed,
}

impl Outcome {
    /// The name as in the JSON.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::CameBack => "came_back",
            Self::TimedOut => "timed_out",
            Self::NotNeeded => "not_needed",
            Self::Changed => "changed",
            Self::NotAllowed => "not_allowed",
            Self::Failed => "failed",
        }
    }
}

/// A step, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoneStep {
    /// The step.
    #[serde(flatten)]
    pub step: ReleaseStep,
    /// What became of it.
    pub outcome: Outcome,
    /// The same in words, and what to do where it did not help.
    pub says: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// One of the ports that were to be freed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedPort {
    /// Which.
    pub port: u16,
    /// Whether a bind would succeed in the end.
    pub free: IsFree,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Box<Explanation>>,
}

/// Whether a bind would succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsFree {
    /// It would.
    Yes,
    /// It would not, or nobody can tell.
    No,
}

impl From<bool> for IsFree {
    fn from(is_free: bool) -> Self {
        if is_free { Self::Yes } else { Self::No }
    }
}

/// What `release` did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// What was planned, in this order.
    pub plan: Vec<ReleaseStep>,
    /// Holders that are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// What was done, and what became of it. A plan that was made anew in between has steps
    /// here that are not in `plan`.
    pub done: Vec<DoneStep>,
    /// Whether a bind of each port would succeed in the end.
    pub free: IsFree,
    /// Why not: of the first port that is still held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Box<Explanation>>,
    /// Each of the ports.
    pub ports: Vec<ReleasedPort>,
    /// What could not be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}
