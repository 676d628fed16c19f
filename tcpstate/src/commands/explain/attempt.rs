//! Binds for real: the address alone, which takes no port, and with `--try`
//! the port, for an instant.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::event::{Family, Reuse};

/// The socket that would bind.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) addr: IpAddr,
    /// Interface index of a link-local address; 0: none.
    pub(super) scope: u32,
    pub(super) family: Family,
    pub(super) reuse: Reuse,
    /// `SO_BINDTODEVICE`.
    pub(super) device: Option<String>,
}

impl Wish {
    /// A TCP socket with the wished options, in the calling thread's namespace.
    pub(super) fn socket(&self) -> Result<OwnedFd, Errno> {
        let family = match self.family {
            Family::Ipv4 => AddressFamily::Inet,
            Family::Ipv6 => AddressFamily::Inet6,
        };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        if self.family == Family::Ipv6 {
            setsockopt(&socket, sockopt::Ipv6V6Only, &self.reuse.v6only)?;
        }
        setsockopt(&socket, sockopt::ReuseAddr, &self.reuse.reuseaddr)?;
        setsockopt(&socket, sockopt::ReusePort, &self.reuse.reuseport)?;
        if let Some(device) = &self.device {
            setsockopt(&socket, sockopt::BindToDevice, &OsString::from(device))?;
        }
        Ok(socket)
    }

    /// What the kernel says to the address, whatever the port: with
    /// `IP_BIND_ADDRESS_NO_PORT` a bind to port 0 takes none.
    pub(super) fn try_address(&self) -> Result<(), Errno> {
        let socket = self.socket()?;
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        self.bind(&socket, 0)
    }

    /// Binds the port and gives it back.
    pub(super) fn try_port(&self, port: u16) -> Result<(), Errno> {
        self.bind(&self.socket()?, port)
    }

    fn bind(&self, socket: &OwnedFd, port: u16) -> Result<(), Errno> {
        let address = match self.addr {
            IpAddr::V6(addr) => SocketAddrV6::new(addr, port, 0, self.scope).into(),
            addr @ IpAddr::V4(_) => SocketAddr::new(addr, port),
        };
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
    }
}
