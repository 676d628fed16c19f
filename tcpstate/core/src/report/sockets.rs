//! The sockets that matter most, with their states over time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Clock, Role, SocketSpan, SocketTimeline, trim};
use crate::engine::Engine;
use crate::event::{Body, Diagnosis, Endpoint, Event, Process, Sock, State};
use crate::model::{PortKey, Socket, SocketId};

/// Sockets that are followed for each role, in the order of [`Role`].
const MAX_FOLLOWED: [usize; 3] = [256, 128, 64];
/// Sockets that the report shows.
pub(super) const MAX_SOCKETS: usize = 48;
/// States that one socket keeps.
const MAX_STATES: usize = 32;

#[derive(Debug)]
struct Track {
    sock: Sock,
    local: Endpoint,
    peer: Endpoint,
    role: Role,
    process: Option<Arc<Process>>,
    is_from_snapshot: bool,
    states: Vec<(u64, u64, State)>,
}

/// The sockets that are followed.
#[derive(Debug, Default)]
pub(super) struct SocketTracks {
    tracks: BTreeMap<SocketId, Track>,
    followed: [usize; 3],
    left_out: u64,
}

impl SocketTracks {
    /// Takes in one event; the engine has taken it in already.
    pub(super) fn note(&mut self, event: &Event, engine: &Engine) {
        let mut at = |sock: &Sock, local, peer| self.known_by(sock, local, peer);
        let (id, role) = match &event.body {
            Body::Socket(seen) => (
                at(&seen.sock, seen.local, seen.peer),
                (seen.state == State::Listen).then_some(Role::Listener),
            ),
            Body::State(change) if change.old == State::Closed => (
                SocketId::of(&change.sock, change.local, change.peer),
                (change.new == State::Listen).then_some(Role::Listener),
            ),
            Body::State(change) => (
                at(&change.sock, change.local, change.peer),
                (change.new == State::Listen).then_some(Role::Listener),
            ),
            Body::TimeWaitEnter(entered) => (at(&entered.sock, entered.local, entered.peer), None),
            Body::TimeWaitExit(exited) => (at(&exited.sock, exited.local, exited.peer), None),
            Body::Reset(reset) => {
                let Some(sock) = &reset.sock else { return };
                (at(sock, reset.local, reset.peer), Some(Role::Reset))
            }
            Body::Accept(call) | Body::Listen(call) => {
                let (Some(sock), Some(local)) = (&call.sock, call.local) else {
                    return;
                };
                let peer = call.peer.unwrap_or(Endpoint {
                    addr: local.addr,
                    port: 0,
                });
                (at(sock, local, peer), None)
            }
            _ => return,
        };
        if let Some(role) = role {
            self.follow(id, role, engine);
        }
        if let Some(track) = self.tracks.get_mut(&id)
            && let Some(socket) = engine.socket(&id)
        {
            track.catch_up(socket);
        }
    }

    /// What a socket is known by. One that had no cookie when it was seen first may
    /// have one now; what has closed is another.
    fn known_by(&mut self, sock: &Sock, local: Endpoint, peer: Endpoint) -> SocketId {
        let id = SocketId::of(sock, local, peer);
        if sock.known_cookie().is_none() || self.tracks.contains_key(&id) {
            return id;
        }
        let nameless = SocketId::of(&Sock { cookie: 0, ..*sock }, local, peer);
        if self.tracks.get(&nameless).is_some_and(Track::is_open)
            && let Some(track) = self.tracks.remove(&nameless)
        {
            self.tracks.insert(
                id,
                Track {
                    sock: *sock,
                    ..track
                },
            );
        }
        id
    }

    /// Follows the sockets that stood in the way of a call.
    pub(super) fn note_holders(&mut self, at_ns: u64, diagnosis: &Diagnosis, engine: &Engine) {
        for holder in diagnosis.holders.iter().take(trim::MAX_HOLDERS) {
            let id = self.known_by(&holder.sock, holder.local, holder.peer);
            self.follow(id, Role::Holder, engine);
            if self.tracks.contains_key(&id) || !self.has_room(Role::Holder) {
                continue;
            }
            // Only the failing call saw it.
            self.insert(
                id,
                Track {
                    sock: holder.sock,
                    local: holder.local,
                    peer: holder.peer,
                    role: Role::Holder,
                    process: holder.process.as_ref().map(trim::process),
                    is_from_snapshot: true,
                    states: vec![(at_ns, diagnosis.of, holder.state)],
                },
            );
        }
    }

    fn follow(&mut self, id: SocketId, role: Role, engine: &Engine) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.role = track.role.min(role);
            return;
        }
        let Some(socket) = engine.socket(&id) else {
            return;
        };
        if self.has_room(role) {
            self.insert(id, Track::of(socket, role));
        } else {
            self.left_out += 1;
        }
    }

    fn has_room(&self, role: Role) -> bool {
        let at = role as usize;
        self.followed.get(at) < MAX_FOLLOWED.get(at)
    }

    fn insert(&mut self, id: SocketId, track: Track) {
        if let Some(count) = self.followed.get_mut(track.role as usize) {
            *count += 1;
        }
        self.tracks.insert(id, track);
    }

    /// The sockets to show, by their first state, and how many more there were.
    pub(super) fn finish(
        mut self,
        clock: Clock,
        end_ns: u64,
        engine: &Engine,
        troubled: &BTreeSet<PortKey>,
    ) -> (Vec<SocketTimeline>, u64) {
        let known = self.tracks.len() as u64 + self.left_out;
        let room = MAX_SOCKETS.saturating_sub(self.tracks.len());
        let others = telling_sockets(engine, troubled, &self.tracks, room);
        let known = known + others.1;
        for socket in others.0 {
            self.tracks
                .insert(socket.id(), Track::of(socket, Role::Other));
        }
        let mut shown: Vec<Track> = self.tracks.into_values().collect();
        shown.sort_by_key(|track| {
            let key = PortKey {
                port: track.local.port,
                netns: track.sock.netns,
            };
            (
                track.role != Role::Holder,
                !troubled.contains(&key),
                track.role,
                track.first(),
            )
        });
        shown.truncate(MAX_SOCKETS);
        shown.sort_by_key(|track| (track.local.port, track.first()));
        let left_out = known.saturating_sub(shown.len() as u64);
        let shown = shown
            .into_iter()
            .map(|track| timeline(track, clock, end_ns))
            .collect();
        (shown, left_out)
    }
}

impl Track {
    fn of(socket: &Socket, role: Role) -> Self {
        let mut track = Self {
            sock: socket.sock,
            local: socket.local,
            peer: socket.peer,
            role,
            process: None,
            is_from_snapshot: socket.is_from_snapshot,
            states: Vec::new(),
        };
        track.catch_up(socket);
        track
    }

    fn first(&self) -> Option<(u64, u64)> {
        self.states.first().map(|(at_ns, seq, _)| (*at_ns, *seq))
    }

    fn is_open(&self) -> bool {
        self.states
            .last()
            .is_some_and(|(_, _, state)| *state != State::Closed)
    }

    /// Takes over what the engine knows by now.
    fn catch_up(&mut self, socket: &Socket) {
        self.local = socket.local;
        self.process = socket
            .owner
            .as_ref()
            .or(socket.left_by.as_ref())
            .map(trim::process)
            .or(self.process.take());
        let last = self.states.last().map(|(at_ns, seq, _)| (*at_ns, *seq));
        for step in &socket.steps {
            if last.is_some_and(|last| (step.mono_ns, step.seq) <= last) {
                continue;
            }
            if self.states.last().map(|last| last.2) == Some(step.state) {
                continue;
            }
            if self.states.len() == MAX_STATES {
                self.states.remove(1);
            }
            self.states.push((step.mono_ns, step.seq, step.state));
        }
    }
}

/// Sockets on ports in trouble that nobody has named yet, longest-lived first,
/// and how many there are beyond the room.
fn telling_sockets<'a>(
    engine: &'a Engine,
    troubled: &BTreeSet<PortKey>,
    named: &BTreeMap<SocketId, Track>,
    room: usize,
) -> (Vec<&'a Socket>, u64) {
    let mut others: Vec<&Socket> = engine
        .table()
        .iter()
        .chain(engine.table().closed())
        .filter(|socket| {
            troubled.contains(&PortKey {
                port: socket.local.port,
                netns: socket.sock.netns,
            }) && !named.contains_key(&socket.id())
        })
        .collect();
    others.sort_by_key(|socket| {
        (
            socket.state != State::TimeWait,
            socket.first_seen_ns,
            socket.id(),
        )
    });
    let beyond = others.len().saturating_sub(room) as u64;
    others.truncate(room);
    (others, beyond)
}

fn timeline(track: Track, clock: Clock, end_ns: u64) -> SocketTimeline {
    let mut states = Vec::with_capacity(track.states.len());
    for (at, (from_ns, seq, state)) in track.states.iter().enumerate() {
        // Closed is the end of a story, not a part of it.
        if *state == State::Closed {
            continue;
        }
        let to_ns = track.states.get(at + 1).map_or(end_ns, |next| next.0);
        states.push(SocketSpan {
            state: *state,
            seq: *seq,
            from: clock.at(*from_ns),
            to: clock.at(to_ns.max(*from_ns)),
        });
    }
    SocketTimeline {
        sock: track.sock,
        local: track.local,
        peer: track.peer,
        role: track.role,
        process: track.process,
        is_from_snapshot: track.is_from_snapshot,
        states,
    }
}
