//! Beside whoever uses up what he may: descriptors, processes, failed calls. A server's
//! failed call is explained, signals and keys are obeyed, and neither memory nor output
//! grows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;
use tcpstate::demo::namespace;

use crate::flood::{self, Flood, USER, assert_live, become_user, count, since};
use crate::terminal::Terminal;
use support::{
    Program, Stalls, TCPSTATE, Watch, at, listener, on_stage, patience, report_figures, socket,
    try_bind,
};

/// Descriptors of one user that nothing happens to, as many as the limits allow.
const IDLE: u64 = 400_000;
/// No more than so many of them in one process.
const MOST_OF_ONE: u64 = 20_000;
/// Memory and output stay below these.
const MEMORY_KB: u64 = 150 << 10;
const BYTES_A_SECOND: u64 = 1 << 20;

/// Processes of a user that have descriptors open and do nothing.
struct Idle {
    processes: Vec<Child>,
    descriptors: u64,
}

impl Idle {
    fn start() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        // An emulated machine would take minutes to open them.
        let all = if patience() > Duration::from_secs(30) {
            IDLE / 10
        } else {
            IDLE
        };
        let each = limit.current.unwrap_or(u64::MAX).min(MOST_OF_ONE) - 100;
        let processes: Vec<Child> = (0..all.div_ceil(each)).map(|_| idle(each)).collect();
        Self {
            descriptors: each * processes.len() as u64,
            processes,
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[expect(
    unsafe_code,
    reason = "what runs between fork and exec is unsafe to give"
)]
fn idle(descriptors: u64) -> Child {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null()).uid(USER);
    // SAFETY: dup(2) alone, which is safe to call there.
    unsafe {
        command.pre_exec(move || {
            for _ in 0..descriptors {
                if libc::dup(0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().expect("sleep is there")
}

/// Most memory that a process has had, in kilobytes.
fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("Linux")
}

/// How often a process has waited for the disk, to have a page of its memory.
fn major_faults(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let behind_name = stat.rsplit_once(')').expect("it has a name").1;
    let field = behind_name.split_whitespace().nth(9);
    field.and_then(|count| count.parse().ok()).expect("Linux")
}

#[test]
fn a_server_is_explained_beside_a_flood_and_four_hundred_thousand_idle_descriptors() {
    const BINDS: usize = 10;
    if !on_stage(&[]) {
        return;
    }
    let idle = Idle::start();
    let _holders = [
        listener("127.0.0.1:7001", false),
        listener("127.0.0.1:7002", false),
    ];
    let mut watch = Watch::start(&[]);

    let began_ns = clock::monotonic_ns();
    let flood = Flood::start(&[at("127.0.0.1:7001")]);
    let stalls = Stalls::measure();
    let mut took: Vec<Duration> = (0..BINDS).map(|_| explained(&mut watch)).collect();
    let memory_kb = peak_kb(watch.pid());
    let faults = major_faults(watch.pid());
    let ended_ns = clock::monotonic_ns();
    let events = watch.finish();
    let end = since(ended_ns);
    let seconds = since(began_ns).as_secs() + 1;
    let made = flood.stop();

    println!("each after {took:?}; major faults of the watcher: {faults}");
    took.sort_unstable();
    assert_live(took[BINDS - 1], &stalls);
    assert_live(end, &stalls);
    assert!(memory_kb < MEMORY_KB, "{memory_kb} kB");
    let bytes: u64 = events
        .iter()
        .map(|event| event.to_string().len() as u64)
        .sum();
    assert!(
        bytes < BYTES_A_SECOND * seconds,
        "{bytes} bytes in {seconds} s"
    );
    assert!(events.iter().all(|event| event["event"] != "loss"));
    report_figures(&format!(
        "beside {made} failed binds and {} idle descriptors: explained in {:?} (median), {:?} at the \
         latest; ended in {end:?}; {memory_kb} kB",
        idle.descriptors,
        took[BINDS / 2],
        took[BINDS - 1]
    ));
}

/// Fails a server's bind, and gives how long its diagnosis took.
#[track_caller]
fn explained(watch: &mut Watch) -> Duration {
    std::thread::sleep(Duration::from_millis(150));
    // Each event once: there may be tens of thousands.
    let (mut looked_at, mut seqs, mut explained) = (0, BTreeSet::new(), BTreeSet::new());
    let mut are_explained = |events: &[Value]| {
        let new = &events[looked_at..];
        looked_at = events.len();
        let binds = flood::failed_on(new, |port| port == 7002);
        seqs.extend(binds.iter().map(|bind| flood::number(&bind["seq"])));
        // One that names come for has two.
        let whys = new.iter().filter(|event| event["event"] == "diagnosis");
        explained.extend(whys.map(|why| flood::number(&why["of"])));
        seqs.intersection(&explained).count()
    };
    let before = are_explained(watch.seen());
    let began_ns = clock::monotonic_ns();
    try_bind("127.0.0.1:7002", false).expect_err("somebody listens");
    watch.read_until(|seen| are_explained(seen) > before);
    let took = since(began_ns);
    assert_eq!(are_explained(watch.seen()), before + 1, "it is explained");
    took
}

#[test]
fn namespaces_that_come_and_go_beside_idle_descriptors_keep_nobody_waiting() {
    const BINDS: usize = 10;
    if !on_stage(&[]) {
        return;
    }
    let idle = Idle::start();
    let _holder = listener("127.0.0.1:7002", false);
    let mut watch = Watch::start_in("all", &[]);

    // Only a thread is in each, and a call fails there: who looks for it goes through all
    // descriptors of the host.
    let (end, is_over) = std::sync::mpsc::channel::<()>();
    let hidden = std::thread::spawn(move || {
        let mut made = 0;
        while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let one = std::thread::spawn(|| {
                namespace::enter_private().expect("root may");
                let socket = socket(at("127.0.0.1:7003"));
                rustix::net::bind(&socket, &at("127.0.0.1:7003")).expect("it is free");
                try_bind("127.0.0.1:7003", false).expect_err("it is taken");
                std::thread::sleep(Duration::from_millis(100));
            });
            one.join().expect("it ends");
            made += 1;
        }
        made
    });
    let stalls = Stalls::measure();
    let mut took: Vec<Duration> = (0..BINDS).map(|_| explained(&mut watch)).collect();
    let ended_ns = clock::monotonic_ns();
    watch.finish();
    let end_took = since(ended_ns);
    drop(end);
    let made = hidden.join().expect("it ends");

    println!("each after {took:?}");
    took.sort_unstable();
    assert_live(took[BINDS - 1], &stalls);
    assert_live(end_took, &stalls);
    report_figures(&format!(
        "beside {made} namespaces of a thread each and {} idle descriptors: explained in {:?} (median), \
         {:?} at the latest; ended in {end_took:?}",
        idle.descriptors,
        took[BINDS / 2],
        took[BINDS - 1]
    ));
}

#[test]
fn a_key_is_obeyed_beside_a_flood_and_four_hundred_thousand_idle_descriptors() {
    if !on_stage(&[Program("tmux", "tmux")]) {
        return;
    }
    let idle = Idle::start();
    let _holder = listener("127.0.0.1:7001", false);
    let command = format!("{TCPSTATE} watch --netns self; echo ended $?");
    let terminal = Terminal::start(120, 30, &command);
    terminal.wait_for("lost 0");

    let flood = Flood::start(&[at("127.0.0.1:7001")]);
    terminal.wait_for("active_listener");
    let stalls = Stalls::measure();
    let began_ns = clock::monotonic_ns();
    terminal.keys(&["?"]);
    // Reading the screen takes tens of milliseconds by itself.
    terminal.wait_for("this help");
    let shown = since(began_ns);
    let began_ns = clock::monotonic_ns();
    terminal.keys(&["q"]);
    terminal.keys(&["q"]);
    terminal.wait_for("ended 0");
    let ended = since(began_ns);
    flood.stop();

    assert_live(shown, &stalls);
    assert_live(ended, &stalls);
    report_figures(&format!(
        "beside a flood and {} idle descriptors: a key on the screen in {shown:?}, q ended in {ended:?}",
        idle.descriptors
    ));
}

/// Forks processes of a user that each fail to bind another port; gives how many.
#[expect(unsafe_code, reason = "nothing else makes so many processes a second")]
fn fail_in_processes_of_their_own(addresses: Vec<SocketAddr>) -> u64 {
    let thread = std::thread::spawn(move || {
        become_user();
        let mut made = 0;
        for chunk in addresses.chunks(50) {
            let children: Vec<i32> = chunk
                .iter()
                .map(|address| {
                    let socket = socket(*address);
                    // SAFETY: the child makes system calls alone, none of which allocates.
                    unsafe {
                        let pid = libc::fork();
                        if pid == 0 {
                            let failed = rustix::net::bind(&socket, address).is_err();
                            libc::_exit(i32::from(!failed));
                        }
                        pid
                    }
                })
                .collect();
            for pid in children {
                let mut status = 0;
                // SAFETY: writes to where it is told.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
                assert_eq!(status, 0, "a child fails to bind, and ends");
                made += 1;
            }
        }
        made
    });
    thread.join().expect("it ends")
}

#[test]
fn of_thousands_of_processes_that_fail_each_is_explained_or_counted_and_the_flood_is_named() {
    if !on_stage(&[]) {
        return;
    }
    let ports = 10_000..16_000_u16;
    let nowhere = ports
        .clone()
        .map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    let nowhere: Vec<SocketAddr> = nowhere.collect();
    let mut watch = Watch::start(&[]);

    let began_ns = clock::monotonic_ns();
    let made = fail_in_processes_of_their_own(nowhere);
    let took = since(began_ns);
    let is_one = |port: u64| ports.contains(&u16::try_from(port).unwrap_or(0));
    flood::read_until_accounted(&mut watch, made, is_one);
    let events = watch.finish();

    let (told, all) = count(&events, is_one);
    flood::assert_accounted(all, made, &events);
    let floods = events.iter().filter(|event| event["event"] == "flood");
    for flood in floods.clone() {
        assert_eq!(flood::number(&flood["uid"]), u64::from(USER));
        assert!(flood["comm"].as_str().is_some_and(|comm| !comm.is_empty()));
    }
    // A slow machine makes them no faster than they are explained.
    let is_flood = made > 1_000 + 150 * (took.as_secs() + 1);
    assert!(!is_flood || floods.count() > 0, "{made} in {took:?}");
    report_figures(&format!(
        "{made} processes that failed in {took:?}: {told} explained, the others counted"
    ));
}

#[test]
fn a_walk_over_nine_hundred_ports_is_explained_call_by_call() {
    if !on_stage(&[]) {
        return;
    }
    let ports = 10_000..10_900_u16;
    let mut watch = Watch::start(&[]);

    for port in ports.clone() {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        rustix::net::bind(socket(address), &address).expect_err("it is nobody's");
    }
    let is_one = |port: u64| ports.contains(&u16::try_from(port).unwrap_or(0));
    watch.diagnosis("bind", ports.end - 1);
    let events = watch.finish();

    let whys = events.iter().filter(|event| event["event"] == "diagnosis");
    assert_eq!(whys.count(), ports.len());
    assert_eq!(count(&events, is_one), (900, 900));
}

#[test]
fn a_call_that_is_explained_without_names_is_completed_once_they_are_found() {
    if !on_stage(&[]) {
        return;
    }
    let _idle = Idle::start();
    let _holder = listener("127.0.0.1:7002", false);
    let mut watch = Watch::start(&[]);

    try_bind("127.0.0.1:7002", false).expect_err("somebody listens");
    let own = u64::from(std::process::id());
    let names = |why: &Value| flood::number(&why["holders"][0]["processes"][0]["pid"]) == own;
    let is_named = |seen: &[Value]| {
        seen.iter()
            .any(|why| why["event"] == "diagnosis" && names(why))
    };
    watch.read_until(is_named);
    let events = watch.finish();

    let of = |name: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|event| event["event"] == name)
            .collect()
    };
    let whys = of("diagnosis");
    let last = whys.last().expect("it is explained");
    assert!(names(last), "{last}");
    assert_eq!(last["cause"], "active_listener", "{last}");
    // A fast machine finds the names in time.
    println!("{} diagnoses", whys.len());
    assert_eq!(whys.len(), 1 + of("holders").len(), "{whys:?}");
    if let [first, _] = whys[..] {
        assert!(!names(first), "{first}");
        assert!(first["missing"][0].is_string(), "{first}");
        assert_eq!(first["of"], last["of"]);
    }
}
