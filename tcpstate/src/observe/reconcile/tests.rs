use super::super::scripted::{NETNS, Scripted, engine, feed, item, know, time_wait};
use super::*;
use crate::event::{Call, KnownBy, Requested};

const LONG_AGO_NS: u64 = NS_PER_MS;

/// Steps until a round is over, with `between` before each, and gives what was fed.
fn round_with(
    reconcile: &mut Reconcile<Scripted>,
    engine: &mut Engine,
    source: &mut Scripted,
    mut between: impl FnMut(&Reconcile<Scripted>, &mut Engine, &mut Scripted),
) -> Vec<(u64, State)> {
    let mut fed = Vec::new();
    loop {
        between(reconcile, engine, source);
        let facts = reconcile.step(engine, &Filters::default(), source);
        fed.extend(feed(engine, facts));
        if reconcile.current.is_none() && reconcile.waiting.is_empty() {
            return fed;
        }
    }
}

fn round(
    reconcile: &mut Reconcile<Scripted>,
    engine: &mut Engine,
    source: &mut Scripted,
) -> Vec<(u64, State)> {
    round_with(reconcile, engine, source, |_, _, _| {})
}

#[test]
fn what_nobody_knows_is_found_with_its_binder() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let listener = item(5, State::Listen);
    let mut source = Scripted::with([listener.clone(), item(6, State::Established)]);
    source.open.insert(10, HashSet::from([1005]));
    let requested = Requested {
        addr: Some(listener.local.addr),
        port: listener.local.port,
    };
    let server = Arc::new(Process::new(10, 0, "server", KnownBy::Syscall));
    let mut bind = Call::new(requested, server);
    bind.ok = true;
    bind.sock = Some(listener.sock);
    bind.local = Some(listener.local);
    engine.observe(LONG_AGO_NS, Body::Bind(Box::new(bind)));

    let fed = round(&mut reconcile, &mut engine, &mut source);

    assert_eq!(fed, [(5, State::Listen), (6, State::Established)]);
    let owner = |item: &SocketItem| {
        let known = engine.lookup(&item.to_seen(None)).expect("it was fed");
        known.owner.as_ref().map(|owner| owner.pid)
    };
    assert_eq!(owner(&listener), Some(10));
    assert_eq!(owner(&item(6, State::Established)), None);
    assert_eq!(round(&mut reconcile, &mut engine, &mut source), []);
}

#[test]
fn what_is_known_and_gone_is_closed() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([]);
    know(&mut engine, &item(5, State::Established), LONG_AGO_NS);
    know(&mut engine, &time_wait(6, 60_000), LONG_AGO_NS);

    let mut fed = round(&mut reconcile, &mut engine, &mut source);

    fed.sort_unstable_by_key(|(cookie, _)| *cookie);
    assert_eq!(fed, [(5, State::Closed), (6, State::Closed)]);
    assert_eq!(engine.table().len(), 0);
}

#[test]
fn what_a_list_lacks_is_looked_up_before_it_is_believed_to_be_gone() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([item(5, State::Established)]);
    source.overlooked.insert(5);
    know(&mut engine, &item(5, State::Established), LONG_AGO_NS);

    assert_eq!(round(&mut reconcile, &mut engine, &mut source), []);
    assert_eq!(source.lookups, 1);
}

#[test]
fn what_changed_while_it_was_looked_up_is_left_to_the_hooks() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([]);
    know(&mut engine, &item(5, State::Established), LONG_AGO_NS);
    let moves_on = |reconcile: &Reconcile<Scripted>, engine: &mut Engine, source: &mut Scripted| {
        if reconcile.is_at_once() {
            let seen = item(5, State::CloseWait).to_seen(None);
            engine.observe(source.now_ns(), Body::Socket(seen));
        }
    };

    let fed = round_with(&mut reconcile, &mut engine, &mut source, moves_on);

    assert_eq!(fed, []);
    assert_eq!(engine.table().count(State::CloseWait), 1);
}

#[test]
fn what_has_closed_since_it_was_listed_is_not_brought_back() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([item(5, State::Established)]);
    let closes = |reconcile: &Reconcile<Scripted>, _: &mut Engine, source: &mut Scripted| {
        let is_read = reconcile
            .current
            .as_ref()
            .is_some_and(|sweep| sweep.is_read);
        if is_read {
            source.remove(5);
        }
    };

    assert_eq!(
        round_with(&mut reconcile, &mut engine, &mut source, closes),
        []
    );
}

#[test]
fn a_listener_is_gone_when_two_sweeps_lack_it() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([]);
    know(&mut engine, &item(5, State::Listen), LONG_AGO_NS);

    assert_eq!(round(&mut reconcile, &mut engine, &mut source), []);
    assert_eq!(
        round(&mut reconcile, &mut engine, &mut source),
        [(5, State::Closed)]
    );
}

#[test]
fn a_kernel_that_does_not_answer_takes_nothing_out_of_the_table() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([]);
    source.is_silent = true;
    know(&mut engine, &item(5, State::Established), LONG_AGO_NS);

    assert_eq!(round(&mut reconcile, &mut engine, &mut source), []);
    source.is_silent = false;
    let goes_silent = |reconcile: &Reconcile<Scripted>, _: &mut Engine, source: &mut Scripted| {
        source.is_silent = reconcile
            .current
            .as_ref()
            .is_some_and(|sweep| sweep.is_read);
    };
    assert_eq!(
        round_with(&mut reconcile, &mut engine, &mut source, goes_silent),
        []
    );
    assert_eq!(engine.table().len(), 1);
}

#[test]
fn what_is_only_bound_is_listed_after_a_bind_and_in_every_eighth_round() {
    let (mut reconcile, mut engine) = (Reconcile::default(), engine());
    let mut source = Scripted::with([]);
    for _ in 0..10 {
        round(&mut reconcile, &mut engine, &mut source);
    }
    let with_bound = |source: &Scripted| -> Vec<bool> {
        source
            .lists
            .iter()
            .map(|(_, with_bound)| *with_bound)
            .collect()
    };

    let rounds = with_bound(&source);
    assert_eq!(source.lists[0].0, NETNS);
    assert!(rounds[0] && rounds[8], "{rounds:?}");
    assert_eq!(rounds.iter().filter(|with_bound| **with_bound).count(), 2);

    let process = Arc::new(Process::new(10, 0, "server", KnownBy::Syscall));
    let requested = Requested {
        addr: None,
        port: 80,
    };
    let mut bind = Call::new(requested, process);
    bind.ok = true;
    reconcile.note(&Body::Bind(Box::new(bind)));
    round(&mut reconcile, &mut engine, &mut source);
    assert_eq!(with_bound(&source).last(), Some(&true));
}

#[test]
fn a_round_is_followed_by_a_multiple_of_its_cost_and_a_second_at_least() {
    let is_due = |cost_ms: u64, ms: u64| {
        let (mut reconcile, mut engine) = (Reconcile::default(), engine());
        let mut source = Scripted::with([]);
        // Two steps a round.
        source.processor_tick_ns = cost_ms * NS_PER_MS / 2;
        let began_ns = source.now_ns();
        round(&mut reconcile, &mut engine, &mut source);
        reconcile.is_due(began_ns + ms * NS_PER_MS)
    };

    // A second; eighty times the cost; two seconds; forty times the cost.
    for (cost_ms, rest_ms) in [(1, 1_000), (20, 1_600), (40, 2_000), (100, 4_000)] {
        assert!(!is_due(cost_ms, rest_ms - 1), "{cost_ms} ms");
        assert!(is_due(cost_ms, rest_ms + 1), "{cost_ms} ms");
    }
}
