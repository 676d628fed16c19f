//! The examples of `docs/other-tools.md`, run as they stand there.
//!
//! `UPDATE_EXPECT=1` writes what they print into the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::expect_file;
use support::{Program, PythonModule, require};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A fenced block: its language and its lines.
struct Block {
    language: String,
    text: String,
}

/// The page as prose and blocks, in turn.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn run(program: &str, flag: &str, script: &str, dir: &Path) -> String {
    let output = Command::new(program)
        .args([flag, script])
        .current_dir(dir)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{script}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_example_prints_what_the_page_says() {
    if !require(&[
        Program("jq", "jq"),
        Program("python3", "python3"),
        PythonModule("duckdb"),
    ]) {
        return;
    }
    let page = root().join("docs/other-tools.md");
    let told = fs::read_to_string(&page).expect("the page is there");
    let dir = tempfile::tempdir().expect("a directory");
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings/schema-1.jsonl"),
        dir.path().join("outage.jsonl"),
    )
    .expect("the recording is there");
    let mut written = told.clone();
    let mut examples = 0;

    let blocks = blocks(&told);
    for pair in blocks.windows(2) {
        let [example, printed] = pair else { continue };
        let now = match example.language.as_str() {
            "sh" => run("sh", "-c", &example.text, dir.path()),
            "python" => run("python3", "-c", &example.text, dir.path()),
            _ => continue,
        };
        assert_eq!(
            printed.language, "text",
            "no output under:\n{}",
            example.text
        );
        assert!(
            !now.trim().is_empty(),
            "nothing comes of:\n{}",
            example.text
        );
        examples += 1;
        let fence = |text: &str| format!("{}```\n\n```text\n{text}```\n", example.text);
        written = written.replace(&fence(&printed.text), &fence(&now));
    }
    assert!(examples >= 7, "only {examples} examples");
    expect_file![page].assert_eq(&written);
}

#[test]
fn the_configurations_are_well_formed() {
    if !require(&[Program("python3", "python3")]) {
        return;
    }
    let told = fs::read_to_string(root().join("docs/other-tools.md")).expect("the page is there");
    let mut configurations = 0;
    for block in blocks(&told) {
        match block.language.as_str() {
            "toml" => {
                let script = "import sys, tomllib; tomllib.loads(sys.argv[1])";
                let output = Command::new("python3")
                    .args(["-c", script, &block.text])
                    .output()
                    .expect("python3 runs");
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                configurations += 1;
            }
            "ini" => {
                for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
                    let is_section = line.starts_with('[') && line.ends_with(']');
                    let is_pair = line.starts_with("    ") && line.split_whitespace().count() >= 2;
                    assert!(is_section || is_pair, "{line}");
                }
                configurations += 1;
            }
            _ => {}
        }
    }
    assert_eq!(configurations, 3);
}
