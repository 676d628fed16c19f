//! Calls that fail as fast as a user without privileges can make them: none of them
//! hides another one's failure, and each is told once, as an event or in a count.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;

use support::{Stalls, Watch, at, listener, on_stage, patience, report_figures, socket, try_bind};

/// `nobody`.
pub(crate) const USER: u32 = 65_534;
/// How long a flood lasts.
const LASTS: Duration = Duration::from_secs(3);
/// A failed call beside a flood is explained within this; it takes milliseconds.
const LIVENESS: Duration = Duration::from_secs(5);

/// That it took no longer than [`LIVENESS`], besides the time in which this machine stood
/// still. An emulated machine gets more patience.
#[track_caller]
pub(crate) fn assert_live(took: Duration, stalls: &Stalls) {
    let stalled = stalls.longest();
    let bound = LIVENESS.max(patience() / 6) + stalled;
    assert!(
        took < bound,
        "{took:?}, of these without a processor {stalled:?}"
    );
}

/// No line of an event is longer, a quarter of what readers take.
const MOST: usize = 256 << 10;
/// What the kernel program lets through of one kind of failure, and of one user.
const REPEATS_A_SECOND: u64 = 10;
const OF_ONE_USER_A_SECOND: u64 = 100;
const OF_ONE_USER_AT_ONCE: u64 = 1_000;

/// Threads that fail without a pause, as a user without privileges.
pub(crate) struct Flood {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Flood {
    pub(crate) fn start(addresses: &[SocketAddr]) -> Self {
        Self::of(2, addresses)
    }

    /// The same of so many threads.
    pub(crate) fn of(threads: usize, addresses: &[SocketAddr]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = (0..threads)
            .map(|_| {
                let (is_over, addresses) = (Arc::clone(&is_over), addresses.to_vec());
                std::thread::spawn(move || {
                    become_user();
                    let socket = socket(addresses[0]);
                    let mut count = 0;
                    for address in addresses.iter().cycle() {
                        rustix::net::bind(&socket, address).expect_err("it cannot be had");
                        count += 1;
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    count
                })
            })
            .collect();
        Self { is_over, threads }
    }

    /// How many calls have failed.
    pub(crate) fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        threads.map(|thread| thread.join().expect("it ends")).sum()
    }
}

/// The calling thread alone: the system call knows nothing of the others.
#[expect(unsafe_code, reason = "libc's own call is for all threads")]
pub(crate) fn become_user() {
    // SAFETY: takes numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, USER, USER, USER) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

pub(crate) fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns))
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

pub(crate) fn failed_on(events: &[Value], is_one: impl Fn(u64) -> bool) -> Vec<&Value> {
    let port = |event: &Value| number(&event["requested"]["port"]);
    events
        .iter()
        .filter(|event| event["event"] == "bind" && event["ok"] == false && is_one(port(event)))
        .collect()
}

/// Failed binds of these ports: events, and all that they and floods stand for.
pub(crate) fn count(events: &[Value], is_one: impl Fn(u64) -> bool) -> (u64, u64) {
    let binds = failed_on(events, is_one);
    let repeated: u64 = binds.iter().map(|bind| number(&bind["repeated"])).sum();
    let flooded: u64 = events
        .iter()
        .filter(|event| event["event"] == "flood")
        .map(|event| number(&event["count"]))
        .sum();
    let told = binds.len() as u64;
    (told, told + repeated + flooded)
}

/// Hooks that did not run because one ran on that processor already, or a map was in use
/// there: the kernel says how many, and `loss` does.
fn lost(events: &[Value]) -> u64 {
    let losses = events.iter().filter(|event| event["event"] == "loss");
    losses.map(|event| number(&event["count"])).sum()
}

/// Reads until each call is in an event or a count, but for those that are said to be lost.
pub(crate) fn read_until_accounted(watch: &mut Watch, made: u64, is_one: impl Fn(u64) -> bool) {
    // Each event once: there are tens of thousands.
    let (mut looked_at, mut all) = (0, 0);
    watch.read_until(|seen| {
        let new = &seen[looked_at..];
        looked_at = seen.len();
        all += count(new, &is_one).1 + lost(new);
        all >= made
    });
}

/// That each is, and none twice.
#[track_caller]
pub(crate) fn assert_accounted(all: u64, made: u64, events: &[Value]) {
    let lost = lost(events);
    assert!(
        all <= made && all + lost >= made,
        "{all} and {lost} lost of {made}"
    );
    assert!(lost <= 2, "{lost} lost of {made}");
}

/// Fails a server's bind in the middle of it, and gives how long its diagnosis took.
#[track_caller]
fn explained_beside(watch: &mut Watch, port: u16) -> Duration {
    std::thread::sleep(LASTS / 3);
    let stalls = Stalls::measure();
    let began = clock::monotonic_ns();
    try_bind(&format!("127.0.0.1:{port}"), false).expect_err("somebody listens");
    let (_, diagnosis) = watch.first_diagnosis("bind", port);
    let took = since(began);
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    assert_live(took, &stalls);
    std::thread::sleep(LASTS * 2 / 3);
    took
}

#[test]
fn a_flood_of_one_failure_is_counted_to_the_last_and_hides_no_other() {
    if !on_stage(&[]) {
        return;
    }
    let _holders = [
        listener("127.0.0.1:7001", false),
        listener("127.0.0.1:7002", false),
    ];
    let mut watch = Watch::start(&[]);

    let began_ns = clock::monotonic_ns();
    let flood = Flood::start(&[at("127.0.0.1:7001")]);
    let took = explained_beside(&mut watch, 7002);
    let made = flood.stop();
    let seconds = since(began_ns).as_secs() + 3;
    read_until_accounted(&mut watch, made, |port| port == 7001);
    let events = watch.finish();

    let (told, all) = count(&events, |port| port == 7001);
    assert_accounted(all, made, &events);
    assert!(
        told <= REPEATS_A_SECOND * seconds,
        "{told} events of {made}"
    );
    // What is only counted is not explained again.
    let sums = failed_on(&events, |port| port == 7001);
    let sums = sums.iter().filter(|bind| bind["is_sum"] == true).count() as u64;
    // One that names come for has two.
    let why = events.iter().filter(|event| event["event"] == "diagnosis");
    let explained: BTreeSet<u64> = why.map(|why| number(&why["of"])).collect();
    assert_eq!(explained.len() as u64, told - sums + 1);
    report_figures(&format!(
        "{made} failed binds, {told} told; another one explained in {took:?}"
    ));
}

#[test]
fn a_flood_of_different_failures_is_counted_with_its_user() {
    if !on_stage(&[]) {
        return;
    }
    let _holder = listener("127.0.0.1:7002", false);
    let mut watch = Watch::start(&[]);
    let ports = 10_000..30_000;

    let nowhere: Vec<SocketAddr> = ports
        .clone()
        .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
        .collect();
    let began_ns = clock::monotonic_ns();
    let flood = Flood::start(&nowhere);
    let took = explained_beside(&mut watch, 7002);
    let made = flood.stop();
    let seconds = since(began_ns).as_secs() + 3;
    let is_one = |port: u64| ports.contains(&u16::try_from(port).unwrap_or(0));
    read_until_accounted(&mut watch, made, is_one);
    let events = watch.finish();

    let (_, all) = count(&events, is_one);
    assert_accounted(all, made, &events);
    let floods: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "flood")
        .collect();
    assert!(!floods.is_empty());
    for flood in floods {
        assert_eq!(
            (&flood["uid"], &flood["call"]),
            (&USER.into(), &"bind".into())
        );
        assert_eq!(number(&flood["pid"]), u64::from(std::process::id()));
    }
    let whys = events
        .iter()
        .filter(|event| event["event"] == "diagnosis")
        .count() as u64;
    // Besides the one of the server.
    let most = OF_ONE_USER_AT_ONCE + OF_ONE_USER_A_SECOND * seconds + 1;
    assert!(whys <= most, "{whys}");
    report_figures(&format!(
        "{made} different failed binds, {whys} explained; another one in {took:?}"
    ));
}

#[test]
fn two_processors_that_fail_alike_at_one_time_are_both_counted() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    // So few that each is reported by itself.
    let ports = 10_000..10_450_u16;
    let made = 2 * u64::from(ports.end - ports.start);

    let arrived = Arc::new(AtomicU64::new(0));
    let threads: Vec<JoinHandle<()>> = (0..2)
        .map(|_| {
            let (arrived, ports) = (Arc::clone(&arrived), ports.clone());
            std::thread::spawn(move || {
                become_user();
                let socket = socket(at("192.0.2.1:1"));
                for (round, port) in (1..).zip(ports) {
                    arrived.fetch_add(1, Ordering::AcqRel);
                    while arrived.load(Ordering::Acquire) < 2 * round {
                        std::hint::spin_loop();
                    }
                    let address = SocketAddr::from(([192, 0, 2, 1], port));
                    rustix::net::bind(&socket, &address).expect_err("no such address");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it ends");
    }
    let is_one = |port: u64| ports.contains(&u16::try_from(port).unwrap_or(0));
    read_until_accounted(&mut watch, made, is_one);
    let events = watch.finish();

    let (_, all) = count(&events, is_one);
    assert_accounted(all, made, &events);
}

#[test]
fn the_end_of_a_run_does_not_wait_for_the_end_of_a_flood() {
    if !on_stage(&[]) {
        return;
    }
    let _holder = listener("127.0.0.1:7001", false);
    let watch = Watch::start(&[]);

    let flood = Flood::start(&[at("127.0.0.1:7001")]);
    std::thread::sleep(LASTS / 3);
    let stalls = Stalls::measure();
    let began = clock::monotonic_ns();
    let events = watch.finish();
    let took = since(began);
    flood.stop();

    assert_live(took, &stalls);
    let last = events.last().expect("there are events");
    assert_eq!(last["event"], "footer");
    report_figures(&format!("ended in {took:?} beside a flood"));
}

#[test]
fn a_failed_call_gets_through_where_all_other_events_find_no_room() {
    if !on_stage(&[]) {
        return;
    }
    let listening = listener("127.0.0.1:7001", false);
    // What is left out is not kept by the test: there may be little memory.
    let mut watch = Watch::start(&["--state", "listen"]);
    let pid = i32::try_from(watch.pid())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let signal = |signal| {
        rustix::process::kill_process(pid.expect("it runs"), signal).expect("it is there");
    };

    // Nobody reads meanwhile: 16 MiB are full after some 30,000 connections.
    signal(rustix::process::Signal::STOP);
    for _ in 0..45_000 {
        let (server, client) = support::connection(&listening, "127.0.0.1:7001");
        let reset = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&client, reset).expect("a socket lingers");
        drop((client, server));
    }
    try_bind("127.0.0.1:7001", false).expect_err("somebody listens");
    signal(rustix::process::Signal::CONT);

    let diagnosis = watch.diagnosis("bind", 7001);
    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    let loss = |event: &Value| event["event"] == "loss" && number(&event["count"]) > 0;
    watch.wait_for("a loss", loss);
    watch.finish();
}

/// Processes that hold a socket and have long arguments.
struct Holders(Vec<Child>);

impl Holders {
    fn of(held: &OwnedFd, count: usize) -> Self {
        let long = "x".repeat(20_000);
        let start = |_| {
            Command::new("sh")
                .args(["-c", "read line", "worker", &long])
                .stdin(Stdio::piped())
                .stdout(Stdio::from(held.try_clone().expect("it can be doubled")))
                .spawn()
                .expect("sh is there")
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[track_caller]
fn assert_short(events: &[Value]) {
    for event in events {
        let len = event.to_string().len();
        assert!(len < MOST, "{} has {len} bytes", event["event"]);
    }
}

#[test]
fn sixty_processes_with_long_arguments_that_hold_one_socket_make_a_short_line() {
    if !on_stage(&[]) {
        return;
    }
    let listening = listener("127.0.0.1:7001", false);
    let _holders = Holders::of(&listening, 60);
    let mut watch = Watch::start(&[]);

    let diagnosis = watch.diagnosis_of("bind", 7001, || {
        try_bind("127.0.0.1:7001", false).expect_err("somebody listens");
    });
    let events = watch.finish();

    assert_short(&events);
    let holder = &diagnosis["holders"][0];
    let listed = holder["processes"].as_array().expect("they are named");
    assert_eq!(listed.len(), 16);
    // A program that another test starts may hold it for an instant, too.
    assert!(number(&holder["processes_more"]) >= 44, "{holder}");
    let opener = u64::from(std::process::id());
    assert!(
        listed
            .iter()
            .any(|process| number(&process["pid"]) == opener)
    );
    let longest = events.iter().map(|event| event.to_string().len()).max();
    report_figures(&format!(
        "60 holders with long arguments: a line of {} bytes",
        longest.unwrap_or(0)
    ));
}

/// Half of the descriptors that this process may have, which the other tests need, too.
fn sockets_to_have() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX).min(30_000) / 2
}

#[test]
fn as_many_sockets_on_a_port_as_a_process_may_have_make_a_short_line() {
    if !on_stage(&[]) {
        return;
    }
    let address = at("127.0.0.1:7001");
    let count = sockets_to_have();
    let sockets: Vec<OwnedFd> = (0..count)
        .map(|_| {
            let socket = socket(address);
            rustix::net::sockopt::set_socket_reuseport(&socket, true).expect("it can share");
            rustix::net::bind(&socket, &address).expect("the others share");
            socket
        })
        .collect();
    let mut watch = Watch::start(&[]);

    watch.diagnosis_of("bind", 7001, || {
        try_bind("127.0.0.1:7001", false).expect_err("it is held");
    });
    drop(sockets);
    let events = watch.finish();

    assert_short(&events);
    let binds = failed_on(&events, |port| port == 7001);
    let seen = &binds[0]["seen"];
    let holders = seen["holders"].as_array().expect("they were read");
    assert!(holders.len() <= 96);
    let all: u64 = holders.iter().map(|held| 1 + number(&held["alike"])).sum();
    // Before Linux 6.8 nothing lists sockets that are only bound.
    if seen["is_complete"] == true {
        assert_eq!(all + number(&seen["holders_more"]), count);
    }
    let longest = events.iter().map(|event| event.to_string().len()).max();
    report_figures(&format!(
        "{count} sockets on a port: a line of {} bytes",
        longest.unwrap_or(0)
    ));
}
