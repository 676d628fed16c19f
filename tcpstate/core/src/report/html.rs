//! The report as one self-contained page: no script, no network, light and
//! dark, readable on a phone. maud escapes every string; what a terminal or a
//! reader could be misled by is made harmless in `words` before.

mod calls;
mod chart;
mod draw;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::{
    clock_time, count, date, duration, list, name, relative, second, sentence, shown,
};
use super::{Moment, Report, Restart};
use crate::event::{Direction, Process};
use draw::Frame;

const STYLE: &str = include_str!("html/style.css");
/// The page may load nothing; should an escape ever fail, it still may not.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Characters of a host's name.
const SHOWN_HOST: usize = 60;

/// The report as HTML.
#[must_use]
pub fn render(report: &Report) -> String {
    let recording = &report.recording;
    let host = shown(&report.environment.host, SHOWN_HOST);
    let title = format!(
        "tcpstate report: {host}, {} {} UTC",
        date(&recording.begins),
        second(&recording.begins)
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (draw::patterns())
                main {
                    (head(report, &host))
                    @if let Some(failure) = super::summary::main_failure(report) {
                        section {
                            h2 { "What to do" }
                            (calls::help(failure, report))
                        }
                    }
                    (restarts(report))
                    (calls::section(report))
                    (timeline::ports(report))
                    (timeline::sockets(report))
                    (chart::section(report))
                    (resets(report))
                    (missing(report))
                    (environment(report))
                    footer {
                        "Made by tcpstate " (env!("CARGO_PKG_VERSION"))
                        " from a recording. Times are UTC; +s count from its first event; "
                        "#n is the position (" code { "seq" } ") of an event in it."
                    }
                }
            }
        }
    }
    .into_string()
}

fn head(report: &Report, host: &str) -> Markup {
    let recording = &report.recording;
    html! {
        header {
            p.kicker { "tcpstate report" }
            h1 { (host) }
            p.when {
                time datetime=(recording.begins.ts) {
                    (date(&recording.begins)) " " (clock_time(&recording.begins))
                }
                " to "
                time datetime=(recording.ends.ts) {
                    @if date(&recording.ends) != date(&recording.begins) { (date(&recording.ends)) " " }
                    (clock_time(&recording.ends))
                }
                " UTC, "
                (duration(recording.ends.after_ns))
            }
            div.summary {
                @for text in &report.summary { p { (text) } }
            }
            @if !report.caveats.is_empty() {
                div.caveats role="note" {
                    @for text in &report.caveats { p { strong { "Note: " } (text) } }
                }
            }
        }
    }
}

fn restarts(report: &Report) -> Markup {
    if report.restarts.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Restarts and downtime" }
            @for restart in report.restarts.iter().take(SHOWN_RESTARTS) {
                (restart_card(report, restart))
            }
            @if report.restarts.len() > SHOWN_RESTARTS {
                details {
                    summary { (report.restarts.len() - SHOWN_RESTARTS) " more" }
                    @for restart in report.restarts.iter().skip(SHOWN_RESTARTS) {
                        (restart_card(report, restart))
                    }
                }
            }
        }
    }
}

/// Restarts that are shown unfolded.
const SHOWN_RESTARTS: usize = 5;
/// Events that a line names.
const SHOWN_SEQS: usize = 8;

fn restart_card(report: &Report, restart: &Restart) -> Markup {
    let end = restart.again.as_ref().unwrap_or(&report.recording.ends);
    let port = report
        .ports
        .iter()
        .find(|port| port.port == restart.port && port.netns == restart.netns);
    let frame = Frame::around(&restart.closed, end, &report.recording.ends);
    html! {
        article.card {
            h3 {
                "Port " (restart.port) ": "
                @if restart.again.is_some() { "down for " } @else { "still down after " }
                strong.figure { (duration(restart.down_ns(&report.recording.ends))) }
            }
            @if let Some(port) = port {
                (timeline::port_row(port, &frame))
                (draw::axis(&frame, report))
            }
            dl {
                dt { "Closed" }
                dd { (moment(&restart.closed)) " by " (who(restart.old_process.as_deref())) " " (seq(restart.closed_seq)) }
                dt { "Listening again" }
                dd {
                    @if let Some(again) = &restart.again {
                        (moment(again)) " by " (who(restart.new_process.as_deref()))
                        @if let Some(again_seq) = restart.again_seq { " " (seq(again_seq)) }
                    } @else {
                        "not before the recording ended"
                    }
                }
                dt { "Failed binds in between" }
                dd {
                    (restart.failed_binds)
                    @for failed in restart.failures.iter().take(SHOWN_SEQS) {
                        " " a href={ "#call-" (failed) } { "#" (failed) }
                    }
                    @if restart.failures.len() > SHOWN_SEQS { " …" }
                }
                @if restart.time_wait > 0 {
                    dt { "TIME_WAIT on the port" }
                    dd { (count(restart.time_wait, "socket", "sockets")) " at the end of the downtime" }
                }
            }
        }
    }
}

fn resets(report: &Report) -> Markup {
    if report.resets.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Resets" }
            table {
                thead { tr { th { "Direction" } th { "Reason" } th { "In state" } th { "Times" } th { "First" } th { "Last" } th { "Events" } } }
                tbody {
                    @for reset in &report.resets {
                        tr {
                            td data-label="Direction" { (direction(reset.direction)) }
                            td data-label="Reason" { code { (reset.reason.as_deref().map_or("not known".to_owned(), sentence)) } }
                            td data-label="In state" { (reset.state.map_or("no socket, or not known", crate::event::State::name)) }
                            td.number data-label="Times" { (reset.count) }
                            td data-label="First" { (clock_time(&reset.first)) }
                            td data-label="Last" { (clock_time(&reset.last)) }
                            td data-label="Events" { (seqs(&reset.seqs)) }
                        }
                    }
                }
            }
        }
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Sent => "sent",
        Direction::Received => "received",
    }
}

fn missing(report: &Report) -> Markup {
    if report.losses.windows.is_empty() && report.left_out.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "What is missing" }
            ul {
                @for window in &report.losses.windows {
                    li {
                        (count(window.count, "event", "events")) " lost, from " (moment(&window.from))
                        @match &window.to {
                            Some(to) => { " to " (moment(to)) ", when a snapshot made up for it" },
                            None => { " to the end of the recording; no snapshot made up for it" },
                        }
                        ". What happened in between is not known."
                        @if !window.failures.is_empty() {
                            " The history of " (seqs(&window.failures)) " may have gaps."
                        }
                    }
                }
                @for left_out in &report.left_out {
                    li {
                        (left_out.count) " " (left_out.what)
                        " not listed: the report lists at most " (left_out.limit) "."
                    }
                }
            }
        }
    }
}

fn environment(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Recording and environment" }
            dl.card {
                @for (name, value) in super::facts::of(report) {
                    dt { (name) }
                    dd { (value) }
                }
            }
            @if !report.recording.unreadable.is_empty() {
                details {
                    summary { (count(report.recording.unreadable_lines, "line", "lines")) " could not be read" }
                    ul { @for why in &report.recording.unreadable { li { (sentence(why)) } } }
                }
            }
        }
    }
}

/// `11:06:41.120 (+37.412 s)`.
fn moment(moment: &Moment) -> Markup {
    html! {
        time datetime=(moment.ts) { (clock_time(moment)) }
        span.quiet { " (" (relative(moment)) ")" }
    }
}

fn seq(seq: u64) -> Markup {
    html! { span.quiet { "#" (seq) } }
}

fn seqs(seqs: &[u64]) -> String {
    let seqs: Vec<String> = seqs.iter().map(|seq| format!("#{seq}")).collect();
    list(&seqs, SHOWN_SEQS)
}

fn who(process: Option<&Process>) -> Markup {
    html! {
        @match process {
            Some(process) => b { (name(process)) },
            None => "an unknown process",
        }
    }
}
