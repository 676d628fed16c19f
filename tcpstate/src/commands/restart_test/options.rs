//! The options of the server's listener, and what a bind with them would meet: for a failure
//! whose call was not seen.

use std::fs;

use anyhow::Result;

use super::port_sockets::PortSockets;
use super::server::Server;
use crate::cli::SocketArgs;
use crate::commands::explain::Asker;
use crate::event::{Endpoint, Explanation, Family, Reuse};
use crate::supervise::{caller, proc, socket, tree};

/// How the listener was bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerOptions {
    local: Endpoint,
    family: Family,
    reuse: Reuse,
}

/// Those of the server's first listener; `None`: they cannot be read.
pub(super) fn of_listener(
    server: &Server<'_>,
    port_sockets: &mut PortSockets,
) -> Result<Option<ListenerOptions>> {
    let pids = server.processes();
    let listeners = port_sockets.listeners(&tree::open_sockets_of(&pids))?;
    let Some((listener, inode)) = listeners
        .first()
        .and_then(|item| item.inode.map(|inode| (item, inode)))
    else {
        return Ok(None);
    };
    let family = listener.sock.family;
    let reuse = pids.into_iter().find_map(|pid| {
        let folder = fs::read_dir(proc::of(pid).join("fd")).ok()?;
        let fd = folder
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find(|fd| caller::inode(pid, *fd) == Some(inode))?;
        // It is held for this moment only.
        let duplicate = caller::descriptor(pid, fd).ok()?;
        Some(socket::reuse(&duplicate, family))
    });
    Ok(reuse.map(|reuse| ListenerOptions {
        local: listener.local,
        family,
        reuse,
    }))
}

/// What a bind with these options would meet now.
pub(super) fn ask(port: u16, options: &ListenerOptions) -> Result<Explanation> {
    let args = SocketArgs {
        addr: (!options.local.addr.is_unspecified()).then(|| options.local.addr.to_string()),
        is_reuseaddr: options.reuse.reuseaddr,
        is_reuseport: options.reuse.reuseport,
        is_ipv6: options.family == Family::Ipv6,
        is_v6only: options.reuse.v6only,
        ..plain()
    };
    Asker::new(port, &args)?.ask_with_processes()
}

/// What a bind without any option would meet now.
pub(super) fn ask_plainly(port: u16) -> Result<Explanation> {
    Asker::new(port, &plain())?.ask_with_processes()
}

/// The same by a bind, made and taken back: where not everything that may hold a port is shown.
pub(super) fn try_plainly(port: u16) -> Result<Explanation> {
    Asker::new(port, &plain())?
        .trying(true)?
        .ask_with_processes()
}

fn plain() -> SocketArgs {
    SocketArgs {
        addr: None,
        is_reuseaddr: false,
        is_reuseport: false,
        is_ipv6: false,
        is_v6only: false,
        device: None,
        uid: None,
        netns: "self".to_owned(),
    }
}
