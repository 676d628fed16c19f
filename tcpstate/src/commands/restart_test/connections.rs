//! The connections of a round: brought into the state that its way says, and held against
//! what the kernel says of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::{self, Client, Connection};
use super::port_sockets::{PortSockets, in_state};
use super::server::Server;
use super::setup::{POLL_EVERY, Setup, since};
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
pub(super) enum Reached {
    Yes,
    /// It was not, for this reason.
    No(String),
    /// It does not exist for this server, for this reason.
    NotApplicable(String),
}

/// A client that is held, and what it has done.
#[derive(Debug)]
struct HeldConnection {
    /// `None`: it is closed.
    client: Option<Client>,
    local: SocketAddr,
    server: SocketAddr,
    has_closed_direction: bool,
    is_reset: bool,
}

/// All clients of a round.
#[derive(Debug, Default)]
pub(super) struct Clients {
    held: Vec<HeldConnection>,
    /// The kernel has shown the state before the stop.
    is_seen: bool,
}

impl Clients {
    /// Brings connections into the state that the round's way says.
    pub(super) fn reach_state(
        &mut self,
        setup: &mut Setup<'_>,
        addr: SocketAddr,
    ) -> Result<Reached> {
        match setup.way {
            Way::Idle => Ok(Reached::Yes),
            Way::ServerClosesFirst | Way::Sigkill => self.connect(setup, addr),
            Way::ChildLeft => {
                let reached = self.connect(setup, addr)?;
                let main = setup.server.main_pid();
                let has_child = setup.server.processes().iter().any(|it| Some(*it) != main);
                Ok(match reached {
                    Reached::Yes if !has_child => Reached::NotApplicable(
                        "the server has no child process that could be left".to_owned(),
                    ),
                    reached => reached,
                })
            }
            Way::ClientClosesFirst => self.close_first(setup, addr),
            Way::HalfClosed => self.close_half(setup, addr),
            Way::UnreadData => self.leave_unread(setup, addr),
        }
    }

    /// Connects, until the server has accepted all, or some in their time.
    fn connect(&mut self, setup: &mut Setup<'_>, addr: SocketAddr) -> Result<Reached> {
        for _ in 0..setup.plan.clients {
            let client = Client::begin(addr, &mut setup.ports)?;
            self.hold(client, false);
        }
        let began_ns = clock::monotonic_ns();
        let mut are_accepted = BTreeSet::new();
        loop {
            setup.server.pump(POLL_EVERY)?;
            let open = setup.open_sockets();
            for client in self.held.iter_mut().filter_map(|held| held.client.as_mut()) {
                client.advance();
                if !are_accepted.contains(&client.local) && setup.is_accepted(client, &open, &[])? {
                    are_accepted.insert(client.local);
                }
            }
            let accepted = are_accepted.len();
            let waited = since(began_ns);
            if accepted == self.held.len() || accepted > 0 && waited >= ACCEPTS {
                return Ok(Reached::Yes);
            }
            if let Some(status) = setup.server.ended() {
                return Ok(Reached::No(format!(
                    "it ended {} when clients connected",
                    super::server::describe(status)
                )));
            }
            if waited >= ACCEPTS_ONE {
                return Ok(Reached::No(format!(
                    "could not be staged: the server accepted none of {} connections within {} s",
                    self.held.len(),
                    ACCEPTS_ONE.as_secs()
                )));
            }
        }
    }

    /// Clients close before the server does.
    fn close_first(&mut self, setup: &mut Setup<'_>, addr: SocketAddr) -> Result<Reached> {
        let reached = self.connect(setup, addr)?;
        if reached != Reached::Yes {
            return Ok(reached);
        }
        self.close_directions(|_| true);
        self.wait_for_answers(setup)?;
        if !self.has_any_closed_first(setup)? {
            // The server closes at once: it stands still until its clients have closed.
            stand_still(setup)?;
            for _ in 0..setup.plan.clients {
                let mut client = Client::begin(addr, &mut setup.ports)?;
                client.connect(ANSWERS);
                client.close_direction();
                self.hold(client, true);
            }
            let is_seen = self.has_any_closed_first(setup)?;
            Server::signal_all(Signal::CONT);
            if !is_seen {
                return Ok(Reached::No(
                    "could not be staged: the kernel shows no connection that its client has \
                     closed first"
                        .to_owned(),
                ));
            }
            self.wait_for_answers(setup)?;
        }
        // Both directions are closed now, of those that the server has answered.
        self.held.iter_mut().for_each(|held| held.client = None);
        Ok(Reached::Yes)
    }

    /// Whether the kernel shows a connection whose client's FIN came first.
    fn has_any_closed_first(&self, setup: &mut Setup<'_>) -> Result<bool> {
        for held in self.held.iter().filter(|held| held.has_closed_direction) {
            let servers = setup.port_sockets.servers_end(held.local, held.server)?;
            let clients = setup.port_sockets.clients_end(held.local, held.server)?;
            if has_closed_first(servers, clients) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every second client closes its direction; none closes what the server closes.
    fn close_half(&mut self, setup: &mut Setup<'_>, addr: SocketAddr) -> Result<Reached> {
        let reached = self.connect(setup, addr)?;
        if reached != Reached::Yes {
            return Ok(reached);
        }
        self.close_directions(|at| at % 2 == 1);
        self.wait_for_answers(setup)?;
        for held in self.held.iter().filter(|held| held.has_closed_direction) {
            let servers = setup.port_sockets.servers_end(held.local, held.server)?;
            self.is_seen |= servers.is_some_and(|end| end.state == State::CloseWait);
        }
        Ok(Reached::Yes)
    }

    /// The server stands still while clients send.
    fn leave_unread(&mut self, setup: &mut Setup<'_>, addr: SocketAddr) -> Result<Reached> {
        let reached = self.connect(setup, addr)?;
        if reached != Reached::Yes {
            return Ok(reached);
        }
        stand_still(setup)?;
        if self.send_unread(setup, 0)? {
            return Ok(Reached::Yes);
        }
        // A server that has closed what it accepted leaves unread what comes now.
        let first = self.held.len();
        for _ in 0..setup.plan.clients {
            let mut client = Client::begin(addr, &mut setup.ports)?;
            client.connect(ANSWERS);
            self.hold(client, false);
        }
        Ok(if self.send_unread(setup, first)? {
            Reached::Yes
        } else {
            Reached::No("could not be staged: the kernel shows no unread data".to_owned())
        })
    }

    /// Sends on the connections from this one on. Whether the kernel has it unread.
    fn send_unread(&mut self, setup: &mut Setup<'_>, first: usize) -> Result<bool> {
        let mut is_unread = false;
        for held in self.held.iter_mut().skip(first) {
            let Some(client) = &mut held.client else {
                continue;
            };
            client.advance();
            if client.state != Connection::Open || client.send(UNREAD).is_err() {
                continue;
            }
            let servers = setup.port_sockets.servers_end(held.local, held.server)?;
            is_unread |= servers
                .and_then(|end| end.receive_queue)
                .is_some_and(|bytes| bytes > 0);
        }
        Ok(is_unread)
    }

    fn hold(&mut self, client: Client, has_closed_direction: bool) {
        self.held.push(HeldConnection {
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
    fn wait_for_answers(&mut self, setup: &mut Setup<'_>) -> Result<()> {
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
            setup.server.pump(POLL_EVERY)?;
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
    pub(super) fn leave_nothing(self, port_sockets: &mut PortSockets) -> Result<()> {
        let ends: Vec<(SocketAddr, SocketAddr)> =
            self.held.iter().map(|it| (it.local, it.server)).collect();
        for client in self.held.into_iter().filter_map(|held| held.client) {
            client.abort();
        }
        for (local, server) in ends {
            let end = port_sockets.servers_end(local, server)?;
            if end.is_some_and(|end| end.state == State::TimeWait) {
                client::end_time_wait(local, server);
            }
        }
        Ok(())
    }
}

/// Stops all processes of the server, until a SIGCONT.
fn stand_still(setup: &mut Setup<'_>) -> Result<()> {
    Server::signal_all(Signal::STOP);
    let began_ns = clock::monotonic_ns();
    let stands_still = || {
        tree::descendants()
            .into_iter()
            .all(|pid| proc::stat(pid).is_none_or(|stat| matches!(stat.state, 'T' | 't')))
    };
    while !stands_still() && since(began_ns) < ANSWERS {
        setup.server.pump(POLL_EVERY)?;
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
