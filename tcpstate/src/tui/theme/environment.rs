//! What the environment says about the terminal's colours.

use std::ffi::OsStr;

use super::color_depth::ColorDepth;
use super::themes::Theme;

/// Variables that say something about colours; empty ones count as not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalEnvironment<'a> {
    /// `NO_COLOR`: set and not empty means no colour (<https://no-color.org>).
    pub no_color: Option<&'a OsStr>,
    /// `COLORFGBG`: text and background as numbers, `15;0` or `0;default;15`.
    pub colorfgbg: Option<&'a OsStr>,
    /// `TERM`.
    pub term: Option<&'a OsStr>,
    /// `COLORTERM`.
    pub colorterm: Option<&'a OsStr>,
}

impl TerminalEnvironment<'_> {
    /// The theme that fits; where the background is not known, most are dark.
    #[must_use]
    pub fn theme(&self) -> Theme {
        if text(self.no_color).is_some() || text(self.term) == Some("dumb") {
            return Theme::Mono;
        }
        let ground = text(self.colorfgbg).and_then(|numbers| numbers.rsplit(';').next());
        match ground.and_then(|ground| ground.parse::<u8>().ok()) {
            // White and the bright ones, but for bright black.
            Some(7 | 9..=15) => Theme::Light,
            _ => Theme::Dark,
        }
    }

    /// How many colours there are.
    #[must_use]
    pub fn depth(&self) -> ColorDepth {
        let term = text(self.term).unwrap_or_default();
        let colorterm = text(self.colorterm).unwrap_or_default();
        let has_many = term.contains("256color")
            || term.ends_with("-direct")
            || matches!(colorterm, "truecolor" | "24bit");
        if has_many {
            ColorDepth::Many
        } else {
            ColorDepth::Sixteen
        }
    }
}

fn text(value: Option<&OsStr>) -> Option<&str> {
    value
        .and_then(OsStr::to_str)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_theme() {
        for (no_color, colorfgbg, term, theme) in [
            ("", "", "xterm-256color", Theme::Dark),
            ("1", "", "xterm-256color", Theme::Mono),
            ("", "", "dumb", Theme::Mono),
            ("", "15;0", "xterm", Theme::Dark),
            ("", "0;15", "xterm", Theme::Light),
            ("", "0;default;15", "xterm", Theme::Light),
            ("", "0;7", "xterm", Theme::Light),
            ("", "7;8", "xterm", Theme::Dark),
            ("", "0;default", "xterm", Theme::Dark),
            ("", "\u{1b}[2J", "xterm", Theme::Dark),
            ("1", "0;15", "xterm", Theme::Mono),
        ] {
            let environment = TerminalEnvironment {
                no_color: Some(no_color.as_ref()),
                colorfgbg: Some(colorfgbg.as_ref()),
                term: Some(term.as_ref()),
                colorterm: None,
            };
            assert_eq!(environment.theme(), theme, "{no_color} {colorfgbg} {term}");
        }
        assert_eq!(TerminalEnvironment::default().theme(), Theme::Dark);
    }

    #[test]
    fn the_terminals_name_says_how_many_colours_it_has() {
        for (term, colorterm, depth) in [
            ("xterm-256color", "", ColorDepth::Many),
            ("screen", "", ColorDepth::Sixteen),
            ("linux", "", ColorDepth::Sixteen),
            ("xterm", "truecolor", ColorDepth::Many),
            ("xterm-direct", "", ColorDepth::Many),
            ("", "", ColorDepth::Sixteen),
        ] {
            let environment = TerminalEnvironment {
                term: Some(term.as_ref()),
                colorterm: Some(colorterm.as_ref()),
                ..TerminalEnvironment::default()
            };
            assert_eq!(environment.depth(), depth, "{term} {colorterm}");
        }
    }
}
