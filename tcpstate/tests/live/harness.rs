//! A namespace for the test's thread, the program watching it, and sockets.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_json::Value;
use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::event::State;

/// Far above what anything here takes; a test that hangs must end. Where a
/// machine is emulated, `TCPSTATE_PATIENCE` says how many seconds that is.
pub(crate) fn patience() -> Duration {
    let seconds = std::env::var("TCPSTATE_PATIENCE").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// The program under test.
pub(crate) const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// Moves the test's thread into a private namespace. `false`: it cannot, and
/// has said why; the test is skipped.
#[must_use]
pub(crate) fn on_stage() -> bool {
    match namespace::enter_private() {
        Ok(_) => true,
        Err(error) => {
            skip(&format!("live tests need root: {error}"));
            false
        }
    }
}

/// The same, and gives the thread a table of descriptors of its own: for tests in
/// which a socket must be closed when it is closed. A program that another test
/// starts holds every socket of this process from its fork to its exec, which on
/// a busy machine is long enough to be refused by. `/proc` lists the descriptors
/// of the first thread only, so such a test has no holders that are still alive.
#[must_use]
#[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
pub(crate) fn on_stage_alone() -> bool {
    // SAFETY: the table is the thread's own from here on; the thread has just
    // begun, and uses none of the others' descriptors that are closed in it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    on_stage()
}

/// Says what was counted, also where the test's output is not shown.
pub(crate) fn tell(counts: &str) {
    println!("{counts}");
    if let Some(path) = std::env::var_os("TCPSTATE_TOLD") {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the list of counts can be written");
        writeln!(file, "{counts}").expect("the list of counts can be written");
    }
}

/// Notes that a test could not run here. Fails where every test must run.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("TCPSTATE_REQUIRE_LIVE").is_none(),
        "this test must run here, but: {why}"
    );
    println!("skipped: {why}");
    if let Some(path) = std::env::var_os("TCPSTATE_SKIPPED") {
        use std::io::Write as _;
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the list of skipped tests can be written");
        writeln!(file, "{name}: {why}").expect("the list of skipped tests can be written");
    }
}

/// Whether a program is installed; if not, the test is skipped.
#[must_use]
pub(crate) fn has(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).exists());
    if !is_there {
        skip(&format!(
            "{program} is not installed: apt-get install -y {package}"
        ));
    }
    is_there
}

/// Whether it tells of such a call that failed.
fn is_failed(event: &Value, call: &str, port: u16) -> bool {
    event["event"] == call && event["ok"] == false && event["requested"]["port"] == port
}

/// How often a call is made whose event is lost.
const CALLS_AT_MOST: usize = 4;

/// The program watching this thread's namespace.
pub(crate) struct Watch {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Watch {
    /// Starts it, and returns once its hooks are on.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in("self", arguments)
    }

    /// The same for another namespace, or all of them.
    pub(crate) fn start_in(netns: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(TCPSTATE)
            .args(["watch", "--json", "--netns", netns])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("the output is text");
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not JSON: {error}: {line}"));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut watch = Self {
            child,
            lines,
            seen: Vec::new(),
        };
        watch.wait_for("the header", |event| event["event"] == "header");
        watch
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What has come so far.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Reads on until an event fits, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(event) = self.seen.iter().find(|event| fits(event)) {
            return event.clone();
        }
        // Ticks come every second, so a gap between events is not enough.
        let deadline =
            clock::monotonic_ns() + u64::try_from(patience().as_nanos()).expect("seconds");
        loop {
            let left = Duration::from_nanos(deadline.saturating_sub(clock::monotonic_ns()));
            match self.lines.recv_timeout(left) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if fits(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!(
                    "no {what} within {:?}; seen:\n{}",
                    patience(),
                    listing(&self.seen)
                ),
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "tcpstate ended without {what}; seen:\n{}",
                    listing(&self.seen)
                ),
            }
        }
    }

    /// Reads on for a while, and gives what came.
    pub(crate) fn read_for(&mut self, time: Duration) -> Vec<Value> {
        let before = self.seen.len();
        let deadline_ns = clock::monotonic_ns() + u64::try_from(time.as_nanos()).expect("short");
        loop {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(clock::monotonic_ns()));
            match self.lines.recv_timeout(left) {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("tcpstate ended"),
            }
        }
        self.seen[before..].to_vec()
    }

    /// Reads on until the events fit, or patience is at its end.
    pub(crate) fn read_until(&mut self, fits: impl Fn(&[Value]) -> bool) {
        let deadline_ns =
            clock::monotonic_ns() + u64::try_from(patience().as_nanos()).expect("seconds");
        while !fits(&self.seen) {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(clock::monotonic_ns()));
            match self.lines.recv_timeout(left) {
                Ok(event) => self.seen.push(event),
                Err(_) => break,
            }
        }
    }

    /// The diagnosis of the first failed call of this kind on this port.
    #[track_caller]
    pub(crate) fn diagnosis(&mut self, call: &str, port: u16) -> Value {
        let failed = self.wait_for(&format!("failed {call} on {port}"), |event| {
            is_failed(event, call, port)
        });
        let seq = failed["seq"].clone();
        self.wait_for("its diagnosis", |event| {
            event["event"] == "diagnosis" && event["of"] == seq
        })
    }

    /// The same for a call that is made here, and made again where its event was lost:
    /// some kernels run a hook for nobody else while they have interrupted it.
    #[track_caller]
    pub(crate) fn diagnosis_of(&mut self, call: &str, port: u16, make: impl Fn()) -> Value {
        let is_failed = |event: &Value| is_failed(event, call, port);
        let is_loss = |event: &Value| event["event"] == "loss" && event["count"] != 0;
        for _ in 0..CALLS_AT_MOST {
            let before = self.seen.len();
            make();
            self.read_until(|seen| {
                let new = &seen[before..];
                new.iter().any(|event| is_failed(event) || is_loss(event))
            });
            let new = &self.seen[before..];
            if new.iter().any(is_failed) || !new.iter().any(is_loss) {
                break;
            }
        }
        self.diagnosis(call, port)
    }

    /// Ends it as ctrl-c would, and gives all events.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<Value> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)
            .expect("tcpstate is there to be ended");
        let footer = self.wait_for("the footer", |event| event["event"] == "footer");
        let status = self.child.wait().expect("tcpstate ends");
        assert!(status.success(), "tcpstate ended with {status}");
        assert_eq!(footer["ended"], "sigint");
        let seqs: Vec<u64> = self
            .seen
            .iter()
            .map(|event| event["seq"].as_u64().expect("seq is a number"))
            .collect();
        assert!(
            seqs.iter().enumerate().all(|(at, seq)| at as u64 == *seq),
            "seq has gaps: {seqs:?}"
        );
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Events as text, for a failing test.
pub(crate) fn listing(events: &[Value]) -> String {
    events
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(TCPSTATE)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("tcpstate starts")
}

/// Runs the program, does something once its hooks are on, and ends it as ctrl-c
/// would once it has told of all of `parts`, or patience is at its end.
pub(crate) fn run_around(arguments: &[&str], act: fn(), parts: &[&str]) -> (String, ExitStatus) {
    let mut child = Command::new(TCPSTATE)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tcpstate starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if sender.send(line.expect("the output is text")).is_err() {
                break;
            }
        }
    });
    let mut text = String::new();
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
        parts.iter().all(|part| text.contains(part))
    };
    add(&lines.recv().expect("there is a header"));
    act();
    while let Ok(line) = lines.recv_timeout(patience()) {
        if add(&line) {
            break;
        }
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )
    .expect("tcpstate is there to be ended");
    for line in lines {
        add(&line);
    }
    (text, child.wait().expect("it ends"))
}

/// What `ss` lists in this namespace, a line per socket.
pub(crate) fn ss(arguments: &[&str]) -> Vec<String> {
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

/// Closes a listener and waits until the kernel has it no longer.
pub(crate) fn stop_listening(listening: OwnedFd) {
    let port = rustix::net::getsockname(&listening)
        .and_then(SocketAddr::try_from)
        .expect("it is bound")
        .port();
    drop(listening);
    wait_until_gone(port, State::Listen);
}

/// Waits until the kernel has no such socket of this port: a program that another test
/// starts holds what was closed, too, from its fork to its exec.
pub(crate) fn wait_until_gone(port: u16, state: State) {
    let deadline_ns = clock::monotonic_ns() + 10_000_000_000;
    while count_listed(port, state) > 0 {
        assert!(clock::monotonic_ns() < deadline_ns, "somebody keeps {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many such sockets of this port the kernel's own tables of this namespace list.
pub(crate) fn count_listed(port: u16, state: State) -> usize {
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

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("test addresses are valid")
}

/// A TCP socket without any option.
pub(crate) fn socket(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    // Without close-on-exec the programs that other tests start would hold it, too.
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket can be made")
}

/// Binds; the errno is the kernel's answer.
pub(crate) fn try_bind(address: &str, reuseaddr: bool) -> Result<OwnedFd, rustix::io::Errno> {
    let address = at(address);
    let socket = socket(address);
    rustix::net::sockopt::set_socket_reuseaddr(&socket, reuseaddr)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Binds and listens.
pub(crate) fn listener(address: &str, reuseaddr: bool) -> OwnedFd {
    let socket = try_bind(address, reuseaddr).expect("the port is free");
    rustix::net::listen(&socket, 64).expect("nobody else listens");
    socket
}

/// A connection through a listener: (server's side, client's side).
pub(crate) fn connection(listener: &OwnedFd, address: &str) -> (OwnedFd, OwnedFd) {
    let client = socket(at(address));
    rustix::net::connect(&client, &at(address)).expect("somebody listens");
    (
        rustix::net::accept_with(listener, SocketFlags::CLOEXEC).expect("a connection waits"),
        client,
    )
}

/// Reads until the peer's FIN or RST.
pub(crate) fn drain(socket: &OwnedFd) {
    let mut file = std::fs::File::from(socket.try_clone().expect("a descriptor can be doubled"));
    let mut rest = Vec::new();
    let _ = file.read_to_end(&mut rest);
}

/// Local port of a socket.
pub(crate) fn port_of(socket: &OwnedFd) -> u16 {
    SocketAddr::try_from(rustix::net::getsockname(socket).expect("a socket has a name"))
        .expect("it is an IP socket")
        .port()
}

/// `old->new` of each transition of a socket, in order.
pub(crate) fn path_of(events: &[Value], local_port: u16, peer_port: u16) -> Vec<String> {
    events
        .iter()
        .filter(|event| {
            event["event"] == "tcp.state"
                && event["local"]["port"] == local_port
                && event["peer"]["port"] == peer_port
        })
        .map(|event| {
            format!(
                "{}->{}",
                event["old"].as_str().unwrap_or("?"),
                event["new"].as_str().unwrap_or("?")
            )
        })
        .collect()
}
