//! The results as tables for people, and their place in the page.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::results::{Beside, Results};

const BEGIN: &str = "<!-- made by cargo xtask bench: begin -->";
const END: &str = "<!-- made by cargo xtask bench: end -->";

/// Puts the tables between the page's markers.
pub(super) fn put_into(page: &str, tables: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .context("the page has no marker where the tables begin")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page has no marker where the tables end")?;
    Ok(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

/// All tables that there are results for.
pub(super) fn tables(results: &Results) -> String {
    let mut text = format!("{}\n", results.machine.line());
    for why in &results.absent {
        line(&mut text, format_args!("\nNot measured: {why}."));
    }
    full_speed(results, &mut text);
    kernel(results, &mut text);
    rates(results, &mut text);
    start(results, &mut text);
    populations(results, &mut text);
    syscalls(results, &mut text);
    binds(results, &mut text);
    diagnoses(results, &mut text);
    failed_calls(results, &mut text);
    frames(results, &mut text);
    keys(results, &mut text);
    text
}

fn full_speed(results: &Results, text: &mut String) {
    if results.full_speed.is_empty() {
        return;
    }
    head(
        text,
        "At full speed",
        &[
            "load",
            "watched by",
            "connections/s",
            "slowest – fastest",
            "change",
            "CPU s per million changes",
            "of it user",
            "changes made",
            "lost",
            "peak memory",
            "bytes/event recorded",
        ],
    );
    for row in &results.full_speed {
        let kind = format!("{:?}", row.kind);
        let lost = row
            .lost
            .map_or_else(|| "–".to_owned(), |lost| losses(lost, row.unannounced));
        let bytes = match (row.cost.recorded_bytes, row.rounds as u64) {
            (Some(bytes), rounds @ 1..) => ratio(bytes, row.transitions / rounds),
            _ => "–".to_owned(),
        };
        line(
            text,
            format_args!(
                "| {kind}, {} thread{} | {} | {} | {} – {} | {:+.1} % | {:.2} | {:.2} | {} | {lost} | {} MB | {bytes} |",
                row.threads,
                if row.threads == 1 { "" } else { "s" },
                row.observer.name(),
                row.speed,
                row.speeds[0],
                row.speeds[1],
                row.change_percent,
                row.cpu_s_per_million,
                row.user_s_per_million,
                row.transitions,
                row.cost.peak_kb / 1024,
            ),
        );
    }
}

/// What the observer counted as lost, and what the kernel did not announce to it.
fn losses(lost: u64, unannounced: u64) -> String {
    match unannounced {
        0 => lost.to_string(),
        _ => format!("{lost}, {unannounced} not announced"),
    }
}

fn kernel(results: &Results, text: &mut String) {
    if results.kernel.is_empty() {
        return;
    }
    head(
        text,
        "In the kernel (`bpf_stats`)",
        &["watched by", "runs", "ns per run"],
    );
    for row in &results.kernel {
        line(
            text,
            format_args!(
                "| {} | {} | {:.0} |",
                row.observer.name(),
                row.runs,
                row.ns_per_run
            ),
        );
    }
}

fn rates(results: &Results, text: &mut String) {
    if results.rates.is_empty() {
        return;
    }
    head(
        text,
        "By events a second (JSON to a file)",
        &[
            "connections/s",
            "state changes/s",
            "CPU of one processor",
            "lost",
            "peak memory",
        ],
    );
    for row in &results.rates {
        line(
            text,
            format_args!(
                "| {} | {} | {:.1} % | {} | {} MB |",
                row.speed,
                row.events_per_second,
                row.cpu_percent,
                losses(row.lost, row.unannounced),
                row.peak_kb / 1024
            ),
        );
    }
}

fn start(results: &Results, text: &mut String) {
    let Some(start) = &results.start else { return };
    head(
        text,
        "Start",
        &[
            "rounds",
            "to the first event, median",
            "slowest",
            "hooks on",
            "idle, resident",
        ],
    );
    line(
        text,
        format_args!(
            "| {} | {:.0} ms | {:.0} ms | {} | {:.1} MB |",
            start.rounds,
            start.first_event_ms[0],
            start.first_event_ms[1],
            ms(start.hooks_ms),
            megabytes(start.idle_kb),
        ),
    );
}

fn populations(results: &Results, text: &mut String) {
    if results.populations.is_empty() {
        return;
    }
    head(
        text,
        "By sockets that are there",
        &[
            "sockets",
            "listed",
            "complete first table",
            "the list alone, with time left",
            "`ss -Htano`",
            "CPU while nothing happens",
            "peak memory",
        ],
    );
    for row in &results.populations {
        line(
            text,
            format_args!(
                "| {} {} | {} | {:.0} ms | {} | {} | {:.1} % | {} MB |",
                row.sockets,
                row.state,
                row.listed,
                row.table_ms,
                ms(row.listing_ms),
                ms(row.ss_ms),
                row.idle_cpu_percent,
                row.peak_kb / 1024
            ),
        );
    }
}

fn syscalls(results: &Results, text: &mut String) {
    let title = "A process that never touches a socket";
    calls(title, "empty system calls", &results.syscalls, text);
}

fn binds(results: &Results, text: &mut String) {
    let title = "A process that makes a socket, binds and closes it";
    calls(title, "rounds of three calls", &results.binds, text);
}

fn calls(title: &str, what: &str, rows: &[Beside], text: &mut String) {
    if rows.is_empty() {
        return;
    }
    head(
        text,
        title,
        &[
            "watched by",
            what,
            "each",
            "change",
            "its own processor time",
            "change",
        ],
    );
    for row in rows {
        line(
            text,
            format_args!(
                "| {} | {} | {:.1} ns | {:+.1} % | {:.1} ns | {:+.1} % |",
                row.observer.name(),
                row.calls,
                row.each_ns,
                row.change_percent,
                row.own_ns,
                row.own_change_percent
            ),
        );
    }
}

fn diagnoses(results: &Results, text: &mut String) {
    if results.diagnoses.is_empty() {
        return;
    }
    head(
        text,
        "From a failed bind to its diagnosis in JSON",
        &["beside", "binds", "median", "p99", "worst"],
    );
    for row in &results.diagnoses {
        line(
            text,
            format_args!(
                "| {} | {} | {:.2} ms | {:.2} ms | {:.2} ms |",
                row.beside, row.binds, row.median_ms, row.p99_ms, row.worst_ms
            ),
        );
    }
}

fn failed_calls(results: &Results, text: &mut String) {
    if results.failed_calls.is_empty() {
        return;
    }
    head(
        text,
        "Failed calls",
        &[
            "failed calls/s",
            "processes",
            "idle descriptors",
            "explained",
            "counted",
            "a server's bind explained, median",
            "p99",
            "worst",
            "CPU",
            "peak memory",
        ],
    );
    for row in &results.failed_calls {
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.0} % | {:.0} MB |",
                row.rate,
                row.processes,
                row.descriptors,
                row.explained,
                row.counted,
                row.median_ms,
                row.p99_ms,
                row.worst_ms,
                row.cpu_percent,
                megabytes(row.peak_kb),
            ),
        );
    }
}

fn frames(results: &Results, text: &mut String) {
    if results.frames.is_empty() {
        return;
    }
    head(
        text,
        "A frame of the dashboard, 200 by 60",
        &["sockets", "median", "p99", "worst"],
    );
    for row in &results.frames {
        line(
            text,
            format_args!(
                "| {} | {} µs | {} µs | {} µs |",
                row.sockets, row.median_us, row.p99_us, row.worst_us
            ),
        );
    }
}

fn head(text: &mut String, title: &str, columns: &[&str]) {
    line(text, format_args!("\n### {title}\n"));
    line(text, format_args!("| {} |", columns.join(" | ")));
    line(text, format_args!("|{}", " --- |".repeat(columns.len())));
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Memory takes everything.
    let _ = writeln!(text, "{what}");
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"))
}

fn ratio(bytes: u64, events: u64) -> String {
    bytes
        .checked_div(events)
        .map_or_else(|| "–".to_owned(), |each| each.to_string())
}

#[expect(clippy::cast_precision_loss, reason = "megabytes to one digit")]
fn megabytes(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

fn keys(results: &Results, text: &mut String) {
    let Some(row) = &results.keys else { return };
    head(
        text,
        "From a key to the screen that it asks for, beside the load at full speed",
        &["sockets", "keys", "median", "p99", "worst"],
    );
    line(
        text,
        format_args!(
            "| {} | {} | {:.1} ms | {:.1} ms | {:.1} ms |",
            row.sockets, row.pressed, row.median_ms, row.p99_ms, row.worst_ms
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::observer::Observer;

    #[test]
    fn tables_take_the_place_of_those_before() {
        let page = format!("prose\n{BEGIN}\nold\n{END}\nmore\n");

        let put = put_into(&page, "new\n").unwrap();

        assert_eq!(put, format!("prose\n{BEGIN}\n\nnew\n\n{END}\nmore\n"));
        assert_eq!(put_into(&put, "new\n").unwrap(), put);
        assert!(put_into("no markers", "new").is_err());
    }

    #[test]
    fn only_what_was_measured_has_a_table() {
        let results = Results {
            syscalls: vec![Beside {
                observer: Observer::Json,
                calls: 7,
                each_ns: 88.0,
                change_percent: 10.0,
                own_ns: 81.0,
                own_change_percent: 1.25,
            }],
            ..Results::default()
        };

        let text = tables(&results);

        assert!(
            text.contains("| 7 | 88.0 ns | +10.0 % | 81.0 ns | +1.2 % |"),
            "{text}"
        );
        assert!(!text.contains("At full speed"), "{text}");
    }
}
