//! A namespace that goes while it is watched takes its sockets along.

use std::sync::mpsc::channel;
use std::time::Duration;

use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::event::{Body, ExitReason, State};

use super::program::Mirror;
use crate::harness::{connection, drain, listener, on_stage};

const SERVER: &str = "127.0.0.1:8080";
const TIME_WAITS: usize = 5;

#[test]
fn what_a_namespace_had_ends_with_it() {
    if !on_stage() {
        return;
    }
    let mut mirror = Mirror::start(&["--netns", "all"]);
    let (left, is_left) = channel();
    let (go, may_go) = channel::<()>();
    let other = std::thread::spawn(move || {
        let netns = namespace::enter_private().expect("root");
        let listening = listener(SERVER, true);
        for _ in 0..TIME_WAITS {
            let (server, client) = connection(&listening, SERVER);
            drop(server);
            drain(&client);
        }
        let (server, client) = connection(&listening, SERVER);
        left.send(netns).expect("the test waits");
        may_go.recv().expect("the test lives");
        drop((listening, server, client));
    });
    let netns = is_left.recv().expect("the other thread lives");
    let in_it = |mirror: &Mirror, state| {
        mirror
            .engine
            .table()
            .iter()
            .filter(|socket| socket.sock.netns == netns && socket.state == state)
            .count()
    };
    let deadline_ns = clock::monotonic_ns() + 10_000_000_000;
    while in_it(&mirror, State::TimeWait) < TIME_WAITS && clock::monotonic_ns() < deadline_ns {
        mirror.catch_up();
    }
    assert_eq!(in_it(&mirror, State::TimeWait), TIME_WAITS);
    assert_eq!(in_it(&mirror, State::Listen), 1);

    go.send(()).expect("the other thread waits");
    other.join().expect("it ends");
    // The end of the established connection, whoever closed it first, may leave
    // one more.
    let exit = mirror.read_until(
        "the end of a TIME_WAIT",
        |body| matches!(body, Body::TimeWaitExit(exit) if exit.sock.netns == netns),
    );
    let deadline_ns = clock::monotonic_ns() + 10_000_000_000;
    while mirror.engine.table().namespaces().contains_key(&netns)
        && clock::monotonic_ns() < deadline_ns
    {
        std::thread::sleep(Duration::from_millis(50));
        mirror.catch_up();
    }

    let Body::TimeWaitExit(exit) = exit.body else {
        unreachable!("it was waited for")
    };
    assert_eq!(exit.reason, ExitReason::Destroyed);
    assert!(exit.lived_ms < 30_000, "{exit:?}");
    assert_eq!(mirror.engine.table().namespaces().get(&netns), None);
}
