//! The program watching the namespace of a test, and the events that it prints.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;

use crate::program::{TCPSTATE, patience};

/// Whether it reports such a call that failed.
fn is_failed(event: &Value, call: &str, port: u16) -> bool {
    event["event"] == call && event["ok"] == false && event["requested"]["port"] == port
}

/// How often a call is made whose event is lost.
const CALLS_AT_MOST: usize = 4;

/// The program watching this thread's namespace.
pub struct Watch {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Watch {
    /// Starts it, and returns once its hooks are on.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in("self", arguments)
    }

    /// The same for another namespace, or all of them.
    pub fn start_in(netns: &str, arguments: &[&str]) -> Self {
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

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What has come so far.
    #[must_use]
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Reads on until an event fits, and gives it.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
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
    pub fn read_for(&mut self, time: Duration) -> Vec<Value> {
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
    pub fn read_until(&mut self, mut fits: impl FnMut(&[Value]) -> bool) {
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

    /// The diagnosis of the first failed call of this kind on this port: with the names of
    /// processes, where they come too late for the first one.
    #[track_caller]
    pub fn diagnosis(&mut self, call: &str, port: u16) -> Value {
        let (failed, first) = self.first_diagnosis(call, port);
        if failed["seen"]["processes_unread"] != "no_time" {
            return first;
        }
        let of_it = |event: &&Value| event["event"] == "diagnosis" && event["of"] == failed["seq"];
        self.read_until(|seen| seen.iter().filter(of_it).count() > 1);
        self.seen.iter().rfind(of_it).cloned().unwrap_or(first)
    }

    /// The first failed call of this kind on this port, and the first that is said of it.
    #[track_caller]
    pub fn first_diagnosis(&mut self, call: &str, port: u16) -> (Value, Value) {
        let failed = self.wait_for(&format!("failed {call} on {port}"), |event| {
            is_failed(event, call, port)
        });
        let first = self.wait_for("its diagnosis", |event| {
            event["event"] == "diagnosis" && event["of"] == failed["seq"]
        });
        (failed, first)
    }

    /// The same for a call that is made here, and made again where its event was lost:
    /// some kernels run a hook for nobody else while they have interrupted it.
    #[track_caller]
    pub fn diagnosis_of(&mut self, call: &str, port: u16, make: impl Fn()) -> Value {
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
    pub fn finish(mut self) -> Vec<Value> {
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
pub fn listing(events: &[Value]) -> String {
    events
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// `old->new` of each transition of a socket, in order.
pub fn path_of(events: &[Value], local_port: u16, peer_port: u16) -> Vec<String> {
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
