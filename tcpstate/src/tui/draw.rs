//! What the state looks like: one file per panel, put together here.
//!
//! Whatever is drawn goes through a [`pen`].

mod banner;
mod chart;
mod detail;
mod events;
mod glossary;
mod header;
mod help;
mod layout;
mod messages;
mod overlay;
mod page;
mod pen;
mod phrases;
mod pickers;
mod ports;
mod release;
mod replay_bar;
mod rounds;
mod screen;
mod sockets;
mod status;
mod too_small;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::layout::{Heights, Layout};
use self::screen::Screen;
use super::input::keys::Keys;
use super::state::UiState;
use super::state::feed::Behind;
use super::state::panel::Panel;
use super::state::regions::Regions;
use super::state::view::View;

/// Draws the view; brings the state's lists up to date with it first.
pub(crate) fn draw(
    buf: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    state: &mut UiState,
    keys: &Keys,
    behind: Option<Behind>,
) {
    state.sync(view);
    let theme = state.settings.theme;
    let problems = state.banner.open(view);
    let banner = banner::text(view, &problems, area, keys, state.is_replay());
    let banner_height = banner.as_ref().map_or(0, banner::BannerText::height);
    let message = messages::latest(state, area);
    let bar_height = u16::from(state.is_replay());
    let message_height = u16::try_from(message.len()).unwrap_or(u16::MAX) + bar_height;
    let ports = state.ports.items.len();
    let rounds_height = state.rounds.as_ref();
    let rounds_height = rounds_height.map_or(0, |it| rounds::height(it, area.height));
    let heights = Heights {
        rounds: rounds_height,
        banner: banner_height,
        message: message_height,
    };
    let Some(layout) = Layout::of(area, ports, heights) else {
        too_small::draw(buf, area, theme);
        return;
    };
    scroll_into_view(state, &layout);
    let page = overlay::text(view, state, keys, area);
    if let (Some(page), Some(overlay)) = (&page, &mut state.overlay) {
        overlay.sync(page.lines.len(), page.visible(area), &page.links);
    }
    let screen = Screen {
        view,
        state,
        keys,
        theme,
        behind,
    };
    header::draw(buf, layout.header, &screen);
    if let Some(rounds) = &state.rounds {
        rounds::draw(buf, layout.rounds, &screen, rounds);
    }
    ports::draw(buf, layout.ports, layout.lane, &screen);
    if let Some(banner) = banner {
        banner.draw(buf, layout.banner, &screen);
    }
    let columns = sockets::draw(buf, layout.sockets, &screen);
    chart::draw(buf, layout.chart, &screen);
    events::draw(buf, layout.events, &screen);
    messages::draw(buf, layout.message, &screen, &message);
    if let Some(position) = &state.replay {
        replay_bar::draw(buf, layout.message, &screen, position);
    }
    status::draw(buf, layout.status, &screen);
    if let Some(page) = page {
        overlay::draw(buf, area, &page, &screen);
    }
    state.regions = Regions {
        panels: vec![
            (Panel::Ports, layout.ports),
            (Panel::Banner, layout.banner),
            (Panel::Sockets, layout.sockets),
            (Panel::Events, layout.events),
        ],
        columns,
    };
}

/// Scrolls what is chosen into sight, below the titles of the panels.
fn scroll_into_view(state: &mut UiState, layout: &Layout) {
    let rows = |area: Rect, head: u16| usize::from(area.height.saturating_sub(head));
    let ports = state.ports.items.len();
    state.ports.scroll_into_view(layout.port_rows(ports));
    state.sockets.scroll_into_view(rows(layout.sockets, 2));
    state.events.scroll_into_view(rows(layout.events, 1));
}
