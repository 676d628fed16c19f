//! The panels of the dashboard, and what a row of them is about.

use crate::model::{PortKey, SocketId};

/// A panel that the arrow keys can move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Panel {
    /// The ports' stories.
    Ports,
    /// The failure banner.
    Banner,
    /// The socket table.
    #[default]
    Sockets,
    /// The event list.
    Events,
}

/// What a row or a detail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A port's scenario.
    Port(PortKey),
    /// A socket's life.
    Socket(SocketId),
    /// An event, by its position.
    Event(u64),
    /// A failed call, by its position.
    Failure(u64),
}
