//! Each key of the help, pressed in a real terminal: it does what the help says.
//!
//! Nothing is proved by waiting for a time: after each key the screen is read
//! until it shows what it must.

mod configured;
mod first_time;
mod look;
mod press;
mod shell;

use std::path::Path;

use crossterm::event::KeyCode;
use tcpstate::tui::keys::{Action, BINDINGS, Binding, Key, Mode};

use press::Dashboard;
use support::{Program, TCPSTATE, connection, listener, on_stage, require, try_bind};

const RECORDING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/recordings/schema-1.jsonl"
);

/// The table must be longer than a page.
const CONNECTIONS: usize = 40;

#[test]
fn every_key_does_what_the_help_says_live() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let server = "127.0.0.1:8080";
    let listening = listener(server, true);
    let open: Vec<_> = (0..CONNECTIONS)
        .map(|_| connection(&listening, server))
        .collect();
    let dir = tempfile::tempdir().expect("a directory");
    let command = format!("{TCPSTATE} watch --netns self --port 8080; echo ended $?");
    let dashboard = Dashboard::start(dir.path(), &command, Mode::Browse);
    dashboard.terminal.wait_for("lost 0");
    // Nothing of this changes by itself while the keys are pressed.
    assert!(try_bind(server, false).is_err());
    dashboard.terminal.wait_for("active_listener");

    press_all(&dashboard, &[Mode::Browse, Mode::Typing], dir.path());
    drop(open);
}

#[test]
fn every_key_does_what_the_help_says_in_a_replay() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let command = format!("{TCPSTATE} replay {RECORDING}; echo ended $?");
    let dashboard = Dashboard::start(dir.path(), &command, Mode::Replay);
    dashboard.terminal.wait_for("time_wait_left_without_reuse");

    press_all(&dashboard, &Mode::ALL, dir.path());
}

/// Each key of each action; those that end the program last.
fn press_all(dashboard: &Dashboard, modes: &[Mode], folder: &Path) {
    let mut left = Vec::new();
    for mode in modes {
        for binding in BINDINGS.iter().filter(|binding| binding.mode == *mode) {
            for key in binding.keys {
                let is_other = |other: &&Binding| {
                    *mode == Mode::Browse
                        && modes.contains(&Mode::Replay)
                        && other.mode == Mode::Replay
                        && other.keys.contains(key)
                };
                // A replay has it for something else, and its help leaves it out.
                if BINDINGS.iter().any(|other| is_other(&other)) {
                    continue;
                }
                if press::ends(binding.action) {
                    left.push((*mode, binding.action, *key));
                } else {
                    dashboard.check(binding.action, *key, folder);
                }
            }
        }
    }
    // A shell forgets what came after a command that was stopped.
    left.sort_by_key(|(_, action, _)| *action == Action::Suspend);
    for (mode, action, key) in left {
        dashboard.check_end(mode, action, key);
    }
}

/// As tmux calls it.
fn tmux_name(key: Key) -> Vec<String> {
    let name = |name: &str| vec![name.to_owned()];
    match key {
        Key::Ctrl(letter) => name(&format!("C-{letter}")),
        Key::Twice(letter) => vec![letter.to_string(), letter.to_string()],
        Key::Plain(code) => match code {
            KeyCode::Char(' ') => name("Space"),
            KeyCode::Char(letter) => name(&letter.to_string()),
            KeyCode::Esc => name("Escape"),
            KeyCode::Backspace => name("BSpace"),
            KeyCode::BackTab => name("BTab"),
            KeyCode::PageUp => name("PPage"),
            KeyCode::PageDown => name("NPage"),
            code => name(&format!("{code:?}")),
        },
    }
}
