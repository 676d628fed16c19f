//! The only way text reaches the screen.
//!
//! Whatever is written is made harmless and cut to its place here, so that no
//! panel can forget it: a name that a process chose cannot steer the terminal,
//! leave its column or fake a row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::tui::text::{fit, fit_tail, width_of};
use crate::tui::theme::{Theme, Tone};

/// Writes along one row, from left to right.
pub(crate) struct Pen<'b> {
    buf: &'b mut Buffer,
    theme: Theme,
    x: u16,
    y: u16,
    end: u16,
}

impl<'b> Pen<'b> {
    /// A pen at the start of the area's row; below the area it writes nothing.
    pub(crate) fn new(buf: &'b mut Buffer, theme: Theme, area: Rect, row: u16) -> Self {
        let area = area.intersection(buf.area);
        let end = if row < area.height {
            area.right()
        } else {
            area.x
        };
        Self {
            buf,
            theme,
            x: area.x,
            y: area.y.saturating_add(row),
            end,
        }
    }

    /// Cells that are left.
    pub(crate) fn room(&self) -> usize {
        usize::from(self.end.saturating_sub(self.x))
    }

    /// Writes the text, cut to what is left of the row.
    pub(crate) fn put(&mut self, text: &str, tone: Tone) -> &mut Self {
        let room = self.room();
        self.x = self.write(self.x, room, text, tone);
        self
    }

    /// Writes the text with its colours reversed: what stands out most.
    pub(crate) fn put_reversed(&mut self, text: &str, tone: Tone) -> &mut Self {
        let from = self.x;
        self.put(text, tone);
        let written = Rect::new(from, self.y, self.x.saturating_sub(from), 1);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        self.buf
            .set_style(written.intersection(self.buf.area), reversed);
        self
    }

    /// Writes the text into a column of this width.
    pub(crate) fn column(&mut self, width: usize, text: &str, tone: Tone) -> &mut Self {
        let width = width.min(self.room());
        self.write(self.x, width, text, tone);
        self.x = self.x.saturating_add(cells(width)).min(self.end);
        self
    }

    /// Writes the text into a column, cut at its beginning: an address without
    /// its port says nothing.
    pub(crate) fn column_tail(&mut self, width: usize, text: &str, tone: Tone) -> &mut Self {
        let tail = fit_tail(text, width.min(self.room()));
        self.column(width, &tail, tone)
    }

    /// Writes the text at the right end of a column of this width.
    pub(crate) fn column_right(&mut self, width: usize, text: &str, tone: Tone) -> &mut Self {
        let width = width.min(self.room());
        let text = fit(text, width);
        let indent = width.saturating_sub(width_of(&text));
        self.write(
            self.x.saturating_add(cells(indent)),
            width - indent,
            &text,
            tone,
        );
        self.x = self.x.saturating_add(cells(width)).min(self.end);
        self
    }

    /// Writes the text at the right end of the row; what follows stays clear of it.
    pub(crate) fn at_right(&mut self, text: &str, tone: Tone) -> &mut Self {
        let room = self.room();
        let text = fit(text, room);
        let start = self.end.saturating_sub(cells(width_of(&text)));
        let width = usize::from(self.end.saturating_sub(start));
        self.write(start, width, &text, tone);
        self.end = start.max(self.x);
        self
    }

    /// Keeps cells at the right end of the row free.
    pub(crate) fn keep_right(&mut self, width: usize) -> &mut Self {
        self.end = self.end.saturating_sub(cells(width)).max(self.x);
        self
    }

    /// Leaves cells free.
    pub(crate) fn skip(&mut self, width: usize) -> &mut Self {
        self.x = self.x.saturating_add(cells(width)).min(self.end);
        self
    }

    /// Fills the rest of the row.
    pub(crate) fn fill(&mut self, symbol: &str, tone: Tone) {
        let text = symbol.repeat(self.room());
        self.put(&text, tone);
    }

    fn write(&mut self, x: u16, width: usize, text: &str, tone: Tone) -> u16 {
        if width == 0 {
            return x;
        }
        let style = self.theme.style(tone);
        self.buf
            .set_stringn(x, self.y, fit(text, width), width, style)
            .0
    }
}

fn cells(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pen_never_leaves_its_row() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 8, 2));
        let area = Rect::new(0, 0, 8, 1);

        Pen::new(&mut buf, Theme::Mono, area, 0).put("0123456789", Tone::Text);
        Pen::new(&mut buf, Theme::Mono, area, 1).put("below", Tone::Text);
        Pen::new(&mut buf, Theme::Mono, area, 0).at_right("99", Tone::Text);

        let expected = Buffer::with_lines(["01234599", "        "]);
        assert_eq!(buf.content, expected.content);
    }
}
