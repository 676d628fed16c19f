//! `watch` itself: what it shows, to whom, how it begins and ends.

use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;
use tcpstate::demo::namespace;

use crate::terminal::Terminal;
use support::{
    Program, TCPSTATE, Watch, at, connection, drain, listener, listing, on_stage, port_of, run,
    run_around, running_linux, socket, ss, try_bind, wait_for_time_wait,
};

const SERVER: &str = "127.0.0.1:8080";

/// A server that closes first, and a bind that fails over its TIME_WAIT.
fn failing_restart() {
    let listening = listener(SERVER, false);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drain(&client);
    drop(client);
    drop(listening);
    wait_for_time_wait(8080);
    assert!(try_bind(SERVER, false).is_err());
}

#[test]
fn sockets_that_were_there_before_fill_the_table_as_ss_lists_them() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let listening = listener(SERVER, true);
    let kept: Vec<_> = (0..5).map(|_| connection(&listening, SERVER)).collect();
    let (server, client) = connection(&listening, SERVER);
    let began_ns = clock::monotonic_ns();
    drop(server);
    drain(&client);
    drop(client);
    let mut expected: Vec<String> = ss(&[])
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let state = match words[0] {
                "ESTAB" => "established",
                "LISTEN" => "listen",
                "TIME-WAIT" => "time_wait",
                "FIN-WAIT-2" => "fin_wait_2",
                other => other,
            };
            format!("{state} {} {}", words[3], words[4].replace('*', "0"))
        })
        .collect();

    let mut watch = Watch::start(&[]);
    watch.wait_for("the TIME_WAIT", |event| {
        event["event"] == "socket" && event["state"] == "time_wait"
    });
    let events = watch.finish();
    let at_most_ms = (clock::monotonic_ns() - began_ns) / 1_000_000;

    let side = |side: &Value| format!("{}:{}", side["addr"].as_str().unwrap_or("?"), side["port"]);
    let sockets: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "socket")
        .collect();
    let mut found: Vec<String> = sockets
        .iter()
        .map(|event| {
            format!(
                "{} {} {}",
                event["state"].as_str().unwrap_or("?"),
                side(&event["local"]),
                side(&event["peer"])
            )
        })
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", listing(&events));
    let time_wait = sockets
        .iter()
        .find(|event| event["state"] == "time_wait")
        .expect("waited for");
    assert_eq!(time_wait["reuse"]["reuseaddr"], true);
    assert!(
        time_wait["expires_ms"]
            .as_u64()
            // The kernel's timer has a little slack.
            .is_some_and(|ms| (59_000_u64.saturating_sub(at_most_ms)..=60_000).contains(&ms)),
        "{time_wait}, after {at_most_ms} ms"
    );
    let listen = sockets
        .iter()
        .find(|event| event["state"] == "listen")
        .expect("there is one");
    assert_eq!(listen["process"]["pid"], std::process::id());
    drop(kept);
}

#[test]
fn a_recording_replays_to_the_same_bytes() {
    if !on_stage(&[]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("run.jsonl");
    let file = file.to_str().expect("temporary paths are text");
    let (stdout, status) = run_around(
        &["watch", "--json", "--netns", "self", "--record", file],
        failing_restart,
        &[
            "{\"event\":\"diagnosis\"",
            "{\"event\":\"tcp.time_wait.enter\"",
            "{\"event\":\"tick\"",
        ],
    );

    let recorded = std::fs::read(file).expect("it was recorded");
    let replayed = run(&["replay", "--json", file]);

    assert!(status.success() && replayed.status.success());
    assert_eq!(stdout, String::from_utf8_lossy(&recorded));
    assert_eq!(
        String::from_utf8_lossy(&replayed.stdout),
        String::from_utf8_lossy(&recorded)
    );
    let text = String::from_utf8(recorded).expect("text");
    for event in [
        "header",
        "tcp.state",
        "tcp.time_wait.enter",
        "bind",
        "diagnosis",
        "tick",
        "footer",
    ] {
        assert!(
            text.contains(&format!("{{\"event\":\"{event}\"")),
            "{event} is missing:\n{text}"
        );
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).expect("there"));
    assert_eq!(mode & 0o777, 0o600, "command lines may hold secrets");
    assert_eq!(String::from_utf8_lossy(&run(&["replay", file]).stderr), "");
}

#[test]
fn every_line_fits_the_schema() {
    if !on_stage(&[]) {
        return;
    }
    let schema: Value =
        serde_json::from_slice(&run(&["schema"]).stdout).expect("the schema is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is a schema");
    let watch = Watch::start(&[]);
    failing_restart();
    let listening = listener("[::1]:8081", true);
    drop(connection(&listening, "[::1]:8081"));

    let events = watch.finish();

    for event in &events {
        let errors: Vec<String> = validator
            .iter_errors(event)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}\n{event}");
    }
    assert!(!validator.is_valid(&serde_json::json!({"event": "bind", "seq": 1, "ts": "2026-01-01T00:00:00.000000000Z", "mono_ns": 1})));
}

#[test]
fn text_is_one_line_per_event_and_tells_the_reason() {
    if !on_stage(&[]) {
        return;
    }
    let parts = [
        "established -> fin_wait_1",
        "bind         127.0.0.1:8080  FAILED EADDRINUSE",
        "WHY ",
        "[time_wait_left_without_reuse]",
    ];
    let (text, _) = run_around(
        &["watch", "--netns", "self", "--port", "8080"],
        failing_restart,
        &parts,
    );

    for part in parts {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn a_port_filter_shows_nothing_else() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080", "--port", "9000-9010"]);
    let others: Vec<_> = ["127.0.0.1:7000", "127.0.0.1:9011"]
        .into_iter()
        .map(|address| (listener(address, true), address))
        .collect();
    for (listening, address) in &others {
        drop(connection(listening, address));
    }
    let within = listener("127.0.0.1:9005", true);
    let (_server, client) = connection(&within, "127.0.0.1:9005");
    watch.wait_for("the connection", |event| {
        event["event"] == "tcp.state" && event["peer"]["port"] == 9005
    });

    let events = watch.finish();

    for event in events.iter().filter(|event| event.get("local").is_some()) {
        let ports = [&event["local"]["port"], &event["peer"]["port"]];
        assert!(ports.contains(&&Value::from(9005)), "{event}");
    }
    assert!(port_of(&client) != 0);
}

#[test]
fn filters_by_process_state_and_address_admit_what_they_name() {
    if !on_stage(&[]) {
        return;
    }
    let own_pid = std::process::id().to_string();
    let comm = std::fs::read_to_string("/proc/self/comm").expect("Linux");
    let cases: [(&[&str], bool); 8] = [
        (&["--pid", &own_pid], true),
        (&["--pid", "1"], false),
        (&["--comm", comm.trim()], true),
        (&["--comm", "somebody-else"], false),
        (&["--state", "fin_wait_1"], true),
        (&["--state", "syn_sent"], false),
        (&["--addr", "127.0.0.1"], true),
        (&["--addr", "127.0.0.9"], false),
    ];
    for (index, (arguments, is_shown)) in cases.into_iter().enumerate() {
        let address = format!("127.0.0.1:{}", 8100 + index);
        let mut watch = Watch::start(arguments);
        let listening = listener(&address, true);
        let (server, client) = connection(&listening, &address);
        drop(server);
        drain(&client);
        drop(client);
        let is_close =
            |event: &Value| event["event"] == "tcp.state" && event["new"] == "fin_wait_1";
        if is_shown {
            watch.wait_for("the close", is_close);
        } else {
            watch.read_for(Duration::from_millis(200));
        }

        let events = watch.finish();

        let closes = events.iter().any(is_close);
        assert_eq!(closes, is_shown, "{arguments:?}\n{}", listing(&events));
    }
}

#[test]
fn it_ends_after_its_duration_and_on_sigterm_with_a_footer() {
    if !on_stage(&[]) {
        return;
    }
    let timed = run(&["watch", "--json", "--netns", "self", "--duration", "200ms"]);
    let text = String::from_utf8(timed.stdout).expect("text");
    let last: Value =
        serde_json::from_str(text.lines().last().expect("there are lines")).expect("JSON");
    assert_eq!(
        (&last["event"], &last["ended"]),
        (&Value::from("footer"), &Value::from("duration"))
    );
    assert_eq!(last["counts"]["footer"], 1);

    let mut watch = Watch::start(&[]);
    let pid = rustix::process::Pid::from_raw(watch.pid().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let footer = watch.wait_for("the footer", |event| event["event"] == "footer");
    assert_eq!(footer["ended"], "sigterm");
}

#[test]
fn conflicts_and_sockets_of_another_namespace_are_not_shown() {
    if !on_stage(&[]) {
        return;
    }
    let watch = Watch::start(&[]);
    std::thread::spawn(|| {
        namespace::enter_private().expect("we are root");
        failing_restart();
    })
    .join()
    .expect("the other namespace works");

    let events = watch.finish();

    assert!(
        !events
            .iter()
            .any(|event| event["event"] == "tcp.state" || event["event"] == "bind"),
        "{}",
        listing(&events)
    );
}

#[test]
fn the_dashboard_shows_the_reason_and_gives_the_terminal_back() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let terminal = Terminal::start(
        80,
        24,
        &format!("{TCPSTATE} watch --netns self --port 8080"),
    );
    terminal.wait_for(":8080");
    failing_restart();

    let screen = terminal.wait_for("time_wait_left_without_reuse");
    assert!(screen.contains("127.0.0.1:8080"), "{screen}");
    terminal.keys(&["?"]);
    terminal.wait_for("this help");
    terminal.keys(&["Escape"]);
    // Keys that follow an Escape at once would be one key with Alt.
    terminal.wait_until("this help", false);
    terminal.keys(&["Space"]);
    terminal.wait_for("PAUSED");
    terminal.keys(&["Space"]);
    terminal.keys(&["q"]);
    terminal.wait_until("time_wait_left", false);
    terminal.keys(&["echo", "Space", "still-$((40+2))", "Enter"]);
    let screen = terminal.wait_for("still-42");
    assert!(
        !screen.contains("time_wait_left"),
        "the screen before is back:\n{screen}"
    );
}

#[test]
fn a_tiny_terminal_says_what_it_needs() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let terminal = Terminal::start(20, 5, &format!("{TCPSTATE} watch --netns self"));

    terminal.wait_for("tcpstate needs");

    terminal.keys(&["q"]);
    // Until then the keys are the program's.
    terminal.wait_until("tcpstate needs", false);
    terminal.keys(&["echo", "Space", "ok-$((40+2))", "Enter"]);
    terminal.wait_for("ok-42");
}

/// A listener that shares its address with others.
fn sharing_listener() -> OwnedFd {
    let listening = socket(at(SERVER));
    rustix::net::sockopt::set_socket_reuseport(&listening, true).expect("open");
    rustix::net::bind(&listening, &at(SERVER)).expect("all of them share");
    rustix::net::listen(&listening, 8).expect("all of them share");
    listening
}

/// Before Linux 5.12 they have the same name, until a sweep gives each its own.
#[test]
fn a_port_is_down_once_the_last_of_several_listeners_on_one_address_has_gone() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let (first, second) = (sharing_listener(), sharing_listener());
    if running_linux() < (5, 12) {
        // Two sweeps.
        watch.read_for(Duration::from_secs(6));
    }

    drop(first);
    let third = sharing_listener();
    drop(third);
    drop(second);
    let fourth = sharing_listener();
    let restart = watch.wait_for("the restart", |event| event["event"] == "restart");

    drop(fourth);
    let events = watch.finish();
    let ends = |event: &&Value| event["event"] == "tcp.state" && event["old"] == "listen";
    let ends: Vec<&Value> = events.iter().filter(ends).collect();
    assert_eq!(ends.len(), 4, "{}", listing(&events));
    assert_eq!(restart["listen_closed_seq"], ends[2]["seq"], "{restart}");
}
