//! What every panel reads, and what panels have in common.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::draw::pen::Pen;
use crate::tui::input::keys::Keys;
use crate::tui::state::UiState;
use crate::tui::state::feed::Behind;
use crate::tui::state::panel::Panel;
use crate::tui::state::view::View;
use crate::tui::theme::{Theme, Tone};
use crate::tui::units;

/// What every panel reads.
pub(crate) struct Screen<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) state: &'a UiState,
    pub(crate) keys: &'a Keys,
    pub(crate) theme: Theme,
    /// What came since the screen was frozen.
    pub(crate) behind: Option<Behind>,
}

/// A piece of text and what it means.
pub(crate) type Span = (String, Tone);

impl Screen<'_> {
    /// A pen at a row of the area.
    pub(crate) fn pen<'b>(&self, buf: &'b mut Buffer, area: Rect, row: u16) -> Pen<'b> {
        Pen::new(buf, self.theme, area, row)
    }

    pub(crate) fn is_focused(&self, panel: Panel) -> bool {
        self.state.focus == panel && self.state.overlay.is_none()
    }

    /// A panel's title line: heavy where the keys go, light elsewhere.
    pub(crate) fn title(
        &self,
        buf: &mut Buffer,
        area: Rect,
        is_focused: bool,
        title: &str,
        more: &str,
    ) {
        let (rule, line, name) = if is_focused {
            ("━", Tone::Accent, Tone::Accent)
        } else {
            ("─", Tone::Dim, Tone::Strong)
        };
        let mut pen = self.pen(buf, area, 0);
        pen.put(rule, line).put(" ", line).put(title, name);
        if !more.is_empty() {
            pen.put(" · ", Tone::Dim).put(more, Tone::Dim);
        }
        pen.put(" ", line).fill(rule, line);
    }

    pub(crate) fn time_of_day(&self, mono_ns: u64) -> String {
        units::time_of_day(self.view.anchor(), mono_ns)
    }
}

/// Makes a row stand out as the chosen one, colour or not.
pub(crate) fn mark_row(buf: &mut Buffer, area: Rect, row: u16, theme: Theme) {
    let line = Rect {
        y: area.y.saturating_add(row),
        height: 1,
        ..area
    };
    buf.set_style(line.intersection(buf.area), theme.style(Tone::Selected));
}
