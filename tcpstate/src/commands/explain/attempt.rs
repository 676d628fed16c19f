//! Binds for real: the address alone, which takes no port, and with `--try`
//! the port, for an instant.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use socket2::SockRef;

use crate::event::{Family, Reuse};

/// The socket that would bind.
#[derive(Clone, Debug)]
pub(in crate::commands) struct RequestedSocket {
    pub(in crate::commands) addr: IpAddr,
    /// Interface index of a link-local address; 0: none.
    pub(in crate::commands) scope: u32,
    pub(in crate::commands) family: Family,
    pub(in crate::commands) reuse: Reuse,
    /// `SO_BINDTODEVICE`.
    pub(in crate::commands) device: Option<String>,
}

impl RequestedSocket {
    /// A TCP socket with the wished options, in the calling thread's namespace.
    pub(super) fn socket(&self) -> Result<OwnedFd, Errno> {
        let family = match self.family {
            Family::Ipv4 => AddressFamily::INET,
            Family::Ipv6 => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if self.family == Family::Ipv6 {
            sockopt::set_ipv6_v6only(&socket, self.reuse.v6only)?;
        }
        sockopt::set_socket_reuseaddr(&socket, self.reuse.reuseaddr)?;
        sockopt::set_socket_reuseport(&socket, self.reuse.reuseport)?;
        if let Some(device) = &self.device {
            SockRef::from(&socket)
                .bind_device(Some(device.as_bytes()))
                .map_err(errno)?;
        }
        Ok(socket)
    }

    /// What the kernel says to the address, whatever the port: with
    /// `IP_BIND_ADDRESS_NO_PORT` a bind to port 0 takes none.
    pub(in crate::commands) fn try_address(&self) -> Result<(), Errno> {
        let socket = self.socket()?;
        set_bind_address_no_port(&socket)?;
        self.bind(&socket, 0)
    }

    /// Binds the port and gives it back.
    pub(super) fn try_port(&self, port: u16) -> Result<(), Errno> {
        self.bind(&self.socket()?, port)
    }

    fn bind(&self, socket: &OwnedFd, port: u16) -> Result<(), Errno> {
        let address: SocketAddr = match self.addr {
            IpAddr::V6(addr) => SocketAddrV6::new(addr, port, 0, self.scope).into(),
            addr @ IpAddr::V4(_) => SocketAddr::new(addr, port),
        };
        bind(socket, &address)
    }
}

/// Sets `IP_BIND_ADDRESS_NO_PORT`, which neither rustix nor socket2 has.
#[expect(unsafe_code, reason = "the option has no safe wrapper")]
fn set_bind_address_no_port(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: an open descriptor, and the address and length of a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(errno(std::io::Error::last_os_error()))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
