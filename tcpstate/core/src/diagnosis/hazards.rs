//! What goes wrong quietly where a bind succeeds: `localhost` leads to somebody else, or
//! connections are shared.
//!
//! Which listener gets a connection is `compute_score` of the kernel's listener lookup: one
//! bound to the address before one bound to all, and for IPv4 an IPv4 socket before one that
//! carries both. <https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/inet_hashtables.c>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Endpoint, Family, Hazard, HazardKind, Process, SeenHolder, State};

use super::conflict::Binder;
use super::facts::Facts;
use super::text;

/// `localhost`, in the order that a resolver has them in (RFC 6724).
const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];
/// The interface that every namespace has first.
const LOOPBACK: u32 = 1;

/// A listener, as far as it matters whom a connection reaches.
#[derive(Clone, Copy)]
struct Listener {
    family: Family,
    addr: IpAddr,
    /// Whether IPv4 is left alone; `None`: not known.
    v6only: Option<bool>,
    device: Option<u32>,
}

/// Of a bind that succeeds.
pub(super) fn of(facts: &Facts<'_>) -> Vec<Hazard> {
    let Some(binder) = &facts.binder else {
        return Vec::new();
    };
    let new = Listener::of_binder(binder);
    let others: Vec<&SeenHolder> = facts
        .candidates
        .iter()
        .map(|candidate| candidate.seen)
        .filter(|seen| seen.state == State::Listen)
        .collect();
    let mut hazards = Vec::new();
    hazards.extend(localhost_elsewhere(facts.port, &new, &others));
    hazards.extend(shared(facts.port, binder, &others));
    hazards
}

impl Listener {
    fn of_binder(binder: &Binder) -> Self {
        Self {
            family: binder.family,
            addr: binder.addr,
            v6only: Some(binder.reuse.v6only),
            device: binder.device,
        }
    }

    fn of_seen(seen: &SeenHolder) -> Self {
        Self {
            family: seen.sock.family,
            addr: seen.local.addr,
            v6only: seen.v6only.or(seen.reuse.map(|reuse| reuse.v6only)),
            device: seen.bound_dev_if.filter(|index| *index != 0),
        }
    }

    /// How well it fits a connection over the loopback interface to this address; `None`: not.
    fn score(&self, target: IpAddr) -> Option<u32> {
        let by_device = match self.device {
            None => 0,
            Some(LOOPBACK) => 4,
            Some(_) => return None,
        };
        let addr = self.addr.to_canonical();
        let carries = match (target, self.family) {
            (IpAddr::V4(_), Family::Ipv6) => self.v6only == Some(false),
            (IpAddr::V6(_), Family::Ipv4) => false,
            _ => true,
        };
        let by_address = if addr == target {
            2
        } else if self.addr.is_unspecified() {
            0
        } else {
            return None;
        };
        let by_family = u32::from(target.is_ipv4() && self.family == Family::Ipv4);
        carries.then_some(by_device + by_address + by_family)
    }
}

fn localhost_elsewhere(port: u16, new: &Listener, others: &[&SeenHolder]) -> Option<Hazard> {
    let own = LOCALHOST.map(|target| new.score(target));
    if own.iter().all(Option::is_none) {
        return None;
    }
    // Whoever gets it instead of the new one.
    let elsewhere = |target: IpAddr| {
        let own = new.score(target);
        others
            .iter()
            .filter_map(|seen| Some((Listener::of_seen(seen).score(target)?, *seen)))
            .max_by_key(|(score, _)| *score)
            .filter(|(score, _)| Some(*score) > own)
            .map(|(_, seen)| seen)
    };
    let [six, four] = LOCALHOST.map(elsewhere);
    let at = |addr: IpAddr| Endpoint { addr, port }.to_string();
    let [at_six, at_four] = LOCALHOST.map(at);
    let (first, text) = match (six, four) {
        (Some(six), Some(four)) => (
            six,
            format!(
                "localhost leads elsewhere: {} answers {at_six}, which is tried first, and {} \
                 answers {at_four}",
                name(six),
                name(four)
            ),
        ),
        (Some(six), None) => (
            six,
            format!(
                "localhost leads elsewhere: {} answers {at_six}, which is tried first; only who \
                 asks for {at_four} would reach the new server",
                name(six)
            ),
        ),
        (None, Some(four)) => (
            four,
            format!(
                "localhost leads to two: {} answers {at_four}; only who tries {at_six} first would \
                 reach the new server",
                name(four)
            ),
        ),
        (None, None) => return None,
    };
    Some(Hazard {
        kind: HazardKind::LocalhostElsewhere,
        text,
        local: first.local,
        processes: pids(first),
    })
}

/// The listeners that the new one would be in one group with.
fn shared(port: u16, binder: &Binder, others: &[&SeenHolder]) -> Option<Hazard> {
    let new = Listener::of_binder(binder);
    let is_of_group = |seen: &&&SeenHolder| {
        let other = Listener::of_seen(seen);
        binder.reuse.reuseport
            && seen.reuse.is_some_and(|reuse| reuse.reuseport)
            && (other.family, other.device) == (new.family, new.device)
            && other.addr.to_canonical() == new.addr.to_canonical()
            && binder.uid.is_some()
            && seen.uid == binder.uid
    };
    let group: Vec<&&SeenHolder> = others.iter().filter(is_of_group).collect();
    let first = group.first()?;
    let names: Vec<&Process> = group
        .iter()
        .flat_map(|seen| seen.processes.iter().flatten())
        .map(|process| &**process)
        .collect();
    let with = text::processes(names).unwrap_or_else(|| "others that were not seen".to_owned());
    let at = Endpoint {
        addr: binder.addr,
        port,
    };
    let sockets = match group.len() {
        1 => "another socket".to_owned(),
        count => format!("{count} other sockets"),
    };
    Some(Hazard {
        kind: HazardKind::SharedConnections,
        text: format!(
            "connections to {at} would be shared with {with}: {sockets} of the same user listen \
             there with SO_REUSEPORT, and the kernel gives each connection to one of them"
        ),
        local: first.local,
        processes: group.iter().flat_map(|seen| pids(seen)).collect(),
    })
}

fn name(seen: &SeenHolder) -> String {
    let processes = seen.processes.iter().flatten().map(|process| &**process);
    text::processes(processes).unwrap_or_else(|| match seen.uid {
        Some(uid) => format!("a listener of user {uid}"),
        None => "another listener".to_owned(),
    })
}

fn pids(seen: &SeenHolder) -> Vec<u32> {
    let processes = seen.processes.iter().flatten();
    processes.map(|process| process.pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::KnownHolder;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, held_by, holder};
    use crate::event::Reuse;

    const V6ONLY: Reuse = Reuse {
        v6only: true,
        ..PLAIN
    };
    const SHARED: Reuse = Reuse {
        reuseport: true,
        ..PLAIN
    };

    fn hazards(addr: &str, reuse: Reuse, others: &[(&str, Reuse)]) -> Vec<(HazardKind, String)> {
        let mut fixture = Fixture::bind(addr, 8080).reuse(reuse);
        fixture.call.uid = Some(0);
        for (other, reuse) in others {
            let listener = holder(State::Listen, other, 8080, *reuse);
            fixture = fixture.with(held_by(listener, &[(12, "web")]), KnownHolder::default());
        }
        fixture.with_failure(|failure| {
            let hazards = of(&Facts::new(failure)).into_iter();
            hazards.map(|hazard| (hazard.kind, hazard.text)).collect()
        })
    }

    #[test]
    fn localhost_is_whoever_is_tried_first() {
        for (new, reuse, other, theirs, text) in [
            (
                "0.0.0.0",
                REUSE,
                "::1",
                PLAIN,
                "web[12] answers [::1]:8080, which is tried first; only",
            ),
            (
                "127.0.0.1",
                REUSE,
                "::",
                V6ONLY,
                "web[12] answers [::1]:8080, which is tried first; only",
            ),
            (
                "::",
                V6ONLY,
                "127.0.0.1",
                PLAIN,
                "localhost leads to two: web[12] answers 127.0.0.1:8080",
            ),
            (
                "::1",
                PLAIN,
                "0.0.0.0",
                PLAIN,
                "localhost leads to two: web[12] answers 127.0.0.1:8080",
            ),
            (
                "0.0.0.0",
                SHARED,
                "127.0.0.1",
                SHARED,
                "web[12] answers 127.0.0.1:8080; only",
            ),
        ] {
            let found = hazards(new, reuse, &[(other, theirs)]);

            assert_eq!(found.len(), 1, "{new} beside {other}: {found:?}");
            assert_eq!(found[0].0, HazardKind::LocalhostElsewhere);
            assert!(
                found[0].1.contains(text),
                "{new} beside {other}: {}",
                found[0].1
            );
        }
        for (new, other) in [
            ("0.0.0.0", "2001:db8::1"),
            ("192.0.2.1", "::1"),
            ("127.0.0.2", "::1"),
        ] {
            assert_eq!(
                hazards(new, PLAIN, &[(other, PLAIN)]),
                [],
                "{new} beside {other}"
            );
        }
        assert_eq!(hazards("0.0.0.0", PLAIN, &[]), []);
    }

    #[test]
    fn a_group_is_shared_by_sockets_of_one_user_on_one_address() {
        let found = hazards(
            "0.0.0.0",
            SHARED,
            &[("0.0.0.0", SHARED), ("0.0.0.0", SHARED)],
        );

        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, HazardKind::SharedConnections);
        assert!(
            found[0].1.contains("shared with web[12]: 2 other sockets"),
            "{}",
            found[0].1
        );
        assert_eq!(hazards("0.0.0.0", PLAIN, &[("0.0.0.0", SHARED)]), []);
        assert_eq!(hazards("0.0.0.0", SHARED, &[("192.0.2.1", SHARED)]), []);
    }
}
