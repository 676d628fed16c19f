//! A network namespace of the test's own, and what its kernel lists there.

use std::process::Command;
use std::time::Duration;

use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::event::State;

use crate::program::patience;
use crate::requirement::{Lacking, Requirement, require, skip_for};

/// Moves the test's thread into a private namespace, where the requirements are met.
/// `false`: they are not, and the test is skipped.
#[must_use]
pub fn on_stage(requirements: &[Requirement]) -> bool {
    if !require(&[Requirement::Root]) || !require(requirements) {
        return false;
    }
    if let Err(error) = namespace::enter_private() {
        // A container's root, perhaps.
        skip_for(Lacking {
            what: &format!("no network namespace can be made here: {error}"),
            since: None,
        });
        return false;
    }
    true
}

/// Waits until something is so: asks again and again.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let patience_ns = u64::try_from(patience().as_nanos()).expect("seconds");
    let deadline_ns = clock::monotonic_ns() + patience_ns;
    while !is_so() {
        assert!(clock::monotonic_ns() < deadline_ns, "not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What `ss` lists in this namespace, a line per socket.
pub fn ss(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("ss")
        .args(["-Htan"])
        .args(arguments)
        .output()
        .expect("ss runs");
    String::from_utf8(output.stdout)
        .expect("ss prints text")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Waits until the kernel has no such socket of this port.
#[track_caller]
pub fn wait_until_gone(port: u16, state: State) {
    wait_until(&format!("{port} has no socket in {state:?}"), || {
        count_listed(port, state) == 0
    });
}

/// Waits until what was closed first on this port has come to TIME_WAIT.
#[track_caller]
pub fn wait_for_time_wait(port: u16) {
    const BEFORE: [State; 3] = [State::FinWait1, State::FinWait2, State::Closing];
    wait_until(&format!("{port} is in TIME_WAIT"), || {
        BEFORE.iter().all(|&state| count_listed(port, state) == 0)
            && count_listed(port, State::TimeWait) > 0
    });
}

/// How many such sockets of this port the kernel's own tables of this namespace list.
pub fn count_listed(port: u16, state: State) -> usize {
    let port = format!(":{port:04X}");
    let count = |table| {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        let is_one = |line: &&str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let raw = u8::from_str_radix(columns[3], 16).ok();
            columns[1].ends_with(&port) && raw.and_then(State::from_raw) == Some(state)
        };
        table.unwrap_or_default().lines().filter(is_one).count()
    };
    ["tcp", "tcp6"].into_iter().map(count).sum()
}
