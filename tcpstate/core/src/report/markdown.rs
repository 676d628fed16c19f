//! The report as Markdown (`CommonMark` with GitHub's tables), for tickets and
//! chats. Strings of strangers never become markup.

mod calls;

use std::fmt::Write as _;

use super::format::{
    clock_time, connection, count, date, duration, list, name, relative, second, sentence, service,
    shown,
};
use super::summary::main_failure;
use super::{Report, Restart, Service};
use crate::event::Direction;
use crate::markdown::{code, escape};

/// Stretches and states of one timeline that are written out.
const SHOWN_SPANS: usize = 24;
/// Characters of a path or an argument.
const SHOWN_ARGUMENT: usize = 120;

/// The report as Markdown.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    what_to_do(report, &mut out);
    restarts(report, &mut out);
    calls::failures(report, &mut out);
    ports(report, &mut out);
    sockets(report, &mut out);
    states(report, &mut out);
    resets(report, &mut out);
    losses(report, &mut out);
    environment(report, &mut out);
    out
}

fn head(report: &Report, out: &mut String) {
    let recording = &report.recording;
    line(
        out,
        format_args!(
            "# tcpstate report: {}, {} {} UTC\n",
            escape(&shown(&report.environment.host, SHOWN_ARGUMENT)),
            date(&recording.begins),
            second(&recording.begins)
        ),
    );
    for text in &report.summary {
        line(out, format_args!("{}\n", escape(text)));
    }
    for text in &report.caveats {
        line(out, format_args!("> **Note:** {}\n", escape(text)));
    }
}

fn what_to_do(report: &Report, out: &mut String) {
    let Some(failure) = main_failure(report) else {
        return;
    };
    line(out, format_args!("## What to do\n"));
    calls::fixes(failure, report, false, out);
}

fn restarts(report: &Report, out: &mut String) {
    if report.restarts.is_empty() {
        return;
    }
    line(out, format_args!("## Restarts and downtime\n"));
    table(
        out,
        &[
            "port",
            "down from",
            "until",
            "downtime",
            "failed binds",
            "before",
            "after",
        ],
        report
            .restarts
            .iter()
            .map(|restart| restart_row(restart, report)),
    );
}

fn restart_row(restart: &Restart, report: &Report) -> Vec<String> {
    let process = |process: &Option<std::sync::Arc<crate::event::Process>>| {
        process
            .as_ref()
            .map_or("not known".to_owned(), |process| code(&name(process)))
    };
    vec![
        restart.port.to_string(),
        format!(
            "{} ({})",
            clock_time(&restart.closed),
            relative(&restart.closed)
        ),
        restart
            .again
            .as_ref()
            .map_or("still down at the end".to_owned(), |again| {
                format!("{} ({})", clock_time(again), relative(again))
            }),
        duration(restart.down_ns(&report.recording.ends)),
        failed_binds(restart),
        process(&restart.old_process),
        if restart.again.is_some() {
            process(&restart.new_process)
        } else {
            "nobody".to_owned()
        },
    ]
}

fn failed_binds(restart: &Restart) -> String {
    let seqs: Vec<String> = restart
        .failures
        .iter()
        .map(|seq| format!("\\#{seq}"))
        .collect();
    if seqs.is_empty() {
        restart.failed_binds.to_string()
    } else {
        format!("{} ({})", restart.failed_binds, list(&seqs, 4))
    }
}

fn ports(report: &Report, out: &mut String) {
    if report.ports.is_empty() {
        return;
    }
    line(out, format_args!("## Ports over time\n"));
    for port in &report.ports {
        let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
        for span in &port.spans {
            let who = match (&span.process, span.service) {
                (Some(process), Service::Listening) => format!(": {}", code(&name(process))),
                _ => String::new(),
            };
            rows.push((
                span.from.after_ns,
                vec![
                    clock_time(&span.from).to_owned(),
                    relative(&span.from),
                    format!("{}{who}", service(span.service)),
                    duration(span.to.after_ns.saturating_sub(span.from.after_ns)),
                ],
            ));
        }
        for held in &port.time_wait {
            rows.push((
                held.from.after_ns,
                vec![
                    clock_time(&held.from).to_owned(),
                    relative(&held.from),
                    format!(
                        "TIME_WAIT, at most {}",
                        count(held.most, "socket", "sockets")
                    ),
                    duration(held.to.after_ns.saturating_sub(held.from.after_ns)),
                ],
            ));
        }
        for mark in &port.failed_calls {
            rows.push((
                mark.at.after_ns,
                vec![
                    clock_time(&mark.at).to_owned(),
                    relative(&mark.at),
                    format!("**failed call** \\#{}", mark.seq),
                    String::new(),
                ],
            ));
        }
        rows.sort_by_key(|(after_ns, _)| *after_ns);
        line(out, format_args!("### Port {}\n", port.port));
        let more = rows.len().saturating_sub(SHOWN_SPANS);
        table(
            out,
            &["from", "", "what", "for"],
            rows.into_iter().take(SHOWN_SPANS).map(|(_, row)| row),
        );
        if more > 0 {
            line(out, format_args!("{more} more are in the JSON report.\n"));
        }
    }
}

fn sockets(report: &Report, out: &mut String) {
    if report.sockets.is_empty() {
        return;
    }
    line(out, format_args!("## Sockets over time\n"));
    table(
        out,
        &["socket", "whose", "states"],
        report.sockets.iter().map(|socket| {
            let states: Vec<String> = socket
                .states
                .iter()
                .map(|span| format!("{} {}", relative(&span.from), span.state))
                .collect();
            vec![
                connection(socket.local, socket.peer),
                socket
                    .process
                    .as_ref()
                    .map_or_else(String::new, |process| code(&name(process))),
                escape(&list(&states, SHOWN_SPANS)),
            ]
        }),
    );
}

fn states(report: &Report, out: &mut String) {
    let drawn = &report.states;
    if drawn.states.is_empty() {
        return;
    }
    line(out, format_args!("## Sockets per state\n"));
    table(
        out,
        &["state", "most at one time", "at the end"],
        drawn.states.iter().enumerate().map(|(at, state)| {
            let of = |sample: &Vec<u32>| sample.get(at).copied().unwrap_or(0);
            vec![
                code(state.name()),
                drawn.samples.iter().map(of).max().unwrap_or(0).to_string(),
                drawn.samples.last().map_or(0, of).to_string(),
            ]
        }),
    );
}

fn resets(report: &Report, out: &mut String) {
    if report.resets.is_empty() {
        return;
    }
    line(out, format_args!("## Resets\n"));
    table(
        out,
        &["direction", "reason", "in state", "times", "first", "last"],
        report.resets.iter().map(|reset| {
            vec![
                direction(reset.direction).to_owned(),
                reset
                    .reason
                    .as_deref()
                    .map_or("not known".to_owned(), |reason| code(&sentence(reason))),
                reset
                    .state
                    .map_or("no socket, or not known".to_owned(), |state| {
                        code(state.name())
                    }),
                reset.count.to_string(),
                clock_time(&reset.first).to_owned(),
                clock_time(&reset.last).to_owned(),
            ]
        }),
    );
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Sent => "sent",
        Direction::Received => "received",
    }
}

fn losses(report: &Report, out: &mut String) {
    if report.losses.windows.is_empty() && report.left_out.is_empty() {
        return;
    }
    line(out, format_args!("## What is missing\n"));
    for window in &report.losses.windows {
        let until = window.to.as_ref().map_or("to the end".to_owned(), |to| {
            format!("to {} ({})", clock_time(to), relative(to))
        });
        let seqs: Vec<String> = window
            .failures
            .iter()
            .map(|seq| format!("\\#{seq}"))
            .collect();
        let doubt = if seqs.is_empty() {
            String::new()
        } else {
            format!("; the history of {} may have gaps", list(&seqs, 8))
        };
        line(
            out,
            format_args!(
                "- {} lost, from {} ({}) {until}{doubt}",
                count(window.count, "event", "events"),
                clock_time(&window.from),
                relative(&window.from)
            ),
        );
    }
    for left_out in &report.left_out {
        line(
            out,
            format_args!(
                "- {} {} not listed (the limit is {})",
                left_out.count, left_out.what, left_out.limit
            ),
        );
    }
    out.push('\n');
}

fn environment(report: &Report, out: &mut String) {
    line(out, format_args!("## Recording\n"));
    table(
        out,
        &["", ""],
        super::facts::of(report)
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), escape(&value)]),
    );
}

fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    line(out, format_args!("| {} |", head.join(" | ")));
    line(out, format_args!("|{}", " --- |".repeat(head.len())));
    for row in rows {
        line(out, format_args!("| {} |", row.join(" | ")));
    }
    out.push('\n');
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
