//! Failed calls: the diagnosis, what held the port, what to do.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::format::{
    clock_time, command_line, connection, duration_ms, fallback, made_in, name, of_then, options,
    overlap, owner, requested, sentence, shown, warning, would_work,
};
use super::super::{FailedCall, Report};
use super::{moment, seqs};
use crate::event::{Applies, Certainty, Effect, Fix, State};

/// Calls that are shown before the others are folded away together.
const SHOWN_CALLS: usize = 8;

/// All failed calls.
pub(super) fn section(report: &Report) -> Markup {
    if report.failures.is_empty() && report.refused_connects.is_empty() {
        return html! {};
    }
    // One of a kind is open; the others are a click away.
    let mut kinds = BTreeSet::new();
    let calls: Vec<(bool, &FailedCall)> = report
        .failures
        .iter()
        .map(|failure| {
            let kind = (
                failure.diagnosis.cause,
                failure.requested.port,
                &failure.call,
            );
            (kinds.insert(kind), failure)
        })
        .collect();
    let (shown, folded) = calls.split_at(calls.len().min(SHOWN_CALLS));
    html! {
        section {
            h2 { "Failed calls" }
            @if report.failures.len() > 1 { (counts(report)) }
            @for (is_open, failure) in shown { (call(failure, report, *is_open)) }
            @if !folded.is_empty() {
                details {
                    summary { (folded.len()) " more failed calls" }
                    @for (is_open, failure) in folded { (call(failure, report, *is_open)) }
                }
            }
            @for each in &report.fallbacks { p { (fallback(each)) } }
            @if !report.refused_connects.is_empty() {
                p {
                    "Connects that the other side or the way there refused: "
                    @for (at, (errno, times)) in report.refused_connects.iter().enumerate() {
                        @if at > 0 { ", " }
                        code { (sentence(errno)) } " " (times)
                    }
                    "."
                }
            }
        }
    }
}

fn counts(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "Call" } th { "Port" } th { "Cause" } th { "Times" } th { "First" } th { "Last" } } }
            tbody {
                @for kind in &report.failure_counts {
                    tr {
                        td data-label="Call" { (kind.call) }
                        td.number data-label="Port" { (kind.port) }
                        td data-label="Cause" { code { (kind.cause.name()) } }
                        td.number data-label="Times" { (kind.count) }
                        td data-label="First" { (clock_time(&kind.first)) }
                        td data-label="Last" { (clock_time(&kind.last)) }
                    }
                }
            }
        }
    }
}

fn call(failure: &FailedCall, report: &Report, is_open: bool) -> Markup {
    let diagnosis = &failure.diagnosis;
    html! {
        details.card.call id={ "call-" (failure.seq) } open[is_open] {
            summary {
                span.mark aria-hidden="true" { "✕" } " "
                b { (failure.call) " " (requested(failure.requested)) }
                " " code { (shown(failure.errno_name.as_deref().unwrap_or("failed"), 32)) }
                " " span.quiet { (clock_time(&failure.at)) " by " (name(&failure.process)) " #" (failure.seq) }
            }
            p.why { (sentence(&diagnosis.summary)) }
            p {
                span.chip { (diagnosis.cause.name()) } " "
                span.chip.soft { (certainty(diagnosis.certainty)) }
            }
            dl {
                dt { "When" }
                dd { (moment(&failure.at)) }
                dt { "By" }
                dd {
                    b { (name(&failure.process)) } ", user " (failure.process.uid)
                    @if let Some(command) = command_line(&failure.process) { br; code { (command) } }
                }
                @if let Some(made_in) = made_in(failure, &report.environment) {
                    dt { "Where" }
                    dd { (made_in) }
                }
                dt { "Its options" }
                dd { (options(failure.reuse)) }
                dt { "Would have worked with" }
                dd { (would_work(diagnosis.would_work)) }
                @if let (Some(ms), Some(clears)) = (diagnosis.clears_ms, &failure.clears) {
                    dt { "Free by itself" }
                    dd { (duration_ms(ms)) " later, at " (moment(clears)) }
                }
                @for missing in &diagnosis.missing {
                    dt { "Not seen" }
                    dd { (sentence(missing)) }
                }
            }
            @if !diagnosis.holders.is_empty() { (holders(failure)) }
            h4 { "What to do" }
            (fixes(failure, report))
        }
    }
}

fn holders(failure: &FailedCall) -> Markup {
    html! {
        h4 { "What held the port" }
        table {
            thead { tr { th { "Socket" } th { "State" } th { "Whose" } th { "Its options" } th { "Left" } th { "Evidence" } } }
            tbody {
                @for holder in &failure.diagnosis.holders {
                    tr {
                        td data-label="Socket" {
                            (connection(holder.local, holder.peer))
                            @if holder.alike > 0 { " and " (holder.alike) " alike" }
                            br; span.quiet { (overlap(holder.overlap)) }
                        }
                        td data-label="State" { (state(holder.state)) }
                        td data-label="Whose" {
                            @let owner = owner(holder);
                            @if owner.is_empty() { "not known" } @else { (owner) }
                        }
                        td data-label="Its options" { (holder.reuse.map_or("not known".to_owned(), options)) }
                        td.state data-label="Left" { (holder.expires_ms.map_or("no timer".to_owned(), duration_ms)) }
                        td data-label="Evidence" { (seqs(&holder.evidence)) }
                    }
                }
            }
        }
        @if failure.holders_left_out > 0 {
            p.quiet { (failure.holders_left_out) " more are not listed." }
        }
    }
}

/// A state with the colour that it has in the timelines.
pub(super) fn state(state: State) -> Markup {
    html! {
        span.state {
            span.swatch.{ "s-" (state.name()) } aria-hidden="true" {}
            (state.name())
        }
    }
}

fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Proven => "proven",
        Certainty::Likely => "likely",
        Certainty::Unknown => "cannot tell",
    }
}

/// What would help, without reasons.
pub(super) fn help(failure: &FailedCall, report: &Report) -> Markup {
    html! {
        @if let Some(text) = of_then(failure, report) { p { (text) } }
        ul.fixes {
            @for fix in failure.diagnosis.fixes.iter().filter(|fix| fix.applies != Applies::No) {
                li {
                    @if fix.applies == Applies::NextTime { span.chip.soft { "next time" } " " }
                    (sentence(&fix.text))
                    (command(fix))
                }
            }
        }
        p.quiet { "Why, and what does not help: " a href={ "#call-" (failure.seq) } { "failed call #" (failure.seq) } "." }
    }
}

/// What to do about a failed call, what does not help, and why.
fn fixes(failure: &FailedCall, report: &Report) -> Markup {
    html! {
        @if let Some(text) = of_then(failure, report) { p.quiet { (text) } }
        ul.fixes {
            @for fix in &failure.diagnosis.fixes {
                li.no[fix.applies == Applies::No] {
                    @match fix.applies {
                        Applies::Now => {},
                        Applies::NextTime => { span.chip.soft { "next time" } " " },
                        Applies::No => { span.chip.soft { "does not help" } " " },
                    }
                    (sentence(&fix.text))
                    (command(fix))
                    @if let Some(why) = &fix.why { p.quiet { (sentence(why)) } }
                }
            }
        }
    }
}

/// What a fix has to run or to write, below what running it does.
fn command(fix: &Fix) -> Markup {
    let is_soft = fix.effect != Some(Effect::Destroys);
    html! {
        @if let Some(warning) = warning(fix) { " " span.chip.soft[is_soft] { (warning) } }
        @if let Some(command) = &fix.command { pre { code { (sentence(command)) } } }
    }
}
