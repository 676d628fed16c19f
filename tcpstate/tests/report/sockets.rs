//! Ports, sockets and resets in a report.

use super::*;

#[test]
fn the_ports_spans_have_no_gaps_and_carry_its_marks() {
    let report = report_of(&scenario::restarted());

    let [port] = report.ports.as_slice() else {
        panic!("{:?}", report.ports);
    };
    let services: Vec<Service> = port.spans.iter().map(|span| span.service).collect();
    assert_eq!(
        services,
        [
            Service::NotSeen,
            Service::Listening,
            Service::Down,
            Service::Listening
        ]
    );
    assert_eq!(port.spans[0].from.after_ns, 0);
    for pair in port.spans.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
    }
    assert_eq!(port.spans[3].to, report.recording.ends);
    assert_eq!(port.failed_calls.len(), 3);
    let most = port.time_wait.iter().map(|held| held.most).max();
    assert_eq!(most, Some(12), "{:?}", port.time_wait);
}

#[test]
fn the_holders_are_the_sockets_that_are_shown() {
    let report = report_of(&scenario::restarted());

    for holder in &report.failures[0].diagnosis.holders {
        let socket = report
            .sockets
            .iter()
            .find(|socket| socket.sock == holder.sock)
            .expect("every holder is followed");
        let states: Vec<State> = socket.states.iter().map(|span| span.state).collect();
        assert_eq!(
            states,
            [
                State::SynReceived,
                State::Established,
                State::FinWait1,
                State::FinWait2,
                State::TimeWait
            ]
        );
        for pair in socket.states.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
        }
    }
}

/// Before Linux 5.12 a socket gets its cookie when somebody asks for it.
#[test]
fn a_listener_that_has_got_its_cookie_since_is_one_socket() {
    let mut scenario = Scenario::begun();
    let server = process("nginx", 7);
    let nameless = Sock {
        cookie: 0,
        netns: scenario::NETNS,
        family: Family::Ipv4,
    };
    scenario.listen_with(nameless, PORT, &server);
    scenario.wait_ms(10);
    let named = Sock {
        cookie: 9,
        ..nameless
    };
    scenario.stop_listening(named, PORT, &server);
    scenario.wait_ms(5_000);
    scenario.listen(PORT, &server);
    scenario.wait_ms(10);
    let report = report_of(&scenario);

    assert!(report.restarts[0].again.is_some());
    let listeners: Vec<_> = report.sockets.iter().map(|socket| socket.sock).collect();
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    let first = &report.sockets[0];
    assert_eq!(first.sock, named);
    let end_ns = first.states[0].to.after_ns;
    assert_eq!(end_ns, report.restarts[0].closed.after_ns);
}

#[test]
fn a_time_wait_that_has_got_its_cookie_since_ends_as_the_same() {
    let mut scenario = Scenario::begun();
    let server = process("nginx", 7);
    let listener = scenario.listen(PORT, &server);
    let nameless = Sock {
        cookie: 0,
        ..listener
    };
    scenario.close_first(nameless, PORT, 40_000, &server);
    scenario.wait_ms(5_000);
    let mini = scenario.engine.table().iter().find(|socket| socket.is_mini);
    let mini = mini.expect("it is in TIME_WAIT");
    let end = SocketSeen {
        sock: Sock {
            cookie: 9,
            ..nameless
        },
        local: mini.local,
        peer: mini.peer,
        state: State::Closed,
        process: None,
        reuse: None,
        expires_ms: Some(0),
        processes: None,
        netns_ended: None,
        ended: Some(ExitReason::Destroyed),
        source: Source::Kernel,
    };
    scenario.observe(Body::Socket(end));
    let end_ns = scenario.now_ns;
    scenario.wait_ms(5_000);
    let report = report_of(&scenario);

    let [held] = report.ports[0].time_wait.as_slice() else {
        panic!("{:?}", report.ports[0].time_wait);
    };
    assert_eq!(held.to.after_ns, end_ns - scenario::START_NS);
}

#[test]
fn resets_are_counted_by_reason() {
    let mut scenario = Scenario::begun();
    let server = process("nginx", 7);
    let listener = scenario.listen(PORT, &server);
    for peer_port in 0..5 {
        let sock = scenario.accept(listener, PORT, 50_000 + peer_port);
        scenario.reset(sock, PORT, 50_000 + peer_port, &server);
    }
    let report = report_of(&scenario);

    let [kind] = report.resets.as_slice() else {
        panic!("{:?}", report.resets);
    };
    assert_eq!(kind.count, 5);
    assert_eq!(kind.reason.as_deref(), Some("tcp_abort_on_close"));
}

/// One host sees both ends of a connection, and RSTs that answer to no socket.
#[test]
fn resets_are_not_taken_for_so_many_connections() {
    let mut scenario = Scenario::begun();
    let server = process("nginx", 7);
    let listener = scenario.listen(PORT, &server);
    let sock = scenario.accept(listener, PORT, 50_000);
    scenario.reset(sock, PORT, 50_000, &server);
    scenario.reset(sock, PORT, 50_000, &server);
    scenario.stop_listening(listener, PORT, &server);
    scenario.wait_ms(100);
    scenario.listen(PORT, &process("nginx", 8));

    let page = markdown::render(&report_of(&scenario));

    assert!(page.contains("2 resets were seen"), "{page}");
    assert!(!page.contains("connections were"), "{page}");
}
