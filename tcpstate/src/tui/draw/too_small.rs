//! What is shown where nothing else has room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::draw::layout::{MIN_HEIGHT, MIN_WIDTH};
use crate::tui::draw::pen::Pen;
use crate::tui::text::wrap;
use crate::tui::theme::{Theme, Tone};

pub(crate) fn draw(buf: &mut Buffer, area: Rect, theme: Theme) {
    let text = format!(
        "tcpstate needs {MIN_WIDTH}×{MIN_HEIGHT}, this is {}×{}: enlarge the window, or q and --format text",
        area.width, area.height
    );
    let lines = wrap(&text, usize::from(area.width));
    for (row, line) in (0..area.height).zip(lines) {
        Pen::new(buf, theme, area, row).put(&line, Tone::Strong);
    }
}
