//! Both ways of observing tell the same: one program with tracepoints alone and
//! one with function hooks, where the kernel allows them, watch the same
//! scenes; sockets, transitions and diagnoses are equal. How something is known
//! and when exactly it happened may differ.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown, sockopt};
use serde_json::{Value, json};

use support::{
    Program, Watch, at, connection, drain, listener, listing, on_stage, port_of, report_figures,
    socket, try_bind,
};

/// The events that must be equal.
const COMPARED: [&str; 9] = [
    "tcp.state",
    "tcp.time_wait.enter",
    "tcp.time_wait.exit",
    "tcp.reset",
    "bind",
    "listen",
    "connect",
    "accept",
    "diagnosis",
];
/// What says when, how it is known, or where it stands in its own stream.
const BY_MODE: [&str; 13] = [
    "age_s",
    "seq",
    "ts",
    "mono_ns",
    "source",
    "of",
    "evidence",
    "expires_ms",
    "clears_ms",
    "lived_ms",
    "visited",
    "is_tripped_over",
    "netns_cookie",
];
/// Where a server leaves an orphan: with tracepoints it is only looked for what
/// becomes of it.
const ORPHANS_PORT: u16 = 7_040;
/// A bind that fails here comes before the scenes, one that fails there ends them.
const FIRST_PORT: u16 = 9_998;
const LAST_PORT: u16 = 9_999;

/// The kernel does not run a program that it interrupts itself; where a machine
/// is emulated that happens now and then, and is told as a loss.
const ATTEMPTS: usize = 4;

#[test]
fn both_modes_tell_the_same() {
    for attempt in 1..=ATTEMPTS {
        // A namespace of its own for each, whose ports are free.
        if !on_stage(&[Program("ss", "iproute2")]) {
            return;
        }
        let best = std::env::var("TCPSTATE_CAPTURE").unwrap_or_else(|_| "auto".to_owned());
        let told = watch_scenes(["tracepoints", &best]);
        let has_losses = told.iter().flatten().any(|event| event["event"] == "loss");
        let [by_tracepoints, by_best] = read_in_time(told).map(|events| facts(&events));
        let missing = only(&by_tracepoints, &by_best);
        let added = only(&by_best, &by_tracepoints);
        if missing.is_empty() && added.is_empty() {
            assert!(by_best.len() > 70, "{} facts", by_best.len());
            report_figures(&format!("both modes: {} facts are equal", by_best.len()));
            return;
        }
        assert!(
            has_losses && attempt < ATTEMPTS,
            "only with tracepoints:\n{}\nonly in the other mode ({best}):\n{}",
            missing.join("\n"),
            added.join("\n")
        );
    }
}

/// What two programs told that watched the same scenes.
fn watch_scenes(modes: [&str; 2]) -> [Vec<Value>; 2] {
    let mut watches = modes.map(|mode| Watch::start(&["--capture", mode]));
    // The first look at this process takes so long on an emulated machine that what fails
    // meanwhile is not looked into any more: it is not one of the scenes.
    let _first = listener(&format!("127.0.0.1:{FIRST_PORT}"), false);
    try_bind(&format!("127.0.0.1:{FIRST_PORT}"), false).expect_err("it is taken");
    let first = watches
        .each_mut()
        .map(|watch| watch.diagnosis("bind", FIRST_PORT)["seq"].as_u64());
    let scenes = Scenes::play();
    let _last = listener(&format!("127.0.0.1:{LAST_PORT}"), false);
    try_bind(&format!("127.0.0.1:{LAST_PORT}"), false).expect_err("it is taken");
    for watch in &mut watches {
        watch.diagnosis("bind", LAST_PORT);
        watch.wait_for("what becomes of the orphan", |event| {
            event["event"] == "tcp.time_wait.enter" && event["local"]["port"] == ORPHANS_PORT
        });
        for port in scenes.time_waits_over {
            watch.wait_for("the end of a TIME_WAIT", |event| {
                event["event"] == "tcp.time_wait.exit" && event["local"]["port"] == port
            });
        }
    }
    let mut told = watches.map(Watch::finish);
    for (told, first) in told.iter_mut().zip(first) {
        told.retain(|event| event["event"] == "header" || event["seq"].as_u64() > first);
    }
    // What its end brings about is nobody's to tell.
    drop(scenes);
    told
}

/// Without the failed calls of which one of the two could not read in time who has the
/// sockets open, or what the caller is, as on an emulated machine. Both have the same calls
/// in the same order.
fn read_in_time(mut reported: [Vec<Value>; 2]) -> [Vec<Value>; 2] {
    let is_failed = |event: &&Value| event["ok"] == false;
    let failed = reported
        .each_ref()
        .map(|events| events.iter().filter(is_failed).collect::<Vec<_>>());
    let late: Vec<[Value; 2]> = std::iter::zip(&failed[0], &failed[1])
        .filter(|(one, other)| {
            let is_unread = |event: &Value| event["seen"]["processes_unread"].is_string();
            let program = |event: &Value| event["process"]["language"].clone();
            is_unread(one) || is_unread(other) || program(one) != program(other)
        })
        .map(|(one, other)| [one["seq"].clone(), other["seq"].clone()])
        .collect();
    for (side, events) in reported.iter_mut().enumerate() {
        let is_late = |seq: &Value| late.iter().any(|late| late[side] == *seq);
        events.retain(|event| {
            !(event["ok"] == false && is_late(&event["seq"])
                || event["event"] == "diagnosis" && is_late(&event["of"]))
        });
    }
    reported
}

/// The facts that are here and not there.
fn only(here: &[String], there: &[String]) -> Vec<String> {
    let mut rest = there.to_vec();
    here.iter()
        .filter(|fact| match rest.iter().position(|other| other == *fact) {
            Some(at) => {
                rest.swap_remove(at);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}

/// What is held until the end, so that no scene disturbs another.
struct Scenes {
    _held: Vec<OwnedFd>,
    /// Local ports of TIME_WAITs that ended before their time.
    time_waits_over: [u16; 2],
}

impl Scenes {
    fn play() -> Self {
        let mut held = Vec::new();
        refused_binds(&mut held);
        refused_listen(&mut held);
        other_errors(&mut held);
        restart(&mut held);
        orphan(&mut held);
        resets(&mut held);
        let taken_over = take_over(&mut held);
        let destroyed = destroy(&mut held);
        Self {
            _held: held,
            time_waits_over: [taken_over, destroyed],
        }
    }
}

/// `first` closes before `second`, and is in TIME_WAIT when this returns: its
/// descriptor is open until the other side's FIN is there.
fn close_first(first: OwnedFd, second: OwnedFd) {
    shutdown(&first, Shutdown::Write).expect("open");
    drain(&second);
    drop(second);
    drain(&first);
    drop(first);
}

fn refused_binds(held: &mut Vec<OwnedFd>) {
    held.push(listener("127.0.0.1:7001", false));
    held.push(listener("[::]:7002", false));
    held.push(listener("0.0.0.0:7003", true));
    held.push(try_bind("[::1]:7004", true).expect("free"));
    for (address, reuse) in [
        ("127.0.0.1:7001", false),
        ("0.0.0.0:7001", true),
        ("[::]:7001", true),
        ("[::ffff:127.0.0.1]:7001", false),
        ("127.0.0.1:7002", false),
        ("[::1]:7002", true),
        ("127.0.0.1:7003", true),
        ("[::1]:7004", false),
    ] {
        try_bind(address, reuse).expect_err("it is taken");
    }
}

fn refused_listen(held: &mut Vec<OwnedFd>) {
    let first = try_bind("127.0.0.1:7010", true).expect("free");
    let second = try_bind("127.0.0.1:7010", true).expect("both have SO_REUSEADDR");
    rustix::net::listen(&first, 8).expect("free");
    rustix::net::listen(&second, 8).expect_err("the other one listens");
    held.extend([first, second]);
}

fn other_errors(held: &mut Vec<OwnedFd>) {
    let refused = try_bind("192.0.2.1:7020", false).expect_err("not ours");
    assert_eq!(refused, Errno::ADDRNOTAVAIL);
    let bound = try_bind("127.0.0.1:7021", false).expect("free");
    rustix::net::bind(&bound, &at("127.0.0.1:7022")).expect_err("bound already");
    let stranger = socket(at("127.0.0.1:0"));
    rustix::net::connect(&stranger, &at("127.0.0.1:7023")).expect_err("nobody listens");
    held.push(bound);
}

fn restart(held: &mut Vec<OwnedFd>) {
    const SERVER: &str = "127.0.0.1:7030";
    let listening = listener(SERVER, false);
    let (server, client) = connection(&listening, SERVER);
    close_first(server, client);
    drop(listening);
    try_bind(SERVER, false).expect_err("it is in TIME_WAIT");
    try_bind(SERVER, true).expect_err("it was left without SO_REUSEADDR");
    held.push(listener("127.0.0.1:7031", false));
}

/// The peer's FIN comes late: FIN_WAIT_2 in a mini-socket, then TIME_WAIT.
fn orphan(held: &mut Vec<OwnedFd>) {
    const SERVER: &str = "127.0.0.1:7040";
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drain(&client);
    std::thread::sleep(Duration::from_millis(300));
    try_bind(SERVER, false).expect_err("an orphan holds it");
    drop(client);
    std::thread::sleep(Duration::from_millis(600));
    held.push(listening);
}

fn resets(held: &mut Vec<OwnedFd>) {
    const SERVER: &str = "127.0.0.1:7050";
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("open");
    drop(server);
    drain(&client);
    let (server, client_2) = connection(&listening, SERVER);
    shutdown(&client_2, Shutdown::Both).expect("open");
    drain(&server);
    held.extend([listening, client, client_2, server]);
}

/// A connect from a fixed port takes the place of its own TIME_WAIT. Gives the port.
fn take_over(held: &mut Vec<OwnedFd>) -> u16 {
    const SERVER: &str = "127.0.0.1:7060";
    const CLIENT: &str = "127.0.0.1:7061";
    let listening = listener(SERVER, true);
    let connect = || {
        let client = try_bind(CLIENT, true).expect("shared");
        rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
        let server = rustix::net::accept(&listening).expect("a connection waits");
        (server, client)
    };
    let (server, client) = connect();
    close_first(client, server);
    std::thread::sleep(Duration::from_millis(1_300));
    let (server, client) = connect();
    let port = port_of(&client);
    held.extend([listening, server, client]);
    port
}

/// A TIME_WAIT is destroyed from outside, or, before Linux 6.0, ended by its own
/// listener, to which its peer's port connects anew. Gives the port.
fn destroy(held: &mut Vec<OwnedFd>) -> u16 {
    const SERVER: &str = "127.0.0.1:7070";
    const CLIENT: &str = "127.0.0.1:7071";
    let listening = listener(SERVER, true);
    let client = try_bind(CLIENT, true).expect("free");
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    let server = rustix::net::accept(&listening).expect("a connection waits");
    close_first(server, client);
    let killed = Command::new("ss")
        .args(["-Ktn", "state", "time-wait", "sport = :7070"])
        .output()
        .expect("ss runs");
    if !String::from_utf8_lossy(&killed.stdout).contains(":7070") {
        let client = try_bind(CLIENT, true).expect("free");
        std::thread::sleep(Duration::from_millis(1_100));
        rustix::net::connect(&client, &at(SERVER)).expect("a newer SYN is let through");
        held.push(client);
    }
    held.push(listening);
    7070
}

/// What a run told, without what differs from mode to mode.
fn facts(events: &[Value]) -> Vec<String> {
    let has_cookies = events[0]["probes"]
        .as_array()
        .is_some_and(|probes| probes.iter().any(has_cookies));
    events
        .iter()
        .filter(|event| COMPARED.iter().any(|name| event["event"] == *name))
        .map(|event| {
            let mut event = event.clone();
            if !has_cookies {
                strip_cookies(&mut event);
            }
            strip(&mut event);
            event.to_string()
        })
        .collect()
}

fn has_cookies(probe: &Value) -> bool {
    probe["name"] == "socket cookies" && probe["status"] == "attached"
}

/// Where hooks get none, a socket has a cookie from the first look at it on.
fn strip_cookies(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("cookie");
            fields.values_mut().for_each(strip_cookies);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_cookies),
        _ => {}
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in BY_MODE {
                fields.remove(name);
            }
            // In the order in which the bucket was walked.
            if let Some(Value::Array(holders)) = fields.get_mut("holders") {
                holders.iter_mut().for_each(strip);
                holders.sort_by_key(ToString::to_string);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        Value::String(text) => *text = without_times(text),
        _ => {}
    }
}

/// `59.9 s` and the like, without the number.
fn without_times(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_time = |at: usize| {
        words
            .get(at + 1)
            .is_some_and(|unit| unit.trim_end_matches(['.', ',', ';', ')']) == "s")
            && words[at].chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    words
        .iter()
        .enumerate()
        .map(|(at, word)| if is_time(at) { "N" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_function_hook_tells_the_end_of_a_time_wait_with_its_reason() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let header = watch.wait_for("the header", |event| event["event"] == "header");
    if header["capture"] != "functions" {
        assert_ne!(
            std::env::var("TCPSTATE_CAPTURE").as_deref(),
            Ok("functions"),
            "{header}"
        );
        watch.finish();
        return;
    }
    let mut held = Vec::new();

    restart(&mut held);
    let taken_over = take_over(&mut held);
    let destroyed = destroy(&mut held);
    let mut events = watch.read_for(Duration::from_secs(66));
    events.extend(watch.finish());

    let exit = |port: u16| {
        let exit = events
            .iter()
            .find(|event| event["event"] == "tcp.time_wait.exit" && event["local"]["port"] == port);
        exit.unwrap_or_else(|| panic!("no exit on {port}:\n{}", listing(&events)))
    };
    let expired = exit(7030);
    assert_eq!(
        (&expired["reason"], &expired["source"]),
        (&json!("expired"), &json!("kernel"))
    );
    let lived_ms = expired["lived_ms"].as_u64().expect("a number");
    assert!((59_900..=63_000).contains(&lived_ms), "{lived_ms} ms");
    let reused = exit(taken_over);
    assert_eq!(
        (&reused["reason"], &reused["source"]),
        (&json!("reused"), &json!("kernel"))
    );
    let end = exit(destroyed);
    assert!(
        end["reason"] == "destroyed" || end["reason"] == "reused",
        "{end}"
    );
    assert_eq!(end["source"], "kernel");
}

#[test]
fn a_function_hook_names_the_socket_that_a_bind_trips_over() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let header = watch.wait_for("the header", |event| event["event"] == "header");
    let other = try_bind("127.0.0.2:7080", true).expect("free");
    let guilty = listener("127.0.0.1:7080", true);

    try_bind("127.0.0.1:7080", true).expect_err("it is taken");
    let diagnosis = watch.diagnosis("bind", 7080);

    let tripped_over: Vec<&Value> = diagnosis["holders"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|holder| holder["is_tripped_over"] == true)
        .map(|holder| &holder["local"]["addr"])
        .collect();
    if header["capture"] == "functions" {
        assert_eq!(tripped_over, [&json!("127.0.0.1")], "{diagnosis}");
    } else {
        assert!(tripped_over.is_empty(), "{diagnosis}");
    }
    drop((other, guilty));
    watch.finish();
}
