//! `setcap` names the file that was running at the call, or none; units and containers
//! that a user made up get into no command.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::fault::python;
use super::{commands, paste};
use support::{Cgroup, Program, Watch, on_stage, try_bind};

const NOBODY: u32 = 65534;

/// Fails to bind a low port, and becomes the program that it is given.
const BECOMES: &str = "
import os, socket, sys
try: socket.socket().bind(('127.0.0.1', 80))
except PermissionError: os.execv(sys.argv[1], ['python3', '-c', 'import time; time.sleep(60)'])
";

/// Fails to bind a low port, and stays.
const STAYS: &str = "
import socket, time
try: socket.socket().bind(('127.0.0.1', 80))
except PermissionError: time.sleep(60)
";

/// A process that is ended with its group.
struct Script(std::process::Child);

impl Script {
    fn run(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it starts");
        Self(child)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

fn as_nobody(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .args(arguments);
    command
}

/// Whether the file was given the capability.
fn may_bind_low(path: &Path) -> bool {
    let mut value = [0_u8; 64];
    rustix::fs::getxattr(path, "security.capability", &mut value).is_ok()
}

/// A copy of python, for everybody to run.
fn copy(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    // A file that runs is not written to.
    let _ = fs::remove_file(&path);
    fs::copy(python(), &path).expect("there is room");
    path
}

fn public_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    directory
}

/// Pastes every line that changes something, and says whether one of them names a file.
fn carry_out(diagnosis: &Value) -> bool {
    let mut has_setcap = false;
    for (_, line, effect) in commands(diagnosis) {
        if effect != "reads" {
            has_setcap |= line.contains("setcap");
            assert!(paste(&line).status.success(), "$ {line}");
        }
    }
    has_setcap
}

#[test]
fn a_program_that_is_another_by_now_is_not_given_a_capability() {
    if !on_stage(&[
        Program("setcap", "libcap2-bin"),
        Program("setpriv", "util-linux"),
    ]) {
        return;
    }
    let directory = public_directory();
    let bystander = copy(directory.path(), "bystander");
    let mut watch = Watch::start(&["--port", "80"]);
    // Nobody looks before it is another program.
    let tcpstate = Pid::from_raw(watch.pid().cast_signed()).expect("it runs");
    kill_process(tcpstate, Signal::STOP).expect("it runs");
    let script = Script::run(&mut as_nobody(&[
        python(),
        "-c",
        BECOMES,
        bystander.to_str().expect("text"),
    ]));
    let exe = format!("/proc/{}/exe", script.0.id());
    let is_other = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        fs::read_link(&exe).is_ok_and(|path| path == bystander)
    });
    assert!(is_other, "it becomes the other program");
    kill_process(tcpstate, Signal::CONT).expect("it is stopped");
    let diagnosis = watch.diagnosis("bind", 80);
    assert_eq!(diagnosis["cause"], "privileged_port", "{diagnosis}");

    // What was printed then: what the process runs now.
    let old = format!("setcap cap_net_bind_service=+ep {}", bystander.display());
    assert!(paste(&old).status.success());
    assert!(may_bind_low(&bystander), "the harm");
    copy(directory.path(), "bystander");
    assert!(!carry_out(&diagnosis), "{diagnosis}");

    assert!(!may_bind_low(&bystander), "{diagnosis}");
    drop(script);
    watch.finish();
}

#[test]
fn a_path_of_another_file_system_gives_no_file_of_ours_a_capability() {
    if !on_stage(&[
        Program("setcap", "libcap2-bin"),
        Program("unshare", "util-linux"),
    ]) {
        return;
    }
    let directory = public_directory();
    let bystander = copy(directory.path(), "server");
    let theirs = copy(directory.path(), "theirs");
    let mut watch = Watch::start(&["--port", "80"]);
    let script = Script::run(
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount --bind \"$0\" \"$1\" && exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \"$1\" -c \"$2\"")
            .arg(&theirs)
            .arg(&bystander)
            .arg(STAYS),
    );
    let diagnosis = watch.diagnosis("bind", 80);

    let old = format!("setcap cap_net_bind_service=+ep {}", bystander.display());
    assert!(paste(&old).status.success());
    assert!(may_bind_low(&bystander), "the harm");
    copy(directory.path(), "server");
    assert!(!carry_out(&diagnosis), "{diagnosis}");

    assert!(!may_bind_low(&bystander), "{diagnosis}");
    drop(script);
    watch.finish();
}

/// Holds the port from a control group that its user has made below one that was
/// delegated to him.
const DELEGATED: &str = "
import os, socket, sys, time
top, name = sys.argv[1:]
open(top + '/cgroup.procs', 'w').write('0')
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.makedirs(top + name)
open(top + name + '/cgroup.procs', 'w').write('0')
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
time.sleep(60)
";

/// A slice of root's that is given to somebody else. `None`: the test is skipped.
fn delegated() -> Option<Cgroup> {
    let cgroup = Cgroup::make(&format!("tcpstate-{}.slice", rustix::thread::gettid()))?;
    for path in [cgroup.path(), &cgroup.path().join("cgroup.procs")] {
        chown(path, Some(NOBODY), None).expect("we are root");
    }
    Some(cgroup)
}

#[test]
fn a_name_that_a_user_made_up_gets_into_no_command() {
    if !on_stage(&[]) {
        return;
    }
    let id = "4f".repeat(32);
    let names = [
        "/system.slice/sshd.service".to_owned(),
        "/system.slice/-a.service".to_owned(),
        format!("/system.slice/docker-{id}.scope"),
        format!("/docker-{id}.scope"),
        "/machine.slice/systemd-nspawn@dbus.service/payload".to_owned(),
        "/lxc.payload.dbus".to_owned(),
        "/user.slice/user-0.slice/user@0.service/app.slice/sshd.service".to_owned(),
        format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
    ];
    for name in names {
        let Some(cgroup) = delegated() else {
            return;
        };
        let mut watch = Watch::start(&["--port", "8080"]);
        let script = Script::run(
            Command::new(python())
                .args(["-c", DELEGATED])
                .args([&*cgroup.path().to_string_lossy(), &*name]),
        );
        watch.wait_for("the listen", |event| {
            event["event"] == "listen" && event["process"]["pid"] == script.0.id()
        });
        try_bind("127.0.0.1:8080", true).expect_err("it is held");
        let diagnosis = watch.diagnosis("bind", 8080);

        let group = &diagnosis["holders"][0]["processes"][0]["cgroup"];
        assert!(
            group.as_str().is_some_and(|group| group.ends_with(&name)),
            "{diagnosis}"
        );
        for fix in diagnosis["fixes"].as_array().expect("a list") {
            // A name is at most what the process calls itself, and never in a command.
            let text = format!("{} {}", fix["text"], fix["why"]);
            let tools = ["systemctl", "docker ", "machinectl", "lxc-", "crictl"];
            assert!(
                !tools.iter().any(|tool| text.contains(tool)),
                "{name}: {fix}"
            );
            let command = fix["command"].as_str().unwrap_or_default();
            let made_up = ["sshd", "dbus", "4f4f", "-a.service"];
            assert!(
                !made_up.iter().any(|name| command.contains(name)),
                "{name}: {fix}"
            );
            assert!(
                !tools.iter().any(|tool| command.contains(tool)),
                "{name}: {fix}"
            );
        }
        let look = format!("ps -o pid,ppid,stat,lstart,args -p {}", script.0.id());
        assert_eq!(diagnosis["fixes"][0]["command"], look, "{name}");
        drop(script);
        watch.finish();
    }
}
