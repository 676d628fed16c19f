//! Sockets as tests make them: without any option that was not asked for.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// An address.
pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("test addresses are valid")
}

/// A TCP socket without any option.
pub fn socket(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    // Without close-on-exec the programs that the test starts would hold it, too.
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket can be made")
}

/// Binds; the errno is the kernel's answer.
pub fn try_bind(address: &str, reuseaddr: bool) -> Result<OwnedFd, rustix::io::Errno> {
    let address = at(address);
    let socket = socket(address);
    rustix::net::sockopt::set_socket_reuseaddr(&socket, reuseaddr)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Binds and listens.
pub fn listener(address: &str, reuseaddr: bool) -> OwnedFd {
    let socket = try_bind(address, reuseaddr).expect("the port is free");
    rustix::net::listen(&socket, 64).expect("nobody else listens");
    socket
}

/// A connection through a listener: (server's side, client's side).
pub fn connection(listener: &OwnedFd, address: &str) -> (OwnedFd, OwnedFd) {
    let client = socket(at(address));
    rustix::net::connect(&client, &at(address)).expect("somebody listens");
    (
        rustix::net::accept_with(listener, SocketFlags::CLOEXEC).expect("a connection waits"),
        client,
    )
}

/// Reads until the peer's FIN or RST.
pub fn drain(socket: &OwnedFd) {
    let mut file = std::fs::File::from(socket.try_clone().expect("a descriptor can be doubled"));
    let mut rest = Vec::new();
    let _ = file.read_to_end(&mut rest);
}

/// Local port of a socket.
pub fn port_of(socket: &OwnedFd) -> u16 {
    SocketAddr::try_from(rustix::net::getsockname(socket).expect("a socket has a name"))
        .expect("it is an IP socket")
        .port()
}
