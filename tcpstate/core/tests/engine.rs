//! The engine: facts in, events and a view out.

mod facts;

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
fn the_process_that_closed_first_is_the_one_that_left_the_time_wait() {
    let mut engine = engine();
    serving(&mut engine);

    active_close(&mut engine);

    assert_eq!(
        names(&engine)[3..],
        ["tcp.state", "tcp.state", "tcp.state", "tcp.time_wait.enter"]
    );
    let Body::TimeWaitEnter(entered) = &engine.log().get(6).unwrap().body else {
        panic!("not an entry")
    };
    assert_eq!(entered.left_by.as_ref().unwrap().pid, 10);
    assert_eq!(
        (entered.from, entered.expires_ms, entered.source),
        (State::FinWait2, 60_000, Source::Kernel)
    );
    assert!(entered.reuse.reuseaddr);
    let socket = engine.table().get(&SocketId::Cookie(CHILD)).unwrap();
    assert_eq!((socket.state, socket.is_mini), (State::TimeWait, true));
    assert_eq!(socket.remaining_ns(5 * MS + 10 * SECOND), Some(50 * SECOND));
}

#[test]
fn an_orphan_in_fin_wait_2_is_not_time_wait_until_the_kernel_says_so() {
    let mut engine = engine();
    serving(&mut engine);
    let closing = change(CHILD, SERVER, CLIENT, State::FinWait2, State::Closed);
    engine.observe(5 * MS, into_mini(closing, State::FinWait2, 60_000, false));
    assert!(!names(&engine).contains(&"tcp.time_wait.enter"));
    assert_eq!(engine.take_due_polls(5 * MS, 10), []);

    let due = engine.take_due_polls(5 * MS + 200 * MS, 10);
    engine.observe(
        206 * MS,
        Body::Socket(seen(CHILD, SERVER, CLIENT, State::TimeWait, Some(59_900))),
    );

    assert_eq!(due, [SocketId::Cookie(CHILD)]);
    let Body::TimeWaitEnter(entered) = &engine.log().iter().last().unwrap().body else {
        panic!("not an entry")
    };
    assert_eq!(
        (entered.from, entered.source, entered.expires_ms),
        (State::FinWait2, Source::Snapshot, 59_900)
    );
}

#[test]
fn an_orphan_is_looked_at_once_its_peer_has_closed() {
    for mapped in [false, true] {
        let mut engine = engine();
        let closing = change(CHILD, SERVER, CLIENT, State::FinWait2, State::Closed);
        engine.observe(5 * MS, into_mini(closing, State::FinWait2, 60_000, false));
        let (local, peer) = if mapped {
            ("[::ffff:10.0.0.2]:40000", "[::ffff:10.0.0.1]:8080")
        } else {
            (CLIENT, SERVER)
        };

        engine.observe(
            9 * MS,
            Body::State(change(77, local, peer, State::LastAck, State::Closed)),
        );

        assert_eq!(engine.take_due_polls(9 * MS, 10), [SocketId::Cookie(CHILD)]);
    }
}

#[test]
fn a_close_that_makes_no_time_wait_frees_the_socket() {
    let mut engine = engine();
    serving(&mut engine);

    engine.observe(
        3 * MS,
        Body::State(change(
            CHILD,
            SERVER,
            CLIENT,
            State::Established,
            State::Closed,
        )),
    );

    assert!(engine.table().get(&SocketId::Cookie(CHILD)).is_none());
    assert_eq!(
        engine.socket(&SocketId::Cookie(CHILD)).unwrap().state,
        State::Closed
    );
}

#[test]
fn a_time_wait_ends_when_the_kernel_no_longer_has_it_and_says_which_way() {
    for (gone_at, reason) in [
        (70 * SECOND, ExitReason::Expired),
        (20 * SECOND, ExitReason::Destroyed),
    ] {
        let mut engine = engine();
        serving(&mut engine);
        active_close(&mut engine);

        engine.observe(
            gone_at,
            Body::Socket(seen(CHILD, SERVER, CLIENT, State::Closed, None)),
        );

        let Body::TimeWaitExit(exited) = &engine.log().iter().last().unwrap().body else {
            panic!("not an exit")
        };
        assert_eq!(exited.reason, reason);
        assert_eq!(exited.lived_ms, (gone_at - 5 * MS) / MS);
    }
}

#[test]
fn a_time_wait_ends_when_a_new_connection_takes_its_place() {
    let mut engine = engine();
    serving(&mut engine);
    active_close(&mut engine);

    engine.observe(
        9 * MS,
        through(
            change(7, SERVER, CLIENT, State::SynReceived, State::Established),
            LISTENER,
        ),
    );

    let exits: Vec<_> = engine
        .log()
        .iter()
        .filter(|event| event.body.name() == "tcp.time_wait.exit")
        .collect();
    let Body::TimeWaitExit(exited) = &exits[0].body else {
        panic!("not an exit")
    };
    assert_eq!(
        (exited.reason, exited.sock.cookie),
        (ExitReason::Reused, CHILD)
    );
    assert_eq!(exits.len(), 1);
}

#[test]
fn a_time_wait_that_is_overdue_is_still_there_until_the_kernel_lets_go() {
    let mut engine = engine();
    serving(&mut engine);
    active_close(&mut engine);

    let before = engine.take_due_polls(59 * SECOND, 10);
    let due = engine.take_due_polls(61 * SECOND, 10);
    engine.observe(
        61 * SECOND,
        Body::Socket(seen(CHILD, SERVER, CLIENT, State::TimeWait, Some(0))),
    );

    assert_eq!((before, due), (vec![], vec![SocketId::Cookie(CHILD)]));
    assert_eq!(
        engine.table().get(&SocketId::Cookie(CHILD)).unwrap().state,
        State::TimeWait
    );
    assert!(!engine.take_due_polls(62 * SECOND, 10).is_empty());
}

#[test]
fn a_restart_has_its_downtime_and_the_failures_in_between() {
    let mut engine = engine();
    let (old, new) = (process(10, "server"), process(11, "server"));
    serving(&mut engine);
    stop_listening(&mut engine, &old);
    for moment in 2..4 {
        engine.observe(
            moment * 100 * MS,
            Body::Bind(call(0, None, 8080, Some((98, "EADDRINUSE")), &new)),
        );
    }
    assert!(matches!(
        engine.ports().get(&port(8080)).unwrap().phase,
        Phase::Down { .. }
    ));

    engine.observe(
        600 * MS,
        by(change(30, ANY, NOBODY, State::Closed, State::Listen), &new),
    );
    engine.observe(
        601 * MS,
        Body::Listen(call(30, Some(ANY), 8080, None, &new)),
    );

    let Body::Restart(restart) = &engine.log().iter().last().unwrap().body else {
        panic!("not a restart")
    };
    assert_eq!(
        (restart.port, restart.downtime_ms, restart.failed_binds),
        (8080, 500, 2)
    );
    assert_eq!(
        (restart.listen_closed_seq, restart.listen_again_seq),
        (3, 8)
    );
    assert_eq!(restart.old_process.as_ref().unwrap().pid, 10);
    assert_eq!(restart.new_process.as_ref().unwrap().pid, 11);
}

#[test]
fn a_port_of_a_namespace_that_is_forgotten_has_no_history() {
    let mut engine = engine();
    let (old, new) = (process(10, "server"), process(11, "server"));
    serving(&mut engine);
    stop_listening(&mut engine, &old);

    engine.forget_ports(facts::NETNS);
    engine.observe(
        600 * MS,
        Body::Listen(call(30, Some(ANY), 8080, None, &new)),
    );

    assert!(!names(&engine).contains(&"restart"), "{:?}", names(&engine));
}

#[test]
fn a_listen_that_fails_is_no_restart_although_the_kernel_shows_listen() {
    let mut engine = engine();
    let (old, new) = (process(10, "server"), process(11, "server"));
    serving(&mut engine);
    stop_listening(&mut engine, &old);

    engine.observe(
        200 * MS,
        by(change(30, ANY, NOBODY, State::Closed, State::Listen), &new),
    );
    engine.observe(
        200 * MS + 5,
        by(change(30, ANY, NOBODY, State::Listen, State::Closed), &new),
    );
    engine.observe(
        200 * MS + 9,
        Body::Listen(call(30, Some(ANY), 8080, Some((98, "EADDRINUSE")), &new)),
    );
    engine.observe(900 * MS, Body::Tick(tcpstate_core::event::Tick {}));

    assert!(!names(&engine).contains(&"restart"));
    let history = engine.ports().get(&port(8080)).unwrap();
    assert!(matches!(history.phase, Phase::Down { .. }));
    assert_eq!(history.failed_since_down, 1);
}

#[test]
fn a_listener_whose_call_was_not_seen_counts_once_it_has_stood_for_a_moment() {
    let mut engine = engine();
    let server = process(10, "io_uring");
    engine.observe(
        0,
        by(
            change(LISTENER, ANY, NOBODY, State::Closed, State::Listen),
            &server,
        ),
    );
    assert_eq!(
        engine.ports().get(&port(8080)).unwrap().phase,
        Phase::NeverListened
    );

    engine.observe(SECOND, Body::Tick(tcpstate_core::event::Tick {}));

    assert!(matches!(
        engine.ports().get(&port(8080)).unwrap().phase,
        Phase::Listening { since_ns: 0, .. }
    ));
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
