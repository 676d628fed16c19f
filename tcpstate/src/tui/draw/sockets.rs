//! The socket table. Only the rows in sight are read.

mod row;
mod widths;

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::row::{Left, Row, row, short_owner};
use self::widths::{TIME, Widths};
use crate::tui::draw::pen::Pen;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::state::UiState;
use crate::tui::state::columns::Column;
use crate::tui::state::panel::Panel;
use crate::tui::state::rows::MAX_ROWS;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::tui::units;

/// Draws the table; returns its columns from left to right and where each ends.
pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) -> Vec<(Column, u16)> {
    let is_focused = screen.is_focused(Panel::Sockets);
    let state = screen.state;
    let offset = state.sockets.offset();
    let rows = rows_in_sight(screen.view, state, area);
    let widths = Widths::of(&rows, &state.settings.columns, usize::from(area.width));
    let summary = summary(screen, &widths);
    screen.title(buf, area, is_focused, "sockets", &summary);
    draw_head(buf, area, screen, &widths);
    if rows.is_empty() {
        let text = if state.filter.is_empty() {
            "no sockets"
        } else {
            "no socket passes the filter; Esc clears it"
        };
        screen.pen(buf, area, 2).skip(1).put(text, Tone::Dim);
    }
    for (line, (index, row)) in (2..).zip((offset..).zip(&rows)) {
        if let Some(row) = row {
            draw_row(buf, area, line, screen, row, &widths);
        }
        if is_focused && index == state.sockets.index() {
            screen.pen(buf, area, line).put("▸", Tone::Text);
            mark_row(buf, area, line, screen.theme);
        }
    }
    widths.ends(area)
}

fn rows_in_sight(view: &View<'_>, state: &UiState, area: Rect) -> Vec<Option<Row>> {
    state
        .sockets
        .items
        .ids()
        .iter()
        .skip(state.sockets.offset())
        .take(usize::from(area.height.saturating_sub(2)))
        .map(|id| view.socket(id).map(|socket| row(view, state, socket)))
        .collect()
}

fn summary(screen: &Screen<'_>, widths: &Widths) -> String {
    let state = screen.state;
    let total = count(screen.view.total);
    let matched = count(state.sockets.items.matched());
    let mut text = if state.filter.is_empty() {
        total
    } else {
        format!("{matched} of {total}")
    };
    if state.sockets.items.matched() > MAX_ROWS {
        let _ = write!(text, ", first {}", count(MAX_ROWS));
    }
    if !state.filter.is_empty() {
        let _ = write!(text, " · filter {}", state.filter.text());
    }
    if widths.hidden > 0 {
        let hidden = u64::try_from(widths.hidden).unwrap_or(u64::MAX);
        let hidden = units::counted(hidden, "column has", "columns have");
        let _ = write!(text, " · {hidden} no room");
    }
    text
}

fn draw_head(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, widths: &Widths) {
    let sort = screen.state.settings.sort;
    let arrow = if sort.is_reversed { "▼" } else { "▲" };
    let mut pen = screen.pen(buf, area, 1);
    pen.skip(1);
    for column in widths.shown() {
        let (text, tone) = if sort.column == column {
            (format!("{}{arrow}", column.title()), Tone::Accent)
        } else {
            (column.title().to_owned(), Tone::Dim)
        };
        let width = widths.of_column(column);
        match column {
            Column::Age | Column::Left => {
                pen.column_right(width - 1, &text, tone).skip(1);
            }
            _ => {
                pen.column(width, &text, tone);
            }
        }
    }
}

fn draw_row(
    buf: &mut Buffer,
    area: Rect,
    line: u16,
    screen: &Screen<'_>,
    row: &Row,
    widths: &Widths,
) {
    let (state, text) = if row.is_gone {
        (Tone::Dim, Tone::Dim)
    } else {
        (Tone::State(row.state), Tone::Text)
    };
    let mut pen = screen.pen(buf, area, line);
    pen.skip(1);
    let mut added = row.added.iter();
    for column in widths.shown() {
        let width = widths.of_column(column) - 1;
        match column {
            Column::State => pen.column(width, &state_name(row.state), state),
            Column::Local => pen.column_tail(width, &row.local, text),
            Column::Peer => pen.column_tail(width, &row.peer, text),
            Column::Owner => pen.column(width, &short_owner(&row.owner, width), text),
            Column::Age => pen.column_right(width, &row.age, text),
            Column::Left => {
                if let Some(left) = &row.left {
                    draw_left(&mut pen, left, widths.bar, (state, text));
                } else {
                    pen.skip(width);
                }
                &mut pen
            }
            _ => pen.column(width, added.next().map_or("", String::as_str), text),
        };
        pen.skip(1);
    }
}

fn draw_left(pen: &mut Pen<'_>, left: &Left, cells: usize, (state, text): (Tone, Tone)) {
    let (filled, rest) = bar(left, cells);
    let time = match left.ns {
        0 => "due".to_owned(),
        ns => units::left(ns),
    };
    pen.put(&filled, state)
        .put(&rest, Tone::Dim)
        .column_right(TIME, &time, text);
}

/// The bar's filled and empty part; something is filled while time is left.
fn bar(left: &Left, cells: usize) -> (String, String) {
    let share = u128::from(left.ns) * (cells as u128);
    let filled = share.div_ceil(u128::from(left.whole_ns.max(1)));
    let filled = usize::try_from(filled).unwrap_or(cells).min(cells);
    ("━".repeat(filled), "╌".repeat(cells - filled))
}

fn count(number: usize) -> String {
    units::count(u64::try_from(number).unwrap_or(u64::MAX))
}
