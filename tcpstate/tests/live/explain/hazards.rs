//! Binds that succeed, and whose clients reach somebody else.

use super::*;

/// Whose listener a connection to this address reaches.
fn reaches(address: &str, listeners: [&OwnedFd; 2]) -> usize {
    let client = socket(at(address));
    rustix::net::connect(&client, &at(address)).expect("somebody listens");
    let mut polled = listeners
        .map(|listening| rustix::event::PollFd::new(listening, rustix::event::PollFlags::IN));
    rustix::event::poll(&mut polled, None).expect("one is ready");
    let is_ready = |polled: &rustix::event::PollFd<'_>| !polled.revents().is_empty();
    let reached = polled.iter().position(is_ready).expect("one is ready");
    drop(rustix::net::accept(listeners[reached]).expect("one waits"));
    reached
}

#[test]
fn whom_localhost_leads_to_is_said_and_the_kernel_agrees() {
    if !on_stage(&[]) {
        return;
    }
    let there = listener("[::1]:8080", true);

    let answer = explain(&["--reuseaddr"]);
    let text = run(&["explain", "8080", "--reuseaddr"]);

    assert_eq!(
        answer["hazards"][0]["kind"], "localhost_elsewhere",
        "{answer}"
    );
    assert_eq!(
        answer["hazards"][0]["processes"][0],
        std::process::id(),
        "{answer}"
    );
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("  beware     localhost leads elsewhere")
    );
    let new = listener("0.0.0.0:8080", true);
    assert_eq!(reaches("[::1]:8080", [&there, &new]), 0);
    assert_eq!(reaches("127.0.0.1:8080", [&there, &new]), 1);
    drop(new);
    drop(there);
    assert_eq!(explain(&["--reuseaddr"])["hazards"], Value::Null);

    // The reverse.
    let there = listener("127.0.0.1:8080", true);
    let answer = explain(&["--ipv6", "--v6only", "--reuseaddr"]);
    assert!(
        answer["hazards"][0]["text"]
            .to_string()
            .contains("leads to two"),
        "{answer}"
    );
    let new = listener("[::1]:8080", true);
    assert_eq!(reaches("[::1]:8080", [&there, &new]), 1);
    assert_eq!(reaches("127.0.0.1:8080", [&there, &new]), 0);
}

#[test]
fn a_group_that_would_share_its_connections_is_told() {
    if !on_stage(&[]) {
        return;
    }
    let shared = || {
        let new = socket(at(SERVER));
        sockopt::set_socket_reuseport(&new, true).expect("an option of all sockets");
        rustix::net::bind(&new, &at(SERVER)).expect("they share it");
        rustix::net::listen(&new, 64).expect("they share it");
        new
    };
    let there = shared();

    let answer = explain(&["--addr", "127.0.0.1", "--reuseport"]);

    assert_eq!(
        answer["hazards"][0]["kind"], "shared_connections",
        "{answer}"
    );
    let new = shared();
    let reached: std::collections::BTreeSet<usize> =
        (0..32).map(|_| reaches(SERVER, [&there, &new])).collect();
    assert_eq!(reached.len(), 2);
}
