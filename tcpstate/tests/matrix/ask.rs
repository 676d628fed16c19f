//! The new socket of a case: its options, and what it is asked to do.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::address::Addr;
use super::options::{Device, Flags, User};
use super::oracle::Expected;
use super::stage::{self, Stage};

/// Which call of the new socket the case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// `bind`, and `listen` if that succeeds.
    Bind,
    /// `listen`, after the stage's late listeners have gone ahead.
    Listen,
    /// `listen`, after `SO_REUSEADDR` was cleared again.
    ClearedListen,
}

/// What the new socket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) call: Call,
    pub(crate) addr: Addr,
    pub(crate) flags: Flags,
    pub(crate) v6only: bool,
    /// Who opens the socket.
    pub(crate) maker: User,
    /// Who binds it.
    pub(crate) caller: User,
    pub(crate) device: Device,
}

/// An option that `would_work` speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Reuseaddr,
    Reuseport,
    V6only,
}

impl Change {
    pub(crate) const ALL: [Self; 3] = [Self::Reuseaddr, Self::Reuseport, Self::V6only];

    /// As the JSON names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reuseaddr => "reuseaddr",
            Self::Reuseport => "reuseport",
            Self::V6only => "v6only",
        }
    }
}

impl Ask {
    pub(crate) fn bind(addr: Addr, flags: Flags) -> Self {
        Self {
            call: Call::Bind,
            addr,
            flags,
            v6only: addr.is_v6only(),
            maker: User::Root,
            caller: User::Root,
            device: Device::None,
        }
    }

    /// The same with one option more. `None`: it has that option already.
    pub(crate) fn with(self, change: Change) -> Option<Self> {
        let mut with = self;
        let option = match change {
            Change::Reuseaddr => &mut with.flags.reuseaddr,
            Change::Reuseport => &mut with.flags.reuseport,
            Change::V6only => &mut with.v6only,
        };
        *option = true;
        (with != self).then_some(with)
    }

    /// Whether there is such an option for this socket.
    pub(crate) fn can(self, change: Change) -> bool {
        change != Change::V6only || self.addr.is_ipv6()
    }

    pub(crate) fn socket(self) -> OwnedFd {
        let socket = self.maker.act(|| support::socket(self.addr.at(0)));
        stage::prepare(&socket, self.addr, self.flags, self.device);
        if self.addr.is_ipv6() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, self.v6only).expect("open");
        }
        socket
    }

    /// Does it.
    pub(crate) fn attempt(self, stage: &mut Stage, port: u16) -> Attempt {
        let mut attempt = Attempt::of(self.socket());
        let socket = &attempt.socket;
        let bound = self
            .caller
            .act(|| rustix::net::bind(socket, &self.addr.at(port)));
        attempt.note("bind", bound.err());
        if bound.is_ok() {
            stage.listen_now();
            if self.call == Call::ClearedListen {
                rustix::net::sockopt::set_socket_reuseaddr(&attempt.socket, false).expect("open");
            }
            self.listen(&mut attempt);
        }
        attempt
    }

    /// Does the call that was refused once more, with one option more; `true`:
    /// now it is let through. `None`: an option of a socket that is bound
    /// already cannot be set any more.
    pub(crate) fn listen_again(self, attempt: &mut Attempt, change: Change) -> Option<bool> {
        let socket = &attempt.socket;
        match change {
            Change::Reuseaddr => rustix::net::sockopt::set_socket_reuseaddr(socket, true),
            Change::Reuseport => rustix::net::sockopt::set_socket_reuseport(socket, true),
            Change::V6only => return None,
        }
        .expect("open");
        self.listen(attempt);
        Some(attempt.refusal().is_none())
    }

    fn listen(self, attempt: &mut Attempt) {
        let socket = &attempt.socket;
        let listening = self.caller.act(|| rustix::net::listen(socket, 1));
        attempt.note("listen", listening.err());
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            Call::Bind => write!(f, "bind")?,
            Call::Listen => write!(f, "listen on")?,
            Call::ClearedListen => write!(f, "listen, SO_REUSEADDR cleared, on")?,
        }
        write!(f, " {} {}", self.addr, self.flags)?;
        if self.v6only && !self.addr.is_v6only() {
            write!(f, " +v6only")?;
        }
        match (self.maker, self.caller) {
            (User::Root, User::Root) => {}
            (maker, caller) => write!(f, " opened by {maker:?}, bound by {caller:?}")?,
        }
        if self.device != Device::None {
            write!(f, " on {:?}", self.device)?;
        }
        Ok(())
    }
}

/// A call, the kernel's answer, and what is to be said about it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) call: &'static str,
    pub(crate) errno: Option<Errno>,
    /// Absent for a refused call: any diagnosis will do.
    pub(crate) expected: Option<Expected>,
}

/// The calls that one socket made.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What the events know the socket by.
    pub(crate) cookie: u64,
    pub(crate) socket: OwnedFd,
    pub(crate) calls: Vec<Made>,
}

impl Attempt {
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self {
            cookie: rustix::net::sockopt::socket_cookie(&socket).expect("open"),
            socket,
            calls: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, call: &'static str, errno: Option<Errno>) {
        self.calls.push(Made {
            call,
            errno,
            expected: None,
        });
    }

    /// The last call, if it was refused.
    pub(crate) fn refusal(&self) -> Option<(&'static str, Errno)> {
        let made = self.calls.last()?;
        Some((made.call, made.errno?))
    }

    /// What is to be said about the last call, if that is known.
    pub(crate) fn last_expected(&mut self) -> Option<&mut Expected> {
        self.calls.last_mut()?.expected.as_mut()
    }

    /// Sets what is to be said about the last call.
    pub(crate) fn expect(&mut self, expected: Option<Expected>) {
        if let Some(made) = self.calls.last_mut() {
            made.expected = expected;
        }
    }
}
