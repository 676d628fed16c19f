//! Each way that a connection ends, on this kernel: it takes the path that the
//! recordings in `tests/traces` have. `UPDATE_EXPECT=1` makes them anew.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendFlags, Shutdown, send, shutdown, sockopt};
use serde_json::Value;
use tcpstate::event::State;

use crate::churn::{die_of_silence, fill, take_in, tcp_option};
use support::{
    Linux, Program, Watch, at, connection, count_listed, drain, listener, listing, on_stage, paths,
    socket, wait_for_time_wait, wait_until,
};

const SERVER: &str = "127.0.0.1:8080";

/// Goes the way, and gives back what stays open until its end was seen.
fn act(name: &str) -> Vec<OwnedFd> {
    let refused = || {
        rustix::net::connect(socket(at(SERVER)), &at(SERVER)).expect_err("nobody listens");
    };
    if name == "refused" {
        refused();
        return Vec::new();
    }
    let listening = listener(SERVER, true);
    if name == "listener_closed_with_child" {
        let client = socket(at(SERVER));
        rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
        drop(listening);
        return vec![client];
    }
    let (server, client) = connection(&listening, SERVER);
    match name {
        "server_closes_first" | "destroyed_time_wait" => {
            drop(server);
            drain(&client);
        }
        "client_closes_first" => {
            drop(client);
            drain(&server);
            return Vec::new();
        }
        "half_close" => {
            shutdown(&server, Shutdown::Write).expect("open");
            shutdown(&client, Shutdown::Write).expect("open");
            drain(&server);
        }
        "orphan_without_fin" => {
            drop(server);
            return vec![client];
        }
        "reset_by_linger_0" => {
            sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("open");
            drop(server);
        }
        "reset_by_unread_data" => {
            send(&client, b"never read", SendFlags::NOSIGNAL).expect("open");
            drop(server);
        }
        "simultaneous_close" => {
            for end in [&server, &client] {
                rustix::io::ioctl_fionbio(end, true).expect("a socket can be non-blocking");
                fill(end);
                shutdown(end, Shutdown::Write).expect("open");
            }
            for end in [&server, &client] {
                for _ in 0..100 {
                    take_in(end);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            drop(server);
        }
        "keepalive_death" => {
            die_of_silence(&server);
            let is_silent = std::process::Command::new("ip")
                .args([
                    "route",
                    "replace",
                    "blackhole",
                    "127.0.0.1",
                    "table",
                    "local",
                ])
                .status()
                .is_ok_and(|status| status.success());
            assert!(is_silent, "ip takes the route away");
            return vec![server, client];
        }
        "no_linger2" => {
            shutdown(&server, Shutdown::Write).expect("open");
            tcp_option(&server, libc::TCP_LINGER2, -1);
            wait_until("FIN_WAIT_2", || count_listed(8080, State::FinWait2) == 1);
            drop(server);
        }
        _ => panic!("nothing is known of {name}"),
    }
    drop(client);
    if name == "destroyed_time_wait" {
        wait_for_time_wait(8080);
        std::process::Command::new("ss")
            .args(["-Ktn", "state", "time-wait", "sport = :8080"])
            .output()
            .expect("ss runs");
    }
    Vec::new()
}

#[test]
fn connections_end_the_ways_that_are_recorded() {
    for path in paths::PATHS {
        // A namespace of its own: no TIME_WAIT of the one before.
        if !on_stage(&[
            Linux(6, 10, "reports an RST that no open socket sends"),
            Program("ss", "iproute2"),
        ]) {
            return;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join(format!("{}.jsonl", path.name));
        let name = file.to_str().expect("text");
        let mut watch = Watch::start(&["--port", "8080", "--record", name]);

        let open = act(path.name);
        // Some ends come by a timer, or are found by looking.
        let expected = path.as_shown();
        watch.read_until(|events| paths::shown(events) == expected);
        // Nothing follows them.
        watch.read_for(Duration::from_millis(300));
        let events = watch.finish();
        drop(open);

        assert_eq!(
            paths::shown(&events),
            expected,
            "{}: {}",
            path.name,
            listing(&events)
        );
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            bless(path.name, &file, &events);
        }
    }
}

/// Keeps the recording, without what it says about this machine.
fn bless(name: &str, file: &Path, events: &[Value]) {
    let own = std::env::current_exe().expect("Linux");
    let folder = file.parent().expect("it has one");
    let header = &events[0];
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let recorded = std::fs::read_to_string(file)
        .expect("it was recorded")
        .replace(&(text(folder) + "/"), "")
        .replace(support::TCPSTATE.path(), "tcpstate")
        .replace(&text(&own), "/usr/bin/peer")
        .replace(
            own.file_name()
                .and_then(|name| name.to_str())
                .expect("text"),
            "peer",
        )
        .replace(header["host"].as_str().expect("text"), "host")
        .replace(
            header["boot_id"].as_str().expect("text"),
            "00000000-0000-4000-8000-000000000000",
        );
    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/traces")
        .join(format!("{name}.jsonl"));
    std::fs::write(kept, recorded).expect("the folder is there");
}
