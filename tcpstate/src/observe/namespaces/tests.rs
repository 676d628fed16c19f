use super::super::scripted::{NETNS, Scripted, engine, feed, item, know, time_wait};
use super::*;
use crate::event::State;

const LONG_AGO_NS: u64 = NS_PER_MS;

fn step(
    sweep: &mut NamespaceSweep,
    engine: &mut Engine,
    source: &mut Scripted,
) -> Vec<(u64, State)> {
    source.pass(EVERY_NS);
    let facts = sweep.step(engine, source);
    feed(engine, facts)
}

/// A source to which the namespace of the sockets is not known.
fn elsewhere() -> Scripted {
    let mut source = Scripted::with([]);
    source.sockets.clear();
    source
}

#[test]
fn what_was_in_a_namespace_goes_with_it() {
    let (mut sweep, mut engine) = (NamespaceSweep::default(), engine());
    let mut source = elsewhere();
    know(&mut engine, &time_wait(5, 60_000), LONG_AGO_NS);
    know(&mut engine, &item(6, State::Established), LONG_AGO_NS);
    assert_eq!(step(&mut sweep, &mut engine, &mut source), []);

    source.ended.push(NetnsError::Gone(NETNS));

    assert_eq!(
        step(&mut sweep, &mut engine, &mut source),
        [(5, State::Closed), (6, State::Closed)]
    );
    assert_eq!(engine.table().len(), 0);
}

#[test]
fn what_another_namespace_with_its_number_has_stays() {
    let (mut sweep, mut engine) = (NamespaceSweep::default(), engine());
    let mut source = Scripted::with([item(6, State::Established)]);
    know(&mut engine, &time_wait(5, 60_000), LONG_AGO_NS);
    know(&mut engine, &item(6, State::Established), LONG_AGO_NS);
    source.ended.push(NetnsError::Gone(NETNS));

    assert_eq!(
        step(&mut sweep, &mut engine, &mut source),
        [(5, State::Closed)]
    );
}

#[test]
fn a_namespace_that_cannot_be_found_is_gone_if_nothing_keeps_it_alive() {
    let (mut sweep, mut engine) = (NamespaceSweep::default(), engine());
    let mut source = elsewhere();
    source.unreachable.insert(NETNS);
    source.searched_ns = u64::MAX;
    know(&mut engine, &time_wait(5, 60_000), LONG_AGO_NS);
    know(&mut engine, &item(6, State::Established), LONG_AGO_NS);
    sweep.note(
        &Body::Socket(item(6, State::Established).to_seen(None)),
        &source,
    );

    // A connection does: somebody hides it.
    assert_eq!(step(&mut sweep, &mut engine, &mut source), []);

    let closed = super::super::changes::closed;
    let known = engine.lookup(&item(6, State::Established).to_seen(None));
    let gone = closed(known.expect("it is known"));
    engine.observe(source.now_ns(), Body::Socket(gone));
    assert_eq!(
        step(&mut sweep, &mut engine, &mut source),
        [(5, State::Closed)]
    );
}

#[test]
fn what_is_younger_than_the_search_waits_for_the_next_one() {
    let (mut sweep, mut engine) = (NamespaceSweep::default(), engine());
    let mut source = elsewhere();
    source.unreachable.insert(NETNS);
    let entered_ns = source.now_ns();
    know(&mut engine, &time_wait(5, 60_000), entered_ns);
    source.searched_ns = entered_ns;
    sweep.note(&Body::Socket(time_wait(5, 60_000).to_seen(None)), &source);

    assert_eq!(step(&mut sweep, &mut engine, &mut source), []);
    source.searched_ns = source.now_ns();
    assert_eq!(
        step(&mut sweep, &mut engine, &mut source),
        [(5, State::Closed)]
    );
}

#[test]
fn nobody_is_asked_more_than_once_a_second() {
    let (mut sweep, mut engine) = (NamespaceSweep::default(), engine());
    let mut source = elsewhere();
    know(&mut engine, &time_wait(5, 60_000), LONG_AGO_NS);
    step(&mut sweep, &mut engine, &mut source);
    source.ended.push(NetnsError::Gone(NETNS));

    assert_eq!(sweep.step(&engine, &mut source), []);
    assert_eq!(step(&mut sweep, &mut engine, &mut source).len(), 1);
}
