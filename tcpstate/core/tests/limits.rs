//! Every limit is reached, and holds; `docs/limits.md` names them all.

mod facts;

use facts::{MS, SECOND, by, call, change, process, seen};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{Body, State, Tick};
use tcpstate_core::model::chart::MAX_SAMPLES;
use tcpstate_core::model::port::{MAX_FAILED_SECONDS, MAX_LISTENERS, MAX_PORTS, MAX_RESTARTS};
use tcpstate_core::model::socket::MAX_STEPS;
use tcpstate_core::model::table::MAX_CLOSED;
use tcpstate_core::model::{PortKey, SocketId};

const ANY: &str = "0.0.0.0:8080";
const NOBODY: &str = "0.0.0.0:0";
const CLIENT: &str = "10.0.0.2:40000";

fn engine() -> Engine {
    Engine::new(Limits {
        sockets: 100,
        events: 1000,
        failures: 10,
    })
}

fn port(port: u16) -> PortKey {
    PortKey {
        port,
        netns: facts::NETNS,
    }
}

fn tick(engine: &mut Engine, at_ns: u64) {
    engine.observe(at_ns, Body::Tick(Tick {}));
}

#[test]
fn the_latest_events_and_failures_are_kept() {
    let mut engine = engine();
    let server = process(1, "server");

    for number in 0..2_000 {
        let failed = call(0, None, 8080, Some((98, "EADDRINUSE")), &server);
        engine.observe(number, Body::Bind(failed));
    }

    assert_eq!(engine.log().len(), 1000);
    assert_eq!(engine.failures().len(), 10);
    let last = engine.failures().last().unwrap();
    assert_eq!((last.mono_ns, last.seq), (1_999, engine.next_seq() - 2));
}

#[test]
fn a_full_table_counts_what_it_refuses_and_takes_the_next_when_there_is_room() {
    let mut engine = engine();
    let peer = |cookie: u64| format!("10.0.0.2:{cookie}");

    for cookie in 1..=150 {
        let there = seen(cookie, ANY, &peer(cookie), State::Established, None);
        engine.observe(cookie, Body::Socket(there));
    }
    assert_eq!(engine.table().len(), 100);
    assert_eq!(engine.losses().get("table_full"), Some(&50));
    let gone = seen(1, ANY, &peer(1), State::Closed, None);
    engine.observe(SECOND, Body::Socket(gone));
    let there = seen(150, ANY, &peer(150), State::Established, None);
    engine.observe(SECOND, Body::Socket(there));

    assert!(engine.table().get(&SocketId::Cookie(150)).is_some());
}

#[test]
fn closed_sockets_are_remembered_up_to_a_number() {
    let mut engine = engine();

    for cookie in 1..=2 * MAX_CLOSED as u64 {
        let ends = change(cookie, ANY, CLIENT, State::Established, State::Closed);
        engine.observe(cookie, Body::State(ends));
    }

    assert_eq!(engine.table().closed().count(), MAX_CLOSED);
    assert!(engine.socket(&SocketId::Cookie(1)).is_none());
    assert!(
        engine
            .socket(&SocketId::Cookie(2 * MAX_CLOSED as u64))
            .is_some()
    );
}

#[test]
fn a_long_life_keeps_its_beginning_and_its_end() {
    let mut engine = engine();
    let steps = [
        (State::Closed, State::SynSent),
        (State::SynSent, State::Established),
    ];

    for number in 0..100 {
        let (old, new) = steps[number % 2];
        engine.observe(
            number as u64,
            Body::State(change(1, "10.0.0.1:5000", CLIENT, old, new)),
        );
    }

    let socket = engine.socket(&SocketId::Cookie(1)).unwrap();
    let seqs: Vec<u64> = socket.steps.iter().map(|step| step.seq).collect();
    assert_eq!(seqs.len(), MAX_STEPS);
    assert_eq!((seqs[0], seqs[MAX_STEPS - 1]), (0, 99));
}

#[test]
fn ports_that_say_least_are_forgotten_first() {
    let mut engine = engine();
    let server = process(1, "server");
    engine.observe(
        0,
        by(
            change(1, ANY, NOBODY, State::Closed, State::Listen),
            &server,
        ),
    );
    tick(&mut engine, SECOND);

    for number in 0..2 * MAX_PORTS {
        let failed = call(
            0,
            None,
            u16::try_from(10_000 + number).unwrap(),
            Some((98, "EADDRINUSE")),
            &server,
        );
        engine.observe(2 * SECOND + number as u64, Body::Bind(failed));
    }

    assert_eq!(engine.ports().iter().count(), MAX_PORTS);
    assert_eq!(engine.ports().dropped(), MAX_PORTS as u64 + 1);
    assert!(engine.ports().get(&port(8080)).is_some());
}

#[test]
fn listeners_and_restarts_of_a_port_are_followed_up_to_a_number() {
    let mut engine = engine();
    let server = process(1, "server");
    for cookie in 1..=2 * MAX_LISTENERS as u64 {
        let listens = change(cookie, ANY, NOBODY, State::Closed, State::Listen);
        engine.observe(cookie, by(listens, &server));
    }
    assert_eq!(
        engine.ports().get(&port(8080)).unwrap().listeners.len(),
        MAX_LISTENERS
    );

    let other = "0.0.0.0:9090";
    for number in 0..2 * MAX_RESTARTS as u64 {
        let cookie = 100_000 + number;
        let at_ns = SECOND * (1 + number);
        let step = |old, new| change(cookie, other, NOBODY, old, new);
        engine.observe(at_ns, by(step(State::Closed, State::Listen), &server));
        let listens = call(cookie, Some(other), 9090, None, &server);
        engine.observe(at_ns + MS, Body::Listen(listens));
        engine.observe(
            at_ns + 2 * MS,
            by(step(State::Listen, State::Closed), &server),
        );
    }
    let story = engine.ports().get(&port(9090)).unwrap();
    assert_eq!(story.restarts.len(), MAX_RESTARTS);
    assert_eq!(story.first_listened, Some((SECOND, true)));
}

#[test]
fn a_port_remembers_in_which_seconds_calls_failed() {
    let mut engine = engine();
    let server = process(1, "server");

    for half_second in 0..4 * MAX_FAILED_SECONDS as u64 {
        let failed = call(0, None, 8080, Some((98, "EADDRINUSE")), &server);
        engine.observe(half_second * 500 * MS, Body::Bind(failed));
    }

    let seconds = &engine.ports().get(&port(8080)).unwrap().failed_seconds;
    let last = 2 * MAX_FAILED_SECONDS as u64 - 1;
    assert_eq!(seconds.len(), MAX_FAILED_SECONDS);
    assert_eq!(
        (seconds[0], seconds[MAX_FAILED_SECONDS - 1]),
        (MAX_FAILED_SECONDS as u64, last)
    );
}

#[test]
fn the_chart_has_so_many_seconds() {
    let mut engine = engine();

    for second in 0..2 * MAX_SAMPLES as u64 {
        tick(&mut engine, second * SECOND);
    }
    // A clock that leaps does not make it work for an hour.
    tick(&mut engine, u64::MAX / 2);

    assert_eq!(engine.chart().samples().len(), MAX_SAMPLES);
}
