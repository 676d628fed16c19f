//! Looks into the kernel's tables: sockets, namespaces, processes, settings.

pub mod netns;
pub mod owners;
pub mod sock_diag;
pub mod sysctl;

use crate::event::{Sock, SocketSeen, Source};

/// A socket that a look found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// When it was read, monotonic clock.
    pub mono_ns: u64,
    /// What was read.
    pub seen: SocketSeen,
    /// Inode of its descriptor; 0: none.
    pub inode: u64,
}

impl Found {
    /// What `sock_diag` said; it does not know the socket's options.
    #[must_use]
    pub fn from_diag(socket: &sock_diag::DiagSocket, netns: u32, mono_ns: u64) -> Self {
        Self {
            mono_ns,
            seen: SocketSeen {
                sock: Sock {
                    cookie: socket.cookie,
                    netns,
                    family: socket.family,
                },
                local: socket.local,
                peer: socket.peer,
                state: socket.state,
                process: None,
                reuse: None,
                expires_ms: socket.expires_ms,
                source: Source::Snapshot,
            },
            inode: socket.inode,
        }
    }
}
