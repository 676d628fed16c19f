//! A million sockets fit into less than a gigabyte. Alone in its program, so
//! that the memory is theirs.

mod facts;

use std::net::{IpAddr, Ipv4Addr};

use facts::{MS, SECOND, process, sock};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{
    Body, Endpoint, Mini, Reuse, SocketSeen, Source, State, StateChange, TimeWaitExit,
};

const SOCKETS: u32 = 1_000_000;
const GIGABYTE_KB: u64 = 1 << 20;

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel says what the process has"
)]
fn resident_kb() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .expect("Linux")
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .expect("a process has memory")
}

fn seen() -> SocketSeen {
    facts::seen(0, "10.0.0.1:1", "10.0.0.2:1", State::Closed, None)
}

fn endpoints(number: u32) -> (Endpoint, Endpoint) {
    let local = Endpoint {
        addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        port: 8080,
    };
    let peer = Endpoint {
        addr: IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + number / 50_000)),
        port: u16::try_from(number % 50_000 + 1_024).expect("below 65,536"),
    };
    (local, peer)
}

/// Half of them are connections in the life of which everything is known, and
/// half of those ended in TIME_WAIT; the other half was there before.
#[test]
fn a_million_sockets_fit_into_less_than_a_gigabyte() {
    let server = process(10, "server");
    let before_kb = resident_kb();
    let mut engine = Engine::new(Limits::default());

    for number in 0..SOCKETS {
        let (local, peer) = endpoints(number);
        let sock = sock(u64::from(number) + 1);
        let at_ns = u64::from(number) * 1000;
        if number % 2 == 0 {
            engine.observe(
                at_ns,
                Body::Socket(SocketSeen {
                    sock,
                    local,
                    peer,
                    state: State::Established,
                    process: Some(server.clone()),
                    ..seen()
                }),
            );
            continue;
        }
        let mut path = vec![(State::SynReceived, State::Established)];
        if number % 4 == 1 {
            path.extend([
                (State::Established, State::FinWait1),
                (State::FinWait1, State::FinWait2),
                (State::FinWait2, State::Closed),
            ]);
        }
        for (old, new) in path {
            engine.observe(
                at_ns,
                Body::State(StateChange {
                    sock,
                    local,
                    peer,
                    old,
                    new,
                    old_raw: facts::raw(old),
                    new_raw: facts::raw(new),
                    process: (new == State::FinWait1).then(|| server.clone()),
                    reuse: Reuse::default(),
                    error: None,
                    netns_cookie: None,
                    listener: None,
                    mini: (new == State::Closed).then_some(Mini {
                        state: State::TimeWait,
                        expires_ms: Some(60_000),
                        reuse: Reuse::default(),
                        source: Source::Kernel,
                    }),
                }),
            );
        }
    }
    let with_all_kb = resident_kb() - before_kb;
    let time_waits = engine.table().count(State::TimeWait);

    println!(
        "{} sockets, {time_waits} of them in TIME_WAIT: {} MB, {} bytes each",
        engine.table().len(),
        with_all_kb / 1024,
        with_all_kb * 1024 / u64::from(SOCKETS),
    );
    assert_eq!(engine.table().len(), SOCKETS as usize);
    assert_eq!(time_waits, SOCKETS / 4);
    assert!(with_all_kb < GIGABYTE_KB, "{with_all_kb} kB");

    // All of the TIME_WAITs are due at once.
    let due = engine.take_due_polls(100 * SECOND, usize::MAX);
    assert_eq!(due.len(), time_waits as usize);
    for id in due {
        let socket = engine.table().get(&id).expect("it is due").clone();
        engine.observe(
            100 * SECOND + MS,
            Body::Socket(SocketSeen {
                sock: socket.sock,
                local: socket.local,
                peer: socket.peer,
                state: State::Closed,
                expires_ms: Some(0),
                ..seen()
            }),
        );
    }
    assert_eq!(engine.table().count(State::TimeWait), 0);
    assert!(matches!(
        engine.log().iter().last().map(|event| &event.body),
        Some(Body::TimeWaitExit(TimeWaitExit { .. }))
    ));
    assert_eq!(engine.next_poll_ns(), None);
}
