//! Changes of state, accepts and resets.

use super::*;

#[test]
fn an_active_close_leaves_a_mini_socket_that_is_found() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let (client, server) = pair(&listener);
    let local = server.local_addr().unwrap();

    drop(server);
    drop(client);

    let last = bench.last_change(local);
    assert_eq!((last.old, last.new), (State::FinWait2, State::Closed));
    let mini = last.mini.expect("a mini-socket");
    assert_eq!(mini.source, Source::Kernel);
    assert!(mini.reuse.reuseaddr, "{mini:?}");
    let expires = mini.expires_ms.expect("its time");
    assert!((55_000..=61_000).contains(&expires), "{expires}");
}

#[test]
fn who_closes_later_is_left_with_nothing() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let (client, mut server) = pair(&listener);
    let local = server.local_addr().unwrap();

    drop(client);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    drop(server);

    let last = bench.last_change(local);
    assert_eq!((last.old, last.new), (State::LastAck, State::Closed));
    assert_eq!(last.mini, None);
}

#[test]
fn a_held_descriptor_goes_straight_to_time_wait_and_an_orphan_to_fin_wait_2() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let (client, held) = pair(&listener);
    let (other_client, orphan) = pair(&listener);
    let held_peer = client.local_addr().unwrap();
    let orphan_peer = other_client.local_addr().unwrap();

    held.shutdown(Shutdown::Write).unwrap();
    let port = held.local_addr().unwrap().port();
    support::wait_until("its FIN is acknowledged", || {
        support::count_listed(port, State::FinWait2) == 1
    });
    drop(client);
    drop(orphan);
    let events = bench.events();

    let last_of = |peer: SocketAddr| {
        changes(&events)
            .filter(|change| change.peer.port == peer.port())
            .last()
            .unwrap()
            .clone()
    };
    assert_eq!(last_of(held_peer).mini.unwrap().state, State::TimeWait);
    assert_eq!(last_of(orphan_peer).mini.unwrap().state, State::FinWait2);
    drop((held, other_client));
}

#[test]
fn an_aborting_close_leaves_nothing_and_names_the_process() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let (client, server) = pair(&listener);
    let local = server.local_addr().unwrap();

    bench::abort_on_close(&server);
    drop(server);

    let events = bench.events();
    let last = changes(&events)
        .filter(|change| change.local.port == local.port() && change.peer.port != 0)
        .last()
        .unwrap();
    assert_eq!((last.old, last.new), (State::Established, State::Closed));
    assert_eq!(last.mini, None);
    let process = last.process.as_ref().expect("who aborted");
    assert_eq!(process.pid, std::process::id());
    let directions: Vec<Direction> = events
        .iter()
        .filter_map(|body| match body {
            Body::Reset(reset) => Some(reset.direction),
            _ => None,
        })
        .collect();
    assert!(directions.contains(&Direction::Sent), "{directions:?}");
    assert!(directions.contains(&Direction::Received), "{directions:?}");
    drop(client);
}

#[test]
fn accepted_connections_know_their_listener() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let (client, server) = pair(&listener);
    let local = server.local_addr().unwrap();

    let events = bench.events();

    let listening = changes(&events)
        .find(|change| change.new == State::Listen)
        .expect("the listener");
    let accepted = changes(&events)
        .find(|change| change.old == State::SynReceived && change.local.port == local.port())
        .expect("the accepted one");
    assert_ne!(accepted.sock.cookie, 0);
    assert_eq!(accepted.listener, Some(listening.sock.cookie));
    assert_eq!(accepted.process, None, "softirq: nobody's process");
    assert_eq!(
        listening.process.as_ref().map(|process| process.pid),
        Some(std::process::id())
    );
    drop((client, server));
}

#[test]
fn an_accept_by_another_process_is_reported_and_the_listeners_own_is_not() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    drop(pair(&listener));
    let own = bench.events();
    assert!(!own.iter().any(|body| matches!(body, Body::Accept(_))));

    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let worker = bench::accept_in_a_child(&listener);

    let events = bench.events();
    let accepts: Vec<&Call> = events
        .iter()
        .filter_map(|body| match body {
            Body::Accept(call) => Some(&**call),
            _ => None,
        })
        .collect();
    let [accept] = accepts[..] else {
        panic!("one accept: {accepts:?}");
    };
    assert_eq!(accept.process.pid, worker);
    let peer = accept.peer.unwrap();
    assert_eq!(peer.port, client.local_addr().unwrap().port());
    assert_ne!(accept.sock.unwrap().cookie, 0);
}

#[test]
fn accepts_of_a_listener_from_before_the_watch_are_reported_only_for_workers() {
    if Bench::start().is_none() {
        return;
    }
    let listener = listen_on(localhost(0), false);
    let accepts_of = |text: &str| -> Vec<u64> {
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|event| event["event"] == "accept")
            .map(|event| event["process"]["pid"].as_u64().unwrap())
            .collect()
    };

    let (own, _) = program::run_around(&["--duration", "500ms"], || {
        for _ in 0..100 {
            drop(pair(&listener));
        }
    });
    let mut worker = 0;
    let (others, _) = program::run_around(&["--duration", "500ms"], || {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        worker = bench::accept_in_a_child(&listener);
    });

    assert!(own.matches("\"established\"").count() >= 100, "{own}");
    assert_eq!(accepts_of(&own), Vec::<u64>::new());
    assert_eq!(accepts_of(&others), [u64::from(worker)]);
}

#[test]
fn a_refused_connect_and_its_resets_are_reported() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let closed = localhost(19_999);

    TcpStream::connect(closed).unwrap_err();

    let events = bench.events();
    let call = events
        .iter()
        .find_map(|body| match body {
            Body::Connect(call) => Some(call),
            _ => None,
        })
        .expect("the failed connect");
    assert_eq!(call.errno_name.as_deref(), Some("ECONNREFUSED"));
    assert_eq!(call.requested.port, closed.port());
    let reset = |direction| {
        events.iter().find_map(|body| match body {
            Body::Reset(reset) if reset.direction == direction => Some(reset),
            _ => None,
        })
    };
    assert!(reset(Direction::Received).is_some());
    // Without a socket only from Linux 6.10 on.
    if let Some(sent) = reset(Direction::Sent) {
        assert_eq!(sent.local.port, closed.port());
        assert_eq!(sent.sock, None);
        assert_eq!(sent.reason.as_deref(), Some("no_socket"));
    }
}
