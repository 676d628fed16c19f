//! What an event takes in memory besides itself: what is kept is bounded by it,
//! as one failed call can have more to say than a thousand transitions.

use super::{Body, Call, Diagnosis, Process, Unit};

impl Body {
    /// Bytes on the heap, about. What events share counts for each of them.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Socket(seen) => of(seen.process.as_deref()) + of_all(seen.processes.as_deref()),
            Self::State(change) => of(change.process.as_deref()) + text(change.error.as_deref()),
            Self::TimeWaitEnter(enter) => of(enter.left_by.as_deref()),
            Self::Reset(reset) => of(reset.process.as_deref()) + text(reset.reason.as_deref()),
            Self::Bind(call) | Self::Listen(call) | Self::Connect(call) | Self::Accept(call) => {
                of_call(call)
            }
            Self::Diagnosis(diagnosis) => of_diagnosis(diagnosis),
            Self::Restart(restart) => {
                size_of_val(&**restart)
                    + of(restart.old_process.as_deref())
                    + of(restart.new_process.as_deref())
            }
            Self::Fallback(fallback) => {
                size_of_val(&**fallback)
                    + size_of_val(&*fallback.failed)
                    + of(Some(&fallback.process))
            }
            Self::Flood(flood) => flood.comm.len(),
            // One of each, or nothing but numbers.
            Self::Header(_)
            | Self::Footer(_)
            | Self::TimeWaitExit(_)
            | Self::Loss(_)
            | Self::Tick(_) => 0,
        }
    }
}

fn of_call(call: &Call) -> usize {
    let holders = call.seen.iter().flat_map(|seen| &seen.holders);
    let seen: usize = holders
        .map(|holder| size_of_val(holder) + of_all(holder.processes.as_deref()))
        .sum();
    size_of_val(call) + of(Some(&call.process)) + text(call.netns_name.as_deref()) + seen
}

fn of_diagnosis(diagnosis: &Diagnosis) -> usize {
    let holders: usize = diagnosis
        .holders
        .iter()
        .map(|holder| {
            size_of_val(holder)
                + size_of_val(&*holder.evidence)
                + of(holder.process.as_deref())
                + of_all(holder.processes.as_deref())
                + of(holder.left_by.as_deref())
        })
        .sum();
    let fixes: usize = diagnosis
        .fixes
        .iter()
        .map(|fix| {
            size_of_val(fix)
                + fix.text.len()
                + text(fix.command.as_deref())
                + text(fix.why.as_deref())
        })
        .sum();
    let missing: usize = diagnosis.missing.iter().map(String::len).sum();
    size_of_val(diagnosis) + diagnosis.summary.len() + holders + fixes + missing
}

fn of_all<P: AsRef<Process>>(processes: Option<&[P]>) -> usize {
    let processes = processes.into_iter().flatten();
    processes.map(|process| of(Some(process.as_ref()))).sum()
}

fn of(process: Option<&Process>) -> usize {
    let Some(process) = process else { return 0 };
    let argv: usize = process
        .argv
        .iter()
        .flat_map(|argv| argv.iter())
        .map(|word| size_of_val(word) + word.len())
        .sum();
    size_of_val(process)
        + process.comm.len()
        + text(process.parent.as_deref())
        + text(process.exe.as_deref())
        + text(process.language.as_deref())
        + text(process.cgroup.as_deref())
        + text(process.container.as_deref())
        + text(process.runtime.as_deref())
        + process.unit.as_deref().map_or(0, of_unit)
        + argv
}

fn of_unit(unit: &Unit) -> usize {
    let others: usize = unit
        .others
        .iter()
        .map(|other| size_of_val(other) + other.comm.len())
        .sum();
    size_of_val(unit) + unit.name.len() + others
}

fn text(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}
