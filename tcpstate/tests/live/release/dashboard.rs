//! Freeing a port from the dashboard, which has given up the rights that it takes.

use tcpstate::event::State;

use super::stage::{Actor, Bystanders, PORT, SERVER, is_free};
use crate::terminal::Terminal;
use support::{
    DESTROYS_TIME_WAITS, Program, Requirement, TCPSTATE, count_listed, on_stage, try_bind,
    wait_until,
};

const TMUX: Requirement = Program("tmux", "tmux");
const PYTHON: Requirement = Program("python3", "python3");

/// A dashboard that shows why a bind to the port has failed.
fn failed(arguments: &str, width: u16, height: u16) -> Terminal {
    let command = format!("{TCPSTATE} watch --netns self {arguments}; echo ended $?");
    let terminal = Terminal::start(width, height, &command);
    terminal.wait_for("lost 0");
    try_bind(&format!("127.0.0.1:{PORT}"), true).expect_err("somebody listens");
    terminal.wait_for("active_listener");
    terminal
}

#[test]
fn x_shows_the_plan_and_a_typed_yes_carries_it_out() {
    if !on_stage(&[PYTHON, TMUX, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });
    let terminal = failed("", 80, 24);

    // The plan, and something else than yes.
    terminal.keys(&["x"]);
    terminal.wait_for(&format!("python3[{}]", server.pid()));
    terminal.wait_for("leave it");
    terminal.keys(&["x"]);
    terminal.wait_for("type yes to do this");
    terminal.text("ye");
    terminal.keys(&["Enter"]);
    terminal.wait_for("nothing was done");
    assert!(server.is_alive() && !is_free());
    terminal.keys(&["x"]);
    terminal.until("it is closed", |screen| !screen.contains("release :8080"));

    // Again, and left by Esc.
    terminal.keys(&["x"]);
    terminal.wait_for("leave it");
    terminal.keys(&["Escape"]);
    terminal.until("it is closed", |screen| !screen.contains("release :8080"));
    terminal.wait_for("nothing was done");
    assert!(server.is_alive() && !is_free());

    // And carried out.
    terminal.keys(&["x"]);
    terminal.wait_for("leave it");
    terminal.keys(&["x"]);
    terminal.wait_for("type yes to do this");
    terminal.text("yes");
    terminal.keys(&["Enter"]);
    terminal.wait_for("close");
    wait_until("the port is free", is_free);
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");
}

#[test]
fn read_only_starts_nothing_that_could_free_a_port() {
    if !on_stage(&[PYTHON, TMUX]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let terminal = failed("--read-only", 80, 24);

    let of_watch = || {
        let children = std::fs::read_dir("/proc").expect("it is there");
        let commands = children.filter_map(|entry| {
            let folder = entry.ok()?.path();
            let command = std::fs::read(folder.join("cmdline")).ok()?;
            let netns = std::fs::read_link(folder.join("ns/net")).ok()?;
            let own = std::fs::read_link("/proc/thread-self/ns/net").ok()?;
            (netns == own).then_some(command)
        });
        commands
            .filter(|command| command.ends_with(b"\0__release\0"))
            .count()
    };
    terminal.keys(&["x"]);
    terminal.wait_for("this run is read-only");
    assert_eq!(of_watch(), 0);
    assert!(server.is_alive());
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");

    let terminal = failed("", 80, 24);
    assert_eq!(of_watch(), 1);
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");
    wait_until("it ends with the dashboard", || of_watch() == 0);
}
