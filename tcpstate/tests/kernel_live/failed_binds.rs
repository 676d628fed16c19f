//! Failed binds and listens, with what stood in their way.

use super::*;

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
