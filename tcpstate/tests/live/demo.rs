//! `tcpstate demo`: every story comes out as it must.

use serde_json::Value;
use tcpstate::demo::{Expectation, SCENARIOS};

use support::lines::Lines;
use support::{on_stage, run};

/// The story's events. They are also what its recording replays to, byte for
/// byte, and of the schema.
fn events_of(scenario: &str, lines: &mut Lines) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a directory");
    let recording = folder.path().join("r.jsonl");
    let recording = recording.to_str().expect("a path");
    let output = run(&["demo", scenario, "--json", "--record", recording]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {stderr}");
    let replayed = run(&["replay", "--json", recording]);
    let told = String::from_utf8(output.stdout).expect("the output is text");
    assert!(
        replayed.stdout == told.as_bytes() && replayed.stderr.is_empty(),
        "{scenario} replays to {}{}, and was told as {told}",
        String::from_utf8_lossy(&replayed.stdout),
        String::from_utf8_lossy(&replayed.stderr),
    );
    told.lines().for_each(|line| lines.check(line));
    told.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn every_story_comes_out_as_it_must() {
    if !on_stage(&[]) {
        return;
    }
    let mut lines = Lines::of_the_schema();
    for scenario in SCENARIOS {
        let events = events_of(scenario.name, &mut lines);
        let causes: Vec<&str> = events
            .iter()
            .filter(|event| event["event"] == "diagnosis")
            .filter_map(|event| event["cause"].as_str())
            .collect();
        let restarts = events
            .iter()
            .filter(|event| event["event"] == "restart")
            .count();
        match scenario.expectation {
            Expectation::Refused(cause) => assert_eq!(
                (causes, restarts),
                (vec![cause.name()], 0),
                "{}",
                scenario.name
            ),
            Expectation::Works => assert_eq!((causes, restarts), (vec![], 1), "{}", scenario.name),
        }
        assert_eq!(
            events.last().expect("there are events")["event"],
            "footer",
            "{}",
            scenario.name
        );
    }
}

#[test]
fn the_first_story_tells_cause_holder_seconds_and_fix() {
    if !on_stage(&[]) {
        return;
    }
    let output = run(&["demo"]);
    let text = String::from_utf8(output.stdout).expect("the output is text");

    for part in [
        "[time_wait_left_without_reuse]",
        "held by",
        "server-old[",
        "time_wait",
        "s left",
        "free in",
        "fix",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert!(output.status.success());
}

#[test]
fn the_stories_are_listed() {
    let text = String::from_utf8(run(&["demo", "--list"]).stdout).expect("the output is text");

    for scenario in SCENARIOS {
        assert!(
            text.contains(scenario.name),
            "{} is missing:\n{text}",
            scenario.name
        );
    }
}

#[test]
fn the_stories_that_people_meet_most_have_their_advice_first() {
    if !on_stage(&[]) {
        return;
    }
    for (scenario, fix, text) in [
        ("second-start", "already_running", "runs the same command"),
        (
            "stopped",
            "continue_holder",
            "which is stopped (SIGSTOP or ctrl-z)",
        ),
        ("container", "stop_holder", "docker-proxy["),
    ] {
        let events = events_of(scenario, &mut Lines::of_the_schema());

        let diagnosis = events
            .iter()
            .find(|event| event["event"] == "diagnosis")
            .expect("a bind fails");
        assert_eq!(diagnosis["fixes"][0]["id"], fix, "{diagnosis}");
        assert!(
            diagnosis["summary"].to_string().contains(text),
            "{diagnosis}"
        );
    }
}
