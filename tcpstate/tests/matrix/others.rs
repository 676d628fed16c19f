//! Calls that are refused for another reason than a `bind` of a held port:
//! `connect` from a fixed port, ports that are used up, an address that is not
//! here, a port that needs a privilege, a socket that is bound already.

use rustix::io::Errno;
use tcpstate::demo::namespace;

use super::LOCAL_PORTS;
use super::address::{Addr, Via};
use super::ask::{Ask, Attempt, Change};
use super::life::State;
use super::options::{Flags, User};
use super::oracle::{self, Expected, Refused};
use super::run::{Case, Runner};
use super::servers::Servers;
use super::stage::{Holder, Part, Side, Stage};

const PLAIN: Flags = Flags::new(false, false);
const REUSE: Flags = Flags::new(true, false);
const BOTH: Flags = Flags::new(true, true);

/// All of them whose name `is_wanted`.
pub(crate) fn run(runner: &mut Runner, is_wanted: impl Fn(&str) -> bool) {
    let mut others = Vec::new();
    four_tuples(&mut others);
    used_up_ports(&mut others);
    refused_before_the_port(&mut others);
    for other in others {
        if is_wanted(&other.to_string()) {
            check(runner, &other);
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Connects from the port of the stage to the peer of its connection.
    ConnectAgain { has_timestamps: bool },
    /// Binds port 0 while the stage's port is the only one there is.
    BindAnyPort,
    /// Listens without `bind`, while there is one port only.
    ListenUnbound,
    /// Connects without `bind`, while there is one port only.
    ConnectUnbound,
    /// Binds an address that nobody here has.
    BindForeign,
    /// Binds a low port.
    BindLow,
    /// Binds twice.
    BindTwice,
    /// Binds an IPv4 address on a socket for IPv6 only.
    BindMappedV6only,
}

impl Act {
    /// The call that is refused.
    fn call(self) -> &'static str {
        match self {
            Self::ListenUnbound => "listen",
            Self::ConnectAgain { .. } | Self::ConnectUnbound => "connect",
            _ => "bind",
        }
    }
}

struct Other {
    act: Act,
    case: Case,
    cause: &'static str,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.act, self.case)
    }
}

fn other(act: Act, parts: &[Part], ask: Ask, cause: &'static str) -> Other {
    Other {
        act,
        case: Case {
            parts: parts.to_vec(),
            ask,
        },
        cause,
    }
}

/// Every connection that the port can have, and a second one like it.
fn four_tuples(others: &mut Vec<Other>) {
    let ways = [
        (Addr::Lo1, Via::V4, Addr::Lo1),
        (Addr::Lo1, Via::V4, Addr::Any),
        (Addr::MappedLo1, Via::V4, Addr::MappedLo1),
        (Addr::MappedLo1, Via::V4, Addr::Lo1),
        (Addr::V6Lo, Via::V6, Addr::V6Lo),
        (Addr::V6Lo, Via::V6, Addr::Dual),
    ];
    for (old, via, new) in ways {
        for state in State::CONNECTED {
            for side in [Side::Auto, Side::Fixed] {
                // Of these the kernel lets a second one take over.
                let ends = matches!(
                    state,
                    State::TimeWait | State::TimeWaitAged | State::TimeWaitOpen
                );
                for has_timestamps in [true, false] {
                    if !has_timestamps && !ends {
                        continue;
                    }
                    let part = Part {
                        via,
                        ..Part::new(state, side, old).with(REUSE)
                    };
                    let act = Act::ConnectAgain { has_timestamps };
                    others.push(other(
                        act,
                        &[part],
                        Ask::bind(new, REUSE),
                        "four_tuple_in_use",
                    ));
                }
            }
        }
    }
}

fn used_up_ports(others: &mut Vec<Other>) {
    let holders = [
        Part::new(State::Bound, Side::Unconnected, Addr::Lo1),
        Part::new(State::Listen, Side::Unconnected, Addr::Any),
        Part::new(State::Bound, Side::Unconnected, Addr::Dual),
        Part::new(State::Listen, Side::Unconnected, Addr::V6Any),
        Part::new(State::Established, Side::Auto, Addr::Lo1),
        Part::new(State::TimeWait, Side::Accepted, Addr::Lo1),
    ];
    for part in holders {
        for old in [PLAIN, REUSE, BOTH] {
            let part = part.with(old);
            for new in [PLAIN, REUSE, BOTH] {
                for addr in [Addr::Any, Addr::Lo1, Addr::Lo2, Addr::Dual, Addr::V6Any] {
                    let ask = Ask::bind(addr, new);
                    others.push(other(Act::BindAnyPort, &[part], ask, "ephemeral_exhausted"));
                }
                for addr in [Addr::Any, Addr::Dual] {
                    let ask = Ask::bind(addr, new);
                    others.push(other(
                        Act::ListenUnbound,
                        &[part],
                        ask,
                        "ephemeral_exhausted",
                    ));
                    others.push(other(
                        Act::ConnectUnbound,
                        &[part],
                        ask,
                        "ephemeral_exhausted",
                    ));
                }
            }
        }
    }
}

fn refused_before_the_port(others: &mut Vec<Other>) {
    let listener = Part::new(State::Listen, Side::Unconnected, Addr::Any);
    for flags in Flags::ALL {
        for addr in [Addr::Lo1, Addr::V6Lo] {
            let ask = Ask::bind(addr, flags);
            others.push(other(Act::BindForeign, &[], ask, "address_not_local"));
            others.push(other(Act::BindTwice, &[], ask, "already_bound"));
            let ask = Ask {
                maker: User::Other,
                caller: User::Other,
                ..ask
            };
            others.push(other(Act::BindLow, &[], ask, "privileged_port"));
        }
        others.push(other(
            Act::BindForeign,
            &[listener],
            Ask::bind(Addr::Lo1, flags),
            "address_not_local",
        ));
        let ask = Ask {
            v6only: true,
            ..Ask::bind(Addr::MappedLo1, flags)
        };
        others.push(other(Act::BindMappedV6only, &[], ask, "unknown"));
    }
}

/// Does it, and again with each option more, each time on a stage of its own.
fn check(runner: &mut Runner, other: &Other) {
    runner.report.cases += 1;
    let name = other.to_string();
    let (mut attempt, holders) = act(runner, other, other.case.ask);
    if attempt.refusal().is_some() {
        let worked = Change::ALL.map(|change| {
            let ask = other.case.ask;
            let Some(with) = ask.with(change).filter(|ask| ask.can(change)) else {
                return false;
            };
            let (again, _) = act(runner, other, with);
            let worked = again.refusal().is_none();
            runner.submit(format!("{name}, with {}", change.name()), again);
            worked
        });
        attempt.expect(Some(expected(other, &holders, worked)));
    }
    runner.submit(name, attempt);
}

fn expected(other: &Other, holders: &[Holder], worked: [bool; 3]) -> Expected {
    let refused = Refused {
        call: "connect",
        addr: other.case.ask.addr.ip(),
        flags: other.case.ask.flags,
    };
    // Only a connection between the same ends is a matter of sockets.
    let is_tuple = matches!(other.act, Act::ConnectAgain { .. });
    let mut expected = oracle::expect(refused, if is_tuple { holders } else { &[] });
    for holder in &mut expected.holders {
        holder.overlap = "exact";
    }
    Expected {
        cause: other.cause,
        words: "",
        is_proven: is_tuple,
        would_work: Some(worked),
        ..expected
    }
}

fn act(runner: &mut Runner, other: &Other, ask: Ask) -> (Attempt, Vec<Holder>) {
    // These ask for the same port, whatever the stage's is.
    let call = match other.act {
        Act::ConnectAgain { .. } | Act::ConnectUnbound => "connect",
        Act::ListenUnbound => "listen",
        _ => "bind",
    };
    runner.pace(call, ask.addr.is_ipv6());
    match other.act {
        Act::ConnectAgain { has_timestamps } => {
            set_timestamps(has_timestamps);
            let (_, stage) = runner.ports.stage(&runner.servers, &other.case);
            set_timestamps(true);
            connect_again(&stage, ask)
        }
        Act::BindAnyPort | Act::ListenUnbound | Act::ConnectUnbound => {
            let (port, _stage) = runner.ports.stage(&runner.servers, &other.case);
            // What the program reads of the namespace is to hold for this call.
            runner.judge_all();
            namespace::set_local_port_range(port, port).expect("the namespace is ours");
            runner.pace(other.act.call(), ask.addr.is_ipv6());
            let attempt = without_a_port(other.act, ask);
            runner.settle(&attempt);
            namespace::set_local_port_range(LOCAL_PORTS.0, LOCAL_PORTS.1)
                .expect("the namespace is ours");
            (attempt, Vec::new())
        }
        Act::BindForeign => {
            let (port, _stage) = runner.ports.stage(&runner.servers, &other.case);
            let addr = if ask.addr.is_ipv6() {
                "2001:db8::1"
            } else {
                "192.0.2.1"
            };
            let addr: std::net::IpAddr = addr.parse().expect("a literal");
            let mut attempt = Attempt::of(ask.socket());
            let to = std::net::SocketAddr::new(addr, port);
            let bound = rustix::net::bind(&attempt.socket, &to);
            attempt.note("bind", bound.err());
            (attempt, Vec::new())
        }
        Act::BindLow => {
            runner.pace("bind of a low port", ask.addr.is_ipv6());
            (bind(ask, 81), Vec::new())
        }
        Act::BindMappedV6only => (bind(ask, runner.ports.next()), Vec::new()),
        Act::BindTwice => {
            let mut attempt = bind(ask, runner.ports.next());
            let to = ask.addr.at(runner.ports.next());
            let bound = rustix::net::bind(&attempt.socket, &to);
            attempt.note("bind", bound.err());
            (attempt, Vec::new())
        }
    }
}

fn bind(ask: Ask, port: u16) -> Attempt {
    let mut attempt = Attempt::of(ask.socket());
    let socket = &attempt.socket;
    let bound = ask
        .caller
        .act(|| rustix::net::bind(socket, &ask.addr.at(port)));
    attempt.note("bind", bound.err());
    attempt
}

/// From the same local address and port to the same peer.
fn connect_again(stage: &Stage, ask: Ask) -> (Attempt, Vec<Holder>) {
    let connection = stage
        .holders
        .iter()
        .find_map(|(_, holder)| holder.peer.map(|peer| (holder.clone(), peer)));
    let Some((holder, peer)) = connection else {
        return (Attempt::of(ask.socket()), Vec::new());
    };
    let mut attempt = bind(ask, holder.local.port());
    if attempt.refusal().is_some() {
        return (attempt, Vec::new());
    }
    let peer = std::net::SocketAddr::new(
        match (ask.addr.is_ipv6(), peer.ip().to_canonical()) {
            (true, std::net::IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (_, addr) => addr,
        },
        peer.port(),
    );
    connect(&mut attempt, peer);
    (attempt, vec![holder])
}

fn without_a_port(act: Act, ask: Ask) -> Attempt {
    if matches!(act, Act::BindAnyPort) {
        return bind(ask, 0);
    }
    let mut attempt = Attempt::of(ask.socket());
    if matches!(act, Act::ListenUnbound) {
        let listening = rustix::net::listen(&attempt.socket, 1);
        attempt.note("listen", listening.err());
    } else {
        connect(&mut attempt, Servers::answering(ask.addr, Via::V4));
    }
    attempt
}

/// Successful connects are not told of.
fn connect(attempt: &mut Attempt, peer: std::net::SocketAddr) {
    rustix::io::ioctl_fionbio(&attempt.socket, true).expect("open");
    match rustix::net::connect(&attempt.socket, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => attempt.note("connect", Some(error)),
    }
}

fn set_timestamps(on: bool) {
    let value = if on { "1" } else { "0" };
    std::fs::write("/proc/sys/net/ipv4/tcp_timestamps", value).expect("the namespace is ours");
}
