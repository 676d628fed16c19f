//! Bad input gets one clear sentence and exit code 2; a closed pipe is a
//! clean end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use support::{Lacking, Program, Root, TCPSTATE, on_stage, patience, require, run, skip_for};

/// The program fails with this sentence.
#[track_caller]
fn refuses(arguments: &[&str], sentence: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(stderr.contains(sentence), "{arguments:?} said: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
}

#[test]
fn wrong_arguments_are_refused_with_a_hint() {
    refuses(&["watch", "--port", "0"], "`0` is not a port");
    refuses(&["watch", "--port", "70000"], "`70000` is not a port");
    refuses(&["watch", "--port", "8010-8000"], "write 8000-8010");
    refuses(&["watch", "--duration", "soon"], "invalid value 'soon'");
    refuses(
        &["watch", "--state", "waiting"],
        "`waiting` is not a TCP state",
    );
    refuses(&["watch", "--pid", "0"], "invalid value '0'");
    refuses(
        &["watch", "--addr", "localhost"],
        "invalid value 'localhost'",
    );
    refuses(&["watch", "--format", "xml"], "invalid value 'xml'");
    refuses(&["observe"], "unrecognized subcommand");
    refuses(&["demo", "nonsense"], "tcpstate demo --list");
    refuses(
        &["replay", "/nonexistent"],
        "cannot open the recording /nonexistent",
    );
}

#[test]
fn an_unknown_namespace_is_named() {
    if !on_stage(&[]) {
        return;
    }
    refuses(
        &["watch", "--json", "--netns", "no-such-namespace"],
        "no-such-namespace",
    );
    refuses(
        &["watch", "--json", "--netns", "/etc/passwd"],
        "/etc/passwd",
    );
    refuses(&["watch", "--json", "--netns", "1"], "network namespace");
}

#[test]
fn a_record_file_that_cannot_be_written_is_said_before_anything_starts() {
    if !on_stage(&[]) {
        return;
    }
    refuses(
        &["watch", "--json", "--record", "/nonexistent/file"],
        "/nonexistent/file",
    );
    refuses(&["watch", "--json", "--record", "/proc"], "/proc");
}

/// Links were followed, devices and pipes written to, files of others emptied; a FIFO
/// without a reader held the program up beyond SIGTERM.
#[test]
fn a_file_that_somebody_else_has_a_hand_in_is_neither_recorded_nor_reported_to() {
    if !on_stage(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("target"), "of before").expect("it can be written");
    std::os::unix::fs::symlink(at("target"), at("link")).expect("it can be made");
    std::fs::write(at("foreign"), "of before").expect("it can be written");
    std::os::unix::fs::chown(at("foreign"), Some(65534), None).expect("root may");
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/half_close.jsonl");

    for (name, why) in [
        (at("link"), "it is a symbolic link, which is not followed"),
        (at("foreign"), "it belongs to user 65534"),
        (at("fifo"), "it is a pipe, and not a file"),
        ("/dev/null".to_owned(), "it is a device, and not a file"),
        (
            "/dev/stdout".to_owned(),
            "it is a symbolic link, which is not followed",
        ),
    ] {
        let recorded =
            format!("cannot write the recording {name}: {why}; choose another file with --record");
        refuses(&["watch", "--json", "--record", &name], &recorded);
        let reported =
            format!("cannot write the report to {name}; choose another file with -o: {why}");
        refuses(&["report", trace, "-o", &name], &reported);
    }
    for name in ["target", "foreign"] {
        assert_eq!(
            std::fs::read_to_string(at(name)).expect("it is there"),
            "of before"
        );
    }
}

#[test]
fn a_full_disk_is_said_and_the_exit_code_shows_it() {
    if !on_stage(&[]) {
        return;
    }
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has /dev/full");
    let output = Command::new(TCPSTATE)
        .args(["watch", "--json", "--netns", "self", "--duration", "5s"])
        .stdout(full)
        .output()
        .expect("tcpstate starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot write to the standard output")
    );
}

#[test]
fn a_closed_pipe_is_a_clean_end() {
    if !on_stage(&[]) {
        return;
    }
    let mut child = Command::new(TCPSTATE)
        .args(["watch", "--json", "--netns", "self"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpstate starts");
    let mut reader = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("there is a header");
    drop(reader);

    let status = (0..patience().as_millis() / 50)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            child.try_wait().expect("it is our child")
        })
        .unwrap_or_else(|| {
            let _ = child.kill();
            panic!("it did not notice that its reader had gone");
        });

    assert!(status.success(), "{status}");
    let schema = Command::new("sh")
        .args(["-c", &format!("{TCPSTATE} schema | head -1 >/dev/null; {TCPSTATE} man | true; {TCPSTATE} completions bash | true")])
        .output()
        .expect("sh is there");
    assert!(
        schema.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&schema.stderr)
    );
}

#[test]
fn without_privilege_one_sentence_says_what_to_do() {
    if !require(&[Root]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a copy");
    let program = copy_for_everybody(directory.path());
    for arguments in [&["watch"][..], &["demo"][..]] {
        let output = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ])
            .arg(&program)
            .args(arguments)
            .output()
            .expect("setpriv is part of util-linux");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("sudo "), "{arguments:?}: {stderr}");
        assert_eq!(
            stderr.trim_end().lines().count(),
            1,
            "{arguments:?}: {stderr}"
        );
    }
}

/// The program where another user may run it.
fn copy_for_everybody(directory: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let everybody = std::fs::Permissions::from_mode(0o755);
    let copy = directory.join("tcpstate");
    std::fs::copy(TCPSTATE.path(), &copy).expect("there is room for a copy");
    std::fs::set_permissions(&copy, everybody.clone()).expect("it is ours");
    std::fs::set_permissions(directory, everybody).expect("it is ours");
    copy
}

#[test]
fn without_btf_one_sentence_says_which_kernel_is_needed() {
    if !on_stage(&[]) {
        return;
    }
    // A mount namespace of its own, in which the kernel's types are hidden.
    let script = format!("mount -t tmpfs none /sys/kernel/btf && exec {TCPSTATE} watch --json");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .expect("unshare is part of util-linux");

    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("CONFIG_DEBUG_INFO_BTF=y"), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
}

#[test]
fn doctor_says_hook_by_hook_what_is_allowed() {
    if !on_stage(&[]) {
        return;
    }
    let output = run(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");

    assert!(output.status.success());
    assert_eq!(report["can_watch"], true, "{report}");
    let hooks = report["hooks"].as_array().expect("a list");
    for name in [
        "inet_sock_set_state",
        "tcp_send_reset",
        "sys_exit_bind",
        "iter/tcp",
        "sock_diag",
    ] {
        let hook = hooks
            .iter()
            .find(|hook| hook["name"] == name)
            .unwrap_or_else(|| panic!("{name} is missing: {report}"));
        let is_replaced = name == "sys_exit_bind" && report["capture"] == "functions";
        let status = if is_replaced { "unused" } else { "attached" };
        assert_eq!(hook["status"], status, "{hook}");
    }
}

/// Runs it under a limit, and expects one sentence and exit code 2, or that it works.
fn under(limit: &str, arguments: &[&str], sentence: &str) -> bool {
    let output = Command::new("prlimit")
        .arg(limit)
        .arg(TCPSTATE)
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .expect("prlimit runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.code(), Some(2), "{limit}: {stderr}");
    assert!(stderr.contains(sentence), "{limit}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{limit}: {stderr}");
    true
}

const SHORT: [&str; 6] = ["watch", "--json", "--netns", "self", "--duration", "300ms"];

#[test]
fn few_descriptors_are_said_to_be_few() {
    if !on_stage(&[Program("prlimit", "util-linux")]) {
        return;
    }
    let refused = [5, 8, 12, 16, 24, 32]
        .into_iter()
        .filter(|count| {
            let limit = format!("--nofile={count}:{count}");
            under(&limit, &SHORT, "ulimit -n 1024")
        })
        .count();
    assert!(refused >= 4, "{refused}");
    assert!(
        !under("--nofile=16:1024", &SHORT, ""),
        "it takes what it may"
    );
}

/// It was an abort.
#[test]
fn little_address_space_is_one_sentence() {
    if !on_stage(&[Program("prlimit", "util-linux")]) {
        return;
    }
    let refused = (24..=320)
        .step_by(24)
        .filter(|mib: &usize| {
            let limit = format!("--as={}", mib << 20);
            under(&limit, &SHORT, "")
        })
        .count();
    assert!(refused >= 2, "{refused}");
    assert!(under(
        &format!("--as={}", 48 << 20),
        &SHORT,
        "ulimit -v unlimited"
    ));
}

#[test]
fn root_of_a_user_namespace_is_told_what_he_is_not() {
    if !on_stage(&[Program("unshare", "util-linux")]) {
        return;
    }
    let output = Command::new("unshare")
        .args(["-Ur", TCPSTATE.path()])
        .args(SHORT)
        .output()
        .expect("unshare runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.starts_with("unshare:") {
        skip_for(Lacking {
            what: &stderr,
            since: None,
        });
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("root of the machine itself"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
