//! Every screen in every state that the program can be in, one file per state
//! and size.

use std::fmt::Write as _;

use ratatui::layout::Rect;

use crate::event::State;
use crate::tui::app::App;
use crate::tui::screens::SIZES;
use crate::tui::screens::harness::{assert_screen, folder, render, text_of, type_keys};
use crate::tui::screens::scenario::{self, Scenario};
use crate::tui::theme::Theme;

/// Each screen and the keys that lead to it.
const SCREENS: [(&str, &str); 7] = [
    ("dashboard", ""),
    ("help", "?"),
    ("messages", "n"),
    ("diagnosis", "d"),
    ("socket", "Enter"),
    ("port", "⇤Enter"),
    ("event", "⇥Enter"),
];

/// More than one frame can go through.
const MANY: u32 = 45_000;

fn states() -> Vec<(&'static str, Scenario)> {
    let mut lossy = scenario::down();
    lossy.lose(1_234, false);
    let mut huge = scenario::down();
    huge.find(MANY, State::TimeWait, None);
    vec![
        ("live", scenario::serving().0),
        ("paused", scenario::down()),
        ("lossy", lossy),
        ("empty", Scenario::empty()),
        ("failing", scenario::down()),
        ("huge", huge),
    ]
}

#[test]
fn every_screen_looks_as_it_did_in_every_state() {
    for (state, mut scenario) in states() {
        for (width, height) in SIZES {
            let area = Rect::new(0, 0, width, height);
            let mut screens = String::new();
            for (screen, keys) in SCREENS {
                let mut app = App::with_theme(Theme::Mono);
                app.state.messages.push("nginx is told to stop".to_owned());
                render(&scenario, &mut app, area);
                if state == "paused" {
                    type_keys(&mut app, "⎵", &scenario.engine);
                    scenario.find(1, State::Established, None);
                }
                type_keys(&mut app, keys, &scenario.engine);
                let mut buf = render(&scenario, &mut app, area);
                while app.state.sockets.items.is_unfinished() {
                    buf = render(&scenario, &mut app, area);
                }
                let _ = writeln!(screens, "══ {state}, {screen}\n{}", text_of(&buf));
            }
            assert_screen(&format!("states/{state}-{width}x{height}"), &screens);
        }
    }
}

#[test]
fn no_screen_of_a_state_is_left_over() {
    let of_size = |(state, _): &(&str, Scenario)| {
        SIZES.map(|(width, height)| format!("{state}-{width}x{height}.txt"))
    };
    let names: Vec<String> = states().iter().flat_map(of_size).collect();

    support::assert_no_file_but(&folder().join("states"), &names);
}
