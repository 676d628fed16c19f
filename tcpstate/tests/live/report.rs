//! `tcpstate report`: the postmortem of what the kernel really did.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;
use tcpstate::demo::{Expectation, SCENARIOS};

use support::{Watch, connection, drain, listener, on_stage, run, try_bind};

fn report(recording: &Path, format: &str) -> String {
    let output = run(&[
        "report",
        recording.to_str().expect("the path is text"),
        "--format",
        format,
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "", "nothing to complain about");
    String::from_utf8(output.stdout).expect("a report is text")
}

fn json(recording: &Path) -> Value {
    serde_json::from_str(&report(recording, "json")).expect("it is JSON")
}

#[test]
fn every_story_has_a_report_that_names_its_cause_and_downtime() {
    if !on_stage(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    for scenario in SCENARIOS {
        let recording = folder.path().join(format!("{}.jsonl.zst", scenario.name));
        let path = recording.to_str().expect("the path is text");
        let output = run(&["demo", scenario.name, "--format", "text", "--record", path]);
        assert!(output.status.success(), "{}: {output:?}", scenario.name);

        let made = json(&recording);
        let pages = [report(&recording, "html"), report(&recording, "md")];

        assert_eq!(made["recording"]["is_complete"], true, "{}", scenario.name);
        assert_eq!(made["summary"].as_array().map(Vec::len), Some(3));
        match scenario.expectation {
            Expectation::Refused(cause) => {
                assert_eq!(made["failures"][0]["diagnosis"]["cause"], cause.name());
                assert_eq!(made["failures"][1], Value::Null);
                for page in &pages {
                    assert!(page.contains(cause.name()), "{}", scenario.name);
                    assert!(page.contains("server-new["), "{}", scenario.name);
                }
            }
            Expectation::Works => {
                assert_eq!(made["failures"][0], Value::Null);
                let restart = &made["restarts"][0];
                assert!(restart["again"].is_object(), "{}", scenario.name);
                // The story pauses once and starts a process between the two.
                let downtime_ms = restart["downtime_ms"].as_u64().expect("a number");
                assert!((150..10_000).contains(&downtime_ms), "{downtime_ms} ms");
                for page in &pages {
                    assert!(page.contains("was down for"), "{}", scenario.name);
                }
            }
        }
    }
}

#[test]
fn the_downtime_is_the_one_that_a_stopwatch_shows() {
    if !on_stage(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let recording = folder.path().join("run.jsonl");
    let address = "127.0.0.1:9321";
    let mut watch = Watch::start(&["--record", recording.to_str().expect("text")]);
    let old = listener(address, false);
    let (server, client) = connection(&old, address);
    drop(server);
    drain(&client);
    drop(client);

    let before_close_ns = clock::monotonic_ns();
    drop(old);
    let after_close_ns = clock::monotonic_ns();
    let refused = [
        try_bind(address, false).is_err(),
        try_bind(address, true).is_err(),
    ];
    std::thread::sleep(Duration::from_millis(300));
    let other = "127.0.0.2:9321";
    let before_listen_ns = clock::monotonic_ns();
    let new = listener(other, true);
    let after_listen_ns = clock::monotonic_ns();
    watch.wait_for("the restart", |event| event["event"] == "restart");
    watch.finish();
    drop(new);
    let made = json(&recording);

    assert_eq!(refused, [true, true], "the kernel refuses both");
    let restart = &made["restarts"][0];
    assert_eq!(restart["failed_binds"], 2);
    assert_eq!(
        restart["failures"].as_array().map(Vec::len),
        made["failures"].as_array().map(Vec::len)
    );
    assert_eq!(restart["time_wait"], 1);
    let downtime_ns = restart["again"]["after_ns"].as_u64().expect("a number")
        - restart["closed"]["after_ns"].as_u64().expect("a number");
    let possible = before_listen_ns - after_close_ns..=after_listen_ns - before_close_ns;
    assert!(
        possible.contains(&downtime_ns),
        "{downtime_ns} ns, by the stopwatch {possible:?}: {restart}"
    );
}

#[test]
fn a_recording_that_breaks_off_is_reported_up_to_there() {
    if !on_stage(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let whole = folder.path().join("whole.jsonl");
    let path = whole.to_str().expect("the path is text");
    assert!(
        run(&["demo", "restart", "--format", "text", "--record", path])
            .status
            .success()
    );
    let mut bytes = fs::read(&whole).expect("it was recorded");
    bytes.truncate(bytes.len() - 40);
    let cut = folder.path().join("cut.jsonl");
    fs::write(&cut, &bytes).expect("the folder can be written");

    let made = json(&cut);

    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert_eq!(made["recording"]["cut_in_line"], lines);
    assert_eq!(made["recording"]["is_complete"], false);
    assert!(
        made["caveats"][0]
            .as_str()
            .is_some_and(|text| text.contains(&format!("cut in line {lines}")))
    );
    assert_eq!(made["failures"][0]["call"], "bind", "what is there is told");
    assert!(report(&cut, "html").contains(&format!("cut in line {lines}")));
}

#[test]
fn the_file_is_for_its_owner_and_never_the_recording() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let recording = folder.path().join("run.jsonl");
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report/restart.jsonl"),
        &recording,
    )
    .expect("the recording is kept");
    let recording = recording.to_str().expect("the path is text");
    let kept = fs::read(recording).expect("it is there");

    for (name, start) in [
        ("out.html", "<!DOCTYPE html>"),
        ("out.md", "# tcpstate report"),
        ("out.json", "{"),
    ] {
        let out = folder.path().join(name);
        let out = out.to_str().expect("the path is text");
        let output = run(&["report", recording, "-o", out]);
        assert!(output.status.success(), "{name}");
        assert!(output.stdout.is_empty());
        let text = fs::read_to_string(out).expect("it was written");
        assert!(text.starts_with(start), "{name} is what its name says");
        let mode = fs::metadata(out).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let output = run(&["report", recording, "-o", recording]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("is the recording itself"),
        "it says why"
    );
    assert_eq!(fs::read(recording).expect("it is there"), kept);
}

#[test]
fn parts_of_a_recording_are_one_report() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report/restart.jsonl");
    let whole = fs::read_to_string(&kept).expect("the recording is kept");
    let lines: Vec<&str> = whole.lines().collect();
    let (first, second) = lines.split_at(9);
    let mut header: Value = serde_json::from_str(lines[0]).expect("it is JSON");
    header["part"] = 2.into();
    header["seq"] = 8.into();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text + "\n").expect("the folder can be written");
        path.to_str().expect("the path is text").to_owned()
    };
    let one = file("run.jsonl", first.join("\n"));
    let two = file("run.2.jsonl", format!("{header}\n{}", second.join("\n")));

    let both = run(&["report", &one, &two, "--format", "md"]);
    let later = run(&["report", &two, "--format", "json"]);
    let turned = run(&["report", &two, &one]);

    assert_eq!(
        String::from_utf8_lossy(&both.stdout),
        report(&kept, "md"),
        "as if it were one file: {}",
        String::from_utf8_lossy(&both.stderr)
    );
    let later: Value = serde_json::from_slice(&later.stdout).expect("it is JSON");
    assert_eq!(later["recording"]["first_part"], 2);
    assert_eq!(later["recording"]["is_complete"], false);
    assert_eq!(turned.status.code(), Some(2));
}

#[test]
fn what_is_no_recording_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder can be written");
        path.to_str().expect("the path is text").to_owned()
    };
    let folder_path = folder.path().to_str().expect("the path is text").to_owned();
    for (path, sentence) in [
        ("/nonexistent".to_owned(), "cannot open the recording"),
        (folder_path, "Is a directory"),
        (file("empty", ""), "has no header line"),
        (file("prose", "not a recording\n"), "has no header line"),
        (
            file("tick", "{\"event\":\"tick\",\"seq\":0,\"mono_ns\":5}\n"),
            "has no header line",
        ),
    ] {
        let output = run(&["report", &path]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{path}: {stderr}");
        assert!(stderr.contains(sentence), "{path}: {stderr}");
        assert!(output.stdout.is_empty(), "{path}");
    }
}
