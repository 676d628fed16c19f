//! What the program may still do once it has what it needs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tcpstate::confine::{KEPT_CAPABILITIES, Run};

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, Watch, on_stage, patience, run};

/// `/proc/PID/status` of each thread.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .map(|status| {
            let pairs = status.lines().filter_map(|line| line.split_once(':'));
            pairs
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect()
        })
        .collect()
}

fn set(thread: &BTreeMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&thread[name], 16).expect("a number")
}

/// Numbers of capabilities(7).
fn bits(names: &[&str]) -> u64 {
    let number = |name: &&str| match *name {
        "CAP_CHOWN" => 0,
        "CAP_DAC_OVERRIDE" => 1,
        "CAP_DAC_READ_SEARCH" => 2,
        "CAP_FOWNER" => 3,
        "CAP_KILL" => 5,
        "CAP_SYS_PTRACE" => 19,
        "CAP_SYS_ADMIN" => 21,
        "CAP_PERFMON" => 38,
        "CAP_BPF" => 39,
        other => panic!("{other}"),
    };
    names.iter().map(|name| 1 << number(name)).sum()
}

#[track_caller]
fn assert_confined(pid: u32, names: &[&str]) {
    let may = bits(names);
    let threads = threads(pid);
    assert!(!threads.is_empty());
    for thread in threads {
        for name in ["CapEff", "CapPrm", "CapBnd"] {
            let extra = set(&thread, name) & !may;
            assert_eq!(
                extra, 0,
                "{name} of {} has {extra:x} besides",
                thread["Name"]
            );
        }
        assert_eq!(set(&thread, "CapInh") | set(&thread, "CapAmb"), 0);
        assert_eq!(thread["NoNewPrivs"], "1", "{}", thread["Name"]);
    }
}

#[test]
fn who_watches_keeps_what_watching_takes() {
    if !on_stage(&[]) {
        return;
    }
    let kept: Vec<&str> = Run::default()
        .keeps()
        .iter()
        .map(|kept| kept.name)
        .collect();
    let watch = Watch::start(&[]);

    assert_confined(watch.pid(), &kept);
    watch.finish();
}

#[test]
fn the_threads_of_a_dashboard_keep_no_more() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let terminal = Terminal::start(100, 30, &format!("{TCPSTATE} watch --netns self"));
    terminal.wait_for("q quit");
    let pid = u32::try_from(terminal.child().as_raw_nonzero().get()).expect("positive");

    let kept: Vec<&str> = KEPT_CAPABILITIES.iter().map(|kept| kept.name).collect();
    let shell = fs::read_to_string(format!("/proc/{pid}/comm")).expect("it is there");
    assert_eq!(shell.trim(), "tcpstate");
    assert_confined(pid, &kept);
    terminal.keys(&["q"]);
}

/// As under sudo: the folder is the caller's, and so are all parts.
#[test]
fn later_parts_are_made_in_the_folder_of_who_called_sudo() {
    if !on_stage(&[]) {
        return;
    }
    for owner in [65534, 0] {
        let dir = tempfile::tempdir().expect("a directory");
        chown(dir.path(), Some(owner), Some(owner)).expect("root may");
        // Of his last run.
        fs::write(dir.path().join("r.2.jsonl"), "of before").expect("it can be written");
        chown(dir.path().join("r.2.jsonl"), Some(65534), Some(65534)).expect("root may");
        record_parts(dir.path());
    }
}

fn record_parts(dir: &Path) {
    let output = Command::new(TCPSTATE)
        .args(["watch", "--json", "--netns", "self", "--duration", "3500ms"])
        .args(["--record", "r.jsonl", "--rotate-age", "1s"])
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("tcpstate starts");

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    for name in ["r.jsonl", "r.2.jsonl", "r.3.jsonl"] {
        let part = fs::metadata(dir.join(name)).expect("it is there");
        assert_eq!((part.uid(), part.mode() & 0o777), (65534, 0o600), "{name}");
    }
}

/// Ends with the value: a test that fails leaves nobody waiting.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The recording is a FIFO: the program waits for its first byte.
#[test]
fn who_reads_a_recording_has_given_up_all_before_its_first_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("r.jsonl");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()));
    let path = fifo.to_str().expect("a path");
    for arguments in [
        vec!["replay", "--json", path],
        vec!["replay", "--format", "text", path],
        vec!["report", path],
    ] {
        let child = Command::new(TCPSTATE)
            .args(&arguments)
            .stdout(Stdio::null())
            .spawn();
        let child = Ends(child.expect("tcpstate starts"));
        let waits = |pid| {
            let at = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
            at.contains("wait_for_partner") || at.contains("fifo_open")
        };
        let pid = child.0.id();
        let is_waiting = (0..patience().as_millis() / 20).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            waits(pid)
        });
        assert!(is_waiting, "{arguments:?}");
        assert_confined(pid, &["CAP_DAC_READ_SEARCH"]);
    }
}

#[test]
fn a_report_that_comes_to_nothing_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&input, "nothing\n").expect("it can be written");
    let (input, out) = (
        input.to_str().expect("a path"),
        out.to_str().expect("a path"),
    );

    assert_eq!(run(&["report", input, "-o", out]).status.code(), Some(2));
    assert!(!fs::exists(out).expect("it can be asked"));
    fs::write(out, "of before").expect("it can be written");
    assert_eq!(run(&["report", input, "-o", out]).status.code(), Some(2));
    assert_eq!(fs::read_to_string(out).expect("it is there"), "of before");
}

#[test]
fn doctor_says_what_is_kept_and_why() {
    if !on_stage(&[]) {
        return;
    }
    let report: serde_json::Value =
        serde_json::from_slice(&run(&["doctor", "--json"]).stdout).expect("JSON");
    let text = run(&["doctor"]).stdout;
    let text = String::from_utf8_lossy(&text);
    for kept in KEPT_CAPABILITIES {
        let line = format!("{:20}", kept.name);
        assert!(text.contains(&line) && text.contains(kept.reason), "{text}");
        let found = report["keeps"].as_array().expect("a list").iter();
        let is_there = found.clone().any(|one| one["capability"] == kept.name);
        assert!(is_there, "{report}");
    }
}
