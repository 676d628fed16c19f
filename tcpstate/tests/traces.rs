//! Recordings of each way that a connection ends, made on a real kernel: they
//! replay to the same bytes, and to the same path.
//!
//! `UPDATE_EXPECT=1 cargo test -p tcpstate --test live traces`, as root, makes
//! them anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::paths;
use tcpstate::event::Body;
use tcpstate::export::json;

#[test]
fn each_recording_replays_to_its_own_bytes_and_path() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    for path in paths::PATHS {
        let file = folder.join(format!("{}.jsonl", path.name));
        let recorded =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));

        let replayed = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
            .args(["replay", "--json"])
            .arg(&file)
            .output()
            .expect("tcpstate starts");

        assert!(replayed.status.success(), "{replayed:?}");
        let replayed = String::from_utf8(replayed.stdout).expect("text");
        assert!(
            replayed == recorded,
            "{} replays to:\n{replayed}",
            path.name
        );
        let events: Vec<Value> = replayed
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(paths::shown(&events), path.as_shown(), "{}", path.name);
    }
    let recordings = fs::read_dir(&folder).expect("there are some").count();
    assert_eq!(
        recordings,
        paths::PATHS.len(),
        "each recording has its path"
    );
}

#[test]
fn what_the_engine_worked_out_is_not_taken_from_the_line() {
    let mut worked_out = 0;
    for path in paths::PATHS {
        let file = format!(
            "{}/tests/traces/{}.jsonl",
            env!("CARGO_MANIFEST_DIR"),
            path.name
        );
        let recorded = fs::read_to_string(&file).expect("it is there");
        for line in recorded
            .lines()
            .filter(|line| line.contains(r#""via":"tracked""#))
        {
            let (_, event) = json::read_line(line.as_bytes()).expect("a line of ours");
            let process = match event.map(|event| event.body) {
                // Who connected is told by nothing else where hooks get no cookies.
                Some(Body::State(change)) if !change.is_answer() => change.process,
                Some(Body::Reset(reset)) => reset.process,
                _ => continue,
            };
            assert!(process.is_none(), "{line}");
            worked_out += 1;
        }
    }
    assert!(worked_out > 0, "no recording has such a line");
}
