//! The connections of a round: brought into the state that its way says, and held against
//! what the kernel says of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::{self, Client, Connection};
use super::look::{Look, in_state};
use super::scene::{LOOK_EVERY, Scene, since};
use super::server::Server;
use crate::clock;
use crate::event::{LeftSockets, State, Way};
use crate::snapshot::SocketItem;
use crate::supervise::{proc, tree};

/// A server has accepted what it is going to accept after so long; one is enough.
const ACCEPTS: Duration = Duration::from_millis(500);
/// None is waited for longer than this.
const ACCEPTS_ONE: Duration = Duration::from_secs(5);
/// A server that closes when its client has closed does so within this time.
const ANSWERS: Duration = Duration::from_millis(300);
/// Bytes that are sent to be left unread. They end no line.
const UNREAD: &[u8] = b"tcpstate";

/// Whether the state was reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Staged {
    Yes,
    /// It was not, for this reason.
    No(String),
    /// It does not exist for this server, for this reason.
    NotApplicable(String),
}

/// A client that is held, and what it has done.
#[derive(Debug)]
struct Held {
    /// `None`: it is closed.
    client: Option<Client>,
    local: SocketAddr,
    server: SocketAddr,
    has_closed_direction: bool,
    is_reset: bool,
}

/// All clients of a scene.
#[derive(Debug, Default)]
pub(super) struct Clients {
    held: Vec<Held>,
    /// The kernel has shown the state before the stop.
    is_seen: bool,
}

impl Clients {
    /// Brings connections into the state that the round's way says.
    pub(super) fn stage(&mut self, scene: &mut Scene<'_>, addr: SocketAddr) -> Result<Staged> {
        match scene.way {
            Way::Idle => Ok(Staged::Yes),
            Way::ServerClosesFirst | Way::Sigkill => self.connect(scene, addr),
            Way::ChildLeft => {
                let staged = self.connect(scene, addr)?;
                let main = scene.server.main_pid();
                let has_child = scene.server.processes().iter().any(|it| Some(*it) != main);
                Ok(match staged {
                    Staged::Yes if !has_child => Staged::NotApplicable(
                        "the server has no child process that could be left".to_owned(),
                    ),
                    staged => staged,
                })
            }
            Way::ClientClosesFirst => self.close_first(scene, addr),
            Way::HalfClosed => self.close_half(scene, addr),
            Way::UnreadData => self.leave_unread(scene, addr),
        }
    }

    /// Connects, until the server has accepted all, or some in their time.
    fn connect(&mut self, scene: &mut Scene<'_>, addr: SocketAddr) -> Result<Staged> {
        for _ in 0..scene.plan.clients {
            let client = Client::begin(addr, &mut scene.ports)?;
            self.hold(client, false);
        }
        let began_ns = clock::monotonic_ns();
        let mut are_accepted = BTreeSet::new();
        loop {
            scene.server.pump(LOOK_EVERY)?;
            let open = scene.open_sockets();
            for client in self.held.iter_mut().filter_map(|held| held.client.as_mut()) {
                client.advance();
                if !are_accepted.contains(&client.local) && scene.is_accepted(client, &open, &[])? {
                    are_accepted.insert(client.local);
                }
            }
            let accepted = are_accepted.len();
            let waited = since(began_ns);
            if accepted == self.held.len() || accepted > 0 && waited >= ACCEPTS {
                return Ok(Staged::Yes);
            }
            if let Some(status) = scene.server.ended() {
                return Ok(Staged::No(format!(
                    "it ended {} when clients connected",
                    super::server::describe(status)
                )));
            }
            if waited >= ACCEPTS_ONE {
                return Ok(Staged::No(format!(
                    "could not be staged: the server accepted none of {} connections within {} s",
                    self.held.len(),
                    ACCEPTS_ONE.as_secs()
                )));
            }
        }
    }

    /// Clients close before the server does.
    fn close_first(&mut self, scene: &mut Scene<'_>, addr: SocketAddr) -> Result<Staged> {
        let staged = self.connect(scene, addr)?;
        if staged != Staged::Yes {
            return Ok(staged);
        }
        self.close_directions(|_| true);
        self.wait_for_answers(scene)?;
        if !self.has_any_closed_first(scene)? {
            // The server closes at once: it stands still until its clients have closed.
            stand_still(scene)?;
            for _ in 0..scene.plan.clients {
                let mut client = Client::begin(addr, &mut scene.ports)?;
                client.connect(ANSWERS);
                client.close_direction();
                self.hold(client, true);
            }
            let is_seen = self.has_any_closed_first(scene)?;
            Server::signal_all(Signal::CONT);
            if !is_seen {
                return Ok(Staged::No(
                    "could not be staged: the kernel shows no connection that its client has \
                     closed first"
                        .to_owned(),
                ));
            }
            self.wait_for_answers(scene)?;
        }
        // Both directions are closed now, of those that the server has answered.
        self.held.iter_mut().for_each(|held| held.client = None);
        Ok(Staged::Yes)
    }

    /// Whether the kernel shows a connection whose client's FIN came first.
    fn has_any_closed_first(&self, scene: &mut Scene<'_>) -> Result<bool> {
        for held in self.held.iter().filter(|held| held.has_closed_direction) {
            let servers = scene.look.servers_end(held.local, held.server)?;
            let clients = scene.look.clients_end(held.local, held.server)?;
            if has_closed_first(servers, clients) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every second client closes its direction; none closes what the server closes.
    fn close_half(&mut self, scene: &mut Scene<'_>, addr: SocketAddr) -> Result<Staged> {
        let staged = self.connect(scene, addr)?;
        if staged != Staged::Yes {
            return Ok(staged);
        }
        self.close_directions(|at| at % 2 == 1);
        self.wait_for_answers(scene)?;
        for held in self.held.iter().filter(|held| held.has_closed_direction) {
            let servers = scene.look.servers_end(held.local, held.server)?;
            self.is_seen |= servers.is_some_and(|end| end.state == State::CloseWait);
        }
        Ok(Staged::Yes)
    }

    /// The server stands still while clients send.
    fn leave_unread(&mut self, scene: &mut Scene<'_>, addr: SocketAddr) -> Result<Staged> {
        let staged = self.connect(scene, addr)?;
        if staged != Staged::Yes {
            return Ok(staged);
        }
        stand_still(scene)?;
        if self.send_unread(scene, 0)? {
            return Ok(Staged::Yes);
        }
        // A server that has closed what it accepted leaves unread what comes now.
        let first = self.held.len();
        for _ in 0..scene.plan.clients {
            let mut client = Client::begin(addr, &mut scene.ports)?;
            client.connect(ANSWERS);
            self.hold(client, false);
        }
        Ok(if self.send_unread(scene, first)? {
            Staged::Yes
        } else {
            Staged::No("could not be staged: the kernel shows no unread data".to_owned())
        })
    }

    /// Sends on the connections from this one on. Whether the kernel has it unread.
    fn send_unread(&mut self, scene: &mut Scene<'_>, first: usize) -> Result<bool> {
        let mut is_unread = false;
        for held in self.held.iter_mut().skip(first) {
            let Some(client) = &mut held.client else {
                continue;
            };
            client.advance();
            if client.state != Connection::Open || client.send(UNREAD).is_err() {
                continue;
            }
            let servers = scene.look.servers_end(held.local, held.server)?;
            is_unread |= servers
                .and_then(|end| end.receive_queue)
                .is_some_and(|bytes| bytes > 0);
        }
        Ok(is_unread)
    }

    fn hold(&mut self, client: Client, has_closed_direction: bool) {
        self.held.push(Held {
            local: client.local,
            server: client.server,
            client: Some(client),
            has_closed_direction,
            is_reset: false,
        });
    }

    fn close_directions(&mut self, is_one: impl Fn(usize) -> bool) {
        for (at, held) in self.held.iter_mut().enumerate() {
            if let Some(client) = &mut held.client {
                client.advance();
                if client.state == Connection::Open && is_one(at) {
                    client.close_direction();
                    held.has_closed_direction = true;
                }
            }
        }
    }

    /// Gives the server time to close what its clients have closed.
    fn wait_for_answers(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        let began_ns = clock::monotonic_ns();
        loop {
            let mut waits = false;
            for held in self
                .held
                .iter_mut()
                .filter(|held| held.has_closed_direction)
            {
                if let Some(client) = &mut held.client {
                    client.advance();
                    waits |= client.state == Connection::Open;
                }
            }
            if !waits || since(began_ns) >= ANSWERS {
                return Ok(());
            }
            scene.server.pump(LOOK_EVERY)?;
        }
    }

    /// Takes note of what has come; a client closes what the server has closed, unless the
    /// way says otherwise.
    pub(super) fn advance(&mut self, way: Way) {
        for held in &mut self.held {
            let Some(client) = &mut held.client else {
                continue;
            };
            client.advance();
            match client.state {
                Connection::ClosedByServer if way != Way::HalfClosed => held.client = None,
                Connection::Reset | Connection::Refused => {
                    held.is_reset = true;
                    held.client = None;
                }
                _ => {}
            }
        }
    }

    /// Whether a client waits for the server still.
    pub(super) fn are_any_open(&self) -> bool {
        let mut clients = self.held.iter().filter_map(|held| held.client.as_ref());
        clients.any(|client| matches!(client.state, Connection::Open | Connection::Connecting))
    }

    /// Connections that were reset.
    pub(super) fn count_reset(&self) -> u64 {
        let count = self.held.iter().filter(|held| held.is_reset).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Why the state of the way was not reached after all, by what the stop has left.
    pub(super) fn not_reached(&self, way: Way, left: &[LeftSockets]) -> Option<String> {
        match way {
            Way::HalfClosed => {
                let waits = in_state(left, State::FinWait1) + in_state(left, State::FinWait2);
                (waits == 0 && !self.is_seen).then(|| {
                    "could not be staged: the server left no half-closed connection, it \
                     resets them when it ends"
                        .to_owned()
                })
            }
            Way::UnreadData => {
                // Open still: somebody else has it.
                let is_lost = self.count_reset() > 0 || self.are_any_open();
                (!is_lost).then(|| {
                    "could not be staged: the server read what was sent before it ended".to_owned()
                })
            }
            Way::Idle
            | Way::ServerClosesFirst
            | Way::ClientClosesFirst
            | Way::Sigkill
            | Way::ChildLeft => None,
        }
    }

    /// Ends what is left of these connections, for the next one who binds the port.
    pub(super) fn leave_nothing(self, look: &mut Look) -> Result<()> {
        let ends: Vec<(SocketAddr, SocketAddr)> =
            self.held.iter().map(|it| (it.local, it.server)).collect();
        for client in self.held.into_iter().filter_map(|held| held.client) {
            client.abort();
        }
        for (local, server) in ends {
            let end = look.servers_end(local, server)?;
            if end.is_some_and(|end| end.state == State::TimeWait) {
                client::end_time_wait(local, server);
            }
        }
        Ok(())
    }
}

/// Stops all processes of the server, until a SIGCONT.
fn stand_still(scene: &mut Scene<'_>) -> Result<()> {
    Server::signal_all(Signal::STOP);
    let began_ns = clock::monotonic_ns();
    let stands_still = || {
        tree::descendants()
            .into_iter()
            .all(|pid| proc::stat(pid).is_none_or(|stat| matches!(stat.state, 'T' | 't')))
    };
    while !stands_still() && since(began_ns) < ANSWERS {
        scene.server.pump(LOOK_EVERY)?;
    }
    Ok(())
}

/// Whether the client's FIN came first: the server has not answered it yet, or the client
/// alone has the connection in a state that only who closed first comes to.
fn has_closed_first(servers: Option<SocketItem>, clients: Option<SocketItem>) -> bool {
    match servers.map(|end| end.state) {
        Some(State::CloseWait | State::LastAck) => true,
        Some(_) => false,
        None => clients.is_some_and(|end| matches!(end.state, State::TimeWait | State::FinWait2)),
    }
}
