//! Each cause, with the real kernel refusing the call for exactly that reason,
//! and each `would_work` held against the kernel by trying.

mod addresses;
mod connections;
mod fallback;
mod fixes;
mod free_ports;
mod gone;
mod kernels;
mod languages;
mod not_ours;
mod principals;
mod refusals;
mod stage;

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use serde_json::Value;

use support::{Watch, connection, drain, listener, try_bind, wait_for_time_wait};

const SERVER: &str = "127.0.0.1:8080";

/// Leaves one TIME_WAIT on the server's side.
fn leave_time_wait(reuseaddr: bool) -> OwnedFd {
    leave_time_wait_at(SERVER, SERVER, reuseaddr)
}

/// The same for a server that is bound to one address and reached by another.
fn leave_time_wait_at(bound: &str, reached: &str, reuseaddr: bool) -> OwnedFd {
    let listening = listener(bound, reuseaddr);
    let (server, client) = connection(&listening, reached);
    drop(server);
    drain(&client);
    drop(client);
    wait_for_time_wait(support::at(bound).port());
    listening
}

/// Tries to bind, checks that the kernel refuses with `EADDRINUSE`, and gives
/// the diagnosis, whose word on `SO_REUSEADDR` is tried out.
#[track_caller]
fn refused_bind(watch: &mut Watch, reuseaddr: bool) -> Value {
    refused_bind_at(watch, SERVER, reuseaddr)
}

/// The same for another address.
#[track_caller]
fn refused_bind_at(watch: &mut Watch, address: &str, reuseaddr: bool) -> Value {
    let port = support::at(address).port();
    let refuse = || {
        let refused = try_bind(address, reuseaddr).expect_err("the port is held");
        assert_eq!(refused, Errno::ADDRINUSE);
    };
    let diagnosis = watch.diagnosis_of("bind", port, refuse);
    let with_reuse = try_bind(address, true).is_ok();
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

/// The fix of this name.
#[track_caller]
fn fix(diagnosis: &Value, id: &str) -> Value {
    diagnosis["fixes"]
        .as_array()
        .and_then(|fixes| fixes.iter().find(|fix| fix["id"] == id))
        .unwrap_or_else(|| panic!("no fix {id}: {diagnosis}"))
        .clone()
}

/// The command of a fix.
#[track_caller]
fn command(diagnosis: &Value, id: &str) -> String {
    let fix = fix(diagnosis, id);
    fix["command"]
        .as_str()
        .unwrap_or_else(|| panic!("{id} has no command: {fix}"))
        .to_owned()
}

/// The one sentence.
fn summary(diagnosis: &Value) -> &str {
    diagnosis["summary"].as_str().unwrap_or_default()
}
