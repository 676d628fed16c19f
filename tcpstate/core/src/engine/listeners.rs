//! Who listens on a port, and `restart`.
//!
//! The kernel shows the state LISTEN before `listen` has checked for
//! conflicts, so a listener counts only once the call has returned, a
//! connection came through it, or it has stood for a moment.

use std::sync::Arc;

use super::Engine;
use crate::event::{Body, Endpoint, Process, Restart, State, StateChange};
use crate::model::port::{MAX_RESTARTS, PortHistory};
use crate::model::{Listener, NS_PER_MS, Phase, PortKey, Socket, SocketId};

/// A failing `listen` takes its LISTEN back within microseconds.
const STANDS_NS: u64 = 100 * NS_PER_MS;

/// Listeners that wait for that; further ones count once a connection came
/// through them.
const MAX_UNCONFIRMED: usize = 1024;

/// A listener whose `listen` has not been seen to return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unconfirmed {
    key: PortKey,
    id: SocketId,
    since_ns: u64,
}

impl Engine {
    /// Notes that a transition makes or ends a listener.
    pub(super) fn note_listener(
        &mut self,
        mono_ns: u64,
        seq: u64,
        id: SocketId,
        change: &StateChange,
        owner: Option<Arc<Process>>,
    ) {
        let key = PortKey {
            port: change.local.port,
            netns: change.sock.netns,
        };
        if change.new == State::Listen {
            // listen on a socket without a port: the kernel chooses one later,
            // and the call's return says which.
            if key.port == 0 {
                return;
            }
            let history = self.ports.history(key);
            // The port of another namespace begins a history of its own.
            if let (Some(then), Some(now)) = (history.netns_cookie, change.netns_cookie)
                && then != now
            {
                *history = PortHistory::default();
            }
            history.netns_cookie = change.netns_cookie.or(history.netns_cookie);
            history.add_listener(Listener {
                id,
                local: change.local,
                since_ns: mono_ns,
                seq,
                is_since_known: true,
                is_confirmed: false,
                process: owner,
            });
            if self.unconfirmed.len() >= MAX_UNCONFIRMED {
                self.unconfirmed.remove(0);
            }
            self.unconfirmed.push(Unconfirmed {
                key,
                id,
                since_ns: mono_ns,
            });
        } else if change.old == State::Listen {
            self.note_lost_port(key, id);
            self.end_listener(mono_ns, seq, key, id);
        } else if change.old == State::SynReceived
            && let Some(cookie) = change.listener
        {
            self.confirm_listener(mono_ns, key, SocketId::Cookie(cookie));
        }
    }

    /// A listener that a snapshot found.
    pub(super) fn discover_listener(
        &mut self,
        mono_ns: u64,
        seq: u64,
        id: SocketId,
        socket: &Socket,
    ) {
        let key = PortKey {
            port: socket.local.port,
            netns: socket.sock.netns,
        };
        let history = self.ports.history(key);
        history.add_listener(Listener {
            id,
            local: socket.local,
            since_ns: mono_ns,
            seq,
            is_since_known: false,
            is_confirmed: false,
            process: socket.owner.clone(),
        });
        self.confirm_listener(mono_ns, key, id);
    }

    /// `listen` returned well: the listener counts, also where its transition
    /// had no port yet.
    pub(super) fn on_listening(
        &mut self,
        mono_ns: u64,
        seq: u64,
        key: PortKey,
        id: SocketId,
        local: Endpoint,
        process: &Process,
    ) {
        self.table.update(&id, |socket| socket.local = local);
        let history = self.ports.history(key);
        if history.listeners.iter().all(|listener| listener.id != id) {
            history.add_listener(Listener {
                id,
                local,
                since_ns: mono_ns,
                seq,
                is_since_known: true,
                is_confirmed: false,
                process: Some(Arc::new(process.tracked())),
            });
        }
        self.confirm_listener(mono_ns, key, id);
    }

    /// All processes that have a listener's descriptor open. If the one that
    /// listened is not among them, another one has the port now.
    pub(super) fn note_holders(&mut self, key: PortKey, id: SocketId, holders: &[Arc<Process>]) {
        let Some(history) = self.ports.history_if_any(key) else {
            return;
        };
        let Some(listener) = history
            .listeners
            .iter_mut()
            .find(|listener| listener.id == id)
        else {
            return;
        };
        let pid = listener.process.as_ref().map(|process| process.pid);
        if holders.iter().any(|holder| Some(holder.pid) == pid) {
            return;
        }
        let departed = std::mem::replace(&mut listener.process, holders.first().cloned());
        if let Phase::Listening { process, .. } = &mut history.phase
            && *process == departed
        {
            process.clone_from(&listener.process);
        }
    }

    /// A listener is known by another name from now on.
    pub(super) fn rename_listener(&mut self, key: PortKey, from: SocketId, to: SocketId) {
        if let Some(history) = self.ports.history_if_any(key) {
            for listener in &mut history.listeners {
                if listener.id == from {
                    listener.id = to;
                }
            }
        }
        for unconfirmed in &mut self.unconfirmed {
            if unconfirmed.id == from {
                unconfirmed.id = to;
            }
        }
    }

    /// A listener that a snapshot no longer found.
    pub(super) fn forget_listener(
        &mut self,
        mono_ns: u64,
        seq: u64,
        id: SocketId,
        socket: &Socket,
    ) {
        if socket.state == State::Listen {
            self.end_listener(
                mono_ns,
                seq,
                PortKey {
                    port: socket.local.port,
                    netns: socket.sock.netns,
                },
                id,
            );
        }
    }

    /// `listen` returned well, or a connection came through the listener.
    pub(super) fn confirm_listener(&mut self, mono_ns: u64, key: PortKey, id: SocketId) {
        let Some(history) = self.ports.history_if_any(key) else {
            return;
        };
        let Some(listener) = history
            .listeners
            .iter_mut()
            .find(|listener| listener.id == id)
        else {
            return;
        };
        if listener.is_confirmed {
            return;
        }
        listener.is_confirmed = true;
        self.unconfirmed.retain(|unconfirmed| unconfirmed.id != id);
        let listener = listener.clone();
        let listening = Phase::Listening {
            since_ns: listener.since_ns,
            is_since_known: listener.is_since_known,
            process: listener.process.clone(),
        };
        history
            .first_listened
            .get_or_insert((listener.since_ns, listener.is_since_known));
        match &history.phase {
            Phase::NeverListened => history.phase = listening,
            Phase::Listening { .. } => {}
            Phase::Down {
                since_ns,
                closed_seq,
                old_process,
            } => {
                let restart = Restart {
                    port: key.port,
                    netns: key.netns,
                    listen_closed_seq: *closed_seq,
                    listen_again_seq: listener.seq,
                    downtime_ms: listener.since_ns.saturating_sub(*since_ns) / NS_PER_MS,
                    failed_binds: history.failed_since_down,
                    old_process: old_process.clone(),
                    new_process: history.shared(listener.process),
                };
                history.phase = listening;
                history.failed_since_down = 0;
                if history.restarts.len() == MAX_RESTARTS {
                    history.restarts.pop_front();
                }
                history.restarts.push_back((mono_ns, restart.clone()));
                self.push(mono_ns, Body::Restart(Box::new(restart)));
            }
        }
    }

    /// Confirms listeners that have stood for a moment: their `listen` came
    /// by a way that is not watched.
    pub(super) fn confirm_listeners_by_age(&mut self, mono_ns: u64) {
        while let Some(oldest) = self.unconfirmed.first().copied() {
            if oldest.since_ns.saturating_add(STANDS_NS) > mono_ns {
                break;
            }
            self.unconfirmed.remove(0);
            self.confirm_listener(mono_ns, oldest.key, oldest.id);
        }
    }

    fn end_listener(&mut self, mono_ns: u64, seq: u64, key: PortKey, id: SocketId) {
        self.unconfirmed.retain(|unconfirmed| unconfirmed.id != id);
        let Some(history) = self.ports.history_if_any(key) else {
            return;
        };
        let Some(at) = history
            .listeners
            .iter()
            .position(|listener| listener.id == id)
        else {
            return;
        };
        let listener = history.listeners.remove(at);
        let was_last = history.listeners.iter().all(|other| !other.is_confirmed);
        if listener.is_confirmed && was_last {
            history.phase = Phase::Down {
                since_ns: mono_ns,
                closed_seq: seq,
                old_process: listener.process,
            };
            history.failed_since_down = 0;
        }
    }
}
