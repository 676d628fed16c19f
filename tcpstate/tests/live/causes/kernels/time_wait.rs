//! TIME_WAIT and what is still closing.

use std::collections::BTreeSet;

use rustix::io::Errno;
use rustix::net::sockopt;
use serde_json::Value;
use tcpstate::event::State;

use crate::causes::{SERVER, leave_time_wait, leave_time_wait_at, refused_bind, refused_bind_at};
use support::{
    LISTS_BOUND_SOCKETS, Linux, Watch, connection, count_listed, listener, on_stage, port_of,
    try_bind, wait_for_time_wait,
};

#[test]
fn time_wait_no_reuse() {
    if !on_stage(&[]) {
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
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(false));

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "time_wait_left_without_reuse");
    watch.finish();
}

#[test]
fn closing() {
    if !on_stage(&[]) {
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
fn a_busy_servers_time_waits_are_counted_and_the_odd_one_is_found() {
    if !on_stage(&[LISTS_BOUND_SOCKETS]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    // A port that the kernel gives a second client has its TIME_WAIT taken over.
    let mut peers = BTreeSet::new();
    for number in 0..400 {
        let (server, client) = connection(&listening, SERVER);
        peers.insert(port_of(&client));
        // One connection clears the option that it took over from the listener: the
        // last, whose place no other can take.
        sockopt::set_socket_reuseaddr(&server, number != 399).expect("open");
        drop(server);
        drop(client);
    }
    drop(listening);
    wait_for_time_wait(8080);

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
    assert_eq!(diagnosis["certainty"], "likely", "read a moment later");
    assert!(
        diagnosis["missing"][0]
            .as_str()
            .is_some_and(|text| text.contains("not inside it")),
        "{diagnosis}"
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
    let held = usize::try_from(held).expect("it is a few hundred");
    assert_eq!(held, peers.len(), "{failed}");
    assert_eq!(held, count_listed(8080, State::TimeWait), "{failed}");
    assert!(
        failed["summary"]
            .as_str()
            .is_some_and(|text| text.contains(&format!("{held} connections in TIME_WAIT"))),
        "{failed}"
    );
    assert!(failed["clears_ms"].as_u64().is_some(), "{failed}");
    watch.finish();
}

#[test]
fn an_ipv6_peers_time_wait_stands_in_the_way_of_all_ipv4_addresses() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait_at("[::]:8080", "[::1]:8080", false));

    let diagnosis = refused_bind_at(&mut watch, "0.0.0.0:8080", true);

    assert_eq!(
        diagnosis["cause"], "time_wait_left_without_reuse",
        "{diagnosis}"
    );
    let holder = &diagnosis["holders"][0];
    assert_eq!(
        (&holder["overlap"], &holder["local"]["addr"]),
        (&Value::from("dual_stack"), &Value::from("::1"))
    );
    assert!(
        crate::causes::summary(&diagnosis).contains("IPv6"),
        "the odd thing is said: {diagnosis}"
    );
    assert!(
        try_bind(SERVER, false).is_ok(),
        "one IPv4 address does not meet it"
    );
    watch.finish();
}

#[test]
fn so_reuseaddr_that_is_cleared_before_listen() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(true));
    let new = try_bind(SERVER, true).expect("both have SO_REUSEADDR");
    sockopt::set_socket_reuseaddr(&new, false).expect("open");

    assert_eq!(
        rustix::net::listen(&new, 1).expect_err("it is asked again"),
        Errno::ADDRINUSE
    );

    let diagnosis = watch.diagnosis("listen", 8080);
    assert_eq!(diagnosis["cause"], "time_wait_no_reuse", "{diagnosis}");
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    assert_eq!(diagnosis["would_work"]["reuseaddr"], "yes");
    sockopt::set_socket_reuseaddr(&new, true).expect("open");
    rustix::net::listen(&new, 1).expect("as it was said");
    watch.finish();
}

#[test]
fn so_reuseaddr_that_the_holder_cleared_after_its_bind() {
    if !on_stage(&[Linux(
        6,
        12,
        "does not go by the bucket's memory of the option",
    )]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let holder = try_bind(SERVER, true).expect("free");
    drop(try_bind(SERVER, true).expect("both have SO_REUSEADDR"));
    sockopt::set_socket_reuseaddr(&holder, false).expect("open");

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "bound_not_listening", "{diagnosis}");
    assert_eq!(diagnosis["holders"][0]["reuse"]["reuseaddr"], false);
    watch.finish();
}
