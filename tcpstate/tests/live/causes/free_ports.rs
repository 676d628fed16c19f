//! Ports that the kernel chooses, and connections from a fixed one.

use std::fs;

use rustix::io::Errno;
use tcpstate::demo::namespace;

use super::{SERVER, summary};
use support::{
    Watch, at, connection, drain, listener, on_stage, socket, try_bind, wait_for_time_wait,
};

#[test]
fn ephemeral_exhausted() {
    if !on_stage(&[]) {
        return;
    }
    namespace::set_local_port_range(40_000, 40_001).expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let _taken: Vec<_> = (0..2)
        .map(|_| try_bind("127.0.0.1:0", false).expect("two ports are free"))
        .collect();

    assert_eq!(
        try_bind("127.0.0.1:0", false).expect_err("none is left"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 0);

    assert_eq!(diagnosis["cause"], "ephemeral_exhausted");
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    watch.finish();
}

/// Whose ports they are, and the option that lets one port serve several peers, with which
/// the kernel agrees.
#[test]
fn a_bind_before_connect_takes_a_port_towards_all_peers() {
    if !on_stage(&[]) {
        return;
    }
    let peers: Vec<String> = (1..=4).map(|host| format!("127.0.1.{host}:443")).collect();
    let listening: Vec<_> = peers.iter().map(|peer| listener(peer, true)).collect();
    namespace::set_local_port_range(40_000, 40_001).expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let connect = |from: &str, peer: &str, no_port: bool| {
        let client = socket(at(peer));
        bind_address_no_port(&client, no_port);
        rustix::net::bind(&client, &at(from))?;
        rustix::net::connect(&client, &at(peer)).map(|()| client)
    };
    let _taken: Vec<_> = peers
        .iter()
        .take(2)
        .map(|peer| connect("127.0.0.1:0", peer, false).expect("two ports are free"))
        .collect();

    assert_eq!(
        connect("127.0.0.1:0", &peers[2], false).expect_err("none is left"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 0);

    assert_eq!(diagnosis["cause"], "ephemeral_exhausted", "{diagnosis}");
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    assert_eq!(diagnosis["fixes"][0]["id"], "bind_address_no_port");
    let said = summary(&diagnosis);
    assert!(said.contains("2 of the 2 ports"), "{said}");
    assert!(said.contains("towards 2 peers"), "{said}");
    assert!(
        said.contains(&format!("[{}]", std::process::id())),
        "{said}"
    );
    // What was bound without the option stays taken.
    assert!(connect("127.0.0.1:0", &peers[2], true).is_err());
    namespace::set_local_port_range(41_000, 41_001).expect("the namespace is ours");
    let with_it: Vec<_> = peers
        .iter()
        .map(|peer| connect("127.0.0.1:0", peer, true).expect("two ports serve four peers"))
        .collect();
    drop(with_it);
    drop(listening);
    watch.finish();
}

/// `IP_BIND_ADDRESS_NO_PORT`.
#[expect(unsafe_code, reason = "rustix has no wrapper for this option")]
fn bind_address_no_port(socket: &std::os::fd::OwnedFd, on: bool) {
    use std::os::fd::AsRawFd as _;
    let on = libc::c_int::from(on);
    // SAFETY: the number is read, and its length is right.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            4,
        )
    };
    assert_eq!(result, 0, "the kernel knows it");
}

#[test]
fn four_tuple_in_use() {
    if !on_stage(&[]) {
        return;
    }
    let listening = listener(SERVER, true);
    let mut watch = Watch::start(&[]);
    let fixed = "127.0.0.1:45000";
    let first = try_bind(fixed, true).expect("free");
    let second = try_bind(fixed, true).expect("both set SO_REUSEADDR");
    rustix::net::connect(&first, &at(SERVER)).expect("somebody listens");

    assert_eq!(
        rustix::net::connect(&second, &at(SERVER)).expect_err("the pair is taken"),
        Errno::ADDRNOTAVAIL
    );
    let diagnosis = watch.diagnosis("connect", 8080);

    assert_eq!(diagnosis["cause"], "four_tuple_in_use");
    drop(listening);
    watch.finish();
}

#[test]
fn a_connect_that_finds_no_free_port() {
    if !on_stage(&[]) {
        return;
    }
    let listening = listener(SERVER, true);
    namespace::set_local_port_range(40_000, 40_001).expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let _connections: Vec<_> = (0..2).map(|_| connection(&listening, SERVER)).collect();

    let client = socket(at(SERVER));
    assert_eq!(
        rustix::net::connect(&client, &at(SERVER)).expect_err("none is left"),
        Errno::ADDRNOTAVAIL
    );

    let diagnosis = watch.diagnosis("connect", 8080);
    assert_eq!(diagnosis["cause"], "ephemeral_exhausted", "{diagnosis}");
    assert!(
        summary(&diagnosis).contains("2 of the 2 ports of the range 40000 to 40001"),
        "{diagnosis}"
    );
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    assert_eq!(diagnosis["fixes"][0]["id"], "find_user", "{diagnosis}");
    watch.finish();
}

#[test]
fn a_listen_without_bind_that_finds_no_free_port() {
    if !on_stage(&[]) {
        return;
    }
    namespace::set_local_port_range(40_000, 40_000).expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let _taken = try_bind("0.0.0.0:0", false).expect("one port is free");

    let unbound = socket(at(SERVER));
    assert_eq!(
        rustix::net::listen(&unbound, 1).expect_err("none is left"),
        Errno::ADDRINUSE
    );

    let diagnosis = watch.diagnosis("listen", 0);
    assert_eq!(diagnosis["cause"], "ephemeral_exhausted", "{diagnosis}");
    watch.finish();
}

#[test]
fn a_connect_from_a_fixed_port_that_is_in_time_wait() {
    if !on_stage(&[]) {
        return;
    }
    // With timestamps the kernel takes such a TIME_WAIT over.
    fs::write("/proc/sys/net/ipv4/tcp_timestamps", "0").expect("the namespace is ours");
    let fixed = "127.0.0.1:45000";
    let listening = listener(SERVER, true);
    let mut watch = Watch::start(&[]);
    let first = try_bind(fixed, true).expect("free");
    rustix::net::connect(&first, &at(SERVER)).expect("somebody listens");
    let server = rustix::net::accept_with(&listening, rustix::net::SocketFlags::CLOEXEC)
        .expect("a connection waits");
    drop(first);
    drain(&server);
    drop(server);
    wait_for_time_wait(45_000);

    let second = try_bind(fixed, true).expect("both set SO_REUSEADDR");
    assert_eq!(
        rustix::net::connect(&second, &at(SERVER)).expect_err("the pair is in TIME_WAIT"),
        Errno::ADDRNOTAVAIL
    );

    let diagnosis = watch.diagnosis("connect", 8080);
    assert_eq!(diagnosis["cause"], "four_tuple_in_use", "{diagnosis}");
    assert_eq!(diagnosis["holders"][0]["state"], "time_wait", "{diagnosis}");
    assert_eq!(
        diagnosis["holders"][0]["left_by"]["pid"],
        std::process::id()
    );
    assert!(
        diagnosis["clears_ms"]
            .as_u64()
            .is_some_and(|ms| (50_000..=63_000).contains(&ms)),
        "{diagnosis}"
    );
    watch.finish();
}
