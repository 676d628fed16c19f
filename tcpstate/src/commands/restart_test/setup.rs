//! What a round has at hand: the server, the kernel's view of its port, ports for clients.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::client::{Client, ClientPorts, Connection};
use super::port_sockets::PortSockets;
use super::server::{Program, Server};
use crate::cli::Ready;
use crate::clock;
use crate::event::{State, Way};
use crate::supervise::signals::Signals;
use crate::supervise::tree;

/// How often something is polled.
pub(super) const POLL_EVERY: Duration = Duration::from_millis(1);

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) program: Program<'a>,
    pub(super) port: u16,
    /// What is left on the port is nobody else's concern.
    pub(super) is_private: bool,
    pub(super) clients: u16,
    pub(super) ready: &'a Ready,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
}

/// The parts of a round.
pub(super) struct Setup<'a> {
    pub(super) plan: Plan<'a>,
    pub(super) way: Way,
    pub(super) server: Server<'a>,
    pub(super) port_sockets: PortSockets,
    pub(super) ports: ClientPorts,
}

impl<'a> Setup<'a> {
    /// In the calling thread's network namespace; nothing is started yet.
    pub(super) fn new(plan: Plan<'a>, way: Way, signals: &'a Signals) -> Result<Self> {
        Ok(Self {
            plan,
            way,
            server: Server::new(plan.program, signals)?,
            port_sockets: PortSockets::new(plan.port)?,
            ports: ClientPorts::new(plan.port),
        })
    }

    /// The sockets that the server's processes have open.
    pub(super) fn open_sockets(&self) -> BTreeSet<u64> {
        tree::open_sockets_of(&self.server.processes())
    }

    /// Whether the server's processes have taken a connection. `open`: their sockets. `old_listeners`: those that
    /// another one may have taken it from.
    pub(super) fn is_accepted(
        &mut self,
        client: &Client,
        open: &BTreeSet<u64>,
        old_listeners: &[u64],
    ) -> Result<bool> {
        if matches!(
            client.state,
            Connection::Connecting | Connection::Refused | Connection::Reset
        ) {
            return Ok(false);
        }
        let end = self.port_sockets.servers_end(client.local, client.server)?;
        if let Some(inode) = end.and_then(|end| end.inode) {
            return Ok(open.contains(&inode));
        }
        // It has no file yet, or none any more.
        let has_answered = client.has_got_data || client.state == Connection::ClosedByServer;
        if !has_answered || old_listeners.is_empty() {
            return Ok(has_answered);
        }
        let sockets = self.port_sockets.sockets()?;
        let is_old = |cookie: &u64| {
            sockets
                .iter()
                .any(|item| item.state == State::Listen && item.sock.cookie == *cookie)
        };
        Ok(!old_listeners.iter().any(is_old))
    }
}

pub(super) fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns))
}
