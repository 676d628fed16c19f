//! What a run is narrowed to, as far as a snapshot must know: the kernel program filters what
//! it reports itself.

use crate::event::{Filters, SocketSeen};

/// Whether a listed socket passes the filters of the kernel program.
pub(crate) fn wants(filters: &Filters, seen: &SocketSeen) -> bool {
    let ports = &filters.ports;
    let has_port = |port: u16| {
        ports.is_empty()
            || ports
                .iter()
                .any(|[first, last]| (*first..=*last).contains(&port))
    };
    let pids = &filters.pids;
    (has_port(seen.local.port) || has_port(seen.peer.port))
        && (pids.is_empty()
            || seen
                .process
                .as_ref()
                .is_some_and(|process| pids.contains(&process.pid)))
}

/// Whether the run is about some sockets only, and gets no further ones from a list.
pub(crate) fn is_narrowed(filters: &Filters) -> bool {
    !(filters.pids.is_empty() && filters.comms.is_empty() && filters.states.is_empty())
}
