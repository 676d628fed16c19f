//! The glossary of the help and the details: terms of TCP in plain words.

use crate::event::State;

/// What a socket in this state waits for.
pub(crate) fn meaning(state: State) -> &'static str {
    match state {
        State::Listen => "a server waits for connections",
        State::Bound => "has a port, and neither listens nor is connected",
        State::SynSent => "connecting: the peer has not answered yet",
        State::SynReceived => "a connection comes in: the last answer is awaited",
        State::Established => "connected",
        State::CloseWait => "the peer has closed; the program here has not",
        State::FinWait1 => "closed here; the peer has not confirmed it yet",
        State::FinWait2 => "closed here and confirmed; the peer has not closed yet",
        State::Closing => "both sides closed at once; a confirmation is awaited",
        State::LastAck => "both have closed; the last confirmation is awaited",
        State::TimeWait => {
            "closed; the kernel keeps the side that closed first for 60 s, against late segments"
        }
        State::Closed => "over",
    }
}

/// Other terms on the screen.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("EADDRINUSE", "\"Address already in use\": the port is held"),
    (
        "SO_REUSEADDR",
        "socket option of a server, set before bind: lets it have a port that only closed \
         connections (TIME_WAIT) hold, if their sockets had it too",
    ),
    (
        "SO_REUSEPORT",
        "socket option: several sockets of one user share a port",
    ),
    (
        "RST, reset",
        "a connection cut off at once; leaves no TIME_WAIT",
    ),
    (
        "netns",
        "network namespace, by its inode number: a container has its own ports",
    ),
    (
        "proven, likely",
        "how sure the cause is; d says what could not be seen",
    ),
    (
        "LOST",
        "events that did not reach the screen: the table may lack sockets until it is read anew \
         (resynced)",
    ),
    (
        "tracepoints",
        "where the kernel is listened to; `tcpstate doctor` says what that covers",
    ),
];
