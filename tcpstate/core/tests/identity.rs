//! Which socket is which: cookies that come twice or not at all, facts that
//! come in another order than they happened. Two different sockets are never
//! taken for one.

mod facts;
#[path = "identity/late.rs"]
mod late;
#[path = "identity/nameless.rs"]
mod nameless;
#[path = "identity/random_lives.rs"]
mod random_lives;

use std::collections::BTreeMap;

use proptest::prelude::*;

use facts::{MS, SECOND, at, by, change, into_mini, process, seen};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{Body, ExitReason, SocketSeen, State, StateChange};
use tcpstate_core::model::table::MAX_CLOSED;
use tcpstate_core::model::{Socket, SocketId};

const SERVER: &str = "10.0.0.1:8080";
const ANY: &str = "0.0.0.0:8080";
const NOBODY: &str = "0.0.0.0:0";
const CLIENT: &str = "10.0.0.2:40000";
const OTHER: &str = "10.0.0.3:50000";

fn engine() -> Engine {
    Engine::new(Limits {
        sockets: 64,
        events: 1000,
        failures: 10,
    })
}

/// `(state, is_mini, cookie)` of every socket, sorted.
fn table(engine: &Engine) -> Vec<(State, bool, u64)> {
    let mut sockets: Vec<_> = engine
        .table()
        .iter()
        .map(|socket| (socket.state, socket.is_mini, socket.sock.cookie))
        .collect();
    sockets.sort_unstable();
    sockets
}

fn gone(mut seen: SocketSeen, is_mini: bool) -> Body {
    seen.state = State::Closed;
    seen.expires_ms = is_mini.then_some(0);
    Body::Socket(seen)
}

/// The socket has left a TIME_WAIT, and connects again under the same cookie.
fn second_life(engine: &mut Engine) {
    engine.observe(
        MS,
        Body::State(change(
            7,
            CLIENT,
            SERVER,
            State::SynSent,
            State::Established,
        )),
    );
    engine.observe(
        2 * MS,
        into_mini(
            change(7, CLIENT, SERVER, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            false,
        ),
    );
    engine.observe(
        3 * MS,
        Body::State(change(
            7,
            "10.0.0.2:0",
            OTHER,
            State::Closed,
            State::SynSent,
        )),
    );
}

#[test]
fn a_socket_that_connects_again_does_not_take_its_time_wait_along() {
    let mut engine = engine();

    second_life(&mut engine);

    assert_eq!(
        table(&engine),
        [(State::SynSent, false, 7), (State::TimeWait, true, 7)]
    );
}

#[test]
fn the_time_wait_of_a_past_life_is_still_looked_after() {
    let mut engine = engine();
    second_life(&mut engine);

    let due = engine.take_due_polls(70 * SECOND, 10);
    engine.observe(
        70 * SECOND,
        gone(seen(7, CLIENT, SERVER, State::Closed, None), true),
    );

    assert_eq!(due.len(), 1);
    assert_eq!(table(&engine), [(State::SynSent, false, 7)]);
    let Body::TimeWaitExit(exit) = &engine.log().iter().last().unwrap().body else {
        panic!("not an exit")
    };
    assert_eq!((exit.reason, exit.local), (ExitReason::Expired, at(CLIENT)));
}

/// Its beginning was lost; what came of it is enough to know.
#[test]
fn a_connection_whose_beginning_was_lost_ends_the_time_wait_before_it() {
    let time_wait = |cookie| {
        into_mini(
            change(cookie, SERVER, CLIENT, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            false,
        )
    };
    let later = [
        time_wait(8),
        Body::State(change(
            8,
            SERVER,
            CLIENT,
            State::Established,
            State::FinWait1,
        )),
    ];
    for (later, is_there) in later
        .into_iter()
        .zip([(State::TimeWait, true, 8), (State::FinWait1, false, 8)])
    {
        let mut engine = engine();
        engine.observe(MS, time_wait(7));

        engine.observe(SECOND, later);

        assert_eq!(table(&engine), [is_there]);
        assert!(engine.log().iter().any(|event| matches!(
            &event.body,
            Body::TimeWaitExit(exit) if exit.reason == ExitReason::Reused && exit.sock.cookie == 7
        )));
    }
}

/// The kernel announces SYN_SENT before it looks whether the pair of addresses
/// is free.
#[test]
fn a_connect_over_a_time_wait_ends_it_only_if_the_kernel_lets_it() {
    for is_let in [false, true] {
        let mut engine = engine();
        second_life(&mut engine);
        let connect = |old, new| Body::State(change(9, CLIENT, SERVER, old, new));

        engine.observe(4 * MS, connect(State::Closed, State::SynSent));
        let due = engine.take_due_polls(40 * MS, 10);
        if is_let {
            engine.observe(
                50 * MS,
                gone(seen(7, CLIENT, SERVER, State::Closed, None), true),
            );
        } else {
            engine.observe(41 * MS, connect(State::SynSent, State::Closed));
        }

        assert_eq!(due.len(), 1);
        let reasons: Vec<ExitReason> = engine
            .log()
            .iter()
            .filter_map(|event| match &event.body {
                Body::TimeWaitExit(exit) => Some(exit.reason),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, vec![ExitReason::Reused; usize::from(is_let)]);
    }
}

#[test]
fn both_lives_may_end_in_time_wait() {
    let mut engine = engine();
    second_life(&mut engine);

    engine.observe(
        4 * MS,
        into_mini(
            change(7, "10.0.0.2:41000", OTHER, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            false,
        ),
    );

    assert_eq!(
        table(&engine),
        [(State::TimeWait, true, 7), (State::TimeWait, true, 7)]
    );
}

#[test]
fn a_socket_that_is_bound_still_stands_beside_its_time_wait() {
    let mut engine = engine();
    second_life(&mut engine);
    engine.observe(
        4 * MS,
        Body::State(change(
            7,
            "10.0.0.2:41000",
            OTHER,
            State::Established,
            State::Closed,
        )),
    );

    engine.observe(
        SECOND,
        Body::Socket(seen(7, CLIENT, SERVER, State::Bound, None)),
    );
    let both = table(&engine);
    engine.observe(
        2 * SECOND,
        gone(seen(7, CLIENT, SERVER, State::Bound, None), false),
    );

    assert_eq!(both, [(State::TimeWait, true, 7), (State::Bound, false, 7)]);
    assert_eq!(table(&engine), [(State::TimeWait, true, 7)]);
}

/// Up to Linux 6.17 a connection's birth carries the listener's identity.
#[test]
fn the_birth_of_a_connection_leaves_the_listener_alone() {
    for cookie in [0, 1] {
        let mut engine = engine();
        engine.observe(
            MS,
            by(
                change(cookie, ANY, NOBODY, State::Closed, State::Listen),
                &process(10, "server"),
            ),
        );

        engine.observe(
            2 * MS,
            Body::State(change(
                cookie,
                ANY,
                NOBODY,
                State::Listen,
                State::SynReceived,
            )),
        );

        assert_eq!(table(&engine), [(State::Listen, false, cookie)]);
    }
}
