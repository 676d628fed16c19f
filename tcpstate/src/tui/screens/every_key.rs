//! Every key of the table, pressed once.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::app::{App, Control, Overlay, Panel, Shot, Subject};
use crate::tui::input::keys::{Action, BINDINGS, Mode};
use crate::tui::screens::harness::{press, type_keys};
use crate::tui::screens::{position, story};
use crate::tui::state::rows::Column;
use crate::tui::state::view::View;
use crate::tui::theme::Theme;

#[test]
fn every_key_does_what_the_help_says() {
    let story = story::down();
    let area = Rect::new(0, 0, 80, 24);
    let draw = |app: &mut App| {
        let mut buf = Buffer::empty(area);
        crate::tui::draw::draw(&mut buf, area, &story.engine, app, story.now_ns);
    };
    for binding in BINDINGS {
        for key in binding.keys {
            let mut app = App::new(Theme::Dark);
            draw(&mut app);
            if binding.mode == Mode::Replay {
                app.position = Some(position());
            }
            if binding.mode == Mode::Typing {
                type_keys(&mut app, "/port:1", &story.engine);
            } else {
                type_keys(&mut app, "jj", &story.engine);
            }
            draw(&mut app);
            let control = press(&mut app, *key, &story.engine);
            draw(&mut app);
            let row = app.socket.index();
            match binding.action {
                Action::Quit => assert_eq!(control, Control::Quit),
                Action::Suspend => assert_eq!(control, Control::Suspend),
                Action::Help => assert_eq!(app.overlay(), Overlay::Help),
                Action::Notes => assert_eq!(app.overlay(), Overlay::Notes),
                Action::Up => assert_eq!(row, 1),
                Action::Down => assert_eq!(row, 3),
                Action::Top | Action::PageUp => assert_eq!(row, 0),
                Action::Bottom => assert_eq!(row, 11),
                Action::PageDown => assert!(row > 3, "{row}"),
                Action::Left => assert_eq!(app.sort().column, Column::Left),
                Action::ClearEvents => {
                    assert!(app.stream.lines().is_empty());
                    press(&mut app, *key, &story.engine);
                    draw(&mut app);
                    assert!(!app.stream.lines().is_empty());
                }
                Action::Copy => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.answer.expect("it is told");
                    assert!(
                        told.starts_with("copied: TIME_WAIT 10.0.0.1:8080"),
                        "{told}"
                    );
                }
                Action::CopyDiagnosis => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.answer.expect("it is told");
                    assert!(told.contains("more lines"), "{told}");
                }
                Action::CopyFix => {
                    assert!(matches!(control, Control::Copy(_)));
                    let told = app.answer.clone().expect("it is told");
                    press(&mut app, *key, &story.engine);
                    let next = app.answer.expect("it is told");
                    assert!(told.contains("copied: ") && told != next, "{told} {next}");
                }
                Action::Export => {
                    let Control::Save(save) = control else {
                        panic!("{control:?}");
                    };
                    assert!(save.stem.contains("socket-8080-"), "{}", save.stem);
                    assert!(save.content.starts_with(b"{\"event\":\"header\""));
                }
                Action::ShotText => assert_eq!(control, Control::Shot(Shot::Text)),
                Action::ShotSvg => assert_eq!(control, Control::Shot(Shot::Svg)),
                Action::Columns => {
                    assert_eq!(app.overlay(), Overlay::Columns);
                    type_keys(&mut app, "jEnterll", &story.engine);
                    assert!(!app.columns.contains(&Column::Local));
                }
                Action::Themes => {
                    assert_eq!(app.overlay(), Overlay::Themes);
                    type_keys(&mut app, "jjEnter", &story.engine);
                    assert_eq!(app.theme, Theme::HighContrast);
                }
                Action::Mouse => assert_eq!(control, Control::Mouse(true)),
                Action::Right | Action::Sort => assert_eq!(app.sort().column, Column::Local),
                Action::Reverse => assert!(app.sort().is_reversed),
                Action::NextPanel => assert_eq!(app.focus(), Panel::Stream),
                Action::PreviousPanel => assert_eq!(app.focus(), Panel::Banner),
                Action::Open => {
                    assert!(matches!(app.overlay(), Overlay::Detail(Subject::Socket(_))));
                }
                Action::Close => assert_eq!(app.overlay(), Overlay::None),
                Action::Pause => assert!(app.is_paused()),
                Action::AskTime => {
                    type_keys(&mut app, "50%Enter", &story.engine);
                    assert_eq!(app.mode(), Mode::Browse, "it was taken");
                    assert_eq!(app.focus(), Panel::Stream);
                }
                Action::Filter | Action::Type(_) => assert_eq!(app.mode(), Mode::Typing),
                Action::Diagnosis => {
                    assert!(matches!(
                        app.overlay(),
                        Overlay::Detail(Subject::Failure(_))
                    ));
                    press(&mut app, *key, &story.engine);
                    assert_eq!(app.overlay(), Overlay::None);
                }
                Action::Clear => {
                    let view = View::live(&story.engine, story.now_ns);
                    assert!(app.banner(&view).is_empty());
                    type_keys(&mut app, "d", &story.engine);
                    assert!(!app.banner(&view).is_empty());
                }
                Action::Replay(wish) => assert_eq!(control, Control::Replay(wish)),
                Action::Accept => assert_eq!(app.filter().text(), "port:1"),
                Action::Cancel => {
                    assert_eq!(app.mode(), Mode::Browse);
                    assert!(app.filter().is_empty());
                }
                Action::Erase => assert_eq!(app.draft.as_deref(), Some("port:")),
                Action::EraseAll => assert_eq!(app.draft.as_deref(), Some("")),
            }
        }
    }
}
