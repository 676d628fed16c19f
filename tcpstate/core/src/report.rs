//! The postmortem of a recording: what happened, why, and for how long.
//!
//! [`Builder`] feeds a recording's events to an engine and gathers while they
//! pass; [`Report`] is what it gives, and at the same time the shape of
//! `report --format json`. [`html`] and [`markdown`] draw it.
//!
//! Pure: no IO, no clock; the same recording gives the same bytes.

mod build;
mod chart;
mod facts;
mod format;
mod head_tail;
pub mod html;
pub mod markdown;
mod ports;
mod resets;
mod sockets;
mod summary;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

pub use build::{Builder, Reading};

use crate::diagnosis::CallKind;
use crate::event::{
    Capture, ClockAnchor, Diagnosis, Direction, Endpoint, Fallback, Filters, Probe, Process,
    Requested, Reuse, Sock, State, Sysctls, Via, rfc3339,
};

/// Version of the shape of `report --format json`.
pub(crate) const REPORT_VERSION: &str = "1";

/// The postmortem of a recording.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "tcpstate report, version 1")]
pub struct Report {
    /// Version of this shape.
    pub report: String,
    /// What happened, why, and how it went on: three sentences.
    pub summary: Vec<String>,
    /// What limits the rest: a cut, losses, missing hooks. Empty: nothing does.
    pub caveats: Vec<String>,
    /// The recording.
    pub recording: Recording,
    /// Where it was made.
    pub environment: Environment,
    /// Times in which a port had lost its listener, oldest first.
    pub restarts: Vec<Restart>,
    /// Failed calls with their diagnosis, oldest first.
    pub failures: Vec<FailedCall>,
    /// All failed calls that were diagnosed, counted, most frequent first.
    pub failure_counts: Vec<FailureCount>,
    /// Processes that could not have one port and took another one.
    pub fallbacks: Vec<Fallback>,
    /// Connects that failed and that no port of this host stood in the way of,
    /// by the name of the error.
    pub refused_connects: BTreeMap<String, u64>,
    /// Failed calls beside all these that were too many to be reported one by one, by user,
    /// most frequent first.
    pub floods: Vec<FloodCount>,
    /// The ports that were listened on or that a call failed for.
    pub ports: Vec<PortTimeline>,
    /// The sockets that matter most: holders, listeners, reset ones.
    pub sockets: Vec<SocketTimeline>,
    /// Sockets per state over time.
    pub states: StatesOverTime,
    /// Resets by direction, reason and state, most frequent first.
    pub resets: Vec<ResetCount>,
    /// What was lost.
    pub losses: Losses,
    /// Events by name.
    pub counts: BTreeMap<String, u64>,
    /// What a limit of the report left out.
    pub left_out: Vec<LeftOut>,
}

/// A moment of the recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Moment {
    /// Calendar time: RFC 3339, UTC.
    pub ts: String,
    /// Nanoseconds since the recording's first event.
    pub after_ns: u64,
}

/// The recording itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Recording {
    /// Version of the events' schema.
    pub schema: String,
    /// First event.
    pub begins: Moment,
    /// Last event.
    pub ends: Moment,
    /// Events, the derived ones included.
    pub events: u64,
    /// What the footer says about the end; absent: there is no footer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Whether it has a footer and every line could be read.
    pub is_complete: bool,
    /// The first part that was read of a recording in several files; absent: its
    /// beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_part: Option<u32>,
    /// The line in which the file breaks off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_in_line: Option<u64>,
    /// Lines that could not be read, the one that breaks off left aside.
    pub unreadable_lines: u64,
    /// What was wrong with the first of them.
    pub unreadable: Vec<String>,
}

/// Where the recording was made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Environment {
    /// Version of the program that recorded.
    pub tcpstate: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Identifies the boot of the host.
    pub boot_id: String,
    /// Inode number of the network namespace that tcpstate ran in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// What the run was narrowed to.
    pub filters: Filters,
    /// How the kernel was observed.
    pub capture: Capture,
    /// Hooks that were on.
    pub probes_attached: u64,
    /// Hooks that the kernel does not have or refused.
    pub probes_missing: Vec<Probe>,
    /// Settings of the watched namespace.
    pub sysctls: Sysctls,
}

/// A port lost its last listener, and got one again or did not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Restart {
    /// The port.
    pub port: u16,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// When the last listener went.
    pub closed: Moment,
    /// The event that shows it.
    pub closed_seq: u64,
    /// When the new listener came; absent: nobody had listened again when the
    /// recording ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<Moment>,
    /// The event that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_seq: Option<u64>,
    /// Milliseconds between the two, or until the recording's end.
    pub downtime_ms: u64,
    /// Failed `bind` and `listen` calls for the port in between.
    pub failed_binds: u64,
    /// Those of them that `failures` has, by `seq`.
    pub failures: Vec<u64>,
    /// Sockets in TIME_WAIT on the port at the end of the downtime.
    pub time_wait: u64,
    /// Who listened before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_process: Option<Arc<Process>>,
    /// Who listened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_process: Option<Arc<Process>>,
}

impl Restart {
    /// How long the port was down, or was until the recording's end.
    #[must_use]
    pub(crate) fn down_ns(&self, ends: &Moment) -> u64 {
        let end = self.again.as_ref().unwrap_or(ends);
        end.after_ns.saturating_sub(self.closed.after_ns)
    }
}

/// Failed calls of one user that were counted and not reported one by one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FloodCount {
    /// `bind`, `listen` or `connect`.
    pub call: String,
    /// Effective user id.
    pub uid: u32,
    /// Name of the latest process.
    pub comm: String,
    /// How many.
    pub count: u64,
}

/// A failed call with its diagnosis.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedCall {
    /// Position of the failed call in the recording.
    pub seq: u64,
    /// When it returned.
    pub at: Moment,
    /// `bind`, `listen` or `connect`.
    pub call: String,
    /// What was asked for.
    pub requested: Requested,
    /// Inode number of the network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Name that `ip netns` had for it, where it is another one than the
    /// environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns_name: Option<Arc<str>>,
    /// The error number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// The error's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_name: Option<Arc<str>>,
    /// The socket's options.
    pub reuse: Reuse,
    /// The calling process.
    pub process: Arc<Process>,
    /// How the call reached the kernel.
    pub via: Via,
    /// Why it failed; holders beyond `holders_left_out` are listed in it.
    pub diagnosis: Diagnosis,
    /// Holders that are counted and not listed.
    pub holders_left_out: u64,
    /// When the last blocker's timer ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clears: Option<Moment>,
}

/// Failed calls of one kind, on one port, for one cause.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailureCount {
    /// `bind`, `listen` or `connect`.
    pub call: String,
    /// The port that was asked for.
    pub port: u16,
    /// The cause.
    pub cause: crate::event::Cause,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The last.
    pub last: Moment,
}

/// The history of one port.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PortTimeline {
    /// The port.
    pub port: u16,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Who listened when, without gaps.
    pub spans: Vec<PortSpan>,
    /// Failed `bind` and `listen` calls.
    pub failed_calls: Vec<Mark>,
    /// Failed calls in all.
    pub failed_total: u64,
    /// When sockets in TIME_WAIT held it.
    pub time_wait: Vec<TimeWaitSpan>,
    /// Whether a limit left something of it out.
    pub is_shortened: bool,
}

/// Whether a port was listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Nobody had been seen to listen yet.
    NotSeen,
    /// Somebody listened.
    Listening,
    /// Nobody listened any more.
    Down,
}

/// A span of a port's history.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PortSpan {
    /// From here.
    pub from: Moment,
    /// To here.
    pub to: Moment,
    /// Whether somebody listened.
    pub service: Service,
    /// Who listened, or had listened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
}

/// An event on a timeline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Mark {
    /// Position in the recording.
    pub seq: u64,
    /// When.
    pub at: Moment,
}

/// A stretch in which a port was held by TIME_WAIT.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TimeWaitSpan {
    /// From here.
    pub from: Moment,
    /// To here, or to the recording's end.
    pub to: Moment,
    /// Most sockets at one time.
    pub most: u64,
}

/// Why a socket is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It stood in the way of a failed call.
    Holder,
    /// It listened.
    Listener,
    /// An RST ended it.
    Reset,
    /// It was on a port of the report.
    Other,
}

/// The history of one socket.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SocketTimeline {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// Why it is listed.
    pub role: Role,
    /// Whose it is or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Arc<Process>>,
    /// It was there before the recording.
    pub is_from_snapshot: bool,
    /// Its states, without gaps, up to its end or the recording's.
    pub states: Vec<SocketSpan>,
}

/// A socket was in a state.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SocketSpan {
    /// The state.
    pub state: State,
    /// The event that shows it.
    pub seq: u64,
    /// From here.
    pub from: Moment,
    /// To here, or to the recording's end.
    pub to: Moment,
}

/// Sockets per state over time. Each sample holds the highest count of each
/// state within its time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatesOverTime {
    /// Nanoseconds per sample.
    pub step_ns: u64,
    /// The states that occurred.
    pub states: Vec<State>,
    /// Counts, in the order of `states`.
    pub samples: Vec<Vec<u32>>,
}

/// Resets that are alike.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ResetCount {
    /// Which way they went.
    pub direction: Direction,
    /// The kernel's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The socket's state; absent: no socket was involved, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The last.
    pub last: Moment,
    /// Positions of the first few.
    pub seqs: Vec<u64>,
}

/// What was lost.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Losses {
    /// Lost events by stage.
    pub by_stage: BTreeMap<String, u64>,
    /// From each loss to the snapshot that made up for it.
    pub windows: Vec<LossWindow>,
}

/// A stretch in which the recording does not show everything.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LossWindow {
    /// The loss was noticed here.
    pub from: Moment,
    /// A snapshot made up for it here; absent: none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
    /// Events that were lost.
    pub count: u64,
    /// Failed calls of the report inside it, by `seq`: their history may have gaps.
    pub failures: Vec<u64>,
}

/// Something that a limit of the report left out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// How many.
    pub count: u64,
    /// How many the report lists at most.
    pub limit: u64,
}

/// The JSON Schema (2020-12) of `report --format json`.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Report>()
}

/// Monotonic times as moments of the recording.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start_ns: u64,
    anchor: ClockAnchor,
}

impl Clock {
    fn at(&self, mono_ns: u64) -> Moment {
        Moment {
            ts: rfc3339::format(self.anchor.realtime_ns(mono_ns)),
            after_ns: mono_ns.saturating_sub(self.start_ns),
        }
    }
}

fn call_name(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Bind => "bind",
        CallKind::Listen => "listen",
        CallKind::Connect => "connect",
    }
}
