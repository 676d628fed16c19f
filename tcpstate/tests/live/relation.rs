//! Who the holder is to whoever asks, told by a `watch` from before, a `watch` that came
//! later, `explain` and a replay, as root and as somebody else: each relation is staged with
//! real processes, and nowhere may an answer be wrong or contradict another.
//!
//! `watch` as somebody without privilege is refused (`bad_input`).

mod check;

use std::fs;

use check::{Expected, assert_expected, assert_harmless, check, play};
use support::{Cgroup, Program, on_stage};

macro_rules! same {
    ($value:expr) => {
        [$value, $value, $value]
    };
}

#[test]
fn itself() {
    check(
        "itself",
        &Expected {
            relation: [Some("itself"), Some("ancestor")],
            first: ["stop_holder", "stop_holder", "leave_to_parent"],
            says: [
                "itself already listens",
                "itself already listens",
                "started from",
            ],
            ..Expected::default()
        },
    );
}

#[test]
fn before_its_exec() {
    check(
        "before_exec",
        &Expected {
            relation: [Some("itself"), Some("ancestor")],
            // That it was another program's is known to nobody: an exec of the same file.
            first: ["stop_holder", "stop_holder", "leave_to_parent"],
            says: [
                "descriptor 3, before the bind, or use",
                "descriptor 3, before",
                "started from",
            ],
            ..Expected::default()
        },
    );
}

#[test]
fn handed_over() {
    check(
        "handed_over",
        &Expected {
            relation: [Some("itself"), Some("ancestor")],
            first: ["use_own_socket", "stop_holder", "leave_to_parent"],
            says: ["as descriptor", "before the bind, or use", "started from"],
            ..Expected::default()
        },
    );
}

#[test]
fn its_parent() {
    check(
        "parent",
        &Expected {
            relation: [Some("parent"), Some("ancestor")],
            first: same!("leave_to_parent"),
            says: ["the parent of", "the parent of", "started from"],
            ..Expected::default()
        },
    );
}

#[test]
fn its_grandparent() {
    check(
        "grandparent",
        &Expected {
            relation: [Some("ancestor"), Some("ancestor")],
            first: same!("leave_to_parent"),
            says: ["an ancestor of", "an ancestor of", "started from"],
            ..Expected::default()
        },
    );
}

#[test]
fn its_child() {
    check(
        "child",
        &Expected {
            relation: [Some("child"), None],
            says: ["a child of", "a child of", "listens"],
            ..Expected::default()
        },
    );
}

#[test]
fn its_grandchild() {
    check(
        "grandchild",
        &Expected {
            relation: [Some("descendant"), None],
            says: ["a descendant of", "a descendant of", "listens"],
            ..Expected::default()
        },
    );
}

#[test]
fn its_sibling() {
    check(
        "sibling",
        &Expected {
            relation: [Some("sibling"), None],
            says: [
                "which has the same parent as",
                "which has the same parent as",
                "started by",
            ],
            ..Expected::default()
        },
    );
}

#[test]
fn a_second_start() {
    check(
        "second_start",
        &Expected {
            relation: [Some("same_command"), None],
            first: ["already_running", "already_running", "stop_holder"],
            says: ["runs the same command", "runs the same command", "listens"],
            ..Expected::default()
        },
    );
}

#[test]
fn what_a_wrapper_left_behind() {
    check(
        "orphan",
        &Expected {
            says: same!("which outlived what started it"),
            ..Expected::default()
        },
    );
}

#[test]
fn one_that_its_parent_starts_again() {
    let expected = Expected {
        relation: [None, None],
        first: ["stop_parent", "stop_parent", "stop_holder"],
        // What has been is known to who was there.
        says: ["started it again", "started it again", "(started by"],
        ..Expected::default()
    };
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
    ]) && let Some(answers) = play("respawned", 2, None)
    {
        assert_expected("respawned", &expected, &answers);
    }
}

#[test]
fn one_that_a_supervisor_runs() {
    check(
        "supervised",
        &Expected {
            first: same!("stop_parent"),
            says: same!("(gunicorn), which runs python3["),
            ..Expected::default()
        },
    );
}

#[test]
fn stopped() {
    check(
        "stopped",
        &Expected {
            relation: [Some("sibling"), None],
            first: same!("continue_holder"),
            says: same!("which is stopped (SIGSTOP or ctrl-z)"),
            ..Expected::default()
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
    let answers = play("frozen", 1, Some(&group));
    fs::write(group.path().join("cgroup.freeze"), "0").expect("the group is ours");
    let expected = Expected {
        relation: [Some("sibling"), None],
        first: same!("thaw_holder"),
        says: same!("whose control group is frozen"),
        ..Expected::default()
    };
    assert_expected("frozen", &expected, &answers.expect("it can be set"));
}

#[test]
fn in_a_thread_with_descriptors_of_its_own() {
    check(
        "thread",
        &Expected {
            relation: [Some("sibling"), None],
            says: same!("a thread of which has it among descriptors of its own"),
            ..Expected::default()
        },
    );
}

#[test]
fn in_flight() {
    check(
        "in_flight",
        &Expected {
            is_named: false,
            certainty: "likely",
            says: ["no process was found to have open any more", "", ""],
            ..Expected::default()
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
    let answers = play("accepting", 1, None).expect("it can be set");

    for answer in [&answers.early, &answers.late, &answers.by_root] {
        assert_eq!(answer["certainty"], "likely", "{answer}");
        let missing = answer["missing"].to_string();
        assert!(missing.contains("inside accept"), "{answer}");
        // Nobody else on this stage has such a thread.
        let process = &answer["holders"][0]["processes"][0];
        assert_eq!(process["held_in"], "accept", "{answer}");
        assert_eq!(process["pid"], answers.holders[0], "{answer}");
    }
    for answer in [&answers.early, &answers.late, &answers.by_root] {
        assert_eq!(answer["cause"], "active_listener", "{answer}");
        assert_harmless("accepting", answer, &answers.protected);
    }
}

#[test]
fn in_an_io_uring() {
    check(
        "io_uring",
        &Expected {
            relation: [Some("sibling"), None],
            says: same!("in an io_uring"),
            ..Expected::default()
        },
    );
}

#[test]
fn the_kernels_own() {
    let expected = Expected {
        is_named: false,
        says: same!("the kernel"),
        ..Expected::default()
    };
    if on_stage(&[
        Program("python3", "python3"),
        Program("setpriv", "util-linux"),
        Program("ip", "iproute2"),
    ]) && let Some(answers) = play("kernel", 1, None)
    {
        for answer in [&answers.early, &answers.late, &answers.by_root] {
            assert_eq!(answer["cause"], expected.cause, "{answer}");
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
