//! What the kernel says of the port: who listens, what became of each connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};

use crate::event::{Endpoint, Family, LeftSockets, State};
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, netns};

/// The port, as the kernel lists it.
#[derive(Debug)]
pub(super) struct PortSockets {
    diag: SockDiag,
    port: u16,
}

impl PortSockets {
    /// In the calling thread's network namespace.
    pub(super) fn new(port: u16) -> Result<Self> {
        let netns = netns::current()?;
        let diag = SockDiag::open(netns).context("cannot look at the sockets on the port")?;
        Ok(Self { diag, port })
    }

    /// All sockets on the port. What is no socket of its own yet is left out.
    pub(super) fn sockets(&mut self) -> Result<Vec<SocketItem>> {
        let mut found = self
            .diag
            .dump_port(self.port)
            .context("cannot read the sockets on the port")?;
        found.retain(|item| item.state != State::SynReceived);
        Ok(found)
    }

    /// The listeners, of these sockets.
    pub(super) fn listeners(&mut self, open: &BTreeSet<u64>) -> Result<Vec<SocketItem>> {
        let mut found = self.sockets()?;
        found.retain(|item| {
            item.state == State::Listen && item.inode.is_some_and(|inode| open.contains(&inode))
        });
        Ok(found)
    }

    /// The server's end of a client's connection.
    pub(super) fn servers_end(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<SocketItem>> {
        self.end(endpoint(server), endpoint(client))
    }

    /// The client's end of it.
    pub(super) fn clients_end(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<SocketItem>> {
        self.end(endpoint(client), endpoint(server))
    }

    fn end(&mut self, local: Endpoint, peer: Endpoint) -> Result<Option<SocketItem>> {
        let mut find = |family, local, peer| {
            self.diag
                .lookup(family, local, peer, 0)
                .context("cannot look a connection up")
        };
        let family = match local.addr {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        if let Some(item) = find(family, local, peer)? {
            return Ok(Some(item));
        }
        // An IPv6 listener's end of an IPv4 connection.
        match (mapped(local), mapped(peer)) {
            (Some(local), Some(peer)) => find(Family::Ipv6, local, peer),
            _ => Ok(None),
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        addr: address.ip(),
        port: address.port(),
    }
}

fn mapped(endpoint: Endpoint) -> Option<Endpoint> {
    match endpoint.addr {
        IpAddr::V4(addr) => Some(Endpoint {
            addr: addr.to_ipv6_mapped().into(),
            port: endpoint.port,
        }),
        IpAddr::V6(_) => None,
    }
}

/// Where a client reaches the listener.
pub(super) fn reach(listener: &SocketItem) -> SocketAddr {
    let addr = match listener.local.addr {
        IpAddr::V4(addr) if addr.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(addr) if addr.is_unspecified() && listener.v6only == Some(false) => {
            Ipv4Addr::LOCALHOST.into()
        }
        IpAddr::V6(addr) if addr.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(addr) => addr.to_ipv4_mapped().map_or(IpAddr::V6(addr), IpAddr::V4),
        addr @ IpAddr::V4(_) => addr,
    };
    SocketAddr::new(addr, listener.local.port)
}

/// How many sockets there are in each state, in the order of the kernel's numbers.
pub(super) fn count(sockets: &[SocketItem]) -> Vec<LeftSockets> {
    let in_state = |state: State| {
        let count = sockets.iter().filter(|item| item.state == state).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    State::ALL
        .into_iter()
        .map(|state| LeftSockets {
            state,
            count: in_state(state),
        })
        .filter(|left| left.count > 0)
        .collect()
}

/// How many sockets of these are in a state.
pub(super) fn in_state(left: &[LeftSockets], state: State) -> u32 {
    let found = left.iter().find(|left| left.state == state);
    found.map_or(0, |left| left.count)
}
