//! Servers that the clients of all stages connect to.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::SocketFlags;

use super::address::{Addr, Via};
use super::options;

/// One that answers, and one that does not.
pub(crate) struct Servers {
    answering: OwnedFd,
    /// Does not answer: its queue is full.
    _silent: OwnedFd,
    _queued: Vec<OwnedFd>,
}

const ANSWERING_PORT: u16 = 1980;
const SILENT_PORT: u16 = 1981;
/// Where the ports of clients are taken from that are not what a case is about.
const CLIENT_PORTS: (u16, u16) = (61_000, 65_000);

impl Servers {
    pub(crate) fn start() -> Self {
        let answering = support::socket(Addr::Dual.at(0));
        // What it accepts is to have a small window.
        rustix::net::sockopt::set_socket_recv_buffer_size(&answering, 1).expect("open");
        rustix::net::bind(&answering, &Addr::Dual.at(ANSWERING_PORT)).expect("free");
        rustix::net::listen(&answering, 64).expect("free");
        let silent = support::socket(Addr::Dual.at(0));
        rustix::net::bind(&silent, &Addr::Dual.at(SILENT_PORT)).expect("free");
        rustix::net::listen(&silent, 0).expect("free");
        let queued = (0..3)
            .map(|_| {
                let client = client_socket(Addr::Lo1.at(SILENT_PORT));
                rustix::io::ioctl_fionbio(&client, true).expect("open");
                let _ = rustix::net::connect(&client, &Addr::Lo1.at(SILENT_PORT));
                client
            })
            .collect();
        Self {
            answering,
            _silent: silent,
            _queued: queued,
        }
    }

    /// The other end of a client's connection; connections that others have
    /// left are dropped.
    pub(crate) fn accept(&self, client_port: u16) -> OwnedFd {
        loop {
            let accepted = rustix::net::accept_with(&self.answering, SocketFlags::CLOEXEC)
                .expect("the connection waits");
            if peer_of(&accepted).is_some_and(|peer| peer.port() == client_port) {
                return accepted;
            }
        }
    }

    /// Where a client on `addr` is answered.
    pub(crate) fn answering(addr: Addr, via: Via) -> SocketAddr {
        SocketAddr::new(via.server(addr), ANSWERING_PORT)
    }

    /// Where a client on `addr` is not answered.
    pub(crate) fn silent(addr: Addr, via: Via) -> SocketAddr {
        SocketAddr::new(via.server(addr), SILENT_PORT)
    }
}

/// A socket that takes its port from where no case is about it.
pub(crate) fn client_socket(to: SocketAddr) -> OwnedFd {
    let socket = support::socket(to);
    options::set_local_ports(&socket, CLIENT_PORTS.0, CLIENT_PORTS.1);
    socket
}

/// The other end's address; none where there is no connection.
pub(crate) fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getpeername(socket).ok()??).ok()
}
