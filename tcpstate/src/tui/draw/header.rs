//! What is watched, how, and what was lost. Always one line, always there.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{Capture, Filters, ProbeStatus};
use crate::tui::draw::screen::{Screen, Span};
use crate::tui::state::view::View;
use crate::tui::theme::Role;
use crate::tui::units;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let view = screen.view;
    let mut pen = screen.pen(buf, area, 0);
    let (loss, role) = loss(view);
    let rate = units::counted(view.events_per_second().into(), "event/s", "events/s");
    pen.skip(1)
        .keep_right(1)
        .at_right(&loss, role)
        .at_right("  ", Role::Dim)
        .at_right(&rate, Role::Text)
        .at_right("  ", Role::Dim);
    if let Some(behind) = screen.behind {
        let behind = format!(
            " PAUSED, {} and {} behind ",
            units::age(behind.ns),
            units::counted(behind.events, "event", "events")
        );
        pen.put(&behind, Role::Selected).skip(1);
    } else {
        pen.put("tcpstate", Role::Strong).skip(2);
    }
    for (text, role) in watched(view) {
        pen.put(&text, role);
    }
}

/// Losses are shown even when there are none: an empty place proves nothing.
fn loss(view: &View<'_>) -> Span {
    if view.lost == 0 {
        return ("✔ lost 0".to_owned(), Role::Good);
    }
    let lost = units::count(view.lost);
    if view.unresynced == 0 {
        (format!("✖ LOST {lost} (resynced)"), Role::Bad)
    } else {
        (format!("✖ LOST {lost} (table incomplete)"), Role::Bad)
    }
}

fn watched(view: &View<'_>) -> Vec<Span> {
    let Some(header) = view.header else {
        return vec![("waiting for the first event".to_owned(), Role::Dim)];
    };
    let mut spans = Vec::new();
    let mut add = |text: String, role| {
        if !spans.is_empty() {
            spans.push((" · ".to_owned(), Role::Dim));
        }
        spans.push((text, role));
    };
    if let Some(footer) = view.footer {
        add(format!("ended: {}", footer.ended), Role::Warn);
    }
    let filters = &header.filters;
    add(ports(filters), Role::Text);
    if let Some(others) = others(filters) {
        add(others, Role::Text);
    }
    add(
        match filters.netns {
            Some(netns) => format!("netns {netns}"),
            None => "all netns".to_owned(),
        },
        Role::Dim,
    );
    add(
        match header.capture {
            Capture::Functions => "function hooks".to_owned(),
            Capture::Tracepoints => "tracepoints".to_owned(),
        },
        Role::Dim,
    );
    let missing = header
        .probes
        .iter()
        .filter(|probe| probe.status == ProbeStatus::Unavailable)
        .count();
    if missing > 0 {
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        add(
            units::counted(missing, "hook missing", "hooks missing"),
            Role::Warn,
        );
    }
    spans
}

fn ports(filters: &Filters) -> String {
    let ranges: Vec<String> = filters
        .ports
        .iter()
        .map(|[first, last]| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    match ranges.as_slice() {
        [] => "all ports".to_owned(),
        [one] => format!("port {one}"),
        _ => format!("ports {}", ranges.join(", ")),
    }
}

fn others(filters: &Filters) -> Option<String> {
    let words: Vec<String> = filters
        .pids
        .iter()
        .map(|pid| format!("pid {pid}"))
        .chain(filters.comms.iter().cloned())
        .chain(filters.states.iter().map(ToString::to_string))
        .chain(filters.addrs.iter().map(ToString::to_string))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
