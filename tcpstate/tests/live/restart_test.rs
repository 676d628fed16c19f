//! `restart-test`: servers with each fault that keeps them from restarting, and without any.
//! Each is told for root and for a user without any privilege.

mod dashboard;
mod ends;
mod faults;
mod places;
mod programs;
mod ready;
mod ways;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::TCPSTATE;
use tempfile::TempDir;

use super::run::{NEEDS_PYTHON, PYTHON, SETPRIV, USERS, User, as_user, is_real_time, text};

/// What every server here begins with. Connections are kept, so that none is closed.
const BEGIN: &str = "import os, socket, subprocess, sys, time\n\
                     def listener(reuse):\n\
                     \x20   s = socket.socket()\n\
                     \x20   s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)\n\
                     \x20   s.bind(('127.0.0.1', 8080))\n\
                     \x20   s.listen(64)\n\
                     \x20   return s\n\
                     kept = []\n\
                     def serve(s):\n\
                     \x20   while True: kept.append(s.accept()[0])\n";

/// A server in Python, after [`BEGIN`].
fn server(source: &str) -> [String; 3] {
    [
        PYTHON.to_owned(),
        "-c".to_owned(),
        format!("{BEGIN}{source}\n"),
    ]
}

/// One that restarts at once.
const FINE: &str = "serve(listener(1))";

/// `tcpstate restart-test OPTIONS -- PROGRAM`. All that it starts has the mark in its
/// environment.
fn command(user: User, options: &[&str], program: &[String], mark: &str) -> Command {
    let mut command = as_user(user, TCPSTATE.path());
    command
        .args(["restart-test", "--port", "8080"])
        .args(options)
        .arg("--")
        .args(program)
        .env("TCPSTATE_TEST_MARK", mark)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A mark of this test alone.
fn mark() -> String {
    format!("{}-{:?}", std::process::id(), std::thread::current().id())
}

/// Processes that have the mark.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("TCPSTATE_TEST_MARK={mark}");
    let processes = std::fs::read_dir("/proc").expect("proc is mounted");
    let has_it = |folder: &std::path::PathBuf| {
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    };
    processes
        .flatten()
        .map(|entry| entry.path())
        .filter(has_it)
        .map(|folder| folder.display().to_string())
        .collect()
}

/// What it says, and its exit code.
struct Answer {
    code: Option<i32>,
    json: Value,
    said: String,
}

impl Answer {
    /// Of the round of a way: outcome, cause.
    #[track_caller]
    fn round(&self, way: &str) -> &Value {
        let rounds = self.json["rounds"].as_array().expect("there are rounds");
        rounds
            .iter()
            .find(|round| round["way"] == way)
            .unwrap_or_else(|| panic!("no round {way}: {}", self.json))
    }

    /// On an emulated machine a start may take several times as long as the one before it.
    #[track_caller]
    fn outcome(&self, way: &str) -> &str {
        let round = self.round(way);
        match round["outcome"].as_str().expect("a word") {
            "waits" if !is_real_time() && round["failed_binds"] == 0 => "at_once",
            outcome => outcome,
        }
    }

    #[track_caller]
    fn cause(&self, way: &str) -> &str {
        self.round(way)["diagnosis"]["cause"]
            .as_str()
            .unwrap_or_else(|| panic!("no cause: {}", self.round(way)))
    }

    fn fixes(&self) -> Vec<&str> {
        let fixes = self.json["fixes"].as_array().into_iter().flatten();
        fixes.filter_map(|fix| fix["id"].as_str()).collect()
    }

    #[track_caller]
    fn assert(&self, verdict: &str, code: i32) {
        assert_eq!(self.json["verdict"], verdict, "{} {}", self.json, self.said);
        assert_eq!(self.code, Some(code), "{}", self.json);
    }
}

/// Runs it with JSON, and makes sure that nothing is left.
#[track_caller]
fn restart_test(user: User, options: &[&str], program: &[String]) -> Answer {
    let mark = mark();
    let mut options = options.to_vec();
    options.push("--json");
    let output = command(user, &options, program, &mark)
        .output()
        .expect("it starts");
    let answer = answer(&output);
    assert_eq!(marked(&mark), [""; 0], "nothing of it is left");
    answer
}

#[track_caller]
fn answer(output: &Output) -> Answer {
    let said = text(&output.stderr);
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {said}", text(&output.stdout)));
    Answer {
        code: output.status.code(),
        json,
        said,
    }
}

/// A folder that every user may write into.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).expect("it is ours");
    folder
}
