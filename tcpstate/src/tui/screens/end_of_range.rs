//! Recordings whose times are at the end of the range: nothing that is computed
//! from a time overflows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::harness::{assert_harmless, type_keys};
use super::scenario::{self, PORT, Scenario, process};
use crate::engine::{Engine, Limits};
use crate::event::{Body, Event};
use crate::export::describe::Context;
use crate::export::{json, text};
use crate::model::PortKey;
use crate::recording::reader::Reader;
use crate::report::{Builder, Reading, html, markdown};
use crate::tui::app::App;
use crate::tui::theme::Theme;

/// Keys that show every kind of screen.
const KEYS: [&str; 10] = ["", "⎵", "?", "d", "⏎", "⇥⏎", "⇤⏎", "⇤⇤⏎", "t+9h⏎", "t50%⏎"];

/// What a recording's clock is tied to.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    /// As far on as the events are.
    Moved,
    /// At the beginning of the range.
    Kept,
}

/// Recordings of several stories, the last event of which is as late as can be.
pub(crate) fn recordings() -> Vec<Vec<u8>> {
    let mut fallback = scenario::down();
    fallback.listen(PORT + 1, &process("nginx", 4802));
    let stories = [
        scenario::serving().0,
        scenario::down(),
        scenario::restarted(),
        scenario::elsewhere(Some("blue")),
        fallback,
    ];
    let both = [Anchor::Moved, Anchor::Kept];
    let of_each = |scenario: &Scenario| both.map(|anchor| recording(scenario, anchor));
    stories.iter().flat_map(of_each).collect()
}

fn recording(scenario: &Scenario, anchor: Anchor) -> Vec<u8> {
    let by_ns = u64::MAX - scenario.engine.now_ns();
    let mut clock = scenario.engine.header().expect("it has begun").clock;
    if matches!(anchor, Anchor::Moved) {
        clock.mono_ns += by_ns;
    }
    let mut lines = Vec::new();
    for event in scenario.engine.log().iter() {
        let mut event = Event {
            mono_ns: event.mono_ns + by_ns,
            ..event.clone()
        };
        if let Body::Header(header) = &mut event.body {
            header.clock = clock;
        }
        json::write_line(&event, clock, &mut lines).expect("an event is JSON");
    }
    lines
}

fn events(recording: &[u8]) -> impl Iterator<Item = Event> {
    Reader::new(recording).map(|event| event.expect("it was written by us"))
}

fn replayed(recording: &[u8]) -> Engine {
    let mut engine = Engine::new(Limits::default());
    for event in events(recording) {
        engine.observe(event.mono_ns, event.body);
    }
    assert_eq!(engine.now_ns(), u64::MAX);
    engine
}

#[test]
fn every_screen_is_drawn() {
    for recording in recordings() {
        let engine = replayed(&recording);
        for (width, height) in [(80, 24), (120, 40), (200, 60)] {
            for keys in KEYS {
                let mut app = App::with_theme(Theme::Dark);
                let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
                for now_ns in [0, u64::MAX - 1, u64::MAX] {
                    app.draw(&mut buf, &engine, now_ns);
                }
                type_keys(&mut app, keys, &engine);
                app.draw(&mut buf, &engine, u64::MAX);
                assert_harmless(&buf);
            }
        }
    }
}

#[test]
fn the_text_has_every_event() {
    for recording in recordings() {
        let engine = replayed(&recording);
        let header = engine.header().expect("it was replayed");
        let context = Context::of(header);
        for event in engine.log().iter() {
            let mut line = String::new();
            text::write_event(event, &context, &mut line);
            assert!(!line.is_empty() || matches!(event.body, Body::Tick(_)));
        }
    }
}

#[test]
fn the_report_is_built_and_rendered() {
    for recording in recordings() {
        let mut builder = Builder::default();
        for event in events(&recording) {
            builder.observe(event.mono_ns, event.body);
        }
        let report = builder.finish(Reading::default()).expect("it has events");

        assert!(html::render(&report).contains("8080"));
        assert!(markdown::render(&report).contains("8080"));
        serde_json::to_string(&report).expect("a report is JSON");
    }
}

/// A port that went down at the end of the range is on the lane like any other.
#[test]
fn a_downtime_at_the_end_is_shown() {
    let recording = recording(&scenario::down(), Anchor::Moved);
    let engine = replayed(&recording);
    let key = PortKey {
        port: PORT,
        netns: scenario::NETNS,
    };
    assert!(engine.ports().get(&key).is_some());

    let mut app = App::with_theme(Theme::Dark);
    let mut buf = Buffer::empty(Rect::new(0, 0, 120, 40));
    app.draw(&mut buf, &engine, u64::MAX);

    let text = super::harness::text_of(&buf);
    assert!(text.contains(":8080 DOWN") && text.contains('╌'), "{text}");
}
