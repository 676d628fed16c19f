//! What a stranger's recording may put into a report: strings and lists of a
//! bounded length. The engine's own texts hold such strings, too.

use std::sync::Arc;

use crate::event::{Diagnosis, Fallback, Process};

/// Characters of a name or a path.
pub(super) const MAX_NAME: usize = 256;
/// Characters of a short name: an error's, a command's, a version's.
pub(super) const MAX_WORD: usize = 32;
/// Characters of a sentence or a command.
pub(super) const MAX_TEXT: usize = 2_000;
/// Arguments of a command line.
const MAX_ARGUMENTS: usize = 32;
/// Holders of one failed call.
pub(super) const MAX_HOLDERS: usize = 32;
/// Processes that hold one descriptor.
const MAX_PROCESSES: usize = 8;
/// Ports that one process tried.
const MAX_TRIES: usize = 16;
/// Events that are named as evidence of one holder.
const MAX_EVIDENCE: usize = 16;

/// The text, cut after so many characters.
pub(super) fn text(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => {
            let mut short = text.get(..at).unwrap_or_default().to_owned();
            short.push('…');
            short
        }
        None => text.to_owned(),
    }
}

/// The process with strings of a bounded length.
pub(super) fn process(process: &Arc<Process>) -> Arc<Process> {
    let is_long = |part: &str| part.len() > MAX_NAME;
    let is_fine = !is_long(&process.comm)
        && !process.exe.as_deref().is_some_and(is_long)
        && !process.cgroup.as_deref().is_some_and(is_long)
        && !process.container.as_deref().is_some_and(is_long)
        && !process.runtime.as_deref().is_some_and(is_long)
        && process.argv.as_ref().is_none_or(|argv| {
            argv.len() <= MAX_ARGUMENTS && !argv.iter().any(|part| is_long(part))
        });
    if is_fine {
        return Arc::clone(process);
    }
    let short = |part: &Arc<str>| Arc::<str>::from(text(part, MAX_NAME));
    Arc::new(Process {
        comm: short(&process.comm),
        exe: process.exe.as_ref().map(short),
        argv: process.argv.as_ref().map(|argv| {
            argv.iter()
                .take(MAX_ARGUMENTS)
                .map(|part| text(part, MAX_NAME))
                .collect()
        }),
        cgroup: process.cgroup.as_ref().map(short),
        container: process.container.as_ref().map(short),
        runtime: process.runtime.as_ref().map(short),
        ..(**process).clone()
    })
}

/// The diagnosis with bounded lists, and the number of holders that are left out.
pub(super) fn diagnosis(diagnosis: &Diagnosis) -> (Diagnosis, u64) {
    let mut short = diagnosis.clone();
    let left_out = short.holders.len().saturating_sub(MAX_HOLDERS);
    short.holders.truncate(MAX_HOLDERS);
    for holder in &mut short.holders {
        holder.process = holder.process.as_ref().map(process);
        holder.left_by = holder.left_by.as_ref().map(process);
        if let Some(processes) = &mut holder.processes {
            let more = processes.len().saturating_sub(MAX_PROCESSES);
            holder.processes_more += u32::try_from(more).unwrap_or(u32::MAX);
            processes.truncate(MAX_PROCESSES);
            for each in processes {
                *each = process(each);
            }
        }
        holder.evidence.truncate(MAX_EVIDENCE);
    }
    short.summary = text(&short.summary, MAX_TEXT);
    for fix in &mut short.fixes {
        fix.text = text(&fix.text, MAX_TEXT);
        fix.command = fix.command.as_deref().map(|part| text(part, MAX_TEXT));
        fix.why = fix.why.as_deref().map(|part| text(part, MAX_TEXT));
    }
    for missing in &mut short.missing {
        *missing = text(missing, MAX_TEXT);
    }
    (short, left_out as u64)
}

/// The fallback with bounded lists.
pub(super) fn fallback(fallback: &Fallback) -> Fallback {
    let mut short = fallback.clone();
    short.failed.truncate(MAX_TRIES);
    short.process = process(&short.process);
    short
}
