//! Plays a stage, and holds what watch, explain and release say of it against what is expected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::owners::{Script, pids};
use support::{Cgroup, Lacking, Program, TCPSTATE, Watch, on_stage, run, skip_for};

const STAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/relation/stage.py");

/// What is right in one relation.
pub(super) struct Expected {
    pub(super) cause: &'static str,
    /// Of the caller to the holder, as the watches say it; as `explain` does, which is run
    /// by the caller.
    pub(super) relation: [Option<&'static str>; 2],
    /// The id of the first fix: of the watch from before, of the late one, of `explain`.
    pub(super) first: [&'static str; 3],
    /// In the sentence or the first fix of each.
    pub(super) says: [&'static str; 3],
    /// Whether a process is known to have it.
    pub(super) is_named: bool,
    pub(super) certainty: &'static str,
}

impl Default for Expected {
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
pub(super) struct Answers {
    pub(super) holders: Vec<u64>,
    /// Whose end nobody may advise first: the caller, all above it.
    pub(super) protected: Vec<u64>,
    pub(super) early: Value,
    pub(super) late: Value,
    pub(super) by_root: Value,
    pub(super) by_user: Value,
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
pub(super) fn play(name: &str, calls: usize, group: Option<&Cgroup>) -> Option<Answers> {
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
    let mut answers = Vec::new();
    let mut caller = Value::Null;
    for call in 0..calls {
        script.go_on();
        let called = script.json();
        assert_eq!(called["errno"], "EADDRINUSE", "{called}");
        caller = called["caller"].clone();
        answers = vec![
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
    let late = answers.pop().expect("two");
    Some(Answers {
        holders: pids_of(&there["holders"]),
        protected,
        early: answers.pop().expect("two"),
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
pub(super) fn assert_expected(name: &str, expected: &Expected, answers: &Answers) {
    let by_asker = [
        ("watch", &answers.early, 0),
        ("late watch", &answers.late, 1),
        ("explain", &answers.by_root, 2),
    ];
    for (who, answer, at) in by_asker {
        let place = format!("{name}, {who}: {answer}");
        assert_eq!(answer["cause"], expected.cause, "{place}");
        let holders = answer["holders"].as_array().expect("a list");
        assert_eq!(holders.len(), 1, "{place}");
        let holder = &holders[0];
        let relation = expected.relation[usize::from(at == 2)];
        assert_eq!(holder["relation"].as_str(), relation, "{place}");
        assert_eq!(answer["fixes"][0]["id"], expected.first[at], "{place}");
        let said = format!("{} {}", answer["summary"], answer["fixes"][0]["text"]);
        assert!(said.contains(expected.says[at]), "{place}");
        assert_eq!(answer["certainty"], expected.certainty, "{place}");
        if expected.is_named {
            assert_eq!(pids(&holder["processes"]), answers.holders, "{place}");
        }
        let missing = answer["missing"].as_array().expect("a list");
        assert_eq!(
            missing.is_empty(),
            expected.certainty == "proven",
            "{place}"
        );
        assert_harmless(&place, answer, &answers.protected);
    }
    // A user is shown the kernel's sockets, and no one else's descriptors.
    let user = &answers.by_user;
    let place = format!("{name}, explain as a user: {user}");
    assert_eq!(user["cause"], expected.cause, "{place}");
    assert_eq!(user["would_listen"], "no", "{place}");
    let holder = &user["holders"][0];
    assert_eq!(holder["processes"], Value::Null, "{place}");
    assert_eq!(holder["relation"], Value::Null, "{place}");
    assert!(user["missing"].to_string().contains("root"), "{place}");
    assert_harmless(&place, user, &answers.protected);
}

/// Nobody is told to end himself first, what he is below, or by a line to paste anybody.
#[track_caller]
pub(super) fn assert_harmless(place: &str, answer: &Value, protected: &[u64]) {
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
pub(super) fn check(name: &str, expected: &Expected) {
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) && let Some(answers) = play(name, 1, None)
    {
        assert_expected(name, expected, &answers);
    }
}
