//! What events say about sockets and processes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// TCP state of a socket, as the kernel names it (RFC 9293 section 3.3.2),
/// plus `bound` for a socket that has a port and no connection.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// `TCP_ESTABLISHED` (1).
    Established,
    /// `TCP_SYN_SENT` (2).
    SynSent,
    /// `TCP_SYN_RECV` (3).
    SynReceived,
    /// `TCP_FIN_WAIT1` (4).
    #[serde(rename = "fin_wait_1")]
    FinWait1,
    /// `TCP_FIN_WAIT2` (5).
    #[serde(rename = "fin_wait_2")]
    FinWait2,
    /// `TCP_TIME_WAIT` (6).
    TimeWait,
    /// `TCP_CLOSE` (7).
    Closed,
    /// `TCP_CLOSE_WAIT` (8).
    CloseWait,
    /// `TCP_LAST_ACK` (9).
    LastAck,
    /// `TCP_LISTEN` (10).
    Listen,
    /// `TCP_CLOSING` (11).
    Closing,
    /// Has a port, neither listens nor is connected.
    Bound,
}

impl State {
    /// All states in the order of the kernel's numbers, `bound` last.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Closed,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::Bound,
    ];

    /// The state with the kernel's number; `TCP_NEW_SYN_RECV` (12) reads as
    /// SYN_RECV.
    #[must_use]
    pub fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            13 => Self::Bound,
            _ => return None,
        })
    }

    /// The name as in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::TimeWait => "time_wait",
            Self::Closed => "closed",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::Bound => "bound",
        }
    }

    /// The state with this JSON name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Address family of a socket. An IPv6 socket may carry IPv4 traffic
/// (addresses of the form `::ffff:a.b.c.d`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `AF_INET`.
    Ipv4,
    /// `AF_INET6`.
    Ipv6,
}

impl Family {
    /// The address in these bytes, in network order; IPv4 in the first four.
    #[must_use]
    pub fn address(self, bytes: [u8; 16]) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            Self::Ipv6 => Ipv6Addr::from(bytes).into(),
        }
    }
}

/// A socket's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Sock {
    /// The kernel's socket cookie (`SO_COOKIE`), the join key that survives
    /// into TIME_WAIT; 0 where the kernel had none.
    pub cookie: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Address family.
    pub family: Family,
}

impl Sock {
    /// Its cookie; `None`: the kernel had none.
    #[must_use]
    pub fn known_cookie(&self) -> Option<u64> {
        (self.cookie != 0).then_some(self.cookie)
    }
}

/// An address and a port.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Endpoint {
    /// IP address; unspecified (`0.0.0.0`, `::`) stands for every address.
    pub addr: IpAddr,
    /// Port; 0: none (yet).
    pub port: u16,
}

impl Endpoint {
    /// Whether it has a port (yet).
    #[must_use]
    pub fn has_port(self) -> bool {
        self.port != 0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

/// The options that decide whether two sockets may share a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reuse {
    /// `SO_REUSEADDR` (`skc_reuse`).
    pub reuseaddr: bool,
    /// `SO_REUSEPORT` (`skc_reuseport`).
    pub reuseport: bool,
    /// `IPV6_V6ONLY` (`skc_ipv6only`).
    pub v6only: bool,
}

impl Reuse {
    /// The options that are set, by their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (self.reuseaddr, "SO_REUSEADDR"),
            (self.reuseport, "SO_REUSEPORT"),
            (self.v6only, "IPV6_V6ONLY"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect()
    }
}

/// How a process is known to be the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// It made the call itself.
    Syscall,
    /// Carried over from the socket's earlier life: the listener's owner, the
    /// process that connected or accepted.
    Tracked,
    /// Read from `/proc`: it has the descriptor open.
    Proc,
    /// Not known how.
    Unknown,
}

/// Why a process does not run: signals but SIGKILL and SIGCONT wait until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Halted {
    /// By a signal (SIGSTOP, ctrl-z): state `T` of `/proc/PID/stat`.
    Stopped,
    /// By a debugger: state `t`.
    Traced,
    /// Its first thread has ended, others go on: state `Z`.
    Defunct,
    /// Its control group is frozen (`cgroup.freeze`), as `docker pause` and `systemctl freeze`
    /// do: no signal but SIGKILL is taken until it is thawed.
    Frozen,
}

/// Where a process has a socket that is in no list of its descriptors.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HeldIn {
    /// Among the registered files of an `io_uring` (`UserFiles` of `/proc/PID/fdinfo/FD`).
    IoUring,
    /// Among the descriptors of a thread that does not share them with its process
    /// (`/proc/PID/task/TID/fd`).
    Thread,
    /// In a thread that is still inside `accept` on it, with its descriptor closed: of all
    /// processes in the namespace only this one has such a thread (`/proc/PID/task/TID/syscall`).
    Accept,
}

/// A file of a file system, by its numbers in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct FileId {
    /// Major number of the device (`i_sb->s_dev`).
    pub dev_major: u32,
    /// Minor number of the device.
    pub dev_minor: u32,
    /// Inode number (`i_ino`).
    pub inode: u64,
}

/// A systemd service, and what else runs in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Unit {
    /// Its name, such as `nginx.service`.
    pub name: String,
    /// Processes of the service that neither are this process nor descend from
    /// it, by pid; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<UnitMember>,
    /// More of them, which are not listed or could not be looked at.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub more: u32,
}

/// A process that a service has besides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct UnitMember {
    /// Process id.
    pub pid: u32,
    /// The name that it gave itself.
    pub comm: Arc<str>,
}

/// A process, as it was when it acted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id (the kernel's `tgid`).
    pub pid: u32,
    /// Thread id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Parent's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// The name that the parent gave itself, where `/proc` was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
    /// Effective user id.
    pub uid: u32,
    /// The name that the process gave itself (at most 15 bytes).
    pub comm: Arc<str>,
    /// Path of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<Arc<str>>,
    /// Language that the executable shows it was written in: `go`, `rust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
    /// Command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Arc<[String]>>,
    /// cgroup v2 path, from the root of the hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Arc<str>>,
    /// The container's id or name, from the cgroup path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// What runs the container: `docker`, `podman`, `containerd`, `cri-o`,
    /// `kubernetes`, `ecs`, `lxc`, `systemd-nspawn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Arc<str>>,
    /// User that made the control group which names the container; absent: not
    /// known. Only what root made is a container for certain: whoever has a
    /// delegated control group names those below it as he likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_uid: Option<u32>,
    /// The systemd service that it runs in: the outermost unit below the slices,
    /// where root made every control group on the way to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<Unit>>,
    /// When it started, in clock ticks (100 a second) since the boot, as field 22
    /// of `/proc/PID/stat`: tells it from another one that has its number later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// What keeps it from running, where `/proc` was read and something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
    /// Its lowest descriptor of the socket that it is listed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<u32>,
    /// Where it has the socket that it is listed for; absent: among its descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_in: Option<HeldIn>,
    /// What tells it from others of its name, of those who have a socket open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Arc<Identity>>,
    /// Which file its program was at the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<FileId>,
    /// The file at `exe`, in the observer's own view of the file system, is the
    /// program that made the call: same device, same inode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_exe_here: bool,
    /// How the process is known to be the one.
    pub via: KnownBy,
}

impl Process {
    /// The kernel itself: it has no number and runs no program.
    #[must_use]
    pub fn kernel() -> Self {
        Self::new(0, 0, "kernel", KnownBy::Unknown)
    }

    /// A process of which nothing else is known.
    #[must_use]
    pub fn new(pid: u32, uid: u32, comm: impl Into<Arc<str>>, via: KnownBy) -> Self {
        Self {
            pid,
            tid: None,
            ppid: None,
            parent: None,
            uid,
            comm: comm.into(),
            exe: None,
            language: None,
            argv: None,
            cgroup: None,
            container: None,
            runtime: None,
            container_uid: None,
            unit: None,
            start_ticks: None,
            halted: None,
            descriptor: None,
            held_in: None,
            identity: None,
            program: None,
            is_exe_here: false,
            via,
        }
    }

    /// Whether it is the kernel itself.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        !self.has_pid() && &*self.comm == "kernel"
    }

    /// Whether it is a process: the kernel is none, nor what is only asked about.
    #[must_use]
    pub fn has_pid(&self) -> bool {
        self.pid != 0
    }

    /// The same with arguments of at most so many bytes; what is cut ends in `…`.
    #[must_use]
    pub fn with_short_argv(self, max: usize) -> Self {
        let is_short = |argv: &[String]| argv.iter().map(String::len).sum::<usize>() <= max;
        let Some(argv) = self.argv.as_deref().filter(|argv| !is_short(argv)) else {
            return self;
        };
        let mut left = max;
        let mut short = Vec::new();
        for word in argv {
            if word.len() > left {
                let cut = word.floor_char_boundary(left);
                short.push(format!("{}…", &word[..cut]));
                break;
            }
            left -= word.len();
            short.push(word.clone());
        }
        Self {
            argv: Some(short.into()),
            ..self
        }
    }

    /// The same process, known because the socket was followed.
    #[must_use]
    pub fn tracked(&self) -> Self {
        Self {
            via: KnownBy::Tracked,
            ..self.clone()
        }
    }
}

impl fmt::Display for Process {
    /// `nginx[4711]`, `the kernel`; not yet safe for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_kernel() {
            return f.pad("the kernel");
        }
        write!(f, "{}[{}]", self.comm, self.pid)
    }
}

/// Where a statement about a socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Seen at a hook in the kernel.
    Kernel,
    /// Derived from the socket's fields at its last transition.
    Inferred,
    /// Read from the kernel's tables.
    Snapshot,
}
