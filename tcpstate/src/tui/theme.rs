//! What a thing means, and how that looks.
//!
//! Panels name roles, never colours. Every role can also be told apart without
//! colour: by weight, by reversal, or by the word or symbol that carries it.

use ratatui::style::{Color, Modifier, Style};

use crate::event::State;

/// A set of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own sixteen colours; made for dark backgrounds.
    #[default]
    Dark,
    /// No colour at all.
    Mono,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Plain text.
    Text,
    /// Of little weight: labels, units, lines.
    Dim,
    /// A word to be found at once.
    Strong,
    /// As it should be.
    Good,
    /// Stands in the way.
    Bad,
    /// Deserves a look.
    Warn,
    /// Where the keys go.
    Accent,
    /// The chosen row.
    Selected,
    /// A TCP state.
    State(State),
}

impl Theme {
    /// The theme that `NO_COLOR` asks for (<https://no-color.org>): set and not
    /// empty means no colour.
    #[must_use]
    pub fn from_no_color(value: Option<&std::ffi::OsStr>) -> Self {
        match value {
            Some(value) if !value.is_empty() => Self::Mono,
            _ => Self::Dark,
        }
    }

    pub(crate) fn style(self, role: Role) -> Style {
        match self {
            Self::Dark => dark(role),
            Self::Mono => mono(role),
        }
    }
}

fn dark(role: Role) -> Style {
    let style = Style::new();
    match role {
        Role::Text => style,
        Role::Dim => style.fg(Color::DarkGray),
        Role::Strong => style.add_modifier(Modifier::BOLD),
        Role::Good => style.fg(Color::Green),
        Role::Bad => style.fg(Color::LightRed).add_modifier(Modifier::BOLD),
        Role::Warn => style.fg(Color::Yellow),
        Role::Accent => style.fg(Color::Cyan),
        Role::Selected => style.add_modifier(Modifier::REVERSED),
        Role::State(state) => style.fg(match state {
            State::Listen => Color::Green,
            State::Established => Color::Cyan,
            State::SynSent | State::SynReceived => Color::Blue,
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck => Color::Yellow,
            State::TimeWait => Color::Magenta,
            State::CloseWait => Color::LightRed,
            State::Bound => Color::White,
            State::Closed => Color::DarkGray,
        }),
    }
}

fn mono(role: Role) -> Style {
    let style = Style::new();
    match role {
        Role::Text | Role::Good | Role::State(_) => style,
        Role::Dim => style.add_modifier(Modifier::DIM),
        Role::Strong | Role::Bad | Role::Warn | Role::Accent => style.add_modifier(Modifier::BOLD),
        Role::Selected => style.add_modifier(Modifier::REVERSED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_only_when_it_is_not_empty() {
        assert_eq!(Theme::from_no_color(None), Theme::Dark);
        assert_eq!(Theme::from_no_color(Some("".as_ref())), Theme::Dark);
        assert_eq!(Theme::from_no_color(Some("1".as_ref())), Theme::Mono);
    }

    #[test]
    fn the_mono_theme_sets_no_colour() {
        for role in [
            Role::Text,
            Role::Dim,
            Role::Good,
            Role::Bad,
            Role::Warn,
            Role::Accent,
            Role::Selected,
            Role::State(State::TimeWait),
        ] {
            let style = Theme::Mono.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }
}
