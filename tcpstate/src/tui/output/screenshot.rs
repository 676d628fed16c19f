//! A picture of the screen: as text, and as an SVG that any browser shows.
//!
//! Pure: a buffer in, text out.

use std::fmt::Write as _;

use maud::html;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

use crate::printable::printable;
use crate::tui::theme::Theme;

/// Size of a cell of the SVG, in pixels.
const WIDTH: usize = 8;
const HEIGHT: usize = 17;
/// From the top of a cell to the line that letters stand on.
const BASELINE: usize = 13;

/// How a picture of the screen is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenshotFormat {
    /// As text.
    Text,
    /// As a drawing.
    Svg,
}

/// As text: a line for each row, without the blanks at its end.
#[must_use]
pub(crate) fn text(buf: &Buffer) -> String {
    let mut text = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let mut line = String::new();
        for run in runs(buf, y) {
            line += &run.text;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As a drawing. Whatever the cells hold, it is one image and nothing in it
/// runs or is loaded.
#[must_use]
pub(crate) fn svg(buf: &Buffer, theme: Theme) -> String {
    let defaults = DefaultColors::of(theme);
    let width = usize::from(buf.area.width) * WIDTH;
    let height = usize::from(buf.area.height) * HEIGHT;
    let rows = (buf.area.top()..buf.area.bottom()).enumerate();
    let runs: Vec<(usize, StyledRun)> = rows
        .flat_map(|(row, y)| runs(buf, y).into_iter().map(move |run| (row, run)))
        .collect();
    let drawing = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ "0 0 " (width) " " (height) }
            font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" {
            rect width="100%" height="100%" fill=(defaults.back) {}
            @for (row, run) in &runs {
                @let style = CellStyle::of(&run.cell, &defaults);
                @if style.back != defaults.back {
                    rect x=(run.x * WIDTH) y=(row * HEIGHT)
                        width=(run.width * WIDTH) height=(HEIGHT) fill=(style.back) {}
                }
                @if !run.text.trim().is_empty() {
                    text x=(run.x * WIDTH) y=(row * HEIGHT + BASELINE)
                        textLength=(run.width * WIDTH) lengthAdjust="spacingAndGlyphs"
                        fill=(style.fore) font-weight=[style.is_bold.then_some("bold")]
                        opacity=[style.is_dim.then_some("0.6")]
                        xml:space="preserve" { (run.text) }
                }
            }
        }
    };
    drawing.into_string() + "\n"
}

/// Cells of one style side by side.
struct StyledRun {
    x: usize,
    width: usize,
    text: String,
    cell: Cell,
}

/// The row's cells, put together where they look the same. A wide character
/// stands alone, so that what follows keeps its column.
fn runs(buf: &Buffer, y: u16) -> Vec<StyledRun> {
    let mut runs: Vec<StyledRun> = Vec::new();
    let mut covered = 0;
    for x in buf.area.left()..buf.area.right() {
        if covered > 0 {
            covered -= 1;
            continue;
        }
        let Some(cell) = buf.cell((x, y)) else {
            continue;
        };
        let symbol = printable(cell.symbol());
        let cells = symbol.width().max(1);
        covered = cells - 1;
        let is_alike = |other: &Cell| {
            (cell.fg, cell.bg, cell.modifier) == (other.fg, other.bg, other.modifier)
        };
        match runs.last_mut() {
            Some(run)
                if cells == 1
                    && run.text.is_ascii() == symbol.is_ascii()
                    && is_alike(&run.cell)
                    && run.width == run.text.chars().count() =>
            {
                run.text += &symbol;
                run.width += 1;
            }
            _ => runs.push(StyledRun {
                x: usize::from(x - buf.area.left()),
                width: cells,
                text: symbol.into_owned(),
                cell: cell.clone(),
            }),
        }
    }
    runs
}

/// Colours of a terminal that does not say which it has.
struct DefaultColors {
    fore: String,
    back: String,
}

impl DefaultColors {
    fn of(theme: Theme) -> Self {
        let (fore, back) = match theme {
            Theme::Dark | Theme::Mono => ("#d8d8d8", "#121212"),
            Theme::Light => ("#1c1c1c", "#ffffff"),
            Theme::HighContrast => ("#ffffff", "#000000"),
        };
        Self {
            fore: fore.to_owned(),
            back: back.to_owned(),
        }
    }
}

struct CellStyle {
    fore: String,
    back: String,
    is_bold: bool,
    is_dim: bool,
}

impl CellStyle {
    fn of(cell: &Cell, defaults: &DefaultColors) -> Self {
        let mut fore = paint(cell.fg).unwrap_or_else(|| defaults.fore.clone());
        let mut back = paint(cell.bg).unwrap_or_else(|| defaults.back.clone());
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut fore, &mut back);
        }
        Self {
            fore,
            back,
            is_bold: cell.modifier.contains(Modifier::BOLD),
            is_dim: cell.modifier.contains(Modifier::DIM),
        }
    }
}

/// xterm's colours; `None`: the terminal's own.
fn paint(color: Color) -> Option<String> {
    const SIXTEEN: [&str; 16] = [
        "#000000", "#cd0000", "#00cd00", "#cdcd00", "#0000ee", "#cd00cd", "#00cdcd", "#e5e5e5",
        "#7f7f7f", "#ff0000", "#00ff00", "#ffff00", "#5c5cff", "#ff00ff", "#00ffff", "#ffffff",
    ];
    let index = match color {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => return Some(hex([r, g, b])),
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
        Color::Indexed(index) => index,
    };
    let level = |part: u8| [0, 95, 135, 175, 215, 255][usize::from(part)];
    Some(match index {
        0..16 => SIXTEEN[usize::from(index)].to_owned(),
        16..232 => {
            let cube = index - 16;
            hex([level(cube / 36), level(cube / 6 % 6), level(cube % 6)])
        }
        232.. => hex([8 + 10 * (index - 232); 3]),
    })
}

fn hex(rgb: [u8; 3]) -> String {
    let mut text = "#".to_owned();
    for part in rgb {
        let _ = write!(text, "{part:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn buffer() -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 12, 2));
        buf.set_string(0, 0, "ok <&>\"", Style::new().fg(Color::Indexed(114)));
        buf.set_string(0, 1, "服x", Style::new().add_modifier(Modifier::REVERSED));
        buf
    }

    #[test]
    fn text_has_a_line_for_each_row() {
        assert_eq!(text(&buffer()), "ok <&>\"\n服x\n");
    }

    #[test]
    fn an_svg_has_colours_columns_and_nothing_unescaped() {
        let svg = svg(&buffer(), Theme::Dark);

        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"96\" height=\"34\"")
        );
        assert!(svg.contains("fill=\"#87d787\""), "{svg}");
        assert!(svg.contains(">ok &lt;&amp;&gt;&quot;</text>"), "{svg}");
        // The wide character takes two columns; what follows stands in the third.
        assert!(svg.contains("textLength=\"16\""), "{svg}");
        assert!(svg.contains("<text x=\"16\" y=\"30\""), "{svg}");
        // Reversed: the text's colour is the background.
        assert!(
            svg.contains("<rect x=\"0\" y=\"17\" width=\"16\" height=\"17\" fill=\"#d8d8d8\">")
        );
    }

    #[test]
    fn what_a_process_chose_is_neither_markup_nor_control() {
        let hostile = [
            "</svg>", "<script>", "\x1b[2J", "\u{202e}", "\u{0}", "]]>", "\u{9b}1m",
        ];
        let mut buf = Buffer::empty(Rect::new(0, 0, 200, 1));
        // Apart, for what is wide covers the cells beside it.
        for (x, symbol) in (0..).step_by(25).zip(hostile) {
            buf[(x, 0)].set_symbol(symbol);
        }

        let svg = svg(&buf, Theme::Light);

        assert_eq!(svg.matches("</svg>").count(), 1);
        assert!(!svg.contains("<script"), "{svg}");
        assert!(!svg.chars().any(|c| c.is_control() && c != '\n'), "{svg:?}");
        assert!(!svg.contains('\u{202e}') && !text(&buf).contains('\x1b'));
    }

    #[test]
    fn every_colour_has_its_hex() {
        assert_eq!(paint(Color::Indexed(16)).as_deref(), Some("#000000"));
        assert_eq!(paint(Color::Indexed(231)).as_deref(), Some("#ffffff"));
        assert_eq!(paint(Color::Indexed(232)).as_deref(), Some("#080808"));
        assert_eq!(paint(Color::Indexed(255)).as_deref(), Some("#eeeeee"));
        assert_eq!(paint(Color::Rgb(1, 2, 255)).as_deref(), Some("#0102ff"));
        assert_eq!(paint(Color::Reset), None);
        for index in 0..=255 {
            assert_eq!(paint(Color::Indexed(index)).map(|hex| hex.len()), Some(7));
        }
    }
}
