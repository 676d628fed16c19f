//! Every way that a connection ends, as the kernel shows it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use serde_json::Value;
use tcpstate::clock;

use support::{
    DESTROYS_TIME_WAITS, Program, Watch, at, connection, drain, listener, listing, on_stage,
    path_of, port_of, socket, ss, try_bind,
};

const SERVER: &str = "127.0.0.1:8080";

/// Waits until `ss` lists what fits: the kernel's own word.
fn wait_for_ss(state: &str, fits: impl Fn(&str) -> bool) -> bool {
    (0..200).any(|_| {
        let is_there = ss(&["state", state]).iter().any(|line| fits(line));
        if !is_there {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_there
    })
}

fn entered(watch: &mut Watch, local_port: u16, peer_port: u16) -> Value {
    watch.wait_for("an entry into TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter"
            && event["local"]["port"] == local_port
            && event["peer"]["port"] == peer_port
    })
}

/// The server closes a connection first; gives its listener and the peer's port.
fn leave_time_wait(watch: &mut Watch, reuseaddr: bool) -> (OwnedFd, u16) {
    let listening = listener(SERVER, reuseaddr);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);
    drop(server);
    drain(&client);
    drop(client);
    entered(watch, 8080, peer);
    (listening, peer)
}

#[test]
fn an_active_close_ends_in_time_wait_and_a_passive_one_does_not() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);

    drop(server);
    drain(&client);
    drop(client);
    let entry = entered(&mut watch, 8080, peer);

    assert!(
        wait_for_ss("time-wait", |line| line.contains(":8080")),
        "ss has no TIME_WAIT"
    );
    let events = watch.finish();
    let server_path = path_of(&events, 8080, peer);
    assert!(
        server_path
            == [
                "syn_received->established",
                "established->fin_wait_1",
                "fin_wait_1->fin_wait_2",
                "fin_wait_2->closed"
            ],
        "{server_path:?}\n{}",
        listing(&events)
    );
    let client_path = path_of(&events, peer, 8080);
    assert_eq!(
        client_path,
        [
            "syn_sent->established",
            "established->close_wait",
            "close_wait->last_ack",
            "last_ack->closed"
        ],
        "{}",
        listing(&events)
    );
    assert_eq!(entry["reuse"]["reuseaddr"], true);
    assert_eq!(entry["left_by"]["pid"], std::process::id());
    let expires_ms = entry["expires_ms"]
        .as_u64()
        .expect("a TIME_WAIT has a time");
    assert!((58_000..=60_100).contains(&expires_ms), "{expires_ms} ms");
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.enter" && event["local"]["port"] == peer),
        "the passive side has no TIME_WAIT"
    );
}

#[test]
fn a_descriptor_that_is_still_open_enters_time_wait_directly() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, false);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);

    shutdown(&server, Shutdown::Write).expect("open");
    shutdown(&client, Shutdown::Write).expect("open");
    let entry = entered(&mut watch, 8080, peer);

    assert_eq!(entry["source"], "kernel");
    assert_eq!(entry["from"], "fin_wait_2");
    assert_eq!(entry["reuse"]["reuseaddr"], false);
    watch.finish();
}

#[test]
fn an_orphan_in_fin_wait_2_is_told_apart_and_its_change_is_found() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let header = watch.wait_for("the header", |event| event["event"] == "header");
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);

    drop(server);
    let closed = watch.wait_for("the orphan", |event| {
        event["event"] == "tcp.state" && event["local"]["port"] == 8080 && event["new"] == "closed"
    });
    assert_eq!(closed["mini"]["state"], "fin_wait_2", "{closed}");
    assert!(
        wait_for_ss("fin-wait-2", |line| line.contains(":8080")),
        "ss has no FIN-WAIT-2"
    );
    drop(client);
    let entry = entered(&mut watch, 8080, peer);

    // A function hook sees the FIN that finds it; else it is looked up.
    let source = if header["capture"] == "functions" {
        "kernel"
    } else {
        "snapshot"
    };
    assert_eq!(
        (&entry["from"], &entry["source"]),
        (&Value::from("fin_wait_2"), &Value::from(source))
    );
    assert!(
        wait_for_ss("time-wait", |line| line.contains(":8080")),
        "ss has no TIME_WAIT"
    );
    watch.finish();
}

/// Both sides have sent until nothing fits any more, so that each FIN waits
/// behind data; then one side reads, and the FINs cross.
#[test]
fn a_simultaneous_close_goes_through_closing() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);
    let data = vec![0; 1 << 16];
    for side in [&server, &client] {
        rustix::io::ioctl_fionbio(side, true).expect("a socket can be non-blocking");
        while rustix::net::send(side, &data, rustix::net::SendFlags::NOSIGNAL).is_ok() {}
        shutdown(side, Shutdown::Write).expect("open");
        rustix::io::ioctl_fionbio(side, false).expect("a socket can block");
    }

    std::thread::scope(|scope| {
        scope.spawn(|| drain(&server));
        scope.spawn(|| drain(&client));
    });
    let closing = watch.wait_for("CLOSING", |event| {
        event["event"] == "tcp.state" && event["new"] == "closing"
    });
    let port = if closing["local"]["port"] == 8080 {
        (8080, peer)
    } else {
        (peer, 8080)
    };
    let entry = watch.wait_for("TIME_WAIT after CLOSING", |event| {
        event["event"] == "tcp.time_wait.enter" && event["local"]["port"] == port.0
    });

    assert_eq!(entry["from"], "closing");
    let events = watch.finish();
    let path = path_of(&events, port.0, port.1);
    assert_eq!(
        path[path.len() - 2..],
        ["fin_wait_1->closing", "closing->closed"]
    );
}

#[test]
fn linger_0_sends_a_reset_and_leaves_no_time_wait() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);

    rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("open");
    drop(server);
    let sent = watch.wait_for("the RST", |event| {
        event["event"] == "tcp.reset" && event["direction"] == "sent"
    });
    watch.wait_for("its arrival", |event| {
        event["event"] == "tcp.reset" && event["direction"] == "received"
    });

    assert_eq!(
        (&sent["local"]["port"], &sent["peer"]["port"]),
        (&Value::from(8080), &Value::from(peer))
    );
    assert_eq!(ss(&["state", "time-wait"]), Vec::<String>::new());
    drop(client);
    let events = watch.finish();
    assert_eq!(
        path_of(&events, 8080, peer),
        ["syn_received->established", "established->closed"]
    );
    let client_end = events
        .iter()
        .find(|event| {
            event["event"] == "tcp.state"
                && event["local"]["port"] == peer
                && event["new"] == "closed"
        })
        .expect("the client's socket ended");
    assert_eq!(client_end["error"], "ECONNRESET");
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.enter")
    );
}

#[test]
fn closing_with_unread_data_sends_a_reset() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    let peer = port_of(&client);
    rustix::net::send(&client, b"hello", rustix::net::SendFlags::empty()).expect("open");

    drop(server);
    watch.wait_for("the RST", |event| {
        event["event"] == "tcp.reset" && event["direction"] == "sent"
    });
    drop(client);

    let events = watch.finish();
    assert_eq!(
        path_of(&events, 8080, peer),
        ["syn_received->established", "established->closed"]
    );
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.enter")
    );
}

#[test]
fn a_connect_to_a_closed_port_is_refused_by_a_reset() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let client = socket(at(SERVER));

    let refused = rustix::net::connect(&client, &at(SERVER)).expect_err("nobody listens");
    let failed = watch.wait_for("the failed connect", |event| {
        event["event"] == "connect" && event["ok"] == false
    });

    assert_eq!(failed["errno"], refused.raw_os_error());
    assert_eq!(failed["errno_name"], "ECONNREFUSED");
    assert_eq!(failed["requested"]["port"], 8080);
    assert_eq!(failed["process"]["pid"], std::process::id());
    let received = watch.wait_for("the RST", |event| {
        event["event"] == "tcp.reset" && event["direction"] == "received"
    });
    assert_eq!(received["state"], "syn_sent");
    watch.finish();
}

#[test]
fn a_time_wait_that_a_new_connection_takes_over_is_seen_to_end() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let (_listening, peer) = leave_time_wait(&mut watch, true);

    // A new connection on the same pair of addresses takes its place.
    let again = socket(at(SERVER));
    rustix::net::sockopt::set_socket_reuseaddr(&again, true).expect("open");
    rustix::net::bind(&again, &at(&format!("127.0.0.1:{peer}"))).expect("the port is free");
    std::thread::sleep(Duration::from_millis(1100));
    rustix::net::connect(&again, &at(SERVER))
        .expect("the kernel lets a SYN with a newer timestamp take over");
    let exit = watch.wait_for("the end of the TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.exit"
    });

    assert_eq!(
        (&exit["local"]["port"], &exit["reason"]),
        (&Value::from(8080), &Value::from("reused"))
    );
    watch.finish();
}

#[test]
#[ignore = "nightly: waits for the 60 s of a TIME_WAIT"]
fn a_time_wait_ends_when_the_kernel_lets_the_port_go() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(&mut watch, false).0);
    // Failing binds in a tight loop would be events of their own.
    std::thread::sleep(Duration::from_secs(59));

    let free_ns = (0..500)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            try_bind(SERVER, false).ok().map(|_| clock::monotonic_ns())
        })
        .expect("the port is free within ten seconds");
    let exit = watch.wait_for("the end", |event| event["event"] == "tcp.time_wait.exit");

    assert_eq!(exit["reason"], "expired");
    let exit_ns = exit["mono_ns"].as_u64().expect("a number");
    assert!(
        exit_ns.abs_diff(free_ns) < 1_000_000_000,
        "told at {exit_ns}, free at {free_ns}"
    );
    watch.finish();
}

#[test]
fn a_time_wait_that_is_destroyed_is_seen_to_end_before_its_time() {
    if !on_stage(&[DESTROYS_TIME_WAITS, Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    drop(leave_time_wait(&mut watch, false).0);

    let killed = std::process::Command::new("ss")
        .args(["-Ktn", "state", "time-wait", "sport = :8080"])
        .output()
        .expect("ss runs");

    assert!(
        String::from_utf8_lossy(&killed.stdout).contains(":8080"),
        "{killed:?}"
    );
    let _bound = try_bind(SERVER, false).expect("the port is free at once");
    let exit = watch.wait_for("the end", |event| event["event"] == "tcp.time_wait.exit");
    assert_eq!(exit["reason"], "destroyed");
    assert!(
        exit["lived_ms"].as_u64().is_some_and(|ms| ms < 10_000),
        "{exit}"
    );
    watch.finish();
}

#[test]
fn an_orphan_whose_peer_stays_silent_is_gone_after_fin_timeout() {
    if !on_stage(&[]) {
        return;
    }
    std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "2").expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, true);
    let (server, _client) = connection(&listening, SERVER);

    drop(server);
    let orphan = watch.wait_for("the orphan", |event| {
        event["event"] == "tcp.state" && event["mini"]["state"] == "fin_wait_2"
    });
    let gone = watch.wait_for("its end", |event| {
        event["event"] == "socket" && event["state"] == "closed"
    });

    let expires_ms = orphan["mini"]["expires_ms"]
        .as_u64()
        .expect("it has a timer");
    assert!((1_500..=2_100).contains(&expires_ms), "{expires_ms} ms");
    // Before Linux 5.12 a hook is given none, and the look gives it one.
    if orphan["sock"]["cookie"] != 0 {
        assert_eq!(gone["sock"]["cookie"], orphan["sock"]["cookie"]);
    }
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
fn without_room_for_time_waits_the_port_is_free_at_once() {
    if !on_stage(&[]) {
        return;
    }
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0").expect("the namespace is ours");
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, false);
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
    drop((server, client, listening));

    assert_eq!(closed["mini"], Value::Null);
    try_bind(SERVER, false).expect("nothing holds the port");
    let events = watch.finish();
    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.time_wait.enter")
    );
}
