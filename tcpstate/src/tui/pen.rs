//! The only way text reaches the screen.
//!
//! Whatever is written is made harmless and cut to its place here, so that no
//! panel can forget it: a name that a process chose cannot steer the terminal,
//! leave its column or fake a row.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_width::UnicodeWidthChar;

use super::theme::{Role, Theme};
use crate::printable::printable;

/// Marks that may sit on one character; further ones would pile up over the
/// rows above and below.
const MAX_MARKS: usize = 2;

/// Lines of one wrapped text: a summary has three, a command line may have more.
const MAX_LINES: usize = 12;

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
    pub(crate) fn put(&mut self, text: &str, role: Role) -> &mut Self {
        let room = self.room();
        self.x = self.write(self.x, room, text, role);
        self
    }

    /// Writes the text with its colours the other way round: a heavy word.
    pub(crate) fn put_reversed(&mut self, text: &str, role: Role) -> &mut Self {
        let from = self.x;
        self.put(text, role);
        let written = Rect::new(from, self.y, self.x.saturating_sub(from), 1);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        self.buf
            .set_style(written.intersection(self.buf.area), reversed);
        self
    }

    /// Writes the text into a column of this width.
    pub(crate) fn column(&mut self, width: usize, text: &str, role: Role) -> &mut Self {
        let width = width.min(self.room());
        self.write(self.x, width, text, role);
        self.x = self.x.saturating_add(cells(width)).min(self.end);
        self
    }

    /// Writes the text into a column, cut at its beginning: an address without
    /// its port says nothing.
    pub(crate) fn column_tail(&mut self, width: usize, text: &str, role: Role) -> &mut Self {
        let tail = fit_tail(text, width.min(self.room()));
        self.column(width, &tail, role)
    }

    /// Writes the text at the right end of a column of this width.
    pub(crate) fn column_right(&mut self, width: usize, text: &str, role: Role) -> &mut Self {
        let width = width.min(self.room());
        let text = fit(text, width);
        let indent = width.saturating_sub(width_of(&text));
        self.write(
            self.x.saturating_add(cells(indent)),
            width - indent,
            &text,
            role,
        );
        self.x = self.x.saturating_add(cells(width)).min(self.end);
        self
    }

    /// Writes the text at the right end of the row; what follows stays clear of it.
    pub(crate) fn at_right(&mut self, text: &str, role: Role) -> &mut Self {
        let room = self.room();
        let text = fit(text, room);
        let start = self.end.saturating_sub(cells(width_of(&text)));
        let width = usize::from(self.end.saturating_sub(start));
        self.write(start, width, &text, role);
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
    pub(crate) fn fill(&mut self, symbol: &str, role: Role) {
        let text = symbol.repeat(self.room());
        self.put(&text, role);
    }

    fn write(&mut self, x: u16, width: usize, text: &str, role: Role) -> u16 {
        if width == 0 {
            return x;
        }
        let style = self.theme.style(role);
        self.buf
            .set_stringn(x, self.y, fit(text, width), width, style)
            .0
    }
}

/// The text made harmless, and cut to a width with `…` where it is longer.
pub(crate) fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if width == 0 {
        return Cow::Borrowed("");
    }
    // Enough for the width whatever the characters; a name of 10,000 is not
    // looked at whole for every frame.
    let longest = width.saturating_mul(4 * (1 + MAX_MARKS)).max(64);
    let head = &text[..text.floor_char_boundary(longest)];
    let is_short = head.len() == text.len();
    let safe = printable(head);
    if is_short && safe.is_ascii() && safe.len() <= width {
        return safe;
    }
    let mut cut = String::with_capacity(width + 4);
    let mut used = 0;
    let mut at_ellipsis = 0;
    let mut marks = 0;
    for character in safe.chars().filter(|character| !is_variation(*character)) {
        let cells = character.width().unwrap_or(0);
        marks = if cells == 0 { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            continue;
        }
        if used + cells > width {
            cut.truncate(at_ellipsis);
            cut.push('…');
            return Cow::Owned(cut);
        }
        cut.push(character);
        used += cells;
        if used < width {
            at_ellipsis = cut.len();
        }
    }
    if !is_short {
        cut.truncate(at_ellipsis);
        cut.push('…');
    }
    Cow::Owned(cut)
}

/// What only changes how the character before it looks. Terminals do not agree
/// on how wide the two are together: emoji presentation, skin tones.
fn is_variation(character: char) -> bool {
    matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// The text made harmless, and cut at its beginning where it is longer.
fn fit_tail(text: &str, width: usize) -> Cow<'_, str> {
    let safe = printable(text);
    if width_of(&safe) <= width || width == 0 {
        return safe;
    }
    let mut used = 1;
    let mut from = safe.len();
    for (at, character) in safe.char_indices().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        from = at;
    }
    Cow::Owned(format!("…{}", &safe[from..]))
}

/// Cells that a text takes, once it has been made harmless.
pub(crate) fn width_of(text: &str) -> usize {
    printable(text)
        .chars()
        .filter(|character| !is_variation(*character))
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

/// The text in at most this many lines; a longer one ends in `…`.
pub(crate) fn wrap_to(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut wrapped = wrap(text, width);
    if wrapped.len() > lines {
        wrapped.truncate(lines);
        if let Some(last) = wrapped.last_mut() {
            let room = width.saturating_sub(1);
            *last = if width_of(last) <= room {
                format!("{last}…")
            } else {
                fit(&format!("{last}…"), width).into_owned()
            };
        }
    }
    wrapped
}

/// The text in lines of at most this width, broken between words where there
/// are any; at most [`MAX_LINES`], the last of which then ends with `…`.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let longest = width.saturating_mul(4 * (1 + MAX_MARKS) * MAX_LINES);
    let safe = printable(&text[..text.floor_char_boundary(longest)]);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in safe.split_whitespace() {
        if used > 0 && used + 1 + width_of(word) > width {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            push(&mut lines, ' ');
            used += 1;
        }
        for character in word.chars() {
            let cells = character.width().unwrap_or(0);
            if used + cells > width {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, character);
            used += cells;
        }
        if lines.len() > MAX_LINES {
            break;
        }
    }
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        if let Some(last) = lines.last_mut() {
            *last = fit(&format!("{last}…"), width).into_owned();
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn push(lines: &mut [String], character: char) {
    if let Some(line) = lines.last_mut() {
        line.push(character);
    }
}

fn cells(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(fit("nginx[4711]", 11), "nginx[4711]");
        assert_eq!(fit("服务", 4), "服务");
    }

    #[test]
    fn what_is_longer_ends_in_an_ellipsis_within_the_width() {
        assert_eq!(fit("nginx[4711]", 6), "nginx…");
        assert_eq!(fit("服务器", 5), "服务…");
        assert_eq!(fit("服务器", 4), "服…");
        assert_eq!(fit("服务器", 1), "…");
        assert_eq!(fit("x", 0), "");
        assert_eq!(fit(&"x".repeat(10_000), 4), "xxx…");
    }

    #[test]
    fn an_address_keeps_its_port() {
        assert_eq!(fit_tail("[2001:db8::1]:8080", 18), "[2001:db8::1]:8080");
        assert_eq!(fit_tail("[2001:db8::1]:8080", 10), "…::1]:8080");
        assert_eq!(fit_tail("x", 0), "x");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let piled = format!("a{}b", "\u{301}".repeat(5_000));

        assert!(fit(&piled, 3).chars().count() <= 4);
    }

    #[test]
    fn what_terminals_measure_differently_is_left_out() {
        assert_eq!(fit("☺\u{fe0f}👍\u{1f3fd}x", 9), "☺👍x");
        assert_eq!(width_of("☺\u{fe0f}👍\u{1f3fd}x"), 4);
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(fit("a\x1b[2J", 20), "a\\u{1b}[2J");
        assert_eq!(fit("a\nb", 20), "a\\u{a}b");
    }

    #[test]
    fn text_breaks_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""; 0]);
        assert_eq!(wrap("abcdefgh k", 5), ["abcde", "fgh k"]);
        let long = wrap(&"x".repeat(10_000), 5);
        assert_eq!((long.len(), long[11].as_str()), (MAX_LINES, "xxxx…"));
    }

    #[test]
    fn a_text_that_is_cut_says_so() {
        assert_eq!(wrap_to("one two three", 7, 2), ["one two", "three"]);
        assert_eq!(wrap_to("one two three", 7, 1), ["one tw…"]);
        assert_eq!(wrap_to("one two three", 9, 1), ["one two…"]);
    }

    #[test]
    fn a_pen_never_leaves_its_row() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 8, 2));
        let area = Rect::new(0, 0, 8, 1);

        Pen::new(&mut buf, Theme::Mono, area, 0).put("0123456789", Role::Text);
        Pen::new(&mut buf, Theme::Mono, area, 1).put("below", Role::Text);
        Pen::new(&mut buf, Theme::Mono, area, 0).at_right("99", Role::Text);

        let expected = Buffer::with_lines(["01234599", "        "]);
        assert_eq!(buf.content, expected.content);
    }
}
