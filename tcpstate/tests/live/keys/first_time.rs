//! Somebody who has never seen the program, and has not read anything.

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, on_stage};

#[test]
fn a_first_time_user_sees_the_failure_reads_the_cause_copies_the_fix_and_quits() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let terminal = Terminal::start(80, 24, &format!("{TCPSTATE} demo; echo ended $?"));

    // Sees the failure, and why, without a key.
    let screen = terminal.wait_for("time_wait_left_without_reuse");
    for part in [
        ":8080 DOWN",
        "cannot bind 127.0.0.1:8080",
        "still held by",
        "server-old[",
        "free in",
        "d diagnosis",
    ] {
        assert!(screen.contains(part), "{part:?} is missing:\n{screen}");
    }
    // The last line names the key; the detail has the fixes.
    terminal.keys(&["d"]);
    let screen = terminal.wait_for("what to do");
    assert!(screen.contains("f copy fix"), "{screen}");
    terminal.keys(&["f"]);
    let screen = terminal.wait_for("copied: ");
    let copied = terminal.clipboard();
    assert!(copied.starts_with("tcpstate wait 8080"), "{copied}");
    assert!(
        !copied.ends_with('\n') && screen.contains("tcpstate wait 8080"),
        "{screen}"
    );
    terminal.keys(&["f"]);
    terminal.wait_for("fix 2 of ");
    assert_ne!(terminal.clipboard(), copied);
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");
}
