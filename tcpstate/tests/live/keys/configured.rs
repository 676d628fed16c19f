//! The configuration, as the dashboard follows it.

use std::fs;

use super::{RECORDING, look};
use crate::terminal::Terminal;
use support::{Program, TCPSTATE, require, run};

#[test]
fn a_configured_dashboard_has_other_keys_columns_and_order() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join("c.toml"),
        "columns = ['state', 'local', 'netns']\nsort = 'local'\nreverse = true\n\
         theme = 'high-contrast'\n[keys]\nhelp = 'F1'\nquit = ['Q', 'ctrl-c']\n",
    )
    .expect("it can be written");
    let command = format!("{TCPSTATE} replay --config c.toml {RECORDING}; echo ended $?");
    let terminal = Terminal::start_in(dir.path(), 100, 30, &command);

    let screen = terminal.wait_for("LOCAL▼");
    assert!(
        screen.contains("NETNS") && !screen.contains("OWNER"),
        "{screen}"
    );
    assert!(screen.contains("Q quit  F1 help"), "{screen}");
    terminal.keys(&["q", "?", "F1"]);
    let help = terminal.until("the help", |screen| look::open(screen) == "help");
    assert!(help.contains("F1 ") && help.contains("this help"), "{help}");
    terminal.keys(&["Q"]);
    terminal.wait_for("ended 0");
}

#[test]
fn a_wrong_configuration_is_refused_before_the_terminal_is_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    fs::write(&file, "mouse = true\ncolour = 'red'\n").expect("it can be written");
    let file = file.to_str().expect("a path");

    let output = run(&["replay", RECORDING, "--format", "tui", "--config", file]);

    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("line 2: there is no setting `colour`"),
        "{stderr}"
    );
    assert_eq!(output.stdout, b"");
    // What shows no dashboard does not read it.
    let output = run(&["replay", RECORDING, "--format", "text", "--config", file]);
    assert!(output.status.success());
}

#[test]
fn the_template_is_printed_and_is_right() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    let printed = run(&["config", "--template"]);
    fs::write(&file, &printed.stdout).expect("it can be written");

    let output = run(&["config", "--config", file.to_str().expect("a path")]);

    assert!(printed.status.success() && output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("c.toml is right\n"));
}
