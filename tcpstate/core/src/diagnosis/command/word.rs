//! Words of a command line that come from outside: each kind is checked once,
//! here, and quoted once, here.

use std::fmt::Write as _;

use crate::printable::is_harmless;

/// Longest word that is printed. A longer one is nothing that a person reads
/// before running it.
const MAX_BYTES: usize = 512;

/// A word as a POSIX shell reads it back; `None`: it has none that is safe.
///
/// A word that begins with a dash is refused too: quotes do not keep a program
/// from taking it for an option.
pub(super) fn quoted(word: &str) -> Option<String> {
    let is_option = word.starts_with('-');
    if is_option || word.is_empty() || word.len() > MAX_BYTES || !word.chars().all(is_safe) {
        return None;
    }
    Some(quote(word))
}

/// The same for a word of ours, which may be an option.
pub(super) fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        if c == '\'' {
            quoted.push_str("'\\''");
        } else {
            let _ = quoted.write_char(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// What a terminal may be given and what is still the name that was read: U+FFFD
/// stands for bytes that are not text.
fn is_safe(c: char) -> bool {
    is_harmless(c) && c != '\u{fffd}'
}

/// Characters of which systemd makes the names of units.
fn is_unit_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":_.\\@-".contains(c)
}

macro_rules! word {
    ($(#[$meta:meta])* $name:ident, $is_valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(in crate::diagnosis) struct $name(String);

        impl $name {
            /// `None`: it cannot be the name of one.
            pub(in crate::diagnosis) fn parse(text: &str) -> Option<Self> {
                let is_valid: fn(&str) -> bool = $is_valid;
                let is_word = !text.starts_with('-') && quoted(text).is_some();
                (is_word && is_valid(text)).then(|| Self(text.to_owned()))
            }

            pub(in crate::diagnosis) fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

word! {
    /// The name of a systemd service.
    UnitName, |text| text.len() <= 255 && text.ends_with(".service") && text.chars().all(is_unit_char)
}

word! {
    /// The id or name of a container, as all runtimes allow them.
    ContainerName, |text| text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

word! {
    /// A name that `ip netns` knows.
    NetnsName, |text| !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

word! {
    /// An absolute path.
    AbsolutePath, |text| text.starts_with('/') && !text.ends_with(" (deleted)")
}

word! {
    /// The value of `ip_local_reserved_ports`.
    PortList, |text| text.chars().all(|c| c.is_ascii_digit() || ",-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_or_refused() {
        assert_eq!(quoted("/usr/bin/app").as_deref(), Some("/usr/bin/app"));
        assert_eq!(quoted("/a b/$(x)'").as_deref(), Some("'/a b/$(x)'\\'''"));
        for refused in ["-rf", "a\nb", "a\u{1b}[2J", "\u{202e}x", "a\u{fffd}b", ""] {
            assert_eq!(quoted(refused), None, "{refused:?}");
        }
        assert_eq!(quoted(&"x".repeat(MAX_BYTES + 1)), None);
    }

    #[test]
    fn names_are_of_their_kind_or_none() {
        assert!(UnitName::parse("a\\x2db@1.service").is_some());
        for no in [
            "-a.service",
            "a.socket",
            "a b.service",
            ".service\n",
            "a;b.service",
        ] {
            assert_eq!(UnitName::parse(no), None, "{no:?}");
        }
        assert!(ContainerName::parse("web-1_a.b").is_some());
        for no in ["--all", "a/b", "a b", "", "$(x)"] {
            assert_eq!(ContainerName::parse(no), None, "{no:?}");
            assert_eq!(NetnsName::parse(no), None, "{no:?}");
        }
        assert_eq!(NetnsName::parse(".."), None);
        assert!(AbsolutePath::parse("/opt/my app/caddy").is_some());
        for no in ["bin/x", "/bin/x (deleted)", "/bin/\u{fffd}"] {
            assert_eq!(AbsolutePath::parse(no), None, "{no:?}");
        }
        assert!(PortList::parse("1,5-9").is_some());
        assert_eq!(PortList::parse("-1"), None);
        assert_eq!(PortList::parse("1;2"), None);
    }
}
