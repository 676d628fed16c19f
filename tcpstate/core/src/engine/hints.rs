//! Events from which it follows that a mini-socket has changed or gone, which
//! the kernel itself does not announce: a reason to poll at once.

use std::net::{IpAddr, Ipv6Addr};

use super::Engine;
use crate::event::{Endpoint, Reset, State, StateChange};
use crate::model::Tuple;

impl Engine {
    /// The passive side has closed for good: its FIN has reached the other side,
    /// if that is on this host, and made an orphan's FIN_WAIT_2 a TIME_WAIT.
    pub(super) fn hint_from_transition(&mut self, mono_ns: u64, change: &StateChange) {
        if (change.old, change.new) == (State::LastAck, State::Closed) {
            self.poll_mini_of(mono_ns, change.sock.netns, change.peer, change.local);
        }
    }

    /// An RST ends a mini-socket, whichever side sent it.
    pub(super) fn hint_from_reset(&mut self, mono_ns: u64, reset: &Reset) {
        let Some(sock) = &reset.sock else {
            return;
        };
        self.poll_mini_of(mono_ns, sock.netns, reset.local, reset.peer);
        self.poll_mini_of(mono_ns, sock.netns, reset.peer, reset.local);
    }

    fn poll_mini_of(&mut self, mono_ns: u64, netns: u32, local: Endpoint, peer: Endpoint) {
        let plain = Tuple { netns, local, peer };
        let otherwise = Tuple {
            netns,
            local: in_the_other_form(local),
            peer: in_the_other_form(peer),
        };
        for tuple in [plain, otherwise] {
            if let Some(id) = self.table.mini_at(&tuple) {
                self.check_at(id, mono_ns);
            }
        }
    }
}

/// An IPv4 address as an IPv6 socket has it, and the other way round: the two
/// sides of one connection may differ in that.
fn in_the_other_form(endpoint: Endpoint) -> Endpoint {
    let addr = match endpoint.addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().into(),
        IpAddr::V6(addr) => as_ipv4(addr),
    };
    Endpoint { addr, ..endpoint }
}

fn as_ipv4(addr: Ipv6Addr) -> IpAddr {
    addr.to_ipv4_mapped().map_or(addr.into(), IpAddr::V4)
}
