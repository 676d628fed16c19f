//! How keys are written: in the help, and in the configuration.

use std::fmt;
use std::str::FromStr;

use crossterm::event::KeyCode;

/// A key, or a key pressed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The key alone.
    Plain(KeyCode),
    /// The key with ctrl.
    Ctrl(char),
    /// The letter twice in a row.
    Twice(char),
}

/// Keys with a name: as it is written, what is drawn in the help.
const NAMED: &[(&str, &str, KeyCode)] = &[
    ("Up", "↑", KeyCode::Up),
    ("Down", "↓", KeyCode::Down),
    ("Left", "←", KeyCode::Left),
    ("Right", "→", KeyCode::Right),
    ("Home", "Home", KeyCode::Home),
    ("End", "End", KeyCode::End),
    ("PageUp", "PageUp", KeyCode::PageUp),
    ("PageDown", "PageDown", KeyCode::PageDown),
    ("Tab", "Tab", KeyCode::Tab),
    ("Shift-Tab", "Shift-Tab", KeyCode::BackTab),
    ("Enter", "Enter", KeyCode::Enter),
    ("Esc", "Esc", KeyCode::Esc),
    ("Space", "Space", KeyCode::Char(' ')),
    ("Backspace", "Backspace", KeyCode::Backspace),
    ("Delete", "Delete", KeyCode::Delete),
    ("Insert", "Insert", KeyCode::Insert),
];

/// Letters that are another key for every terminal when ctrl is held.
const SAME_AS: &[(char, &str)] = &[('i', "Tab"), ('m', "Enter"), ('[', "Esc")];

/// Highest function key.
const MAX_F: u8 = 12;

impl Key {
    /// As the help shows it.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Plain(code) => match NAMED.iter().find(|named| named.2 == code) {
                Some((_, label, _)) => (*label).to_owned(),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }

    /// Whether it is text while something is typed.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Plain(KeyCode::Char(_)) | Self::Twice(_))
    }

    /// Whether one of the two hides the other: a letter, and the letter twice.
    #[must_use]
    pub fn collides_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Plain(KeyCode::Char(one)), Self::Twice(two))
            | (Self::Twice(two), Self::Plain(KeyCode::Char(one))) => one == two,
            _ => self == other,
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ctrl(letter) => write!(f, "ctrl-{letter}"),
            Self::Twice(letter) => write!(f, "{letter}{letter}"),
            Self::Plain(code) => match (NAMED.iter().find(|named| named.2 == *code), code) {
                (Some((name, ..)), _) => f.write_str(name),
                (None, KeyCode::Char(letter)) => write!(f, "{letter}"),
                (None, KeyCode::F(number)) => write!(f, "F{number}"),
                (None, other) => write!(f, "{other}"),
            },
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_named =
            |named: &&(&str, &str, KeyCode)| named.0.eq_ignore_ascii_case(text) || named.1 == text;
        if let Some((_, _, code)) = NAMED.iter().find(is_named) {
            return Ok(Self::Plain(*code));
        }
        let lower = text.to_ascii_lowercase();
        if let Some(letter) = lower.strip_prefix("ctrl-").and_then(only) {
            if let Some((_, same)) = SAME_AS.iter().find(|(same, _)| *same == letter) {
                return Err(format!("a terminal sends the same for `{text}` and {same}"));
            }
            if letter.is_ascii_graphic() {
                return Ok(Self::Ctrl(letter));
            }
        }
        if let Some(number) = lower.strip_prefix('f').and_then(|text| text.parse().ok())
            && (1..=MAX_F).contains(&number)
        {
            return Ok(Self::Plain(KeyCode::F(number)));
        }
        let mut letters = text.chars();
        match (letters.next(), letters.next(), letters.next()) {
            (Some(letter), None, None) if !letter.is_control() && letter != ' ' => {
                Ok(Self::Plain(KeyCode::Char(letter)))
            }
            (Some(one), Some(two), None) if one == two && one.is_ascii_graphic() => {
                Ok(Self::Twice(one))
            }
            _ => Err(format!(
                "`{text}` is no key; keys look like q, G, gg, ctrl-z, Enter, Space, PageUp or F5"
            )),
        }
    }
}

fn only(text: &str) -> Option<char> {
    let mut letters = text.chars();
    letters.next().filter(|_| letters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let mut keys: Vec<Key> = NAMED.iter().map(|named| Key::Plain(named.2)).collect();
        keys.extend((1..=MAX_F).map(|number| Key::Plain(KeyCode::F(number))));
        keys.extend([Key::Ctrl('z'), Key::Twice('g')]);
        keys.extend(
            "aZ?/[é"
                .chars()
                .map(|letter| Key::Plain(KeyCode::Char(letter))),
        );

        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key), "{key}");
            assert_eq!(key.label().parse(), Ok(key), "{}", key.label());
        }
        assert_eq!("pageup".parse(), Ok(Key::Plain(KeyCode::PageUp)));
        assert_eq!("CTRL-Z".parse(), Ok(Key::Ctrl('z')));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [
            "", "qw", "ctrl-", "ctrl-zz", "F0", "F13", "F99", " ", "\u{1b}", "ggg",
        ] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong:?}");
        }
        let error = "ctrl-i".parse::<Key>().expect_err("it is Tab");
        assert_eq!(error, "a terminal sends the same for `ctrl-i` and Tab");
    }

    #[test]
    fn a_letter_hides_the_letter_twice() {
        let g = Key::Plain(KeyCode::Char('g'));

        assert!(g.collides_with(Key::Twice('g')) && Key::Twice('g').collides_with(g));
        assert!(!g.collides_with(Key::Ctrl('g')));
    }
}
