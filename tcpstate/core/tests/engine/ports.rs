//! Ports: restarts and their downtime.

use super::*;

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
