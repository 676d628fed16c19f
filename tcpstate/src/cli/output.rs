//! How the output looks and where it goes, of each command that shows events.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::tui::Theme;

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The dashboard; the default on a terminal.
    Tui,
    /// One line per event; the default elsewhere.
    Text,
    /// One JSON object per line.
    Json,
}

/// How the output looks and where it goes.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How events are shown; by default `tui` on a terminal, else `text`.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Short for `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// What the dashboard is like.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// What the dashboard is like.
#[derive(Clone, Debug, Args)]
pub struct ScreenArgs {
    /// Colours of the dashboard; by default those that fit the terminal.
    #[arg(long, value_enum, value_name = "THEME")]
    pub theme: Option<ThemeName>,
    /// Click rows and columns of the dashboard.
    #[arg(long)]
    pub mouse: bool,
    /// The dashboard's configuration; by default `tcpstate/config.toml` in
    /// `$XDG_CONFIG_HOME` or `~/.config`, or what `TCPSTATE_CONFIG` names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A theme of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeName {
    /// The one that fits: `NO_COLOR` and `COLORFGBG` are honoured.
    Auto,
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// Its own black background, bright colours.
    HighContrast,
    /// No colour at all.
    Mono,
}

impl ThemeName {
    /// The theme; `None`: the one that fits.
    #[must_use]
    pub fn theme(self) -> Option<Theme> {
        match self {
            Self::Auto => None,
            Self::Dark => Some(Theme::Dark),
            Self::Light => Some(Theme::Light),
            Self::HighContrast => Some(Theme::HighContrast),
            Self::Mono => Some(Theme::Mono),
        }
    }
}

impl OutputArgs {
    /// The format, given whether stdout is a terminal.
    #[must_use]
    pub fn format(&self, stdout_is_terminal: bool) -> Format {
        match self.format {
            Some(format) => format,
            None if self.json => Format::Json,
            None if stdout_is_terminal => Format::Tui,
            None => Format::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_can_be_asked_for_by_its_name() {
        for theme in Theme::ALL {
            let name = ThemeName::from_str(theme.name(), false);
            assert_eq!(name.map(ThemeName::theme), Ok(Some(theme)));
        }
    }
}
