//! The program under test, as a process.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Far above what anything here takes; a test that hangs must end. Where a
/// machine is emulated, `TCPSTATE_PATIENCE` says how many seconds that is.
pub fn patience() -> Duration {
    let seconds = std::env::var("TCPSTATE_PATIENCE").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// The program under test: takes the place of its path in commands and in text.
#[derive(Clone, Copy, Debug)]
pub struct Tcpstate;

/// The program under test.
pub const TCPSTATE: Tcpstate = Tcpstate;

impl Tcpstate {
    /// Where it is.
    #[must_use]
    pub fn path(self) -> &'static str {
        // What runs the tests says so; else cargo has put it above the tests.
        static PATH: LazyLock<String> = LazyLock::new(|| {
            std::env::var("CARGO_BIN_EXE_tcpstate").unwrap_or_else(|_| beside_the_test())
        });
        &PATH
    }
}

fn beside_the_test() -> String {
    let test = std::env::current_exe().expect("Linux says what runs");
    let folder = test.parent().and_then(|deps| deps.parent());
    let program: PathBuf = folder.expect("cargo puts tests into deps").join("tcpstate");
    program.into_os_string().into_string().expect("text")
}

impl AsRef<OsStr> for Tcpstate {
    fn as_ref(&self) -> &OsStr {
        self.path().as_ref()
    }
}

impl fmt::Display for Tcpstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(TCPSTATE)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("tcpstate starts")
}

/// Runs the program, does something once its hooks are on, and ends it as ctrl-c
/// would once it has reported all of `parts`, or patience is at its end.
pub fn run_around(arguments: &[&str], act: fn(), parts: &[&str]) -> (String, ExitStatus) {
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
