use std::path::{Path, PathBuf};

use super::*;
use crate::export::json;
use crate::tui::ReplayAction;
use crate::tui::screens;

/// A recording of a server that goes down and comes back, as a player, with the
/// same events played through once.
fn played() -> (Player, Engine, tempfile::TempDir) {
    let (path, live, dir) = recorded();
    let mut index = Index::default();
    index.add(&path).unwrap();
    (Player::new(index), live, dir)
}

fn recorded() -> (PathBuf, Engine, tempfile::TempDir) {
    let scenario = screens::scenario::restarted();
    let anchor = scenario.engine.header().unwrap().clock;
    let mut text = Vec::new();
    for event in scenario.engine.log().iter() {
        json::write_line(event, anchor, &mut text).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    std::fs::write(&path, text).unwrap();
    (path, scenario.engine, dir)
}

/// Opened with only its first event read.
fn opened(path: &Path) -> Player {
    let mut index = Index::default();
    index.enqueue(path).unwrap();
    while index.is_empty() {
        assert!(index.advance(1).unwrap());
    }
    Player::new(index)
}

fn arrive(player: &mut Player) {
    for _ in 0..1_000 {
        player.advance(0).unwrap();
        if player.seek.is_none() && !player.pending.is_pending() {
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

    player.handle(ReplayAction::End);
    arrive(&mut player);

    assert_eq!(player.engine().next_seq(), live.next_seq());
    assert_eq!(player.engine().failures().len(), live.failures().len());
    assert_eq!(sockets(player.engine()), sockets(&live));
}

#[test]
fn steps_and_jumps_lead_to_the_same_state_from_either_side() {
    let (mut player, _, _dir) = played();
    player.handle(ReplayAction::End);
    arrive(&mut player);
    let end = player.current.next;

    player.handle(ReplayAction::Begin);
    arrive(&mut player);
    assert_eq!((player.current.next, player.engine().next_seq()), (0, 0));
    assert!(player.engine().header().is_none());
    assert!(player.position().clock.is_some(), "the bar has a calendar");
    let mut seen = vec![sockets(player.engine())];
    while player.current.next < end {
        player.handle(ReplayAction::Step);
        arrive(&mut player);
        seen.push(sockets(player.engine()));
    }
    for at in (0..end).rev() {
        player.handle(ReplayAction::StepBack);
        arrive(&mut player);
        assert_eq!(player.current.next, at);
        assert_eq!(sockets(player.engine()), seen[at], "event {at}");
    }
}

#[test]
fn a_time_shows_what_was_then_and_playing_goes_on_from_there() {
    let (mut player, _, _dir) = played();
    let first_ns = player.position().first_ns;
    let last_ns = player.position().last_ns;
    player.handle(ReplayAction::GoTo(first_ns + (last_ns - first_ns) / 2));
    arrive(&mut player);
    let middle = player.position();
    assert_eq!(middle.now_ns, first_ns + (last_ns - first_ns) / 2);
    assert!(player.engine().now_ns() <= middle.now_ns);

    player.handle(ReplayAction::Play);
    player.advance(1_000_000_000).unwrap();
    assert_eq!(
        player.now_ns(),
        (middle.now_ns + 1_000_000_000).min(last_ns)
    );
    player.handle(ReplayAction::Faster);
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
    player.handle(ReplayAction::Begin);
    arrive(&mut player);
    let mut events = Vec::new();
    for _ in 0..marks {
        player.handle(ReplayAction::NextMark);
        arrive(&mut player);
        events.push(player.current.next);
    }
    assert!(
        events.windows(2).all(|pair| pair[0] < pair[1]),
        "{events:?}"
    );
    for event in events.iter().rev().skip(1) {
        player.handle(ReplayAction::PreviousMark);
        arrive(&mut player);
        assert_eq!(player.current.next, *event);
    }
}

#[test]
fn it_goes_to_an_event_by_its_position() {
    let (mut player, live, _dir) = played();
    arrive(&mut player);

    for seq in [live.next_seq() - 1, 7, 0] {
        player.handle(ReplayAction::GoToEvent(seq));
        arrive(&mut player);

        assert_eq!(player.engine().next_seq(), seq + 1);
    }
    player.handle(ReplayAction::GoToEvent(u64::MAX));
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
    let keys_of_each: [&[ReplayAction]; 12] = [
        &[],
        &[ReplayAction::End],
        &[ReplayAction::NextMark],
        &[ReplayAction::NextMark, ReplayAction::NextMark],
        &[ReplayAction::NextMark; 80],
        &[ReplayAction::End, ReplayAction::PreviousMark],
        &[
            ReplayAction::End,
            ReplayAction::PreviousMark,
            ReplayAction::PreviousMark,
        ],
        &[
            ReplayAction::NextMark,
            ReplayAction::End,
            ReplayAction::Begin,
        ],
        &[ReplayAction::GoTo(middle_ns)],
        &[ReplayAction::GoTo(u64::MAX)],
        &[ReplayAction::GoToShare(30)],
        &[ReplayAction::GoToEvent(9), ReplayAction::NextMark],
    ];
    for keys in keys_of_each {
        let mut early = opened(&path);
        let mut late = opened(&path);
        if !keys.is_empty() {
            // Else it opens at the first mark, and goes on from there.
            late.pending.clear();
        }
        while late.index.advance(1).unwrap() {}
        late.refresh_marks();
        late.begin_seeks();
        for player in [&mut early, &mut late] {
            for key in keys {
                player.handle(*key);
            }
        }
        assert!(!early.index.is_complete(), "{keys:?}");

        for player in [&mut early, &mut late] {
            while player.is_busy() {
                player.advance(0).unwrap();
            }
        }

        assert_eq!(early.current.next, late.current.next, "{keys:?}");
        assert_eq!(early.position(), late.position(), "{keys:?}");
        let both = [&early, &late].map(|player| sockets(player.engine()));
        assert_eq!(both[0], both[1], "{keys:?}");
    }
}

#[test]
fn while_no_key_is_pressed_it_looks_ahead_to_the_end() {
    let (mut player, live, _dir) = played();

    while player.is_busy() {
        player.advance(0).unwrap();
    }

    assert_eq!(
        player.engine().failures().len(),
        1,
        "it is at the first mark"
    );
    assert!(player.current.next < player.index.len());
    let end = player.checkpoints.at_or_before(usize::MAX).unwrap();
    assert_eq!(end.next, player.index.len());
    assert_eq!(sockets(&end.engine), sockets(&live));
    assert!(player.lookahead.is_none());
    player.handle(ReplayAction::End);
    assert_eq!(
        player.current.next,
        player.index.len(),
        "it is there at once"
    );
}

#[test]
fn a_seek_begins_where_the_lookahead_is() {
    let (mut player, _, _dir) = played();
    let mut lookahead = player.current.clone();
    let mut source = Source {
        index: &mut player.index,
        prefetcher: &mut player.prefetcher,
        checkpoints: &mut player.checkpoints,
    };
    let limit = Limit {
        event: 7,
        mono_ns: u64::MAX,
        deadline_ns: u64::MAX,
    };
    assert!(source.advance(&mut lookahead, limit).unwrap());
    player.lookahead = Some(lookahead);

    player.handle(ReplayAction::End);

    assert_eq!(player.current.next, 7);
    assert!(player.lookahead.is_none());
}

#[test]
fn a_long_seek_can_be_abandoned() {
    let (path, _, _dir) = recorded();
    let mut player = opened(&path);
    player.handle(ReplayAction::End);
    assert!(player.position().is_waiting);

    player.handle(ReplayAction::Play);

    while player.is_busy() {
        player.advance(0).unwrap();
    }
    assert_eq!(player.current.next, 0);
    assert!(!player.position().is_waiting && !player.is_playing);
}

#[test]
fn a_seek_does_not_wait_for_the_one_that_it_replaces() {
    let (path, _, _dir) = recorded();
    let mut player = opened(&path);
    let first = player.index.time(0);
    player.seek = Some(Seek {
        event: 1,
        from: 0,
        now_ns: u64::MAX,
    });

    player.handle(ReplayAction::End);

    assert!(player.seek.is_none() && player.position().is_waiting);
    assert_eq!(player.now_ns(), first);
    arrive(&mut player);
    assert!(player.is_at_end());
}

#[test]
fn where_a_pending_seek_leads_the_lookahead_goes_before_all_is_indexed() {
    let (path, live, _dir) = recorded();
    let mut player = opened(&path);
    player.handle(ReplayAction::End);
    let mut went_early = 0;
    // A line a slice is read when the clock has no time left for more.
    while !player.index.is_complete() {
        player.index.advance(1).unwrap();
        player.begin_seeks();
        if !player.index.is_complete() {
            player.look_ahead(u64::MAX).unwrap();
            went_early = player
                .lookahead
                .as_ref()
                .map_or(0, |lookahead| lookahead.next);
            assert_eq!(went_early, player.index.len());
        }
    }

    assert!(went_early > 0);
    assert_eq!(player.current.next, went_early, "from there it is not far");
    arrive(&mut player);
    assert_eq!(sockets(player.engine()), sockets(&live));
}

#[test]
fn a_long_recording_is_looked_ahead_and_indexed_in_turn() {
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
    player.handle(ReplayAction::End);

    // A machine that reads all of it in a slice has nothing to do in turn.
    while !player.index.is_complete() && player.seek.is_none() {
        player.advance(0).unwrap();
        let has_gone = player.lookahead.is_some() || player.current.next > 0;
        assert!(player.index.is_complete() || has_gone);
    }
}

#[test]
fn times_at_the_end_of_the_range_can_be_played_and_sought() {
    for recording in screens::end_of_range::recordings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        std::fs::write(&path, recording).unwrap();
        let mut player = opened(&path);
        let actions = [
            ReplayAction::Play,
            ReplayAction::Faster,
            ReplayAction::End,
            ReplayAction::Forward,
            ReplayAction::Back,
            ReplayAction::GoTo(u64::MAX),
            ReplayAction::GoTo(0),
            ReplayAction::GoToShare(100),
            ReplayAction::GoToEvent(u64::MAX),
            ReplayAction::StepBack,
            ReplayAction::Step,
        ];
        for action in actions {
            player.handle(action);
            for elapsed_ns in [0, 1_000_000_000, u64::MAX] {
                player.advance(elapsed_ns).unwrap();
            }
            player.position();
        }
        player.handle(ReplayAction::End);
        arrive(&mut player);
        assert_eq!(player.now_ns(), u64::MAX);
        assert!(player.is_at_end());
    }
}
