//! Whose an RST is.

use super::Engine;
use crate::event::{Body, Reset, State, StateChange};

/// Connections that nobody accepts whose RST has not come yet, at most.
const MAX_UNACCEPTED: usize = 64;

impl Engine {
    /// A listener that has closed meanwhile takes no connection: the kernel ends it where
    /// its handshake ends, which can be in a softirq (`inet_csk_reqsk_queue_add`).
    pub(super) fn remember_unaccepted(&mut self, change: &StateChange) {
        if (change.old, change.new) != (State::SynReceived, State::Closed) {
            return;
        }
        if self.unaccepted.len() == MAX_UNACCEPTED {
            self.unaccepted.pop_front();
        }
        let id = self.id_of_connection(&change.sock, change.local, change.peer);
        self.unaccepted.push_back(id);
    }

    /// An RST was sent or received.
    pub(super) fn on_reset(&mut self, mono_ns: u64, mut reset: Reset) {
        if let Some(sock) = &reset.sock {
            let id = self.id_of_connection(sock, reset.local, reset.peer);
            if let Some(index) = self.unaccepted.iter().position(|other| *other == id) {
                // The hook takes the RST of a closed socket for its owner's doing, and
                // this socket never had an owner.
                self.unaccepted.remove(index);
                reset.process = None;
            } else if reset.process.is_none() {
                let socket = self.table.get_or_closed(&id);
                reset.process = socket.and_then(|socket| socket.owner.clone());
            }
        }
        self.hint_from_reset(mono_ns, &reset);
        self.push(mono_ns, Body::Reset(reset));
    }
}
