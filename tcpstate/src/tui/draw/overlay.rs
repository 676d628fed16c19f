//! A scrollable text over the dashboard: help and details.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use crate::tui::draw::page::{Page, frame};
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::draw::{detail, help, messages, pickers, release};
use crate::tui::input::keys::Keys;
use crate::tui::state::UiState;
use crate::tui::state::overlay::Content;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;

/// What is open; `None`: nothing.
pub(crate) fn text(view: &View<'_>, state: &UiState, keys: &Keys, area: Rect) -> Option<Page> {
    let width = usize::from(frame(area, u16::MAX).width.saturating_sub(4));
    Some(match &state.overlay.as_ref()?.content {
        Content::Help => help::text(width, keys, state.is_replay()),
        Content::Messages => messages::text(view, state, width),
        Content::Columns { chosen } => pickers::columns(&state.settings, *chosen, width),
        Content::Themes { chosen, .. } => pickers::themes(*chosen, width),
        Content::Release => release::text(&state.freeing, width),
        Content::Detail(detail) => detail::text(view, detail.subject, width, state.is_replay()),
    })
}

pub(crate) fn draw(buf: &mut Buffer, area: Rect, text: &Page, screen: &Screen<'_>) {
    let frame = frame(area, text.height());
    let edge = Tone::Accent;
    let rows = frame.height.saturating_sub(2);
    let Some(open) = &screen.state.overlay else {
        return;
    };
    let scroll = open.scroll.offset;
    let chosen = match &open.content {
        Content::Detail(detail) => detail.links.chosen_line(),
        _ => None,
    };
    // Nothing of what lies below shines through, its weight and colours neither.
    Clear.render(frame.intersection(buf.area), buf);
    let mut pen = screen.pen(buf, frame, 0);
    pen.put("╭─ ", edge)
        .at_right("╮", edge)
        .put(&text.title, Tone::Strong)
        .put(" ", edge)
        .fill("─", edge);
    for row in 0..rows {
        let mut pen = screen.pen(buf, frame, row + 1);
        pen.put("│ ", edge).at_right("│", edge).keep_right(1);
        if let Some(line) = text.lines.get(scroll + usize::from(row)) {
            for (text, tone) in line {
                pen.put(text, *tone);
            }
        }
        if chosen == Some(scroll + usize::from(row)) {
            let inner = Rect {
                x: frame.x + 2,
                width: frame.width.saturating_sub(4),
                ..frame
            };
            screen
                .pen(buf, frame, row + 1)
                .skip(1)
                .put("▸", Tone::Accent);
            mark_row(buf, inner, row + 1, screen.theme);
        }
    }
    let mut pen = screen.pen(buf, frame, frame.height.saturating_sub(1));
    pen.put("╰", edge).at_right("╯", edge);
    let below = text.lines.len().saturating_sub(scroll + usize::from(rows));
    if below > 0 {
        pen.at_right(&format!(" {below} more lines ↓ "), Tone::Dim);
    }
    pen.fill("─", edge);
}
