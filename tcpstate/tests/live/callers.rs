//! Who made a failed call: the same process may be another program by the time that
//! anybody looks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::owners::{Script, bounded};
use support::{Program, Watch, listener, on_stage};

const SERVER: &str = "127.0.0.1:8080";

const STAYS: &str = "
import os, socket, sys
try: socket.socket().bind(('127.0.0.1', 8080))
except OSError: print(os.getpid(), flush=True)
sys.stdin.readline()
";

/// Fails, and becomes a shell, whose name it had before.
const BECOMES_ANOTHER: &str = "
import os, socket, sys
try: socket.socket().bind(('127.0.0.1', 8080))
except OSError: os.execv('/bin/sh', ['sh', '-c', 'echo $$; read line'])
";

fn failed_caller(watch: &mut Watch) -> Value {
    let failed = watch.wait_for("the failed bind", |event| {
        event["event"] == "bind" && event["ok"] == false
    });
    failed["process"].clone()
}

/// Path of python's own file, and where its library is.
fn python() -> (String, String) {
    let asks = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";
    let output = Command::new("python3").args(["-c", asks]).output();
    let output = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let (path, home) = output.trim().split_once('\n').expect("two lines");
    (path.to_owned(), home.to_owned())
}

fn program_of(pid: u32) -> fs::Metadata {
    fs::metadata(format!("/proc/{pid}/exe")).expect("it runs")
}

#[test]
fn a_caller_that_stays_is_told_with_its_start_and_with_the_program_that_is_here() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _listening = listener(SERVER, false);
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::start(STAYS);
    let pid = script.number();

    let caller = failed_caller(&mut watch);

    let exe = fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
    assert_eq!(caller["exe"], exe.to_str().expect("text"), "{caller}");
    assert_eq!(caller["is_exe_here"], true, "{caller}");
    assert_eq!(
        caller["program"]["inode"],
        program_of(pid).ino(),
        "{caller}"
    );
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let start = fields.split_whitespace().nth(19).expect("field 22");
    assert_eq!(caller["start_ticks"].to_string(), start, "{caller}");
    drop(script);
    watch.finish();
}

#[test]
fn a_caller_that_has_become_another_program_is_not_taken_for_that() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _listening = listener(SERVER, false);
    let mut watch = Watch::start(&["--port", "8080"]);
    // Nobody looks before it is a shell.
    let tcpstate = Pid::from_raw(watch.pid().cast_signed()).expect("it runs");
    kill_process(tcpstate, Signal::STOP).expect("it runs");
    let (python, home) = python();
    let mut script = Script::run(
        Command::new(python)
            .arg0("sh")
            .args(["-c", &bounded(BECOMES_ANOTHER)])
            .env("PYTHONHOME", home),
    );
    let pid = script.number();
    kill_process(tcpstate, Signal::CONT).expect("it is stopped");

    let caller = failed_caller(&mut watch);

    assert_eq!(caller["pid"], pid, "{caller}");
    assert_ne!(
        caller["program"]["inode"],
        program_of(pid).ino(),
        "{caller}"
    );
    assert_eq!(caller["exe"], Value::Null, "{caller}");
    assert_eq!(caller["is_exe_here"], Value::Null, "{caller}");
    // Its arguments are those of the call, and its parent is still the same.
    assert_eq!(caller["argv"][0], "sh", "{caller}");
    assert_eq!(caller["argv"][2], bounded(BECOMES_ANOTHER), "{caller}");
    assert_ne!(caller["parent"], Value::Null, "{caller}");
    drop(script);
    watch.finish();
}

/// Runs python under a path that is another file for everybody else.
const ELSEWHERE: &str = "mount --bind \"$0\" \"$1\" && exec \"$1\" -c \"$2\"";

#[test]
fn a_program_that_is_another_file_at_its_path_here_is_not_said_to_be_here() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let (python, home) = python();
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("server");
    fs::write(&path, "another file").expect("there is room");
    let _listening = listener(SERVER, false);
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", ELSEWHERE])
            .arg(python)
            .arg(&path)
            .arg(bounded(STAYS))
            .env("PYTHONHOME", home),
    );
    script.number();

    let caller = failed_caller(&mut watch);

    assert_eq!(caller["exe"], path.to_str().expect("text"), "{caller}");
    assert_ne!(caller["program"], Value::Null, "{caller}");
    assert_eq!(caller["is_exe_here"], Value::Null, "{caller}");
    drop(script);
    watch.finish();
}
