//! Tests of whole screens: as text files, under every key, and with hostile
//! names.
//!
//! `TCPSTATE_BLESS=1 cargo test -p tcpstate --lib screens` writes the text files
//! anew; read the difference before committing it.

pub(crate) use support::story;

mod advice;
pub(crate) mod end_of_range;
mod every_key;
mod harness;
mod hostile;
mod states;

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use crate::event::{Body, RestartOutcome, RestartRound, RestartTest, State, Way};
use crate::tui::app::App;
use crate::tui::input::keys::Action;
use crate::tui::output::screenshot;
use crate::tui::state::replay::{Mark, MarkKind, ReplayPosition};
use crate::tui::state::rounds::{CurrentRound, Rounds};
use crate::tui::theme::Theme;
use crate::units::NS_PER_S;
use harness::{assert_harmless, differs, render, text_of, type_keys};
use story::{PORT, Story, process};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

#[test]
fn screens_look_as_they_did() {
    let mut wrong = Vec::new();
    for (name, story, keys) in scenes() {
        for (width, height) in SIZES {
            let mut app = App::with_theme(Theme::Dark);
            if name.starts_with("replay") {
                app.state.replay = Some(position());
            }
            if name.starts_with("restarts") {
                app.state.rounds = Some(rounds());
            }
            let area = Rect::new(0, 0, width, height);
            render(&story, &mut app, area);
            type_keys(&mut app, keys, &story.engine);
            let text = text_of(&render(&story, &mut app, area));
            wrong.extend(differs(&format!("{name}-{width}x{height}"), &text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `UPDATE_EXPECT=1` draws it anew.
#[test]
fn the_picture_in_the_readme_is_what_is_drawn() {
    let area = Rect::new(0, 0, 110, 32);
    let mut app = App::with_theme(Theme::Dark);
    let drawn = render(&story::down(), &mut app, area);

    let picture = screenshot::svg(&drawn, Theme::Dark);

    expect_test::expect_file!["../../../docs/watch.svg"].assert_eq(&picture);
}

#[test]
fn a_small_terminal_is_told_what_it_lacks() {
    for (width, height) in [(20, 5), (71, 24), (80, 19)] {
        let area = Rect::new(0, 0, width, height);
        let text = text_of(&render(
            &story::down(),
            &mut App::with_theme(Theme::Dark),
            area,
        ));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("tcpstate needs 72×20"), "{text}");
        assert!(text.contains(&format!("{width}×{height}")), "{text}");
    }
}

#[test]
fn a_frozen_screen_stays_as_it_was_while_the_engine_goes_on() {
    let mut story = story::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    render(&story, &mut app, area);
    app.act(Action::Pause, &story.engine);
    let before = text_of(&render(&story, &mut app, area));

    story.wait_ms(5_000);
    story.listen(PORT, &process("nginx", 4900));
    let after = text_of(&render(&story, &mut app, area));

    assert!(
        before.contains("PAUSED, 0s and 0 events behind"),
        "{before}"
    );
    assert!(after.contains("PAUSED, 5s and 9 events behind"), "{after}");
    let below = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(below(&before), below(&after));

    app.act(Action::Pause, &story.engine);
    let live = text_of(&render(&story, &mut app, area));
    assert!(live.contains("LISTENING by nginx[4900]"), "{live}");
    assert!(live.contains("restart"), "{live}");
}

#[test]
fn a_frozen_screen_can_still_be_scrolled_sorted_and_filtered() {
    let mut story = story::serving().0;
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    render(&story, &mut app, area);
    app.act(Action::Pause, &story.engine);
    story.find(500, State::Established, None);

    type_keys(&mut app, "/state:est⏎", &story.engine);
    let text = text_of(&render(&story, &mut app, area));

    assert!(text.contains("sockets · 4 of 13"), "{text}");
}

#[test]
fn a_port_of_another_namespace_says_which() {
    let mut story = Story::empty();
    let mut header = story::header(vec![]);
    header.netns = Some(story.netns);
    header.filters.netns = None;
    story.tell(Body::Header(Box::new(header)));
    story.listen(PORT, &process("nginx", 4711));
    story.netns = 4_026_532_999;
    story.listen(PORT, &process("nginx", 8));

    for size in [(120, 40), (80, 24)] {
        let area = Rect::new(0, 0, size.0, size.1);
        let text = text_of(&render(&story, &mut App::with_theme(Theme::Dark), area));

        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(" :8080"))
            .collect();
        let named = |line: &&&str| line.contains("netns 4026532999");
        assert_eq!(lines.iter().filter(named).count(), 1, "{text}");
    }
}

#[test]
fn losses_are_always_in_sight() {
    let (mut story, _) = story::serving();
    let area = Rect::new(0, 0, 80, 24);
    let mut app = App::with_theme(Theme::Mono);
    for keys in ["", "?", "d", "⎵"] {
        type_keys(&mut app, keys, &story.engine);
        assert!(text_of(&render(&story, &mut app, area)).contains("✔ lost 0"));
    }
    app = App::with_theme(Theme::Mono);
    story.lose(12, false);
    assert!(text_of(&render(&story, &mut app, area)).contains("✖ LOST 12 (table incomplete)"));
    story.lose(1, true);
    assert!(text_of(&render(&story, &mut app, area)).contains("✖ LOST 13 (resynced)"));
}

#[test]
fn the_banner_goes_when_the_port_is_listened_on_again() {
    let area = Rect::new(0, 0, 80, 24);

    let down = text_of(&render(
        &story::down(),
        &mut App::with_theme(Theme::Dark),
        area,
    ));
    let up = text_of(&render(
        &story::restarted(),
        &mut App::with_theme(Theme::Dark),
        area,
    ));

    assert!(
        down.contains("cannot bind 0.0.0.0:8080, tried 3×"),
        "{down}"
    );
    assert!(!up.contains("cannot bind"), "{up}");
    assert!(
        up.contains("last restart: down 39.0 s, bind failed 3×"),
        "{up}"
    );
}

#[test]
fn the_countdown_follows_the_time_that_is_handed_in() {
    let mut story = story::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    for (seconds, told) in [
        (0, "free in 52 s"),
        (10, "free in 42 s"),
        (55, "free about now"),
    ] {
        story.now_ns += seconds * NS_PER_S;
        let text = text_of(&render(&story, &mut app, area));
        assert!(text.contains(told), "{told}\n{text}");
        story.now_ns -= seconds * NS_PER_S;
    }
}

/// Half-way through ten minutes, with a failure and a restart.
fn position() -> ReplayPosition {
    let first_ns = story::down().now_ns;
    let at = |s: u64| first_ns + s * 1_000_000_000;
    ReplayPosition {
        is_playing: true,
        speed: "5×",
        event: 1_234,
        events: 98_765,
        now_ns: at(300),
        clock: None,
        first_ns,
        last_ns: at(600),
        reading: None,
        is_waiting: false,
        seeking: None,
        marks: Arc::new([
            Mark {
                mono_ns: at(200),
                kind: MarkKind::Failure,
            },
            Mark {
                mono_ns: at(420),
                kind: MarkKind::Restart,
            },
        ]),
    }
}

#[test]
fn escape_closes_what_is_open_then_the_note_then_the_filter() {
    let story = story::down();
    let mut app = App::with_theme(Theme::Dark);
    type_keys(&mut app, "/port:1⏎?", &story.engine);
    app.state.messages.push("careful".to_owned());
    app.begin_frame(&story.engine, story.now_ns);

    app.act(Action::Close, &story.engine);
    assert_eq!(
        (
            app.state.overlay.is_none(),
            app.state.messages.latest().is_some()
        ),
        (true, true)
    );
    app.act(Action::Close, &story.engine);
    assert_eq!(
        (
            app.state.messages.latest().is_some(),
            app.state.filter.is_empty()
        ),
        (false, false)
    );
    app.act(Action::Close, &story.engine);
    assert!(app.state.filter.is_empty());
}

#[test]
fn a_diagnosis_leads_to_its_evidence_and_back() {
    let story = story::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    let press = |app: &mut App, keys: &str| {
        render(&story, app, area);
        type_keys(app, keys, &story.engine);
        text_of(&render(&story, app, area))
    };

    let diagnosis = press(&mut app, "d");
    assert!(!press(&mut app, "⏎").contains("life"), "nothing is chosen");
    let chosen = press(&mut app, "⇥");
    assert!(chosen.contains("▸"), "{chosen}");
    assert!(chosen.contains("Enter go there"), "{chosen}");
    let holder = press(&mut app, "⏎");
    assert!(holder.contains("╭─ socket 10.0.0.1:8080"), "{holder}");
    let event = press(&mut app, "⇤⏎");
    assert!(event.contains("╭─ event #"), "{event}");
    assert!(event.contains("Esc back"), "{event}");

    for title in ["╭─ socket", "╭─ bind 0.0.0.0:8080 failed"] {
        app.act(Action::Close, &story.engine);
        let text = text_of(&render(&story, &mut app, area));
        assert!(text.contains(title), "{title}\n{text}");
    }
    app.act(Action::Close, &story.engine);
    assert!(app.state.overlay.is_none());
    assert_eq!(press(&mut app, "d"), diagnosis);

    // The events of the evidence stand in order below the holders.
    let mut seen = press(&mut app, "G");
    for _ in 0..60 {
        seen += &press(&mut app, "⇥");
    }
    assert!(seen.contains("EADDRINUSE, nginx[4802]  #"), "{seen}");
}

#[test]
fn what_was_said_stands_where_it_was_said_and_can_be_read_again() {
    let mut story = Story::begun();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 120, 40);
    app.state.messages.push("the old server listens".to_owned());
    render(&story, &mut app, area);
    story.listen(PORT, &process("nginx", 4711));
    let long = "the old server is told to stop, and leaves ".repeat(6) + "THE END";
    app.state.messages.push(long);
    let text = text_of(&render(&story, &mut app, area));

    let place = |needle: &str| text.find(needle).expect(needle);
    assert!(place("»         the old server listens") < place("CLOSED → LISTEN"));
    assert!(place("CLOSED → LISTEN") < place("»         the old server is told"));
    assert!(text.contains("\n » the old server is told"));

    assert!(!text.contains("THE END"), "{text}");
    type_keys(&mut app, "n", &story.engine);
    let text = text_of(&render(&story, &mut app, area));
    assert!(text.contains("THE END"), "{text}");
}

#[test]
fn no_keys_and_no_size_make_it_panic() {
    let mut stories = [
        Story::empty(),
        Story::begun(),
        story::serving().0,
        story::down(),
        story::restarted(),
    ];
    let codes = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Backspace,
    ];
    let letters = "?/ srdcngGhjkl:!0189twCyYfepPoTm#+-,\"";
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).expect("below is a usize")
    };
    for story in &mut stories {
        let mut app = App::with_theme(Theme::Dark);
        for _ in 0..1_500 {
            let code = match next(codes.len() + letters.len()) {
                at if at < codes.len() => codes[at],
                at => KeyCode::Char(char::from(letters.as_bytes()[at - codes.len()])),
            };
            app.press(KeyEvent::from(code), &story.engine);
            let side = |next: &mut dyn FnMut(usize) -> usize| match next(4) {
                0 => next(4),
                1 => next(90),
                _ => 72 + next(140),
            };
            let width = u16::try_from(side(&mut next)).expect("small");
            let height = u16::try_from(side(&mut next) / 2).expect("small");
            let buf = render(story, &mut app, Rect::new(0, 0, width, height));
            assert_harmless(&buf);
            if next(5) == 0 {
                story.wait_ms(700);
            }
            if next(40) == 0 {
                story.bind_fails(PORT, &process("nginx", 5_000), vec![]);
            }
        }
    }
}

/// A test at its fifth round: one that it cannot be stopped in, one of each outcome, with a
/// name in it that a process chose.
fn rounds() -> Rounds {
    let round = |way, number, outcome, downtime_ms, refused| RestartRound {
        downtime_ms,
        refused,
        ..RestartRound::new(way, number, outcome)
    };
    let mut strange = round(Way::ClientClosesFirst, 1, RestartOutcome::Unknown, None, 3);
    strange.notes = vec!["it printed last: \u{1b}[2Jserver".to_owned()];
    let mut fails = round(
        Way::ServerClosesFirst,
        2,
        RestartOutcome::Fails,
        None,
        23_456,
    );
    let failure = story::down().engine.failures().last().cloned();
    fails.diagnosis = failure.map(|it| Box::new((*it.diagnosis).clone()));
    Rounds {
        test: RestartTest {
            port: PORT,
            private: true,
            rounds: vec![
                round(Way::Idle, 1, RestartOutcome::AtOnce, Some(27), 2),
                round(Way::Idle, 2, RestartOutcome::Waits, Some(61_000), 9),
                round(
                    Way::ServerClosesFirst,
                    1,
                    RestartOutcome::AtOnce,
                    Some(31),
                    0,
                ),
                fails,
                strange,
            ],
            skipped: Vec::new(),
            verdict: RestartOutcome::Unknown,
            fixes: Vec::new(),
            notes: Vec::new(),
        },
        current: Some(CurrentRound {
            way: Way::ClientClosesFirst,
            number: 2,
        }),
        times: 2,
        ways: Way::ALL.len(),
    }
}

fn scenes() -> Vec<(&'static str, Story, &'static str)> {
    let many = || {
        let mut story = story::serving().0;
        story.find(20_000, State::Established, None);
        story
    };
    let walk = || {
        let (mut story, server) = (story::serving().0, process("vite", 4_900));
        for port in 9_000..9_040 {
            story.bind_fails(port, &server, vec![]);
            story.wait_ms(10);
        }
        story
    };
    let lossy = || {
        let mut story = story::serving().0;
        story.lose(1_234, false);
        story
    };
    let ports = || {
        let mut story = Story::watching(vec![]);
        for (port, name) in [(22, "sshd"), (5432, "postgres"), (6379, "redis-server")] {
            story.listen(port, &process(name, 800 + u32::from(port)));
        }
        story.wait_ms(75_000);
        let nginx = process("nginx", 4711);
        let listener = story.listen(PORT, &nginx);
        story.wait_ms(5_000);
        story.stop_listening(listener, PORT, &nginx);
        story.wait_ms(4_400);
        story
    };
    let fallback = || {
        let mut story = story::down();
        story.listen(PORT + 1, &process("nginx", 4802));
        story.wait_ms(3_000);
        story
    };
    let leaking = || {
        let mut story = Story::begun();
        let listener = story.listen(PORT, &process("java", 812));
        let sock = story.accept(listener, PORT, 40_001);
        story.wait_ms(4_200);
        story.peer_closes(sock, PORT, 40_001);
        story.wait_ms(92_000);
        story
    };
    let freed = || {
        let mut story = story::down();
        story.wait_ms(70_000);
        story
    };
    vec![
        ("replay", story::down(), ""),
        ("replay-help", story::down(), "?"),
        ("replay-time", story::down(), "t+9"),
        ("empty", Story::empty(), ""),
        ("begun", Story::begun(), ""),
        ("listening", story::serving().0, ""),
        ("down", story::down(), ""),
        ("freed", freed(), ""),
        ("restarted", story::restarted(), ""),
        ("many", many(), "G"),
        ("lossy", lossy(), ""),
        ("walk", walk(), ""),
        ("ports", ports(), ""),
        ("fallback", fallback(), ""),
        ("fallback-detail", fallback(), "⇥⏎"),
        ("paused", story::down(), "⎵"),
        ("filtered", story::serving().0, "/state:est⏎"),
        ("typing", story::serving().0, "/port:x⏎"),
        ("help", story::serving().0, "?"),
        ("diagnosis", story::down(), "d"),
        ("socket", story::serving().0, "GkEnter"),
        ("socket-time-wait", story::down(), "Enter"),
        ("socket-close-wait", leaking(), "jEnter"),
        ("listener", story::serving().0, "Enter"),
        ("port", story::restarted(), "⇤Enter"),
        ("event", story::serving().0, "⇥Enter"),
        ("elsewhere", story::elsewhere(Some("blue")), ""),
        ("elsewhere-unnamed", story::elsewhere(None), ""),
        ("elsewhere-diagnosis", story::elsewhere(Some("blue")), "d"),
        ("replay-elsewhere", story::elsewhere(Some("blue")), ""),
        ("replay-diagnosis", story::elsewhere(Some("blue")), "d"),
        ("restarts", story::serving().0, ""),
        ("restarts-down", story::down(), ""),
    ]
}
