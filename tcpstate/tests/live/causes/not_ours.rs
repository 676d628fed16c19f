//! Failures of other protocols, and calls that no hook sees.

use super::SERVER;
use support::{Watch, on_stage, run};

#[test]
fn a_failure_of_another_protocol_is_not_ours() {
    if !on_stage(&[]) {
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
fn doctor_says_which_calls_are_not_seen() {
    if !on_stage(&[]) {
        return;
    }
    let text = String::from_utf8(run(&["doctor"]).stdout).expect("text");
    // A function hook sees every call, by whatever way it came.
    let sees_all = text.contains("works here, in function mode");
    for part in ["io_uring, and every connect", "32-bit"] {
        assert_eq!(text.contains(part), !sees_all, "{part}:\n{text}");
    }
}
