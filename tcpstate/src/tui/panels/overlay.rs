//! A scrollable text over the dashboard: help and details.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use super::{Screen, Span, detail, help, mark_row, notes, pickers};
use crate::tui::app::{App, Overlay, Subject};
use crate::tui::pen::{fit, width_of, wrap};
use crate::tui::theme::Role;
use crate::tui::view::View;

/// Widest text: longer lines are hard to read.
const MAX_WIDTH: u16 = 100;

/// What is open; `None`: nothing.
pub(super) fn text(view: &View<'_>, app: &App, area: Rect) -> Option<Text> {
    let width = usize::from(frame(area, u16::MAX).width.saturating_sub(4));
    match app.overlay() {
        Overlay::None => None,
        Overlay::Help => Some(help::text(width, &app.keys, app.is_replay())),
        Overlay::Notes => Some(notes::text(view, app, width)),
        Overlay::Columns => Some(pickers::columns(app, width)),
        Overlay::Themes => Some(pickers::themes(app, width)),
        Overlay::Detail(subject) => Some(detail::text(view, subject, width, app.is_replay())),
    }
}

pub(super) fn draw(buf: &mut Buffer, area: Rect, text: &Text, screen: &Screen<'_>) {
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

/// A box in the middle, between header and status line: losses stay in sight.
/// A narrow screen has no room for margins.
fn frame(area: Rect, height: u16) -> Rect {
    let width = if area.width < MAX_WIDTH + 8 {
        area.width
    } else {
        MAX_WIDTH
    };
    let room = area.height.saturating_sub(2);
    let height = height.min(room);
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + 1 + (room - height) / 2,
        width,
        height,
    }
}

/// Lines of text, built from top to bottom.
pub(super) struct Text {
    pub(super) title: String,
    pub(super) lines: Vec<Vec<Span>>,
    /// Lines that lead somewhere, from top to bottom.
    pub(super) links: Vec<(usize, Subject)>,
    width: usize,
}

impl Text {
    pub(super) fn new(title: impl Into<String>, width: usize) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
            links: Vec::new(),
            width,
        }
    }

    /// Lines that fit at once.
    pub(super) fn visible(&self, area: Rect) -> usize {
        usize::from(frame(area, self.height()).height.saturating_sub(2))
    }

    fn height(&self) -> u16 {
        u16::try_from(self.lines.len() + 2).unwrap_or(u16::MAX)
    }

    pub(super) fn line(&mut self, spans: impl Into<Vec<Span>>) {
        self.lines.push(spans.into());
    }

    /// The next line leads there.
    pub(super) fn link(&mut self, subject: Subject) {
        self.links.push((self.lines.len(), subject));
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    pub(super) fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.blank();
        }
        self.line([(text.to_owned(), Role::Strong)]);
    }

    /// A text, wrapped.
    pub(super) fn paragraph(&mut self, text: &str, role: Role) {
        self.indented(0, text, role);
    }

    /// A text, wrapped, further in.
    pub(super) fn indented(&mut self, indent: usize, text: &str, role: Role) {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            self.line([(" ".repeat(indent), role), (line, role)]);
        }
    }

    /// A name and what belongs to it, wrapped beside it.
    pub(super) fn field(&mut self, name: &str, value: &str, role: Role) {
        const NAME: usize = 12;
        self.beside(NAME, (name.to_owned(), Role::Dim), value, role);
    }

    /// Keys and what they do.
    pub(super) fn pair(&mut self, column: usize, name: &str, value: &str, role: Role) {
        self.beside(column, (name.to_owned(), role), value, Role::Text);
    }

    fn beside(&mut self, column: usize, name: Span, value: &str, role: Role) {
        let (name, name_role) = name;
        let name = fit(&name, column.saturating_sub(1)).into_owned();
        let gap = column.saturating_sub(width_of(&name));
        let mut lines = wrap(value, self.width.saturating_sub(column)).into_iter();
        self.line([
            (name, name_role),
            (" ".repeat(gap), Role::Text),
            (lines.next().unwrap_or_default(), role),
        ]);
        for line in lines {
            self.line([(" ".repeat(column), Role::Text), (line, role)]);
        }
    }
}
