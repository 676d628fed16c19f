//! `socket`: what a snapshot of the kernel's tables found.

use std::sync::Arc;

use super::Engine;
use super::transitions::time_wait_entered;
use crate::event::{Body, ExitReason, NetnsEnd, SocketSeen, Source, State};
use crate::model::{NS_PER_MS, Origin, PortKey, Socket, SocketId};

/// A hook that fired this shortly before a snapshot outranks it: the kernel
/// announces a state before it stores it.
const HOOK_OUTRANKS_NS: u64 = 10 * NS_PER_MS;

/// A TIME_WAIT that is gone this much before its time did not expire: the
/// timer never runs early, but our reading of it is rounded to jiffies.
const EARLY_NS: u64 = 50 * NS_PER_MS;

/// A TIME_WAIT that is gone this shortly after a connect from its address was
/// taken over by it.
const CHALLENGE_LASTS_NS: u64 = 3_000 * NS_PER_MS;

impl Engine {
    pub(super) fn on_snapshot(&mut self, mono_ns: u64, seen: SocketSeen) {
        let facts = seen.clone();
        let seq = self.push(mono_ns, Body::Socket(seen));
        let id = self.id_of_seen(mono_ns, &facts);
        match (self.table.get(&id), facts.state) {
            (None, State::Closed) => {}
            // It was read, then it closed, and a hook reported that first.
            (None, _) if self.has_closed_since(mono_ns, &id, &facts) => {}
            (None, _) => self.discover(mono_ns, seq, id, &facts),
            (Some(known), State::Closed) => {
                if known.is_mini {
                    let reason = match (facts.ended, facts.netns_ended) {
                        (Some(reason), _) => reason,
                        // With its namespace, or at its time: not known.
                        (None, Some(NetnsEnd::Unreachable)) => ExitReason::Unknown,
                        (None, Some(NetnsEnd::Gone)) => exit_reason(known, mono_ns, false),
                        (None, None) => exit_reason(known, mono_ns, self.unresynced > 0),
                    };
                    self.end_mini(mono_ns, id, reason, facts.source);
                } else if facts.source == Source::Kernel {
                    // The end of a mini-socket whose beginning is still to be reported.
                } else if let Some(mut socket) = self.take_out(&id) {
                    self.forget_listener(mono_ns, seq, id, &socket);
                    socket.enter(State::Closed, mono_ns, seq);
                    self.table.remember_closed(socket);
                }
            }
            (Some(known), state) => {
                let is_outranked = state != known.state
                    && known.since_ns.saturating_add(HOOK_OUTRANKS_NS) > mono_ns
                    && !known.is_mini;
                if !is_outranked {
                    self.correct(mono_ns, seq, id, &facts);
                }
                if let (State::Listen, Some(holders)) = (state, &facts.processes) {
                    let key = PortKey {
                        port: facts.local.port,
                        netns: facts.sock.netns,
                    };
                    self.note_holders(key, id, holders);
                }
            }
        }
    }

    fn has_closed_since(&self, mono_ns: u64, id: &SocketId, seen: &SocketSeen) -> bool {
        !seen.is_mini()
            && self
                .table
                .get_or_closed(id)
                .is_some_and(|closed| closed.changed_ns > mono_ns)
    }

    fn discover(&mut self, mono_ns: u64, seq: u64, id: SocketId, seen: &SocketSeen) {
        // What was bound before it connected is bound again after it has closed.
        let past = self
            .table
            .get_or_closed(&id)
            .filter(|past| {
                past.sock
                    .known_cookie()
                    .is_some_and(|it| it == seen.sock.cookie)
            })
            .and_then(|past| past.owner.clone());
        let mut socket = Socket {
            sock: seen.sock,
            local: seen.local,
            peer: seen.peer,
            state: seen.state,
            is_mini: seen.is_mini(),
            since_ns: mono_ns,
            first_seen_ns: mono_ns,
            is_from_snapshot: true,
            reuse: seen.reuse,
            owner: seen.process.clone().or(past),
            left_by: None,
            origin: if seen.state == State::Listen {
                Origin::Listener
            } else {
                Origin::Unknown
            },
            expires_at_ns: expires_at_ns(seen, mono_ns),
            next_poll_ns: None,
            changed_ns: 0,
            challenged_ns: None,
            is_past_life: matches!(id, SocketId::PastLife(_)),
            steps: Vec::new(),
        };
        socket.enter(seen.state, mono_ns, seq);
        let is_mini = socket.is_mini;
        if seen.state == State::Listen {
            self.discover_listener(mono_ns, seq, id, &socket);
        }
        self.take_in(id, socket);
        if is_mini {
            self.schedule_poll(id, mono_ns);
        }
    }

    fn correct(&mut self, mono_ns: u64, seq: u64, id: SocketId, seen: &SocketSeen) {
        let entered = self.table.update(&id, |socket| {
            let from = socket.state;
            socket.is_mini = seen.is_mini();
            // The kernel chooses the port of a connect after the transition.
            if socket.sock.known_cookie().is_some() {
                socket.local = seen.local;
                socket.peer = seen.peer;
            }
            socket.expires_at_ns = expires_at_ns(seen, mono_ns);
            socket.reuse = seen.reuse.or(socket.reuse);
            socket.owner = seen
                .process
                .as_ref()
                .map(Arc::clone)
                .or_else(|| socket.owner.take());
            if from == seen.state {
                return None;
            }
            socket.enter(seen.state, mono_ns, seq);
            (seen.state == State::TimeWait)
                .then(|| time_wait_entered(socket, mono_ns, from, seen.source))
        });
        if seen.is_mini() {
            self.schedule_poll(id, mono_ns);
        }
        if let Some(Some(entered)) = entered {
            self.push(mono_ns, Body::TimeWaitEnter(entered));
        }
    }
}

fn expires_at_ns(seen: &SocketSeen, mono_ns: u64) -> Option<u64> {
    seen.expires_ms
        .map(|ms| mono_ns.saturating_add(ms.saturating_mul(NS_PER_MS)))
}

fn exit_reason(socket: &Socket, mono_ns: u64, has_unresynced_losses: bool) -> ExitReason {
    let is_challenged = socket
        .challenged_ns
        .is_some_and(|at_ns| mono_ns < at_ns.get().saturating_add(CHALLENGE_LASTS_NS));
    if is_challenged {
        return ExitReason::Reused;
    }
    match socket.expires_at_ns {
        Some(at_ns) if mono_ns.saturating_add(EARLY_NS) >= at_ns => ExitReason::Expired,
        Some(_) if !has_unresynced_losses => ExitReason::Destroyed,
        _ => ExitReason::Unknown,
    }
}
