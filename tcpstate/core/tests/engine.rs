//! The engine: facts in, events and a view out.

mod facts;
#[path = "engine/ports.rs"]
mod ports;
#[path = "engine/time_wait.rs"]
mod time_wait;

use std::sync::Arc;

use facts::{MS, SECOND, at, by, call, change, into_mini, process, seen, through};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{Body, ExitReason, Process, Source, State};
use tcpstate_core::model::{Phase, PortKey, SocketId};

const LISTENER: u64 = 1;
const CHILD: u64 = 2;
const SERVER: &str = "10.0.0.1:8080";
const ANY: &str = "0.0.0.0:8080";
const NOBODY: &str = "0.0.0.0:0";
const CLIENT: &str = "10.0.0.2:40000";

fn engine() -> Engine {
    Engine::new(Limits {
        sockets: 1000,
        events: 1000,
        failures: 10,
    })
}

fn names(engine: &Engine) -> Vec<&'static str> {
    engine.log().iter().map(|event| event.body.name()).collect()
}

fn port(port: u16) -> PortKey {
    PortKey {
        port,
        netns: facts::NETNS,
    }
}

/// The server of [`serving`] stops to listen.
fn stop_listening(engine: &mut Engine, server: &Arc<Process>) {
    engine.observe(
        100 * MS,
        by(
            change(LISTENER, ANY, NOBODY, State::Listen, State::Closed),
            server,
        ),
    );
}

/// A server listens and has one connection.
fn serving(engine: &mut Engine) {
    let server = process(10, "server");
    engine.observe(
        0,
        by(
            change(LISTENER, ANY, NOBODY, State::Closed, State::Listen),
            &server,
        ),
    );
    engine.observe(
        MS,
        Body::Listen(call(LISTENER, Some(ANY), 8080, None, &server)),
    );
    engine.observe(
        2 * MS,
        through(
            change(
                CHILD,
                SERVER,
                CLIENT,
                State::SynReceived,
                State::Established,
            ),
            LISTENER,
        ),
    );
}

/// The server closes its connection first; the peer's FIN comes at once.
fn active_close(engine: &mut Engine) {
    let server = process(10, "server");
    engine.observe(
        3 * MS,
        by(
            change(CHILD, SERVER, CLIENT, State::Established, State::FinWait1),
            &server,
        ),
    );
    engine.observe(
        4 * MS,
        Body::State(change(
            CHILD,
            SERVER,
            CLIENT,
            State::FinWait1,
            State::FinWait2,
        )),
    );
    engine.observe(
        5 * MS,
        into_mini(
            change(CHILD, SERVER, CLIENT, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            true,
        ),
    );
}

#[test]
fn a_connection_belongs_to_the_process_that_listens() {
    let mut engine = engine();

    serving(&mut engine);

    let child = engine.socket(&SocketId::Cookie(CHILD)).unwrap();
    assert_eq!(child.owner.as_ref().unwrap().pid, 10);
    let Body::State(shown) = &engine.log().get(2).unwrap().body else {
        panic!("not a state change")
    };
    assert_eq!(
        shown.process.as_ref().unwrap().via,
        tcpstate_core::event::KnownBy::Tracked
    );
}

#[test]
fn every_failed_call_is_followed_by_its_diagnosis() {
    let mut engine = engine();

    engine.observe(
        5,
        Body::Bind(call(
            0,
            None,
            8080,
            Some((98, "EADDRINUSE")),
            &process(3, "x"),
        )),
    );

    assert_eq!(names(&engine), ["bind", "diagnosis"]);
    let Body::Diagnosis(diagnosis) = &engine.log().get(1).unwrap().body else {
        panic!("not a diagnosis")
    };
    assert_eq!(diagnosis.of, 0);
    assert_eq!(engine.failures().len(), 1);
}

#[test]
fn a_connect_that_the_peer_refused_needs_no_explanation() {
    let mut engine = engine();

    engine.observe(
        5,
        Body::Connect(call(
            0,
            None,
            8080,
            Some((111, "ECONNREFUSED")),
            &process(3, "x"),
        )),
    );

    assert_eq!(names(&engine), ["connect"]);
    assert_eq!(engine.failures().len(), 0);
}

#[test]
fn a_snapshot_does_not_undo_what_a_hook_has_just_shown() {
    let mut engine = engine();
    serving(&mut engine);
    engine.observe(
        10 * MS,
        Body::State(change(
            CHILD,
            SERVER,
            CLIENT,
            State::Established,
            State::CloseWait,
        )),
    );

    engine.observe(
        10 * MS + 500,
        Body::Socket(seen(CHILD, SERVER, CLIENT, State::Established, None)),
    );

    assert_eq!(
        engine.table().get(&SocketId::Cookie(CHILD)).unwrap().state,
        State::CloseWait
    );
}

#[test]
fn the_counts_follow_the_table() {
    let mut engine = engine();
    serving(&mut engine);
    active_close(&mut engine);

    let counts = engine.table().counts();

    assert_eq!(counts[State::Listen as usize], 1);
    assert_eq!(counts[State::TimeWait as usize], 1);
    assert_eq!(counts.iter().sum::<u32>() as usize, engine.table().len());
}

#[test]
fn a_full_table_is_a_loss_that_shows() {
    let mut engine = Engine::new(Limits {
        sockets: 1,
        events: 10,
        failures: 1,
    });

    for cookie in 1..4 {
        engine.observe(
            cookie,
            Body::Socket(seen(cookie, SERVER, CLIENT, State::Established, None)),
        );
    }

    assert_eq!(engine.table().len(), 1);
    assert_eq!(engine.losses().get("table_full"), Some(&2));
}

#[test]
fn the_same_facts_give_the_same_events() {
    let run = || {
        let mut engine = engine();
        serving(&mut engine);
        active_close(&mut engine);
        engine.observe(
            70 * SECOND,
            Body::Socket(seen(CHILD, SERVER, CLIENT, State::Closed, None)),
        );
        engine.log().iter().cloned().collect::<Vec<_>>()
    };

    assert_eq!(run(), run());
    assert_eq!(at(SERVER).port, 8080);
}

#[test]
fn calls_that_were_only_counted_are_in_every_count_and_are_not_explained_again() {
    let mut engine = engine();
    let (old, new) = (process(10, "server"), process(11, "server"));
    serving(&mut engine);
    stop_listening(&mut engine, &old);
    let failed = |repeated: u64, is_sum: bool| {
        let mut failed = call(0, None, 8080, Some((98, "EADDRINUSE")), &new);
        (failed.repeated, failed.is_sum) = (repeated, is_sum);
        Body::Bind(failed)
    };

    engine.observe(200 * MS, failed(0, false));
    engine.observe(300 * MS, failed(70, false));
    engine.observe(400 * MS, failed(6, true));
    let flood = tcpstate_core::event::Flood {
        call: tcpstate_core::event::CallName::Bind,
        uid: 1000,
        pid: 5,
        comm: "other".to_owned(),
        count: 9,
    };
    engine.observe(450 * MS, Body::Flood(flood));

    let history = engine.ports().get(&port(8080)).unwrap();
    assert_eq!((history.failed_total, history.failed_since_down), (79, 79));
    let counts: Vec<u64> = engine.failures().map(|failure| failure.count).collect();
    assert_eq!(counts, [1, 78]);
    assert_eq!(
        (engine.counts()["bind"], engine.counts()["diagnosis"]),
        (3, 2)
    );
    assert_eq!(engine.flooded(), 9);

    engine.observe(
        600 * MS,
        by(change(30, ANY, NOBODY, State::Closed, State::Listen), &new),
    );
    engine.observe(
        1_601 * MS,
        Body::Listen(call(30, Some(ANY), 8080, None, &new)),
    );
    let restarts = &engine.ports().get(&port(8080)).unwrap().restarts;
    assert_eq!(restarts[0].1.failed_binds, 79);
    let failures: u32 = engine.chart().samples().map(|sample| sample.failures).sum();
    assert_eq!(failures, 88);
}
