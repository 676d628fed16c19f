//! Sockets for the churn: nothing here waits, so that no act takes long.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

use support::{at, socket};

/// A socket that does not block.
pub(super) fn free_socket(address: SocketAddr) -> OwnedFd {
    let socket = socket(address);
    rustix::io::ioctl_fionbio(&socket, true).expect("a socket can be non-blocking");
    socket
}

/// Listens without blocking; `None`: somebody holds the port.
pub(super) fn listen(address: &str, reuseaddr: bool, backlog: i32) -> Option<OwnedFd> {
    let address = at(address);
    let socket = free_socket(address);
    sockopt::set_socket_reuseaddr(&socket, reuseaddr).expect("open");
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false).expect("open");
    }
    rustix::net::bind(&socket, &address).ok()?;
    rustix::net::listen(&socket, backlog).ok()?;
    Some(socket)
}

/// Begins to connect. On loopback the handshake is over when this returns,
/// unless the listener's queue is full. `None`: refused.
pub(super) fn connect(socket: OwnedFd, address: SocketAddr) -> Option<OwnedFd> {
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Some(socket),
        Err(_) => None,
    }
}

pub(super) fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    rustix::net::accept_with(
        listener,
        rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
    )
    .ok()
}

/// A connection of its own: (server's side, client's side).
pub(super) fn pair(address: &str) -> Option<(OwnedFd, OwnedFd)> {
    let listener = listen(address, true, 4)?;
    let client = connect(free_socket(at(address)), at(address))?;
    Some((accept(&listener)?, client))
}

/// Fills the way to the peer until nothing fits any more.
pub(crate) fn fill(end: &OwnedFd) {
    let data = [0; 1 << 14];
    while rustix::net::send(end, &data, rustix::net::SendFlags::NOSIGNAL).is_ok() {}
}

/// Reads what is there.
pub(crate) fn take_in(end: &OwnedFd) {
    let mut data = [0; 1 << 14];
    while rustix::io::read(end, &mut data).is_ok_and(|length| length > 0) {}
}

pub(super) fn linger(end: &OwnedFd, seconds: u64) {
    sockopt::set_socket_linger(end, Some(Duration::from_secs(seconds))).expect("open");
}

/// A probe after a second of silence, and after one more the end.
pub(crate) fn die_of_silence(end: &OwnedFd) {
    sockopt::set_socket_keepalive(end, true).expect("open");
    sockopt::set_tcp_keepidle(end, Duration::from_secs(1)).expect("open");
    sockopt::set_tcp_keepintvl(end, Duration::from_secs(1)).expect("open");
    sockopt::set_tcp_keepcnt(end, 1).expect("open");
}

/// An option of `tcp(7)` that takes a number and has no safe wrapper.
#[expect(
    unsafe_code,
    reason = "no safe wrapper knows TCP_LINGER2 and TCP_DEFER_ACCEPT"
)]
pub(crate) fn tcp_option(end: &OwnedFd, option: i32, value: i32) {
    // SAFETY: the value outlives the call, its length is told, the kernel only
    // reads it.
    let result = unsafe {
        libc::setsockopt(
            end.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Local address of a socket.
pub(super) fn local_of(end: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(end).ok()?).ok()
}
