//! What is there now: the kernel's socket tables, the processes that hold
//! sockets, network namespaces and their settings. Reads, never changes.

pub mod cgroup;
pub(crate) mod ephemeral;
pub mod executable;
pub(crate) mod ipv6;
pub mod netns;
pub(crate) mod open_sockets;
pub mod owners;
pub mod port;
pub mod proc;
pub(crate) mod rights;
pub mod sock_diag;
pub mod sysctl;
mod untrusted;

use std::sync::Arc;

use crate::event::{Endpoint, Process, Reuse, SeenHolder, Sock, SocketSeen, Source, State};
use crate::model::{NS_PER_MS, Tuple};

/// A socket in the kernel's tables. Absent: the source does not have it.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketItem {
    /// Which socket.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// State; for a mini-socket `time_wait` or `fin_wait_2`.
    pub state: State,
    /// A kernel mini-socket: it has no descriptor and no owner.
    pub is_mini: bool,
    /// Its options; `sock_diag` does not have them.
    pub reuse: Option<Reuse>,
    /// `IPV6_V6ONLY`, where that alone is known.
    pub v6only: Option<bool>,
    /// Interface index of `SO_BINDTODEVICE`.
    pub bound_dev_if: Option<u32>,
    /// User id of the socket.
    pub uid: Option<u32>,
    /// Inode number of the socket's file.
    pub inode: Option<u64>,
    /// The kernel's own: it never had a descriptor. `sock_diag` does not say so.
    pub is_kernels: bool,
    /// `bind` fixed the port.
    pub is_port_locked: Option<bool>,
    /// `connect` chose the port.
    pub is_connect_bound: Option<bool>,
    /// Milliseconds until the mini-socket's timer ends; 0: overdue.
    pub expires_ms: Option<u64>,
    /// Bytes that came and were not read; of a listener connections that were not accepted.
    pub receive_queue: Option<u32>,
}

impl SocketItem {
    fn kernel(&self) -> Option<Arc<Process>> {
        self.is_kernels.then(|| Arc::new(Process::kernel()))
    }

    /// Its namespace and addresses.
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        Tuple {
            netns: self.sock.netns,
            local: self.local,
            peer: self.peer,
        }
    }

    /// As an event of its own.
    #[must_use]
    pub fn to_seen(&self, process: Option<Arc<Process>>) -> SocketSeen {
        SocketSeen {
            sock: self.sock,
            local: self.local,
            peer: self.peer,
            state: self.state,
            process: self.kernel().or(process),
            reuse: self.reuse,
            expires_ms: self.expires_ms,
            processes: None,
            netns_ended: None,
            ended: None,
            source: Source::Snapshot,
        }
    }

    /// The same later than it was read: a timer has run on.
    #[must_use]
    pub fn to_seen_at(&self, read_ns: u64, now_ns: u64) -> SocketSeen {
        let passed_ms = now_ns.saturating_sub(read_ns) / NS_PER_MS;
        SocketSeen {
            expires_ms: self.expires_ms.map(|ms| ms.saturating_sub(passed_ms)),
            ..self.to_seen(None)
        }
    }

    /// As a holder of a port.
    #[must_use]
    pub fn to_holder(&self, processes: Option<Vec<Arc<Process>>>) -> SeenHolder {
        SeenHolder {
            sock: self.sock,
            local: self.local,
            peer: self.peer,
            state: self.state,
            is_mini: self.is_mini,
            reuse: self.reuse,
            v6only: self.v6only,
            bound_dev_if: self.bound_dev_if,
            uid: self.uid,
            is_connect_bound: self.is_connect_bound,
            is_port_locked: self.is_port_locked,
            inode: self.inode,
            expires_ms: self.expires_ms,
            alike: 0,
            is_tripped_over: false,
            processes: self.kernel().map(|kernel| vec![kernel]).or(processes),
            processes_more: 0,
            is_opener_gone: false,
        }
    }
}
