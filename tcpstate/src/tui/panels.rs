//! One file per panel; here they are put together.

mod banner;
mod chart;
mod detail;
mod header;
mod help;
mod notes;
mod overlay;
mod pickers;
mod ports;
mod position;
mod sockets;
mod status;
mod stream;
mod too_small;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{App, Behind, Overlay, Panel};
use super::layout::Plan;
use super::pen::Pen;
use super::theme::{Role, Theme};
use super::units;
use super::view::View;
use crate::engine::Engine;
pub(super) use sockets::column_at;

/// What every panel reads.
struct Screen<'a> {
    view: &'a View<'a>,
    app: &'a App,
    theme: Theme,
    /// What came since the screen was frozen.
    behind: Option<Behind>,
}

/// A piece of text and what it means.
type Span = (String, Role);

pub(super) fn draw(buf: &mut Buffer, area: Rect, engine: &Engine, app: &mut App, now_ns: u64) {
    app.begin_frame(engine, now_ns);
    let behind = app.behind(engine);
    let frozen = app.frozen.take();
    draw_view(
        buf,
        area,
        &View::of(frozen.as_deref(), engine, now_ns),
        app,
        behind,
    );
    app.frozen = frozen;
}

pub(super) fn draw_view(
    buf: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    app: &mut App,
    behind: Option<Behind>,
) {
    app.refresh(view);
    let theme = app.theme;
    let problems = app.banner(view);
    let banner = banner::lines(view, &problems, area, app);
    let banner_height = banner.as_ref().map_or(0, banner::Lines::height);
    let note = notes::latest(app, area);
    let bar_height = u16::from(app.position.is_some());
    let note_height = u16::try_from(note.len()).unwrap_or(u16::MAX) + bar_height;
    let Some(plan) = Plan::of(area, app.ports.len(), banner_height, note_height) else {
        too_small::draw(buf, area, theme);
        return;
    };
    app.settle(&plan);
    let text = overlay::text(view, app, area);
    if let Some(text) = &text {
        app.settle_overlay(text.lines.len(), text.visible(area));
        app.links.settle(text.links.clone());
    }
    let screen = Screen {
        view,
        app,
        theme,
        behind,
    };
    header::draw(buf, plan.header, &screen);
    ports::draw(buf, plan.ports, plan.lane, &screen);
    if let Some(banner) = banner {
        banner.draw(buf, plan.banner, &screen);
    }
    sockets::draw(buf, plan.sockets, &screen);
    chart::draw(buf, plan.chart, &screen);
    stream::draw(buf, plan.stream, &screen);
    notes::draw(buf, plan.note, &screen, &note);
    if let Some(position) = &app.position {
        position::draw(buf, plan.note, &screen, position);
    }
    status::draw(buf, plan.status, &screen);
    if let Some(text) = text {
        overlay::draw(buf, area, &text, &screen);
    }
}

impl Screen<'_> {
    /// A pen at a row of the area.
    fn pen<'b>(&self, buf: &'b mut Buffer, area: Rect, row: u16) -> Pen<'b> {
        Pen::new(buf, self.theme, area, row)
    }

    fn is_focused(&self, panel: Panel) -> bool {
        self.app.focus == panel && self.app.overlay == Overlay::None
    }

    /// A panel's title line: heavy where the keys go, light elsewhere.
    fn title(&self, buf: &mut Buffer, area: Rect, is_focused: bool, title: &str, more: &str) {
        let (rule, line, name) = if is_focused {
            ("━", Role::Accent, Role::Accent)
        } else {
            ("─", Role::Dim, Role::Strong)
        };
        let mut pen = self.pen(buf, area, 0);
        pen.put(rule, line).put(" ", line).put(title, name);
        if !more.is_empty() {
            pen.put(" · ", Role::Dim).put(more, Role::Dim);
        }
        pen.put(" ", line).fill(rule, line);
    }

    fn time_of_day(&self, mono_ns: u64) -> String {
        units::time_of_day(self.view.anchor(), mono_ns)
    }
}

/// Makes a row stand out as the chosen one, colour or not.
fn mark_row(buf: &mut Buffer, area: Rect, row: u16, theme: Theme) {
    let line = Rect {
        y: area.y.saturating_add(row),
        height: 1,
        ..area
    };
    buf.set_style(line.intersection(buf.area), theme.style(Role::Selected));
}
