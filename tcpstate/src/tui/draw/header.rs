//! What is watched, how, and what was lost. Always one line, always there.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{Capture, Filters, ProbeStatus};
use crate::tui::draw::screen::{Screen, Span};
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let view = screen.view;
    let mut pen = screen.pen(buf, area, 0);
    let (loss, tone) = loss(view);
    let rate = units::counted(view.events_per_second().into(), "event/s", "events/s");
    pen.skip(1)
        .keep_right(1)
        .at_right(&loss, tone)
        .at_right("  ", Tone::Dim)
        .at_right(&rate, Tone::Text)
        .at_right("  ", Tone::Dim);
    if let Some(behind) = screen.behind {
        let behind = format!(
            " PAUSED, {} and {} behind ",
            units::age(behind.ns),
            units::counted(behind.events, "event", "events")
        );
        pen.put(&behind, Tone::Selected).skip(1);
    } else {
        pen.put("tcpstate", Tone::Strong).skip(2);
    }
    for (text, tone) in watched(view) {
        pen.put(&text, tone);
    }
}

/// Losses are shown even when there are none: an empty place proves nothing.
fn loss(view: &View<'_>) -> Span {
    if view.lost == 0 {
        return ("✔ lost 0".to_owned(), Tone::Good);
    }
    let lost = units::count(view.lost);
    if view.unresynced == 0 {
        (format!("✖ LOST {lost} (resynced)"), Tone::Bad)
    } else {
        (format!("✖ LOST {lost} (table incomplete)"), Tone::Bad)
    }
}

fn watched(view: &View<'_>) -> Vec<Span> {
    let Some(header) = view.header() else {
        return vec![("waiting for the first event".to_owned(), Tone::Dim)];
    };
    let mut spans = Vec::new();
    let mut add = |text: String, tone| {
        if !spans.is_empty() {
            spans.push((" · ".to_owned(), Tone::Dim));
        }
        spans.push((text, tone));
    };
    if let Some(footer) = view.footer() {
        add(format!("ended: {}", footer.ended), Tone::Warn);
    }
    let filters = &header.filters;
    add(ports(filters), Tone::Text);
    if let Some(others) = others(filters) {
        add(others, Tone::Text);
    }
    add(
        match filters.netns {
            Some(netns) => format!("netns {netns}"),
            None => "all netns".to_owned(),
        },
        Tone::Dim,
    );
    if header.has_supervisor_only() {
        add("no hooks".to_owned(), Tone::Warn);
    } else {
        add(
            match header.capture {
                Capture::Functions => "function hooks".to_owned(),
                Capture::Tracepoints => "tracepoints".to_owned(),
            },
            Tone::Dim,
        );
    }
    let missing = header
        .probes
        .iter()
        .filter(|probe| probe.status == ProbeStatus::Unavailable)
        .count();
    if missing > 0 {
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        add(
            units::counted(missing, "hook missing", "hooks missing"),
            Tone::Warn,
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
    let others: Vec<String> = filters
        .pids
        .iter()
        .map(|pid| format!("pid {pid}"))
        .chain(filters.comms.iter().cloned())
        .chain(filters.states.iter().map(ToString::to_string))
        .chain(filters.addrs.iter().map(ToString::to_string))
        .collect();
    (!others.is_empty()).then(|| others.join(", "))
}
