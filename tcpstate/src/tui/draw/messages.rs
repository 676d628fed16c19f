//! Messages: the latest in lines of its own, all of them in an overlay.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::draw::page::Page;
use crate::tui::draw::screen::Screen;
use crate::tui::state::UiState;
use crate::tui::state::view::View;
use crate::tui::text::wrap_to;
use crate::tui::theme::Tone;
use crate::tui::units;

/// Lines that the latest may take.
const LINES: usize = 2;
/// From this height on.
const TALL: u16 = 24;
/// Room for the mark.
const MARK: usize = 3;

/// The latest, wrapped; empty: there is none, or it was dismissed.
pub(crate) fn latest(state: &UiState, area: Rect) -> Vec<String> {
    let width = usize::from(area.width).saturating_sub(MARK + 1);
    state.messages.latest().map_or_else(Vec::new, |message| {
        wrap_to(
            &message.text,
            width,
            if area.height < TALL { 1 } else { LINES },
        )
    })
}

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, lines: &[String]) {
    for (row, line) in (0..).zip(lines) {
        let mark = if row == 0 { "»" } else { "" };
        let mut pen = screen.pen(buf, area, row);
        pen.skip(1)
            .column(MARK - 1, mark, Tone::Accent)
            .put(line, Tone::Accent);
    }
}

/// All messages.
pub(crate) fn text(view: &View<'_>, state: &UiState, width: usize) -> Page {
    let mut text = Page::new("messages, the latest last", width);
    for message in state.messages.iter() {
        let time = units::time_of_day(view.anchor(), message.mono_ns);
        text.pair(14, &time, &message.text, Tone::Dim);
    }
    if text.lines.is_empty() {
        text.paragraph("Nothing was said so far.", Tone::Text);
    }
    text
}
