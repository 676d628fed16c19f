//! Draws a scenario into text and types keys.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use expect_test::expect_file;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::engine::{Engine, Failure};
use crate::event::{Body, Diagnosis, Event};
use crate::model::EventLog;
use crate::tui::app::App;
use crate::tui::draw;
use crate::tui::input::control::Control;
use crate::tui::input::keys::Key;
use crate::tui::screens::scenario::{self, Scenario};

/// Draws as the real thing does, but with the scenario's diagnosis in place of the
/// computed one: a screen shows a diagnosis, it does not make it.
pub(crate) fn render(scenario: &Scenario, app: &mut App, area: Rect) -> Buffer {
    render_with(scenario, app, area, &|diagnosis| diagnosis)
}

/// The same with another diagnosis.
pub(crate) fn render_with(
    scenario: &Scenario,
    app: &mut App,
    area: Rect,
    change: &dyn Fn(Diagnosis) -> Diagnosis,
) -> Buffer {
    let mut buf = Buffer::empty(area);
    app.begin_frame(&scenario.engine, scenario.now_ns);
    let mut view = app.feed.view(&scenario.engine);
    let behind = app.feed.behind(&scenario.engine);
    for failure in &mut view.failures {
        let diagnosis = change(scenario::diagnosis(failure.seq, &failure.call));
        failure.diagnosis = Arc::new(diagnosis);
    }
    view.log = Cow::Owned(log_with(&view.log, &view.failures));
    draw::draw(&mut buf, area, &view, &mut app.state, &app.keys, behind);
    buf
}

fn log_with(log: &EventLog, failures: &[Failure]) -> EventLog {
    let mut changed = EventLog::new(1 << 16);
    for event in log.iter() {
        let body = match &event.body {
            Body::Diagnosis(diagnosis) => failures
                .iter()
                .find(|failure| failure.seq == diagnosis.of)
                .map_or_else(
                    || event.body.clone(),
                    |failure| Body::Diagnosis(Box::new((*failure.diagnosis).clone())),
                ),
            body => body.clone(),
        };
        changed.push(Event {
            body,
            ..event.clone()
        });
    }
    changed
}

pub(crate) fn assert_harmless(buf: &Buffer) {
    for cell in &buf.content {
        let symbol = cell.symbol();
        assert!(
            !symbol.chars().any(char::is_control) && symbol.len() < 64,
            "{symbol:?}"
        );
        assert!(!symbol.contains(['\u{202e}', '\u{200b}', '\u{2066}']));
    }
}

/// One line per row, without the blanks at the end.
pub(crate) fn text_of(buf: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buf.area.height {
        let mut line = String::new();
        for x in 0..buf.area.width {
            line.push_str(buf[(x, y)].symbol());
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Types keys as a test writes them: `⏎` and `Enter`, `⎵` for space, `⇥` and `⇤`
/// for the panels, letters.
pub(crate) fn type_keys(app: &mut App, keys: &str, engine: &Engine) {
    let keys = keys.replace("Enter", "⏎");
    for letter in keys.chars() {
        let code = match letter {
            '⏎' => KeyCode::Enter,
            '⎵' => KeyCode::Char(' '),
            '⇥' => KeyCode::Tab,
            '⇤' => KeyCode::BackTab,
            letter => KeyCode::Char(letter),
        };
        app.press(KeyEvent::from(code), engine);
    }
}

pub(crate) fn press(app: &mut App, key: Key, engine: &Engine) -> Control {
    match key {
        Key::Plain(code) => app.press(KeyEvent::from(code), engine),
        Key::Ctrl(letter) => {
            let code = KeyCode::Char(letter);
            app.press(KeyEvent::new(code, KeyModifiers::CONTROL), engine)
        }
        Key::Twice(letter) => {
            app.press(KeyEvent::from(KeyCode::Char(letter)), engine);
            app.press(KeyEvent::from(KeyCode::Char(letter)), engine)
        }
    }
}

/// Where the screens are as text.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/screens")
}

/// The text is that of the file with this name.
pub(crate) fn assert_screen(name: &str, text: &str) {
    expect_file![folder().join(format!("{name}.txt"))].assert_eq(text);
}
