//! Servers of a different make, restarted under `watch`: a Python server,
//! socat, nginx.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, Watch, drain, on_stage, patience, run_around};

struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self(child)
    }

    fn stop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connects once somebody listens.
fn connect(address: &str) -> TcpStream {
    let deadline = patience().as_millis() / 20;
    (0..deadline)
        .find_map(|_| {
            TcpStream::connect(address).ok().or_else(|| {
                std::thread::sleep(Duration::from_millis(20));
                None
            })
        })
        .unwrap_or_else(|| panic!("nobody listens on {address}"))
}

fn listening(watch: &mut Watch, pid: u32) -> Value {
    watch.wait_for("the server's listen", |event| {
        event["event"] == "listen" && event["ok"] == true && event["process"]["pid"] == pid
    })
}

/// A server that answers one byte and closes first, without `SO_REUSEADDR`.
const PYTHON: &str = "
import socket, sys
s = socket.socket()
if 'reuse' in sys.argv: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 8081)); s.listen()
while True:
    c, _ = s.accept(); c.close()
";

#[test]
fn a_python_server_that_restarts_over_its_time_wait() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8081"]);
    let mut old = Server::start("python3", &["-c", PYTHON]);
    let old_pid = old.0.id();
    listening(&mut watch, old_pid);
    let client = connect("127.0.0.1:8081");
    drain(&client.into());
    watch.wait_for("TIME_WAIT", |event| event["event"] == "tcp.time_wait.enter");
    old.stop();

    let mut new = Server::start("python3", &["-c", PYTHON]);
    let new_pid = new.0.id();
    let diagnosis = watch.diagnosis("bind", 8081);
    assert!(
        !new.0.wait().expect("it ends").success(),
        "the kernel refused it"
    );

    assert_eq!(diagnosis["cause"], "time_wait_left_without_reuse");
    assert_eq!(diagnosis["holders"][0]["left_by"]["pid"], old_pid);
    assert!(
        diagnosis["holders"][0]["left_by"]["comm"]
            .as_str()
            .is_some_and(|comm| comm.starts_with("python"))
    );
    let call = watch.wait_for("the call", |event| {
        event["event"] == "bind" && event["ok"] == false
    });
    assert_eq!(call["process"]["pid"], new_pid);
    assert_eq!(call["process"]["ppid"], std::process::id());
    assert!(call["process"]["argv"][1] == "-c", "{call}");
    watch.finish();
}

#[test]
fn a_python_server_with_reuse_restarts_and_its_downtime_is_measured() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8081"]);
    let mut old = Server::start("python3", &["-c", PYTHON, "reuse"]);
    let old_pid = old.0.id();
    listening(&mut watch, old_pid);
    drain(&connect("127.0.0.1:8081").into());
    old.stop();
    std::thread::sleep(Duration::from_millis(300));

    let mut new = Server::start("python3", &["-c", PYTHON, "reuse"]);
    let new_pid = new.0.id();
    let restart = watch.wait_for("the restart", |event| event["event"] == "restart");

    assert_eq!(restart["port"], 8081);
    assert_eq!(
        (
            &restart["old_process"]["pid"],
            &restart["new_process"]["pid"]
        ),
        (&Value::from(old_pid), &Value::from(new_pid))
    );
    let downtime_ms = restart["downtime_ms"].as_u64().expect("a number");
    assert!((300..20_000).contains(&downtime_ms), "{downtime_ms} ms");
    assert_eq!(restart["failed_binds"], 0);
    new.stop();
    watch.finish();
}

#[test]
fn a_second_socat_is_told_about_the_first() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8082"]);
    let first = Server::start(
        "socat",
        &["TCP-LISTEN:8082,bind=127.0.0.1,fork", "EXEC:true"],
    );
    listening(&mut watch, first.0.id());

    let mut second = Server::start(
        "socat",
        &["TCP-LISTEN:8082,bind=127.0.0.1,fork", "EXEC:true"],
    );
    let diagnosis = watch.diagnosis("bind", 8082);
    assert!(
        !second.0.wait().expect("it ends").success(),
        "the kernel refused it"
    );

    assert_eq!(diagnosis["cause"], "active_listener");
    assert_eq!(diagnosis["holders"][0]["process"]["pid"], first.0.id());
    assert_eq!(diagnosis["holders"][0]["process"]["comm"], "socat");
    watch.finish();
}

#[test]
fn a_second_nginx_is_told_about_the_first() {
    if !on_stage(&[Program("nginx", "nginx-light")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let configuration = directory.path().join("nginx.conf");
    let text = format!(
        "daemon off; error_log /dev/null; pid {0}/nginx.pid; events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; \
         uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; server {{ listen 127.0.0.1:8083; }} }}",
        directory.path().display()
    );
    std::fs::write(&configuration, text).expect("there is room");
    let configuration = configuration
        .to_str()
        .expect("temporary paths are text")
        .to_owned();
    let mut watch = Watch::start(&["--port", "8083"]);
    let first = Server::start("nginx", &["-c", &configuration]);
    listening(&mut watch, first.0.id());

    let _second = Server::start("nginx", &["-c", &configuration]);
    let diagnosis = watch.diagnosis("bind", 8083);

    assert_eq!(diagnosis["cause"], "active_listener");
    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["comm"], "nginx");
    // The master made the socket, and the worker holds it, too.
    assert!(
        holder["processes"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["pid"] == first.0.id())),
        "{holder}"
    );
    watch.finish();
}

/// A Python server that is restarted over its TIME_WAIT while somebody watches.
fn failing_python_restart() {
    let mut old = Server::start("python3", &["-c", PYTHON]);
    drain(&connect("127.0.0.1:8081").into());
    old.stop();
    let mut new = Server::start("python3", &["-c", PYTHON]);
    assert!(
        !new.0.wait().expect("it ends").success(),
        "the kernel refused it"
    );
}

#[test]
fn a_failed_restart_reads_the_same_as_text() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let parts = [
        "established -> fin_wait_1",
        "bind         127.0.0.1:8081  FAILED EADDRINUSE  by python3[",
        "WHY          Port 8081 is still held by 1 connection in TIME_WAIT that python3[",
        "[time_wait_left_without_reuse]",
        "free in    about ",
        "setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
    ];

    let (text, _) = run_around(
        &["watch", "--netns", "self", "--port", "8081"],
        failing_python_restart,
        &parts,
    );

    for part in parts {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn a_failed_restart_shows_on_the_dashboard() {
    if !on_stage(&[Program("python3", "python3"), Program("tmux", "tmux")]) {
        return;
    }
    let terminal = Terminal::start(
        100,
        30,
        &format!("{TCPSTATE} watch --netns self --port 8081"),
    );
    terminal.wait_for(":8081");
    terminal.wait_for("lost 0");

    failing_python_restart();
    let screen = terminal.wait_for("time_wait_left_without_reuse");

    for part in [
        ":8081 DOWN",
        "cannot bind 127.0.0.1:8081",
        "EADDRINUSE",
        "python3[",
        "TIME_WAIT",
        "free in ",
    ] {
        assert!(screen.contains(part), "{part:?} is missing:\n{screen}");
    }
    terminal.keys(&["q"]);
}
