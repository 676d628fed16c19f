//! TIME_WAIT's whole life: how it begins, is begun anew, and which way it ends.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown, sockopt};
use serde_json::Value;

use crate::churn::tcp_option;
use support::{
    DESTROYS_TIME_WAITS, Program, Watch, at, connection, drain, listener, listing, on_stage,
    port_of, socket, ss, try_bind,
};

const SERVER: &str = "127.0.0.1:8080";

fn set(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).expect("the namespace is ours");
}

fn entered(watch: &mut Watch, local_port: u16) -> Value {
    watch.wait_for("an entry into TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter" && event["local"]["port"] == local_port
    })
}

fn exited(watch: &mut Watch, local_port: u16) -> Value {
    watch.wait_for("the end of a TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.exit" && event["local"]["port"] == local_port
    })
}

/// The server closes first; gives the listener and the peer's port.
fn left_by_server(watch: &mut Watch) -> (OwnedFd, u16) {
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);
    drop(server);
    drain(&client);
    drop(client);
    entered(watch, 8080);
    (listening, peer)
}

/// The client closes first; gives its port.
fn left_by_client(watch: &mut Watch, listening: &OwnedFd) -> u16 {
    let (server, client) = connection(listening, SERVER);
    let port = port_of(&client);
    drop(client);
    drain(&server);
    drop(server);
    entered(watch, port);
    port
}

/// A segment that does not belong to the connection any more. The TIME_WAIT
/// answers it with an ACK, and the kernel, which knows no socket at the other
/// end, answers that with an RST of just the right sequence number.
fn send_stray_segment(from: SocketAddrV4, to: SocketAddrV4) {
    let raw = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        rustix::net::SocketFlags::CLOEXEC,
        Some(rustix::net::ipproto::TCP),
    )
    .expect("root");
    rustix::net::bind(&raw, &SocketAddrV4::new(*from.ip(), 0)).expect("the address is ours");
    let mut segment = Vec::new();
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend([0; 8]);
    // Five words of header; ACK; a window.
    segment.extend([5 << 4, 0x10, 0x10, 0]);
    segment.extend([0; 4]);
    let pseudo_header = [from.ip().octets(), to.ip().octets(), [0, 6, 0, 20]].concat();
    let sum: u32 = pseudo_header
        .chunks(2)
        .chain(segment.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice");
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    rustix::net::sendto(&raw, &segment, rustix::net::SendFlags::empty(), &to).expect("sent");
}

fn endpoint(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([127, 0, 0, 1].into(), port)
}

#[test]
fn a_fin_that_finds_the_orphan_begins_sixty_seconds_anew() {
    if !on_stage(&[]) {
        return;
    }
    set("tcp_fin_timeout", "5");
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);

    drop(server);
    let orphan = watch.wait_for("the orphan", |event| {
        event["event"] == "tcp.state" && event["mini"]["state"] == "fin_wait_2"
    });
    drop(client);
    let entry = entered(&mut watch, 8080);

    let of_orphan = orphan["mini"]["expires_ms"].as_u64().expect("a timer");
    let of_time_wait = entry["expires_ms"].as_u64().expect("a timer");
    assert!((4_000..=5_100).contains(&of_orphan), "{of_orphan} ms");
    assert!(
        (58_500..=60_100).contains(&of_time_wait),
        "{of_time_wait} ms"
    );
    watch.finish();
}

#[test]
fn a_stray_segment_begins_a_time_wait_anew_where_rfc_1337_is_followed() {
    if !on_stage(&[]) {
        return;
    }
    set("tcp_rfc1337", "1");
    let mut watch = Watch::start(&[]);
    let (_listening, peer) = left_by_server(&mut watch);
    std::thread::sleep(Duration::from_secs(3));

    send_stray_segment(endpoint(peer), endpoint(8080));
    let anew = watch.wait_for("the TIME_WAIT begun anew", |event| {
        event["event"] == "socket" && event["state"] == "time_wait"
    });

    assert_eq!(anew["local"]["port"], 8080);
    assert!(
        anew["expires_ms"].as_u64().is_some_and(|ms| ms > 57_500),
        "{anew}"
    );
    let events = watch.finish();
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.exit"),
        "{}",
        listing(&events)
    );
}

/// "TIME-WAIT assassination".
#[test]
fn a_stray_segment_ends_a_time_wait_where_rfc_1337_is_not_followed() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    set("tcp_rfc1337", "0");
    let mut watch = Watch::start(&[]);
    let (listening, peer) = left_by_server(&mut watch);

    send_stray_segment(endpoint(peer), endpoint(8080));
    let exit = exited(&mut watch, 8080);

    assert_eq!(exit["reason"], "destroyed");
    assert_eq!(ss(&["state", "time-wait"]), Vec::<String>::new());
    drop(listening);
    try_bind(SERVER, false).expect("nothing holds the port");
    watch.finish();
}

#[test]
fn a_time_wait_that_is_destroyed_is_missed_although_nothing_tells_of_it() {
    if !on_stage(&[DESTROYS_TIME_WAITS, Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let (_listening, _) = left_by_server(&mut watch);

    let killed = std::process::Command::new("ss")
        .args(["-Ktn", "state", "time-wait", "sport = :8080"])
        .output()
        .expect("ss runs");
    assert!(
        String::from_utf8_lossy(&killed.stdout).contains(":8080"),
        "{killed:?}"
    );
    let exit = exited(&mut watch, 8080);

    assert_eq!(exit["reason"], "destroyed");
    let lived_ms = exit["lived_ms"].as_u64().expect("a number");
    assert!(lived_ms < 5_000, "{lived_ms} ms");
    watch.finish();
}

#[test]
fn a_connect_from_the_same_port_takes_a_time_wait_over() {
    if !on_stage(&[]) {
        return;
    }
    let listening = listener(SERVER, true);
    let mut watch = Watch::start(&[]);
    let port = left_by_client(&mut watch, &listening);
    let again = socket(at(SERVER));
    sockopt::set_socket_reuseaddr(&again, true).expect("open");
    // The range has only the TIME_WAIT's port, so that connect has to choose it.
    std::thread::sleep(Duration::from_millis(1100));
    set("ip_local_port_range", &format!("{port} {port}"));

    rustix::net::connect(&again, &at(SERVER)).expect("timestamps allow it after a second");
    let exit = exited(&mut watch, port);

    assert_eq!(port_of(&again), port);
    assert_eq!(exit["reason"], "reused");
    watch.finish();
}

/// The kernel announces SYN_SENT before it looks whether the pair of addresses
/// is free.
#[test]
fn a_connect_that_fails_over_a_time_wait_does_not_end_it() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    // Without timestamps a TIME_WAIT cannot be taken over by connect.
    set("tcp_timestamps", "0");
    let listening = listener(SERVER, true);
    let mut watch = Watch::start(&[]);
    let from = "127.0.0.1:40000";
    let bound = |reuse| {
        let socket = socket(at(from));
        sockopt::set_socket_reuseaddr(&socket, reuse).expect("open");
        rustix::net::bind(&socket, &at(from)).expect("both have SO_REUSEADDR");
        socket
    };
    let client = bound(true);
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    let server = rustix::net::accept(&listening).expect("a connection waits");
    drop(client);
    drain(&server);
    drop(server);
    entered(&mut watch, 40_000);

    let refused = rustix::net::connect(bound(true), &at(SERVER)).expect_err("it is in TIME_WAIT");
    assert_eq!(refused, rustix::io::Errno::ADDRNOTAVAIL);
    let diagnosis = watch.wait_for("the diagnosis", |event| event["event"] == "diagnosis");
    // Two sweeps.
    std::thread::sleep(Duration::from_millis(2_500));

    assert_eq!(diagnosis["cause"], "four_tuple_in_use");
    assert_eq!(ss(&["state", "time-wait"]).len(), 1);
    let events = watch.finish();
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.exit"),
        "{}",
        listing(&events)
    );
}

#[test]
fn without_linger2_there_is_no_time_wait() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, false);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);
    // In FIN_WAIT_2 before the close: an orphan in FIN_WAIT_1 is not asked.
    shutdown(&server, Shutdown::Write).expect("open");
    tcp_option(&server, libc::TCP_LINGER2, -1);
    watch.wait_for("FIN_WAIT_2", |event| {
        event["event"] == "tcp.state" && event["new"] == "fin_wait_2"
    });

    drop(server);
    let closed = watch.wait_for("the end", |event| {
        event["event"] == "tcp.state"
            && event["local"]["port"] == 8080
            && event["peer"]["port"] == peer
            && event["new"] == "closed"
    });
    drop((client, listening));

    assert_eq!(closed["mini"], Value::Null);
    assert_eq!(ss(&["state", "time-wait"]), Vec::<String>::new());
    try_bind(SERVER, false).expect("nothing holds the port");
    let events = watch.finish();
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.enter"),
        "{}",
        listing(&events)
    );
}

#[test]
fn where_there_is_room_for_one_time_wait_the_second_is_none() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    set("tcp_max_tw_buckets", "1");
    let mut watch = Watch::start(&[]);
    let (listening, _) = left_by_server(&mut watch);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);

    shutdown(&server, Shutdown::Write).expect("open");
    shutdown(&client, Shutdown::Write).expect("open");
    let closed = watch.wait_for("the end", |event| {
        event["event"] == "tcp.state"
            && event["local"]["port"] == 8080
            && event["peer"]["port"] == peer
            && event["new"] == "closed"
    });

    assert_eq!(closed["mini"], Value::Null);
    assert_eq!(ss(&["state", "time-wait"]).len(), 1);
    watch.finish();
}
