//! Whose sockets they are: who listens, connects, accepts and closes first,
//! through forks, execs, passed descriptors, threads and short lives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use support::{Program, Watch, at, drain, listener, listing, on_stage, socket, try_bind};

const SERVER: &str = "127.0.0.1:8080";

/// A script that tells something per line and goes on when it is told to.
pub(crate) struct Script {
    child: Child,
    input: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Script {
    pub(crate) fn start(source: &str) -> Self {
        Self::run(Command::new("python3").args(["-c", &bounded(source)]))
    }

    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self {
            child,
            input,
            lines,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next number that it tells.
    pub(crate) fn number(&mut self) -> u32 {
        let line = self.lines.next().expect("it tells").expect("text");
        line.trim().parse().expect("a number")
    }

    /// The next object that it tells.
    pub(crate) fn json(&mut self) -> Value {
        let line = self.lines.next().expect("it tells").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    pub(crate) fn go_on(&mut self) {
        let input = self.input.as_mut().expect("it listens");
        input.write_all(b"\n").expect("it listens");
    }
}

/// A script that hangs must end.
pub(crate) fn bounded(source: &str) -> String {
    format!("import signal; signal.alarm(25)\n{source}")
}

impl Drop for Script {
    fn drop(&mut self) {
        // Children that a script leaves behind read the same input, and end.
        drop(self.input.take());
        std::thread::sleep(Duration::from_millis(50));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn failed_bind(watch: &mut Watch) -> Value {
    assert!(try_bind(SERVER, true).is_err(), "the port is held");
    watch.diagnosis("bind", 8080)
}

pub(crate) fn pids(processes: &Value) -> Vec<u64> {
    processes
        .as_array()
        .expect("a list")
        .iter()
        .map(|process| process["pid"].as_u64().expect("a number"))
        .collect()
}

const FORK: &str = "
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 8080)); s.listen()
pid = os.fork()
if pid:
    print(pid, flush=True)
    os._exit(0)
sys.stdin.readline()
";

#[test]
fn a_child_that_keeps_the_listener_of_a_dead_parent_is_named_as_having_it() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::start(FORK);
    let (parent, child) = (script.pid(), script.number());
    script.child.wait().expect("it ends");

    // Without a failed call: it is asked who has it.
    let heirs = watch.wait_for("who has it now", |event| {
        event["event"] == "socket" && event["processes"].is_array()
    });
    assert_eq!(pids(&heirs["processes"]), [u64::from(child)]);
    assert_eq!(heirs["processes"][0]["via"], "proc");

    // It runs what its parent ran: for all that can be seen, it is the server.
    let diagnosis = failed_bind(&mut watch);
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    let holder = &diagnosis["holders"][0];
    assert_eq!(
        (&holder["process"]["pid"], &holder["process"]["via"]),
        (&Value::from(parent), &Value::from("tracked"))
    );
    assert_eq!(pids(&holder["processes"]), [u64::from(child)]);

    // The restart is from the one that had it to the one that has it.
    script.go_on();
    watch.wait_for("its end", |event| {
        event["event"] == "tcp.state" && event["old"] == "listen"
    });
    let _again = listener(SERVER, true);
    let restart = watch.wait_for("the restart", |event| event["event"] == "restart");
    assert_eq!(restart["old_process"]["pid"], child, "{restart}");
    assert_eq!(restart["new_process"]["pid"], std::process::id());
    watch.finish();
}

const EXEC: &str = "
import os, socket
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
s.set_inheritable(True)
print(1, flush=True)
os.execvp('sleep', ['sleep', '20'])
";

#[test]
fn a_process_that_has_become_another_program_is_named_as_it_is_now() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::start(EXEC);
    script.number();
    let link = format!("/proc/{}/exe", script.pid());
    while std::fs::read_link(&link).is_ok_and(|exe| exe.to_string_lossy().contains("python")) {
        std::thread::sleep(Duration::from_millis(5));
    }

    let diagnosis = failed_bind(&mut watch);

    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["comm"], "python3", "as it listened");
    assert_eq!(holder["processes"][0]["comm"], "sleep", "as it is");
    assert_eq!(holder["processes"][0]["argv"][0], "sleep");
    assert_eq!(pids(&holder["processes"]), [u64::from(script.pid())]);
    let summary = diagnosis["summary"].as_str().expect("a sentence");
    assert!(summary.contains("sleep["), "{summary}");
    watch.finish();
}

const PASSED: &str = "
import os, socket, sys
ours, theirs = socket.socketpair()
pid = os.fork()
if pid:
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', 8080)); s.listen()
    socket.send_fds(ours, [b'x'], [s.fileno()])
    print(pid, flush=True)
    os._exit(0)
_, fds, _, _ = socket.recv_fds(theirs, 1, 1)
s = socket.socket(fileno=fds[0])
sys.stdin.readline()
c, _ = s.accept()
c.close()
sys.stdin.readline()
";

#[test]
fn who_was_handed_a_listener_accepts_and_closes_in_his_own_name() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::start(PASSED);
    let (creator, heir) = (script.pid(), script.number());
    script.child.wait().expect("it ends");
    script.go_on();
    let client = socket(at(SERVER));
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    drain(&client);
    drop(client);

    let accept = watch.wait_for("the accept", |event| event["event"] == "accept");
    assert_eq!(
        (&accept["process"]["pid"], &accept["process"]["via"]),
        (&Value::from(heir), &Value::from("syscall"))
    );
    let entry = watch.wait_for("the TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter"
    });
    assert_eq!(entry["left_by"]["pid"], heir, "{entry}");
    let diagnosis = failed_bind(&mut watch);
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["pid"], creator);
    assert_eq!(pids(&holder["processes"]), [u64::from(heir)]);
    watch.finish();
}

/// As systemd starts a service: the descriptor is number 3 and announced.
const ACTIVATED: &str = "
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 8080)); s.listen()
pid = os.fork()
if pid:
    print(pid, flush=True)
    sys.stdin.readline()
    os._exit(0)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execvp('python3', ['python3', '-c', '''
import os, socket
assert os.environ[\"LISTEN_FDS\"] == \"1\" and os.environ[\"LISTEN_PID\"] == str(os.getpid())
s = socket.socket(fileno=3)
c, _ = s.accept(); c.close()
c, _ = s.accept(); c.recv(1)
'''])
";

#[test]
fn an_activated_service_is_told_from_the_one_that_opened_its_socket() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::start(ACTIVATED);
    let (manager, service) = (script.pid(), script.number());
    let first = socket(at(SERVER));
    rustix::net::connect(&first, &at(SERVER)).expect("somebody listens");
    drain(&first);
    drop(first);
    let second = socket(at(SERVER));
    rustix::net::connect(&second, &at(SERVER)).expect("somebody listens");

    let listen = watch.wait_for("the listen", |event| event["event"] == "listen");
    assert_eq!(listen["process"]["pid"], manager);
    let entry = watch.wait_for("the TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter"
    });
    assert_eq!(entry["left_by"]["pid"], service, "{entry}");
    let diagnosis = failed_bind(&mut watch);
    // The manager has it as well: nothing was left behind.
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    let mut expected = [u64::from(manager), u64::from(service)];
    expected.sort_unstable();
    assert_eq!(pids(&diagnosis["holders"][0]["processes"]), expected);
    drop(second);
    watch.finish();
}

#[test]
fn a_thread_acts_in_the_name_of_its_process() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let client = socket(at(SERVER));
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");

    let tid = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let flags = rustix::net::SocketFlags::CLOEXEC;
            drop(rustix::net::accept_with(&listening, flags).expect("one waits"));
            rustix::thread::gettid().as_raw_nonzero().get()
        });
        worker.join().expect("it works")
    });
    drain(&client);
    drop(client);

    let entry = watch.wait_for("the TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter"
    });
    assert_eq!(entry["left_by"]["pid"], std::process::id());
    assert_eq!(entry["left_by"]["tid"], tid, "{entry}");
    assert_eq!(entry["left_by"]["via"], "syscall");
    let events = watch.finish();
    assert!(
        events.iter().all(|event| event["event"] != "accept"),
        "its own accept is no news: {}",
        listing(&events)
    );
}

/// Connects, closes first, and is gone.
const HASTY: &str = "
import os, socket
c = socket.create_connection(('127.0.0.1', 8080)); c.close(); os._exit(0)
";

#[test]
fn a_client_that_is_gone_at_once_is_known_all_the_same() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let mut script = Script::start(HASTY);
    let pid = script.pid();
    assert!(script.child.wait().expect("it ends").success());
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let server = rustix::net::accept_with(&listening, flags).expect("one waits");
    drain(&server);
    drop(server);

    let entry = watch.wait_for("the client's TIME_WAIT", |event| {
        event["event"] == "tcp.time_wait.enter" && event["peer"]["port"] == 8080
    });
    assert_eq!(entry["left_by"]["pid"], pid);
    assert_eq!(entry["left_by"]["comm"], "python3");
    watch.finish();
}

/// Over loopback the other side's events run on top of whoever sent the packet.
#[test]
fn nobody_is_blamed_for_what_a_softirq_did_on_top_of_him() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let client = "
import socket, sys
for _ in range(40):
    c = socket.create_connection(('127.0.0.1', 8080))
    c.send(b'x'); c.recv(1); c.recv(1)
    c.close()
for _ in range(40):
    c = socket.create_connection(('127.0.0.1', 8080))
    c.send(b'x'); c.recv(1)
    c.close()
sys.stdin.readline()
";
    let mut watch = Watch::start(&["--port", "8080"]);
    let listening = listener(SERVER, true);
    let script = Script::start(client);
    for round in 0..80 {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let server = rustix::net::accept_with(&listening, flags).expect("one comes");
        let mut byte = [0];
        rustix::net::recv(&server, &mut byte[..], rustix::net::RecvFlags::empty()).expect("a byte");
        rustix::net::send(&server, b"y", rustix::net::SendFlags::NOSIGNAL).expect("open");
        if round >= 40 {
            drain(&server);
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let (own, other) = (std::process::id(), script.pid());
    drop(script);
    watch.wait_for("a tick", |event| event["event"] == "tick");

    let events = watch.finish();
    let mut named = 0;
    for event in events.iter().filter(|event| event["event"] == "tcp.state") {
        let side = if event["local"]["port"] == 8080 {
            own
        } else {
            other
        };
        if let Some(pid) = event["process"]["pid"].as_u64() {
            assert_eq!(pid, u64::from(side), "{event}");
            named += 1;
        }
    }
    assert!(named > 80 * 6, "only {named} events name anybody");
    for event in events
        .iter()
        .filter(|event| event["event"] == "tcp.time_wait.enter")
    {
        let side = if event["local"]["port"] == 8080 {
            own
        } else {
            other
        };
        assert_eq!(event["left_by"]["pid"], side, "{event}");
    }
}
