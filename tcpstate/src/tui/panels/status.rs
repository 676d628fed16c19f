//! The last line: what is typed, else the answer to a key, else the keys of the
//! moment.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Screen;
use crate::tui::app::{Overlay, Panel, Subject};
use crate::tui::pen::width_of;
use crate::tui::theme::Role;
use crate::tui::when;

pub(super) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let app = screen.app;
    let mut pen = screen.pen(buf, area, 0);
    pen.skip(1);
    if let Some(draft) = &app.draft {
        let what = if app.is_time { "go to: " } else { "filter: " };
        let wrong = app.wrong.clone().unwrap_or(draft.len()..draft.len());
        let part = |range: std::ops::Range<usize>| draft.get(range).unwrap_or_default();
        pen.put(what, Role::Accent)
            .put(part(0..wrong.start), Role::Text)
            .put(part(wrong.clone()), Role::Selected)
            .put(part(wrong.end..draft.len()), Role::Text);
        if app.wrong.is_none() {
            pen.put(" ", Role::Selected);
        }
        let (hint, role) = match &app.answer {
            Some(wrong) => (wrong.as_str(), Role::Warn),
            None if app.is_time => (when::LANGUAGE, Role::Dim),
            None => (
                "port: state: pid: comm: addr: cause: netns: word !not",
                Role::Dim,
            ),
        };
        pen.skip(2).put(hint, role);
        return;
    }
    if let Some(answer) = &app.answer {
        pen.put(answer, Role::Warn);
        return;
    }
    for (key, does) in hints(screen) {
        // A hint that does not fit is left out whole.
        if pen.room() < width_of(key) + width_of(does) + 1 {
            break;
        }
        pen.put(key, Role::Accent)
            .put(" ", Role::Dim)
            .put(does, Role::Dim)
            .skip(2);
    }
}

fn hints(screen: &Screen<'_>) -> Vec<(&'static str, &'static str)> {
    let app = screen.app;
    match app.overlay {
        Overlay::Detail(Subject::Failure(_)) => {
            return vec![
                ("q", "quit"),
                ("Esc", "close"),
                ("↑↓", "scroll"),
                ("←→", "other problem"),
            ];
        }
        Overlay::Columns => {
            return vec![
                ("Enter", "show or hide"),
                ("↑↓", "choose"),
                ("←→", "move"),
                ("Esc", "close"),
            ];
        }
        Overlay::Themes => {
            return vec![("↑↓", "look"), ("Enter", "take"), ("Esc", "close")];
        }
        Overlay::Help | Overlay::Notes | Overlay::Detail(_) => {
            return vec![("q", "quit"), ("Esc", "close"), ("↑↓", "scroll")];
        }
        Overlay::None => {}
    }
    let mut hints = vec![("q", "quit"), ("?", "help")];
    if !screen.view.failures.is_empty() {
        hints.push(("d", "diagnosis"));
    }
    let is_frozen = screen.behind.is_some();
    match &app.position {
        Some(position) => hints.extend([
            ("Space", if position.is_playing { "stop" } else { "play" }),
            ("[ ]", "failures"),
            (", .", "events"),
            ("t", "time"),
        ]),
        None => hints.push(("Space", if is_frozen { "go on" } else { "pause" })),
    }
    if app.notes.latest().is_some() {
        hints.push(("n", "messages"));
    } else if !app.filter.is_empty() {
        hints.push(("Esc", "clear filter"));
    }
    hints.extend([("/", "filter"), ("Enter", "detail"), ("Tab", "panel")]);
    if app.focus == Panel::Sockets {
        hints.push(("s", "sort"));
    }
    hints
}
