//! A scrollable text over the dashboard: help and details.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use crate::tui::app::{App, Overlay};
use crate::tui::draw::page::{Page, frame};
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::draw::{detail, help, messages, pickers};
use crate::tui::state::view::View;
use crate::tui::theme::Role;

/// What is open; `None`: nothing.
pub(crate) fn text(view: &View<'_>, app: &App, area: Rect) -> Option<Page> {
    let width = usize::from(frame(area, u16::MAX).width.saturating_sub(4));
    match app.overlay() {
        Overlay::None => None,
        Overlay::Help => Some(help::text(width, &app.keys, app.is_replay())),
        Overlay::Notes => Some(messages::text(view, app, width)),
        Overlay::Columns => Some(pickers::columns(app, width)),
        Overlay::Themes => Some(pickers::themes(app, width)),
        Overlay::Detail(subject) => Some(detail::text(view, subject, width, app.is_replay())),
    }
}

pub(crate) fn draw(buf: &mut Buffer, area: Rect, text: &Page, screen: &Screen<'_>) {
    let frame = frame(area, text.height());
    let edge = Role::Accent;
    let rows = frame.height.saturating_sub(2);
    let scroll = screen.app.scroll;
    // Nothing of what lies below shines through, its weight and colours neither.
    Clear.render(frame.intersection(buf.area), buf);
    let mut pen = screen.pen(buf, frame, 0);
    pen.put("╭─ ", edge)
        .at_right("╮", edge)
        .put(&text.title, Role::Strong)
        .put(" ", edge)
        .fill("─", edge);
    for row in 0..rows {
        let mut pen = screen.pen(buf, frame, row + 1);
        pen.put("│ ", edge).at_right("│", edge).keep_right(1);
        if let Some(line) = text.lines.get(scroll + usize::from(row)) {
            for (text, role) in line {
                pen.put(text, *role);
            }
        }
        if screen.app.links.chosen_line() == Some(scroll + usize::from(row)) {
            let inner = Rect {
                x: frame.x + 2,
                width: frame.width.saturating_sub(4),
                ..frame
            };
            screen
                .pen(buf, frame, row + 1)
                .skip(1)
                .put("▸", Role::Accent);
            mark_row(buf, inner, row + 1, screen.theme);
        }
    }
    let mut pen = screen.pen(buf, frame, frame.height.saturating_sub(1));
    pen.put("╰", edge).at_right("╯", edge);
    let below = text.lines.len().saturating_sub(scroll + usize::from(rows));
    if below > 0 {
        pen.at_right(&format!(" {below} more lines ↓ "), Role::Dim);
    }
    pen.fill("─", edge);
}
