//! Ports and sockets over time.

use maud::{Markup, html};

use super::super::format::{clock_time, connection, count, duration, name, relative, service};
use super::super::{Moment, PortTimeline, Report, Role, Service, SocketTimeline};
use super::calls::state;
use super::draw::{Bar, Frame, axis, bars, grid, labels, marks};

/// Ports and sockets that are shown unfolded.
const SHOWN_PORTS: usize = 8;
const SHOWN_SOCKETS: usize = 12;
const PORT_HEIGHT: u64 = 52;
const SOCKET_HEIGHT: u64 = 24;

/// The ports of the report.
pub(super) fn ports(report: &Report) -> Markup {
    if report.ports.is_empty() {
        return html! {};
    }
    let frame = Frame::whole(report);
    let (shown, folded) = report.ports.split_at(report.ports.len().min(SHOWN_PORTS));
    html! {
        section {
            h2 { "Ports over time" }
            ul.legend aria-label="Legend" {
                li { span.swatch."p-listening" {} "listening" }
                li { span.swatch."p-down" {} "nobody listens" }
                li { span.swatch."s-time_wait" {} "held by TIME_WAIT" }
                li { span.mark { "✕" } " failed call" }
            }
            div.card {
                @for port in shown { (port_row(port, &frame)) }
                (axis(&frame, report))
            }
            @if !folded.is_empty() {
                details {
                    summary { (count(folded.len() as u64, "more port", "more ports")) }
                    div.card {
                        @for port in folded { (port_row(port, &frame)) }
                        (axis(&frame, report))
                    }
                }
            }
        }
    }
}

/// One port: who listened above, TIME_WAIT below, failed calls across.
pub(super) fn port_row(port: &PortTimeline, frame: &Frame) -> Markup {
    let services: Vec<Bar<'_>> = port
        .spans
        .iter()
        .map(|span| {
            let who = match (&span.process, span.service) {
                (Some(process), Service::Listening) => name(process),
                _ => service(span.service).to_owned(),
            };
            Bar {
                from: &span.from,
                to: &span.to,
                class: match span.service {
                    Service::NotSeen => "p-not_seen".to_owned(),
                    Service::Listening => "p-listening".to_owned(),
                    Service::Down => "p-down".to_owned(),
                },
                title: format!("{who}: {}", stretch(&span.from, &span.to)),
                label: who,
            }
        })
        .collect();
    let held: Vec<Bar<'_>> = port
        .time_wait
        .iter()
        .map(|held| {
            let sockets = count(held.most, "socket", "sockets");
            Bar {
                from: &held.from,
                to: &held.to,
                class: "s-time_wait".to_owned(),
                // The most of the whole stretch says nothing of a part of it.
                label: if frame.contains(&held.from, &held.to) {
                    format!("TIME_WAIT: {sockets}")
                } else {
                    "TIME_WAIT".to_owned()
                },
                title: format!(
                    "held by at most {sockets} in TIME_WAIT: {}",
                    stretch(&held.from, &held.to)
                ),
            }
        })
        .collect();
    let failed: Vec<(u64, String)> = port
        .failed_calls
        .iter()
        .filter(|mark| frame.contains(&mark.at, &mark.at))
        .map(|mark| {
            (
                mark.at.after_ns,
                format!("failed call #{} at {}", mark.seq, clock_time(&mark.at)),
            )
        })
        .collect();
    // Not every failed call of a recording has a mark; where all of it is shown,
    // they are counted nevertheless.
    let failed_total = if frame.is_whole {
        port.failed_total
    } else {
        failed.len() as u64
    };
    let described = services
        .iter()
        .chain(&held)
        .map(|bar| bar.title.as_str())
        .take(DESCRIBED)
        .collect::<Vec<_>>()
        .join("; ");
    html! {
        div.row {
            p.name {
                b { "Port " (port.port) }
                @if failed_total > 0 {
                    " " span.quiet { (count(failed_total, "failed call", "failed calls")) }
                }
                @if port.is_shortened { span.quiet { " (the middle is left out)" } }
            }
            svg width="100%" height=(PORT_HEIGHT) role="img" {
                title { "Port " (port.port) " over time" }
                desc { (described) "; " (count(failed_total, "failed call", "failed calls")) }
                (grid(PORT_HEIGHT))
                (bars(&services, frame, 14, 18))
                (bars(&held, frame, 34, 18))
                (marks(&failed, frame, PORT_HEIGHT))
                (labels(&services, frame, 14, 18))
                (labels(&held, frame, 34, 18))
            }
        }
    }
}

/// Stretches that are described in words for those who do not see.
const DESCRIBED: usize = 12;

fn stretch(from: &Moment, to: &Moment) -> String {
    format!(
        "{} to {}, {}",
        clock_time(from),
        clock_time(to),
        duration(to.after_ns.saturating_sub(from.after_ns))
    )
}

/// The sockets of the report.
pub(super) fn sockets(report: &Report) -> Markup {
    if report.sockets.is_empty() {
        return html! {};
    }
    let frame = Frame::whole(report);
    let (shown, folded) = report
        .sockets
        .split_at(report.sockets.len().min(SHOWN_SOCKETS));
    let mut states: Vec<crate::event::State> = report
        .sockets
        .iter()
        .flat_map(|socket| socket.states.iter().map(|span| span.state))
        .collect();
    states.sort();
    states.dedup();
    html! {
        section {
            h2 { "Sockets over time" }
            ul.legend aria-label="Legend" {
                @for each in states { li { (state(each)) } }
            }
            div.card {
                @for socket in shown { (socket_row(socket, &frame)) }
                (axis(&frame, report))
            }
            @if !folded.is_empty() {
                details {
                    summary { (count(folded.len() as u64, "more socket", "more sockets")) }
                    div.card {
                        @for socket in folded { (socket_row(socket, &frame)) }
                        (axis(&frame, report))
                    }
                }
            }
            details {
                summary { "All their states as a table" }
                (state_table(report))
            }
        }
    }
}

fn socket_row(socket: &SocketTimeline, frame: &Frame) -> Markup {
    let states: Vec<Bar<'_>> = socket
        .states
        .iter()
        .map(|span| Bar {
            from: &span.from,
            to: &span.to,
            class: format!("s-{}", span.state.name()),
            label: span.state.name().to_owned(),
            title: format!("{}: {}", span.state.name(), stretch(&span.from, &span.to)),
        })
        .collect();
    let described = states
        .iter()
        .map(|bar| bar.title.as_str())
        .take(DESCRIBED)
        .collect::<Vec<_>>()
        .join("; ");
    let address = connection(socket.local, socket.peer);
    html! {
        div.row {
            p.name {
                b { (address) }
                @if let Some(process) = &socket.process { " " (name(process)) }
                @if let Some(role) = role(socket.role) { " " span.chip.soft { (role) } }
                @if socket.is_from_snapshot { " " span.quiet { "there before" } }
            }
            svg width="100%" height=(SOCKET_HEIGHT) role="img" {
                title { "States of " (address) }
                desc { (described) }
                (grid(SOCKET_HEIGHT))
                (bars(&states, frame, 3, 18))
                (labels(&states, frame, 3, 18))
            }
        }
    }
}

fn role(role: Role) -> Option<&'static str> {
    match role {
        Role::Holder => Some("stood in the way"),
        Role::Reset => Some("reset"),
        Role::Listener | Role::Other => None,
    }
}

fn state_table(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "Socket" } th { "State" } th { "From" } th { "For" } th { "Event" } } }
            tbody {
                @for socket in &report.sockets {
                    @for span in &socket.states {
                        tr {
                            td data-label="Socket" { (connection(socket.local, socket.peer)) }
                            td data-label="State" { (state(span.state)) }
                            td data-label="From" { (clock_time(&span.from)) " " span.quiet { (relative(&span.from)) } }
                            td.number data-label="For" { (duration(span.to.after_ns.saturating_sub(span.from.after_ns))) }
                            td.number data-label="Event" { "#" (span.seq) }
                        }
                    }
                }
            }
        }
    }
}
