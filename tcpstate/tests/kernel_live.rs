//! The kernel program against the running kernel, in network namespaces of its
//! own. Needs root; a skipped test says so, and with `TCPSTATE_REQUIRE_LIVE=1`
//! it is a failure.

#[path = "kernel_live/bench.rs"]
mod bench;
#[path = "kernel_live/program.rs"]
mod program;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use bench::{Bench, bind, listen_on, localhost};
use tcpstate::event::{Body, Call, Direction, Family, ProbeStatus, Source, State, StateChange};
use tcpstate::snapshot::SocketItem;

#[test]
fn every_hook_attaches() {
    let Some(bench) = Bench::start() else { return };

    for probe in bench.observer().probes() {
        println!("{:<22} {:<11} {:?}", probe.name, probe.kind, probe.why);
    }
    let refused: Vec<_> = bench
        .observer()
        .probes()
        .iter()
        .filter(|probe| probe.status != ProbeStatus::Attached)
        // Where the kernel refuses the trial of one, tracepoints do the work.
        .filter(|probe| !(probe.kind == "fentry" && probe.status == ProbeStatus::Unused))
        // Where a call's return knows its arguments, its entry is not hooked.
        .filter(|probe| {
            !(probe.name.starts_with("sys_enter_") && probe.status == ProbeStatus::Unused)
        })
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn what_the_kernel_allows_is_found_by_trying() {
    if Bench::start().is_none() {
        return;
    }

    let found = tcpstate::kernel::capabilities(None);

    assert!(found.is_permitted);
    assert!(found.why.is_none(), "{:?}", found.why);
    assert!(found.probes.len() > 10);
    println!("{:?}", found.capture);
}

#[test]
fn with_v_the_hooks_are_told_on_stderr_and_else_nothing_is() {
    if Bench::start().is_none() {
        return;
    }

    let (_, told) = program::run_around(&["-v", "--duration", "200ms"], || {});
    let (_, untold) = program::run_around(&["--duration", "200ms"], || {});

    assert!(
        told.contains("tcpstate: hook inet_sock_set_state (tp_btf) on\n"),
        "{told}"
    );
    assert!(told.contains("tcpstate: watching after "), "{told}");
    assert_eq!(untold, "");
}

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
fn a_bind_over_a_time_wait_names_it_with_its_options() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    for left_with_reuse in [false, true] {
        let listener = listen_on(localhost(0), left_with_reuse);
        let local = listener.local_addr().unwrap();
        let (client, server) = pair(&listener);
        drop(server);
        drop(client);
        drop(listener);
        bench.events();

        let error = bind(local, false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));

        let call = bench.failed_call();
        assert_eq!(call.errno_name.as_deref(), Some("EADDRINUSE"));
        assert_eq!(call.requested.port, local.port());
        assert_eq!(call.requested.addr, Some(local.ip()));
        assert_eq!(call.process.pid, std::process::id());
        assert!(call.process.ppid.is_some());
        assert!(call.process.argv.is_some());
        let seen = call.seen.expect("the bucket");
        assert!(seen.is_complete);
        assert_eq!(seen.holders.len(), 1, "{:?}", seen.holders);
        let holder = &seen.holders[0];
        assert_eq!(holder.state, State::TimeWait);
        assert!(holder.is_mini);
        assert_eq!(
            holder.reuse.map(|reuse| reuse.reuseaddr),
            Some(left_with_reuse)
        );
        assert!(holder.expires_ms.unwrap() > 50_000);
        assert_ne!(holder.sock.cookie, 0);
    }
}

#[test]
fn a_bind_over_a_listener_names_it_with_its_inode() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let local = listener.local_addr().unwrap();

    bind(SocketAddr::from(([0, 0, 0, 0], local.port())), true).unwrap_err();

    let call = bench.failed_call();
    assert!(call.reuse.reuseaddr, "the failing socket's own option");
    let holders = call.seen.unwrap().holders;
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].state, State::Listen);
    assert_eq!(holders[0].inode, Some(bench::inode_of(&listener)));
}

#[test]
fn the_second_of_two_reuse_binders_fails_at_listen() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let first = bind(localhost(18_081), true).unwrap();
    let second = bind(localhost(18_081), true).unwrap();
    bench::listen(&first).unwrap();

    bench::listen(&second).unwrap_err();

    let call = bench.failed_call();
    assert_eq!(call.requested.port, 18_081);
    let holders = call.seen.expect("the bucket").holders;
    assert_eq!(holders.len(), 1, "not itself: {holders:?}");
    assert_eq!(holders[0].state, State::Listen);
    assert_eq!(holders[0].is_port_locked, Some(true));
}

#[test]
fn ipv6_and_ipv4_over_an_ipv6_listener_are_found_as_well() {
    for dual in [false, true] {
        let Some(mut bench) = Bench::start() else {
            return;
        };
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = if dual {
            TcpStream::connect(localhost(port)).unwrap()
        } else {
            TcpStream::connect(("::1", port)).unwrap()
        };
        let (server, _) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        drop(server);
        drop(client);
        drop(listener);

        let last = bench.last_change(local);
        assert_eq!(last.mini.expect("a mini-socket").source, Source::Kernel);
        assert_eq!(last.sock.family, Family::Ipv6);
        assert_eq!(last.local.addr, local.ip());

        bind(SocketAddr::from(([0, 0, 0, 0], port)), false).unwrap_err();

        let holders = bench.failed_call().seen.unwrap().holders;
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[0].sock, last.sock);
        assert_eq!(holders[0].local.addr, local.ip());
    }
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
fn an_mptcp_socket_that_fails_to_bind_is_reported() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let Some(socket) = bench::mptcp_socket() else {
        eprintln!("skipped: this kernel has no MPTCP");
        return;
    };

    rustix::net::bind(&socket, &listener.local_addr().unwrap()).unwrap_err();

    let holders = bench.failed_call().seen.unwrap().holders;
    assert_eq!(holders[0].inode, Some(bench::inode_of(&listener)));
}

#[test]
fn other_protocols_do_not_come_through() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let first = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    std::net::UdpSocket::bind(first.local_addr().unwrap()).unwrap_err();
    std::os::unix::net::UnixStream::connect("/nowhere").unwrap_err();

    assert_eq!(bench.events(), []);
}

#[test]
fn a_busy_port_is_walked_to_the_listener_behind_it() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(SocketAddr::from(([0, 0, 0, 0], 0)), false);
    let port = listener.local_addr().unwrap().port();
    for _ in 0..300 {
        let client = TcpStream::connect(localhost(port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(server);
        drop(client);
    }
    bench.events();

    bind(localhost(port), false).unwrap_err();

    let seen = bench.failed_call().seen.unwrap();
    assert!(!seen.is_complete);
    assert!(
        seen.holders
            .iter()
            .any(|holder| holder.state == State::Listen),
        "{} holders of {}",
        seen.holders.len(),
        seen.visited
    );
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

#[test]
fn the_iterator_lists_what_sock_diag_lists() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let (client, server) = pair(&listener);
    let (leaver, left) = pair(&listener);
    drop(left);
    drop(leaver);
    bench.events();

    let by_iterator = bench.snapshot();
    let by_diag = bench.dump();

    let key = |item: &SocketItem| {
        (
            item.local,
            item.peer,
            item.state,
            item.is_mini,
            item.sock.cookie,
        )
    };
    let mut seen: Vec<_> = by_iterator.iter().map(key).collect();
    let mut expected: Vec<_> = by_diag.iter().map(key).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 4);
    let mini = by_iterator.iter().find(|item| item.is_mini).unwrap();
    assert!(mini.reuse.unwrap().reuseaddr);
    assert!(mini.expires_ms.unwrap() > 50_000);
    drop((client, server));
}

#[test]
fn an_exact_lookup_finds_a_time_wait() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let (client, server) = pair(&listener);
    let (local, peer) = (server.local_addr().unwrap(), client.local_addr().unwrap());
    drop(server);
    drop(client);
    let last = bench.last_change(local);

    let found = bench.find(local, peer, last.sock.cookie).expect("there");

    assert!(found.is_mini);
    assert!(found.expires_ms.unwrap() > 50_000);
}

#[test]
fn ports_narrow_everything() {
    let wanted = 18_080;
    let Some(mut bench) = Bench::start_with(|options| options.ports = vec![wanted..=wanted]) else {
        return;
    };
    let other = listen_on(localhost(0), false);
    drop(pair(&other));
    let listener = listen_on(localhost(wanted), false);
    drop(pair(&listener));
    bind(localhost(wanted), false).unwrap_err();

    let events = bench.events();

    assert!(
        events
            .iter()
            .any(|body| matches!(body, Body::Bind(call) if !call.ok))
    );
    assert!(changes(&events).count() > 3);
    for change in changes(&events) {
        assert!(
            change.local.port == wanted || change.peer.port == wanted,
            "{change:?}"
        );
    }
}

#[test]
fn a_listen_on_an_unbound_socket_passes_the_filter_by_the_port_that_it_got() {
    let ports = 18_090..=18_091;
    let Some(mut bench) = Bench::start_with(|options| options.ports = vec![ports.clone()]) else {
        return;
    };
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "18090 18091").unwrap();
    let socket = bench::unbound();

    rustix::net::listen(&socket, 8).unwrap();

    let events = bench.events();
    let listen = events.iter().find_map(|body| match body {
        Body::Listen(call) => Some(call),
        _ => None,
    });
    let local = listen.expect("the call").local.expect("its address");
    assert!(ports.contains(&local.port), "{local:?}");
}

#[test]
fn processes_narrow_everything_and_their_connections_are_followed() {
    let Some(mut bench) = Bench::start_with(|options| options.pids = vec![std::process::id()])
    else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    let (mut client, server) = pair(&listener);
    client.write_all(b"x").unwrap();
    let local = server.local_addr().unwrap();
    drop(server);
    drop(client);

    let events = bench.events();

    assert!(
        changes(&events).any(|change| {
            change.old == State::SynReceived && change.local.port == local.port()
        }),
        "inherited from the listener"
    );
}

#[test]
fn another_processs_sockets_are_not_seen_with_a_process_filter() {
    let Some(mut bench) = Bench::start_with(|options| options.pids = vec![1]) else {
        return;
    };
    let listener = listen_on(localhost(0), false);
    drop(pair(&listener));
    bind(listener.local_addr().unwrap(), false).unwrap_err();

    assert_eq!(bench.events(), []);
}

/// A client and the server's end of its connection.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn changes(events: &[Body]) -> impl Iterator<Item = &StateChange> {
    events.iter().filter_map(|body| match body {
        Body::State(change) => Some(change),
        _ => None,
    })
}

impl Bench {
    /// The last transition of the connection with this local address.
    fn last_change(&mut self, local: SocketAddr) -> StateChange {
        let events = self.events();
        changes(&events)
            .filter(|change| change.local.port == local.port() && change.peer.port != 0)
            .last()
            .expect("a transition")
            .clone()
    }

    /// The one call that failed.
    fn failed_call(&mut self) -> Call {
        let events = self.events();
        let mut failed = events.iter().filter_map(Body::call).filter(|call| !call.ok);
        let call = failed.next().expect("a failed call").clone();
        assert_eq!(failed.next(), None);
        call
    }
}
