//! `bind`, `listen`, `connect`, `accept`.

use std::sync::Arc;

use super::Engine;
use crate::diagnosis::CallKind;
use crate::event::{Body, Call};
use crate::model::{Phase, PortKey, Socket, SocketId};

impl Engine {
    pub(super) fn on_call(&mut self, mono_ns: u64, kind: CallKind, call: Box<Call>) {
        let key = port_of(kind, &call);
        let id = match (&call.sock, call.local) {
            (Some(sock), Some(local)) => Some(SocketId::of(
                sock,
                local,
                call.peer.unwrap_or(nowhere(local)),
            )),
            _ => None,
        };
        let facts = Arc::new((*call).clone());
        let seq = self.push(
            mono_ns,
            match kind {
                CallKind::Bind => Body::Bind(call),
                CallKind::Listen => Body::Listen(call),
                CallKind::Connect => Body::Connect(call),
            },
        );
        if !facts.ok {
            if facts.is_sum {
                self.on_repeated(mono_ns, seq, kind, &facts, key);
            } else if !is_the_peers_doing(kind, &facts) {
                self.on_failure(mono_ns, seq, kind, facts, key);
            }
            return;
        }
        if let (Some(key), Some(id)) = (key, id) {
            self.note_port_instead(mono_ns, seq, kind, (key, id), &facts);
        }
        match (kind, key) {
            (CallKind::Bind, Some(key)) => {
                let history = self.ports.history(key);
                history.last_bind = Some((seq, mono_ns, Arc::clone(&facts.process)));
                history.was_last_bind_to_this_port = facts.requested.port == key.port;
                // With SO_REUSEADDR it says nothing about TIME_WAITs.
                let is_significant =
                    matches!(history.phase, Phase::Down { .. }) && !facts.reuse.reuseaddr;
                if is_significant && !self.are_minis_hooked {
                    self.poll_port_again(mono_ns, key);
                }
            }
            (CallKind::Listen, Some(key)) => {
                if let (Some(id), Some(local)) = (id, facts.local) {
                    self.on_listening(mono_ns, seq, key, id, local, &facts.process);
                }
            }
            _ => {}
        }
    }

    /// A `bind` that succeeded may mean that TIME_WAITs are gone before their
    /// time: all of the port are looked up now.
    fn poll_port_again(&mut self, mono_ns: u64, key: PortKey) {
        let minis: Vec<SocketId> = self
            .table
            .iter()
            .filter(|socket| {
                socket.is_mini && socket.local.port == key.port && socket.sock.netns == key.netns
            })
            .map(Socket::id)
            .collect();
        for id in minis {
            self.check_at(id, mono_ns);
        }
    }

    pub(super) fn on_accept(&mut self, mono_ns: u64, call: Box<Call>) {
        if let (Some(sock), Some(local), Some(peer)) = (&call.sock, call.local, call.peer) {
            let owner = Arc::new(call.process.tracked());
            let id = self.id_of_connection(sock, local, peer);
            self.table.update(&id, |socket| socket.owner = Some(owner));
        }
        self.push(mono_ns, Body::Accept(call));
    }
}

/// A `connect` that the other side or the way there refused: no port of this
/// host stood in the way, so there is nothing to explain.
fn is_the_peers_doing(kind: CallKind, call: &Call) -> bool {
    const PEERS: [&str; 6] = [
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EHOSTDOWN",
        "ETIMEDOUT",
    ];
    kind == CallKind::Connect
        && call
            .errno_name
            .as_deref()
            .is_some_and(|name| PEERS.contains(&name))
}

/// The local port that a call is about. For `connect` it is the one that the
/// caller fixed before.
pub(super) fn port_of(kind: CallKind, call: &Call) -> Option<PortKey> {
    let port = match kind {
        CallKind::Bind => match call.local {
            Some(local) if call.ok => local.port,
            _ => call.requested.port,
        },
        CallKind::Listen => call.local.map_or(call.requested.port, |local| local.port),
        CallKind::Connect => call.local?.port,
    };
    (port != 0).then_some(PortKey {
        port,
        netns: call.sock.as_ref()?.netns,
    })
}

/// The peer of a socket without one.
fn nowhere(local: crate::event::Endpoint) -> crate::event::Endpoint {
    let addr = match local.addr {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    crate::event::Endpoint { addr, port: 0 }
}
