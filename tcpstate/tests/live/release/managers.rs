//! Units and containers: stopped by who manages them, if they are what they seem to be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::stage::{Actor, Bystanders, SERVER, done, is_free, parse, refused};
use crate::advice::systemd::play_with_systemd;
use support::{Cgroup, Program, TCPSTATE, on_stage};

/// Frees ports of services of a real systemd, and of one that it starts again whenever it
/// ends, and one of a socket unit.
const DRIVER: &str = r#"
import json, subprocess, sys, time
tcpstate, result = sys.argv[1:]
def sh(*words):
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
def unit(name, text):
    open("/run/systemd/system/" + name, "w").write("[Unit]\nDefaultDependencies=no\n" + text)
python = "/usr/bin/python3 -m http.server --bind 127.0.0.1 "
unit("again.service", "[Service]\nRestart=always\nRestartSec=0\nExecStart=" + python + "8070\n")
unit("held.socket", "[Socket]\nListenStream=127.0.0.1:8060\n")
unit("held.service", "[Service]\nExecStart=/bin/sleep 1000\n")
open("/run/pair.py", "w").write("""
import http.server, subprocess
s = http.server.HTTPServer(("127.0.0.1", 8050), http.server.BaseHTTPRequestHandler)
subprocess.Popen(["sleep", "1000"])
s.serve_forever()
""")
unit("pair.service", "[Service]\nExecStart=/usr/bin/python3 /run/pair.py\n")
sh("systemctl", "daemon-reload")
sh("systemctl", "start", "again.service", "held.socket", "pair.service")
def held(port, addr="127.0.0.1"):
    return sh(tcpstate, "explain", str(port), "--addr", addr).returncode == 1
for port, addr in ((8080, "127.0.0.1"), (8080, "127.0.0.2"), (8090, "127.0.0.1"), (8070, "127.0.0.1"), (8060, "127.0.0.1"), (8050, "127.0.0.1")):
    for _ in range(200):
        if held(port, addr): break
        time.sleep(0.1)
seen = {}
for port in (8080, 8090, 8070, 8060, 8050):
    ran = sh(tcpstate, "release", str(port), "--addr", "127.0.0.1", "--yes", "--json")
    seen[str(port)] = {"code": ran.returncode, "answer": json.loads(ran.stdout or "null"), "errors": ran.stderr}
time.sleep(1)
seen["held"] = {str(port): held(port) for port in (8080, 8090, 8070, 8060)}
names = ("web.service", "other.service", "starter.service", "again.service", "held.socket")
seen["active"] = {name: sh("systemctl", "is-active", name).stdout.strip() for name in names}
json.dump(seen, open(result, "w"))
"#;

#[test]
fn units_of_systemd_are_stopped_and_stay_stopped_and_their_neighbours_run() {
    let Some(seen) = play_with_systemd(DRIVER) else {
        return;
    };
    let steps = |port: &str| done(&seen[port]["answer"]);

    assert_eq!(steps("8080"), ["stop_unit done"], "{seen}");
    assert_eq!(seen["8080"]["answer"]["plan"][0]["target"], "web.service");
    assert_eq!(
        seen["8080"]["answer"]["plan"][0]["command"],
        "systemctl stop web.service"
    );
    // Its other processes are named.
    let loses = seen["8050"]["answer"]["plan"][0]["loses"].to_string();
    assert!(loses.contains("besides, sleep["), "{loses}");
    assert_eq!(steps("8050"), ["stop_unit done"], "{seen}");
    // A job beside the main process of a service that goes on.
    assert_eq!(steps("8090"), ["stop_process done"], "{seen}");
    // What systemd starts again whenever it ends is not started again.
    assert_eq!(steps("8070"), ["stop_unit done"], "{seen}");
    assert_eq!(refused(&seen["8060"]["answer"]), ["init"], "{seen}");
    let codes: Vec<&Value> = ["8080", "8090", "8070", "8060"]
        .iter()
        .map(|port| &seen[*port]["code"])
        .collect();
    assert_eq!(codes, [0, 0, 0, 2]);
    assert_eq!(
        seen["held"],
        serde_json::json!({"8080": false, "8090": false, "8070": false, "8060": true})
    );
    assert_eq!(
        seen["active"],
        serde_json::json!({
            "web.service": "inactive",
            "other.service": "active",
            "starter.service": "active",
            "again.service": "inactive",
            "held.socket": "active",
        })
    );
}

/// A program that stands in for a manager that is not installed everywhere: it notes what it
/// is called with.
fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    let script = format!(
        "#!/bin/sh\necho \"$0\" \"$@\" >> {}/calls\n{script}\n",
        folder.display()
    );
    fs::write(&path, script).expect("there is room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn release_with(folder: &Path) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new(TCPSTATE)
        .args(["release", "8080", "--yes", "--json"])
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}

fn calls(folder: &Path) -> Vec<String> {
    let calls = fs::read_to_string(folder.join("calls")).unwrap_or_default();
    calls
        .lines()
        .map(|line| line.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

/// A server that begins in this control group.
fn server_in(cgroup: &Path) -> Actor {
    let script = format!(
        "open('{}/cgroup.procs', 'w').write('0')\n{SERVER}",
        cgroup.display()
    );
    Actor::play(&script)
}

#[test]
fn a_container_is_stopped_by_its_runtime_if_that_knows_its_processes() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let id = format!("{:064x}", 0xabc_u64 << 32 | u64::from(std::process::id()));
    let short = &id[..12];
    let Some(cgroup) = Cgroup::make(&format!("docker-{id}.scope")) else {
        return;
    };
    let mut server = server_in(cgroup.path());
    let mut bystanders = Bystanders::without_client();
    let folder = tempfile::tempdir().expect("there is room");

    // The runtime has another process for it.
    stand_in(folder.path(), "docker", "[ $1 = inspect ] && echo /web 2");
    let (doubted, code) = parse(&release_with(folder.path()));
    assert_eq!(
        (code, refused(&doubted)),
        (2, vec!["not_certain"]),
        "{doubted}"
    );
    assert!(server.is_alive());
    fs::remove_file(folder.path().join("calls")).expect("it was called");

    let pid = server.pid();
    let script = format!("[ $1 = inspect ] && echo /web {pid}; [ $1 = stop ] && kill {pid}; true");
    stand_in(folder.path(), "docker", &script);
    let (answer, code) = parse(&release_with(folder.path()));

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["stop_container done"], "{answer}");
    assert_eq!(answer["plan"][0]["command"], format!("docker stop {short}"));
    let calls = calls(folder.path());
    let stop = format!("docker stop {short}");
    assert_eq!(
        calls.iter().filter(|call| **call == stop).count(),
        1,
        "{calls:?}"
    );
    let inspect = format!("docker inspect --format {{{{.Name}}}} {{{{.State.Pid}}}} {short}");
    assert!(
        calls.iter().all(|call| *call == stop || *call == inspect),
        "{calls:?}"
    );
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_unit_whose_main_process_is_another_is_left_alone() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let number = std::process::id();
    let slice = format!("tcpstate-main-{number}.slice");
    let Some(cgroup) = Cgroup::make(&slice) else {
        return;
    };
    let unit = format!("tcpstate-main-{number}.service");
    let mut server = server_in(&cgroup.below(&unit));
    let mut main = Actor::play("ready(); sleep()");
    let folder = tempfile::tempdir().expect("there is room");
    let systemctl = |main_pid: u32, group: &str| {
        let script = format!("echo MainPID={main_pid}; echo ControlGroup={group}");
        stand_in(folder.path(), "systemctl", &script);
        parse(&release_with(folder.path()))
    };

    let (another, code) = systemctl(main.pid(), &format!("/{slice}/{unit}"));
    assert_eq!(
        (code, refused(&another)),
        (2, vec!["main_process"]),
        "{another}"
    );
    let (elsewhere, code) = systemctl(server.pid(), "/system.slice/x.service");
    assert_eq!(
        (code, refused(&elsewhere)),
        (2, vec!["not_certain"]),
        "{elsewhere}"
    );

    assert!(server.is_alive() && main.is_alive() && !is_free());
    let calls = calls(folder.path());
    assert!(
        calls.iter().all(|call| call.starts_with("systemctl show ")),
        "{calls:?}"
    );
}
