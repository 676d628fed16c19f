//! The colours of each tone.
//!
//! Of the 256, those above the sixteenth look alike on every terminal, so their
//! contrast can be known. Each has a stand-in among the sixteen that a terminal
//! or its user chooses; bright black is none, for many make it the background.

use ratatui::style::{Color, Style};

use super::tone::Tone;
use crate::event::State;

/// A colour of the 256, and its stand-in of the sixteen.
type PaletteColor = (u8, Color);

/// One theme's colours.
#[derive(Debug)]
pub(crate) struct Palette {
    /// Text and background; `None`: the terminal's own.
    ground: Option<(PaletteColor, PaletteColor)>,
    dim: PaletteColor,
    good: PaletteColor,
    bad: PaletteColor,
    warn: PaletteColor,
    accent: PaletteColor,
    opening: PaletteColor,
    time_wait: PaletteColor,
    bound: PaletteColor,
}

pub(crate) const DARK: Palette = Palette {
    ground: None,
    dim: (247, Color::Gray),
    good: (114, Color::Green),
    bad: (210, Color::LightRed),
    warn: (221, Color::Yellow),
    accent: (80, Color::Cyan),
    opening: (117, Color::LightCyan),
    time_wait: (176, Color::LightMagenta),
    bound: (254, Color::White),
};

/// Green, yellow and cyan of the sixteen cannot be read on white.
pub(crate) const LIGHT: Palette = Palette {
    ground: None,
    dim: (240, Color::DarkGray),
    good: (22, Color::Blue),
    bad: (124, Color::Red),
    warn: (94, Color::Magenta),
    accent: (24, Color::Blue),
    opening: (19, Color::Blue),
    time_wait: (90, Color::Magenta),
    bound: (235, Color::Black),
};

pub(crate) const HIGH_CONTRAST: Palette = Palette {
    ground: Some(((231, Color::White), (16, Color::Black))),
    dim: (253, Color::Gray),
    good: (120, Color::LightGreen),
    bad: (217, Color::LightRed),
    warn: (227, Color::LightYellow),
    accent: (123, Color::LightCyan),
    opening: (153, Color::LightCyan),
    time_wait: (219, Color::LightMagenta),
    bound: (231, Color::White),
};

impl Palette {
    pub(crate) fn paint(&self, tone: Tone, style: Style) -> Style {
        match self.color_of(tone) {
            Some((index, _)) => style.fg(Color::Indexed(index)),
            None => style,
        }
    }

    pub(crate) fn base(&self) -> Style {
        self.ground
            .map_or(Style::new(), |((text, _), (ground, _))| {
                Style::new()
                    .fg(Color::Indexed(text))
                    .bg(Color::Indexed(ground))
            })
    }

    pub(crate) fn reduced(&self, color: Color) -> Color {
        let Color::Indexed(index) = color else {
            return color;
        };
        let ground = self
            .ground
            .into_iter()
            .flat_map(|(text, ground)| [text, ground]);
        ground
            .chain(self.colors())
            .find(|color| color.0 == index)
            .map_or(Color::Reset, |color| color.1)
    }

    fn colors(&self) -> [PaletteColor; 8] {
        [
            self.dim,
            self.good,
            self.bad,
            self.warn,
            self.accent,
            self.opening,
            self.time_wait,
            self.bound,
        ]
    }

    /// `None`: as the text around it.
    fn color_of(&self, tone: Tone) -> Option<PaletteColor> {
        Some(match tone {
            Tone::Text | Tone::Strong | Tone::Selected => return None,
            Tone::Dim | Tone::State(State::Closed) => self.dim,
            Tone::Good | Tone::State(State::Listen) => self.good,
            Tone::Bad | Tone::State(State::CloseWait) => self.bad,
            Tone::Accent | Tone::State(State::Established) => self.accent,
            Tone::State(State::SynSent | State::SynReceived) => self.opening,
            Tone::Warn
            | Tone::State(State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck) => {
                self.warn
            }
            Tone::State(State::TimeWait) => self.time_wait,
            Tone::State(State::Bound) => self.bound,
        })
    }
}

/// Every tone, for tests.
#[cfg(test)]
pub(crate) fn tones() -> Vec<Tone> {
    let mut tones = vec![
        Tone::Text,
        Tone::Dim,
        Tone::Strong,
        Tone::Good,
        Tone::Bad,
        Tone::Warn,
        Tone::Accent,
        Tone::Selected,
    ];
    tones.extend(State::ALL.map(Tone::State));
    tones
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = [u8; 3];

    /// Contrast of two colours, 1 to 21 (WCAG 2.2, "contrast ratio").
    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let luminance = |rgb: Rgb| {
            let [r, g, b] = rgb.map(|part| {
                let part = f64::from(part) / 255.0;
                if part <= 0.040_45 {
                    part / 12.92
                } else {
                    ((part + 0.055) / 1.055).powf(2.4)
                }
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// xterm's cube of 6×6×6 and its ramp of grey.
    fn rgb(index: u8) -> Rgb {
        let level = |part: u8| [0, 95, 135, 175, 215, 255][usize::from(part)];
        match index {
            0..16 => panic!("the terminal chooses the first sixteen"),
            16..232 => {
                let cube = index - 16;
                [level(cube / 36), level(cube / 6 % 6), level(cube % 6)]
            }
            232.. => [8 + 10 * (index - 232); 3],
        }
    }

    /// The sixteen as xterm and as the Linux console have them.
    const XTERM: [Rgb; 16] = [
        [0, 0, 0],
        [205, 0, 0],
        [0, 205, 0],
        [205, 205, 0],
        [0, 0, 238],
        [205, 0, 205],
        [0, 205, 205],
        [229, 229, 229],
        [127, 127, 127],
        [255, 0, 0],
        [0, 255, 0],
        [255, 255, 0],
        [92, 92, 255],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ];
    const CONSOLE: [Rgb; 16] = [
        [0, 0, 0],
        [170, 0, 0],
        [0, 170, 0],
        [170, 85, 0],
        [0, 0, 170],
        [170, 0, 170],
        [0, 170, 170],
        [170, 170, 170],
        [85, 85, 85],
        [255, 85, 85],
        [85, 255, 85],
        [255, 255, 85],
        [85, 85, 255],
        [255, 85, 255],
        [85, 255, 255],
        [255, 255, 255],
    ];

    fn number(color: Color) -> usize {
        [
            Color::Black,
            Color::Red,
            Color::Green,
            Color::Yellow,
            Color::Blue,
            Color::Magenta,
            Color::Cyan,
            Color::Gray,
            Color::DarkGray,
            Color::LightRed,
            Color::LightGreen,
            Color::LightYellow,
            Color::LightBlue,
            Color::LightMagenta,
            Color::LightCyan,
            Color::White,
        ]
        .iter()
        .position(|other| *other == color)
        .expect("it is one of the sixteen")
    }

    #[test]
    fn the_ratio_is_the_one_of_the_standard() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-9);
        assert!((contrast([119; 3], [255; 3]) - 4.478).abs() < 1e-3);
    }

    /// Backgrounds that people have: black, and the darkest and lightest of the
    /// usual themes' dark and light ones.
    #[test]
    fn every_colour_stands_out_from_the_background() {
        let darks = [
            [0, 0, 0],
            [30, 30, 30],
            [48, 10, 36],
            [0, 43, 54],
            [40, 42, 54],
        ];
        let lights = [[255, 255, 255], [253, 246, 227], [238, 238, 238]];
        for (palette, grounds, least) in [
            (&DARK, &darks[..], 4.5),
            (&LIGHT, &lights[..], 4.5),
            (&HIGH_CONTRAST, &[[0, 0, 0]][..], 7.0),
        ] {
            for ground in grounds {
                for (index, _) in palette.colors() {
                    let ratio = contrast(rgb(index), *ground);
                    assert!(ratio >= least, "{index} on {ground:?}: {ratio:.2}");
                }
            }
        }
        let ((text, _), (ground, _)) = HIGH_CONTRAST.ground.expect("it has its own");
        assert!(contrast(rgb(text), rgb(ground)) > 20.0);
    }

    /// The stand-ins are the terminal's; on the two oldest they can be read.
    #[test]
    fn the_sixteen_stand_out_too() {
        for sixteen in [XTERM, CONSOLE] {
            for (palette, ground) in [
                (&DARK, sixteen[0]),
                (&LIGHT, sixteen[15]),
                (&HIGH_CONTRAST, sixteen[0]),
            ] {
                for (_, color) in palette.colors() {
                    let ratio = contrast(sixteen[number(color)], ground);
                    assert!(ratio >= 4.0, "{color} on {ground:?}: {ratio:.2}");
                }
            }
        }
    }
}
