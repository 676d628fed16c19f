//! A page of text: lines from top to bottom, some of which lead elsewhere.

use ratatui::layout::Rect;

use crate::tui::draw::screen::Span;
use crate::tui::state::panel::Subject;
use crate::tui::text::{fit, width_of, wrap};
use crate::tui::theme::Tone;

/// Widest text: longer lines are hard to read.
const MAX_WIDTH: u16 = 100;

/// Lines of text, built from top to bottom.
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) lines: Vec<Vec<Span>>,
    /// Lines that lead somewhere, from top to bottom.
    pub(crate) links: Vec<(usize, Subject)>,
    width: usize,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, width: usize) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
            links: Vec::new(),
            width,
        }
    }

    /// Lines that fit at once.
    pub(crate) fn visible(&self, area: Rect) -> usize {
        usize::from(frame(area, self.height()).height.saturating_sub(2))
    }

    pub(crate) fn height(&self) -> u16 {
        u16::try_from(self.lines.len() + 2).unwrap_or(u16::MAX)
    }

    pub(crate) fn line(&mut self, spans: impl Into<Vec<Span>>) {
        self.lines.push(spans.into());
    }

    /// The next line leads there.
    pub(crate) fn link(&mut self, subject: Subject) {
        self.links.push((self.lines.len(), subject));
    }

    pub(crate) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    pub(crate) fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.blank();
        }
        self.line([(text.to_owned(), Tone::Strong)]);
    }

    /// A text, wrapped.
    pub(crate) fn paragraph(&mut self, text: &str, tone: Tone) {
        self.indented(0, text, tone);
    }

    /// A text, wrapped, further in.
    pub(crate) fn indented(&mut self, indent: usize, text: &str, tone: Tone) {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            self.line([(" ".repeat(indent), tone), (line, tone)]);
        }
    }

    /// A name and what belongs to it, wrapped beside it.
    pub(crate) fn field(&mut self, name: &str, value: &str, tone: Tone) {
        const NAME: usize = 12;
        self.beside(NAME, (name.to_owned(), Tone::Dim), value, tone);
    }

    /// Keys and what they do.
    pub(crate) fn pair(&mut self, column: usize, name: &str, value: &str, tone: Tone) {
        self.beside(column, (name.to_owned(), tone), value, Tone::Text);
    }

    fn beside(&mut self, column: usize, name: Span, value: &str, tone: Tone) {
        let (name, name_role) = name;
        let name = fit(&name, column.saturating_sub(1)).into_owned();
        let gap = column.saturating_sub(width_of(&name));
        let mut lines = wrap(value, self.width.saturating_sub(column)).into_iter();
        self.line([
            (name, name_role),
            (" ".repeat(gap), Tone::Text),
            (lines.next().unwrap_or_default(), tone),
        ]);
        for line in lines {
            self.line([(" ".repeat(column), Tone::Text), (line, tone)]);
        }
    }
}

/// A box in the middle, between header and status line: losses stay in sight.
/// A narrow screen has no room for margins.
pub(crate) fn frame(area: Rect, height: u16) -> Rect {
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
