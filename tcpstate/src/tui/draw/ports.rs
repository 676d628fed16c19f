//! The ports' stories, the failing first. A single port has two lines: its state,
//! what was before, its last minutes. Several have a line each, and the chosen
//! one shows its history below them.

pub(crate) mod description;
pub(crate) mod lane;
pub(crate) mod timeline;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::model::PortKey;
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::state::panel::Panel;
use crate::tui::theme::Tone;
use description::PortDescription;

/// From here on every port has its own lane beside its line.
const WIDE: u16 = 120;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, lane: Rect, screen: &Screen<'_>) {
    let ports = &screen.state.ports.items;
    match ports.as_slice() {
        [] => draw_none(buf, area, screen),
        [key] => draw_single(buf, area, screen, *key),
        _ => draw_list(buf, area, screen),
    }
    let chosen = screen.state.ports.chosen();
    let Some((key, port)) = chosen.and_then(|key| Some((key, PortDescription::of(screen, key)?)))
    else {
        return;
    };
    let mut lane = lane;
    if ports.len() > 1 {
        let label = format!("›:{} ", key.port);
        screen.pen(buf, lane, 0).put(&label, Tone::Strong);
        let taken = u16::try_from(label.chars().count()).unwrap_or(0);
        lane.x += taken;
        lane.width = lane.width.saturating_sub(taken);
    }
    lane::draw(buf, lane, screen, &port);
}

/// The one port: its state in bold, and what was before in a second line.
fn draw_single(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, key: PortKey) {
    let Some(port) = PortDescription::of(screen, key) else {
        return;
    };
    let (symbol, word, tone) = port.state();
    let mut pen = screen.pen(buf, area, 0);
    pen.put_reversed(&format!(" {symbol} :{} {word} ", key.port), tone);
    for (text, tone) in port.now() {
        pen.put(&text, tone);
    }
    if screen.is_focused(Panel::Ports) {
        pen.put("  ◂ Enter: its story", Tone::Accent);
    }
    let mut pen = screen.pen(buf, area, 1);
    pen.skip(3);
    let facts = port.elsewhere().into_iter();
    for (at, text) in facts.chain(port.since()).chain(port.before()).enumerate() {
        if at > 0 {
            pen.put(" · ", Tone::Dim);
        }
        pen.put(&text, Tone::Dim);
    }
}

fn draw_list(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let ports = &screen.state.ports.items;
    let first = screen.state.ports.offset();
    let rows = usize::from(area.height);
    let label = ports.iter().map(|key| digits(key.port)).max().unwrap_or(0);
    let (words, lanes) = split(area);
    let shown = ports.iter().enumerate().skip(first).take(rows);
    let shown: Vec<(usize, &PortKey, PortDescription<'_>)> = shown
        .filter_map(|(index, key)| Some((index, key, PortDescription::of(screen, *key)?)))
        .collect();
    // One scale for all.
    let from_ns = shown.iter().map(|(.., port)| port.wanted_from_ns()).min();
    for (row, (index, key, port)) in (0..).zip(&shown) {
        let (symbol, word, tone) = port.state();
        let is_chosen = *index == screen.state.ports.index();
        let mut pen = screen.pen(buf, words, row);
        let mark = match (is_chosen, screen.is_focused(Panel::Ports)) {
            (true, true) => "▸",
            (true, false) => "›",
            (false, _) => " ",
        };
        pen.put(mark, Tone::Text)
            .put(symbol, tone)
            .put(" :", Tone::Strong)
            .column(label + 1, &key.port.to_string(), Tone::Strong)
            .put(word, tone)
            .put(" ", Tone::Text);
        for (text, tone) in port.now() {
            pen.put(&text, tone);
        }
        if let Some(elsewhere) = port.elsewhere() {
            pen.put(" · ", Tone::Dim).put(&elsewhere, Tone::Dim);
        }
        if let Some(past) = port.before().first() {
            pen.put(" · ", Tone::Dim).put(past, Tone::Dim);
        }
        if lanes.width > 0 {
            let width = usize::from(lanes.width);
            let timeline = port.past(from_ns.unwrap_or(0), width);
            let mut pen = screen.pen(buf, lanes, row);
            pen.skip(width - timeline.cells.len().min(width));
            for (text, tone) in lane::row(&timeline, false) {
                pen.put(&text, tone);
            }
        }
        if screen.is_focused(Panel::Ports) && is_chosen {
            mark_row(buf, area, row, screen.theme);
        }
    }
    let hidden = ports.len().saturating_sub(first + rows);
    if hidden > 0 && area.height > 0 {
        let text = format!(" {hidden} more ↓ ");
        screen
            .pen(buf, area, area.height - 1)
            .at_right(&text, Tone::Dim);
    }
}

/// Words at the left, lanes at the right where there is room for both.
fn split(area: Rect) -> (Rect, Rect) {
    let lane = if area.width < WIDE { 0 } else { area.width / 3 };
    let words = Rect {
        width: area.width - lane,
        ..area
    };
    let lane = Rect {
        x: words.right() + 2,
        width: lane.saturating_sub(3),
        ..area
    };
    (words, lane)
}

fn draw_none(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let watched = screen
        .view
        .header()
        .map_or(&[][..], |header| header.filters.ports.as_slice());
    let mut pen = screen.pen(buf, area, 0);
    let state = match watched {
        [[first, last]] if first == last => format!(" ○ :{first} QUIET "),
        _ => " ○ QUIET ".to_owned(),
    };
    pen.put_reversed(&state, Tone::Dim).put(
        "nobody listens, no bind tried so far; a failed one comes forward",
        Tone::Text,
    );
}

fn digits(port: u16) -> usize {
    port.to_string().len()
}
