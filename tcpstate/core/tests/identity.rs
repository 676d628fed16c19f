//! Which socket is which: cookies that come twice or not at all, facts that
//! come in another order than they happened. Two different sockets are never
//! taken for one.

mod facts;

use std::collections::BTreeMap;

use facts::{MS, SECOND, at, by, change, into_mini, process, seen};
use proptest::prelude::*;
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

/// A list of the kernel's sockets can be faster than the records of the hooks.
#[test]
fn a_time_wait_that_was_listed_before_its_own_life_was_told_is_one() {
    let mut engine = engine();
    engine.observe(
        SECOND,
        Body::Socket(seen(8, SERVER, CLIENT, State::TimeWait, Some(60_000))),
    );

    for (mono_ns, old, new) in [
        (MS, State::SynReceived, State::Established),
        (2 * MS, State::Established, State::FinWait1),
        (3 * MS, State::FinWait1, State::FinWait2),
    ] {
        engine.observe(mono_ns, Body::State(change(8, SERVER, CLIENT, old, new)));
    }
    engine.observe(
        4 * MS,
        into_mini(
            change(8, SERVER, CLIENT, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            false,
        ),
    );

    assert_eq!(table(&engine), [(State::TimeWait, true, 8)]);
}

/// A kernel may leave a tracing program out without saying so.
#[test]
fn an_end_that_no_hook_told_of_is_found_by_a_list() {
    for (there, table_then) in [
        (State::TimeWait, vec![(State::TimeWait, true, 8)]),
        (State::Closed, vec![]),
    ] {
        let mut engine = engine();
        for (mono_ns, old, new) in [
            (MS, State::SynReceived, State::Established),
            (2 * MS, State::Established, State::FinWait1),
        ] {
            engine.observe(mono_ns, Body::State(change(8, SERVER, CLIENT, old, new)));
        }

        let expires_ms = (there == State::TimeWait).then_some(58_000);
        engine.observe(
            2 * SECOND,
            Body::Socket(seen(8, SERVER, CLIENT, there, expires_ms)),
        );

        assert_eq!(table(&engine), table_then);
        let entered = engine
            .log()
            .iter()
            .filter(|event| matches!(event.body, Body::TimeWaitEnter(_)))
            .count();
        assert_eq!(entered, table_then.len());
    }
}

/// Records of different processors need not come in order.
#[test]
fn a_late_record_of_the_life_before_leaves_the_time_wait_alone() {
    let mut engine = engine();
    engine.observe(
        SECOND,
        into_mini(
            change(8, SERVER, CLIENT, State::FinWait2, State::Closed),
            State::TimeWait,
            60_000,
            false,
        ),
    );

    engine.observe(
        MS,
        Body::State(change(
            7,
            SERVER,
            CLIENT,
            State::Established,
            State::FinWait1,
        )),
    );

    assert!(table(&engine).contains(&(State::TimeWait, true, 8)));
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

#[test]
fn a_transition_that_comes_late_changes_nothing() {
    let mut engine = engine();
    let step = |old, new| Body::State(change(7, SERVER, CLIENT, old, new));
    engine.observe(MS, step(State::SynReceived, State::Established));
    engine.observe(5 * MS, step(State::FinWait1, State::FinWait2));
    engine.observe(4 * MS, step(State::Established, State::FinWait1));
    assert_eq!(table(&engine), [(State::FinWait2, false, 7)]);

    engine.observe(7 * MS, step(State::FinWait2, State::Closed));
    engine.observe(6 * MS, step(State::FinWait1, State::FinWait2));

    assert_eq!(table(&engine), []);
}

#[test]
fn a_snapshot_does_not_bring_back_what_has_closed_since() {
    for (read_ms, is_back) in [(4, false), (6, true)] {
        let mut engine = engine();
        let step = |old, new| Body::State(change(7, ANY, NOBODY, old, new));
        engine.observe(MS, step(State::Closed, State::Listen));
        engine.observe(5 * MS, step(State::Listen, State::Closed));

        engine.observe(
            read_ms * MS,
            Body::Socket(seen(7, ANY, NOBODY, State::Listen, None)),
        );

        assert_eq!(engine.table().len(), usize::from(is_back));
    }
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

#[test]
fn a_socket_without_a_cookie_is_the_same_once_the_kernel_has_made_one() {
    let mut engine = engine();
    let server = process(10, "server");
    engine.observe(
        MS,
        by(
            change(0, CLIENT, SERVER, State::SynSent, State::Established),
            &server,
        ),
    );
    engine.observe(
        2 * MS,
        by(
            change(0, CLIENT, SERVER, State::Established, State::FinWait1),
            &server,
        ),
    );
    engine.observe(
        3 * MS,
        into_mini(
            change(0, CLIENT, SERVER, State::FinWait2, State::Closed),
            State::FinWait2,
            60_000,
            false,
        ),
    );

    engine.observe(
        SECOND,
        Body::Socket(seen(9, CLIENT, SERVER, State::TimeWait, Some(59_000))),
    );

    assert_eq!(table(&engine), [(State::TimeWait, true, 9)]);
    let socket = engine.socket(&SocketId::Cookie(9)).unwrap();
    assert_eq!(socket.left_by.as_ref().unwrap().pid, 10);
}

#[test]
fn two_connects_without_cookie_and_port_are_not_taken_for_one() {
    let mut engine = engine();
    let step = |local, old, new| change(0, local, SERVER, old, new);
    for pid in [1, 2] {
        engine.observe(
            MS,
            by(
                step("10.0.0.2:0", State::Closed, State::SynSent),
                &process(pid, "client"),
            ),
        );
    }

    engine.observe(
        2 * MS,
        Body::State(step(CLIENT, State::SynSent, State::Established)),
    );

    assert_eq!(table(&engine), [(State::Established, false, 0)]);
    let socket = engine.table().iter().next().unwrap();
    assert_eq!(socket.owner, None);
}

/// What a connection goes through, in truth.
#[derive(Clone, Copy, Debug)]
enum Fate {
    StaysOpen,
    ClosesFirst,
    ClosesSecond,
    IsReset,
}

#[derive(Clone, Debug)]
struct Life {
    fate: Fate,
    /// Which of a few pairs of addresses: later lives come back to it.
    pair: u8,
}

fn lives(most: usize) -> impl Strategy<Value = Vec<Life>> {
    let fate = prop_oneof![
        Just(Fate::StaysOpen),
        Just(Fate::ClosesFirst),
        Just(Fate::ClosesSecond),
        Just(Fate::IsReset),
    ];
    proptest::collection::vec((fate, 0_u8..6), 1..most).prop_map(|lives| {
        lives
            .into_iter()
            .map(|(fate, pair)| Life { fate, pair })
            .collect()
    })
}

const SERVERS_PID: u32 = 1;

/// The facts of a life, each with its time. The process that closes has the
/// life's number, so that what was joined can be seen.
fn facts_of(number: u32, life: &Life, cookie: u64, began_ns: u64) -> Vec<(u64, Body)> {
    let peer = format!("10.0.0.2:{}", 40_000 + u32::from(life.pair));
    let own = process(100 + number, "own");
    let step = |old, new| change(cookie, SERVER, &peer, old, new);
    let plain = |old, new| Body::State(step(old, new));
    let mut facts = vec![plain(State::SynReceived, State::Established)];
    match life.fate {
        Fate::StaysOpen => {}
        Fate::ClosesFirst => facts.extend([
            by(step(State::Established, State::FinWait1), &own),
            plain(State::FinWait1, State::FinWait2),
            into_mini(
                step(State::FinWait2, State::Closed),
                State::TimeWait,
                60_000,
                true,
            ),
        ]),
        Fate::ClosesSecond => facts.extend([
            plain(State::Established, State::CloseWait),
            by(step(State::CloseWait, State::LastAck), &own),
            plain(State::LastAck, State::Closed),
        ]),
        Fate::IsReset => facts.push(by(step(State::Established, State::Closed), &own)),
    }
    facts
        .into_iter()
        .enumerate()
        .map(|(at, body)| (began_ns + at as u64 * MS, body))
        .collect()
}

/// What the kernel has in the end: of each pair of addresses the last life.
fn truth(lives: &[Life], cookie_of: impl Fn(u32) -> u64) -> Vec<(State, bool, u64)> {
    let mut at_pair: BTreeMap<u8, (State, bool, u64)> = BTreeMap::new();
    for (number, life) in (0..).zip(lives) {
        match life.fate {
            Fate::StaysOpen => {
                at_pair.insert(life.pair, (State::Established, false, cookie_of(number)));
            }
            Fate::ClosesFirst => {
                at_pair.insert(life.pair, (State::TimeWait, true, cookie_of(number)));
            }
            Fate::ClosesSecond | Fate::IsReset => {
                at_pair.remove(&life.pair);
            }
        }
    }
    let mut truth: Vec<_> = at_pair.into_values().collect();
    truth.sort_unstable();
    truth
}

/// A pair of addresses has one open connection at a time.
fn without_overlap(mut lives: Vec<Life>) -> Vec<Life> {
    let mut is_open = [false; 6];
    lives.retain(|life| {
        let slot = &mut is_open[usize::from(life.pair)];
        let was_open = *slot;
        *slot |= matches!(life.fate, Fate::StaysOpen);
        !was_open
    });
    lives
}

/// Nobody but the life's own process may have closed it.
fn assert_not_joined(socket: &Socket, number_of: impl Fn(&Socket) -> Option<u32>) {
    let Some(left_by) = &socket.left_by else {
        return;
    };
    if let Some(number) = number_of(socket) {
        assert_eq!(left_by.pid, 100 + number, "{socket:?}");
    }
    assert_ne!(left_by.pid, SERVERS_PID);
}

#[test]
fn one_that_begins_to_listen_is_not_the_nameless_one_that_listens_already() {
    let mut engine = engine();
    for (at_ms, cookie, old, new) in [
        (1, 0, State::Closed, State::Listen),
        (2, 7, State::Closed, State::Listen),
        (3, 7, State::Listen, State::Closed),
    ] {
        let change = change(cookie, ANY, NOBODY, old, new);
        engine.observe(at_ms * MS, Body::State(change));
    }

    assert_eq!(table(&engine), [(State::Listen, false, 0)]);
}

proptest! {
    /// Lives one after the other on few addresses, so that TIME_WAITs are taken
    /// over all the time; with cookies, and without.
    #[test]
    fn lives_in_a_row_leave_what_the_kernel_has(lives in lives(60), has_cookies: bool) {
        let lives = without_overlap(lives);
        let cookie_of = |number: u32| if has_cookies { u64::from(number) + 1 } else { 0 };
        let mut engine = engine();

        for (number, life) in (0..).zip(&lives) {
            for (mono_ns, body) in facts_of(number, life, cookie_of(number), u64::from(number) * 10 * MS) {
                engine.observe(mono_ns, body);
            }
        }

        prop_assert_eq!(table(&engine), truth(&lives, cookie_of));
        for socket in engine.table().iter() {
            assert_not_joined(socket, |socket| u32::try_from(socket.sock.cookie).ok()?.checked_sub(1));
        }
        prop_assert!(engine.table().closed().count() <= MAX_CLOSED);
    }

    /// The same with facts that come late: those of one life swapped with their
    /// neighbours', and those of different lives in between each other.
    #[test]
    fn facts_that_come_late_join_nothing(
        lives in lives(40),
        swaps in proptest::collection::vec((any::<prop::sample::Index>(), 1_usize..4), 0..60),
    ) {
        let lives: Vec<Life> = lives.into_iter().enumerate()
            // Each on addresses of its own: what took whose place depends on order.
            .map(|(number, life)| Life { pair: u8::try_from(number).unwrap(), ..life })
            .collect();
        let cookie_of = |number: u32| u64::from(number) + 1;
        let mut facts: Vec<(u64, Body)> = (0..).zip(&lives)
            .flat_map(|(number, life)| facts_of(number, life, cookie_of(number), u64::from(number) * MS))
            .collect();
        facts.sort_by_key(|(mono_ns, _)| *mono_ns);
        // A connection is known from its first transition on.
        let is_first = |body: &Body| matches!(body, Body::State(StateChange { old: State::SynReceived, .. }));
        for (index, distance) in swaps {
            let one = index.index(facts.len());
            let other = (one + distance).min(facts.len() - 1);
            if facts[one..=other].iter().all(|(_, body)| !is_first(body)) {
                facts.swap(one, other);
            }
        }
        let mut engine = engine();

        for (mono_ns, body) in facts {
            engine.observe(mono_ns, body);
        }

        for socket in engine.table().iter() {
            assert_not_joined(socket, |socket| u32::try_from(socket.sock.cookie).ok()?.checked_sub(1));
        }
        prop_assert_eq!(table(&engine), truth(&lives, cookie_of));
    }

    /// Anything at all, as a hostile recording could have it: nothing panics,
    /// nothing grows without bound, and the counts are those of the table.
    #[test]
    fn facts_without_sense_do_no_harm(
        facts in proptest::collection::vec((0_u64..6, 0_u8..4, 0_u8..4, 1_u8..13, 1_u8..13, 0_u8..6, 0_u64..100), 0..300),
    ) {
        let mut engine = Engine::new(Limits { sockets: 8, events: 50, failures: 2 });
        let mut listed = 0;
        for (cookie, local, peer, old, new, kind, at_ms) in facts {
            let local = format!("10.0.0.1:{}", 8080 * u32::from(local));
            let peer = format!("10.0.0.2:{}", 40 * u32::from(peer));
            let (old, new) = (State::from_raw(old).unwrap(), State::from_raw(new).unwrap());
            let body = match kind {
                0 => Body::Socket(seen(cookie, &local, &peer, new, None)),
                1 => Body::Socket(seen(cookie, &local, &peer, new, Some(at_ms))),
                2 => into_mini(change(cookie, &local, &peer, old, State::Closed), State::TimeWait, at_ms, true),
                3 => { engine.take_due_polls(at_ms * MS, 3); continue; }
                _ => Body::State(change(cookie, &local, &peer, old, new)),
            };
            engine.observe(at_ms * MS, body);
            listed += 1;
        }

        prop_assert!(engine.table().len() <= 8);
        prop_assert!(engine.log().len() <= 50 && engine.next_seq() >= listed);
        prop_assert_eq!(engine.table().counts().iter().sum::<u32>() as usize, engine.table().len());
        for socket in engine.table().iter() {
            prop_assert_eq!(engine.table().get(&socket.id()), Some(socket));
        }
    }
}
