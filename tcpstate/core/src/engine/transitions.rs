//! `tcp.state`: a socket moves from one state to the next.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Engine;
use crate::event::{
    Body, ExitReason, Mini, Process, Source, State, StateChange, TimeWaitEnter, TimeWaitExit,
};
use crate::model::socket::Tuple;
use crate::model::{NS_PER_MS, Origin, PortKey, Socket, SocketId, TIME_WAIT_MS};

impl Engine {
    pub(super) fn on_transition(&mut self, mono_ns: u64, mut change: StateChange) {
        let Some(id) = self.id_of_change(mono_ns, &change) else {
            self.push(mono_ns, Body::State(change));
            return;
        };
        let known = self.table.get(&id);
        let owner = match change.new {
            State::Listen | State::SynSent => change
                .process
                .as_ref()
                .map(|process| self.followed.tracked(process)),
            _ => None,
        }
        .or_else(|| known.and_then(|socket| socket.owner.clone()))
        .or_else(|| self.owner_through_listener(&change))
        // Where hooks are given no cookies, a socket whose port is chosen for it has
        // no name before this; the kernel program has kept who connected it.
        .or_else(|| {
            let process = change.process.as_ref().filter(|_| change.is_answer())?;
            Some(self.followed.tracked(process))
        });
        let is_first_close = matches!(change.new, State::FinWait1)
            || (change.new == State::Closed
                && matches!(change.old, State::Established | State::SynSent));
        let left_by = if is_first_close {
            change.process.clone()
        } else {
            known.and_then(|socket| socket.left_by.clone())
        };
        let origin = match (change.old, change.new) {
            (_, State::Listen) => Origin::Listener,
            (_, State::SynSent) if self.was_port_asked_for(&change) => {
                Origin::OutgoingFromFixedPort
            }
            (State::SynSent, _) if known.is_some_and(is_from_fixed_port) => {
                Origin::OutgoingFromFixedPort
            }
            (_, State::SynSent) | (State::SynSent, _) => Origin::Outgoing,
            (State::SynReceived, _) => Origin::Accepted,
            _ => known.map_or(Origin::Unknown, |socket| socket.origin),
        };
        if change.process.is_none() || change.is_answer() {
            change.process.clone_from(&owner);
        }
        self.end_time_wait_that_is_reused(mono_ns, &change, id);
        self.hint_from_transition(mono_ns, &change);

        let facts = StateChange {
            process: None,
            error: None,
            ..change
        };
        let seq = self.push(mono_ns, Body::State(change));

        let (new, mini) = (facts.new, facts.mini);
        if [facts.old, new].contains(&State::Listen) || facts.listener.is_some() {
            self.note_listener(mono_ns, seq, id, &facts, owner.clone());
        }
        let go_on = |socket: &mut Socket| {
            socket.local = facts.local;
            socket.peer = facts.peer;
            socket.reuse = Some(facts.reuse);
            socket.owner = owner;
            socket.left_by = left_by;
            socket.origin = origin;
            socket.changed_ns = mono_ns;
        };
        match (new, mini) {
            (State::Closed, Some(mini)) => {
                let mut socket = self
                    .take_out(&id)
                    .unwrap_or_else(|| new_socket(mono_ns, &facts));
                go_on(&mut socket);
                self.become_mini(mono_ns, seq, id, socket, &mini, facts.old);
            }
            (State::Closed, None) => {
                let mut socket = self
                    .take_out(&id)
                    .unwrap_or_else(|| new_socket(mono_ns, &facts));
                go_on(&mut socket);
                socket.enter(State::Closed, mono_ns, seq);
                self.table.remember_closed(socket);
            }
            (state, _) => {
                let go_on = |socket: &mut Socket| {
                    go_on(socket);
                    socket.is_mini = false;
                    socket.expires_at_ns = None;
                    socket.enter(state, mono_ns, seq);
                    std::mem::take(&mut socket.next_poll_ns)
                };
                // Most connections change in their place.
                if self.table.get(&id).is_some() {
                    let check_ns = self.table.update(&id, go_on).flatten();
                    self.checks.cancel(check_ns, id);
                } else {
                    let mut socket = new_socket(mono_ns, &facts);
                    go_on(&mut socket);
                    self.take_in(id, socket);
                }
            }
        }
    }

    /// Whether a socket about to connect was bound to this very port. One that
    /// has no port yet, or was bound to port 0, has one chosen for it.
    fn was_port_asked_for(&self, change: &StateChange) -> bool {
        let key = PortKey {
            port: change.local.port,
            netns: change.sock.netns,
        };
        change.local.has_port()
            && self
                .ports
                .get(&key)
                .is_some_and(|history| history.was_last_bind_to_this_port)
    }

    fn become_mini(
        &mut self,
        mono_ns: u64,
        seq: u64,
        id: SocketId,
        mut socket: Socket,
        mini: &Mini,
        from: State,
    ) {
        socket.enter(mini.state, mono_ns, seq);
        socket.is_mini = true;
        socket.reuse = Some(mini.reuse);
        socket.expires_at_ns = mini
            .expires_ms
            .map(|ms| mono_ns.saturating_add(ms.saturating_mul(NS_PER_MS)));
        let entered = (mini.state == State::TimeWait)
            .then(|| time_wait_entered(&socket, mono_ns, from, mini.source));
        self.take_in(id, socket);
        self.schedule_poll(id, mono_ns);
        if let Some(entered) = entered {
            self.push(mono_ns, Body::TimeWaitEnter(entered));
        }
    }

    /// Takes a socket in; a full table is a loss that must show.
    pub(super) fn take_in(&mut self, id: SocketId, socket: Socket) {
        if !self.table.insert(id, socket) {
            let refused = self.table.refused();
            self.losses.insert("table_full", refused);
        }
    }

    /// A connection in the place of a TIME_WAIT: the kernel let it take over. It
    /// announces SYN_SENT before it looks whether it may, so that this only is a
    /// reason to poll as well. Any other state, and a mini-socket of its own, is
    /// proof: where a transition was lost, it is a later one that proves it.
    fn end_time_wait_that_is_reused(&mut self, mono_ns: u64, change: &StateChange, id: SocketId) {
        if !change.local.has_port() || (change.new == State::Closed && change.mini.is_none()) {
            return;
        }
        let tuple = Tuple {
            netns: change.sock.netns,
            local: change.local,
            peer: change.peer,
        };
        let Some(mini_id) = self.table.mini_at(&tuple).filter(|mini_id| *mini_id != id) else {
            return;
        };
        if change.new == State::SynSent {
            self.table.update(&mini_id, |mini| {
                mini.challenged_ns = NonZeroU64::new(mono_ns);
            });
            self.check_at(mini_id, mono_ns.saturating_add(CONNECT_TAKES_NS));
            return;
        }
        // A record of the life before may come late.
        let is_older = self
            .table
            .get(&mini_id)
            .is_some_and(|mini| mini.since_ns <= mono_ns);
        if is_older {
            self.end_mini(mono_ns, mini_id, ExitReason::Reused, Source::Inferred);
        }
    }

    /// A mini-socket is gone.
    pub(super) fn end_mini(
        &mut self,
        mono_ns: u64,
        id: SocketId,
        reason: ExitReason,
        source: Source,
    ) {
        let Some(mut socket) = self.take_out(&id) else {
            return;
        };
        let exited = (socket.state == State::TimeWait).then(|| TimeWaitExit {
            sock: socket.sock,
            local: socket.local,
            peer: socket.peer,
            reason,
            lived_ms: mono_ns.saturating_sub(socket.since_ns) / NS_PER_MS,
            source,
        });
        socket.enter(State::Closed, mono_ns, self.next_seq.saturating_sub(1));
        self.table.remember_closed(socket);
        if let Some(exited) = exited {
            self.push(mono_ns, Body::TimeWaitExit(exited));
        }
    }

    /// The owner of the listening socket that a connection came through: by
    /// its cookie, else by the only listener of the port.
    fn owner_through_listener(&self, change: &StateChange) -> Option<Arc<Process>> {
        if change.old != State::SynReceived {
            return None;
        }
        let history = self.ports.get(&PortKey {
            port: change.local.port,
            netns: change.sock.netns,
        });
        if let Some(cookie) = change.listener {
            let id = SocketId::Cookie(cookie);
            let mut listeners = history.iter().flat_map(|history| &history.listeners);
            if let Some(listener) = listeners.find(|listener| listener.id == id) {
                return listener.process.clone();
            }
            if let Some(listener) = self.table.get_or_closed(&id) {
                return listener.owner.clone();
            }
        }
        match history?.listeners.as_slice() {
            [only] => only.process.clone(),
            _ => None,
        }
    }
}

fn is_from_fixed_port(socket: &Socket) -> bool {
    socket.origin == Origin::OutgoingFromFixedPort
}
/// From SYN_SENT to the kernel's decision it is microseconds.
const CONNECT_TAKES_NS: u64 = 20 * NS_PER_MS;

pub(super) fn time_wait_entered(
    socket: &Socket,
    mono_ns: u64,
    from: State,
    source: Source,
) -> TimeWaitEnter {
    TimeWaitEnter {
        sock: socket.sock,
        local: socket.local,
        peer: socket.peer,
        from,
        reuse: socket.reuse.unwrap_or_default(),
        left_by: socket.left_by.clone(),
        expires_ms: socket
            .remaining_ns(mono_ns)
            .map_or(TIME_WAIT_MS, |ns| ns / NS_PER_MS),
        source,
    }
}

fn new_socket(mono_ns: u64, change: &StateChange) -> Socket {
    Socket {
        sock: change.sock,
        local: change.local,
        peer: change.peer,
        state: change.old,
        is_mini: false,
        since_ns: mono_ns,
        first_seen_ns: mono_ns,
        is_from_snapshot: false,
        reuse: None,
        owner: None,
        left_by: None,
        origin: Origin::Unknown,
        expires_at_ns: None,
        next_poll_ns: None,
        changed_ns: mono_ns,
        is_past_life: false,
        challenged_ns: None,
        steps: Vec::new(),
    }
}
