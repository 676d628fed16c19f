//! Which process of that name it is: what `explain` and `watch` show of a holder is what the
//! kernel says of it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::owners::{Script, failed_bind};
use support::{Cgroup, Program, TCPSTATE, Watch, on_stage, wait_until};

const LISTEN: &str = "
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 8080)); s.listen()
print(os.getpid(), flush=True)
sys.stdin.readline()
";

fn explain(arguments: &[&str]) -> String {
    let output = Command::new(TCPSTATE)
        .args([&["explain", "8080", "--addr", "127.0.0.1"], arguments].concat())
        .output()
        .expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_holder_is_told_from_others_of_its_name() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut script = Script::run(
        Command::new("python3")
            .args(["-c", LISTEN, "", "--port=8080"])
            .current_dir("/usr/share"),
    );
    let pid = script.number();

    let answer: Value = serde_json::from_str(&explain(&["--json"])).expect("one object");
    let text = explain(&[]);
    let mut watch = Watch::start(&["--port", "8080"]);
    let late = failed_bind(&mut watch);
    watch.finish();

    for answer in [&answer, &late] {
        let process = &answer["holders"][0]["processes"][0];
        assert_eq!(process["pid"], pid, "{answer}");
        let identity = &process["identity"];
        assert_eq!(identity["cwd"], "/usr/share", "{identity}");
        assert_eq!(identity["user"], "root", "{identity}");
        assert!(
            identity["age_s"].as_u64().is_some_and(|age| age < 20),
            "{identity}"
        );
        let parent = &identity["ancestors"][0];
        assert_eq!(parent["pid"], std::process::id(), "{identity}");
        let comm = fs::read_to_string("/proc/self/comm").expect("it is ours");
        assert_eq!(parent["comm"], comm.trim_end(), "{identity}");
    }
    let line = text
        .lines()
        .find(|line| line.contains("user root"))
        .expect(&text);
    assert!(
        line.contains("--port=8080") && line.contains("in /usr/share"),
        "{line}"
    );
}

#[test]
fn a_frozen_holder_is_to_be_thawed_first() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let Some(cgroup) = Cgroup::make(&format!("tcpstate-frozen-{}", std::process::id())) else {
        return;
    };
    let freeze = |state: &str| fs::write(cgroup.path().join("cgroup.freeze"), state);
    let mut script = Script::run(&mut cgroup.command("python3", &["-c", LISTEN]));
    let _ = script.number();
    freeze("1").expect("the group is ours");
    let events = cgroup.path().join("cgroup.events");
    wait_until("it is frozen", || {
        fs::read_to_string(&events).is_ok_and(|events| events.contains("frozen 1"))
    });

    let answer: Value = serde_json::from_str(&explain(&["--json"])).expect("one object");
    freeze("0").expect("the group is ours");
    drop(script);

    assert_eq!(
        answer["holders"][0]["processes"][0]["halted"], "frozen",
        "{answer}"
    );
    assert_eq!(answer["fixes"][0]["id"], "thaw_holder", "{answer}");
    let summary = answer["summary"].as_str().expect("text");
    assert!(summary.contains("control group is frozen"), "{summary}");
}
