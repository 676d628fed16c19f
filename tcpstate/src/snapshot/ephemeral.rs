//! Counts the ports that the kernel may choose in the network namespace of the calling
//! thread, and which sockets have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::SocketItem;
use super::sock_diag::SockDiag;
use crate::event::{Endpoint, Ephemeral, State, Sysctls};

/// The range that is advised where ports run out: what lies in it is looked at.
const WIDEST: [u16; 2] = [10_240, u16::MAX];
/// Where a namespace has more sockets, they are not counted: it would take too long.
const MAX_SOCKETS: usize = 200_000;
/// Ports that are listed.
const MAX_LISTED: usize = 8;

/// What the call wanted a port for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `bind` to port 0 of this address.
    Bind(IpAddr),
    /// `connect` to this peer.
    Connect(Endpoint),
}

/// The count, and for each open socket among those that were counted its inode. `None`:
/// the range or the sockets were not to be read.
pub(crate) fn read(
    netns: u32,
    sysctls: &Sysctls,
    purpose: Purpose,
) -> Option<(Ephemeral, Vec<u64>)> {
    let diag = SockDiag::open(netns).ok()?;
    let mut items = diag.dump_at_most(MAX_SOCKETS).ok()??;
    let bound = SockDiag::open(netns).and_then(|mut diag| diag.dump_bound());
    items.extend(bound.unwrap_or_default());
    count(&items, sysctls, purpose)
}

fn count(
    items: &[SocketItem],
    sysctls: &Sysctls,
    purpose: Purpose,
) -> Option<(Ephemeral, Vec<u64>)> {
    let [first, last] = sysctls.ip_local_port_range?;
    let reserved = reserved(sysctls.ip_local_reserved_ports.as_deref()?);
    let may_be_chosen = |port: u16| {
        (first..=last).contains(&port) && !reserved.iter().any(|[a, b]| (*a..=*b).contains(&port))
    };
    let mut ports = BTreeSet::new();
    let mut peers = BTreeSet::new();
    let mut states: BTreeMap<State, u32> = BTreeMap::new();
    let mut inodes = Vec::new();
    let mut beyond = BTreeSet::new();
    for item in items {
        let port = item.local.port;
        if item.state == State::Listen
            && !(first..=last).contains(&port)
            && (WIDEST[0]..=WIDEST[1]).contains(&port)
        {
            beyond.insert(port);
        }
        if !may_be_chosen(port) || !stands_in_the_way(item, purpose) {
            continue;
        }
        ports.insert(port);
        let of_state = states.entry(item.state).or_default();
        *of_state = of_state.saturating_add(1);
        if item.peer.port != 0 {
            peers.insert(item.peer);
        }
        inodes.extend(item.inode);
    }
    let available = (first..=last).filter(|port| may_be_chosen(*port)).count();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let counted = Ephemeral {
        available: number(available),
        used: number(ports.len()),
        states,
        peers: number(peers.len()),
        users: Vec::new(),
        listening_beyond: beyond.into_iter().take(MAX_LISTED).collect(),
    };
    Some((counted, inodes))
}

/// Whether a port that this socket has is none for the call: `inet_csk_find_open_port` and
/// `__inet_hash_connect`.
fn stands_in_the_way(item: &SocketItem, purpose: Purpose) -> bool {
    let has_no_peer = matches!(item.state, State::Listen | State::Bound);
    match purpose {
        Purpose::Connect(peer) => {
            has_no_peer
                || (item.peer.port == peer.port
                    && item.peer.addr.to_canonical() == peer.addr.to_canonical())
        }
        Purpose::Bind(addr) => {
            let (addr, local) = (addr.to_canonical(), item.local.addr.to_canonical());
            addr == local || addr.is_unspecified() || local.is_unspecified()
        }
    }
}

/// `8080,9000-9010` as ranges; what is no number is left out.
fn reserved(text: &str) -> Vec<[u16; 2]> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some([first.trim().parse().ok()?, last.trim().parse().ok()?])
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Family, Sock};

    fn item(local: &str, peer: &str, state: State) -> SocketItem {
        let end = |text: &str| {
            let end: std::net::SocketAddr = text.parse().unwrap();
            Endpoint {
                addr: end.ip(),
                port: end.port(),
            }
        };
        SocketItem {
            sock: Sock {
                cookie: 1,
                netns: 1,
                family: Family::Ipv4,
            },
            local: end(local),
            peer: end(peer),
            state,
            is_mini: state == State::TimeWait,
            reuse: None,
            v6only: None,
            bound_dev_if: None,
            uid: None,
            inode: (state != State::TimeWait).then_some(7),
            is_kernels: false,
            is_port_locked: None,
            is_connect_bound: None,
            expires_ms: None,
            receive_queue: None,
        }
    }

    fn sysctls() -> Sysctls {
        Sysctls {
            ip_local_port_range: Some([40_000, 40_009]),
            ip_local_reserved_ports: Some("40005-40006,80".to_owned()),
            ..Sysctls::default()
        }
    }

    #[test]
    fn ports_are_counted_once_and_only_where_they_stand_in_the_way() {
        let items = [
            item("10.0.0.1:40000", "10.0.0.9:443", State::Established),
            item("10.0.0.1:40000", "10.0.0.8:443", State::TimeWait),
            item("10.0.0.2:40001", "10.0.0.9:443", State::TimeWait),
            item("0.0.0.0:40002", "0.0.0.0:0", State::Listen),
            item("10.0.0.1:40005", "10.0.0.9:443", State::Established),
            item("0.0.0.0:11211", "0.0.0.0:0", State::Listen),
            item("0.0.0.0:22", "0.0.0.0:0", State::Listen),
        ];
        let peer = items[0].peer;

        let (bind, inodes) = count(&items, &sysctls(), Purpose::Bind(items[0].local.addr)).unwrap();
        let (connect, _) = count(&items, &sysctls(), Purpose::Connect(peer)).unwrap();

        assert_eq!((bind.available, bind.used, bind.peers), (8, 2, 2));
        assert_eq!(inodes, [7, 7]);
        assert_eq!(bind.listening_beyond, [11_211]);
        assert_eq!((connect.used, connect.peers), (3, 1));
        assert_eq!(
            connect.states,
            BTreeMap::from([
                (State::Established, 1),
                (State::TimeWait, 1),
                (State::Listen, 1)
            ])
        );
    }

    #[test]
    fn what_was_not_read_is_not_counted() {
        let unread = Sysctls::default();

        assert!(count(&[], &unread, Purpose::Bind("::".parse().unwrap())).is_none());
        assert_eq!(reserved("x,1-,2"), [[2, 2]]);
    }
}
