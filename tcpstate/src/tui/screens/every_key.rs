//! Every key of the table, pressed once.

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::engine::Engine;
use crate::tui::app::App;
use crate::tui::input::control::Control;
use crate::tui::input::keys::{Action, BINDINGS, Key, Mode};
use crate::tui::output::screenshot::ScreenshotFormat;
use crate::tui::screens::harness::{press, type_keys};
use crate::tui::screens::{position, scenario};
use crate::tui::state::columns::Column;
use crate::tui::state::overlay::{Content, Overlay};
use crate::tui::state::panel::{Panel, Subject};
use crate::tui::state::release::{Freeing, Stage};
use crate::tui::state::view::View;
use crate::tui::theme::Theme;

fn content(app: &App) -> Option<&Content> {
    app.state.overlay.as_ref().map(|overlay| &overlay.content)
}

fn subject(app: &App) -> Option<Subject> {
    app.state.overlay.as_ref().and_then(Overlay::subject)
}

fn text(app: &App) -> Option<&str> {
    app.state.prompt.as_ref().map(|prompt| prompt.text.as_str())
}

/// The plan, then a typed `yes`; anything else is no.
fn check_release(app: &mut App, key: Key, engine: &Engine) {
    for (typed, is_yes) in [("no", false), ("", false), ("yes", true)] {
        app.state.freeing = Freeing::Idle;
        let Control::Release(request) = press(app, key, engine) else {
            panic!("it is asked for");
        };
        assert_eq!(request.port, 8080);
        assert!(matches!(content(app), Some(Content::Release)));
        assert_eq!(
            press(app, key, engine),
            Control::Continue,
            "it is looked at"
        );
        assert!(app.state.prompt.is_none());

        app.state.freeing.enter(Stage::Asking);
        assert_eq!(press(app, key, engine), Control::Continue);
        assert_eq!(app.mode(), Mode::Typing);
        type_keys(app, typed, engine);
        let enter = Key::Plain(KeyCode::Enter);
        assert_eq!(press(app, enter, engine), Control::AnswerRelease(is_yes));
    }

    app.state.freeing.enter(Stage::Asking);
    let escape = Key::Plain(KeyCode::Esc);
    assert_eq!(press(app, escape, engine), Control::AnswerRelease(false));
    assert!(content(app).is_none());
}

#[test]
fn every_key_does_what_the_help_says() {
    let scenario = scenario::down();
    let area = Rect::new(0, 0, 80, 24);
    let draw = |app: &mut App| {
        let mut buf = Buffer::empty(area);
        app.draw(&mut buf, &scenario.engine, scenario.now_ns);
    };
    for binding in BINDINGS {
        for key in binding.keys {
            let mut app = App::with_theme(Theme::Dark);
            draw(&mut app);
            if binding.mode == Mode::Replay {
                app.state.replay = Some(position());
            }
            if binding.mode == Mode::Typing {
                type_keys(&mut app, "/port:1", &scenario.engine);
            } else {
                type_keys(&mut app, "jj", &scenario.engine);
            }
            draw(&mut app);
            let control = press(&mut app, *key, &scenario.engine);
            draw(&mut app);
            let row = app.state.sockets.index();
            match binding.action {
                Action::Quit => assert_eq!(control, Control::Quit),
                Action::Suspend => assert_eq!(control, Control::Suspend),
                Action::Help => assert!(matches!(content(&app), Some(Content::Help))),
                Action::Messages => assert!(matches!(content(&app), Some(Content::Messages))),
                Action::Up => assert_eq!(row, 1),
                Action::Down => assert_eq!(row, 3),
                Action::Top | Action::PageUp => assert_eq!(row, 0),
                Action::Bottom => assert_eq!(row, 11),
                Action::PageDown => assert!(row > 3, "{row}"),
                Action::Left => assert_eq!(app.state.settings.sort.column, Column::Left),
                Action::ClearEvents => {
                    assert!(app.state.events.items.entries().is_empty());
                    press(&mut app, *key, &scenario.engine);
                    draw(&mut app);
                    assert!(!app.state.events.items.entries().is_empty());
                }
                Action::Copy => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.state.reply.expect("it is told");
                    assert!(
                        told.starts_with("copied: TIME_WAIT 10.0.0.1:8080"),
                        "{told}"
                    );
                }
                Action::CopyDiagnosis => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.state.reply.expect("it is told");
                    assert!(told.contains("more lines"), "{told}");
                }
                Action::CopyFix => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.state.reply.clone().expect("it is told");
                    press(&mut app, *key, &scenario.engine);
                    let next = app.state.reply.expect("it is told");
                    assert!(told.contains("copied: ") && told != next, "{told} {next}");
                }
                Action::Release => {
                    assert_eq!(control, Control::Continue);
                    let told = app.state.reply.clone().expect("it is told");
                    assert!(told.contains("off"), "{told}");
                    check_release(&mut app, *key, &scenario.engine);
                }
                Action::Export => {
                    let Control::Save(save) = control else {
                        panic!("{control:?}");
                    };
                    assert!(save.stem.contains("socket-8080-"), "{}", save.stem);
                    assert!(save.content.starts_with(b"{\"event\":\"header\""));
                }
                Action::ScreenshotText => {
                    assert_eq!(control, Control::Screenshot(ScreenshotFormat::Text));
                }
                Action::ScreenshotSvg => {
                    assert_eq!(control, Control::Screenshot(ScreenshotFormat::Svg));
                }
                Action::Columns => {
                    assert!(matches!(content(&app), Some(Content::Columns { .. })));
                    type_keys(&mut app, "jEnterll", &scenario.engine);
                    assert!(!app.state.settings.columns.contains(&Column::Local));
                }
                Action::Themes => {
                    assert!(matches!(content(&app), Some(Content::Themes { .. })));
                    type_keys(&mut app, "jjEnter", &scenario.engine);
                    assert_eq!(app.state.settings.theme, Theme::HighContrast);
                }
                Action::Mouse => assert_eq!(control, Control::Mouse(true)),
                Action::Right | Action::Sort => {
                    assert_eq!(app.state.settings.sort.column, Column::Local);
                }
                Action::Reverse => assert!(app.state.settings.sort.is_reversed),
                Action::NextPanel => assert_eq!(app.state.focus, Panel::Events),
                Action::PreviousPanel => assert_eq!(app.state.focus, Panel::Banner),
                Action::Open => {
                    assert!(matches!(subject(&app), Some(Subject::Socket(_))));
                }
                Action::Close => assert!(app.state.overlay.is_none()),
                Action::Pause => assert!(app.feed.is_frozen()),
                Action::AskTime => {
                    type_keys(&mut app, "50%Enter", &scenario.engine);
                    assert_eq!(app.mode(), Mode::Browse, "it was taken");
                    assert_eq!(app.state.focus, Panel::Events);
                }
                Action::Filter | Action::Type(_) => assert_eq!(app.mode(), Mode::Typing),
                Action::Diagnosis => {
                    assert!(matches!(subject(&app), Some(Subject::Failure(_))));
                    press(&mut app, *key, &scenario.engine);
                    assert!(app.state.overlay.is_none());
                }
                Action::Clear => {
                    let view = View::live(&scenario.engine, scenario.now_ns);
                    assert!(app.state.banner.open(&view).is_empty());
                    type_keys(&mut app, "d", &scenario.engine);
                    assert!(!app.state.banner.open(&view).is_empty());
                }
                Action::Replay(wish) => assert_eq!(control, Control::Replay(wish)),
                Action::Accept => assert_eq!(app.state.filter.text(), "port:1"),
                Action::Cancel => {
                    assert_eq!(app.mode(), Mode::Browse);
                    assert!(app.state.filter.is_empty());
                }
                Action::Erase => assert_eq!(text(&app), Some("port:")),
                Action::EraseAll => assert_eq!(text(&app), Some("")),
            }
        }
    }
}
