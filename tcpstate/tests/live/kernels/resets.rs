//! Resets: which way they went, why, and what only looks like one.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Command;
use std::time::Duration;

use rustix::net::{SendFlags, Shutdown, shutdown};
use serde_json::Value;
use tcpstate::clock;

use support::{
    Linux, Program, Watch, at, connection, drain, listener, listing, on_stage, patience, port_of,
    socket, ss,
};

const SERVER: &str = "127.0.0.1:8080";

/// A listener and one connection through it.
struct Stage {
    listening: Option<OwnedFd>,
    server: Option<OwnedFd>,
    client: Option<OwnedFd>,
}

impl Stage {
    fn new() -> Self {
        let listening = listener(SERVER, true);
        let (server, client) = connection(&listening, SERVER);
        Self {
            listening: Some(listening),
            server: Some(server),
            client: Some(client),
        }
    }

    fn server(&self) -> &OwnedFd {
        self.server.as_ref().expect("not closed yet")
    }

    fn client(&self) -> &OwnedFd {
        self.client.as_ref().expect("not closed yet")
    }
}

fn abort(socket: OwnedFd) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("open");
    drop(socket);
}

fn send(socket: &OwnedFd) {
    let _ = rustix::net::send(socket, b"late", SendFlags::NOSIGNAL);
}

fn wait() {
    std::thread::sleep(Duration::from_millis(30));
}

/// One way to a reset, and what is told of it: `direction state reason`, on
/// the server's side (`S`) or the client's (`C`). The reason is that of Linux
/// 6.12 and later; older ones tell none.
struct Case {
    name: &'static str,
    act: fn(&mut Stage),
    told: &'static [&'static str],
}

/// In `net/ipv4`: `tcp.c`, `tcp_input.c`, `tcp_ipv4.c`, `tcp_minisocks.c`.
const CASES: [Case; 12] = [
    Case {
        name: "SO_LINGER 0",
        act: |stage| abort(stage.server.take().expect("open")),
        told: &["C received established", "S sent closed tcp_state"],
    },
    Case {
        name: "close with unread data",
        act: |stage| {
            send(stage.client());
            wait();
            drop(stage.server.take());
        },
        told: &["C received established", "S sent closed tcp_abort_on_close"],
    },
    Case {
        name: "destroyed from outside (ss -K)",
        act: |_| {
            let status = Command::new("ss")
                .args(["-Ktn", "state", "established", "sport = :8080"])
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.expect("ss runs").success());
        },
        told: &["C received established", "S sent established tcp_state"],
    },
    Case {
        name: "a listener that is closed with a connection not yet accepted",
        act: |stage| {
            let waiting = socket(at(SERVER));
            rustix::net::connect(&waiting, &at(SERVER)).expect("it listens");
            drop(stage.listening.take());
            wait();
            drop(waiting);
        },
        told: &["C received established", "S sent closed tcp_state"],
    },
    Case {
        name: "a port that nobody listens on",
        act: |stage| {
            drop(stage.listening.take());
            let refused = socket(at(SERVER));
            assert!(rustix::net::connect(&refused, &at(SERVER)).is_err());
        },
        told: &["C received syn_sent", "S sent - no_socket"],
    },
    Case {
        name: "data for an orphan in FIN_WAIT_2",
        act: |stage| {
            drop(stage.server.take());
            wait();
            send(stage.client());
        },
        told: &[
            "C received close_wait",
            "S sent fin_wait_2 tcp_timewait_socket",
        ],
    },
    Case {
        name: "data for a socket that is shut down: no RST was received",
        act: |stage| {
            shutdown(stage.server(), Shutdown::Both).expect("open");
            wait();
            send(stage.client());
        },
        told: &["C received close_wait", "S sent closed tcp_abort_on_data"],
    },
    Case {
        name: "a peer that aborts while we wait for its FIN",
        act: |stage| {
            shutdown(stage.server(), Shutdown::Write).expect("open");
            wait();
            abort(stage.client.take().expect("open"));
        },
        told: &["S received fin_wait_2", "C sent closed tcp_state"],
    },
    Case {
        name: "a peer that aborts although we do not receive any more",
        act: |stage| {
            shutdown(stage.server(), Shutdown::Both).expect("open");
            wait();
            abort(stage.client.take().expect("open"));
        },
        told: &["S received fin_wait_2", "C sent closed tcp_state"],
    },
    Case {
        name: "a server that aborts with the peer's FIN there",
        act: |stage| {
            shutdown(stage.client(), Shutdown::Write).expect("open");
            until_acknowledged();
            abort(stage.server.take().expect("open"));
        },
        told: &["C received fin_wait_2", "S sent closed tcp_state"],
    },
    Case {
        name: "an orderly close",
        act: |stage| {
            drop(stage.server.take());
            drain(stage.client());
            drop(stage.client.take());
        },
        told: &[],
    },
    Case {
        name: "TCP_LINGER2 < 0",
        act: |stage| {
            // No time for the peer's FIN: RST instead of FIN_WAIT_2.
            shutdown(stage.server(), Shutdown::Write).expect("open");
            until_acknowledged();
            linger2(stage.server());
            drop(stage.server.take());
        },
        told: &["C received close_wait", "S sent closed tcp_abort_on_linger"],
    },
];

/// Until the peer has acknowledged the FIN that was sent: an acknowledgement that
/// comes after an RST is answered by another one.
fn until_acknowledged() {
    let began_ns = clock::monotonic_ns();
    while ss(&["state", "fin-wait-2", "( sport = :8080 or dport = :8080 )"]).is_empty() {
        assert!(
            clock::monotonic_ns() - began_ns
                < u64::try_from(patience().as_nanos()).expect("seconds")
        );
        wait();
    }
}

/// `TCP_LINGER2` below 0.
#[expect(unsafe_code, reason = "no safe wrapper for this option")]
fn linger2(socket: &OwnedFd) {
    let value: libc::c_int = -1;
    // SAFETY: the descriptor is open, and the value is as long as it is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_LINGER2,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn each_reset_is_told_once_with_its_direction_state_and_reason() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    for Case { name, act, told } in CASES {
        let mut watch = Watch::start(&["--port", "8080"]);
        let mut stage = Stage::new();
        act(&mut stage);
        watch.wait_for("a tick", |event| event["event"] == "tick");
        let events = watch.finish();
        // What the clean-up does is not part of the case.
        drop(stage);

        let mut found: Vec<String> = events
            .iter()
            .filter(|event| event["event"] == "tcp.reset")
            .map(line)
            .collect();
        found.sort();
        let mut expected: Vec<String> = told
            .iter()
            .filter_map(|line| without_unknown(line, &events))
            .collect();
        expected.sort();
        assert_eq!(found, expected, "{name}\n{}", listing(&events));
        assert_nobody_is_blamed(name, &events);
    }
}

fn line(event: &Value) -> String {
    let word = |field: &str| event[field].as_str().unwrap_or("-").to_owned();
    let side = if event["local"]["port"] == 8080 {
        "S"
    } else {
        "C"
    };
    let reason = match event["reason"].as_str() {
        Some(reason) => format!(" {reason}"),
        None => String::new(),
    };
    format!("{side} {} {}{reason}", word("direction"), word("state"))
}

/// The line as a kernel without reasons tells it, which passes over what no open
/// socket sends.
fn without_unknown(line: &str, events: &[Value]) -> Option<String> {
    let has_reasons = events[0]["probes"].as_array().is_some_and(|probes| {
        probes.iter().any(|probe| {
            probe["name"] == "resets without a socket" && probe["status"] == "attached"
        })
    });
    if has_reasons {
        return Some(line.to_owned());
    }
    let words: Vec<&str> = line.split(' ').collect();
    let has_socket = !matches!(words.get(3), Some(&("no_socket" | "tcp_timewait_socket")));
    has_socket.then(|| words[..3].join(" "))
}

/// This process is both ends here: nobody else may be named.
fn assert_nobody_is_blamed(name: &str, events: &[Value]) {
    for event in events.iter().filter(|event| event["event"] == "tcp.reset") {
        let pid = &event["process"]["pid"];
        assert!(
            pid.is_null() || *pid == std::process::id(),
            "{name}: {event}\n{}",
            listing(events)
        );
        if event["direction"] == "received" {
            assert_ne!(event["process"]["via"], "syscall", "{name}: {event}");
        }
    }
}

#[test]
fn a_reset_after_silence_has_its_reason() {
    if !on_stage(&[
        Linux(6, 10, "says why it sends an RST"),
        Program("ip", "iproute2"),
    ]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let stage = Stage::new();
    let peer = port_of(stage.client());
    let server = stage.server();
    keep_alive(server);
    // From here on nothing arrives any more.
    let down = Command::new("ip")
        .args(["link", "set", "lo", "down"])
        .status();
    assert!(down.expect("ip runs").success());

    let sent = watch.wait_for("the RST", |event| {
        event["event"] == "tcp.reset" && event["local"]["port"] == 8080
    });

    assert_eq!(sent["direction"], "sent");
    assert_eq!(sent["peer"]["port"], peer);
    assert_eq!(sent["reason"], "tcp_keepalive_timeout", "{sent}");
    assert_ne!(sent["process"]["via"], "syscall", "a timer sent it");
    let closed = watch.wait_for("its end", |event| {
        event["new"] == "closed" && event["local"]["port"] == 8080
    });
    assert_eq!(closed["error"], "ETIMEDOUT", "{closed}");
    watch.finish();
}

/// A keep-alive that gives up after two seconds.
fn keep_alive(socket: &OwnedFd) {
    use rustix::net::sockopt;
    let fd = socket.as_fd();
    let second = Duration::from_secs(1);
    sockopt::set_socket_keepalive(fd, true).expect("open");
    sockopt::set_tcp_keepidle(fd, second).expect("open");
    sockopt::set_tcp_keepintvl(fd, second).expect("open");
    sockopt::set_tcp_keepcnt(fd, 1).expect("open");
}
