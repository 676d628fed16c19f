//! `run`: programs under it behave as without it, and get, keep or hear of their ports.
//! Each story is told for root and for a user without any privilege.

mod container;
mod cost;
mod explains;
mod fallback;
mod hooks;
mod hostile;
mod keeps;
mod passed;
mod restarts;
mod servers;
mod terminal;
mod transparent;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tcpstate::clock;

use support::{Program, Requirement, TCPSTATE, patience, wait_until};

/// Who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Nobody,
}

pub(crate) const USERS: [User; 2] = [User::Root, User::Nobody];

/// What every one of these tests needs.
pub(crate) const SETPRIV: Requirement = Program("setpriv", "util-linux");
/// The system's own, which every user can run.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
pub(crate) const NEEDS_PYTHON: Requirement = Program(PYTHON, "python3");

const SERVER: &str = "127.0.0.1:8080";

/// A command as that user, whose programs are the system's.
pub(crate) fn as_user(user: User, program: &str) -> Command {
    let mut command = match user {
        User::Root => Command::new("env"),
        User::Nobody => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.args(["--inh-caps=-all", "env"]);
            command
        }
    };
    command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", program]);
    command.stdin(Stdio::null()).current_dir("/");
    command.env_remove("GITHUB_ACTIONS");
    command
}

/// `tcpstate run OPTIONS -- PROGRAM`.
fn run(user: User, options: &[&str], program: &[&str]) -> Command {
    let mut command = as_user(user, TCPSTATE.path());
    command
        .arg("run")
        .args(options)
        .arg("--")
        .args(program)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A folder from which programs may be run, set-user-id ones too.
fn folder_for_programs() -> tempfile::TempDir {
    let there = ["/var/tmp", "/tmp"];
    let there = there
        .into_iter()
        .find(|path| std::path::Path::new(path).is_dir());
    tempfile::tempdir_in(there.expect("one of them is there")).expect("there is room")
}

/// Whether the machine is as fast as it seems.
pub(crate) fn is_real_time() -> bool {
    std::env::var_os("TCPSTATE_EMULATED").is_none()
}

#[track_caller]
fn output(mut command: Command) -> Output {
    command.output().expect("it starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running `tcpstate run`, killed at the end.
struct Running(Child);

impl Running {
    #[track_caller]
    fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("it starts"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Ends it and gives what it said on stderr.
    #[track_caller]
    fn finish(mut self, signal: Option<Signal>) -> (Option<i32>, String) {
        if let Some(signal) = signal {
            self.signal(signal);
        }
        let mut said = Vec::new();
        if let Some(stderr) = &mut self.0.stderr {
            stderr.read_to_end(&mut said).expect("it can be read");
        }
        let status = self.0.wait().expect("it ends");
        (status.code(), text(&said))
    }

    /// The next line that the program prints.
    #[track_caller]
    fn line(&mut self) -> String {
        let stdout = self.0.stdout.take().expect("it is piped");
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        reader.read_line(&mut line).expect("it is text");
        self.0.stdout = Some(reader.into_inner());
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Children of a process, by pid.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[track_caller]
fn wait_until_serving(addr: &str) {
    let addr: SocketAddr = addr.parse().expect("an address");
    wait_until("somebody listens", || {
        TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
    });
}

/// A Python program that binds without any option, serves one connection after the other
/// with its pid, and is the first to close.
fn plain_server(addr: &str) -> [String; 3] {
    let (host, port) = addr.rsplit_once(':').expect("an address and a port");
    let host = host.trim_matches(['[', ']']);
    let family = if host.contains(':') { "INET6" } else { "INET" };
    [
        PYTHON.to_owned(),
        "-c".to_owned(),
        format!(
            "import os, socket\n\
             s = socket.socket(socket.AF_{family})\n\
             s.bind(('{host}', {port}))\n\
             s.listen(64)\n\
             print('serving', flush=True)\n\
             while True:\n\
             \x20   c, _ = s.accept()\n\
             \x20   c.sendall(str(os.getpid()).encode())\n\
             \x20   c.close()\n"
        ),
    ]
}

fn words<const N: usize>(program: &[String; N]) -> [&str; N] {
    program.each_ref().map(String::as_str)
}

fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(clock::monotonic_ns() - began_ns)
}
