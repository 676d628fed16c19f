//! The caller's socket, of which we have a duplicate: what it is, and what is done to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt;

use crate::event::{Endpoint, Family, Reuse, Sock, State};

/// A TCP address as a call gave it: our copy, which nobody else can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    bytes: Vec<u8>,
    /// What it says.
    pub endpoint: Endpoint,
}

impl Address {
    /// An address of an IPv4 or IPv6 socket; `None`: another one, or one that the kernel
    /// refuses.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let at = |from: usize, to: usize| bytes.get(from..to);
        let family = i32::from(u16::from_ne_bytes(at(0, 2)?.try_into().ok()?));
        let port = u16::from_be_bytes(at(2, 4)?.try_into().ok()?);
        let addr = match family {
            // Without a family it is taken for IPv4's.
            libc::AF_INET | libc::AF_UNSPEC if bytes.len() >= SOCKADDR_IN => {
                IpAddr::from(<[u8; 4]>::try_from(at(4, 8)?).map(Ipv4Addr::from).ok()?)
            }
            libc::AF_INET6 if bytes.len() >= SIN6_LEN_RFC2133 => {
                IpAddr::from(<[u8; 16]>::try_from(at(8, 24)?).map(Ipv6Addr::from).ok()?)
            }
            _ => return None,
        };
        let endpoint = Endpoint { addr, port };
        Some(Self { bytes, endpoint })
    }
}

impl Address {
    /// Whether the kernel takes both for the same: what fills the structure up is no part of
    /// it.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.scope() == other.scope()
    }

    /// Interface index of a link-local address.
    fn scope(&self) -> u32 {
        let is_v6 = self.endpoint.addr.is_ipv6();
        let bytes = self.bytes.get(24..28).filter(|_| is_v6);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_ne_bytes)
    }
}

/// The least that the kernel takes for an IPv4 address.
const SOCKADDR_IN: usize = 16;
/// The least that the kernel takes for an IPv6 address.
const SIN6_LEN_RFC2133: usize = 24;

/// Binds the socket to the address. The error's number on failure.
#[expect(unsafe_code, reason = "the bytes are handed on as they are")]
pub fn bind(socket: impl AsFd, address: &Address) -> Result<(), u32> {
    let len = libc::socklen_t::try_from(address.bytes.len()).unwrap_or(0);
    // SAFETY: the kernel reads so many bytes, which live through the call.
    let result = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            address.bytes.as_ptr().cast(),
            len,
        )
    };
    outcome(result)
}

/// Makes the socket listen. The error's number on failure.
#[expect(
    unsafe_code,
    reason = "a backlog may be negative, and rustix takes none such"
)]
pub fn listen(socket: impl AsFd, backlog: i32) -> Result<(), u32> {
    // SAFETY: takes a descriptor and a number.
    outcome(unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) })
}

fn outcome(result: libc::c_int) -> Result<(), u32> {
    if result == 0 {
        return Ok(());
    }
    let errno = io::Error::last_os_error().raw_os_error();
    Err(errno.unwrap_or(libc::EIO).unsigned_abs())
}

/// Whether it is a TCP socket (or one of Multipath TCP, which is bound the same way), and of
/// which family.
#[must_use]
pub fn tcp_family(socket: impl AsFd) -> Option<Family> {
    let fd = socket.as_fd();
    let protocol = option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
    if ![libc::IPPROTO_TCP, libc::IPPROTO_MPTCP].contains(&protocol) {
        return None;
    }
    match option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_INET => Some(Family::Ipv4),
        libc::AF_INET6 => Some(Family::Ipv6),
        _ => None,
    }
}

/// Sets SO_REUSEADDR, SO_REUSEPORT, or both.
pub fn set_reuse(socket: impl AsFd, reuseaddr: bool, reuseport: bool) -> Result<(), u32> {
    let on = |name| set_option(socket.as_fd(), libc::SOL_SOCKET, name, 1);
    if reuseaddr {
        on(libc::SO_REUSEADDR)?;
    }
    if reuseport {
        on(libc::SO_REUSEPORT)?;
    }
    Ok(())
}

/// The options that a bind looks at.
#[must_use]
pub fn reuse(socket: impl AsFd, family: Family) -> Reuse {
    let is_on = |level, name| option(socket.as_fd(), level, name).is_some_and(|value| value != 0);
    Reuse {
        reuseaddr: is_on(libc::SOL_SOCKET, libc::SO_REUSEADDR),
        reuseport: is_on(libc::SOL_SOCKET, libc::SO_REUSEPORT),
        v6only: family == Family::Ipv6 && is_on(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    }
}

/// Which socket it is, in this network namespace.
#[must_use]
pub fn identity(socket: impl AsFd, family: Family, netns: u32) -> Sock {
    Sock {
        cookie: sockopt::socket_cookie(socket).unwrap_or(0),
        netns,
        family,
    }
}

/// Interface index of `SO_BINDTODEVICE`.
#[must_use]
pub fn device(socket: impl AsFd) -> Option<u32> {
    let index = option(socket.as_fd(), libc::SOL_SOCKET, SO_BINDTOIFINDEX)?;
    u32::try_from(index).ok().filter(|index| *index != 0)
}

/// Of `asm-generic/socket.h`; libc has it for some targets only.
const SO_BINDTOIFINDEX: i32 = 62;

/// The socket's state; `None`: it cannot be read.
#[must_use]
pub fn state(socket: impl AsFd) -> Option<State> {
    // The first byte of `struct tcp_info`.
    let [state, ..] = option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO)?.to_ne_bytes();
    State::from_raw(state)
}

/// Whether it listens.
#[must_use]
pub fn is_listening(socket: impl AsFd) -> bool {
    sockopt::socket_acceptconn(socket).unwrap_or(false)
}

/// Whether it listened or was connected once and is neither now: `tcp_disconnect` leaves
/// `TCP_MIN_MSS` (88) as `tcpi_rcv_mss`, which is 0 of a socket that never was either, and of
/// one whose `listen` failed.
#[must_use]
pub fn was_disconnected(socket: impl AsFd) -> bool {
    // `struct tcp_info` begins with eight bytes, `tcpi_rto`, `tcpi_ato`, `tcpi_snd_mss`.
    const RCV_MSS: usize = 20;
    let socket = socket.as_fd();
    let Some(info) = read::<{ RCV_MSS + 4 }>(socket, libc::IPPROTO_TCP, libc::TCP_INFO) else {
        return false;
    };
    let is_closed = State::from_raw(info[0]) == Some(State::Closed);
    is_closed && info[RCV_MSS..] != [0; 4]
}

/// Its local address; `None`: it has no port.
#[must_use]
pub fn local(socket: impl AsFd) -> Option<Endpoint> {
    let address = std::net::SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
    (address.port() != 0).then(|| Endpoint {
        addr: address.ip(),
        port: address.port(),
    })
}

/// Its inode number, and the user that it belongs to.
#[must_use]
pub fn file(socket: impl AsFd) -> Option<(u64, u32)> {
    let file = rustix::fs::fstat(socket).ok()?;
    Some((file.st_ino, file.st_uid))
}

/// Options by which the kernel decides at the bind what the socket is: they cannot be changed
/// afterwards, or not with the same effect.
const FIXED: [(i32, i32); 6] = [
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, SO_BINDTOIFINDEX),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
];

/// Options that take effect whenever they are set, and that accepted connections inherit.
const CHANGEABLE: [(i32, i32); 12] = [
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
];

/// What a socket was when it was bound, as far as it stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nature {
    protocol: Option<i32>,
    family: Option<i32>,
    fixed: [Option<i32>; FIXED.len()],
}

impl Nature {
    /// Of a socket before its bind.
    #[must_use]
    pub fn of(socket: impl AsFd) -> Self {
        let fd = socket.as_fd();
        Self {
            protocol: option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL),
            family: option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN),
            fixed: FIXED.map(|(level, name)| option(fd, level, name)),
        }
    }
}

/// Gives `to` the options and the file's flags of `from`, as far as they can be changed.
/// `false`: one of them could not.
#[must_use]
pub fn take_over(to: impl AsFd, from: impl AsFd) -> bool {
    let (to, from) = (to.as_fd(), from.as_fd());
    let mut is_like_it = true;
    for (level, name) in CHANGEABLE {
        let wanted = option(from, level, name);
        if let Some(value) = wanted
            && option(to, level, name) != wanted
        {
            is_like_it &= set_option(to, level, name, value).is_ok();
        }
    }
    // The kernel gives twice what was asked for.
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        let (wanted, now) = (
            option(from, libc::SOL_SOCKET, name),
            option(to, libc::SOL_SOCKET, name),
        );
        if let Some(value) = wanted.filter(|_| wanted != now) {
            is_like_it &= set_option(to, libc::SOL_SOCKET, name, value / 2).is_ok();
        }
    }
    let flags = fcntl_getfl(from).map(|flags| flags & OFlags::NONBLOCK);
    is_like_it &= flags.and_then(|flags| fcntl_setfl(to, flags)).is_ok();
    is_like_it
}

/// An option that is an integer; `None`: the socket has none such.
#[expect(unsafe_code, reason = "most of these options have no safe wrapper")]
fn read<const N: usize>(
    socket: std::os::fd::BorrowedFd<'_>,
    level: i32,
    name: i32,
) -> Option<[u8; N]> {
    let mut value = [0; N];
    let mut len = libc::socklen_t::try_from(N).ok()?;
    // SAFETY: the kernel writes at most so many bytes of a live array.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(value)
}

fn option(socket: std::os::fd::BorrowedFd<'_>, level: i32, name: i32) -> Option<i32> {
    read(socket, level, name).map(i32::from_ne_bytes)
}

#[expect(unsafe_code, reason = "most of these options have no safe wrapper")]
fn set_option(
    socket: std::os::fd::BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> Result<(), u32> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the kernel reads the bytes of a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            len,
        )
    };
    outcome(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let mut v4 = vec![0; SOCKADDR_IN];
        v4[..2].copy_from_slice(&2_u16.to_ne_bytes());
        v4[2..8].copy_from_slice(&[0x15, 0xb3, 127, 0, 0, 1]);
        let mut v6 = vec![0; 28];
        v6[..2].copy_from_slice(&10_u16.to_ne_bytes());
        v6[2..4].copy_from_slice(&[0x15, 0xb3]);
        v6[23] = 1;
        let text = |bytes: &[u8]| {
            let parsed = Address::parse(bytes.to_vec());
            parsed.map(|address| address.endpoint.to_string())
        };

        assert_eq!(text(&v4).as_deref(), Some("127.0.0.1:5555"));
        assert_eq!(text(&v6).as_deref(), Some("[::1]:5555"));
        for bytes in [&v4[..15], &v6[..23], &[], &[1, 0], &[1; 128]] {
            assert_eq!(text(bytes), None, "{bytes:?}");
        }
    }
}
