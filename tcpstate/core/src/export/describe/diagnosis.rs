//! Why a call failed: one sentence first, then the evidence, then what to do.

use std::fmt::Write as _;

use super::words::{connection, name, seconds};
use super::{Context, Describe, EventRow, Meaning, View};
use crate::event::{Applies, Certainty, Diagnosis, Effect, Fix, Holder, State, location};
use crate::identity::identity;
use crate::printable::printable;

const SHOWN_HOLDERS: usize = 5;
/// Processes of one holder that are named.
const SHOWN_PROCESSES: usize = 3;
const SHOWN_FIXES: usize = 7;

impl Describe for Diagnosis {
    fn text(&self, _: &'static str, context: &Context<'_>) -> Option<String> {
        let doubt = match self.certainty {
            Certainty::Likely => ", likely",
            Certainty::Proven | Certainty::Unknown => "",
        };
        let mut text = format!(
            "WHY          {}  [{}{doubt}]",
            printable(&self.summary),
            self.cause.name()
        );
        let mut line = |label: &str, content: &str| {
            let _ = write!(text, "\n  {label:10} {content}");
        };
        let made_in = context
            .failed
            .and_then(|call| location(call.foreign_netns(context.own_netns), &call.process));
        if let Some(made_in) = made_in {
            line("where", &printable(&made_in));
        }
        for missing in &self.missing {
            line("not seen", &printable(missing));
        }
        for holder in self.holders.iter().take(SHOWN_HOLDERS) {
            line("held by", &holder_text(holder));
            let known = holder.processes.as_deref().and_then(<[_]>::first);
            if let Some(identity) = known.and_then(|process| identity(process)) {
                line("", &identity);
            }
        }
        let left_out: usize = self
            .holders
            .iter()
            .enumerate()
            .map(|(index, holder)| {
                usize::from(index >= SHOWN_HOLDERS) + usize::try_from(holder.alike).unwrap_or(0)
            })
            .sum::<usize>()
            + usize::try_from(self.holders_more).unwrap_or(0);
        if left_out > 0 {
            line("and", &format!("{left_out} more"));
        }
        if let Some(ms) = self.clears_ms {
            let is_latest = self
                .holders
                .iter()
                .any(|holder| holder.state == State::FinWait2);
            let about = if is_latest { "at most" } else { "about" };
            line(
                "free in",
                &format!("{about} {} if nobody acts", seconds(ms)),
            );
        }
        for fix in self.fixes.iter().take(SHOWN_FIXES) {
            for (label, content) in fix_lines(fix) {
                line(label, &content);
            }
        }
        Some(text)
    }

    fn row(&self, _: &'static str, _: &View) -> EventRow {
        let text = if self.summary.is_empty() {
            self.cause.name().to_owned()
        } else {
            format!("{}: {}", self.cause.name(), self.summary)
        };
        EventRow::emphasized("why", Meaning::Bad, text)
    }
}

/// What to do, and below it the command or the line of code.
pub(in crate::export) fn fix_lines(fix: &Fix) -> Vec<(&'static str, String)> {
    let label = match fix.applies {
        Applies::Now => "fix",
        Applies::NextTime => "next time",
        Applies::No => "no use",
    };
    let text = printable(&fix.text);
    let mut lines = vec![match (fix.applies, &fix.why) {
        (Applies::No, Some(why)) => (label, format!("{text}: {}", printable(why))),
        _ => (label, text.into_owned()),
    }];
    // Above the command: the line itself is to be pasted.
    let why = fix.why.as_ref().filter(|_| fix.applies != Applies::No);
    match (fix.effect.and_then(Effect::warning), why) {
        (Some(warning), Some(why)) if fix.effect == Some(Effect::Destroys) => {
            lines.push(("", format!("(this {warning}: {})", printable(why))));
        }
        (Some(warning), None) if fix.effect == Some(Effect::Destroys) => {
            lines.push(("", format!("(this {warning})")));
        }
        (_, Some(why)) => lines.push(("", format!("({})", printable(why)))),
        (_, None) => {}
    }
    match (&fix.command, &fix.language) {
        (Some(code), Some(language)) => {
            lines.push(("", format!("{}: {}", printable(language), printable(code))));
        }
        (Some(command), None) => lines.push(("", format!("$ {}", printable(command)))),
        (None, _) => {}
    }
    lines
}

/// `0.0.0.0:8080  listen  nginx[4711]`.
fn holder_text(holder: &Holder) -> String {
    let mut text = format!(
        "{}  {}",
        connection(holder.local, holder.peer),
        holder.state
    );
    let open_in = holder.processes.as_deref().unwrap_or_default();
    let mut names: Vec<String> = open_in
        .iter()
        .take(SHOWN_PROCESSES)
        .map(|process| name(process))
        .collect();
    let more = open_in.len().saturating_sub(SHOWN_PROCESSES)
        + usize::try_from(holder.processes_more).unwrap_or(0);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if !names.is_empty() {
        let _ = write!(text, "  {}", names.join(", "));
    }
    let opener = holder
        .process
        .as_ref()
        .filter(|process| open_in.iter().all(|other| other.pid != process.pid));
    if let Some(process) = opener {
        let opened_by = if names.is_empty() { "" } else { "opened by " };
        let _ = write!(text, "  {opened_by}{}", name(process));
    }
    if let Some(process) = &holder.left_by {
        let _ = write!(text, "  closed first by {}", name(process));
    }
    if let Some(ms) = holder.expires_ms {
        let _ = write!(text, "  {} left", seconds(ms));
    }
    text
}
