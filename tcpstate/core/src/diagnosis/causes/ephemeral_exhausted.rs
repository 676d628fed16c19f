//! `ephemeral_exhausted`: no free local port was left to choose.

use crate::event::{Applies, Cause, Endpoint, Ephemeral, Errno, Fix, State};

use super::address_unusable::is_unusable;
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::{Command, Setting};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{fix, reuseaddr_does_not_help};
use crate::diagnosis::language::{Language, SocketOption};
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::EphemeralExhausted,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    match facts.failure.kind {
        CallKind::Bind | CallKind::Listen => facts.errno == Errno::AddrInUse && facts.port == 0,
        CallKind::Connect => {
            facts.errno == Errno::AddrNotAvail && facts.port == 0 && !is_unusable(facts)
        }
    }
    .into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let call = facts.call();
    let is_connect = facts.failure.kind == CallKind::Connect;
    let who = text::process(&call.process);
    let range = match facts.failure.environment.local_port_range {
        Some([first, last]) => format!("the range {first} to {last}"),
        None => "the ephemeral range".to_owned(),
    };
    let counted = call.ephemeral.as_deref();
    let count = counted.map_or_else(
        || format!("every port of {range}"),
        |counted| {
            format!(
                "{} of the {} of {range}",
                counted.used,
                text::count(counted.available as usize, "port")
            )
        },
    );
    let users_phrase = counted.map_or_else(String::new, users_phrase);

    let summary = if is_connect {
        let to = call.requested.addr.map_or(String::new(), |addr| {
            let port = call.requested.port;
            format!(" to {}", Endpoint { addr, port })
        });
        let are = if counted.is_some() {
            "are in use towards that peer, or bound"
        } else {
            "is either used towards that peer already or taken by a bound socket"
        };
        format!(
            "No free local port was left for the connection of {who}{to}: {count} {are}{users_phrase}."
        )
    } else {
        let on = match call.requested.addr.filter(|addr| !addr.is_unspecified()) {
            Some(addr) => format!(" on {addr}"),
            None => String::new(),
        };
        let are = if counted.is_some() { "are" } else { "is" };
        format!("No free port was left for {who}{on}: {count} {are} in use{users_phrase}.")
    };

    CauseText {
        summary,
        fixes: fixes(facts, is_connect),
        doubts: doubts(facts, is_connect),
    }
}

/// ` (27,990 in TIME_WAIT, 242 in ESTABLISHED, towards 3 peers), 242 of them of curl[12]`.
fn users_phrase(counted: &Ephemeral) -> String {
    let mut states: Vec<(&State, &u32)> = counted.states.iter().collect();
    states.sort_by_key(|(_, sockets)| std::cmp::Reverse(**sockets));
    let states = states
        .into_iter()
        .map(|(state, sockets)| format!("{sockets} in {}", text::state(*state)));
    let peers = match counted.peers {
        0 => None,
        peers => Some(format!("towards {}", text::count(peers as usize, "peer"))),
    };
    let parts: Vec<String> = states.chain(peers).collect();
    let parts = if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    };
    let users = counted.users.iter();
    let users = users.map(|user| format!("{} of {}", user.sockets, text::process(&user.process)));
    text::join(users.collect()).map_or(parts.clone(), |users| format!("{parts}, {users}"))
}

fn doubts(facts: &Facts<'_>, is_connect: bool) -> Vec<String> {
    let call = facts.call();
    let mut doubts = facts.doubts.clone();
    match call.ephemeral.as_deref() {
        None => doubts
            .push("the ports of the range were not counted: concluded from the error".to_owned()),
        Some(counted) if counted.used < counted.available => doubts.push(format!(
            "some ports of the range were free when they were counted, a moment after the \
                 call: they were given back since, or the socket has a narrower range of its own \
                 (IP_LOCAL_PORT_RANGE){}",
            if is_connect {
                ", or connections to other peers have them that were bound before they connected"
            } else {
                ""
            }
        )),
        Some(_) => {}
    }
    let is_ipv6 = call.requested.addr.is_some_and(|addr| addr.is_ipv6());
    if is_connect && is_ipv6 && call.ipv6.is_none() {
        doubts.push("for IPv6 the same error may mean that no source address was found".to_owned());
    }
    doubts
}

/// What has the ports, as far as it decides what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    TimeWait,
    Open,
    Unknown,
}

impl Filling {
    fn of(counted: Option<&Ephemeral>) -> Self {
        let Some(counted) = counted.filter(|counted| !counted.states.is_empty()) else {
            return Self::Unknown;
        };
        let all: u64 = counted.states.values().map(|n| u64::from(*n)).sum();
        let waiting = counted.states.get(&State::TimeWait).copied().unwrap_or(0);
        if u64::from(waiting) * 2 >= all {
            Self::TimeWait
        } else {
            Self::Open
        }
    }
}

/// The one that fits what has the ports comes first.
fn fixes(facts: &Facts<'_>, is_connect: bool) -> Vec<Fix> {
    let counted = facts.call().ephemeral.as_deref();
    let filling = Filling::of(counted);
    let find = find_user(facts, counted);
    let mut fixes = Vec::new();
    if is_connect {
        let reuse = tw_reuse(facts, filling);
        if filling == Filling::TimeWait {
            fixes.extend([reuse, find]);
        } else {
            fixes.extend([find, reuse]);
        }
    } else {
        let may_connect = counted.is_none_or(|counted| counted.peers > 0);
        if facts.failure.kind == CallKind::Bind && may_connect {
            fixes.push(bind_address_no_port(facts));
        }
        fixes.push(find);
    }
    fixes.extend(widen(facts, counted));
    fixes.push(fix(
        "more_addresses",
        Applies::Now,
        "Use another local address: each has the whole range of its own",
    ));
    if !is_connect {
        fixes.push(reuseaddr_does_not_help(
            "the search for a free port leaves reused ones out",
        ));
    }
    fixes
}

fn bind_address_no_port(facts: &Facts<'_>) -> Fix {
    fix(
        "bind_address_no_port",
        Applies::Now,
        "If the socket connects after this bind, set IP_BIND_ADDRESS_NO_PORT before it",
    )
    .line(
        Language::of(&facts.call().process),
        SocketOption::BindAddressNoPort,
    )
    .because(
        "bind to port 0 takes a port for itself, towards all peers; with the option connect \
         chooses it, and one port serves a connection to each peer; ports that were bound without \
         it stay taken until these sockets are closed",
    )
}

fn find_user(facts: &Facts<'_>, counted: Option<&Ephemeral>) -> Fix {
    let heaviest = counted.and_then(|counted| counted.users.first());
    let text = match heaviest {
        Some(user) => format!(
            "Look at {}, which has {} of them: reuse connections instead of opening new ones, and close what is done",
            text::process(&user.process),
            user.sockets
        ),
        None => "Find out who uses them up".to_owned(),
    };
    let find = fix("find_user", Applies::Now, text).run(facts, &Command::list_all_sockets());
    match counted {
        None => find.because(
            "one leaking client is the usual reason; reuse connections instead of opening new ones",
        ),
        Some(_) if heaviest.is_none() => find
            .because("nobody has those in TIME_WAIT open any more; who opened them is not listed"),
        Some(_) => find,
    }
}

/// `tcp_tw_reuse` of the caller's namespace: 1 for all connections, 2 on loopback only.
fn tw_reuse(facts: &Facts<'_>, filling: Filling) -> Fix {
    let call = facts.call();
    let setting = call.sysctls.as_deref().and_then(|set| set.tcp_tw_reuse);
    let is_loopback = call
        .requested
        .addr
        .is_some_and(|addr| addr.to_canonical().is_loopback());
    let text = "Let connect take over ports in TIME_WAIT";
    let no_use = |why| fix("tcp_tw_reuse", Applies::No, text).because(why);
    match (filling, setting) {
        (Filling::Open, _) => no_use("the ports are not in TIME_WAIT"),
        (_, Some(1)) => no_use("net.ipv4.tcp_tw_reuse is on already: it takes a TIME_WAIT over a second after it began, and only with TCP timestamps"),
        (_, Some(2)) if is_loopback => no_use("net.ipv4.tcp_tw_reuse is on for loopback already: it takes a TIME_WAIT over a second after it began, and only with TCP timestamps"),
        _ => fix("tcp_tw_reuse", Applies::Now, text)
            .run(facts, &Command::set(&Setting::TwReuse))
            .because(match filling {
                Filling::TimeWait => "it works between hosts with TCP timestamps, one second after closing",
                _ => "where TIME_WAIT uses them up: it works between hosts with TCP timestamps, one second after closing",
            }),
    }
}

fn widen(facts: &Facts<'_>, counted: Option<&Ephemeral>) -> Option<Fix> {
    let range = wider(facts.failure.environment.local_port_range)?;
    let widen = fix(
        "widen_range",
        Applies::Now,
        "Widen the range that free ports are chosen from",
    );
    let widen = match range {
        Some(range) => widen.run(facts, &Command::set(&Setting::PortRange(range))),
        // Setting it unseen might make it narrower.
        None => widen.run(facts, &Command::show_port_range()),
    };
    let listening = counted
        .map(|counted| &*counted.listening_beyond)
        .unwrap_or_default();
    let ports = text::join(listening.iter().map(u16::to_string).collect());
    Some(widen.because(match ports {
        Some(ports) => format!(
            "servers listen in the wider range, which connect may take from them while they are \
             down: reserve port{} {ports} first (net.ipv4.ip_local_reserved_ports)",
            if listening.len() == 1 { "" } else { "s" }
        ),
        None => {
            "reserve the ports of servers within it (net.ipv4.ip_local_reserved_ports)".to_owned()
        }
    }))
}

/// What the range may be widened to; within, absent: the range was not read. Absent:
/// it is that wide.
#[expect(clippy::option_option, reason = "two things may be absent")]
fn wider(range: Option<[u16; 2]>) -> Option<Option<[u16; 2]>> {
    const WIDE: [u16; 2] = [10_240, u16::MAX];
    let Some([first, last]) = range else {
        return Some(None);
    };
    let wide = [first.min(WIDE[0]), last.max(WIDE[1])];
    ([first, last] != wide).then_some(Some(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, process};
    use crate::event::{Certainty, EphemeralUser, YesNo};

    fn counted(time_wait: u32, established: u32) -> Ephemeral {
        Ephemeral {
            available: 10,
            used: time_wait + established,
            states: [
                (State::TimeWait, time_wait),
                (State::Established, established),
            ]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect(),
            peers: 1,
            users: vec![EphemeralUser {
                process: process(7, "client").into(),
                sockets: established,
            }],
            listening_beyond: vec![11_211],
        }
    }

    fn first_fix(mut fixture: Fixture, counted: Ephemeral) -> String {
        fixture.call.ephemeral = Some(Box::new(counted));
        fixture.diagnose().fixes[0].id.to_string()
    }

    #[test]
    fn the_first_fix_is_the_one_that_fits_what_has_the_ports() {
        let connect = || Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443));

        assert_eq!(first_fix(connect(), counted(9, 1)), "tcp_tw_reuse");
        assert_eq!(first_fix(connect(), counted(1, 9)), "find_user");
        let bind = Fixture::bind("127.0.0.1", 0);
        assert_eq!(first_fix(bind, counted(0, 10)), "bind_address_no_port");
    }

    #[test]
    fn counted_ports_are_a_proof_if_they_are_all() {
        let mut fixture = Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443));
        fixture.call.ephemeral = Some(Box::new(counted(8, 2)));
        let all = fixture.diagnose();
        fixture.call.ephemeral = Some(Box::new(counted(1, 2)));
        let some = fixture.diagnose();

        assert_eq!(all.certainty, Certainty::Proven);
        assert_eq!(
            all.summary,
            "No free local port was left for the connection of server[900] to 10.0.0.9:443: 10 of the 10 ports of the range 32768 to 60999 are in use towards that peer, or bound (8 in TIME_WAIT, 2 in ESTABLISHED, towards 1 peer), 2 of client[7]."
        );
        assert_eq!(some.certainty, Certainty::Likely);
        let widen = all
            .fixes
            .iter()
            .find(|fix| &*fix.id == "widen_range")
            .unwrap();
        assert!(
            widen
                .why
                .as_deref()
                .unwrap()
                .contains("reserve port 11211 first")
        );
    }

    #[test]
    fn bind_to_any_port_finds_none() {
        let diagnosis = Fixture::bind("127.0.0.1", 0).diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralExhausted);
        assert_eq!(
            diagnosis.summary,
            "No free port was left for server[900] on 127.0.0.1: every port of the range 32768 to 60999 is in use."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
    }

    #[test]
    fn connect_finds_none() {
        let diagnosis = Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443)).diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralExhausted);
        assert_eq!(
            diagnosis.summary,
            "No free local port was left for the connection of server[900] to 10.0.0.9:443: every port of the range 32768 to 60999 is either used towards that peer already or taken by a bound socket."
        );
    }
}
