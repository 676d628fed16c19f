use std::path::{Path, PathBuf};

use super::*;
use crate::export::json;
use crate::tui::Replay;
use crate::tui::screens::story;

/// A recording of a server that goes down and comes back, as a player, with the
/// same events played through once.
fn played() -> (Player, Engine, tempfile::TempDir) {
    let (path, live, dir) = recorded();
    let mut index = Index::default();
    index.add(&path).unwrap();
    (Player::new(index), live, dir)
}

fn recorded() -> (PathBuf, Engine, tempfile::TempDir) {
    let told = story::restarted();
    let anchor = told.engine.header().unwrap().clock;
    let mut text = Vec::new();
    for event in told.engine.log().iter() {
        json::write_line(event, anchor, &mut text).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    std::fs::write(&path, text).unwrap();
    (path, told.engine, dir)
}

/// Opened with only its first event read.
fn opened(path: &Path) -> Player {
    let mut index = Index::default();
    index.begin(path).unwrap();
    while index.is_empty() {
        assert!(index.advance(1).unwrap());
    }
    Player::new(index)
}

fn arrive(player: &mut Player) {
    for _ in 0..1_000 {
        player.advance(0).unwrap();
        if player.goal.is_none() && !player.wishes.is_waiting() {
            return;
        }
    }
    panic!("it does not arrive");
}

fn sockets(engine: &Engine) -> Vec<String> {
    let mut sockets: Vec<String> = engine
        .table()
        .iter()
        .map(|socket| format!("{:?} {:?} {:?}", socket.local, socket.peer, socket.state))
        .collect();
    sockets.sort();
    sockets
}

#[test]
fn it_opens_at_the_first_failure() {
    let (mut player, _, _dir) = played();

    arrive(&mut player);

    assert_eq!(player.engine().failures().len(), 1);
    assert_eq!(
        player.position().marks.first().map(|mark| mark.kind),
        Some(MarkKind::Failure)
    );
    assert!(player.position().event < player.position().events);
}

#[test]
fn the_end_is_what_the_live_run_had() {
    let (mut player, live, _dir) = played();

    player.do_as(Replay::End);
    arrive(&mut player);

    assert_eq!(player.engine().next_seq(), live.next_seq());
    assert_eq!(player.engine().failures().len(), live.failures().len());
    assert_eq!(sockets(player.engine()), sockets(&live));
}

#[test]
fn steps_and_jumps_lead_to_the_same_place_from_either_side() {
    let (mut player, _, _dir) = played();
    player.do_as(Replay::End);
    arrive(&mut player);
    let end = player.here.next;

    player.do_as(Replay::Begin);
    arrive(&mut player);
    assert_eq!((player.here.next, player.engine().next_seq()), (0, 0));
    assert!(player.engine().header().is_none());
    assert!(player.position().clock.is_some(), "the bar has a calendar");
    let mut seen = vec![sockets(player.engine())];
    while player.here.next < end {
        player.do_as(Replay::Step);
        arrive(&mut player);
        seen.push(sockets(player.engine()));
    }
    for at in (0..end).rev() {
        player.do_as(Replay::StepBack);
        arrive(&mut player);
        assert_eq!(player.here.next, at);
        assert_eq!(sockets(player.engine()), seen[at], "event {at}");
    }
}

#[test]
fn a_time_shows_what_was_then_and_playing_goes_on_from_there() {
    let (mut player, _, _dir) = played();
    let first_ns = player.position().first_ns;
    let last_ns = player.position().last_ns;
    player.do_as(Replay::GoTo(first_ns + (last_ns - first_ns) / 2));
    arrive(&mut player);
    let middle = player.position();
    assert_eq!(middle.now_ns, first_ns + (last_ns - first_ns) / 2);
    assert!(player.engine().now_ns() <= middle.now_ns);

    player.do_as(Replay::Play);
    player.advance(1_000_000_000).unwrap();
    assert_eq!(
        player.now_ns(),
        (middle.now_ns + 1_000_000_000).min(last_ns)
    );
    player.do_as(Replay::Faster);
    player.advance(1_000_000_000).unwrap();
    assert_eq!(
        player.now_ns(),
        (middle.now_ns + 3_000_000_000).min(last_ns)
    );
    player.advance(u64::MAX / 4).unwrap();
    assert!(!player.is_playing, "it stops at the end");
    assert_eq!(player.position().event, player.position().events);
}

#[test]
fn marks_are_found_forth_and_back() {
    let (mut player, _, _dir) = played();
    let marks = player.position().marks.len();
    player.do_as(Replay::Begin);
    arrive(&mut player);
    let mut places = Vec::new();
    for _ in 0..marks {
        player.do_as(Replay::NextMark);
        arrive(&mut player);
        places.push(player.here.next);
    }
    assert!(
        places.windows(2).all(|pair| pair[0] < pair[1]),
        "{places:?}"
    );
    for place in places.iter().rev().skip(1) {
        player.do_as(Replay::PreviousMark);
        arrive(&mut player);
        assert_eq!(player.here.next, *place);
    }
}

#[test]
fn it_goes_to_an_event_by_its_position() {
    let (mut player, live, _dir) = played();
    arrive(&mut player);

    for seq in [live.next_seq() - 1, 7, 0] {
        player.do_as(Replay::GoToEvent(seq));
        arrive(&mut player);

        assert_eq!(player.engine().next_seq(), seq + 1);
    }
    player.do_as(Replay::GoToEvent(u64::MAX));
    arrive(&mut player);
    assert_eq!(player.engine().next_seq(), live.next_seq());
}

#[test]
fn keys_before_all_is_read_lead_where_they_lead_afterwards() {
    let (path, _, _dir) = recorded();
    let (first_ns, last_ns) = {
        let (player, ..) = played();
        (player.position().first_ns, player.position().last_ns)
    };
    let middle_ns = first_ns + (last_ns - first_ns) / 2;
    let wishes: [&[Replay]; 12] = [
        &[],
        &[Replay::End],
        &[Replay::NextMark],
        &[Replay::NextMark, Replay::NextMark],
        &[Replay::NextMark; 80],
        &[Replay::End, Replay::PreviousMark],
        &[Replay::End, Replay::PreviousMark, Replay::PreviousMark],
        &[Replay::NextMark, Replay::End, Replay::Begin],
        &[Replay::GoTo(middle_ns)],
        &[Replay::GoTo(u64::MAX)],
        &[Replay::GoToShare(30)],
        &[Replay::GoToEvent(9), Replay::NextMark],
    ];
    for keys in wishes {
        let mut early = opened(&path);
        let mut late = opened(&path);
        if !keys.is_empty() {
            // Else it opens at the first mark, and goes on from there.
            late.wishes.clear();
        }
        while late.index.advance(1).unwrap() {}
        late.mark();
        late.set_out();
        for player in [&mut early, &mut late] {
            for key in keys {
                player.do_as(*key);
            }
        }
        assert!(!early.index.is_complete(), "{keys:?}");

        for player in [&mut early, &mut late] {
            while player.is_busy() {
                player.advance(0).unwrap();
            }
        }

        assert_eq!(early.here.next, late.here.next, "{keys:?}");
        assert_eq!(early.position(), late.position(), "{keys:?}");
        let both = [&early, &late].map(|player| sockets(player.engine()));
        assert_eq!(both[0], both[1], "{keys:?}");
    }
}

#[test]
fn while_nobody_asks_for_anything_it_goes_ahead_to_the_end() {
    let (mut player, live, _dir) = played();

    while player.is_busy() {
        player.advance(0).unwrap();
    }

    assert_eq!(
        player.engine().failures().len(),
        1,
        "it is at the first mark"
    );
    assert!(player.here.next < player.index.len());
    let end = player.copies.before(usize::MAX).unwrap();
    assert_eq!(end.next, player.index.len());
    assert_eq!(sockets(&end.engine), sockets(&live));
    assert!(player.scout.is_none());
    player.do_as(Replay::End);
    assert_eq!(player.here.next, player.index.len(), "it is there at once");
}

#[test]
fn the_way_to_a_place_begins_where_the_scout_is() {
    let (mut player, _, _dir) = played();
    let mut scout = player.here.clone();
    let Player {
        index,
        ahead,
        copies,
        ..
    } = &mut player;
    let there = (7, u64::MAX);
    assert!(
        scout
            .go_on((index, ahead), copies, there, u64::MAX)
            .unwrap()
    );
    player.scout = Some(scout);

    player.do_as(Replay::End);

    assert_eq!(player.here.next, 7);
    assert!(player.scout.is_none());
}

#[test]
fn a_long_way_can_be_left() {
    let (path, _, _dir) = recorded();
    let mut player = opened(&path);
    player.do_as(Replay::End);
    assert!(player.position().is_waiting);

    player.do_as(Replay::Play);

    while player.is_busy() {
        player.advance(0).unwrap();
    }
    assert_eq!(player.here.next, 0);
    assert!(!player.position().is_waiting && !player.is_playing);
}

#[test]
fn another_wish_does_not_wait_for_the_way_that_it_replaces() {
    let (path, _, _dir) = recorded();
    let mut player = opened(&path);
    let first = player.index.time(0);
    player.goal = Some(Goal {
        event: 1,
        from: 0,
        now_ns: u64::MAX,
    });

    player.do_as(Replay::End);

    assert!(player.goal.is_none() && player.position().is_waiting);
    assert_eq!(player.now_ns(), first);
    arrive(&mut player);
    assert!(player.is_over());
}

#[test]
fn where_somebody_wants_to_go_the_scout_goes_before_all_is_read() {
    let (path, live, _dir) = recorded();
    let mut player = opened(&path);
    player.do_as(Replay::End);
    let mut went_early = 0;
    // A line a slice is read when the clock has no time left for more.
    while !player.index.is_complete() {
        player.index.advance(1).unwrap();
        player.set_out();
        if !player.index.is_complete() {
            player.scout(u64::MAX).unwrap();
            went_early = player.scout.as_ref().map_or(0, |scout| scout.next);
            assert_eq!(went_early, player.index.len());
        }
    }

    assert!(went_early > 0);
    assert_eq!(player.here.next, went_early, "from there it is not far");
    arrive(&mut player);
    assert_eq!(sockets(player.engine()), sockets(&live));
}

#[test]
fn a_long_recording_is_scouted_and_read_in_turn() {
    use std::fmt::Write as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let mut text = String::new();
    for seq in 0..100_000 {
        let ts = "2026-11-21T10:00:00.000000000Z";
        writeln!(
            text,
            r#"{{"event":"tick","seq":{seq},"ts":"{ts}","mono_ns":{seq}}}"#
        )
        .unwrap();
    }
    std::fs::write(&path, text).unwrap();
    let mut player = opened(&path);
    player.do_as(Replay::End);

    // A machine that reads all of it in a slice has nothing to do in turn.
    while !player.index.is_complete() && player.goal.is_none() {
        player.advance(0).unwrap();
        let has_gone = player.scout.is_some() || player.here.next > 0;
        assert!(player.index.is_complete() || has_gone);
    }
}
