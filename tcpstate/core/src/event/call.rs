//! `bind`, `listen`, `connect` and `accept`: calls on TCP sockets.

use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ephemeral::Ephemeral;
use super::run::Sysctls;
use super::socket::{Endpoint, Family, Process, Reuse, Sock, State};

/// How a call reached the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A system call.
    Syscall,
    /// An `io_uring` request.
    IoUring,
    /// The kernel itself.
    Kernel,
}

/// What a call asked for. `addr` is absent where it could not be read or is
/// of a family that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// Address asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<IpAddr>,
    /// Port asked for; 0: any.
    pub port: u16,
}

/// Where the holders of a port were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeenSource {
    /// In the kernel's bind bucket, inside the failing call.
    BindBucket,
    /// In a snapshot shortly after.
    Snapshot,
}

/// A socket that held the port when a call failed, as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenHolder {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// State; `time_wait` and an orphan's `fin_wait_2` have `is_mini` set.
    pub state: State,
    /// A kernel mini-socket: it has no descriptor and no owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_mini: bool,
    /// Its options at that moment; absent: they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// `IPV6_V6ONLY`, where that alone could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6only: Option<bool>,
    /// Interface index of `SO_BINDTODEVICE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_dev_if: Option<u32>,
    /// User that it belongs to, as the kernel compares it for `SO_REUSEPORT`:
    /// `sk_uid`, and up to Linux 6.16 root for a socket without a descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// `connect` chose the port (known from Linux 6.18 on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_connect_bound: Option<bool>,
    /// `bind` fixed the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_port_locked: Option<bool>,
    /// Inode number of the socket's file; absent: no descriptor holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Milliseconds until the mini-socket's timer ends; 0: overdue.
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
    /// Processes that had the descriptor open when `/proc` was read, at most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Arc<Process>>>,
    /// Further ones, which are counted and not listed.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub processes_more: u32,
    /// No process has it open, and there is none any more with the number of the one that
    /// opened it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_opener_gone: bool,
}

/// Whom a port's bind bucket lets in by `SO_REUSEPORT` without a look at the
/// sockets in it: what the last one that bound with the option left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sharing {
    /// Sockets of this user.
    pub uid: u32,
    /// Its family.
    pub family: Family,
    /// The address that they must have, the wildcard meeting every one;
    /// absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<IpAddr>,
    /// Whether it had `IPV6_V6ONLY`.
    pub v6only: bool,
}

/// What held the port when a call failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Where it was read.
    pub source: SeenSource,
    /// Whether these, with those they stand for, are all.
    pub is_complete: bool,
    /// Sockets looked at.
    pub visited: u32,
    /// The sockets, at most 64.
    pub holders: Vec<SeenHolder>,
    /// Further ones, too different from each other to be counted as `alike`.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub holders_more: u32,
    /// Whom the bucket lets in without a look at them; absent: nobody, or not
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// `bind` lets a socket with `SO_REUSEADDR` in without a look at them: all had
    /// the option when they bound, and none has listened since (up to Linux 6.7).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admits_reuseaddr: bool,
    /// Why holders have no `processes` that could have some; absent: they have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_unread: Option<Unread>,
}

impl Seen {
    /// What is known before anything was read.
    #[must_use]
    pub fn unread() -> Self {
        Self {
            source: SeenSource::Snapshot,
            is_complete: false,
            visited: 0,
            holders: Vec::new(),
            holders_more: 0,
            sharing: None,
            admits_reuseaddr: false,
            processes_unread: None,
        }
    }
}

/// Why nobody is named who has a socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// No process was found to have one of the sockets among its descriptors, and whether
    /// one has it elsewhere took longer to find out than there was time.
    Undisclosed,
    /// No process was found to have one of the sockets, and those of some processes may not
    /// be looked at.
    Denied,
    /// Finding them would have taken longer than the call could be kept waiting.
    NoTime,
    /// The call came late to be explained, behind others, and they were not looked for.
    Late,
}

/// An interface that has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnInterface {
    /// Its name.
    pub interface: String,
    /// Duplicate address detection goes on (`IFA_F_TENTATIVE`, RFC 4862).
    pub is_tentative: bool,
    /// It has found the address in use by another host (`IFA_F_DADFAILED`).
    pub is_duplicate: bool,
}

/// IPv6 in a network namespace, for a call that found an address wanting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ipv6State {
    /// It is switched off (`net.ipv6.conf.all.disable_ipv6`, or a kernel without it), and no
    /// interface has an IPv6 address, not even the loopback one.
    pub is_off: bool,
    /// Addresses that a connection could come from: all that are neither tentative nor
    /// duplicates, the loopback one among them (`ipv6_dev_get_saddr`).
    pub sources: u32,
    /// Interfaces that have the address that was asked for.
    pub requested_on: Vec<OnInterface>,
}

/// What a process was allowed, as `/proc` showed it after a call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rights {
    /// `CAP_NET_BIND_SERVICE` is among its effective capabilities (`CapEff`).
    pub net_bind_service: bool,
    /// Its user namespace owns the network namespace, or is an ancestor of the one that
    /// does: only then its capabilities count there. Absent: not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owns_netns: Option<bool>,
    /// `no_new_privs` is set: an exec gives it no capabilities of a file.
    pub no_new_privs: bool,
}

/// A call on a TCP socket returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Whether it succeeded.
    pub ok: bool,
    /// The error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// The error's name, such as `EADDRINUSE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_name: Option<Arc<str>>,
    /// The error was not seen, only that the call has not taken effect: it is what the
    /// kernel's rule gives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub errno_inferred: bool,
    /// What was asked for, also on failure. For `listen` the port that the
    /// socket has; for `connect` the peer.
    pub requested: Requested,
    /// Local address after the call; absent where the socket has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Endpoint>,
    /// Peer address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Endpoint>,
    /// Which socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock: Option<Sock>,
    /// The socket's options at the call's return.
    pub reuse: Reuse,
    /// Interface index of `SO_BINDTODEVICE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_dev_if: Option<u32>,
    /// User that the socket belongs to (`sk_uid`), which is whoever opened it
    /// and need not be the caller; for failed calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The calling process.
    pub process: Arc<Process>,
    /// How the call reached the kernel.
    pub via: Via,
    /// `ip_unprivileged_port_start` of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprivileged_port_start: Option<u32>,
    /// Name that `ip netns` has for the caller's network namespace, where it is
    /// another one than the observer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_name: Option<Arc<str>>,
    /// Inode number of the kernel's own rtnetlink socket in that namespace: no other
    /// namespace of this boot has it, while the namespace's number comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtnetlink_inode: Option<u64>,
    /// What the caller might do, where the call was refused for want of a right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// IPv6 in the caller's namespace, where the call found an IPv6 address wanting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Box<Ipv6State>>,
    /// How the ports are used that the kernel may choose, where the call found none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Box<Ephemeral>>,
    /// Settings of the caller's namespace when the call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<Box<Sysctls>>,
    /// What held the port, where that is why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// So many more calls of the same process, port and errno have failed since the last
    /// such event; they were counted and not reported one by one.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub repeated: u64,
    /// This one was only counted as well: nobody looked when it failed, and there is no
    /// diagnosis. It is the last of calls that have come to rest, and reports of them what the
    /// first one was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sum: bool,
}

impl Call {
    /// A system call of a process that worked, of which no more is known than what it asked for.
    #[must_use]
    pub fn new(requested: Requested, process: Arc<Process>) -> Self {
        Self {
            ok: true,
            errno: None,
            errno_name: None,
            errno_inferred: false,
            requested,
            local: None,
            peer: None,
            sock: None,
            reuse: Reuse::default(),
            bound_dev_if: None,
            uid: None,
            process,
            via: Via::Syscall,
            unprivileged_port_start: None,
            netns_name: None,
            rtnetlink_inode: None,
            rights: None,
            ipv6: None,
            ephemeral: None,
            sysctls: None,
            seen: None,
            repeated: 0,
            is_sum: false,
        }
    }

    /// How many failed calls the event stands for.
    #[must_use]
    pub fn failures(&self) -> u64 {
        if self.ok {
            0
        } else {
            self.repeated.saturating_add(1)
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_none_at_all(count: &u64) -> bool {
    *count == 0
}
