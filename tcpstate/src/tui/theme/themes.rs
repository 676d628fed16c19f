//! The themes: how each tone looks.

use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};

use super::color_depth::ColorDepth;
use super::palette::{DARK, HIGH_CONTRAST, LIGHT, Palette};
use super::tone::Tone;

/// How tones look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// For dark backgrounds, whichever they are.
    #[default]
    Dark,
    /// For light backgrounds, whichever they are.
    Light,
    /// Its own black background, and every colour far from it.
    HighContrast,
    /// No colour at all.
    Mono,
}

impl Theme {
    /// All themes, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Dark, Self::Light, Self::HighContrast, Self::Mono];

    /// Its name in options and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::Mono => "mono",
        }
    }

    /// The theme with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }

    pub(crate) fn style(self, tone: Tone) -> Style {
        let style = Style::new().add_modifier(self.weight(tone));
        match self.palette() {
            Some(palette) => palette.paint(tone, style),
            None => style,
        }
    }

    /// What lies under everything.
    pub(crate) fn base(self) -> Style {
        self.palette().map_or(Style::new(), Palette::base)
    }

    /// Puts the terminal's own sixteen colours in place of the others.
    pub(crate) fn reduce(self, depth: ColorDepth, buf: &mut Buffer) {
        let Some(palette) = self.palette().filter(|_| depth == ColorDepth::Sixteen) else {
            return;
        };
        for cell in &mut buf.content {
            cell.fg = palette.reduced(cell.fg);
            cell.bg = palette.reduced(cell.bg);
        }
    }

    fn palette(self) -> Option<&'static Palette> {
        match self {
            Self::Dark => Some(&DARK),
            Self::Light => Some(&LIGHT),
            Self::HighContrast => Some(&HIGH_CONTRAST),
            Self::Mono => None,
        }
    }

    /// Without colour, what stands out is bold and what does not is dim.
    fn weight(self, tone: Tone) -> Modifier {
        match tone {
            Tone::Selected => Modifier::REVERSED,
            Tone::Strong | Tone::Bad => Modifier::BOLD,
            Tone::Warn | Tone::Accent if self == Self::Mono => Modifier::BOLD,
            Tone::Dim if self == Self::Mono => Modifier::DIM,
            _ => Modifier::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Color;

    use super::*;
    use crate::tui::theme::palette::tones;

    #[test]
    fn the_mono_theme_sets_no_colour() {
        for tone in tones() {
            let style = Theme::Mono.style(tone);
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
        assert_eq!(Theme::Mono.base(), Style::new());
    }

    #[test]
    fn a_theme_is_found_by_its_name() {
        for theme in Theme::ALL {
            assert_eq!(Theme::from_name(theme.name()), Some(theme));
        }
        assert_eq!(Theme::from_name("pink"), None);
    }

    #[test]
    fn sixteen_colours_are_enough() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 4, 1));
        for theme in Theme::ALL {
            for tone in tones() {
                buf.reset();
                buf.set_style(buf.area, theme.base());
                buf.set_style(buf.area, theme.style(tone));
                theme.reduce(ColorDepth::Sixteen, &mut buf);
                let is_basic = |color| !matches!(color, Color::Indexed(_) | Color::Rgb(..));
                assert!(
                    is_basic(buf[(0, 0)].fg) && is_basic(buf[(0, 0)].bg),
                    "{tone:?}"
                );
            }
        }
    }
}
