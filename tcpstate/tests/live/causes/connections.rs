//! Connections and bound sockets that somebody keeps.

use std::time::Duration;

use rustix::net::sockopt;
use serde_json::Value;
use tcpstate::demo::namespace;

use super::{SERVER, refused_bind, refused_bind_at, summary};
use support::{Watch, at, connection, drain, listener, on_stage, port_of, try_bind};

#[test]
fn ephemeral_collision() {
    if !on_stage(&[]) {
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
    if !on_stage(&[]) {
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
    if !on_stage(&[]) {
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
fn bound_not_listening() {
    if !on_stage(&[]) {
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
fn a_socket_that_was_reset_and_not_closed() {
    if !on_stage(&[]) {
        return;
    }
    let fixed = "127.0.0.1:45000";
    let mut watch = Watch::start(&[]);
    let listening = listener(SERVER, true);
    let client = try_bind(fixed, false).expect("free");
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    let server = rustix::net::accept_with(&listening, rustix::net::SocketFlags::CLOEXEC)
        .expect("a connection waits");
    sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("open");
    drop(server);
    drain(&client);

    let diagnosis = refused_bind_at(&mut watch, fixed, true);

    assert_eq!(diagnosis["cause"], "bound_not_listening", "{diagnosis}");
    assert!(
        summary(&diagnosis).contains("still open"),
        "it was connected once: {diagnosis}"
    );
    assert_eq!(
        diagnosis["holders"][0]["processes"][0]["pid"],
        Value::from(std::process::id())
    );
    watch.finish();
    drop(client);
    try_bind(fixed, true).expect("closing it frees the port");
}
