//! A process that cannot have one port and takes another one is one story.

use std::process::{Command, Stdio};

use super::stage::Actor;
use support::{Program, Watch, listener, on_stage};

/// Tries ports one after the other, as development servers do.
const SEEKER: &str = "
import socket, time
for port in 8080, 8081, 8082:
    s = socket.socket()
    try:
        s.bind(('127.0.0.1', port)); s.listen()
        break
    except OSError:
        s.close()
time.sleep(60)
";

fn seeker() -> Actor {
    Actor::start(
        Command::new("python3")
            .args(["-c", SEEKER])
            .stdin(Stdio::null()),
    )
}

#[test]
fn a_server_that_takes_the_next_port_is_told_as_one_story() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _first = listener("127.0.0.1:8080", true);
    let mut watch = Watch::start(&["--port", "8080-8090"]);
    let seeker = seeker();

    let fallback = watch.wait_for("the fallback", |event| event["event"] == "fallback");

    assert_eq!(fallback["took"], 8081);
    assert_eq!(fallback["process"]["pid"], seeker.pid());
    let failed = fallback["failed"].as_array().expect("a list");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["port"], 8080);
    let call = watch.wait_for("the failed bind", |event| event["seq"] == failed[0]["seq"]);
    assert_eq!(
        (&call["event"], &call["ok"]),
        (&serde_json::json!("bind"), &serde_json::json!(false))
    );
    let taken = watch.wait_for("the bind", |event| event["seq"] == fallback["took_seq"]);
    assert_eq!(
        (&taken["event"], &taken["local"]["port"]),
        (&serde_json::json!("bind"), &serde_json::json!(8081))
    );
    watch.finish();
}

#[test]
fn several_tries_in_a_row_are_one_story() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _taken = (
        listener("127.0.0.1:8080", true),
        listener("127.0.0.1:8081", true),
    );
    let mut watch = Watch::start(&["--port", "8080-8090"]);
    let _seeker = seeker();

    let fallback = watch.wait_for("the fallback", |event| event["event"] == "fallback");

    let failed: Vec<_> = fallback["failed"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|tried| tried["port"].clone())
        .collect();
    assert_eq!(failed, [8080, 8081]);
    assert_eq!(fallback["took"], 8082);
    let events = watch.finish();
    let stories = events
        .iter()
        .filter(|event| event["event"] == "fallback")
        .count();
    assert_eq!(stories, 1);
}
