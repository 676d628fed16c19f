//! The kernel program against the running kernel, in network namespaces of its
//! own. Needs root; a skipped test says so, and with `TCPSTATE_REQUIRE_LIVE=1`
//! it is a failure.

#[path = "kernel_live/bench.rs"]
mod bench;
#[path = "kernel_live/failed_binds.rs"]
mod failed_binds;
#[path = "kernel_live/filters.rs"]
mod filters;
#[path = "kernel_live/program.rs"]
mod program;
#[path = "kernel_live/states.rs"]
mod states;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use bench::{Bench, bind, listen_on, localhost};
use tcpstate::event::{Body, Call, Direction, Family, ProbeStatus, Source, State, StateChange};
use tcpstate::snapshot::SocketItem;

#[test]
fn every_hook_attaches() {
    let Some(bench) = Bench::start() else { return };

    for probe in bench.observer().probes() {
        println!("{:<22} {:<11} {:?}", probe.name, probe.kind, probe.why);
    }
    let refused: Vec<_> = bench
        .observer()
        .probes()
        .iter()
        .filter(|probe| probe.status != ProbeStatus::Attached)
        // Where the kernel refuses the trial of one, tracepoints do the work.
        .filter(|probe| !(probe.kind == "fentry" && probe.status == ProbeStatus::Unused))
        // Where a call's return knows its arguments, its entry is not hooked.
        .filter(|probe| {
            !(probe.name.starts_with("sys_enter_") && probe.status == ProbeStatus::Unused)
        })
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn what_the_kernel_allows_is_found_by_trying() {
    if Bench::start().is_none() {
        return;
    }

    let found = tcpstate::kernel::capabilities(None);

    assert!(found.is_permitted);
    assert!(found.why.is_none(), "{:?}", found.why);
    assert!(found.probes.len() > 10);
    println!("{:?}", found.capture);
}

#[test]
fn with_v_the_hooks_are_told_on_stderr_and_else_nothing_is() {
    if Bench::start().is_none() {
        return;
    }

    let (_, told) = program::run_around(&["-v", "--duration", "200ms"], || {});
    let (_, untold) = program::run_around(&["--duration", "200ms"], || {});

    assert!(
        told.contains("tcpstate: hook inet_sock_set_state (tp_btf) on\n"),
        "{told}"
    );
    assert!(told.contains("tcpstate: watching after "), "{told}");
    assert_eq!(untold, "");
}

#[test]
fn other_protocols_do_not_come_through() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let first = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    std::net::UdpSocket::bind(first.local_addr().unwrap()).unwrap_err();
    std::os::unix::net::UnixStream::connect("/nowhere").unwrap_err();

    assert_eq!(bench.events(), []);
}

#[test]
fn the_iterator_lists_what_sock_diag_lists() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let (client, server) = pair(&listener);
    let (leaver, left) = pair(&listener);
    drop(left);
    drop(leaver);
    bench.events();

    let by_iterator = bench.snapshot();
    let by_diag = bench.dump();

    let key = |item: &SocketItem| {
        (
            item.local,
            item.peer,
            item.state,
            item.is_mini,
            item.sock.cookie,
        )
    };
    let mut seen: Vec<_> = by_iterator.iter().map(key).collect();
    let mut expected: Vec<_> = by_diag.iter().map(key).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 4);
    let mini = by_iterator.iter().find(|item| item.is_mini).unwrap();
    assert!(mini.reuse.unwrap().reuseaddr);
    assert!(mini.expires_ms.unwrap() > 50_000);
    drop((client, server));
}

#[test]
fn an_exact_lookup_finds_a_time_wait() {
    let Some(mut bench) = Bench::start() else {
        return;
    };
    let listener = listen_on(localhost(0), true);
    let (client, server) = pair(&listener);
    let (local, peer) = (server.local_addr().unwrap(), client.local_addr().unwrap());
    drop(server);
    drop(client);
    let last = bench.last_change(local);

    let found = bench.find(local, peer, last.sock.cookie).expect("there");

    assert!(found.is_mini);
    assert!(found.expires_ms.unwrap() > 50_000);
}

/// A client and the server's end of its connection.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn changes(events: &[Body]) -> impl Iterator<Item = &StateChange> {
    events.iter().filter_map(|body| match body {
        Body::State(change) => Some(change),
        _ => None,
    })
}

impl Bench {
    /// The last transition of the connection with this local address.
    fn last_change(&mut self, local: SocketAddr) -> StateChange {
        let events = self.events();
        changes(&events)
            .filter(|change| change.local.port == local.port() && change.peer.port != 0)
            .last()
            .expect("a transition")
            .clone()
    }

    /// The one call that failed.
    fn failed_call(&mut self) -> Call {
        let events = self.events();
        let mut failed = events.iter().filter_map(Body::call).filter(|call| !call.ok);
        let call = failed.next().expect("a failed call").clone();
        assert_eq!(failed.next(), None);
        call
    }
}
