//! `header`, `loss`, `tick` and `footer`: the run itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment in both of the kernel's clocks; ties `mono_ns` to the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockAnchor {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub mono_ns: u64,
    /// `CLOCK_REALTIME`: in memory nanoseconds since 1970-01-01 UTC, in JSON
    /// RFC 3339 text.
    #[serde(with = "super::rfc3339")]
    #[schemars(with = "String")]
    pub realtime: u64,
}

impl ClockAnchor {
    /// Nanoseconds since 1970-01-01 UTC at this monotonic time. Later steps of
    /// the wall clock are not seen: one run has one anchor.
    #[must_use]
    pub fn realtime_ns(&self, mono_ns: u64) -> u64 {
        if mono_ns >= self.mono_ns {
            self.realtime.saturating_add(mono_ns - self.mono_ns)
        } else {
            self.realtime.saturating_sub(self.mono_ns - mono_ns)
        }
    }
}

/// How the kernel is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// Function hooks (fentry, fexit).
    Functions,
    /// Tracepoints only.
    Tracepoints,
}

/// Whether a hook is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeStatus {
    /// On.
    Attached,
    /// The kernel does not have it or refuses it; `why` says which.
    Unavailable,
    /// Not needed in this run.
    Unused,
}

/// One hook in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Name, such as `inet_sock_set_state`.
    pub name: String,
    /// Kind, such as `tp_btf`, `tracepoint`, `iter`.
    pub kind: String,
    /// Whether it is on.
    pub status: ProbeStatus,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Probe {
    /// Kind of what sees the calls of one program by supervising it, without a hook.
    pub const SUPERVISOR: &'static str = "seccomp notification";
}

/// Settings of the network namespace that we run in; absent: not readable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sysctls {
    /// `net.ipv4.tcp_fin_timeout`, seconds: an orphan's FIN_WAIT_2, not TIME_WAIT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_fin_timeout: Option<u64>,
    /// `net.ipv4.tcp_tw_reuse`: outgoing connections only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_tw_reuse: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_max_tw_buckets: Option<u64>,
    /// `net.ipv4.tcp_rfc1337`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_rfc1337: Option<u64>,
    /// `net.ipv4.ip_local_port_range`, first and last port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_local_port_range: Option<[u16; 2]>,
    /// `net.ipv4.ip_local_reserved_ports`, as the kernel writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_local_reserved_ports: Option<String>,
    /// `net.ipv4.ip_unprivileged_port_start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_unprivileged_port_start: Option<u64>,
    /// `net.ipv4.ip_nonlocal_bind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_nonlocal_bind: Option<u64>,
    /// `net.ipv6.bindv6only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindv6only: Option<u64>,
}

/// What the run was narrowed to; absent or empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filters {
    /// Ports, local or peer; first and last of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<[u16; 2]>,
    /// Process ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// Names of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comms: Vec<String>,
    /// States.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<super::State>,
    /// Addresses, local or peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<std::net::IpAddr>,
    /// Inode number of the network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
}

/// First line: what a reader later needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of the schema.
    pub schema: String,
    /// Version of the program.
    pub tcpstate: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Identifies this boot of the host.
    pub boot_id: String,
    /// Inode number of the network namespace that the program runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Cookie of that namespace (`SO_NETNS_COOKIE`, Linux 5.14): no other one of
    /// this boot has it, while inode numbers come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_cookie: Option<u64>,
    /// Ties `mono_ns` to the calendar.
    pub clock: ClockAnchor,
    /// What the run is narrowed to.
    pub filters: Filters,
    /// Hooks in the kernel.
    pub probes: Vec<Probe>,
    /// How the kernel is observed.
    pub capture: Capture,
    /// Settings of the watched namespace.
    pub sysctls: Sysctls,
    /// Of a recording in several files: which one this is, from 2; absent: the
    /// first, or the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
}

/// What a run can do beyond what every run can, by the hooks that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Each re-arming and each end of a mini-socket is an event.
    MiniSockets,
}

impl Ability {
    /// Names of the hooks that it rests on.
    #[must_use]
    pub const fn hooks(self) -> &'static [&'static str] {
        match self {
            Self::MiniSockets => &["inet_twsk_kill", "__inet_twsk_schedule"],
        }
    }
}

impl Header {
    /// Whether the run has this ability.
    #[must_use]
    pub(crate) fn has(&self, ability: Ability) -> bool {
        ability.hooks().iter().all(|name| {
            self.probes
                .iter()
                .any(|probe| probe.name == *name && probe.status == ProbeStatus::Attached)
        })
    }

    /// Whether no hook was there, and only the calls of a supervised program were seen.
    #[must_use]
    pub fn has_supervisor_only(&self) -> bool {
        let attached = |probe: &&Probe| probe.status == ProbeStatus::Attached;
        let mut attached = self.probes.iter().filter(attached).peekable();
        attached.peek().is_some() && attached.all(|probe| probe.kind == Probe::SUPERVISOR)
    }
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossStage {
    /// The kernel program found no room.
    Kernel,
    /// The user side could not take it.
    User,
    /// A snapshot could not be read whole.
    Snapshot,
}

/// Events or sockets that could not be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Where.
    pub stage: LossStage,
    /// How many.
    pub count: u64,
    /// Whether a snapshot has put the table right since.
    pub resynced: bool,
}

/// Time that went on without an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tick {}

/// Last line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Footer {
    /// How the run ended: `duration`, `sigint`, `sigterm`, `quit`, `demo`, or an error.
    pub ended: String,
    /// Lines per event, this one included.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// Everything that was lost, by stage.
    #[serde(default)]
    pub losses: BTreeMap<String, u64>,
    /// Sockets per state at the end, as far as they are known.
    #[serde(default)]
    pub sockets: BTreeMap<String, u64>,
}
