//! Who the holder is to whoever asks, told by a `watch` from before, a `watch` that came
//! later, `explain` and a replay, as root and as somebody else: each relation is staged with
//! real processes, and nowhere may an answer be wrong or contradict another.
//!
//! `watch` as somebody without privilege is refused (`bad_input`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::owners::{Script, pids};
use support::{Cgroup, Lacking, Program, TCPSTATE, Watch, on_stage, run, skip_for};

const STAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/relation/stage.py");

/// What is right in one relation.
struct Right {
    cause: &'static str,
    /// Of the caller to the holder, as the watches say it; as `explain` does, which is run
    /// by the caller.
    relation: [Option<&'static str>; 2],
    /// The id of the first fix: of the watch from before, of the late one, of `explain`.
    first: [&'static str; 3],
    /// In the sentence or the first fix of each.
    says: [&'static str; 3],
    /// Whether a process is known to have it.
    is_named: bool,
    certainty: &'static str,
}

impl Default for Right {
    fn default() -> Self {
        Self {
            cause: "active_listener",
            relation: [None, None],
            first: ["stop_holder"; 3],
            says: [""; 3],
            is_named: true,
            certainty: "proven",
        }
    }
}

/// What one stage got.
struct Told {
    holders: Vec<u64>,
    /// Whose end nobody may advise first: the caller, all above it.
    protected: Vec<u64>,
    early: Value,
    late: Value,
    by_root: Value,
    by_user: Value,
}

/// A watch that records, and where.
struct Recorded {
    watch: Watch,
    file: PathBuf,
}

impl Recorded {
    fn start(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        let path = file.to_str().expect("a path");
        Self {
            watch: Watch::start(&["--port", "8080", "--record", path]),
            file,
        }
    }

    /// The diagnosis of the failed bind of this process that has so many before it.
    fn diagnosis(&mut self, caller: &Value, before: usize) -> Value {
        self.watch
            .read_until(|seen| diagnoses(seen, caller).len() > before);
        let all = diagnoses(self.watch.seen(), caller);
        all.get(before).expect("a diagnosis").clone()
    }

    /// A replay of the recording says the same, byte for byte.
    fn finish(self) {
        let path = self.file.to_str().expect("a path");
        self.watch.finish();
        let replayed = run(&["replay", path, "--format", "json"]);
        let replayed = String::from_utf8(replayed.stdout).expect("text");
        let recorded = fs::read_to_string(path).expect("it was written");
        let of = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| line.contains("\"event\":\"diagnosis\""));
            lines.map(str::to_owned).collect()
        };
        assert!(!of(&recorded).is_empty());
        assert_eq!(of(&replayed), of(&recorded));
    }
}

fn diagnoses(seen: &[Value], caller: &Value) -> Vec<Value> {
    let failed = seen.iter().filter(|event| {
        event["event"] == "bind" && event["ok"] == false && &event["process"]["pid"] == caller
    });
    let seqs: Vec<&Value> = failed.map(|event| &event["seq"]).collect();
    seen.iter()
        .filter(|event| event["event"] == "diagnosis" && seqs.contains(&&event["of"]))
        .cloned()
        .collect()
}

/// Plays the stage and asks everybody. `None`: it cannot be set here.
fn play(name: &str, calls: usize, group: Option<&Cgroup>) -> Option<Told> {
    let folder = tempfile::tempdir().expect("a directory");
    let mut early = Recorded::start(folder.path(), "early.jsonl");
    let mut command = Command::new("python3");
    command
        .args([STAGE, name])
        .env("TCPSTATE", TCPSTATE)
        .env("FOLDER", folder.path());
    if let Some(group) = group {
        command.env("GROUP", group.path());
    }
    let mut script = Script::run(&mut command);
    let mut there = script.json();
    if let Some(why) = there["skip"].as_str() {
        skip_for(Lacking {
            what: why,
            since: Some((6, 6)),
        });
        return None;
    }
    let mut late = Recorded::start(folder.path(), "late.jsonl");
    let mut told = Vec::new();
    let mut caller = Value::Null;
    for call in 0..calls {
        script.go_on();
        let called = script.json();
        assert_eq!(called["errno"], "EADDRINUSE", "{called}");
        caller = called["caller"].clone();
        told = vec![
            early.diagnosis(&caller, call),
            late.diagnosis(&caller, call),
        ];
        script.go_on();
        if call + 1 < calls {
            there = script.json();
        }
    }
    let asked = script.json();
    let protected = lineage(caller.as_u64().expect("a number"));
    script.go_on();
    early.finish();
    late.finish();
    let late = told.pop().expect("two");
    Some(Told {
        holders: pids_of(&there["holders"]),
        protected,
        early: told.pop().expect("two"),
        late,
        by_root: asked["root"].clone(),
        by_user: asked["user"].clone(),
    })
}

fn pids_of(list: &Value) -> Vec<u64> {
    let all = list.as_array().expect("a list").iter();
    all.map(|pid| pid.as_u64().expect("a number")).collect()
}

/// A process and all above it.
fn lineage(pid: u64) -> Vec<u64> {
    let mut lineage = vec![pid];
    let mut next = pid;
    while let Ok(stat) = fs::read_to_string(format!("/proc/{next}/stat")) {
        let behind = stat.rsplit(')').next().expect("a line");
        next = behind
            .split_whitespace()
            .nth(1)
            .and_then(|ppid| ppid.parse().ok())
            .unwrap_or(0);
        if next == 0 {
            break;
        }
        lineage.push(next);
    }
    lineage
}

/// `kill 10 11` in a text.
fn killed(text: &str) -> Vec<u64> {
    let mut killed = Vec::new();
    for behind in text.split("kill ").skip(1) {
        let words = behind.split([' ', ',', ';']);
        killed.extend(words.map_while(|word| word.parse::<u64>().ok()));
    }
    killed
}

#[track_caller]
fn assert_right(name: &str, right: &Right, told: &Told) {
    let answers = [
        ("watch", &told.early, 0),
        ("late watch", &told.late, 1),
        ("explain", &told.by_root, 2),
    ];
    for (who, answer, at) in answers {
        let place = format!("{name}, {who}: {answer}");
        assert_eq!(answer["cause"], right.cause, "{place}");
        let holders = answer["holders"].as_array().expect("a list");
        assert_eq!(holders.len(), 1, "{place}");
        let holder = &holders[0];
        let relation = right.relation[usize::from(at == 2)];
        assert_eq!(holder["relation"].as_str(), relation, "{place}");
        assert_eq!(answer["fixes"][0]["id"], right.first[at], "{place}");
        let said = format!("{} {}", answer["summary"], answer["fixes"][0]["text"]);
        assert!(said.contains(right.says[at]), "{place}");
        assert_eq!(answer["certainty"], right.certainty, "{place}");
        if right.is_named {
            assert_eq!(pids(&holder["processes"]), told.holders, "{place}");
        }
        let missing = answer["missing"].as_array().expect("a list");
        assert_eq!(missing.is_empty(), right.certainty == "proven", "{place}");
        assert_harmless(&place, answer, &told.protected);
    }
    // A user is shown the kernel's sockets, and no one else's descriptors.
    let user = &told.by_user;
    let place = format!("{name}, explain as a user: {user}");
    assert_eq!(user["cause"], right.cause, "{place}");
    assert_eq!(user["would_listen"], "no", "{place}");
    let holder = &user["holders"][0];
    assert_eq!(holder["processes"], Value::Null, "{place}");
    assert_eq!(holder["relation"], Value::Null, "{place}");
    assert!(user["missing"].to_string().contains("root"), "{place}");
    assert_harmless(&place, user, &told.protected);
}

/// Nobody is told to end himself first, what he is below, or by a line to paste anybody.
#[track_caller]
fn assert_harmless(place: &str, answer: &Value, protected: &[u64]) {
    let fixes = answer["fixes"].as_array().expect("a list");
    let first = fixes[0]["text"].as_str().expect("text");
    assert!(
        killed(first).iter().all(|pid| !protected.contains(pid)),
        "{place}"
    );
    for fix in fixes {
        let command = fix["command"].as_str().unwrap_or_default();
        assert!(!command.contains("kill"), "{place}");
    }
}

/// One relation; `false`: it was not played.
#[track_caller]
fn check(name: &str, right: &Right) {
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) && let Some(told) = play(name, 1, None)
    {
        assert_right(name, right, &told);
    }
}

macro_rules! same {
    ($value:expr) => {
        [$value, $value, $value]
    };
}

#[test]
fn itself() {
    check(
        "itself",
        &Right {
            relation: [Some("itself"), Some("ancestor")],
            first: ["stop_holder", "stop_holder", "leave_to_parent"],
            says: [
                "itself already listens",
                "itself already listens",
                "started from",
            ],
            ..Right::default()
        },
    );
}

#[test]
fn before_its_exec() {
    check(
        "before_exec",
        &Right {
            relation: [Some("itself"), Some("ancestor")],
            // That it was another program's is known to nobody: an exec of the same file.
            first: ["stop_holder", "stop_holder", "leave_to_parent"],
            says: [
                "descriptor 3, before the bind, or use",
                "descriptor 3, before",
                "started from",
            ],
            ..Right::default()
        },
    );
}

#[test]
fn handed_over() {
    check(
        "handed_over",
        &Right {
            relation: [Some("itself"), Some("ancestor")],
            first: ["use_own_socket", "stop_holder", "leave_to_parent"],
            says: ["as descriptor", "before the bind, or use", "started from"],
            ..Right::default()
        },
    );
}

#[test]
fn its_parent() {
    check(
        "parent",
        &Right {
            relation: [Some("parent"), Some("ancestor")],
            first: same!("leave_to_parent"),
            says: ["the parent of", "the parent of", "started from"],
            ..Right::default()
        },
    );
}

#[test]
fn its_grandparent() {
    check(
        "grandparent",
        &Right {
            relation: [Some("ancestor"), Some("ancestor")],
            first: same!("leave_to_parent"),
            says: ["an ancestor of", "an ancestor of", "started from"],
            ..Right::default()
        },
    );
}

#[test]
fn its_child() {
    check(
        "child",
        &Right {
            relation: [Some("child"), None],
            says: ["a child of", "a child of", "listens"],
            ..Right::default()
        },
    );
}

#[test]
fn its_grandchild() {
    check(
        "grandchild",
        &Right {
            relation: [Some("descendant"), None],
            says: ["a descendant of", "a descendant of", "listens"],
            ..Right::default()
        },
    );
}

#[test]
fn its_sibling() {
    check(
        "sibling",
        &Right {
            relation: [Some("sibling"), None],
            says: [
                "which has the same parent as",
                "which has the same parent as",
                "started by",
            ],
            ..Right::default()
        },
    );
}

#[test]
fn a_second_start() {
    check(
        "second_start",
        &Right {
            relation: [Some("same_command"), None],
            first: ["already_running", "already_running", "stop_holder"],
            says: ["runs the same command", "runs the same command", "listens"],
            ..Right::default()
        },
    );
}

#[test]
fn what_a_wrapper_left_behind() {
    check(
        "orphan",
        &Right {
            says: same!("which outlived what started it"),
            ..Right::default()
        },
    );
}

#[test]
fn one_that_its_parent_starts_again() {
    let right = Right {
        relation: [None, None],
        first: ["stop_parent", "stop_parent", "stop_holder"],
        // What has been is known to who was there.
        says: ["started it again", "started it again", "(started by"],
        ..Right::default()
    };
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) && let Some(told) = play("respawned", 2, None)
    {
        assert_right("respawned", &right, &told);
    }
}

#[test]
fn one_that_a_supervisor_runs() {
    check(
        "supervised",
        &Right {
            first: same!("stop_parent"),
            says: same!("(gunicorn), which runs python3["),
            ..Right::default()
        },
    );
}

#[test]
fn stopped() {
    check(
        "stopped",
        &Right {
            relation: [Some("sibling"), None],
            first: same!("continue_holder"),
            says: same!("which is stopped (SIGSTOP or ctrl-z)"),
            ..Right::default()
        },
    );
}

#[test]
fn frozen() {
    if !on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) {
        return;
    }
    let Some(group) = Cgroup::make(&format!("tcpstate-relation-{}", std::process::id())) else {
        return;
    };
    let told = play("frozen", 1, Some(&group));
    fs::write(group.path().join("cgroup.freeze"), "0").expect("the group is ours");
    let right = Right {
        relation: [Some("sibling"), None],
        first: same!("thaw_holder"),
        says: same!("whose control group is frozen"),
        ..Right::default()
    };
    assert_right("frozen", &right, &told.expect("it can be set"));
}

#[test]
fn in_a_thread_with_descriptors_of_its_own() {
    check(
        "thread",
        &Right {
            relation: [Some("sibling"), None],
            says: same!("a thread of which has it among descriptors of its own"),
            ..Right::default()
        },
    );
}

#[test]
fn in_flight() {
    check(
        "in_flight",
        &Right {
            is_named: false,
            certainty: "likely",
            says: ["no process was found to have open any more", "", ""],
            ..Right::default()
        },
    );
}

#[test]
fn inside_accept_on_a_descriptor_that_was_closed() {
    if !on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) {
        return;
    }
    let told = play("accepting", 1, None).expect("it can be set");

    for answer in [&told.early, &told.late, &told.by_root] {
        assert_eq!(answer["certainty"], "likely", "{answer}");
        let missing = answer["missing"].to_string();
        assert!(missing.contains("inside accept"), "{answer}");
        // Nobody else on this stage has such a thread.
        let process = &answer["holders"][0]["processes"][0];
        assert_eq!(process["held_in"], "accept", "{answer}");
        assert_eq!(process["pid"], told.holders[0], "{answer}");
    }
    for answer in [&told.early, &told.late, &told.by_root] {
        assert_eq!(answer["cause"], "active_listener", "{answer}");
        assert_harmless("accepting", answer, &told.protected);
    }
}

#[test]
fn in_an_io_uring() {
    check(
        "io_uring",
        &Right {
            relation: [Some("sibling"), None],
            says: same!("in an io_uring"),
            ..Right::default()
        },
    );
}

#[test]
fn the_kernels_own() {
    let right = Right {
        is_named: false,
        says: same!("the kernel"),
        ..Right::default()
    };
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
        Program("ip", "iproute2"),
    ]) && let Some(told) = play("kernel", 1, None)
    {
        for answer in [&told.early, &told.late, &told.by_root] {
            assert_eq!(answer["cause"], right.cause, "{answer}");
            assert!(
                answer["summary"].to_string().contains("the kernel"),
                "{answer}"
            );
            assert!(
                answer["fixes"][0]["text"]
                    .to_string()
                    .contains("made the kernel open"),
                "{answer}"
            );
        }
    }
}
