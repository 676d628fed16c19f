//! All TCP sockets of a namespace, read bit by bit: a million sockets take the
//! kernel half a second, in which a reader has other things to do as well.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{SendFlags, sendto};
use zerocopy::{FromZeros as _, Immutable, IntoBytes, KnownLayout};

use super::wire::{InetDiagSockId, MessageHeader, NLM_F_REQUEST};
use super::{ALL_STATES, BOUND_STATES, DiagError, NLM_F_DUMP, SockDiag, TCPDIAG_GETSOCK};
use crate::snapshot::SocketItem;

/// A list that is being read.
#[derive(Debug)]
pub struct Dump {
    diag: SockDiag,
}

/// `struct inet_diag_req`. The older request, and the only one that lists both
/// families in one pass through the kernel's hash table, of which each pass
/// costs milliseconds also where it is empty.
#[repr(C)]
#[derive(IntoBytes, Immutable, KnownLayout)]
struct OldRequest {
    header: MessageHeader,
    family: u8,
    source_length: u8,
    destination_length: u8,
    extensions: u8,
    id: InetDiagSockId,
    states: u32,
    tables: u32,
}

impl Dump {
    /// Of the calling thread's namespace, `netns`; it can be read on from any
    /// other one. Sockets that are only bound cost a pass of their own.
    pub fn begin(netns: u32, with_bound: bool) -> Result<Self, DiagError> {
        let mut diag = SockDiag::open(netns)?;
        diag.sequence = diag.sequence.wrapping_add(1);
        let request = OldRequest {
            header: MessageHeader {
                len: u32::try_from(size_of::<OldRequest>()).unwrap_or(u32::MAX),
                kind: TCPDIAG_GETSOCK,
                flags: NLM_F_REQUEST | NLM_F_DUMP,
                sequence: diag.sequence,
                port: 0,
            },
            family: 0,
            source_length: 0,
            destination_length: 0,
            extensions: 0,
            id: InetDiagSockId::new_zeroed(),
            states: if with_bound {
                ALL_STATES
            } else {
                ALL_STATES & !BOUND_STATES
            },
            tables: 0,
        };
        sendto(
            &diag.socket,
            request.as_bytes(),
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )
        .map_err(io::Error::from)?;
        Ok(Self { diag })
    }

    /// Appends the next few hundred sockets. `false`: that was all.
    ///
    /// The kernel prepares them while it answers the call before.
    pub fn read(&mut self, sockets: &mut Vec<SocketItem>) -> Result<bool, DiagError> {
        self.diag.receive(sockets)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::event::{Family, State};

    #[test]
    fn both_families_are_listed_in_one_pass_and_bound_ones_on_request() {
        let listeners =
            ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
        // Bound and nothing more: `TcpListener` would listen.
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        rustix::net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        let bound = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap())
            .unwrap()
            .port();
        let list = |with_bound| {
            let mut dump = Dump::begin(1, with_bound).unwrap();
            let mut items = Vec::new();
            while dump.read(&mut items).unwrap() {}
            items
        };

        let (all, without_bound) = (list(true), list(false));

        for (listener, family) in listeners.iter().zip([Family::Ipv4, Family::Ipv6]) {
            let port = listener.local_addr().unwrap().port();
            assert!(without_bound.iter().any(|item| item.local.port == port
                && item.sock.family == family
                && item.state == State::Listen));
        }
        let is_it = |item: &&SocketItem| item.state == State::Bound && item.local.port == bound;
        assert_eq!(without_bound.iter().filter(is_it).count(), 0);
        // Before Linux 6.8 the kernel does not list them.
        assert_eq!(
            all.iter().filter(is_it).count(),
            usize::from(all.iter().any(|item| item.state == State::Bound))
        );
    }
}
