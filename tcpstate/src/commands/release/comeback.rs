//! What was stopped and holds the port again: who has started it, and what to stop
//! instead. It is not stopped a second time.

use std::collections::BTreeSet;

use super::consent::Target;
use crate::diagnosis::release::{Act, Plan, TargetProcess};
use crate::event::Process;

/// The process that orphans become the children of, and that starts services.
const INIT: u32 = 1;

/// A process that was stopped.
#[derive(Debug)]
pub(super) struct Stopped(TargetProcess);

/// Who is there again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comeback {
    /// In words, with what to do.
    pub(super) says: String,
}

/// What identifies a process.
pub(super) fn identity(target: &TargetProcess) -> Target {
    Target::Process(target.process.pid, target.start_ticks)
}

impl Stopped {
    pub(super) fn of(target: &TargetProcess) -> Self {
        Self(target.clone())
    }

    /// Whether somebody is there who could start it again.
    pub(super) fn may_come_back(&self) -> bool {
        let process = &self.0.process;
        process.unit.is_some()
            || process.container.is_some()
            || process.ppid.is_some_and(|ppid| ppid > INIT)
    }
}

/// Who has come back, if somebody has: a holder that was not there before, and that is to
/// whom was stopped what only another start of it is.
pub(super) fn who(stopped: &[Stopped], known: &BTreeSet<Target>, plan: &Plan) -> Option<Comeback> {
    let holders = plan.steps.iter().flat_map(|step| match &step.act {
        Act::StopUnit { processes, .. } | Act::StopContainer { processes, .. } => {
            processes.as_slice()
        }
        Act::StopProcess(target) => std::slice::from_ref(target),
        Act::DestroySockets(_) | Act::DestroyLeftovers => &[],
    });
    let mut new = holders.filter(|target| !known.contains(&identity(target)));
    new.find_map(|target| {
        let now = &*target.process;
        stopped.iter().rev().find_map(|Stopped(before)| {
            let before = &*before.process;
            let starter = starter(before, now)?;
            Some(Comeback {
                says: format!(
                    "{} had ended, and {} has the port now: {starter}",
                    name(before),
                    name(now)
                ),
            })
        })
    })
}

/// Who has started it again; `None`: nothing shows that it is the same again.
fn starter(before: &Process, now: &Process) -> Option<String> {
    if let (Some(unit), Some(other)) = (&before.unit, &now.unit)
        && unit.name == other.name
    {
        let unit = &unit.name;
        return Some(format!(
            "{unit} has started it again; stop that: systemctl stop {unit}"
        ));
    }
    if let (Some(container), Some(other)) = (&before.container, &now.container)
        && container == other
    {
        return Some(format!(
            "the container {container} has started it again; stop that"
        ));
    }
    let parent = now.ppid.filter(|ppid| *ppid > INIT);
    if parent.is_some() && parent == before.ppid {
        let parent = parent.unwrap_or_default();
        let parent = match &now.parent {
            Some(comm) => format!("{comm}[{parent}]"),
            None => format!("process {parent}"),
        };
        return Some(format!(
            "{parent} has started it again; stop that instead, or tell it not to"
        ));
    }
    let is_same_command =
        now.exe.is_some() && now.exe == before.exe && now.argv.is_some() && now.argv == before.argv;
    is_same_command.then(|| {
        "the same command has been started again; find out by whom, and stop that instead"
            .to_owned()
    })
}

fn name(process: &Process) -> String {
    format!("{}[{}]", process.comm, process.pid)
}
