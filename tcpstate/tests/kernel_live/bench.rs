//! A private network namespace with an observer on it, and sockets to play with.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::thread::UnshareFlags;
use support::{Root, require};
use tcpstate::event::{Body, Endpoint, Family};
use tcpstate::kernel::{Observer, Options};
use tcpstate::snapshot::netns;
use tcpstate::snapshot::{SocketItem, sock_diag::SockDiag};

/// The test's thread lives in a namespace of its own, which goes when the
/// thread does.
pub(crate) struct Bench {
    observer: Observer,
    netns: u32,
}

impl Bench {
    /// Everything in the namespace; `None`: skipped, having said why.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(narrow: impl FnOnce(&mut Options)) -> Option<Self> {
        if !require(&[Root]) {
            return None;
        }
        enter_private_namespace();
        let netns = netns::current().unwrap();
        let mut options = Options {
            netns: Some(netns),
            ..Options::default()
        };
        narrow(&mut options);
        let observer = Observer::start(&options).unwrap();
        Some(Self { observer, netns })
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Everything that has come in, once it is quiet.
    pub(crate) fn events(&mut self) -> Vec<Body> {
        let mut events = Vec::new();
        let mut quiet = 0;
        while quiet < 5 {
            std::thread::sleep(Duration::from_millis(10));
            match self.observer.drain(usize::MAX, &mut events) {
                0 => quiet += 1,
                _ => quiet = 0,
            }
        }
        assert_eq!(self.observer.undecodable(), 0);
        let counters = self.observer.counters().unwrap();
        assert_eq!((counters.dropped, counters.read_failed), (0, 0));
        events.into_iter().map(|(_, body)| body).collect()
    }

    pub(crate) fn snapshot(&mut self) -> Vec<SocketItem> {
        let items = self.observer.snapshot().unwrap();
        items.into_iter().map(|(_, item)| item).collect()
    }

    pub(crate) fn dump(&self) -> Vec<SocketItem> {
        SockDiag::open(self.netns).unwrap().dump().unwrap()
    }

    pub(crate) fn find(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
        cookie: u64,
    ) -> Option<SocketItem> {
        let endpoint = |addr: SocketAddr| Endpoint {
            addr: addr.ip(),
            port: addr.port(),
        };
        SockDiag::open(self.netns)
            .unwrap()
            .lookup(Family::Ipv4, endpoint(local), endpoint(peer), cookie)
            .unwrap()
    }
}

#[expect(unsafe_code, reason = "leaving a namespace is a matter of the caller")]
fn enter_private_namespace() {
    // SAFETY: each test has a thread of its own and no descriptor of the old
    // namespace that it would use as if it were of the new one.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    raise_loopback();
}

#[expect(unsafe_code, reason = "no safe wrapper for interface flags")]
fn raise_loopback() {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    // SAFETY: a zeroed ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap();
    // SAFETY: the descriptor is open, the request is a filled ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

pub(crate) fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn bind(addr: SocketAddr, reuseaddr: bool) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, reuseaddr)?;
    rustix::net::bind(&socket, &addr)?;
    Ok(socket)
}

pub(crate) fn unbound() -> OwnedFd {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

pub(crate) fn listen(socket: &OwnedFd) -> io::Result<()> {
    Ok(rustix::net::listen(socket, 64)?)
}

pub(crate) fn listen_on(addr: SocketAddr, reuseaddr: bool) -> TcpListener {
    let socket = bind(addr, reuseaddr).unwrap();
    listen(&socket).unwrap();
    TcpListener::from(socket)
}

/// `SO_LINGER` with a time of 0.
pub(crate) fn abort_on_close(socket: impl AsFd) {
    sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
}

pub(crate) fn inode_of(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

/// Takes a connection in a process of its own; returns its id.
#[expect(unsafe_code, reason = "the child must share the listener's descriptor")]
pub(crate) fn accept_in_a_child(listener: &TcpListener) -> u32 {
    let fd = listener.as_raw_fd();
    // SAFETY: the child makes two system calls, both allowed after a fork of a
    // process with threads, and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; no address is asked for.
        unsafe {
            let accepted = libc::accept(fd, std::ptr::null_mut(), std::ptr::null_mut());
            libc::_exit(i32::from(accepted < 0));
        }
    }
    assert!(child > 0, "{}", io::Error::last_os_error());
    let pid = rustix::process::Pid::from_raw(child).unwrap();
    let (_, status) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        .unwrap()
        .unwrap();
    assert_eq!(status.exit_status(), Some(0));
    u32::try_from(child).unwrap()
}

pub(crate) fn mptcp_socket() -> Option<OwnedFd> {
    let mptcp = rustix::net::Protocol::from_raw(262.try_into().unwrap());
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, Some(mptcp)).ok()
}
