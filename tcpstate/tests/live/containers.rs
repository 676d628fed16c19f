//! Containers: other numbers for processes, other views of `/proc`, cgroups.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::owners::{Script, bounded, failed_bind, pids};
use support::{Cgroup, Program, TCPSTATE, Watch, listener, on_stage, try_bind};

const SERVER: &str = "127.0.0.1:8080";

const LISTENS: &str = "
import os, socket, sys
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
print(os.getpid(), flush=True)
sys.stdin.readline()
";

#[test]
fn a_holder_in_another_pid_namespace_is_found_by_the_number_that_we_see() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["python3", "-c", &bounded(LISTENS)]),
    );
    assert_eq!(script.number(), 1, "its own number there");

    let diagnosis = failed_bind(&mut watch);

    let listen = watch.wait_for("the listen", |event| event["event"] == "listen");
    let pid = listen["process"]["pid"].as_u64().expect("a number");
    assert_ne!(pid, 1);
    let holder = &diagnosis["holders"][0];
    assert_eq!(pids(&holder["processes"]), [pid], "{diagnosis}");
    assert_eq!(holder["processes"][0]["comm"], "python3");
    assert_eq!(holder["process"]["pid"], pid);
    watch.finish();
}

/// Runs the program with a pid namespace and a `/proc` of its own, and binds a
/// port twice meanwhile. Gives the diagnosis of the second.
fn watched_from_a_container(before: &str) -> Value {
    watched_from(&["sh", "-c", &format!("{before}; {WATCHES}")])
}

/// Runs it as the first process of its pid namespace, with a directory to mount on
/// as its second argument.
const WATCHES: &str =
    "mount -t proc proc /proc && exec \"$0\" watch --json --netns self --duration 2s";

fn watched_from(command: &[&str]) -> Value {
    let directory = tempfile::tempdir().expect("there is room");
    let mut child = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child"])
        .args(command)
        .arg(TCPSTATE)
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare is part of util-linux");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> Option<Value> {
        let line = lines.next()?.expect("text");
        Some(serde_json::from_str(&line).expect("JSON"))
    };
    assert_eq!(next().expect("a header")["event"], "header");
    let _listening = listener(SERVER, true);
    assert!(try_bind(SERVER, true).is_err());
    let mut diagnosis = Value::Null;
    while let Some(event) = next() {
        if event["event"] == "diagnosis" {
            diagnosis = event;
        }
    }
    assert!(child.wait().expect("it ends").success());
    diagnosis
}

#[test]
fn from_inside_a_container_nobody_is_named_by_a_number_of_somebody_else() {
    if !on_stage(&[]) {
        return;
    }

    let diagnosis = watched_from_a_container("true");

    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["pid"], std::process::id(), "{diagnosis}");
    assert_eq!(holder["processes"], Value::Null, "{diagnosis}");
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
}

#[test]
fn from_inside_a_container_a_mount_of_the_hosts_proc_is_found() {
    if !on_stage(&[]) {
        return;
    }

    let diagnosis = watched_from_a_container("mount --rbind /proc \"$1\"");

    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["pid"], std::process::id(), "{diagnosis}");
    assert_eq!(
        pids(&holder["processes"]),
        [u64::from(std::process::id())],
        "{diagnosis}"
    );
}

/// A pid namespace in which a dead process is number 2 and is called like the parent
/// of all kernel threads. Its `/proc` is mounted for a namespace below it, which
/// watches.
const IMPOSTOR: &str = "
import ctypes, os, subprocess, sys
subprocess.run(['mount', '-t', 'proc', 'proc', sys.argv[3]], check=True)
open(sys.argv[3] + '/sys/kernel/ns_last_pid', 'w').write('1')
if os.fork() == 0:
    ctypes.CDLL(None).prctl(15, b'kthreadd')
    os._exit(0)
os.waitid(os.P_PID, 2, os.WEXITED | os.WNOWAIT)
assert open(sys.argv[3] + '/2/comm').read() == 'kthreadd\\n'
watch = ['unshare', '--pid', '--fork', '--kill-child', 'sh', '-c'] + sys.argv[1:]
sys.exit(subprocess.run(watch).returncode)
";

#[test]
fn a_mount_of_proc_in_which_a_process_only_has_a_kernel_threads_name_is_not_the_hosts() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }

    let diagnosis = watched_from(&["python3", "-c", &bounded(IMPOSTOR), WATCHES]);

    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["process"]["pid"], std::process::id(), "{diagnosis}");
    assert_eq!(holder["processes"], Value::Null, "{diagnosis}");
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
}

/// Holds the port from inside, and fails to bind it again from a process that
/// is gone at once.
const CONTAINED: &str = "
import os, socket, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
if os.fork() == 0:
    try: socket.socket().bind(('127.0.0.1', 8080))
    except OSError: pass
    os._exit(0)
os.wait()
print(1, flush=True)
sys.stdin.readline()
";

#[test]
fn a_process_in_a_container_is_shown_with_it() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let id = format!("{:064x}", std::process::id());
    let Some(cgroup) = Cgroup::make(&format!("docker-{id}.scope")) else {
        return;
    };
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("python3")
            .args(["-c", &bounded(CONTAINED)])
            .arg(cgroup.path()),
    );
    script.number();

    let diagnosis = watch.diagnosis("bind", 8080);
    let failed = watch.wait_for("the failed bind", |event| {
        event["event"] == "bind" && event["ok"] == false
    });
    for process in [&failed["process"], &diagnosis["holders"][0]["processes"][0]] {
        assert_eq!(process["container"], id, "{process}");
        assert_eq!(process["runtime"], "docker", "{process}");
        assert_eq!(process["cgroup"], format!("/docker-{id}.scope"));
        assert_eq!(process["container_uid"], 0, "{process}");
        assert_eq!(process["unit"], Value::Null, "{process}");
    }
    drop(script);
    watch.finish();
}
