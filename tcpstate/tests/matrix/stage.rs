//! The stage of a case: a port, and the sockets that hold it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::SocketFlags;

use super::address::{Addr, Via};
use super::life::{self, State};
use super::options::{self, Device, Flags, User};
use super::servers::{self, Servers};

/// How a socket came by the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Bound; no connection.
    Unconnected,
    /// Accepted by a listener on the port, which is closed unless it is a part
    /// of its own.
    Accepted,
    /// Outgoing, and `connect` chose the port.
    Auto,
    /// Outgoing, and `bind` to port 0 chose the port before.
    BoundToAny,
    /// Outgoing, and bound to the port before.
    Fixed,
}

impl Side {
    /// The port of an outgoing connection was chosen for it.
    pub(crate) fn is_chosen(self) -> bool {
        matches!(self, Self::Auto | Self::BoundToAny)
    }
}

/// One old socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) state: State,
    pub(crate) side: Side,
    /// What was bound, or, for a client whose port was chosen, its family.
    pub(crate) addr: Addr,
    pub(crate) via: Via,
    /// Its options at `bind`; for what was accepted, those of the listener.
    pub(crate) bound_with: Flags,
    /// Its options in the end.
    pub(crate) flags: Flags,
    pub(crate) user: User,
    pub(crate) device: Device,
}

impl Part {
    pub(crate) const fn new(state: State, side: Side, addr: Addr) -> Self {
        Self {
            state,
            side,
            addr,
            via: Via::V4,
            bound_with: Flags::new(false, false),
            flags: Flags::new(false, false),
            user: User::Root,
            device: Device::None,
        }
    }

    pub(crate) const fn with(self, flags: Flags) -> Self {
        Self {
            bound_with: flags,
            flags,
            ..self
        }
    }

    /// Sets other options after `bind`.
    pub(crate) const fn changed_to(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }

    fn is_listener(self) -> bool {
        matches!(self.state, State::Listen | State::ListenLater)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.state)?;
        match self.side {
            Side::Unconnected => {}
            side => write!(f, "/{side:?}")?,
        }
        write!(f, " {}", self.addr)?;
        if self.via == Via::V6 {
            write!(f, " via IPv6")?;
        }
        if self.bound_with == self.flags {
            write!(f, " {}", self.flags)?;
        } else {
            write!(f, " {}, then {}", self.bound_with, self.flags)?;
        }
        if self.user != User::Root {
            write!(f, " of another user")?;
        }
        if self.device != Device::None {
            write!(f, " on {:?}", self.device)?;
        }
        Ok(())
    }
}

/// A socket that holds the port, as the kernel describes it.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) local: SocketAddr,
    /// Absent where a socket has lost its peer.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) state: &'static str,
    pub(crate) is_mini: bool,
    pub(crate) flags: Flags,
    pub(crate) v6only: bool,
    pub(crate) side: Side,
}

/// A port and the sockets that hold it.
pub(crate) struct Stage {
    /// What holds the port, with the number of the part that it is of.
    pub(crate) holders: Vec<(usize, Holder)>,
    later: Vec<OwnedFd>,
    _open: Vec<OwnedFd>,
}

impl Stage {
    pub(crate) fn build(servers: &Servers, port: u16, parts: &[Part]) -> Self {
        let stage = Builder {
            servers,
            port,
            parts,
            holders: Vec::new(),
            open: Vec::new(),
        }
        .build();
        options::give_local_ports_back();
        stage
    }

    /// Has the sockets listen that were to listen later.
    pub(crate) fn listen_now(&mut self) {
        for socket in &self.later {
            rustix::net::listen(socket, 1).expect("nobody else listens yet");
        }
    }
}

struct Builder<'a> {
    servers: &'a Servers,
    port: u16,
    parts: &'a [Part],
    holders: Vec<(usize, Holder)>,
    open: Vec<OwnedFd>,
}

/// A listening socket and the parts that it has to do with.
struct Listening {
    socket: OwnedFd,
    of: Part,
    own_part: Option<usize>,
    accepts: Vec<usize>,
}

impl Builder<'_> {
    fn build(mut self) -> Stage {
        let listening = self.bind_listeners();
        let mut bound = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part.side {
                Side::Unconnected if part.state == State::Bound => {
                    bound.push((index, self.bind(part)));
                }
                Side::Fixed => {
                    let socket = self.bind(part);
                    self.connect(index, socket);
                }
                Side::Auto | Side::BoundToAny => {
                    let socket = new_socket(part);
                    options::set_local_ports(&socket, self.port, self.port);
                    if part.side == Side::BoundToAny {
                        rustix::net::bind(&socket, &part.addr.at(0)).expect("the port is free");
                    }
                    self.connect(index, socket);
                }
                Side::Unconnected | Side::Accepted => {}
            }
        }
        for (index, socket) in bound {
            self.parts[index].flags.set_on(&socket);
            self.note(index, &socket, None);
            self.open.push(socket);
        }
        let later = self.listen(listening);
        Stage {
            holders: self.holders,
            later,
            _open: self.open,
        }
    }

    /// One listener for all parts on its address.
    fn bind_listeners(&self) -> Vec<Listening> {
        let mut all: Vec<Listening> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if !part.is_listener() && part.side != Side::Accepted {
                continue;
            }
            let at = all.iter().position(|other| {
                other.of.addr == part.addr && !(part.is_listener() && other.own_part.is_some())
            });
            let at = at.unwrap_or_else(|| {
                all.push(Listening {
                    socket: self.bind(part),
                    of: *part,
                    own_part: None,
                    accepts: Vec::new(),
                });
                all.len() - 1
            });
            if part.is_listener() {
                all[at].own_part = Some(index);
            } else {
                all[at].accepts.push(index);
            }
        }
        all
    }

    fn bind(&self, part: &Part) -> OwnedFd {
        let socket = new_socket(part);
        rustix::net::bind(&socket, &part.addr.at(self.port))
            .unwrap_or_else(|error| panic!("{part} cannot be staged: {error}"));
        socket
    }

    fn listen(&mut self, all: Vec<Listening>) -> Vec<OwnedFd> {
        let mut later = Vec::new();
        for listening in all {
            let Listening {
                socket,
                of: _,
                own_part,
                accepts,
            } = listening;
            let is_later =
                own_part.is_some_and(|index| self.parts[index].state == State::ListenLater);
            if !is_later {
                rustix::net::listen(&socket, 64)
                    .unwrap_or_else(|error| panic!("cannot listen: {error}"));
            }
            for index in accepts {
                self.accept(index, &socket);
            }
            let Some(index) = own_part else {
                continue;
            };
            self.parts[index].flags.set_on(&socket);
            self.note(index, &socket, None);
            if is_later {
                later.push(socket);
            } else {
                self.open.push(socket);
            }
        }
        later
    }

    fn accept(&mut self, index: usize, listening: &OwnedFd) {
        let part = self.parts[index];
        let target = SocketAddr::new(part.via.target(part.addr), self.port);
        let client = servers::client_socket(target);
        rustix::net::sockopt::set_socket_recv_buffer_size(&client, 1).expect("open");
        rustix::net::connect(&client, &target)
            .unwrap_or_else(|error| panic!("{part} has no client: {error}"));
        let accepted = part
            .user
            .act(|| rustix::net::accept_with(listening, SocketFlags::CLOEXEC))
            .expect("a connection waits");
        self.live(index, accepted, client);
    }

    fn connect(&mut self, index: usize, socket: OwnedFd) {
        let part = self.parts[index];
        if part.state == State::SynSent {
            let silent = Servers::silent(part.addr, part.via);
            life::knock(&socket, silent);
            part.flags.set_on(&socket);
            self.note(index, &socket, Some(silent));
            self.open.push(socket);
            return;
        }
        rustix::net::connect(&socket, &Servers::answering(part.addr, part.via))
            .unwrap_or_else(|error| panic!("{part} cannot connect: {error}"));
        let accepted = self.servers.accept(self.port);
        self.live(index, socket, accepted);
    }

    /// Lets a connection live up to the state of its part.
    fn live(&mut self, index: usize, ours: OwnedFd, peer: OwnedFd) {
        let part = self.parts[index];
        part.flags.set_on(&ours);
        let peer_addr = servers::peer_of(&ours);
        // A reset socket keeps its port only if it was bound to it.
        let holds = part.state != State::Reset || part.side == Side::Fixed;
        if holds {
            let peer_addr = peer_addr.filter(|_| part.state != State::Reset);
            self.note(index, &ours, peer_addr);
        }
        let (ours, others) = life::lead(ours, peer, part.state);
        if let Some(ours) = &ours
            && part.state == State::TimeWaitOpen
            && part.side == Side::Fixed
        {
            // Beside the TIME_WAIT, the socket that was bound holds the port.
            self.note(index, ours, None);
            if let Some((_, held)) = self.holders.last_mut() {
                held.state = "bound";
                held.is_mini = false;
            }
        }
        self.open.extend(ours);
        self.open.extend(others);
    }

    fn note(&mut self, index: usize, socket: &OwnedFd, peer: Option<SocketAddr>) {
        let part = &self.parts[index];
        let local = SocketAddr::try_from(rustix::net::getsockname(socket).expect("open"))
            .expect("it is an IP socket");
        let v6only = local.is_ipv6() && rustix::net::sockopt::ipv6_v6only(socket).expect("open");
        self.holders.push((
            index,
            Holder {
                local,
                peer,
                state: part.state.name(),
                is_mini: part.state.is_mini(),
                flags: part.flags,
                v6only,
                side: part.side,
            },
        ));
    }
}

fn new_socket(part: &Part) -> OwnedFd {
    let socket = part.user.act(|| support::socket(part.addr.at(0)));
    prepare(&socket, part.addr, part.bound_with, part.device);
    socket
}

/// Gives a new socket its options.
pub(crate) fn prepare(socket: &OwnedFd, addr: Addr, flags: Flags, device: Device) {
    flags.set_on(socket);
    device.set_on(socket);
    if addr.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(socket, addr.is_v6only()).expect("open");
    }
}
