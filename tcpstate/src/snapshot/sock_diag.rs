//! `NETLINK_SOCK_DIAG`: the kernel's own list of TCP sockets, and the look-up
//! of one. Needs no privilege, and does not know `SO_REUSEADDR`.
//!
//! The messages are laid out here because the crate for them drops the one
//! field that this program needs most, a TIME_WAIT's remaining time.

mod dump;
pub(crate) mod wire;

use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};
use thiserror::Error;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};

pub use dump::Dump;

use super::SocketItem;
use wire::{
    AF_INET, AF_INET6, InetDiagRequest, InetDiagSockId, MessageHeader, NLM_F_REQUEST, NLMSG_ERROR,
};

use crate::event::{Endpoint, Family, Sock, State};

/// The kernel could not be asked.
#[derive(Debug, Error)]
#[error("cannot ask the kernel for its TCP sockets (sock_diag): {0}")]
pub struct DiagError(#[from] io::Error);

/// A connection to the kernel's `sock_diag`, bound to the namespace in which
/// it was opened.
#[derive(Debug)]
pub struct SockDiag {
    netns: u32,
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCPDIAG_GETSOCK: u16 = 18;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
/// `idiag_timer` of a mini-socket.
const TIMER_TIME_WAIT: u8 = 3;
/// All states, and bit 13: bound sockets without a connection (Linux 6.8).
const ALL_STATES: u32 = BOUND_STATES | 0x1fff;
const BOUND_STATES: u32 = 1 << 13;
/// `TCPF_LISTEN`.
const LISTENING: u32 = 1 << 10;
/// The kernel fills up to 32 KiB per read.
const BUFFER: usize = 64 * 1024;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Response {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: InetDiagSockId,
    expires_ms: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

/// `struct nlattr`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct AttributeHeader {
    len: u16,
    kind: u16,
}

const INET_DIAG_SKV6ONLY: u16 = 11;

impl SockDiag {
    /// Opens a connection in the calling thread's namespace, `netns`.
    pub fn open(netns: u32) -> Result<Self, DiagError> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(SOCK_DIAG),
        )
        .map_err(io::Error::from)?;
        // The kernel answers within the sending call; this guards against waiting for ever.
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(std::time::Duration::from_secs(5)),
        )
        .map_err(io::Error::from)?;
        Ok(Self {
            netns,
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// All TCP sockets of the namespace.
    pub fn dump(&mut self) -> Result<Vec<SocketItem>, DiagError> {
        self.dump_states(ALL_STATES, 0)
    }

    /// All TCP sockets of the namespace; `None`: there are more than so many.
    pub fn dump_at_most(mut self, max: usize) -> Result<Option<Vec<SocketItem>>, DiagError> {
        let mut sockets = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.send(family, NLM_F_DUMP, ALL_STATES, InetDiagSockId::new_zeroed())?;
            while self.receive(&mut sockets)? {
                if sockets.len() > max {
                    return Ok(None);
                }
            }
        }
        Ok(Some(sockets))
    }

    /// The namespace's TCP sockets with this local port.
    pub fn dump_port(&mut self, port: u16) -> Result<Vec<SocketItem>, DiagError> {
        let mut items = self.dump_states(ALL_STATES, port)?;
        items.retain(|item| item.local.port == port);
        Ok(items)
    }

    /// The namespace's TCP sockets that listen on this port.
    pub fn dump_listeners(&mut self, port: u16) -> Result<Vec<SocketItem>, DiagError> {
        let mut items = self.dump_states(LISTENING, port)?;
        items.retain(|item| item.local.port == port);
        Ok(items)
    }

    /// The namespace's sockets that are bound and neither listen nor are
    /// connected; none before Linux 6.8, which does not list them.
    pub fn dump_bound(&mut self) -> Result<Vec<SocketItem>, DiagError> {
        self.dump_states(BOUND_STATES, 0)
    }

    /// The socket with these addresses and, unless it is 0, this cookie.
    pub fn lookup(
        &mut self,
        family: Family,
        local: Endpoint,
        peer: Endpoint,
        cookie: u64,
    ) -> Result<Option<SocketItem>, DiagError> {
        let id = InetDiagSockId::new(local, peer, 0, cookie);
        let family = wire::family(family);
        self.send(family, 0, ALL_STATES, id)?;
        let mut found = Vec::new();
        match self.receive(&mut found) {
            Ok(_) => {}
            Err(DiagError(error))
                if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        // Where no connection fits, the kernel answers with the listener.
        Ok(found
            .pop()
            .filter(|socket| socket.peer == peer && socket.local == local))
    }

    /// Port 0: all; of bound sockets the kernel lists those of other ports too.
    fn dump_states(&mut self, states: u32, port: u16) -> Result<Vec<SocketItem>, DiagError> {
        let mut sockets = Vec::new();
        let id = InetDiagSockId {
            source_port: port.to_be_bytes(),
            ..InetDiagSockId::new_zeroed()
        };
        for family in [AF_INET, AF_INET6] {
            self.send(family, NLM_F_DUMP, states, id)?;
            while self.receive(&mut sockets)? {}
        }
        Ok(sockets)
    }

    fn send(
        &mut self,
        family: u8,
        flags: u16,
        states: u32,
        id: InetDiagSockId,
    ) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = NLM_F_REQUEST | flags;
        let request = InetDiagRequest::new(
            SOCK_DIAG_BY_FAMILY,
            flags,
            self.sequence,
            family,
            states,
            id,
        );
        sendto(
            &self.socket,
            request.as_bytes(),
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )
        .map_err(io::Error::from)?;
        Ok(())
    }

    /// Reads one datagram. `true`: more follow.
    fn receive(&mut self, sockets: &mut Vec<SocketItem>) -> Result<bool, DiagError> {
        let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())
            .map_err(io::Error::from)?;
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        let mut is_dump = false;
        while let Ok((header, _)) = MessageHeader::read_from_prefix(rest) {
            let message_length = header.len as usize;
            let Some(body) = rest.get(size_of::<MessageHeader>()..message_length) else {
                break;
            };
            if header.sequence == self.sequence {
                match header.kind {
                    NLMSG_DONE => return Ok(false),
                    NLMSG_ERROR => {
                        let (errno, _) = i32::read_from_prefix(body)
                            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                        return Err(io::Error::from_raw_os_error(errno.saturating_neg()).into());
                    }
                    SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => {
                        is_dump |= header.flags & NLM_F_MULTI != 0;
                        if let Ok((response, attributes)) = Response::read_from_prefix(body) {
                            sockets.extend(item(self.netns, &response, attributes));
                        }
                    }
                    _ => {}
                }
            }
            rest = rest
                .get(message_length.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(is_dump)
    }
}

const NLM_F_MULTI: u16 = 2;

/// `IPV6_V6ONLY`, which the kernel reports of listening and bound IPv6 sockets.
fn v6only(mut attributes: &[u8]) -> Option<bool> {
    while let Ok((header, rest)) = AttributeHeader::read_from_prefix(attributes) {
        let payload = usize::from(header.len).checked_sub(size_of::<AttributeHeader>())?;
        if header.kind == INET_DIAG_SKV6ONLY {
            return rest.get(..payload)?.first().map(|value| *value != 0);
        }
        attributes = rest.get(payload.next_multiple_of(4)..)?;
    }
    None
}

fn item(netns: u32, response: &Response, attributes: &[u8]) -> Option<SocketItem> {
    let family = match response.family {
        AF_INET => Family::Ipv4,
        AF_INET6 => Family::Ipv6,
        _ => return None,
    };
    let endpoint = |addr, port: [u8; 2]| Endpoint {
        addr: family.address(addr),
        port: u16::from_be_bytes(port),
    };
    let is_mini = response.timer == TIMER_TIME_WAIT;
    let state = match State::from_raw(response.state)? {
        // What has a port and no connection is reported as closed.
        State::Closed => State::Bound,
        state => state,
    };
    Some(SocketItem {
        sock: Sock {
            cookie: u64::from(response.id.cookie[0]) | u64::from(response.id.cookie[1]) << 32,
            netns,
            family,
        },
        local: endpoint(response.id.source, response.id.source_port),
        peer: endpoint(response.id.destination, response.id.destination_port),
        state,
        is_mini,
        reuse: None,
        v6only: v6only(attributes),
        bound_dev_if: NonZero::new(response.id.interface).map(NonZero::get),
        uid: (response.inode != 0).then_some(response.uid),
        inode: (response.inode != 0).then_some(u64::from(response.inode)),
        is_kernels: false,
        is_port_locked: None,
        is_connect_bound: None,
        expires_ms: is_mini.then_some(u64::from(response.expires_ms)),
        receive_queue: Some(response.receive_queue),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn endpoint(address: std::net::SocketAddr) -> Endpoint {
        Endpoint {
            addr: address.ip(),
            port: address.port(),
        }
    }

    #[test]
    fn a_connection_is_in_the_dump_and_is_found_by_its_addresses_and_cookie() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, peer) = (
            endpoint(client.local_addr().unwrap()),
            endpoint(client.peer_addr().unwrap()),
        );
        let mut diag = SockDiag::open(1).unwrap();

        let dumped = diag
            .dump()
            .unwrap()
            .into_iter()
            .find(|socket| socket.local == local)
            .unwrap();
        let found = diag
            .lookup(Family::Ipv4, local, peer, dumped.sock.cookie)
            .unwrap()
            .unwrap();

        assert_eq!(
            (dumped.state, dumped.peer, dumped.expires_ms),
            (State::Established, peer, None)
        );
        assert_eq!(found.sock.cookie, dumped.sock.cookie);
        assert_eq!(
            diag.lookup(Family::Ipv4, local, peer, dumped.sock.cookie + 1)
                .unwrap(),
            None
        );
        assert_eq!(
            diag.lookup(Family::Ipv4, Endpoint { port: 1, ..local }, peer, 0)
                .unwrap(),
            None
        );
    }

    #[test]
    fn hostile_attributes_are_no_option() {
        assert_eq!(v6only(&[5, 0, 11, 0, 1, 0, 0, 0]), Some(true));
        assert_eq!(
            v6only(&[5, 0, 8, 0, 7, 0, 0, 0, 5, 0, 11, 0, 0]),
            Some(false)
        );
        for odd in [
            &[][..],
            &[0, 0, 11, 0],
            &[3, 0, 1, 0, 9],
            &[255, 255, 11, 0, 1],
            &[4, 0, 11, 0],
        ] {
            assert_eq!(v6only(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_listener_on_ipv6_is_in_the_dump() {
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            return;
        };
        let local = endpoint(listener.local_addr().unwrap());

        let dumped = SockDiag::open(1).unwrap().dump_port(local.port).unwrap();

        assert!(dumped.iter().all(|socket| socket.local.port == local.port));
        assert!(
            dumped
                .iter()
                .any(|socket| socket.local == local && socket.state == State::Listen)
        );
    }
}
