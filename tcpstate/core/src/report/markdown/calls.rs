//! Failed calls: the diagnosis, what held the port, what to do.

use super::super::format::{
    clock_time, command_line, connection, duration_ms, fallback, list, made_in, name, of_then,
    options, overlap, owner, relative, requested, second, sentence, shown, warning, would_work,
};
use super::super::{FailedCall, Report};
use super::{line, table};
use crate::event::{Applies, Certainty};
use crate::markdown::{code, escape};

/// Failed calls that are described in full; the others get a line each.
const SHOWN_FAILURES: usize = 16;

/// What to do; `is_full`: also why, and what does not help.
pub(super) fn fixes(failure: &FailedCall, report: &Report, is_full: bool, out: &mut String) {
    if let Some(text) = of_then(failure, report) {
        line(out, format_args!("{}\n", escape(&text)));
    }
    let fixes = failure.diagnosis.fixes.iter();
    for fix in fixes.filter(|fix| is_full || fix.applies != Applies::No) {
        let when = match fix.applies {
            Applies::Now => "",
            Applies::NextTime => "For next time: ",
            Applies::No => "Does not help: ",
        };
        line(
            out,
            format_args!("- {when}{}", escape(&sentence(&fix.text))),
        );
        if let Some(command) = &fix.command {
            if let Some(warning) = warning(fix) {
                line(out, format_args!("  This {warning}:"));
            }
            line(out, format_args!("  {}", code(&sentence(command))));
        }
        if let Some(why) = fix.why.as_ref().filter(|_| is_full) {
            line(out, format_args!("  ({})", escape(&sentence(why))));
        }
    }
    out.push('\n');
}

/// All failed calls.
pub(super) fn failures(report: &Report, out: &mut String) {
    if report.failures.is_empty() && report.refused_connects.is_empty() {
        return;
    }
    line(out, format_args!("## Failed calls\n"));
    if report.failures.len() > 1 {
        table(
            out,
            &["call", "port", "cause", "times", "first", "last"],
            report.failure_counts.iter().map(|kind| {
                vec![
                    kind.call.clone(),
                    kind.port.to_string(),
                    code(kind.cause.name()),
                    kind.count.to_string(),
                    clock_time(&kind.first).to_owned(),
                    clock_time(&kind.last).to_owned(),
                ]
            }),
        );
    }
    for failure in report.failures.iter().take(SHOWN_FAILURES) {
        failure_block(failure, report, out);
    }
    if report.failures.len() > SHOWN_FAILURES {
        table(
            out,
            &["#", "when", "call", "by", "cause"],
            report.failures.iter().skip(SHOWN_FAILURES).map(|failure| {
                vec![
                    failure.seq.to_string(),
                    format!("{} ({})", clock_time(&failure.at), relative(&failure.at)),
                    format!("{} {}", failure.call, requested(failure.requested)),
                    code(&name(&failure.process)),
                    code(failure.diagnosis.cause.name()),
                ]
            }),
        );
    }
    for each in &report.fallbacks {
        line(out, format_args!("{}\n", escape(&fallback(each))));
    }
    if !report.refused_connects.is_empty() {
        let refused: Vec<String> = report
            .refused_connects
            .iter()
            .map(|(errno, times)| format!("{} {times}", escape(&sentence(errno))))
            .collect();
        line(
            out,
            format_args!(
                "Connects that the other side or the way there refused: {}.\n",
                refused.join(", ")
            ),
        );
    }
}

fn failure_block(failure: &FailedCall, report: &Report, out: &mut String) {
    let diagnosis = &failure.diagnosis;
    line(
        out,
        format_args!(
            "### \\#{} {} {} at {} ({}): {}\n",
            failure.seq,
            failure.call,
            requested(failure.requested),
            clock_time(&failure.at),
            relative(&failure.at),
            escape(&shown(
                failure.errno_name.as_deref().unwrap_or("failed"),
                32
            ))
        ),
    );
    line(
        out,
        format_args!("{}\n", escape(&sentence(&diagnosis.summary))),
    );
    line(
        out,
        format_args!(
            "- cause: {} ({})",
            code(diagnosis.cause.name()),
            certainty(failure)
        ),
    );
    let command = command_line(&failure.process)
        .map_or_else(String::new, |command| format!(": {}", code(&command)));
    line(
        out,
        format_args!(
            "- by: {}, user {}{command}",
            code(&name(&failure.process)),
            failure.process.uid
        ),
    );
    if let Some(made_in) = made_in(failure, &report.environment) {
        line(out, format_args!("- where: {}", escape(&made_in)));
    }
    line(
        out,
        format_args!("- its options: {}", options(failure.reuse)),
    );
    line(
        out,
        format_args!(
            "- would have worked with {}",
            would_work(diagnosis.would_work)
        ),
    );
    if let (Some(ms), Some(clears)) = (diagnosis.clears_ms, &failure.clears) {
        line(
            out,
            format_args!(
                "- free by itself: {} later, at {} UTC",
                duration_ms(ms),
                second(clears)
            ),
        );
    }
    for missing in &diagnosis.missing {
        line(
            out,
            format_args!("- not seen: {}", escape(&sentence(missing))),
        );
    }
    out.push('\n');
    if !diagnosis.holders.is_empty() {
        table(
            out,
            &["held by", "state", "whose", "options", "left", "evidence"],
            diagnosis.holders.iter().map(|holder| {
                let alike = if holder.alike > 0 {
                    format!(" and {} alike", holder.alike)
                } else {
                    String::new()
                };
                let seqs: Vec<String> = holder
                    .evidence
                    .iter()
                    .map(|seq| format!("\\#{seq}"))
                    .collect();
                vec![
                    format!(
                        "{}{alike} ({})",
                        connection(holder.local, holder.peer),
                        overlap(holder.overlap)
                    ),
                    code(holder.state.name()),
                    escape(&owner(holder)),
                    holder.reuse.map_or("not known".to_owned(), options),
                    holder.expires_ms.map_or_else(String::new, duration_ms),
                    list(&seqs, 8),
                ]
            }),
        );
        if failure.holders_left_out > 0 {
            line(
                out,
                format_args!("{} more are not listed.\n", failure.holders_left_out),
            );
        }
    }
    fixes(failure, report, true, out);
}

fn certainty(failure: &FailedCall) -> &'static str {
    match failure.diagnosis.certainty {
        Certainty::Proven => "proven",
        Certainty::Likely => "likely",
        Certainty::Unknown => "cannot tell",
    }
}
