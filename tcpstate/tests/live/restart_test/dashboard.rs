//! The dashboard beside a test: the screen of `watch`, with the restarts.

use rustix::process::{Signal, kill_process};

use super::*;
use crate::terminal::Terminal;
use support::{Program, Requirement, on_stage, wait_until};

const TMUX: Requirement = Program("tmux", "tmux");

/// A test on a terminal of 80 columns and 24 lines. All that it starts has the mark in its
/// environment.
fn start(user: User, options: &str, reuse: u8, mark: &str, folder: &TempDir) -> Terminal {
    let script = folder.path().join("server.py");
    let source = format!("{BEGIN}serve(listener({reuse}))\n");
    std::fs::write(&script, source).expect("there is room");
    let shift = match user {
        User::Root => "",
        User::Nobody => "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all ",
    };
    let command = format!(
        "clear; TCPSTATE_TEST_MARK='{mark}' XDG_CONFIG_HOME={} {shift}{TCPSTATE} restart-test --tui \
         --port 8080 {options} -- {PYTHON} {}; echo ended $?",
        folder.path().display(),
        script.display()
    );
    Terminal::start(80, 24, &command)
}

/// The terminal is the shell's again, and nothing is left of the test.
#[track_caller]
fn is_over(terminal: &Terminal, code: u8, mark: &str) {
    terminal.wait_for(&format!("ended {code}"));
    terminal.keys(&[
        "clear; stty -a | grep -ow -e '-*icanon'; echo o-$((40+2))",
        "Enter",
    ]);
    let screen = terminal.wait_for("o-42");
    assert!(
        screen.contains("icanon\n") && !screen.contains("-icanon"),
        "{screen}"
    );
    wait_until("nothing of it is left", || marked(mark).is_empty());
}

#[test]
fn it_shows_each_restart_and_gives_way_to_the_table() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, TMUX]) {
        return;
    }
    for user in USERS {
        let (folder, mark) = (open_folder(), mark());
        let options = "--ways sigkill,idle --times 5";
        let terminal = start(user, options, 0, &mark, &folder);
        let hooks = match user {
            User::Root => "tracepoints",
            User::Nobody => "no hooks",
        };
        // The screen of watch: what it watches, the sockets, the diagnosis. And the restarts.
        let is_whole = |screen: &str| {
            let has_hooks = screen.contains(hooks) || screen.contains("function hooks");
            has_hooks
                && screen.contains("tcpstate  port 8080 · netns ")
                && screen.contains("restarts · ")
                && screen.contains(" of 10 are over")
                && screen.contains("sockets · ")
                && screen.contains("time_wait")
                && screen.contains("fails          -")
                && screen.contains("goes on")
        };
        terminal.until("all of it is there", is_whole);
        if user == User::Nobody {
            terminal.wait_for("resets, and who closed first are not seen");
        }
        let screen = terminal.wait_for("ended 1");

        assert!(
            screen.contains("sigkill 5                fails"),
            "{screen}"
        );
        assert!(
            screen.contains("fails: it does not restart: sigkill"),
            "{screen}"
        );
        is_over(&terminal, 1, &mark);
    }
}

#[test]
fn a_screen_that_somebody_looks_at_stays_when_the_test_is_over() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, TMUX]) {
        return;
    }
    for user in USERS {
        let (folder, mark) = (open_folder(), mark());
        let terminal = start(user, "--ways idle", 1, &mark, &folder);
        terminal.wait_for("restarts · 0 of 1 are over");
        terminal.keys(&["Space"]);
        terminal.wait_for("PAUSED");
        let over = "at_once: it restarts at once in every way that was tried";
        terminal.wait_for(over);
        // Who waits for it is not stopped either.
        terminal.keys(&["C-z"]);
        terminal.wait_for("a test that measures time is not stopped");
        terminal.resize(120, 40);
        terminal.until("it has the whole window", |screen| {
            screen
                .lines()
                .any(|line| line.trim_end().chars().count() > 100)
        });
        terminal.keys(&["q"]);

        let screen = terminal.wait_for("ended 0");
        assert!(screen.contains(over), "{screen}");
        is_over(&terminal, 0, &mark);
    }
}

#[test]
fn a_key_or_a_signal_ends_the_test_with_all_that_it_started() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, TMUX]) {
        return;
    }
    for user in USERS {
        for end in ["q", "C-c", "TERM", "HUP"] {
            let (folder, mark) = (open_folder(), mark());
            let terminal = start(user, "--times 100", 1, &mark, &folder);
            terminal.wait_for("1 of 700 are over");
            match end {
                "TERM" => kill_process(terminal.child(), Signal::TERM).expect("it runs"),
                "HUP" => kill_process(terminal.child(), Signal::HUP).expect("it runs"),
                key => terminal.keys(&[key]),
            }
            let screen = terminal.wait_for("ended 2");
            let says = match end {
                "TERM" => "interrupted by SIGTERM",
                "HUP" => "interrupted by SIGHUP",
                // What was measured is not thrown away.
                _ => "ended at the dashboard",
            };
            assert!(screen.contains(says), "{end}: {screen}");
            is_over(&terminal, 2, &mark);
        }
    }
}

#[test]
fn without_a_terminal_one_sentence_says_so() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        let mark = mark();
        let output = command(user, &["--tui"], &server(FINE), &mark)
            .output()
            .expect("it starts");

        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stdout), "");
        assert_eq!(
            text(&output.stderr),
            "tcpstate: --tui needs a terminal on the standard output; leave it out to get the \
             table\n"
        );
    }
}
