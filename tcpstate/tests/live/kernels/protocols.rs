//! What is TCP beside plain TCP, and what is not: MPTCP, the kernel's own
//! sockets, SCTP, DCCP.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use serde_json::Value;

use support::{Lacking, Program, Watch, at, drain, listing, on_stage, port_of, skip_for, try_bind};

const SERVER: &str = "127.0.0.1:8080";

/// A socket of another protocol; `None`: this kernel has none.
fn try_socket(kind: SocketType, protocol: u32) -> Option<OwnedFd> {
    let protocol = Protocol::from_raw(protocol.try_into().ok()?);
    rustix::net::socket_with(
        AddressFamily::INET,
        kind,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )
    .ok()
}

/// An MPTCP socket; `None`: the test is skipped.
fn mptcp() -> Option<OwnedFd> {
    let socket = try_socket(SocketType::STREAM, 262);
    if socket.is_none() {
        skip_for(Lacking {
            what: "this kernel has no MPTCP",
            since: Some((5, 15)),
        });
    }
    socket
}

fn reuse(socket: &OwnedFd) {
    rustix::net::sockopt::set_socket_reuseaddr(socket, true).expect("open");
}

/// An MPTCP server in a process of its own; its child accepts.
const SERVER_SCRIPT: &str = "
import os, signal, socket, sys
signal.alarm(25)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 8080)); s.listen()
pid = os.fork()
if pid: print(pid, flush=True)
else:
    signal.alarm(20)
    c, _ = s.accept(); c.recv(1); c.close()
sys.stdin.readline()
";

struct Server {
    child: Child,
    worker: u32,
}

impl Server {
    fn start() -> Self {
        use std::io::BufRead as _;
        use std::os::unix::process::CommandExt as _;
        let mut child = Command::new("python3")
            .args(["-c", SERVER_SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("python3 starts");
        let mut lines = std::io::BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("a line").expect("text");
        let worker = line.parse().expect("a number");
        Self { child, worker }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(input) = &mut self.child.stdin {
            let _ = input.write_all(b"\n\n");
        }
        drop(self.child.stdin.take());
        // The worker may still wait for somebody to connect.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn what_holds_a_port_over_mptcp_has_its_process() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let Some(ours) = mptcp() else { return };
    let mut watch = Watch::start(&["--port", "8080"]);
    let server = Server::start();

    // A plain socket and one of MPTCP are refused alike.
    assert!(try_bind(SERVER, true).is_err());
    reuse(&ours);
    assert_eq!(
        rustix::net::bind(&ours, &at(SERVER)).expect_err("somebody listens"),
        Errno::ADDRINUSE
    );
    let first = watch.diagnosis("bind", 8080);
    let second = watch.wait_for("the second diagnosis", |event| {
        event["event"] == "diagnosis" && event["seq"] != first["seq"]
    });

    for diagnosis in [&first, &second] {
        assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
        assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
        let holder = &diagnosis["holders"][0];
        assert_eq!(holder["process"]["pid"], server.child.id(), "{diagnosis}");
        let pids: Vec<&Value> = holder["processes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|process| &process["pid"])
            .collect();
        assert!(pids.contains(&&server.child.id().into()), "{diagnosis}");
        assert!(pids.contains(&&server.worker.into()), "{diagnosis}");
    }
    drop(server);
    watch.finish();
}

#[test]
fn a_connection_over_mptcp_is_one_socket_with_its_owners() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let Some(client) = mptcp() else { return };
    let mut watch = Watch::start(&["--port", "8080"]);
    let server = Server::start();
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    let peer = port_of(&client);
    rustix::net::send(&client, b"x", rustix::net::SendFlags::empty()).expect("open");
    let accept = watch.wait_for("the accept", |event| event["event"] == "accept");
    drain(&client);
    drop(client);
    let established = watch.wait_for("the connection", |event| {
        event["new"] == "established" && event["local"]["port"] == 8080
    });
    let entry = watch.wait_for("a TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter"
    });

    // The call's socket is the one that changes its states.
    assert_eq!(accept["process"]["pid"], server.worker, "{accept}");
    assert_eq!(accept["sock"]["cookie"], established["sock"]["cookie"]);
    assert_eq!(accept["peer"]["port"], peer);
    let (own, worker) = (std::process::id(), server.worker);
    drop(server);
    let events = watch.finish();
    // Nobody but the two ends is ever named; what the kernel's worker closes
    // is nobody's call.
    for event in events.iter().filter(|event| event["event"] == "tcp.state") {
        let pid = &event["process"]["pid"];
        if event["peer"]["port"] == 8080 {
            assert!(*pid == own || pid.is_null(), "{event}");
        }
        if event["local"]["port"] == 8080 && event["old"] == "established" {
            assert!(*pid == worker || pid.is_null(), "{event}");
        }
    }
    let side = if entry["local"]["port"] == 8080 {
        worker
    } else {
        own
    };
    let left_by = &entry["left_by"]["pid"];
    assert!(*left_by == side || left_by.is_null(), "{entry}");
}

#[test]
fn a_listen_over_mptcp_that_fails_does_not_count_itself() {
    if !on_stage(&[]) {
        return;
    }
    let (Some(first), Some(second)) = (mptcp(), mptcp()) else {
        return;
    };
    let mut watch = Watch::start(&["--port", "8080"]);
    for socket in [&first, &second] {
        reuse(socket);
        rustix::net::bind(socket, &at(SERVER)).expect("both set SO_REUSEADDR");
    }
    rustix::net::listen(&first, 1).expect("the first may");

    let refused = rustix::net::listen(&second, 1).expect_err("the second may not");

    assert_eq!(refused, Errno::ADDRINUSE);
    let diagnosis = watch.diagnosis("listen", 8080);
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
    assert_eq!(diagnosis["holders"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        diagnosis["holders"][0]["process"]["pid"],
        std::process::id()
    );
    watch.finish();
}

/// The path manager of MPTCP listens by itself on an endpoint with a port.
fn make_the_kernel_listen(port: u16) -> bool {
    let status = Command::new("ip")
        .args(["mptcp", "endpoint", "add", "127.0.0.1", "port"])
        .args([&port.to_string(), "signal"])
        .stderr(Stdio::null())
        .status();
    let is_done = status.is_ok_and(|status| status.success());
    if !is_done {
        skip_for(Lacking {
            what: "this kernel opens no socket of its own for an MPTCP endpoint",
            since: Some((6, 1)),
        });
    }
    is_done
}

#[test]
fn a_socket_of_the_kernel_itself_is_shown_as_the_kernels() {
    if !on_stage(&[Program("ip", "iproute2")]) || !make_the_kernel_listen(8080) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080-8081"]);
    let seen = watch.wait_for("the listener from before", |event| {
        event["event"] == "socket" && event["state"] == "listen"
    });
    assert_eq!(seen["process"]["comm"], "kernel", "{seen}");
    assert!(make_the_kernel_listen(8081));
    let listens = watch.wait_for("the listener made now", |event| {
        event["new"] == "listen" && event["local"]["port"] == 8081
    });
    // Not `ip`, which only asked for it.
    assert_eq!(listens["process"]["comm"], "kernel", "{listens}");
    assert_eq!(listens["process"]["pid"], 0, "{listens}");

    for port in [8080, 8081] {
        let refused = try_bind(&format!("127.0.0.1:{port}"), true);
        assert_eq!(refused.expect_err("the kernel listens"), Errno::ADDRINUSE);
        let diagnosis = watch.diagnosis("bind", port);
        assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
        let holder = &diagnosis["holders"][0];
        assert_eq!(holder["processes"][0]["comm"], "kernel", "{diagnosis}");
        assert_eq!(holder["process"]["comm"], "kernel", "{diagnosis}");
        let summary = diagnosis["summary"].as_str().expect("a sentence");
        assert!(summary.contains("the kernel"), "{summary}");
    }
    watch.finish();
}

#[test]
fn what_is_not_tcp_is_not_shown() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    // DCCP and SCTP where the kernel has them; UDP-Lite and UDP it has.
    let others = [
        (SocketType::STREAM, 132),
        (SocketType::from_raw(6), 33),
        (SocketType::DGRAM, 136),
        (SocketType::DGRAM, 17),
    ];
    let mut tried = 0;
    for (kind, protocol) in others {
        let (Some(first), Some(second)) = (try_socket(kind, protocol), try_socket(kind, protocol))
        else {
            println!("this kernel has no protocol {protocol}");
            continue;
        };
        rustix::net::bind(&first, &at(SERVER)).expect("free");
        let _ = rustix::net::listen(&first, 1);
        assert!(rustix::net::bind(&second, &at(SERVER)).is_err());
        tried += 1;
    }
    assert!(tried > 0, "UDP is always there");
    watch.wait_for("a tick", |event| event["event"] == "tick");

    let events = watch.finish();
    let shown: Vec<Value> = events
        .into_iter()
        .filter(|event| event["local"].is_object() || event["requested"].is_object())
        .collect();
    assert!(shown.is_empty(), "{}", listing(&shown));
}
