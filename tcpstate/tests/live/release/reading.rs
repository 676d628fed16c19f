//! What only observes changes nothing: neither in what it does nor in what it could.

use std::fs;
use std::path::Path;

use super::stage::{Actor, Bystanders, PORT, SERVER, is_free};
use support::{Program, Sources, Watch, count_listed, on_stage, require, run, ss, wait_until};
use tcpstate::event::State;

#[test]
fn explain_wait_a_plan_and_watch_leave_everything_as_it_was() {
    if !on_stage(&[Program("python3", "python3"), Program("ss", "iproute2")]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    let mut old = Actor::play(&SERVER.replace("8080", "8081"));
    let client = std::net::TcpStream::connect("127.0.0.1:8081").expect("it serves");
    wait_until("all is there", || {
        count_listed(PORT, State::Established) == 1
    });
    old.end();
    wait_until("it is an orphan", || {
        count_listed(8081, State::FinWait2) == 1
    });
    let listed = || {
        let mut lines = ss(&[]);
        lines.sort();
        lines
    };
    let before = listed();

    let mut watch = Watch::start(&["--port", "8080-8081"]);
    for port in ["8080", "8081"] {
        assert_eq!(run(&["explain", port]).status.code(), Some(1));
        assert_eq!(
            run(&["wait", port, "--timeout", "100ms"]).status.code(),
            Some(1)
        );
        assert_eq!(run(&["release", port, "--dry-run"]).status.code(), Some(1));
    }
    assert!(!is_free());
    watch.diagnosis("bind", 8080);
    watch.finish();

    assert_eq!(listed(), before);
    assert!(server.is_alive());
    bystanders.have_noticed_nothing();
    drop(client);
}

/// Names of what ends a socket, a process or a service, or runs a program that could.
const ACTING: [&str; 9] = [
    "SOCK_DESTROY",
    "pidfd_send_signal",
    "kill_process",
    "libc::kill",
    "tgkill",
    "process::Command",
    "Signal::TERM",
    "Signal::KILL",
    "posix_spawn",
];
/// The demo, `run` and `restart-test` have programs that they start themselves, and `release`
/// acts.
const MAY_ACT: [&str; 5] = [
    "commands/release/",
    "commands/restart_test/",
    "commands/run/",
    "demo/",
    "supervise/",
];
/// Stops itself, as ctrl-z does.
const STOPS_ITSELF: &str = "tui/output/terminal.rs";

#[test]
fn nothing_but_release_has_the_means_to_act() {
    if !require(&[Sources]) {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the source is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&source).expect("it is in it");
            let name = name.to_string_lossy();
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            looked_at += 1;
            if MAY_ACT.iter().any(|folder| name.starts_with(folder)) || name.contains("tests") {
                continue;
            }
            for acting in ACTING {
                let is_used = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .any(|line| line.contains(acting));
                assert!(!is_used, "{name} uses {acting}");
            }
            assert!(
                name == STOPS_ITSELF || !code.contains("kill_current_process_group"),
                "{name}"
            );
        }
    }
    assert!(looked_at > 100, "{looked_at}");
    // And what acts is private to the command: nobody else can name it.
    let release = fs::read_to_string(source.join("commands/release.rs")).expect("it is there");
    assert!(release.contains("\nmod act;\n"));
}
