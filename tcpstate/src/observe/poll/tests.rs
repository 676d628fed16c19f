use super::super::scripted::{Scripted, engine, feed, know, time_wait};
use super::*;
use crate::event::State;

const BEGAN_NS: u64 = 5_000 * NS_PER_MS;
const MINUTE_NS: u64 = 60_000 * NS_PER_MS;

/// Steps until a round is over, and gives what was fed.
fn round(
    poll: &mut Poll<Scripted>,
    engine: &mut Engine,
    source: &mut Scripted,
) -> Vec<(u64, State)> {
    let mut fed = Vec::new();
    loop {
        let facts = poll.step(engine, source);
        fed.extend(feed(engine, facts));
        if !poll.is_going_on() {
            return fed;
        }
    }
}

#[test]
fn nobody_is_asked_for_before_its_time() {
    let (mut poll, mut engine) = (Poll::default(), engine());
    let mut source = Scripted::with([time_wait(5, 60_000)]);
    know(&mut engine, &time_wait(5, 60_000), BEGAN_NS);

    assert_eq!(round(&mut poll, &mut engine, &mut source), []);
    assert_eq!(source.lookups, 0);
}

#[test]
fn what_is_gone_at_its_time_has_ended_and_what_is_there_is_asked_for_again() {
    let (mut poll, mut engine) = (Poll::default(), engine());
    let mut source = Scripted::with([time_wait(6, 0)]);
    know(&mut engine, &time_wait(5, 60_000), BEGAN_NS);
    know(&mut engine, &time_wait(6, 60_000), BEGAN_NS);
    source.pass(MINUTE_NS);

    assert_eq!(
        round(&mut poll, &mut engine, &mut source),
        [(5, State::Closed)]
    );
    source.pass(300 * NS_PER_MS);
    source.remove(6);
    assert_eq!(
        round(&mut poll, &mut engine, &mut source),
        [(6, State::Closed)]
    );
}

/// So many that have run out, of which the kernel has still one.
fn many() -> (Engine, Scripted) {
    let mut engine = engine();
    let mut source = Scripted::with([time_wait(1, 0)]);
    for cookie in 1..=400 {
        know(&mut engine, &time_wait(cookie, 60_000), BEGAN_NS);
    }
    source.pass(MINUTE_NS + NS_PER_MS);
    (engine, source)
}

#[test]
fn many_are_asked_for_in_one_pass() {
    let (mut engine, mut source) = many();
    let mut poll = Poll::default();

    let fed = round(&mut poll, &mut engine, &mut source);

    assert_eq!((fed.len(), source.walks, source.lookups), (399, 1, 0));
    assert!(fed.iter().all(|(cookie, _)| *cookie != 1));
}

#[test]
fn without_the_iterator_each_is_asked_for_by_itself() {
    let (mut engine, mut source) = many();
    source.has_iterator = false;
    let mut poll = Poll::default();

    let fed = round(&mut poll, &mut engine, &mut source);

    assert_eq!((fed.len(), source.lookups), (399, 400));
}

#[test]
fn a_round_gives_way_after_each_slice() {
    let (mut engine, mut source) = many();
    source.has_iterator = false;
    source.tick_ns = SLICE_NS / 20;
    let mut poll = Poll::default();

    let fed = poll.step(&mut engine, &mut source);

    assert!(poll.is_going_on() && fed.len() < 20, "{}", fed.len());
    assert_eq!(round(&mut poll, &mut engine, &mut source).len(), 399);
}

#[test]
fn what_changed_since_it_was_asked_for_is_left_to_the_hooks() {
    let (mut poll, mut engine) = (Poll::default(), engine());
    let mut source = Scripted::with([]);
    let orphan = SocketItem {
        state: State::FinWait2,
        ..time_wait(5, 60_000)
    };
    know(&mut engine, &orphan, BEGAN_NS);
    source.pass(200 * NS_PER_MS);
    let asked = poll.step(&mut engine, &mut source);
    assert!(asked.is_empty() && poll.is_going_on());

    know(&mut engine, &time_wait(5, 60_000), source.now_ns());

    assert_eq!(round(&mut poll, &mut engine, &mut source), []);
    assert_eq!(engine.table().count(State::TimeWait), 1);
}

#[test]
fn what_nobody_answers_for_is_given_up_five_seconds_after_its_time() {
    let (mut poll, mut engine) = (Poll::default(), engine());
    let mut source = Scripted::with([]);
    source.is_silent = true;
    know(&mut engine, &time_wait(5, 60_000), BEGAN_NS);

    source.pass(MINUTE_NS + 4_000 * NS_PER_MS);
    assert_eq!(round(&mut poll, &mut engine, &mut source), []);
    source.pass(2_000 * NS_PER_MS);
    assert_eq!(
        round(&mut poll, &mut engine, &mut source),
        [(5, State::Closed)]
    );
}

#[test]
fn a_round_is_followed_by_twenty_times_its_cost() {
    let (mut poll, mut engine) = (Poll::default(), engine());
    let mut source = Scripted::with([]);
    source.processor_tick_ns = 10 * NS_PER_MS;
    let began_ns = source.now_ns();

    round(&mut poll, &mut engine, &mut source);

    assert!(!poll.is_due(began_ns + 199 * NS_PER_MS));
    assert!(poll.is_due(began_ns + 201 * NS_PER_MS));
}
