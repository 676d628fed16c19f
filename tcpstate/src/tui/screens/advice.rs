//! Which fix the banner shows and `f` copies, and what is said with it.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{Applies, Body, Diagnosis, Effect, Fix};
use crate::tui::app::App;
use crate::tui::input::control::Control;
use crate::tui::input::keys::Action;
use crate::tui::output::clipboard::ClipboardText;
use crate::tui::output::copy_text;
use crate::tui::screens::harness::text_of;
use crate::tui::screens::scenario::{self, PORT, Scenario, process};
use crate::tui::state::event_list::MAX_ENTRIES;
use crate::tui::state::feed::Feed;
use crate::tui::state::panel::Subject;
use crate::tui::state::rows::MAX_ROWS;
use crate::tui::state::view::View;
use crate::tui::theme::Theme;

const ENDS: Option<Effect> = Some(Effect::Destroys);
const CHANGES: Option<Effect> = Some(Effect::Changes);
const READS: Option<Effect> = Some(Effect::Reads);

fn fix(text: &str, command: Option<(&str, Option<Effect>)>, applies: Applies) -> Fix {
    Fix {
        id: "x".into(),
        text: text.to_owned(),
        command: command.map(|(command, _)| command.to_owned()),
        language: None,
        effect: command.and_then(|(_, effect)| effect),
        applies,
        why: None,
    }
}

/// A dashboard over the scenario, frozen with these fixes in place of its own.
fn advising(scenario: &Scenario, fixes: &[Fix]) -> App {
    let mut app = App::with_theme(Theme::Dark);
    app.begin_frame(&scenario.engine, scenario.now_ns);
    let mut view = View::live(&scenario.engine, scenario.now_ns);
    for failure in &mut view.failures {
        failure.diagnosis = Arc::new(Diagnosis {
            fixes: fixes.to_vec(),
            ..(*failure.diagnosis).clone()
        });
    }
    app.feed = Feed::frozen_at(view.frozen(&[], MAX_ROWS, MAX_ENTRIES));
    app
}

fn draw(app: &mut App, scenario: &Scenario, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    app.draw(&mut buf, &scenario.engine, scenario.now_ns);
    text_of(&buf)
}

/// What stands in the banner beside this label.
fn beside(screen: &str, label: &str) -> Option<String> {
    let start = format!("┃ {label:7} ");
    let line = screen.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.trim_end_matches('┃').trim_end().to_owned())
}

/// What `f` copies, and what the last line then says.
fn press_f(app: &mut App, scenario: &Scenario) -> (Control, String) {
    let control = app.act(Action::CopyFix, &scenario.engine);
    (control, app.state.reply.clone().unwrap_or_default())
}

fn copies(text: &str) -> Control {
    Control::Copy(ClipboardText::new(text))
}

/// The listener can be stopped, or looked at.
fn stop_or_look() -> [Fix; 4] {
    [
        fix(
            "Stop it",
            Some(("systemctl stop nginx", ENDS)),
            Applies::Now,
        ),
        fix("Take another port", None, Applies::Now),
        fix("Look first", Some(("ps  -p 4711", READS)), Applies::Now),
        fix(
            "Share it",
            Some(("sysctl -w a=1", CHANGES)),
            Applies::NextTime,
        ),
    ]
}

#[test]
fn what_the_banner_shows_is_what_the_key_copies_first() {
    for scenario in [scenario::down(), scenario::elsewhere(Some("blue"))] {
        let mut app = advising(&scenario, &stop_or_look());
        let screen = draw(&mut app, &scenario, 120, 40);

        assert_eq!(beside(&screen, "fix").as_deref(), Some("Look first"));
        assert_eq!(beside(&screen, "f copy").as_deref(), Some("ps  -p 4711"));
        assert_eq!(beside(&screen, "or").as_deref(), Some("Stop it"));
        assert!(!screen.contains("systemctl"), "{screen}");
        assert_eq!(press_f(&mut app, &scenario).0, copies("ps  -p 4711"));
    }
}

/// The same with what the engine itself advises.
#[test]
fn the_engines_own_first_fix_is_shown_and_copied() {
    let mut scenarios = [
        scenario::down(),
        scenario::elsewhere(None),
        Scenario::empty(),
    ];
    let mut here = scenario::header(vec![]);
    here.netns = Some(scenario::NETNS);
    scenarios[2].observe(Body::Header(Box::new(here)));
    scenarios[2].listen(PORT, &process("nginx", 4711));
    scenarios[2].bind_fails(PORT + 1, &process("nginx", 4802), vec![]);
    for scenario in scenarios {
        let mut app = App::with_theme(Theme::Dark);
        let screen = draw(&mut app, &scenario, 200, 60);

        let (control, answer) = press_f(&mut app, &scenario);

        let shown = beside(&screen, "f copy").expect("it has a command");
        assert_eq!(control, copies(&shown), "{answer}");
    }
}

#[test]
fn the_key_says_what_a_command_does_before_it_is_pasted() {
    let scenario = scenario::down();
    let mut app = advising(&scenario, &stop_or_look());

    let told: Vec<String> = (0..5).map(|_| press_f(&mut app, &scenario).1).collect();

    assert_eq!(
        told,
        [
            "fix 1 of 4 copied: ps  -p 4711",
            "fix 2 of 4 copied: Take another port",
            "fix 3 of 4 copied: it changes settings of the system: sysctl -w a=1",
            "fix 4 of 4 copied: it ends connections or processes, read it before you run it: \
             systemctl stop nginx",
            "fix 1 of 4 copied: ps  -p 4711",
        ]
    );
}

#[test]
fn what_ends_something_is_shown_only_where_nothing_else_is_and_says_so() {
    let scenario = scenario::down();
    let mut app = advising(&scenario, &stop_or_look()[..1]);
    let screen = draw(&mut app, &scenario, 80, 24);

    assert_eq!(
        beside(&screen, "fix").as_deref(),
        Some("This ends connections or processes: Stop it"),
        "{screen}"
    );
    let shown = beside(&screen, "f copy");
    assert_eq!(shown.as_deref(), Some("systemctl stop nginx"));
    assert_eq!(beside(&screen, "or"), None);
}

#[test]
fn of_another_problem_the_first_fix_comes_first_again() {
    let mut scenario = scenario::down();
    scenario.bind_fails(PORT + 1, &process("nginx", 4802), vec![]);
    let mut app = advising(&scenario, &stop_or_look());

    press_f(&mut app, &scenario);
    press_f(&mut app, &scenario);
    app.act(Action::NextPanel, &scenario.engine);
    app.act(Action::NextPanel, &scenario.engine);
    app.act(Action::NextPanel, &scenario.engine);
    app.act(Action::Right, &scenario.engine);

    assert_eq!(press_f(&mut app, &scenario).0, copies("ps  -p 4711"));
}

#[test]
fn a_command_of_a_replay_is_of_then_and_of_its_host() {
    let scenario = scenario::elsewhere(Some("blue"));
    let mut app = advising(&scenario, &stop_or_look());
    app.state.replay = Some(super::position());

    let screen = draw(&mut app, &scenario, 120, 40);
    let (_, first) = press_f(&mut app, &scenario);
    let told: Vec<String> = (0..3).map(|_| press_f(&mut app, &scenario).1).collect();
    app.act(Action::Diagnosis, &scenario.engine);
    let detail = draw(&mut app, &scenario, 120, 40);

    let then = "as of 11:06:46 on host web1";
    assert_eq!(
        beside(&screen, "as of").as_deref(),
        Some(
            "11:06:46 on host web1, in netns blue, in docker container 0123456789ab: \
             look again before you run it"
        ),
        "{screen}"
    );
    assert_eq!(
        first,
        format!("fix 1 of 4 copied, {then}: look again before you run it: ps  -p 4711")
    );
    assert_eq!(
        told[0],
        format!("fix 2 of 4 copied, {then}: Take another port")
    );
    assert_eq!(
        told[2],
        format!(
            "fix 4 of 4 copied: it ends connections or processes, {then}, look again before you \
             run it: systemctl stop nginx"
        )
    );
    assert!(detail.contains(&format!("what to do, {then}")), "{detail}");
    assert!(detail.contains("Look again before you run"), "{detail}");
}

#[test]
fn where_there_is_less_room_the_advice_of_a_replay_is_shorter() {
    let mut scenario = Scenario::empty();
    let mut header = scenario::header(vec![]);
    header.netns = Some(1);
    scenario.observe(Body::Header(Box::new(header)));
    scenario.bind_fails(PORT, &process("nginx", 4802), vec![]);
    let mut app = advising(&scenario, &stop_or_look());
    app.state.replay = Some(super::position());

    for (width, advice) in [(90, "before you run it"), (80, "first")] {
        let screen = draw(&mut app, &scenario, width, 24);
        let told = format!("11:06:40 on host web1, in netns 4026531992: look again {advice}");
        assert_eq!(beside(&screen, "as of").as_deref(), Some(told.as_str()));
    }
}

#[test]
fn a_diagnosis_that_is_copied_from_a_replay_says_so() {
    let scenario = scenario::elsewhere(None);
    let view = View::live(&scenario.engine, scenario.now_ns);
    let seq = view.failures.last().expect("a call failed").seq;
    let words = copy_text::describe(&view, Subject::Failure(seq)).expect("it is kept");
    let mut app = App::with_theme(Theme::Dark);
    draw(&mut app, &scenario, 80, 24);

    let live = app.act(Action::CopyDiagnosis, &scenario.engine);
    app.state.replay = Some(super::position());
    let of_then = app.act(Action::CopyDiagnosis, &scenario.engine);

    assert!(words.contains("where      in netns 4026531992"), "{words}");
    assert_eq!(live, copies(&words));
    let note =
        "\nFrom a recording, as of 11:06:46 on host web1: look again before you run a command";
    assert_eq!(of_then, copies(&(words + note)));
}

#[test]
fn the_detail_says_above_a_command_what_it_does() {
    let scenario = scenario::down();
    let mut app = advising(&scenario, &stop_or_look());
    app.act(Action::Diagnosis, &scenario.engine);
    let detail = draw(&mut app, &scenario, 120, 60);

    let lines: Vec<&str> = detail.lines().map(str::trim_end).collect();
    let above = |command: &str| {
        let at = lines.iter().position(|line| line.contains(command));
        lines[at.expect("it is shown") - 1]
    };
    assert!(above("systemctl stop nginx").contains("this ends connections or processes:"));
    assert!(above("sysctl -w a=1").contains("this changes settings of the system:"));
    assert!(above("ps -p 4711").contains("Look first"), "{detail}");
}

#[test]
fn a_namespace_is_named_wherever_the_command_is_shown() {
    for (name, told) in [
        (Some("blue"), "in netns blue"),
        (None, "in netns 4026531992"),
        (
            Some("a-very-long-name-that-somebody-once-chose-for-it"),
            "in netns a-very-long-name-th…",
        ),
    ] {
        let scenario = scenario::elsewhere(name);
        for (width, height) in [(72, 20), (80, 24), (120, 40)] {
            for is_replay in [false, true] {
                let mut app = advising(&scenario, &stop_or_look());
                app.state.replay = is_replay.then(super::position);

                let screen = draw(&mut app, &scenario, width, height);

                let label = if is_replay { "as of" } else { "where" };
                let place = beside(&screen, label).unwrap_or_default();
                assert!(place.contains(told), "{width}×{height}\n{screen}");
                assert!(beside(&screen, "f copy").is_some(), "{screen}");
            }
        }
    }
}
