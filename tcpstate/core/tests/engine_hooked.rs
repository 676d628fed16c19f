//! The engine where function hooks report what becomes of mini-sockets.

mod facts;

use facts::{MS, SECOND, change, into_mini, seen};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{
    Body, Capture, ClockAnchor, ExitReason, Filters, Header, Probe, ProbeStatus, SocketSeen,
    Source, State, Sysctls,
};

const CONNECTION: u64 = 7;
const LOCAL: &str = "10.0.0.1:8080";
const PEER: &str = "10.0.0.2:40000";

fn header(hooks: &[&str]) -> Body {
    let probe = |name: &&str| Probe {
        name: (*name).to_owned(),
        kind: "fentry".to_owned(),
        status: ProbeStatus::Attached,
        why: None,
    };
    Body::Header(Box::new(Header {
        schema: "1".to_owned(),
        tcpstate: String::new(),
        argv: Vec::new(),
        host: String::new(),
        kernel: String::new(),
        arch: String::new(),
        boot_id: String::new(),
        netns: Some(facts::NETNS),
        netns_cookie: None,
        clock: ClockAnchor::default(),
        filters: Filters::default(),
        probes: hooks.iter().map(probe).collect(),
        capture: Capture::Functions,
        sysctls: Sysctls::default(),
        part: None,
    }))
}

/// With an orphan in FIN_WAIT_2 since the first millisecond, 5 s left.
fn with_orphan(hooks: &[&str]) -> Engine {
    let mut engine = Engine::new(Limits::default());
    engine.observe(0, header(hooks));
    let closed = change(CONNECTION, LOCAL, PEER, State::FinWait2, State::Closed);
    engine.observe(MS, into_mini(closed, State::FinWait2, 5_000, false));
    engine
}

const HOOKS: [&str; 2] = ["inet_twsk_kill", "__inet_twsk_schedule"];

fn hooked(state: State, expires_ms: u64, ended: Option<ExitReason>) -> Body {
    Body::Socket(SocketSeen {
        ended,
        source: Source::Kernel,
        ..seen(CONNECTION, LOCAL, PEER, state, Some(expires_ms))
    })
}

fn last(engine: &Engine) -> &Body {
    &engine.log().iter().last().expect("something happened").body
}

#[test]
fn a_re_armed_orphan_is_a_time_wait_at_once_and_ends_for_the_reason_that_is_told() {
    let mut engine = with_orphan(&HOOKS);

    engine.observe(SECOND, hooked(State::TimeWait, 60_000, None));
    let Body::TimeWaitEnter(entered) = last(&engine) else {
        panic!("no entry: {:?}", last(&engine));
    };
    assert_eq!(
        (entered.expires_ms, entered.source),
        (60_000, Source::Kernel)
    );

    // Before its time, and no loss: without the hook's word it was destroyed.
    engine.observe(
        2 * SECOND,
        hooked(State::Closed, 0, Some(ExitReason::Reused)),
    );
    let Body::TimeWaitExit(exited) = last(&engine) else {
        panic!("no exit: {:?}", last(&engine));
    };
    assert_eq!(
        (exited.reason, exited.source, exited.lived_ms),
        (ExitReason::Reused, Source::Kernel, 1_000)
    );
    assert!(engine.table().is_empty());
}

#[test]
fn nobody_looks_for_what_hooks_tell_until_it_is_long_overdue() {
    let mut hooked = with_orphan(&HOOKS);
    let mut unhooked = with_orphan(&HOOKS[..1]);

    assert_eq!(unhooked.take_due_polls(SECOND, 8).len(), 1);
    assert!(hooked.take_due_polls(SECOND, 8).is_empty());
    assert!(hooked.take_due_polls(9 * SECOND, 8).is_empty());
    assert_eq!(hooked.take_due_polls(11 * SECOND, 8).len(), 1);
}

#[test]
fn the_end_of_a_mini_socket_does_not_end_the_socket_that_has_its_cookie() {
    let mut engine = Engine::new(Limits::default());
    engine.observe(0, header(&HOOKS));
    let opened = change(CONNECTION, LOCAL, PEER, State::SynSent, State::Established);
    engine.observe(MS, Body::State(opened));

    engine.observe(
        2 * MS,
        hooked(State::Closed, 0, Some(ExitReason::Destroyed)),
    );

    assert_eq!(engine.table().len(), 1);
}
