use super::super::scripted::{NETNS, Scripted, engine, feed, item, know, time_wait};
use super::*;
use crate::model::NS_PER_MS;

const LONG_AGO_NS: u64 = NS_PER_MS;
const BEGAN_NS: u64 = 5_000 * NS_PER_MS;
const JUST_NOW_NS: u64 = BEGAN_NS - NS_PER_MS;

fn listed(items: &[crate::snapshot::SocketItem]) -> Listed {
    let mut listed = Listed::default();
    for item in items {
        listed.note(&item.to_seen(None));
    }
    listed
}

#[test]
fn what_the_list_lacks_is_gone_and_what_it_has_or_cannot_have_stays() {
    let mut engine = engine();
    let (there, bound) = (item(6, State::Established), item(7, State::Bound));
    for item in [&item(5, State::Established), &there, &bound] {
        know(&mut engine, item, LONG_AGO_NS);
    }
    let mut source = Scripted::with([there.clone()]);
    let covered = BTreeSet::from([NETNS]);

    let missing = missing(&engine, &listed(&[there]), &covered, BEGAN_NS, &mut source);

    let gone = missing.gone(&engine, &source);
    assert_eq!(feed(&mut engine, gone), [(5, State::Closed)]);
    assert_eq!(source.lookups, 0);
}

#[test]
fn a_namespace_that_could_not_be_read_says_nothing() {
    let mut engine = engine();
    know(&mut engine, &item(5, State::Established), LONG_AGO_NS);
    let mut source = Scripted::with([]);

    let missing = missing(
        &engine,
        &listed(&[]),
        &BTreeSet::new(),
        BEGAN_NS,
        &mut source,
    );

    assert_eq!(missing.gone(&engine, &source), []);
}

#[test]
fn who_has_just_changed_is_asked_for_by_himself() {
    let mut engine = engine();
    let (there, gone) = (time_wait(5, 60_000), time_wait(6, 60_000));
    know(&mut engine, &there, JUST_NOW_NS);
    know(&mut engine, &gone, JUST_NOW_NS);
    let mut source = Scripted::with([there]);
    let covered = BTreeSet::from([NETNS]);

    let missing = missing(&engine, &listed(&[]), &covered, BEGAN_NS, &mut source);

    let gone = missing.gone(&engine, &source);
    assert_eq!(feed(&mut engine, gone), [(6, State::Closed)]);
    assert_eq!(source.lookups, 2);
}

#[test]
fn what_a_hook_reported_meanwhile_comes_first() {
    let mut engine = engine();
    know(&mut engine, &item(5, State::Established), JUST_NOW_NS);
    let mut source = Scripted::with([]);
    let covered = BTreeSet::from([NETNS]);

    let missing = missing(&engine, &listed(&[]), &covered, BEGAN_NS, &mut source);
    know(
        &mut engine,
        &item(5, State::CloseWait),
        BEGAN_NS + 20 * NS_PER_MS,
    );

    assert_eq!(missing.gone(&engine, &source), []);
}
