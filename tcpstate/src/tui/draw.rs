//! One file per panel; here they are put together.

mod banner;
mod chart;
mod detail;
mod event_line;
mod events;
mod glossary;
mod header;
mod help;
pub(crate) mod layout;
mod messages;
mod overlay;
mod page;
mod pen;
mod phrases;
mod pickers;
mod ports;
mod replay_bar;
mod screen;
pub(crate) mod sockets;
mod status;
mod too_small;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::engine::Engine;
use crate::tui::app::{App, Behind};
use crate::tui::draw::layout::Plan;
use crate::tui::draw::screen::Screen;
use crate::tui::state::view::View;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, engine: &Engine, app: &mut App, now_ns: u64) {
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

pub(crate) fn draw_view(
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
    let note = messages::latest(app, area);
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
    events::draw(buf, plan.stream, &screen);
    messages::draw(buf, plan.note, &screen, &note);
    if let Some(position) = &app.position {
        replay_bar::draw(buf, plan.note, &screen, position);
    }
    status::draw(buf, plan.status, &screen);
    if let Some(text) = text {
        overlay::draw(buf, area, &text, &screen);
    }
}
