//! The terminal is given back, whatever ends the program, and survives being
//! dragged about.

use rustix::process::{Signal, kill_process};

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, require};

use super::{RECORDING, look};

/// The shell says whether it has its terminal as it was: lines and echo.
#[track_caller]
fn is_given_back(terminal: &Terminal) {
    terminal.wait_for("ended");
    let ask = "clear; stty -a | grep -ow -e '-*icanon' -e '-*echo'; echo o-$((40+2))";
    terminal.keys(&[ask, "Enter"]);
    let screen = terminal.wait_for("o-42");
    assert!(
        screen.contains("icanon\necho\n") && !screen.contains("-icanon"),
        "{screen}"
    );
}

#[test]
fn the_terminal_is_given_back_on_every_signal_that_asks_to_end() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let command = format!("{TCPSTATE} replay --mouse {RECORDING}; echo ended $?");
        let terminal = Terminal::start(100, 30, &command);
        terminal.wait_for("lost 0");

        kill_process(terminal.child(), signal).expect("it is there to be ended");

        is_given_back(&terminal);
    }
}

#[test]
fn a_storm_of_resizes_ends_in_a_whole_screen() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    let command = format!("{TCPSTATE} replay {RECORDING}; echo ended $?");
    let terminal = Terminal::start(100, 30, &command);
    terminal.wait_for("lost 0");

    for step in 0..60_u16 {
        terminal.resize(20 + step * 37 % 160, 5 + step * 17 % 50);
    }
    terminal.resize(60, 15);
    terminal.wait_for("tcpstate needs 72×20, this is 60×15");
    terminal.resize(120, 40);
    let screen = terminal.wait_for("lost 0");

    assert!(screen.contains("time_wait_left_without_reuse"), "{screen}");
    terminal.keys(&["q"]);
    is_given_back(&terminal);
}

#[test]
fn what_is_pasted_is_text_and_no_keys() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    let command = format!("{TCPSTATE} replay {RECORDING}; echo ended $?");
    let terminal = Terminal::start(100, 30, &command);
    terminal.wait_for("lost 0");

    // As keys, this would open the help and quit.
    terminal.paste("?q");
    let screen = terminal.wait_for("what is pasted is taken while");
    assert!(look::open(&screen).is_empty(), "{screen}");
    terminal.keys(&["/"]);
    terminal.wait_for(" filter: ");
    terminal.paste("port:8080\n");
    terminal.until("it is typed, and not taken yet", |screen| {
        look::typed(screen) == Some("port:8080")
    });
    terminal.keys(&["Enter"]);
    terminal.wait_for("filter port:8080");
    terminal.keys(&["q"]);
    is_given_back(&terminal);
}
