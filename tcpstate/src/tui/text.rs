//! Text in cells of the terminal: how wide it is, cut and wrapped.
//!
//! Whatever is returned has been made harmless: no control characters, no marks
//! that pile up, nothing whose width terminals disagree about.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

use crate::printable::printable;

/// Marks that may sit on one character; further ones would pile up over the
/// rows above and below.
const MAX_MARKS: usize = 2;

/// Lines of one wrapped text: a summary has three, a command line may have more.
const MAX_LINES: usize = 12;

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
pub(crate) fn fit_tail(text: &str, width: usize) -> Cow<'_, str> {
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
}
