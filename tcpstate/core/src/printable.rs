//! Strings that a process or a stranger's recording chose, made harmless for a
//! terminal: no escape sequence, no line break, no change of writing direction.
//!
//! Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything that could steer a terminal or mislead a reader
/// written as `\u{..}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_harmless(character) {
            safe.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", character.escape_unicode());
        }
    }
    Cow::Owned(safe)
}

/// Whether a character neither steers a terminal nor misleads a reader.
pub(crate) fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            // Direction marks, embeddings, overrides and isolates; line and
            // paragraph separators; invisible joiners; the byte-order mark.
            '\u{ad}'
                | '\u{061c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_foreign_text_stays_as_it_is() {
        assert!(matches!(printable("nginx: worker"), Cow::Borrowed(_)));
        assert_eq!(printable("сервер 服务器"), "сервер 服务器");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_could_steer_it() {
        assert_eq!(printable("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("a\nb\rc\td"), "a\\u{a}b\\u{d}c\\u{9}d");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(printable("abc\u{202e}cba"), "abc\\u{202e}cba");
    }
}
