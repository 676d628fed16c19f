//! What a snapshot of a socket says beyond what the table has.

use crate::event::{Body, NetnsEnd, SocketSeen, Source, State};
use crate::model::{NS_PER_MS, Socket};

/// A timer that the kernel has set anew differs by more than our rounding.
const REARMED_MS: u64 = 1_000;
/// A hook that fired this shortly before a snapshot outranks it.
pub(crate) const RECENT_NS: u64 = 10 * NS_PER_MS;

/// What a snapshot found, if it differs from what is known.
pub(crate) fn difference(
    known: &Socket,
    now_there: Option<SocketSeen>,
    asked_ns: u64,
) -> Option<SocketSeen> {
    let Some(seen) = now_there else {
        return Some(closed(known));
    };
    let expected_ms = known.remaining_ns(asked_ns).map(|ns| ns / NS_PER_MS);
    let is_rearmed = match (expected_ms, seen.expires_ms) {
        (Some(expected), Some(left)) => left.abs_diff(expected) > REARMED_MS,
        (None, None) => false,
        _ => true,
    };
    let is_elsewhere = (seen.local, seen.peer) != (known.local, known.peer);
    // Several may listen at one address: only a cookie tells which of them it is.
    let is_named = seen.state == State::Listen && known.sock.cookie == 0 && seen.sock.cookie != 0;
    (seen.state != known.state || is_rearmed || is_elsewhere || is_named).then_some(seen)
}

/// That the socket is gone.
pub(crate) fn closed(socket: &Socket) -> SocketSeen {
    SocketSeen {
        sock: socket.sock,
        local: socket.local,
        peer: socket.peer,
        state: State::Closed,
        process: None,
        reuse: None,
        // Distinguishes it from a socket with the same cookie.
        expires_ms: socket.is_mini.then_some(0),
        processes: None,
        netns_ended: None,
        ended: None,
        source: Source::Snapshot,
    }
}

/// That these sockets are gone with their namespace, of which that is known, in the order of
/// their addresses.
pub(crate) fn gone_with_namespace(mut sockets: Vec<Socket>, end: NetnsEnd) -> Vec<Body> {
    // The table has no order.
    sockets.sort_by_key(|socket| (socket.local, socket.peer, socket.sock.cookie));
    let gone = |socket: &Socket| SocketSeen {
        netns_ended: Some(end),
        ..closed(socket)
    };
    sockets.iter().map(gone).map(Body::Socket).collect()
}
