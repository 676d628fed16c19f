//! What lists and records say that come late, or after a loss.

use super::*;

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
