//! A network namespace for this thread alone. It ends with its last process
//! or thread; nothing is left behind.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;

use thiserror::Error;

/// The namespace could not be made.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// `unshare` was refused.
    #[error("cannot make a private network namespace: {0}; run as root: sudo tcpstate demo")]
    Unshare(#[source] io::Error),
    /// The loopback interface does not come up.
    #[error("cannot bring up the loopback interface of the private network namespace: {0}")]
    Loopback(#[source] io::Error),
    /// A setting could not be written.
    #[error("cannot set {path} in the private network namespace: {source}")]
    Sysctl {
        /// Which.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Moves the calling thread into a new network namespace with the loopback
/// interface up, and gives its inode number.
///
/// No RST ends a TIME_WAIT there (`tcp_rfc1337`). On a busy machine a FIN is sent
/// again before its acknowledgement has come; the TIME_WAIT answers, the socket
/// that it answers is gone by then, and the RST for that would end it.
pub fn enter_private() -> Result<u32, NamespaceError> {
    unshare().map_err(NamespaceError::Unshare)?;
    set_up()
}

/// Makes the calling thread's network namespace, which is new, what [`enter_private`] says.
pub fn set_up() -> Result<u32, NamespaceError> {
    loopback_up().map_err(NamespaceError::Loopback)?;
    // Where it may not be set, stories come out otherwise now and then.
    let _ = fs::write("/proc/sys/net/ipv4/tcp_rfc1337", "1");
    current_inode().map_err(NamespaceError::Loopback)
}

/// Inode number of the calling thread's network namespace.
pub fn current_inode() -> io::Result<u32> {
    let inode = fs::metadata("/proc/thread-self/ns/net")?.ino();
    u32::try_from(inode)
        .map_err(|_| io::Error::other("the namespace's inode number has more than 32 bits"))
}

/// The range from which `connect` chooses local ports, in this thread's namespace.
pub fn set_local_port_range(first: u16, last: u16) -> Result<(), NamespaceError> {
    // /proc/sys/net shows the namespace of the thread that opens it.
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    fs::write(path, format!("{first} {last}"))
        .map_err(|source| NamespaceError::Sysctl { path, source })
}

#[expect(
    unsafe_code,
    reason = "unshare(2) changes the thread's view of the world"
)]
fn unshare() -> io::Result<()> {
    // SAFETY: only the network namespace of this thread changes; no memory,
    // descriptor or signal state is shared or unshared by CLONE_NEWNET.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(
    unsafe_code,
    reason = "ioctl(2) on an interface has no safe wrapper among our dependencies"
)]
fn loopback_up() -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: `ifreq` is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: both requests read and write one `ifreq`, which outlives the call;
    // the name ends in NUL.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
