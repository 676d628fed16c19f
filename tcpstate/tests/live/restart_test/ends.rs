//! How it ends: interrupted, with another's output, under GitHub Actions.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use support::{on_stage, wait_until};

#[test]
fn an_interrupt_ends_all_that_was_started() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Neither the server nor its child ends by itself at once.
    let program = server(
        "import signal\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         s = listener(1)\n\
         os.fork()\n\
         time.sleep(1000)",
    );
    for (user, signal) in [
        (User::Root, Signal::INT),
        (User::Nobody, Signal::TERM),
        (User::Nobody, Signal::INT),
    ] {
        let mark = mark();
        let mut child = command(user, &["--ways=server_closes_first"], &program, &mark)
            .spawn()
            .expect("it starts");
        // Itself, the server, its child.
        wait_until("the server runs", || marked(&mark).len() >= 3);
        let began_ns = tcpstate::clock::monotonic_ns();

        kill_process(Pid::from_child(&child), signal).expect("it runs");

        let status = child.wait().expect("it ends");
        let took = Duration::from_nanos(tcpstate::clock::monotonic_ns() - began_ns);
        assert_eq!(status.code(), Some(2));
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert_eq!(marked(&mark), [""; 0]);
    }
}

#[test]
fn the_json_is_one_object_of_the_schema_whatever_the_server_prints() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let schema = tcpstate::export::schema::schema();
    let validator = jsonschema::validator_for(schema.as_value()).expect("the schema is one");
    // More than a pipe holds.
    let noisy = server("print('x' * 300_000, flush=True)\nserve(listener(0))");
    for user in USERS {
        let answer = restart_test(user, &["--ways=idle,sigkill"], &noisy);

        let errors: Vec<String> = validator
            .iter_errors(&answer.json)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, [""; 0]);
        assert_eq!(answer.json["event"], "restart_test");
        assert_eq!(answer.json["port"], 8080);
        for round in answer.json["rounds"].as_array().expect("rounds") {
            for field in [
                "way",
                "at_once",
                "downtime_ms",
                "refused",
                "reset",
                "failed_binds",
            ] {
                assert!(round.get(field).is_some(), "{field}: {round}");
            }
        }
        assert_eq!(answer.said, "");
    }
}

#[test]
fn the_table_fits_a_narrow_terminal() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let output = command(User::Nobody, &[], &server("serve(listener(0))"), &mark())
        .output()
        .expect("it starts");

    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    // But for the line of code, which is to be pasted.
    for line in said.lines().filter(|line| !line.contains("python: ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(said.contains("fails: it does not restart: server_closes_first"));
}

#[test]
fn under_github_actions_the_summary_has_the_table() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let folder = open_folder();
    let summary = folder.path().join("summary.md");
    for (source, code, line) in [
        (
            FINE,
            0,
            "**it restarts at once in every way that was tried**",
        ),
        ("serve(listener(0))", 1, "**it does not restart: sigkill**"),
    ] {
        let options = ["--ways=idle,sigkill", "--markdown"];
        let output = command(User::Nobody, &options, &server(source), &mark())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &summary)
            .output()
            .expect("it starts");

        assert_eq!(output.status.code(), Some(code));
        let printed = text(&output.stdout);
        assert!(printed.contains(line), "{printed}");
        let written = fs::read_to_string(&summary).expect("it was written");
        assert!(written.ends_with(&printed), "{written}");
        let has_error = text(&output.stderr).contains("::error title=tcpstate: restart-test::");
        assert_eq!(has_error, code != 0);
    }
}

/// The workflow of the docs: the steps that prepare the runner are its own affair.
#[test]
fn the_workflow_of_the_docs_does_what_it_says() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, support::Program("bash", "bash")]) {
        return;
    }
    let page = include_str!("../../../../docs/restart-test.md");
    let steps: Vec<&str> = page
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- run: tcpstate "))
        .collect();
    let [step] = steps[..] else {
        panic!("{steps:?}")
    };
    let folder = open_folder();
    fs::write(folder.path().join("index.html"), "fine").expect("there is room");
    let summary = folder.path().join("summary.md");
    let script = format!("{} {step}", TCPSTATE.path());

    // As GitHub's runner runs a step.
    let output = as_user(User::Nobody, "bash")
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .expect("bash is there");

    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = fs::read_to_string(&summary).expect("it was written");
    assert!(summary.contains("| idle | at once |"), "{summary}");
}

#[test]
fn what_cannot_be_tested_is_one_sentence_and_exit_code_2() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    let nothing = ["/nonexistent/server".to_owned()];
    for options in [
        &[][..],
        &["--ways=gently"],
        &["--ready=http=up"],
        &["--clients=0"],
    ] {
        let output = command(User::Nobody, options, &nothing, &mark())
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(!output.stderr.is_empty());
        assert!(output.stdout.is_empty());
    }
}
