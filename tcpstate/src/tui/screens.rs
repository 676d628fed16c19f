//! Tests of whole screens: as text files, under every key, and with hostile
//! names.
//!
//! `UPDATE_EXPECT=1 cargo test -p tcpstate --lib screens` writes the text files
//! anew; read the difference before committing it.

pub(crate) use support::scenario;

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
use harness::{assert_harmless, assert_screen, folder, render, text_of, type_keys};
use scenario::{PORT, Scenario, process};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

#[test]
fn screens_look_as_they_did() {
    for (name, scenario, keys) in screens() {
        for (width, height) in SIZES {
            let mut app = App::with_theme(Theme::Dark);
            if name.starts_with("replay") {
                app.state.replay = Some(position());
            }
            if name.starts_with("restarts") {
                app.state.rounds = Some(rounds());
            }
            let area = Rect::new(0, 0, width, height);
            render(&scenario, &mut app, area);
            type_keys(&mut app, keys, &scenario.engine);
            let text = text_of(&render(&scenario, &mut app, area));
            assert_screen(&format!("{name}-{width}x{height}"), &text);
        }
    }
}

#[test]
fn no_screen_is_left_over() {
    let of_size = |(name, _, _): &(&str, Scenario, &str)| {
        SIZES.map(|(width, height)| format!("{name}-{width}x{height}.txt"))
    };
    let mut names: Vec<String> = screens().iter().flat_map(of_size).collect();
    names.push("states".to_owned());

    support::assert_no_file_but(&folder(), &names);
}

/// `UPDATE_EXPECT=1` draws it anew.
#[test]
fn the_picture_in_the_readme_is_what_is_drawn() {
    let area = Rect::new(0, 0, 110, 32);
    let mut app = App::with_theme(Theme::Dark);
    let drawn = render(&scenario::down(), &mut app, area);

    let picture = screenshot::svg(&drawn, Theme::Dark);

    expect_test::expect_file!["../../../docs/watch.svg"].assert_eq(&picture);
}

#[test]
fn a_small_terminal_is_told_what_it_lacks() {
    for (width, height) in [(20, 5), (71, 24), (80, 19)] {
        let area = Rect::new(0, 0, width, height);
        let text = text_of(&render(
            &scenario::down(),
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
    let mut scenario = scenario::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    render(&scenario, &mut app, area);
    app.act(Action::Pause, &scenario.engine);
    let before = text_of(&render(&scenario, &mut app, area));

    scenario.wait_ms(5_000);
    scenario.listen(PORT, &process("nginx", 4900));
    let after = text_of(&render(&scenario, &mut app, area));

    assert!(
        before.contains("PAUSED, 0s and 0 events behind"),
        "{before}"
    );
    assert!(after.contains("PAUSED, 5s and 9 events behind"), "{after}");
    let below = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(below(&before), below(&after));

    app.act(Action::Pause, &scenario.engine);
    let live = text_of(&render(&scenario, &mut app, area));
    assert!(live.contains("LISTENING by nginx[4900]"), "{live}");
    assert!(live.contains("restart"), "{live}");
}

#[test]
fn a_frozen_screen_can_still_be_scrolled_sorted_and_filtered() {
    let mut scenario = scenario::serving().0;
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    render(&scenario, &mut app, area);
    app.act(Action::Pause, &scenario.engine);
    scenario.find(500, State::Established, None);

    type_keys(&mut app, "/state:est⏎", &scenario.engine);
    let text = text_of(&render(&scenario, &mut app, area));

    assert!(text.contains("sockets · 4 of 13"), "{text}");
}

#[test]
fn a_port_of_another_namespace_says_which() {
    let mut scenario = Scenario::empty();
    let mut header = scenario::header(vec![]);
    header.netns = Some(scenario.netns);
    header.filters.netns = None;
    scenario.observe(Body::Header(Box::new(header)));
    scenario.listen(PORT, &process("nginx", 4711));
    scenario.netns = 4_026_532_999;
    scenario.listen(PORT, &process("nginx", 8));

    for size in [(120, 40), (80, 24)] {
        let area = Rect::new(0, 0, size.0, size.1);
        let text = text_of(&render(&scenario, &mut App::with_theme(Theme::Dark), area));

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
    let (mut scenario, _) = scenario::serving();
    let area = Rect::new(0, 0, 80, 24);
    let mut app = App::with_theme(Theme::Mono);
    for keys in ["", "?", "d", "⎵"] {
        type_keys(&mut app, keys, &scenario.engine);
        assert!(text_of(&render(&scenario, &mut app, area)).contains("✔ lost 0"));
    }
    app = App::with_theme(Theme::Mono);
    scenario.lose(12, false);
    assert!(text_of(&render(&scenario, &mut app, area)).contains("✖ LOST 12 (table incomplete)"));
    scenario.lose(1, true);
    assert!(text_of(&render(&scenario, &mut app, area)).contains("✖ LOST 13 (resynced)"));
}

#[test]
fn the_banner_goes_when_the_port_is_listened_on_again() {
    let area = Rect::new(0, 0, 80, 24);

    let down = text_of(&render(
        &scenario::down(),
        &mut App::with_theme(Theme::Dark),
        area,
    ));
    let up = text_of(&render(
        &scenario::restarted(),
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
    let mut scenario = scenario::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    for (seconds, told) in [
        (0, "free in 52 s"),
        (10, "free in 42 s"),
        (55, "free about now"),
    ] {
        scenario.now_ns += seconds * NS_PER_S;
        let text = text_of(&render(&scenario, &mut app, area));
        assert!(text.contains(told), "{told}\n{text}");
        scenario.now_ns -= seconds * NS_PER_S;
    }
}

/// Half-way through ten minutes, with a failure and a restart.
fn position() -> ReplayPosition {
    let first_ns = scenario::down().now_ns;
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
    let scenario = scenario::down();
    let mut app = App::with_theme(Theme::Dark);
    type_keys(&mut app, "/port:1⏎?", &scenario.engine);
    app.state.messages.push("careful".to_owned());
    app.begin_frame(&scenario.engine, scenario.now_ns);

    app.act(Action::Close, &scenario.engine);
    assert_eq!(
        (
            app.state.overlay.is_none(),
            app.state.messages.latest().is_some()
        ),
        (true, true)
    );
    app.act(Action::Close, &scenario.engine);
    assert_eq!(
        (
            app.state.messages.latest().is_some(),
            app.state.filter.is_empty()
        ),
        (false, false)
    );
    app.act(Action::Close, &scenario.engine);
    assert!(app.state.filter.is_empty());
}

#[test]
fn a_diagnosis_leads_to_its_evidence_and_back() {
    let scenario = scenario::down();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 80, 24);
    let press = |app: &mut App, keys: &str| {
        render(&scenario, app, area);
        type_keys(app, keys, &scenario.engine);
        text_of(&render(&scenario, app, area))
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
        app.act(Action::Close, &scenario.engine);
        let text = text_of(&render(&scenario, &mut app, area));
        assert!(text.contains(title), "{title}\n{text}");
    }
    app.act(Action::Close, &scenario.engine);
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
    let mut scenario = Scenario::begun();
    let mut app = App::with_theme(Theme::Dark);
    let area = Rect::new(0, 0, 120, 40);
    app.state.messages.push("the old server listens".to_owned());
    render(&scenario, &mut app, area);
    scenario.listen(PORT, &process("nginx", 4711));
    let long = "the old server is told to stop, and leaves ".repeat(6) + "THE END";
    app.state.messages.push(long);
    let text = text_of(&render(&scenario, &mut app, area));

    let place = |needle: &str| text.find(needle).expect(needle);
    assert!(place("»         the old server listens") < place("CLOSED → LISTEN"));
    assert!(place("CLOSED → LISTEN") < place("»         the old server is told"));
    assert!(text.contains("\n » the old server is told"));

    assert!(!text.contains("THE END"), "{text}");
    type_keys(&mut app, "n", &scenario.engine);
    let text = text_of(&render(&scenario, &mut app, area));
    assert!(text.contains("THE END"), "{text}");
}

#[test]
fn no_keys_and_no_size_make_it_panic() {
    let mut stories = [
        Scenario::empty(),
        Scenario::begun(),
        scenario::serving().0,
        scenario::down(),
        scenario::restarted(),
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
    for scenario in &mut stories {
        let mut app = App::with_theme(Theme::Dark);
        for _ in 0..1_500 {
            let code = match next(codes.len() + letters.len()) {
                at if at < codes.len() => codes[at],
                at => KeyCode::Char(char::from(letters.as_bytes()[at - codes.len()])),
            };
            app.press(KeyEvent::from(code), &scenario.engine);
            let side = |next: &mut dyn FnMut(usize) -> usize| match next(4) {
                0 => next(4),
                1 => next(90),
                _ => 72 + next(140),
            };
            let width = u16::try_from(side(&mut next)).expect("small");
            let height = u16::try_from(side(&mut next) / 2).expect("small");
            let buf = render(scenario, &mut app, Rect::new(0, 0, width, height));
            assert_harmless(&buf);
            if next(5) == 0 {
                scenario.wait_ms(700);
            }
            if next(40) == 0 {
                scenario.bind_fails(PORT, &process("nginx", 5_000), vec![]);
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
    let failure = scenario::down().engine.failures().last().cloned();
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

fn screens() -> Vec<(&'static str, Scenario, &'static str)> {
    let many = || {
        let mut scenario = scenario::serving().0;
        scenario.find(20_000, State::Established, None);
        scenario
    };
    let walk = || {
        let (mut scenario, server) = (scenario::serving().0, process("vite", 4_900));
        for port in 9_000..9_040 {
            scenario.bind_fails(port, &server, vec![]);
            scenario.wait_ms(10);
        }
        scenario
    };
    let lossy = || {
        let mut scenario = scenario::serving().0;
        scenario.lose(1_234, false);
        scenario
    };
    let ports = || {
        let mut scenario = Scenario::watching(vec![]);
        for (port, name) in [(22, "sshd"), (5432, "postgres"), (6379, "redis-server")] {
            scenario.listen(port, &process(name, 800 + u32::from(port)));
        }
        scenario.wait_ms(75_000);
        let nginx = process("nginx", 4711);
        let listener = scenario.listen(PORT, &nginx);
        scenario.wait_ms(5_000);
        scenario.stop_listening(listener, PORT, &nginx);
        scenario.wait_ms(4_400);
        scenario
    };
    let fallback = || {
        let mut scenario = scenario::down();
        scenario.listen(PORT + 1, &process("nginx", 4802));
        scenario.wait_ms(3_000);
        scenario
    };
    let leaking = || {
        let mut scenario = Scenario::begun();
        let listener = scenario.listen(PORT, &process("java", 812));
        let sock = scenario.accept(listener, PORT, 40_001);
        scenario.wait_ms(4_200);
        scenario.peer_closes(sock, PORT, 40_001);
        scenario.wait_ms(92_000);
        scenario
    };
    let freed = || {
        let mut scenario = scenario::down();
        scenario.wait_ms(70_000);
        scenario
    };
    vec![
        ("replay", scenario::down(), ""),
        ("replay-help", scenario::down(), "?"),
        ("replay-time", scenario::down(), "t+9"),
        ("empty", Scenario::empty(), ""),
        ("begun", Scenario::begun(), ""),
        ("listening", scenario::serving().0, ""),
        ("down", scenario::down(), ""),
        ("freed", freed(), ""),
        ("restarted", scenario::restarted(), ""),
        ("many", many(), "G"),
        ("lossy", lossy(), ""),
        ("walk", walk(), ""),
        ("ports", ports(), ""),
        ("fallback", fallback(), ""),
        ("fallback-detail", fallback(), "⇥⏎"),
        ("paused", scenario::down(), "⎵"),
        ("filtered", scenario::serving().0, "/state:est⏎"),
        ("typing", scenario::serving().0, "/port:x⏎"),
        ("help", scenario::serving().0, "?"),
        ("diagnosis", scenario::down(), "d"),
        ("socket", scenario::serving().0, "GkEnter"),
        ("socket-time-wait", scenario::down(), "Enter"),
        ("socket-close-wait", leaking(), "jEnter"),
        ("listener", scenario::serving().0, "Enter"),
        ("port", scenario::restarted(), "⇤Enter"),
        ("event", scenario::serving().0, "⇥Enter"),
        ("elsewhere", scenario::elsewhere(Some("blue")), ""),
        ("elsewhere-unnamed", scenario::elsewhere(None), ""),
        (
            "elsewhere-diagnosis",
            scenario::elsewhere(Some("blue")),
            "d",
        ),
        ("replay-elsewhere", scenario::elsewhere(Some("blue")), ""),
        ("replay-diagnosis", scenario::elsewhere(Some("blue")), "d"),
        ("restarts", scenario::serving().0, ""),
        ("restarts-down", scenario::down(), ""),
    ]
}
