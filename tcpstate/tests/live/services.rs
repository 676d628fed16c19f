//! Control groups: who made them decides whether their names say something.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::owners::{Script, bounded, failed_bind, pids};
use support::{Cgroup, Program, Watch, on_stage};

/// Somebody who is not root.
const NOBODY: u32 = 65534;

/// Becomes somebody who has been given a cgroup, makes one in it, and holds the port
/// from there.
const DELEGATED: &str = "
import os, socket, sys
top, name = sys.argv[1:]
open(top + '/cgroup.procs', 'w').write('0')
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.makedirs(top + name)
open(top + name + '/cgroup.procs', 'w').write('0')
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
print(os.getpid(), flush=True)
sys.stdin.readline()
";

/// The holder of the port, who has moved to a cgroup that he made himself.
fn holder_in_delegated(name: &str) -> Option<Value> {
    if !on_stage(&[Program("python3", "python3")]) {
        return None;
    }
    let cgroup = Cgroup::make(&format!("tcpstate-{}.slice", rustix::thread::gettid()))?;
    chown(cgroup.path(), Some(NOBODY), None).expect("we are root");
    chown(cgroup.path().join("cgroup.procs"), Some(NOBODY), None).expect("we are root");
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("python3")
            .args(["-c", &bounded(DELEGATED)])
            .args([&*cgroup.path().to_string_lossy(), name]),
    );
    script.number();

    let diagnosis = failed_bind(&mut watch);

    let process = diagnosis["holders"][0]["processes"][0].clone();
    let path = process["cgroup"].as_str().expect("a path");
    assert!(path.ends_with(name), "{path}");
    drop(script);
    watch.finish();
    Some(process)
}

#[test]
fn a_service_that_an_unprivileged_user_has_made_up_is_none() {
    let Some(process) = holder_in_delegated("/system.slice/sshd.service") else {
        return;
    };

    assert_eq!(process["unit"], Value::Null, "{process}");
    assert_eq!(process["container_uid"], Value::Null, "{process}");
}

#[test]
fn a_container_that_an_unprivileged_user_has_made_up_is_known_to_be_his() {
    let id = format!("{:064x}", std::process::id());
    let Some(process) = holder_in_delegated(&format!("/docker-{id}.scope")) else {
        return;
    };

    assert_eq!(process["container"], id, "{process}");
    assert_eq!(process["container_uid"], NOBODY, "{process}");
    assert_eq!(process["unit"], Value::Null, "{process}");
}

/// A service whose master leaves the listener to a child, in a cgroup below, and fails
/// to bind its port again.
const CHILD_LISTENS: &str = "
import os, socket, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
told, tell = os.pipe()
if os.fork() == 0:
    open(sys.argv[2] + '/cgroup.procs', 'w').write('0')
    s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
    os.write(tell, b'1')
    sys.stdin.readline()
    os._exit(0)
os.read(told, 1)
try: socket.socket().bind(('127.0.0.1', 8080))
except OSError: pass
print(os.getpid(), flush=True)
os.wait()
";

/// A service whose master listens, with a worker and the worker's child.
const MASTER_LISTENS: &str = "
import os, socket, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
told, tell = os.pipe()
if os.fork() == 0:
    os.fork()
    os.write(tell, b'1')
    sys.stdin.readline()
    os._exit(0)
os.read(told, 1); os.read(told, 1)
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
print(os.getpid(), flush=True)
os.wait()
";

/// A slice and a service in it, as root makes them.
fn service() -> Option<(Cgroup, String, PathBuf)> {
    if !on_stage(&[Program("python3", "python3")]) {
        return None;
    }
    let number = rustix::thread::gettid();
    let slice = Cgroup::make(&format!("tcpstate-{number}.slice"))?;
    let name = format!("tcpstate-{number}@x.service");
    let path = slice.below(&name);
    Some((slice, name, path))
}

#[test]
fn what_else_runs_in_a_holders_service_is_listed() {
    let Some((_slice, name, path)) = service() else {
        return;
    };
    let below = path.join("workers");
    fs::create_dir(&below).expect("a cgroup can be made in ours");
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("python3")
            .args(["-c", &bounded(CHILD_LISTENS)])
            .args([&path, &below]),
    );
    let master = u64::from(script.number());

    let diagnosis = watch.diagnosis("bind", 8080);
    let failed = watch.wait_for("the failed bind", |event| {
        event["event"] == "bind" && event["ok"] == false
    });

    let holder = &diagnosis["holders"][0]["processes"][0];
    assert_ne!(holder["pid"], master, "{holder}");
    let unit = &holder["unit"];
    assert_eq!(unit["name"], name, "{holder}");
    assert_eq!(pids(&unit["others"]), [master], "{holder}");
    assert_eq!(unit["others"][0]["comm"], "python3", "{holder}");
    assert_eq!(unit["more"], Value::Null, "{holder}");
    // The caller is in it as well, and all others descend from it.
    let unit = &failed["process"]["unit"];
    assert_eq!(unit["name"], name, "{failed}");
    assert_eq!(unit["others"], Value::Null, "{failed}");
    drop(script);
    watch.finish();
}

#[test]
fn a_service_that_is_its_master_and_his_children_has_no_others() {
    let Some((_slice, name, path)) = service() else {
        return;
    };
    let mut watch = Watch::start(&["--port", "8080"]);
    let mut script = Script::run(
        Command::new("python3")
            .args(["-c", &bounded(MASTER_LISTENS)])
            .arg(&path),
    );
    let master = u64::from(script.number());
    let listed = fs::read_to_string(path.join("cgroup.procs")).expect("a list");
    assert_eq!(listed.lines().count(), 3);

    let diagnosis = failed_bind(&mut watch);

    let holder = &diagnosis["holders"][0]["processes"][0];
    assert_eq!(holder["pid"], master, "{holder}");
    assert_eq!(holder["unit"]["name"], name, "{holder}");
    assert_eq!(holder["unit"]["others"], Value::Null, "{holder}");
    assert_eq!(holder["unit"]["more"], Value::Null, "{holder}");
    drop(script);
    watch.finish();
}
