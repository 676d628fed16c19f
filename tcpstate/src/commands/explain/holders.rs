//! The sockets on one port, read as often as wanted: from the port's bind bucket where that
//! is allowed, else from what everybody may read.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use crate::event::{Seen, SeenHolder, SeenSource, State, Unread};
use crate::kernel::{KernelError, PortReader};
use crate::snapshot::netns::Namespaces;
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{owners, port};

/// How many of the sockets on a port are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Extent {
    /// A few of those that are alike, with the number of the others.
    Alike,
    /// Every single one.
    All,
}

/// Reads one port.
pub(in crate::commands) struct PortHolders {
    netns: u32,
    port: u16,
    /// A socket of ours in the namespace.
    guide: OwnedFd,
    reader: Result<PortReader, KernelError>,
}

impl PortHolders {
    /// `guide`: a TCP socket of ours in the namespace.
    pub(in crate::commands) fn new(netns: u32, port: u16, guide: OwnedFd) -> Self {
        Self {
            netns,
            port,
            guide,
            reader: PortReader::start(port),
        }
    }

    /// Whether the port's bind bucket itself is read, which takes microseconds.
    pub(in crate::commands) fn walks_buckets(&self) -> bool {
        self.reader.is_ok()
    }

    /// The sockets on the port, and what could not be seen of them.
    pub(in crate::commands) fn read(
        &mut self,
        namespaces: &mut Namespaces,
        extent: Extent,
    ) -> Result<(Option<Seen>, Vec<String>)> {
        let walked = match &mut self.reader {
            Ok(reader) => reader.read(&self.guide, self.port)?,
            Err(_) => None,
        };
        match (walked, &mut self.reader) {
            (Some(seen), _) if seen.is_complete => Ok((Some(seen), Vec::new())),
            (Some(seen), Ok(reader)) => {
                let (netns, port) = (self.netns, self.port);
                let listed = namespaces.inside(netns, || {
                    let listed = reader.list()?;
                    Ok::<_, crate::kernel::IterError>(port::holders(
                        port,
                        listed,
                        port::bound_sockets(netns, port),
                    ))
                })?;
                let seen = match (listed, extent) {
                    (Ok(listed), Extent::Alike) => port::merge(&seen, &listed),
                    (Ok(listed), Extent::All) => port::merge_all(&seen, &listed),
                    (Err(_), _) => seen,
                };
                let missing = if seen.is_complete {
                    Vec::new()
                } else {
                    vec!["some of the sockets on the port: there are too many".to_owned()]
                };
                Ok((Some(seen), missing))
            }
            _ => self.read_tables(namespaces),
        }
    }

    /// What everybody may read: `sock_diag`, which knows no options.
    fn read_tables(&self, namespaces: &mut Namespaces) -> Result<(Option<Seen>, Vec<String>)> {
        let (netns, port) = (self.netns, self.port);
        let found = namespaces.inside(netns, || {
            SockDiag::open(netns).and_then(|mut diag| diag.dump_port(port))
        })?;
        let mut found = found.context("cannot read the sockets on the port")?;
        // A connection request belongs to its listener and holds no port.
        found.retain(|item| item.state != State::SynReceived || item.inode.is_some());
        let mut missing = Vec::new();
        let is_complete = port::lists_bound_sockets();
        if !is_complete {
            missing.push(
                "sockets that are bound and neither listen nor are connected: this kernel lists \
                 them to nobody, and reading its memory needs root"
                    .to_owned(),
            );
        }
        if !found.is_empty() {
            missing.push(
                "SO_REUSEADDR and SO_REUSEPORT of the sockets on the port: reading them needs \
                 root (CAP_BPF and CAP_PERFMON); `--try` asks the kernel itself"
                    .to_owned(),
            );
        }
        let seen = Seen {
            source: SeenSource::Snapshot,
            is_complete,
            visited: u32::try_from(found.len()).unwrap_or(u32::MAX),
            holders: found.iter().map(|item| item.to_holder(None)).collect(),
            holders_more: 0,
            sharing: None,
            admits_reuseaddr: false,
            processes_unread: None,
        };
        Ok((Some(seen), missing))
    }
}

/// Looks up in `/proc` who has the sockets open. Gives what could not be seen of that.
pub(in crate::commands) fn name_processes(seen: &mut Seen) -> Option<String> {
    port::name_processes(seen, |_| None);
    if !rustix::process::geteuid().is_root() {
        return forget_unseen_processes(seen).then(|| {
            "the processes that hold the port: other users' descriptors are shown to root only"
                .to_owned()
        });
    }
    // In a container, or below a user namespace, root may be nobody special.
    let is_unowned = |holder: &SeenHolder| holder.processes.as_ref().is_some_and(Vec::is_empty);
    if seen.holders.iter().any(is_unowned) && owners::are_some_denied() {
        forget_unseen_processes(seen);
        seen.processes_unread = Some(Unread::Denied);
    }
    None
}

/// Where `/proc` hides descriptors, that nobody was found says nothing. `true`: that is so.
fn forget_unseen_processes(seen: &mut Seen) -> bool {
    let mut is_missing = false;
    for holder in &mut seen.holders {
        if holder.processes.as_ref().is_some_and(Vec::is_empty) {
            holder.processes = None;
            is_missing = true;
        }
    }
    is_missing
}
