//! Each cause, with the real kernel refusing the call for exactly that reason,
//! and each `would_work` held against the kernel by trying.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::Value;
use tcpstate::demo::namespace;

use crate::harness::{
    Watch, at, connection, drain, has, listener, on_stage, port_of, run, socket, try_bind,
};

const SERVER: &str = "127.0.0.1:8080";

/// Leaves one TIME_WAIT on the server's side.
fn leave_time_wait(reuseaddr: bool) -> OwnedFd {
    let listening = listener(SERVER, reuseaddr);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drain(&client);
    drop(client);
    std::thread::sleep(Duration::from_millis(50));
    listening
}

/// Tries to bind, checks that the kernel refuses with `EADDRINUSE`, and gives
/// the diagnosis, whose word on `SO_REUSEADDR` is tried out.
#[track_caller]
fn refused_bind(watch: &mut Watch, reuseaddr: bool) -> Value {
    assert_eq!(
        try_bind(SERVER, reuseaddr).expect_err("the port is held"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 8080);
    let with_reuse = try_bind(SERVER, true).is_ok();
    assert_eq!(
        diagnosis["would_work"]["reuseaddr"],
        if with_reuse { "yes" } else { "no" },
        "{diagnosis}"
    );
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    assert!(
        diagnosis["fixes"]
            .as_array()
            .is_some_and(|fixes| !fixes.is_empty()),
        "{diagnosis}"
    );
    diagnosis
}

#[test]
fn time_wait_no_reuse() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(true));

    let diagnosis = refused_bind(&mut watch, false);

    assert_eq!(diagnosis["cause"], "time_wait_no_reuse");
    let holder = &diagnosis["holders"][0];
    assert_eq!(
        (&holder["state"], &holder["left_by"]["pid"]),
        (&Value::from("time_wait"), &Value::from(std::process::id()))
    );
    let clears_ms = diagnosis["clears_ms"]
        .as_u64()
        .expect("a TIME_WAIT clears by itself");
    assert!((50_000..=63_000).contains(&clears_ms), "{clears_ms} ms");
    watch.finish();
}

#[test]
fn time_wait_left_without_reuse() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(false));

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "time_wait_left_without_reuse");
    watch.finish();
}

#[test]
fn active_listener() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _listening = listener(SERVER, true);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "active_listener");
    assert_eq!(
        diagnosis["holders"][0]["process"]["pid"],
        std::process::id()
    );
    assert_eq!(diagnosis["clears_ms"], Value::Null);
    watch.finish();
}

#[test]
fn a_listener_from_before_the_watch_has_its_owner_too() {
    if !on_stage() {
        return;
    }
    let _listening = listener(SERVER, true);
    let mut watch = Watch::start(&["--port", "8080"]);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "active_listener");
    assert_eq!(
        diagnosis["holders"][0]["process"]["pid"],
        std::process::id()
    );
    watch.finish();
}

#[test]
fn a_listen_that_fails_because_somebody_else_listened_first() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let (first, second) = (
        try_bind(SERVER, true).expect("free"),
        try_bind(SERVER, true).expect("both set SO_REUSEADDR"),
    );
    rustix::net::listen(&first, 1).expect("the first may");

    let refused = rustix::net::listen(&second, 1).expect_err("the second may not");

    assert_eq!(refused, Errno::ADDRINUSE);
    let diagnosis = watch.diagnosis("listen", 8080);
    assert_eq!(diagnosis["cause"], "active_listener");
    watch.finish();
}

#[test]
fn ephemeral_collision() {
    if !on_stage() {
        return;
    }
    namespace::set_local_port_range(8080, 8081).expect("the namespace is ours");
    let elsewhere = listener("127.0.0.1:5432", true);
    let mut watch = Watch::start(&[]);
    let connections: Vec<_> = (0..2)
        .map(|_| connection(&elsewhere, "127.0.0.1:5432"))
        .collect();
    assert!(
        connections
            .iter()
            .any(|(_, client)| port_of(client) == 8080)
    );

    let diagnosis = refused_bind(&mut watch, false);

    assert_eq!(diagnosis["cause"], "ephemeral_collision");
    assert_eq!(diagnosis["holders"][0]["peer"]["port"], 5432);
    watch.finish();
}

#[test]
fn established_leftover() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, false);
    let (_server, _client) = connection(&listening, SERVER);
    drop(listening);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "established_leftover");
    assert_eq!(diagnosis["holders"][0]["state"], "established");
    assert_eq!(
        diagnosis["holders"][0]["processes"][0]["pid"],
        std::process::id()
    );
    watch.finish();
}

#[test]
fn close_wait_leak() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, false);
    let (server, client) = connection(&listening, SERVER);
    drop(client);
    drain(&server);
    drop(listening);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "close_wait_leak");
    assert_eq!(
        diagnosis["holders"][0]["process"]["pid"],
        std::process::id()
    );
    watch.finish();
}

#[test]
fn closing() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let (server, _client) = connection(&listening, SERVER);
    drop(server);
    drop(listening);
    // The client's kernel may delay its ACK of the FIN.
    watch.wait_for("the orphan", |event| {
        event["event"] == "tcp.state" && event["mini"]["state"] == "fin_wait_2"
    });

    let diagnosis = refused_bind(&mut watch, false);

    assert_eq!(diagnosis["cause"], "closing");
    assert_eq!(diagnosis["holders"][0]["state"], "fin_wait_2");
    watch.finish();
}

#[test]
fn bound_not_listening() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _bound = try_bind(SERVER, false).expect("free");

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "bound_not_listening");
    assert_eq!(diagnosis["holders"][0]["state"], "bound");
    assert_eq!(
        diagnosis["holders"][0]["processes"][0]["pid"],
        std::process::id()
    );
    watch.finish();
}

#[test]
fn dual_stack() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _listening = listener("[::]:8080", true);

    assert_eq!(
        try_bind("0.0.0.0:8080", true).expect_err("the IPv6 socket takes IPv4, too"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 8080);

    assert_eq!(diagnosis["cause"], "dual_stack");
    assert_eq!(diagnosis["holders"][0]["overlap"], "dual_stack");
    watch.finish();
}

#[test]
fn reuseport_mismatch() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let first = socket(at(SERVER));
    rustix::net::sockopt::set_socket_reuseport(&first, true).expect("open");
    rustix::net::bind(&first, &at(SERVER)).expect("free");
    rustix::net::listen(&first, 1).expect("nobody else listens");

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "reuseport_mismatch");
    assert_eq!(diagnosis["would_work"]["reuseport"], "yes");
    watch.finish();
}

#[test]
fn privileged_port() {
    if !on_stage() || !has("socat", "socat") {
        return;
    }
    let mut watch = Watch::start(&["--port", "80"]);

    let status = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .args(["socat", "TCP-LISTEN:80,bind=127.0.0.1", "EXEC:true"])
        .stderr(std::process::Stdio::null())
        .status()
        .expect("setpriv is part of util-linux");

    assert!(!status.success());
    let diagnosis = watch.diagnosis("bind", 80);
    assert_eq!(diagnosis["cause"], "privileged_port");
    watch.finish();
}

#[test]
fn address_not_local() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&[]);

    assert_eq!(
        try_bind("192.0.2.1:8080", false).expect_err("no such address here"),
        Errno::ADDRNOTAVAIL
    );
    let diagnosis = watch.diagnosis("bind", 8080);

    assert_eq!(diagnosis["cause"], "address_not_local");
    watch.finish();
}

#[test]
fn already_bound() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&[]);
    let bound = try_bind(SERVER, false).expect("free");

    assert_eq!(
        rustix::net::bind(&bound, &at("127.0.0.1:8081")).expect_err("bound once is bound"),
        Errno::INVAL
    );
    let diagnosis = watch.diagnosis("bind", 8081);

    assert_eq!(diagnosis["cause"], "already_bound");
    watch.finish();
}

#[test]
fn ephemeral_exhausted() {
    if !on_stage() {
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
    watch.finish();
}

#[test]
fn four_tuple_in_use() {
    if !on_stage() {
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
fn a_failure_of_another_protocol_is_not_ours() {
    if !on_stage() {
        return;
    }
    let watch = Watch::start(&[]);
    let _first = std::net::UdpSocket::bind(SERVER).expect("free");

    assert!(std::net::UdpSocket::bind(SERVER).is_err());
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("socket");
    let _unix = std::os::unix::net::UnixListener::bind(&path).expect("free");
    assert!(std::os::unix::net::UnixListener::bind(&path).is_err());

    let events = watch.finish();
    assert!(
        !events.iter().any(|event| event["event"] == "bind"),
        "{events:?}"
    );
    assert_eq!(run(&["schema"]).status.code(), Some(0));
}

#[test]
fn a_busy_servers_time_waits_are_counted_and_the_odd_one_is_found() {
    if !on_stage() {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    for number in 0..400 {
        let (server, client) = connection(&listening, SERVER);
        // One connection clears the option that it took over from the listener.
        rustix::net::sockopt::set_socket_reuseaddr(&server, number != 100).expect("open");
        drop(server);
        drop(client);
    }
    drop(listening);
    std::thread::sleep(Duration::from_millis(100));

    assert_eq!(
        try_bind(SERVER, true).expect_err("one was left without"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 8080);

    assert_eq!(
        diagnosis["cause"], "time_wait_left_without_reuse",
        "{diagnosis}"
    );
    assert_eq!(diagnosis["would_work"]["reuseaddr"], "no");
    assert_eq!(
        diagnosis["holders"].as_array().map(Vec::len),
        Some(1),
        "with SO_REUSEADDR only the odd one stands in the way"
    );

    assert_eq!(
        try_bind(SERVER, false).expect_err("all stand in the way"),
        Errno::ADDRINUSE
    );
    let failed = watch.wait_for("the second failure", |event| {
        event["event"] == "diagnosis" && event["seq"] != diagnosis["seq"]
    });
    let held: u64 = failed["holders"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|holder| 1 + holder["alike"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(held, 400, "{failed}");
    assert!(
        failed["summary"]
            .as_str()
            .is_some_and(|text| text.contains("400 connections in TIME_WAIT")),
        "{failed}"
    );
    assert!(failed["clears_ms"].as_u64().is_some(), "{failed}");
    watch.finish();
}
