//! A recording of each version of the schema is kept, and is read as it was
//! meant: every line is of the schema, and the same failures have the same
//! causes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tcpstate::engine::{Engine, Limits};
use tcpstate::event::{Body, SCHEMA_VERSION};
use tcpstate::export::schema;
use tcpstate::recording::input;
use tcpstate::recording::reader::Reader;

fn kept() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings");
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("recordings are kept")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[test]
fn there_is_one_of_the_present_version() {
    let name = format!("schema-{SCHEMA_VERSION}.jsonl");
    assert!(kept().iter().any(|file| file.ends_with(&name)), "{name}");
}

#[test]
fn every_line_is_of_the_schema() {
    let schema = schema::schema();
    let validator = jsonschema::validator_for(schema.as_value()).expect("the schema is one");
    for file in kept() {
        let text = fs::read_to_string(&file).expect("text");
        for (at, line) in text.lines().enumerate() {
            let value: Value = serde_json::from_str(line).expect("JSON");
            assert!(
                validator.is_valid(&value),
                "{} line {}: {line}",
                file.display(),
                at + 1
            );
        }
    }
}

#[test]
fn the_same_failures_have_the_same_causes() {
    for file in kept() {
        let mut told = Vec::new();
        let mut engine = Engine::new(Limits::default());
        for event in Reader::new(input::open(&file).expect("it opens")) {
            let event = event.expect("every line is read");
            match &event.body {
                Body::Diagnosis(diagnosis) => told.push((diagnosis.of, diagnosis.cause)),
                Body::Restart(restart) => told.push((restart.listen_again_seq, restart_mark())),
                _ => {}
            }
            engine.observe(event.mono_ns, event.body);
        }
        let again: Vec<_> = engine
            .log()
            .iter()
            .filter_map(|event| match &event.body {
                Body::Diagnosis(diagnosis) => Some((diagnosis.of, diagnosis.cause)),
                Body::Restart(restart) => Some((restart.listen_again_seq, restart_mark())),
                _ => None,
            })
            .collect();
        assert!(told.len() >= 4, "{}: {told:?}", file.display());
        assert_eq!(told, again, "{}", file.display());
    }
}

/// Restarts stand in the list of causes as what no call has.
fn restart_mark() -> tcpstate::event::Cause {
    tcpstate::event::Cause::HolderGone
}

/// The commands in it are those of the machine that was recorded.
#[test]
fn as_text_a_replay_says_once_that_its_commands_are_of_then() {
    let replayed = |file: &Path, format: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tcpstate"))
            .args(["replay", "--format", format])
            .arg(file)
            .output()
            .expect("tcpstate starts");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let note = "commands are of then on host ";
    for file in kept() {
        let text = replayed(&file, "text");
        let (before, after) = text.split_once(note).expect("calls failed in it");
        assert!(!before.contains("FAILED"), "{text}");
        assert!(after.contains("$ "), "{text}");
        assert!(!after.contains(note), "{text}");
        assert!(!replayed(&file, "json").contains(note));
    }

    let dir = tempfile::tempdir().expect("a directory");
    let hostile = dir.path().join("hostile.jsonl");
    let text = fs::read_to_string(&kept()[0]).expect("text");
    let host = text.split_once("\"host\":\"").expect("it names the host").1;
    let host = host.split_once('"').expect("it ends").0;
    let (from, to) = (format!("\"host\":\"{host}\""), "\"host\":\"\\u001b[2J\"");
    fs::write(&hostile, text.replacen(&from, to, 1)).expect("it can be written");
    let text = replayed(&hostile, "text");
    assert!(text.contains(&format!("{note}\\u{{1b}}[2J;")), "{text}");
    assert!(!text.contains('\x1b'));
}
