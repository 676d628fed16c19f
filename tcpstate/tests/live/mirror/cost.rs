//! What it costs to have many TIME_WAITs in sight, when nothing happens.

use std::time::Duration;

use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::event::State;

use super::churning::number_from_environment;
use super::program::Mirror;
use support::{RealTime, at, listener, on_stage, socket};

/// Of a processor's second. On a quiet machine it is less than ten with a hundred
/// thousand of them; tests share the machine.
const MOST_MS_PER_SECOND: u64 = 50;
/// So many that hardly a client comes from a port that is in TIME_WAIT there.
const HOSTS: u64 = 64;

/// `TCPSTATE_TIME_WAITS=100000` measures what the documents say.
#[test]
fn idle_time_waits_cost_next_to_nothing() {
    if !on_stage(&[RealTime("cost")]) {
        return;
    }
    let time_waits = number_from_environment("TCPSTATE_TIME_WAITS").unwrap_or(20_000);
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "300000").expect("ours");
    namespace::set_local_port_range(10_000, 64_000).expect("ours");
    let listening: Vec<_> = (1..=HOSTS)
        .map(|host| {
            let address = format!("127.0.0.{host}:8080");
            (listener(&address, true), address)
        })
        .collect();
    let mut mirror = Mirror::start(&["--netns", "self"]);
    for number in 0..time_waits {
        let (listening, address) = &listening[usize::try_from(number % HOSTS).expect("small")];
        let client = socket(at(address));
        rustix::net::connect(&client, &at(address)).expect("somebody listens");
        drop(rustix::net::accept(listening).expect("a connection waits"));
        if number % 1000 == 0 {
            mirror.read_along();
        }
    }
    // The first looks at orphans in FIN_WAIT_2 are over.
    std::thread::sleep(Duration::from_secs(8));
    mirror.catch_up();
    let there = u64::from(mirror.engine.table().count(State::TimeWait));

    let (began_ns, began_ms) = (clock::monotonic_ns(), mirror.processor_ms());
    std::thread::sleep(Duration::from_secs(20));
    let cost_ms = mirror.processor_ms() - began_ms;
    let took_ms = (clock::monotonic_ns() - began_ns) / 1_000_000;
    mirror.catch_up();

    let still_there = u64::from(mirror.engine.table().count(State::TimeWait));
    println!(
        "{there} TIME_WAITs, {still_there} after {took_ms} ms: {:.1} ms of processor per second, {} kB",
        f64::from(u32::try_from(cost_ms).expect("seconds"))
            / (f64::from(u32::try_from(took_ms).expect("seconds")) / 1000.0),
        mirror.resident_kb()
    );
    assert!(there >= time_waits * 9 / 10, "{there}");
    assert!(
        cost_ms * 1000 / took_ms <= MOST_MS_PER_SECOND,
        "{cost_ms} ms"
    );
}
