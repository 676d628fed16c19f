//! Listeners in the way.

use std::process::{Command, Stdio};

use rustix::io::Errno;
use serde_json::Value;

use crate::causes::stage::Actor;
use crate::causes::{SERVER, fix, refused_bind, summary};
use support::{Program, Watch, at, listener, on_stage, socket, try_bind};

#[test]
fn active_listener() {
    if !on_stage(&[]) {
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
    if !on_stage(&[]) {
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
    if !on_stage(&[]) {
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
fn reuseport_mismatch() {
    if !on_stage(&[]) {
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
fn reuseport_of_another_user() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _other = Actor::start(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([
                "socat",
                "TCP-LISTEN:8080,bind=127.0.0.1,reuseport",
                "EXEC:true",
            ])
            .stdin(Stdio::null()),
    );
    watch.wait_for("its listen", |event| {
        event["event"] == "listen" && event["ok"] == true
    });

    let new = socket(at(SERVER));
    rustix::net::sockopt::set_socket_reuseport(&new, true).expect("open");
    assert_eq!(
        rustix::net::bind(&new, &at(SERVER)).expect_err("another user's"),
        Errno::ADDRINUSE
    );

    let diagnosis = watch.diagnosis("bind", 8080);
    assert_eq!(diagnosis["cause"], "reuseport_mismatch", "{diagnosis}");
    assert_eq!(diagnosis["would_work"]["reuseport"], "no");
    assert_eq!(diagnosis["certainty"], "proven");
    assert!(
        summary(&diagnosis).contains("user 0 and not to user 65534"),
        "{diagnosis}"
    );
    assert_eq!(fix(&diagnosis, "same_user")["applies"], "now");
    watch.finish();
}

#[test]
fn inherited_listener() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let child = Actor::start(
        Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(listening)),
    );

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "inherited_listener", "{diagnosis}");
    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["pid"], std::process::id());
    let processes: Vec<&Value> = holder["processes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|process| &process["pid"])
        .collect();
    assert_eq!(processes, [&Value::from(child.pid())]);
    assert!(
        summary(&diagnosis).contains(&format!("sleep[{}]", child.pid())),
        "{diagnosis}"
    );
    watch.finish();
    drop(child);
    assert!(try_bind(SERVER, true).is_ok(), "the child alone held it");
}
