//! The dashboard over a recording of the real kernel, in a real terminal.

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, on_stage, run};

#[test]
fn a_recording_is_played_stepped_and_searched_by_keyboard() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("r.jsonl.zst");
    let file = file.to_str().expect("a path");
    let played = run(&["demo", "forgot-reuse", "--record", file, "--format", "text"]);
    assert!(played.status.success(), "{played:?}");
    let terminal = Terminal::start(100, 30, &format!("{TCPSTATE} replay {file}; echo ended $?"));

    // It opens at the first failed call.
    let screen = terminal.wait_for("time_wait_no_reuse");
    assert!(screen.contains("‖ 1×"), "{screen}");
    assert!(
        screen.contains('◆') && screen.contains("failed"),
        "{screen}"
    );
    // Enter and the other keys of the dashboard work as they do live.
    terminal.keys(&["d"]);
    terminal.wait_for("what to do");
    terminal.keys(&["Escape"]);
    terminal.wait_until("what to do", false);

    terminal.keys(&["<"]);
    let begin = terminal.wait_for(" 0 of ");
    assert!(!begin.contains("EADDRINUSE"), "{begin}");
    terminal.keys(&["."]);
    terminal.wait_for(" 1 of ");
    terminal.keys(&[".", ".", ","]);
    terminal.wait_for(" 2 of ");
    terminal.keys(&["]"]);
    terminal.wait_for("EADDRINUSE");
    terminal.keys(&[">"]);
    let end = terminal.wait_for("ended: demo");
    terminal.keys(&["["]);
    terminal.wait_until("ended: demo", false);
    terminal.keys(&["t", "100%", "Enter"]);
    terminal.wait_for("ended: demo");
    terminal.keys(&["t", "noon", "Enter"]);
    terminal.wait_for("is no time");
    terminal.keys(&["Escape"]);
    // From the end it plays from the beginning.
    terminal.keys(&["+", "+", "+", "+", "+", "Space"]);
    terminal.wait_for("max");
    terminal.wait_for("ended: demo");
    terminal.keys(&["?"]);
    terminal.wait_for("to the next failed call or restart");
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");
    assert!(end.contains(" of "), "{end}");
}

#[test]
fn what_is_no_recording_is_refused_before_the_terminal_is_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("r.jsonl");
    std::fs::write(&file, "nothing of ours\n").expect("it can be written");
    let file = file.to_str().expect("a path");

    let output = run(&["replay", file, "--format", "tui"]);

    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("holds no event"), "{stderr}");
    assert_eq!(output.stdout, b"");
}
