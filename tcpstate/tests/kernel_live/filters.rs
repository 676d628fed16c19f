//! Filters in the kernel.

use super::*;

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
