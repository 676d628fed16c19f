//! `SOCK_DESTROY`: the kernel compares addresses and cookie, so that it destroys the very
//! socket that was seen, or none.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::diagnosis::release::TargetSocket;
use crate::snapshot::sock_diag::wire::{
    InetDiagRequest, InetDiagSockId, MessageHeader, NLM_F_REQUEST, NLMSG_ERROR, family,
};

const SOCK_DESTROY: u16 = 21;
const NLM_F_ACK: u16 = 4;
const ALL_STATES: u32 = u32::MAX;
/// An acknowledgement repeats the question.
const BUFFER: usize = 512;
/// The kernel answers within the sending call; this guards against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::release) enum Destroyed {
    /// It is destroyed.
    Yes,
    /// It was not there any more.
    Gone,
    /// This user may not: it needs `CAP_NET_ADMIN` in the network namespace.
    NotAllowed,
    /// This kernel does not do that: without `CONFIG_INET_DIAG_DESTROY`, or before Linux 6.0
    /// for `TIME_WAIT`.
    NotSupported,
}

/// A connection to the kernel of the namespace in which it was opened.
#[derive(Debug)]
pub(in crate::commands::release) struct Destroyer {
    netlink: OwnedFd,
    sequence: u32,
}

impl Destroyer {
    /// Of the calling thread's namespace.
    pub(in crate::commands::release) fn open() -> io::Result<Self> {
        let netlink = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(SOCK_DIAG),
        )?;
        set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            netlink,
            sequence: 0,
        })
    }

    /// Destroys one socket. One without a cookie is left: it could be another by now.
    pub(in crate::commands::release) fn destroy(
        &mut self,
        target: &TargetSocket,
    ) -> io::Result<Destroyed> {
        if target.sock.cookie == 0 {
            return Ok(Destroyed::Gone);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let request = InetDiagRequest::new(
            SOCK_DESTROY,
            NLM_F_REQUEST | NLM_F_ACK,
            self.sequence,
            family(target.sock.family),
            ALL_STATES,
            InetDiagSockId::new(target.local, target.peer, target.device, target.sock.cookie),
        );
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(
            &self.netlink,
            request.as_bytes(),
            SendFlags::empty(),
            &kernel,
        )?;
        loop {
            let mut buffer = [0; BUFFER];
            let (length, _) = recv(&self.netlink, buffer.as_mut_slice(), RecvFlags::empty())?;
            let answer = buffer.get(..length).unwrap_or_default();
            let odd = || io::Error::from(io::ErrorKind::InvalidData);
            let (header, body) = MessageHeader::read_from_prefix(answer).map_err(|_| odd())?;
            if header.sequence != self.sequence || header.kind != NLMSG_ERROR {
                continue;
            }
            let (error, _) = i32::read_from_prefix(body).map_err(|_| odd())?;
            return match error.saturating_neg() {
                0 => Ok(Destroyed::Yes),
                libc::ENOENT | libc::ESTALE => Ok(Destroyed::Gone),
                libc::EPERM | libc::EACCES => Ok(Destroyed::NotAllowed),
                libc::EOPNOTSUPP => Ok(Destroyed::NotSupported),
                errno => Err(io::Error::from_raw_os_error(errno)),
            };
        }
    }
}
