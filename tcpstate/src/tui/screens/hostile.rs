//! Names that processes and strangers' recordings chose, on every screen.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{Body, Diagnosis, Footer, Process};
use crate::tui::app::App;
use crate::tui::screens::harness::{assert_harmless, render_with, text_of, type_keys};
use crate::tui::screens::scenario::{self, PORT, Scenario, process};
use crate::tui::theme::Theme;

const SIZES: [(u16, u16); 4] = [(72, 20), (80, 24), (120, 40), (200, 60)];

/// Every screen: the dashboard with each panel chosen, what each opens, and what
/// leads on from there.
const SCREENS: [&str; 13] = [
    "",
    "⇥",
    "⇤",
    "⎵",
    "?",
    "n",
    "d",
    "d⇥⏎",
    "d⇥⏎⇥⏎",
    "⏎",
    "⇥⏎",
    "⇤⇤⏎",
    "/x",
];

fn names() -> Vec<String> {
    [
        "\x1b[2J\x1b[Hgone",
        "\x1b]0;title\x07",
        "\x1b]52;c;cm0gLXJmIC8=\x07",
        "a\nb\r\nc\td",
        "\n LISTEN    0.0.0.0:22",
        "\u{9b}31mred",
        "\u{85}\u{2028}\u{2029}",
        "abc\u{202e}cba",
        "\u{200b}\u{feff}\u{2066}",
        "\u{e0041}\u{ad}\u{180e}\u{115f}\u{3164}",
        "服务器服务器服务器服务器",
        "ｗｉｄｅ",
        "é\u{301}e\u{301}\u{20dd}",
        "👩‍👩‍👧‍👦👍🏽🇩🇪☺️",
        "│ ┃ ╮ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓",
        "a                                                                        b",
        "",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        "x".repeat(10_000),
        "好".repeat(10_000),
        format!("a{}", "\u{301}".repeat(10_000)),
    ])
    .collect()
}

#[test]
fn hostile_names_neither_steer_the_terminal_nor_break_the_layout() {
    for (width, height) in SIZES {
        let area = Rect::new(0, 0, width, height);
        for keys in SCREENS {
            let calm = draw("nginx", keys, area);
            for name in names() {
                let case = format!("{name:.40?} {keys} {width}×{height}");
                let buf = draw(&name, keys, area);
                assert_harmless(&buf);
                assert_boxes_are_whole(&buf, &case);
                // Spelled out, not dropped: who reads it is to see what it is.
                if keys.is_empty() && width >= 120 && name.contains(char::is_control) {
                    assert!(text_of(&buf).contains("\\u{"), "{case}\n{}", text_of(&buf));
                }
                assert_eq!(marks(&buf), marks(&calm), "{case}\n{}", text_of(&buf));
            }
        }
    }
}

#[test]
fn a_hostile_recording_can_neither_steer_the_terminal_nor_fake_a_row() {
    for name in names() {
        let change = |diagnosis: Diagnosis| Diagnosis {
            summary: name.clone(),
            missing: vec![name.clone(); 3],
            fixes: diagnosis
                .fixes
                .into_iter()
                .map(|fix| crate::event::Fix {
                    text: name.clone(),
                    command: Some(name.clone()),
                    why: Some(name.clone()),
                    ..fix
                })
                .collect(),
            ..diagnosis
        };
        let mut scenario = shown_by(&name);
        scenario.observe(Body::Footer(Box::new(Footer {
            ended: name.clone(),
            ..Footer::default()
        })));
        for (width, height) in SIZES {
            let area = Rect::new(0, 0, width, height);
            for (at, keys) in SCREENS.iter().enumerate() {
                let mut app = App::with_theme(Theme::Dark);
                // Of a replay, other things are said besides.
                app.state.replay = (at % 2 == 0).then(super::position);
                app.state.messages.push(name.clone());
                render_with(&scenario, &mut app, area, &change);
                type_keys(&mut app, keys, &scenario.engine);
                let buf = render_with(&scenario, &mut app, area, &change);
                assert_harmless(&buf);
                assert_boxes_are_whole(&buf, &format!("{name:.40?} {keys} {width}×{height}"));
            }
        }
    }
}

/// A scenario in which every process has this name and everything else that it can
/// choose.
fn shown_by(name: &str) -> Scenario {
    let mut scenario = Scenario::empty();
    let mut header = scenario::header(vec![[PORT, PORT]]);
    header.host = name.to_owned();
    header.argv = vec![name.to_owned()];
    header.kernel = name.to_owned();
    header.netns = Some(1);
    scenario.observe(Body::Header(Box::new(header)));
    let hostile = Arc::new(Process {
        comm: name.into(),
        exe: Some(name.into()),
        argv: Some([name.to_owned()].into()),
        cgroup: Some(name.into()),
        container: Some(name.into()),
        runtime: Some(name.into()),
        ..(*process("x", 1)).clone()
    });
    let listener = scenario.listen(PORT, &hostile);
    let sock = scenario.accept(listener, PORT, 40_001);
    scenario.close_first(sock, PORT, 40_001, &hostile);
    scenario.reset(sock, PORT, 40_001, &hostile);
    scenario.stop_listening(listener, PORT, &hostile);
    let held = scenario.held_by_time_wait(PORT);
    scenario.netns_name = Some(name.into());
    scenario.bind_fails(PORT, &hostile, held);
    scenario
}

fn draw(name: &str, keys: &str, area: Rect) -> Buffer {
    let scenario = shown_by(name);
    let mut app = App::with_theme(Theme::Dark);
    render_with(&scenario, &mut app, area, &|diagnosis| diagnosis);
    type_keys(&mut app, keys, &scenario.engine);
    render_with(&scenario, &mut app, area, &|diagnosis| diagnosis)
}

/// The dashboard's left edge: titles, cursors and boxes, one sign per row. A name
/// that could fake a row, or push one away, would change it.
fn marks(buf: &Buffer) -> Vec<String> {
    let rules = ["━", "─", "┃", "┏", "┗", "▸", " "];
    let is_open = text_of(buf).contains('╭');
    let rows = if is_open { 0 } else { buf.area.height };
    (0..rows)
        .map(|y| buf[(0, y)].symbol().to_owned())
        .map(|symbol| {
            if rules.contains(&symbol.as_str()) {
                symbol
            } else {
                "other".to_owned()
            }
        })
        .collect()
}

/// Every box that is opened has both of its sides in every row, and is closed.
fn assert_boxes_are_whole(buf: &Buffer, case: &str) {
    for (corners, side) in [(["╭", "╮", "╰", "╯"], "│"), (["┏", "┓", "┗", "┛"], "┃")]
    {
        let [top_left, top_right, bottom_left, bottom_right] = corners;
        let at = |x: u16, y: u16| buf[(x, y)].symbol();
        let right = buf.area.width - 1;
        // A detail lies over the banner's box.
        if side == "┃" && text_of(buf).contains('╭') {
            continue;
        }
        for y in 0..buf.area.height {
            let Some(left) = (0..=right).find(|x| at(*x, y) == top_left) else {
                continue;
            };
            let last = (0..=right).rev().find(|x| at(*x, y) == top_right);
            let last = last.unwrap_or_else(|| panic!("{case}: no {top_right} in row {y}"));
            let end = (y + 1..buf.area.height)
                .find(|below| at(left, *below) != side)
                .unwrap_or_else(|| panic!("{case}: the box of row {y} has no end"));
            let corners = (at(left, end), at(last, end));
            assert_eq!(
                corners,
                (bottom_left, bottom_right),
                "{case}\n{}",
                text_of(buf)
            );
            for inner in y + 1..end {
                assert_eq!(
                    at(last, inner),
                    side,
                    "{case}, row {inner}\n{}",
                    text_of(buf)
                );
            }
        }
    }
}
