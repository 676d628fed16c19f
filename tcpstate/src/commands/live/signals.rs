//! The signals that end a run in order.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::stdio;

/// Signals that end a run in order, from the moment that this exists.
#[derive(Debug)]
pub(in crate::commands) struct Signals {
    interrupted: Signal,
    terminated: Signal,
    hung_up: Signal,
}

impl Signals {
    /// Listens from here on; one that comes before anybody asks is not lost.
    pub(in crate::commands) fn listen() -> io::Result<Self> {
        stdio::end_on_signals()?;
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next one, as in the footer.
    pub(in crate::commands) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupted.recv() => "sigint",
            _ = self.terminated.recv() => "sigterm",
            _ = self.hung_up.recv() => "sighup",
        }
    }
}
