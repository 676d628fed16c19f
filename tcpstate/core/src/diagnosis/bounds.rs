//! How large a diagnosis may be: it is one line, and readers take no line of any length.

use std::sync::Arc;

use crate::event::{Diagnosis, Holder, Process};

/// Holders that are listed; with those behind the blockers there may be more.
const MAX_HOLDERS: usize = 96;
/// Bytes of arguments of each process.
const MAX_ARGV: usize = 512;
/// Events that show one holder.
const MAX_EVIDENCE: usize = 32;
/// What could not be seen.
const MAX_MISSING: usize = 32;
/// Bytes that all holders may take as JSON.
const MAX_BYTES: usize = 160 << 10;

/// Shortens what is too long, and counts what is left out.
pub(super) fn keep(diagnosis: &mut Diagnosis) {
    let mut left = MAX_BYTES;
    let mut listed = 0;
    for holder in &mut diagnosis.holders {
        shorten(holder);
        let mut size = size_of_json(holder);
        while size > left && shed(holder) {
            size = size_of_json(holder);
        }
        if (size > left && listed > 0) || listed == MAX_HOLDERS {
            break;
        }
        left = left.saturating_sub(size);
        listed += 1;
    }
    let left_out = diagnosis.holders.split_off(listed);
    let count: u64 = left_out
        .iter()
        .map(|holder| 1 + u64::from(holder.alike))
        .sum();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    diagnosis.holders_more = diagnosis.holders_more.saturating_add(count);
    diagnosis.missing.truncate(MAX_MISSING);
}

fn shorten(holder: &mut Holder) {
    let short = |process: &mut Arc<Process>| {
        let len = |argv: &Arc<[String]>| argv.iter().map(String::len).sum::<usize>();
        if process.argv.as_ref().map_or(0, len) > MAX_ARGV {
            *process = Arc::new((**process).clone().with_short_argv(MAX_ARGV));
        }
    };
    holder.process.iter_mut().for_each(short);
    holder.left_by.iter_mut().for_each(short);
    holder.processes.iter_mut().flatten().for_each(short);
    holder.evidence.truncate(MAX_EVIDENCE);
}

/// Lists one process less; `false`: there is none to spare.
fn shed(holder: &mut Holder) -> bool {
    let Some(processes) = holder.processes.as_mut().filter(|all| all.len() > 1) else {
        return false;
    };
    processes.pop();
    holder.processes_more = holder.processes_more.saturating_add(1);
    true
}

fn size_of_json(holder: &Holder) -> usize {
    serde_json::to_vec(holder).map_or(usize::MAX, |json| json.len())
}
