//! The program watching the matrix: what it says about each socket's calls.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use support::{TCPSTATE, patience};

/// The kernel does not run a program that it interrupts itself on one
/// processor; under load that happens a few times, and is told.
const MAX_LOST: u64 = 20;

/// What was said about one call.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) call: Value,
    pub(crate) diagnosis: Option<Value>,
    /// It is the second one, which takes the place of the first.
    is_completed: bool,
}

/// The running program.
pub(crate) struct Feed {
    child: Child,
    lines: Receiver<Value>,
    by_cookie: HashMap<u64, Vec<Heard>>,
    /// Position of a failed call to its socket and number.
    failed: HashMap<u64, (u64, usize)>,
    /// Failed calls, and diagnoses, so far.
    pub(crate) counts: (u64, u64),
    /// Events that the program said it lost.
    pub(crate) lost: u64,
    is_table_right: bool,
    /// What must not be.
    pub(crate) troubles: Vec<String>,
}

impl Feed {
    /// Starts the program on this thread's namespace, and returns once its
    /// hooks are on.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(TCPSTATE)
            .args(["watch", "--json", "--netns", "self"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::with_capacity(1 << 20, stdout).lines() {
                let line = line.expect("the output is text");
                // The tag comes first; states are another test's matter.
                let name = line.split('"').nth(3).expect("each line has its event");
                if !matches!(
                    name,
                    "header" | "bind" | "listen" | "connect" | "diagnosis" | "loss" | "footer"
                ) {
                    continue;
                }
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not JSON: {error}: {line}"));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut feed = Self {
            child,
            lines,
            by_cookie: HashMap::new(),
            failed: HashMap::new(),
            counts: (0, 0),
            lost: 0,
            is_table_right: true,
            troubles: Vec::new(),
        };
        assert!(feed.take_one(), "tcpstate says nothing");
        feed
    }

    /// What was said about this socket's calls, once all of them and the
    /// diagnosis of each failed one are there. Shorter: it did not come.
    pub(crate) fn take(&mut self, cookie: u64, calls: usize) -> Vec<Heard> {
        self.wait_for(cookie, calls);
        self.by_cookie.remove(&cookie).unwrap_or_default()
    }

    /// Reads on until all is there that [`take`](Self::take) gives.
    pub(crate) fn wait_for(&mut self, cookie: u64, calls: usize) {
        while !self.has_all(cookie, calls) && self.take_one() {}
    }

    /// Reads on until the program says that it has made up for its losses.
    pub(crate) fn wait_until_right(&mut self) {
        while !self.is_table_right && self.take_one() {}
    }

    /// Ends the program as ctrl-c would, and reads the rest.
    pub(crate) fn finish(mut self) -> Self {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)
            .expect("tcpstate is there to be ended");
        while self.take_one() {}
        let status = self.child.wait().expect("tcpstate ends");
        if !status.success() {
            self.troubles.push(format!("tcpstate ended with {status}"));
        }
        self
    }

    fn has_all(&self, cookie: u64, calls: usize) -> bool {
        calls == 0
            || self.by_cookie.get(&cookie).is_some_and(|heard| {
                heard.len() >= calls
                    && heard
                        .iter()
                        .all(|heard| !needs_diagnosis(&heard.call) || heard.is_explained())
            })
    }

    /// Takes in one line; `false`: none came.
    fn take_one(&mut self) -> bool {
        let Ok(event) = self.lines.recv_timeout(patience()) else {
            return false;
        };
        match event["event"].as_str().unwrap_or_default() {
            "bind" | "listen" | "connect" => self.take_call(event),
            "diagnosis" => self.take_diagnosis(event),
            "loss" => self.take_loss(&event),
            _ => {}
        }
        true
    }

    fn take_loss(&mut self, loss: &Value) {
        self.lost += loss["count"].as_u64().unwrap_or(0);
        self.is_table_right = loss["resynced"] == true;
        if self.lost > MAX_LOST {
            self.troubles.push(format!("events were lost: {loss}"));
        }
    }

    fn take_call(&mut self, call: Value) {
        let cookie = call["sock"]["cookie"].as_u64().unwrap_or(0);
        let heard = self.by_cookie.entry(cookie).or_default();
        if needs_diagnosis(&call) {
            let seq = call["seq"].as_u64().expect("seq is a number");
            self.failed.insert(seq, (cookie, heard.len()));
            self.counts.0 += 1;
        }
        heard.push(Heard {
            call,
            diagnosis: None,
            is_completed: false,
        });
    }

    fn take_diagnosis(&mut self, diagnosis: Value) {
        let of = diagnosis["of"].as_u64().unwrap_or(u64::MAX);
        let heard = self
            .failed
            .get(&of)
            .and_then(|(cookie, at)| self.by_cookie.get_mut(cookie)?.get_mut(*at));
        let Some(heard) = heard else {
            self.counts.1 += 1;
            self.troubles
                .push(format!("a diagnosis of no failed call: {diagnosis}"));
            return;
        };
        let is_first = heard.diagnosis.replace(diagnosis).is_none();
        heard.is_completed = !is_first;
        self.counts.1 += u64::from(is_first);
        if heard.is_explained() {
            self.failed.remove(&of);
        }
    }
}

impl Heard {
    /// With the names of processes, where they come too late for the first diagnosis.
    fn is_explained(&self) -> bool {
        let names_come_late = self.call["seen"]["processes_unread"] == "no_time";
        self.diagnosis.is_some() && (self.is_completed || !names_come_late)
    }
}

/// No port of this host stands in the way where there is no way to the peer.
fn needs_diagnosis(call: &Value) -> bool {
    call["ok"] == false && call["errno_name"] != "ENETUNREACH"
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
