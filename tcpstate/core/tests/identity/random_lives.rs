//! Random lives of connections, in any order of their facts.

use super::*;

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
