//! TIME_WAIT and orphans: who left them, and when they end.

use super::*;

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
