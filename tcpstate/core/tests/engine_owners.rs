//! The engine: whose sockets they are, also when those who made them are gone.

mod facts;

use facts::{MS, SECOND, by, call, change, into_mini, process, seen, through};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{
    Body, ClockAnchor, Direction, ExitReason, KnownBy, NetnsEnd, Reset, State,
};
use tcpstate_core::export::json;
use tcpstate_core::model::{Origin, Phase, PortKey, SocketId};

const LISTENER: u64 = 1;
const CHILD: u64 = 2;
const ANY: &str = "0.0.0.0:8080";
const NOBODY: &str = "0.0.0.0:0";
const SERVER: &str = "10.0.0.1:8080";
const CLIENT: &str = "10.0.0.2:40000";

/// Process 10 listens.
fn listening() -> Engine {
    let mut engine = Engine::new(Limits::default());
    let server = process(10, "server");
    engine.observe(
        0,
        by(
            change(LISTENER, ANY, NOBODY, State::Closed, State::Listen),
            &server,
        ),
    );
    engine.observe(
        MS,
        Body::Listen(call(LISTENER, Some(ANY), 8080, None, &server)),
    );
    engine
}

fn who_listens(engine: &Engine) -> Option<u32> {
    let key = PortKey {
        port: 8080,
        netns: facts::NETNS,
    };
    match &engine.ports().get(&key).expect("it has a story").phase {
        Phase::Listening { process, .. } => process.as_ref().map(|process| process.pid),
        _ => None,
    }
}

fn holders(pids: &[u32]) -> Body {
    let mut seen = seen(LISTENER, ANY, NOBODY, State::Listen, None);
    seen.processes = Some(pids.iter().map(|pid| process(*pid, "heir")).collect());
    Body::Socket(seen)
}

#[test]
fn the_port_story_names_who_has_the_listener_once_its_creator_is_gone() {
    let mut engine = listening();
    assert_eq!(who_listens(&engine), Some(10));

    engine.observe(2 * MS, holders(&[10, 11]));
    assert_eq!(who_listens(&engine), Some(10), "the creator still has it");
    engine.observe(3 * MS, holders(&[11, 12]));
    assert_eq!(who_listens(&engine), Some(11));

    let listener = engine.socket(&SocketId::Cookie(LISTENER)).expect("there");
    let opened_by = listener.owner.as_ref().map(|process| process.pid);
    assert_eq!(opened_by, Some(10), "who opened it stays known");
    engine.observe(
        4 * MS,
        through(
            change(
                CHILD,
                SERVER,
                CLIENT,
                State::SynReceived,
                State::Established,
            ),
            LISTENER,
        ),
    );
    let child = engine.socket(&SocketId::Cookie(CHILD)).expect("there");
    assert_eq!(child.owner.as_ref().map(|process| process.pid), Some(11));
}

/// Before Linux 5.12 a socket gets its cookie when somebody asks for it.
#[test]
fn a_listener_that_has_got_its_cookie_since_goes_on_and_ends_as_the_same() {
    let mut engine = Engine::new(Limits::default());
    let server = process(10, "server");
    let step = |cookie, old, new| change(cookie, ANY, NOBODY, old, new);
    engine.observe(0, by(step(0, State::Closed, State::Listen), &server));
    engine.observe(MS, Body::Listen(call(0, Some(ANY), 8080, None, &server)));

    engine.observe(2 * MS, holders(&[11]));
    assert_eq!(who_listens(&engine), Some(11));

    let end = step(LISTENER, State::Listen, State::Closed);
    engine.observe(3 * MS, Body::State(end));
    let key = PortKey {
        port: 8080,
        netns: facts::NETNS,
    };
    let Phase::Down { old_process, .. } = &engine.ports().get(&key).unwrap().phase else {
        panic!("nobody listens any more");
    };
    assert_eq!(old_process.as_ref().map(|process| process.pid), Some(11));
}

/// Another program has asked, and only the end shows it.
#[test]
fn a_listener_that_ends_with_a_cookie_is_the_one_that_began_without() {
    let mut engine = Engine::new(Limits::default());
    let (old, new) = (process(10, "old"), process(20, "new"));
    let step = |cookie, old, new| change(cookie, ANY, NOBODY, old, new);
    engine.observe(0, by(step(0, State::Closed, State::Listen), &old));
    engine.observe(MS, Body::Listen(call(0, Some(ANY), 8080, None, &old)));

    let end = step(LISTENER, State::Listen, State::Closed);
    engine.observe(2 * MS, Body::State(end));
    engine.observe(SECOND, by(step(0, State::Closed, State::Listen), &new));
    let again = call(0, Some(ANY), 8080, None, &new);
    engine.observe(SECOND + MS, Body::Listen(again));

    assert_eq!(who_listens(&engine), Some(20));
    let restarts: Vec<_> = engine
        .log()
        .iter()
        .filter_map(|event| match &event.body {
            Body::Restart(restart) => Some(restart),
            _ => None,
        })
        .collect();
    let [restart] = restarts.as_slice() else {
        panic!("one restart, not {restarts:?}");
    };
    assert_eq!(restart.old_process.as_ref().unwrap().pid, 10);
}

#[test]
fn a_listener_that_nobody_visible_has_is_nobodys() {
    let mut engine = listening();

    engine.observe(2 * MS, holders(&[]));

    assert_eq!(who_listens(&engine), None);
}

#[test]
fn a_time_wait_goes_with_its_namespace_and_only_a_certain_end_is_called_one() {
    for (end, at_ns, expected) in [
        (NetnsEnd::Gone, 2 * SECOND, ExitReason::Destroyed),
        (NetnsEnd::Gone, 61 * SECOND, ExitReason::Expired),
        (NetnsEnd::Unreachable, 2 * SECOND, ExitReason::Unknown),
        (NetnsEnd::Unreachable, 61 * SECOND, ExitReason::Unknown),
    ] {
        let mut engine = Engine::new(Limits::default());
        engine.observe(
            0,
            into_mini(
                change(CHILD, SERVER, CLIENT, State::FinWait2, State::Closed),
                State::TimeWait,
                60_000,
                true,
            ),
        );

        let mut gone = seen(CHILD, SERVER, CLIENT, State::Closed, None);
        gone.netns_ended = Some(end);
        engine.observe(at_ns, Body::Socket(gone));

        let reason = engine.log().iter().find_map(|event| match &event.body {
            Body::TimeWaitExit(exit) => Some(exit.reason),
            _ => None,
        });
        assert_eq!(reason, Some(expected), "{end:?} at {at_ns}");
        assert!(engine.table().is_empty());
    }
}

#[test]
fn a_namespace_with_the_number_of_one_that_ended_restarts_nothing() {
    for (cookie, restarts) in [(8, 0), (7, 1)] {
        let mut engine = Engine::new(Limits::default());
        let server = process(10, "server");
        let mut listens = change(LISTENER, ANY, NOBODY, State::Closed, State::Listen);
        listens.netns_cookie = Some(7);
        engine.observe(0, by(listens, &server));
        engine.observe(
            MS,
            Body::Listen(call(LISTENER, Some(ANY), 8080, None, &server)),
        );
        engine.observe(
            2 * MS,
            by(
                change(LISTENER, ANY, NOBODY, State::Listen, State::Closed),
                &server,
            ),
        );

        let mut again = change(3, ANY, NOBODY, State::Closed, State::Listen);
        again.netns_cookie = Some(cookie);
        engine.observe(3 * MS, by(again, &server));
        engine.observe(
            4 * MS,
            Body::Listen(call(3, Some(ANY), 8080, None, &server)),
        );

        let counted = engine.counts().get("restart").copied().unwrap_or(0);
        assert_eq!(counted, restarts, "cookie {cookie}");
        assert_eq!(who_listens(&engine), Some(10));
    }
}

/// Hooks that are given no cookies know the socket only once it has its port.
#[test]
fn who_connected_a_socket_without_a_name_is_known_from_the_answer_on() {
    let mut engine = Engine::new(Limits::default());
    let client = process(20, "client");
    let nowhere = "10.0.0.2:0";
    engine.observe(
        0,
        by(
            change(0, nowhere, SERVER, State::Closed, State::SynSent),
            &client,
        ),
    );
    assert_eq!(engine.table().len(), 0, "it has no name yet");

    engine.observe(
        MS,
        by(
            change(0, CLIENT, SERVER, State::SynSent, State::Established),
            &client,
        ),
    );

    let socket = engine.table().iter().next().expect("it has a name now");
    let owner = socket.owner.as_ref().expect("who connected it was kept");
    assert_eq!((owner.pid, owner.via), (20, KnownBy::Tracked));
    assert_eq!(socket.origin, Origin::Outgoing);
    let latest = engine.log().iter().next_back().expect("there is one");
    let Body::State(change) = &latest.body else {
        panic!("{latest:?}");
    };
    let process = change.process.as_ref().expect("whose it is");
    assert_eq!(process.via, KnownBy::Tracked, "it did not answer itself");

    let mut line = Vec::new();
    json::write_line(latest, ClockAnchor::default(), &mut line).unwrap();
    let (_, read) = json::read_line(&line).unwrap();
    assert_eq!(
        read.as_ref(),
        Some(latest),
        "a replay knows it from nowhere else"
    );
}

/// What a child of the listener does, and the RST that this brings, as the hook has it: put down to
/// `who` is current.
fn ended_with_a_reset(cookie: u64, old: State, who: u32) -> [Body; 2] {
    let ended = through(change(cookie, SERVER, CLIENT, old, State::Closed), LISTENER);
    let Body::State(change) = &ended else {
        panic!("a transition");
    };
    let who = process(who, "current");
    let reset = Reset {
        direction: Direction::Sent,
        sock: Some(change.sock),
        local: change.local,
        peer: change.peer,
        state: Some(State::Closed),
        reason: None,
        reason_raw: None,
        process: Some(who.clone()),
    };
    [ended, Body::Reset(reset)]
}

#[test]
fn nobody_is_named_for_the_rst_of_a_connection_that_came_too_late_to_be_accepted() {
    // Its handshake ended in a softirq, after its listener had closed.
    for (cookie, old, expected) in [
        (CHILD, State::SynReceived, None),
        (CHILD + 1, State::Established, Some(99)),
    ] {
        let mut engine = listening();

        for body in ended_with_a_reset(cookie, old, 99) {
            engine.observe(2 * MS, body);
        }

        let last = engine.log().iter().last().expect("the RST");
        let Body::Reset(reset) = &last.body else {
            panic!("{last:?}");
        };
        let named = reset.process.as_ref().map(|process| process.pid);
        assert_eq!(named, expected, "{old:?}");
    }
}
