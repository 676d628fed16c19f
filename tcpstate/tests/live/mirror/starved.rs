//! The reader is held until the ring buffer is full: the program says how much
//! it missed, puts its table right, and does not say what it cannot know.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::event::{Body, ExitReason, State};

use super::churning::settle;
use super::kernel::Kernel;
use super::program::Mirror;
use support::{
    Program, RealTime, at, connection, drain, listener, on_stage, report_figures, socket,
};

const CONNECTIONS: usize = 24_000;
/// What is opened and closed while nobody reads has at least so many transitions.
const STATE_CHANGES_AT_LEAST: u64 = 9 * CONNECTIONS as u64;
const HOSTS: usize = 2;

#[test]
fn a_starved_reader_says_what_it_missed_and_is_right_again() {
    if !on_stage(&[RealTime("loss at full speed"), Program("ss", "iproute2")]) {
        return;
    }
    let netns = namespace::current_inode().expect("Linux");
    let mut kernel = Kernel::new(netns);
    let mut mirror = Mirror::start(&["--netns", "self"]);
    let listening: Vec<_> = (1..=HOSTS)
        .map(|host| {
            let address = format!("127.0.0.{host}:8080");
            (listener(&address, true), address)
        })
        .collect();
    // These will be destroyed while nobody looks.
    let early = listener("127.0.0.1:7070", true);
    for _ in 0..5 {
        let (server, client) = connection(&early, "127.0.0.1:7070");
        drop(server);
        drain(&client);
    }
    // This one will be closed, and this one opened.
    let closed_meanwhile = connection(&early, "127.0.0.1:7070");
    settle(&mut mirror, &mut kernel);
    let seen_before = mirror.engine.counts().get("tcp.state").copied();

    let pid = Pid::from_raw(mirror.pid().try_into().expect("a pid")).expect("not 0");
    kill_process(pid, Signal::STOP).expect("it runs");
    let killed = Command::new("ss")
        .args(["-Ktn", "state", "time-wait", "sport = :7070"])
        .output()
        .expect("ss runs");
    assert!(killed.status.success(), "{killed:?}");
    for number in 0..CONNECTIONS {
        let (listening, address) = &listening[number % HOSTS];
        let client = socket(at(address));
        rustix::net::connect(&client, &at(address)).expect("somebody listens");
        drop(rustix::net::accept(listening).expect("a connection waits"));
    }
    drop(closed_meanwhile);
    let _opened_meanwhile = connection(&early, "127.0.0.1:7070");
    let continued_ns = clock::monotonic_ns();
    kill_process(pid, Signal::CONT).expect("it waits");

    let loss = mirror.read_until(
        "the loss",
        |body| matches!(body, Body::Loss(loss) if loss.count > 0),
    );
    let told_after = Duration::from_nanos(loss.mono_ns - continued_ns);
    let resynced = mirror.read_until(
        "the end of the loss",
        |body| matches!(body, Body::Loss(loss) if loss.resynced && loss.count == 0),
    );
    let (settled_ms, comparison) = settle(&mut mirror, &mut kernel);

    let lost: u64 = mirror.losses.iter().map(|loss| loss.count).sum();
    let seen = mirror.engine.counts().get("tcp.state").copied();
    report_figures(&format!(
        "starved reader: lost {lost}, told after {told_after:?}, right after {:?}; {} sockets compared, differences 0, equal after {settled_ms} ms",
        Duration::from_nanos(resynced.mono_ns - continued_ns),
        comparison.sockets,
    ));
    assert!(told_after < Duration::from_secs(1), "{told_after:?}");
    let seen = seen.unwrap_or(0) - seen_before.unwrap_or(0);
    assert!(
        seen + lost >= STATE_CHANGES_AT_LEAST,
        "{seen} seen and {lost} lost of at least {STATE_CHANGES_AT_LEAST}"
    );
    let ends: Vec<ExitReason> = mirror
        .engine
        .log()
        .iter()
        .filter_map(|event| match &event.body {
            Body::TimeWaitExit(exit) if exit.local.port == 7070 => Some(exit.reason),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [ExitReason::Unknown; 5]);
    // Loopback lets connect take over what is older than a second.
    assert!(comparison.time_waits >= CONNECTIONS / 4, "{comparison:?}");
    assert_eq!(mirror.engine.unresynced(), 0);
    assert_eq!(
        usize::try_from(mirror.engine.table().count(State::TimeWait)).expect("fits"),
        comparison.time_waits
    );
}
