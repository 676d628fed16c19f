//! The event list: what happened, one line each, the newest at the bottom.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::export::describe::{EventRow, TAG};
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::state::event_list::{Entry, Folded};
use crate::tui::state::panel::Panel;
use crate::tui::theme::Tone;
use crate::units;

/// From here on there is room for the addresses of both sides.
const WIDE: u16 = 100;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let is_focused = screen.is_focused(Panel::Events);
    let cursor = &screen.state.events;
    let lines = screen.state.events.items.entries();
    let rows = usize::from(area.height.saturating_sub(1));
    let below = lines.len().saturating_sub(cursor.offset() + rows);
    let clock = match screen.view.anchor() {
        Some(_) => "UTC",
        None => "seconds",
    };
    let mut more = if below > 0 {
        let below = u64::try_from(below).unwrap_or(u64::MAX);
        format!("{clock} · {} newer ↓", units::count(below))
    } else {
        clock.to_owned()
    };
    if screen.state.events.items.is_cleared() {
        more += " · earlier ones out of sight";
    }
    screen.title(buf, area, is_focused, "events", &more);
    if lines.is_empty() {
        let text = if screen.state.filter.is_empty() {
            "no events"
        } else {
            "no event passes the filter; Esc clears it"
        };
        screen.pen(buf, area, 1).skip(1).put(text, Tone::Dim);
    }
    for (line, index) in (1..).zip(cursor.offset()..lines.len().min(cursor.offset() + rows)) {
        let Some((mono_ns, described)) = describe(screen, lines[index], area.width >= WIDE) else {
            continue;
        };
        let time = screen.time_of_day(mono_ns);
        let mut pen = screen.pen(buf, area, line);
        pen.skip(1)
            .put(&time, Tone::Dim)
            .skip(1)
            .column(TAG, described.tag, described.meaning.into())
            .put(
                &described.text,
                if described.is_emphasized {
                    described.meaning.into()
                } else {
                    Tone::Text
                },
            );
        if is_focused && index == cursor.index() {
            screen.pen(buf, area, line).put("▸", Tone::Text);
            mark_row(buf, area, line, screen.theme);
        }
    }
}

/// With for what else an entry stands: first where there is little room, as the end is cut.
fn with_folded(text: String, folded: &Folded, is_wide: bool) -> String {
    let calls = units::count(folded.calls);
    let ports = folded.ports.len();
    match (folded.ports.first(), folded.ports.last()) {
        (Some(first), Some(last)) if first != last && is_wide => {
            format!("{text}, likewise on {ports} ports, {first} to {last}: {calls} calls")
        }
        (Some(first), Some(last)) if first != last => format!("{ports} ports, {text}"),
        _ if folded.calls <= 1 => text,
        _ if is_wide => format!("{text}, {calls} times in all"),
        _ => format!("{calls}×, {text}"),
    }
}

/// When it was, and what. `None`: it is not kept any more.
fn describe(screen: &Screen<'_>, entry: Entry, is_wide: bool) -> Option<(u64, EventRow)> {
    match entry {
        Entry::Event(seq) => {
            let event = screen.view.event(seq)?;
            let own_netns = screen.view.own_netns();
            let mut described = EventRow::of(event, is_wide, own_netns);
            let folded = screen.state.events.items.folded(seq);
            described.text = with_folded(described.text, &folded, is_wide);
            Some((event.mono_ns, described))
        }
        Entry::Message(number) => {
            let message = screen.state.messages.get(number)?;
            Some((message.mono_ns, EventRow::remark(&message.text)))
        }
    }
}
