//! The end takes at most a second, whoever does not read; a terminal that vanishes is
//! an end in order.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tcpstate::clock;

use support::{TCPSTATE, on_stage, patience};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/half_close.jsonl");
/// The end takes a second; a busy machine more. Who waited, waited for ever.
const END: Duration = Duration::from_secs(10);

/// A pipe that takes nothing any more, and its other end.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = rustix::pipe::pipe().expect("there is a pipe");
    // As large as the program would make it.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20);
    rustix::io::ioctl_fionbio(&write, true).expect("it is a pipe");
    while rustix::io::write(&write, &[b'x'; 4096]).is_ok() {}
    while rustix::io::write(&write, b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&write, false).expect("it is a pipe");
    (read, write)
}

/// Waits for the end, but not for ever. `None`: it goes on.
fn end_of(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let until_ns = clock::monotonic_ns() + u64::try_from(time.as_nanos()).expect("short");
    while clock::monotonic_ns() < until_ns {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn send(child: &Child, signal: Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it is there");
}

#[test]
fn a_pipe_that_nobody_empties_does_not_hold_up_the_end() {
    if !on_stage(&[]) {
        return;
    }
    for (format, signal) in [
        ("json", Some(Signal::TERM)),
        ("text", Some(Signal::INT)),
        // The time is over.
        ("json", None),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let record = dir.path().join("r.jsonl");
        let (_unread, full) = full_pipe();
        let mut child = Command::new(TCPSTATE)
            .args(["watch", "--netns", "self", "--format", format])
            .args(["--duration", if signal.is_some() { "1h" } else { "3s" }])
            .arg("--record")
            .arg(&record)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        std::thread::sleep(Duration::from_secs(3));
        if let Some(signal) = signal {
            assert!(child.try_wait().expect("it is ours").is_none(), "it waits");
            send(&child, signal);
        }

        let status = end_of(&mut child, END);

        assert!(
            status.is_some_and(|status| status.success()),
            "{format}: {status:?}"
        );
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut said).expect("text");
        assert!(
            said.contains("were not written to the standard output"),
            "{said}"
        );
        let recorded = std::fs::read_to_string(&record).expect("it is there");
        assert!(
            recorded
                .lines()
                .last()
                .is_some_and(|line| line.contains("\"footer\""))
        );
    }
}

#[test]
fn nor_does_it_where_complaints_go_to_the_same_pipe() {
    if !on_stage(&[]) {
        return;
    }
    let (_unread, full) = full_pipe();
    let mut child = Command::new(TCPSTATE)
        .args(["-v", "watch", "--netns", "self", "--json"])
        .stderr(full.try_clone().expect("a descriptor"))
        .stdout(full)
        .spawn()
        .expect("tcpstate starts");
    std::thread::sleep(Duration::from_secs(3));
    send(&child, Signal::TERM);

    assert!(end_of(&mut child, END).is_some_and(|status| status.success()));
}

#[test]
fn a_recording_read_into_a_pipe_that_nobody_empties_ends_at_once() {
    for arguments in [
        vec!["replay", "--json", TRACE],
        vec!["replay", "--format", "text", TRACE],
        vec!["report", "--format", "json", TRACE],
    ] {
        let (_unread, full) = full_pipe();
        let mut child = Command::new(TCPSTATE)
            .args(&arguments)
            .stdout(full)
            .spawn()
            .expect("tcpstate starts");
        std::thread::sleep(Duration::from_millis(500));
        assert!(
            child.try_wait().expect("it is ours").is_none(),
            "{arguments:?}"
        );
        send(&child, Signal::TERM);

        assert!(end_of(&mut child, END).is_some(), "{arguments:?}");
    }
}

/// A terminal: our end, and the program's.
#[expect(unsafe_code, reason = "no safe wrapper for openpty here")]
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut its) = (0, 0);
    let size = libc::winsize {
        ws_row: 30,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the numbers and the size are ours, and a name and attributes are not
    // asked for; the descriptors are new and owned by nobody else.
    unsafe {
        let result = libc::openpty(
            &raw mut ours,
            &raw mut its,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        );
        assert_eq!(result, 0, "there is a terminal");
        // Not for the program: it would keep its own terminal alive.
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        (File::from_raw_fd(ours), OwnedFd::from_raw_fd(its))
    }
}

/// The dashboard on a terminal, with stderr there or elsewhere.
fn dashboard(arguments: &[&str], log: Option<&Path>) -> (Child, File) {
    let (ours, its) = terminal();
    let copy = || its.try_clone().expect("a descriptor");
    let stderr = match log {
        Some(log) => File::create(log).expect("it can be created").into(),
        None => Stdio::from(copy()),
    };
    let child = Command::new(TCPSTATE)
        .args(arguments)
        .env("TERM", "xterm")
        .stdin(copy())
        .stdout(copy())
        .stderr(stderr)
        .spawn()
        .expect("tcpstate starts");
    (child, ours)
}

/// Reads until the dashboard is there.
fn look(terminal: &mut File) {
    let mut seen = Vec::new();
    let until_ns = clock::monotonic_ns() + u64::try_from(patience().as_nanos()).expect("seconds");
    while seen.len() < 1000 {
        let mut bytes = [0; 4096];
        let count = terminal.read(&mut bytes).expect("it is there");
        seen.extend_from_slice(&bytes[..count]);
        assert!(clock::monotonic_ns() < until_ns, "there is no dashboard");
    }
}

/// No signal comes: the terminal is not that of the program's session.
#[test]
fn a_terminal_that_vanishes_is_an_end_in_order() {
    if !on_stage(&[]) {
        return;
    }
    for arguments in [vec!["watch", "--netns", "self"], vec!["replay", TRACE]] {
        // Its complaints go with the terminal: a panic there was exit code 101.
        let (mut child, mut ours) = dashboard(&arguments, None);
        look(&mut ours);
        drop(ours);
        let status = end_of(&mut child, END);
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{arguments:?}"
        );

        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("stderr");
        let (mut child, mut ours) = dashboard(&arguments, Some(&log));
        look(&mut ours);
        drop(ours);
        let status = end_of(&mut child, END);
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{arguments:?}"
        );
        assert_eq!(std::fs::read_to_string(&log).expect("it is there"), "");
    }
}

#[test]
fn a_terminal_that_nobody_reads_does_not_hold_up_the_end() {
    if !on_stage(&[]) {
        return;
    }
    let (mut child, mut ours) = dashboard(&["watch", "--netns", "self"], None);
    look(&mut ours);
    // Every other key draws the whole screen anew.
    for _ in 0..60 {
        ours.write_all(b"?").expect("it is there");
        std::thread::sleep(Duration::from_millis(40));
    }
    send(&child, Signal::TERM);

    assert!(end_of(&mut child, END).is_some_and(|status| status.success()));
}
