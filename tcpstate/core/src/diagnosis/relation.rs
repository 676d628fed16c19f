//! Who a holder of the port is to the process that asked for it. One judgement: the sentence,
//! the advice, the JSON and the plan of `release` go by it.

mod likeness;
mod phrases;
#[cfg(test)]
mod tests;

use crate::event::{Ancestor, Process, RelationName};

use super::text;
use likeness::likeness;
pub(super) use likeness::{is_fork_of, is_same_program};
pub(super) use phrases::{apposition, held_in};

/// Whoever has lost its parent is its child.
const INIT: u32 = 1;

/// What one process is to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    /// `None`: nothing is known.
    pub(super) name: Option<RelationName>,
    /// The option that both have, where that is the relation.
    option: Option<String>,
    /// The parent of both.
    parent: Option<String>,
}

impl Relation {
    pub(super) fn of(holder: &Process, caller: &Process) -> Self {
        let parent = common_parent(holder, caller);
        let mut option = None;
        let name = kinship(holder, caller).or_else(|| {
            let (name, shared) = likeness(holder, caller)?;
            option = shared;
            Some(name)
        });
        Self {
            name: name.or(parent.as_ref().map(|_| RelationName::Sibling)),
            option,
            parent,
        }
    }

    /// The option that both have, where that is the relation.
    pub(super) fn shared_option(&self) -> Option<&str> {
        self.option.as_deref()
    }

    /// Whether the end of the holder may be the end of the process that asked.
    pub(super) fn is_above(&self) -> bool {
        matches!(
            self.name,
            Some(RelationName::Parent | RelationName::Ancestor)
        )
    }
}

/// The nearest relation of those who have a socket open.
pub(super) fn nearest<'a>(
    holders: impl IntoIterator<Item = &'a Process>,
    caller: &Process,
) -> Option<RelationName> {
    holders
        .into_iter()
        .filter_map(|holder| Relation::of(holder, caller).name)
        .min()
}

/// By descent.
fn kinship(holder: &Process, caller: &Process) -> Option<RelationName> {
    let is_above = |ancestors: &[Ancestor], pid| ancestors.iter().any(|one| one.pid == pid);
    if !holder.has_pid() || holder.pid == INIT {
        None
    } else if holder.pid == caller.pid {
        Some(RelationName::Itself)
    } else if caller.ppid == Some(holder.pid) {
        Some(RelationName::Parent)
    } else if is_above(ancestors(caller), holder.pid) {
        Some(RelationName::Ancestor)
    } else if !caller.has_pid() {
        None
    } else if holder.ppid == Some(caller.pid) {
        Some(RelationName::Child)
    } else if is_above(ancestors(holder), caller.pid) {
        Some(RelationName::Descendant)
    } else {
        None
    }
}

fn ancestors(process: &Process) -> &[Ancestor] {
    let known = process.identity.as_deref();
    known.map_or(&[], |known| &known.ancestors)
}

/// `bash[9]`, where that is the parent of both. What process 1 or a user's systemd has for a
/// child may have been anybody's.
fn common_parent(holder: &Process, caller: &Process) -> Option<String> {
    let parent = holder.ppid.filter(|parent| *parent > INIT)?;
    let is_common = caller.ppid == Some(parent) && holder.pid != caller.pid;
    let name = holder.parent.as_deref().or(caller.parent.as_deref())?;
    (is_common && name != "systemd").then(|| format!("{}[{parent}]", text::safe(name)))
}

/// Whether what started it has ended, and it is nobody's daemon: it was in that one's job, or
/// calls itself the worker of a master that is not its parent any more.
pub(super) fn is_orphan(process: &Process) -> bool {
    let known = process.identity.as_deref();
    let title = process.argv.as_deref().and_then(<[String]>::first);
    let is_worker = || title.is_some_and(|title| title.contains(": worker"));
    known.is_some_and(|known| known.is_orphan) || (process.ppid == Some(INIT) && is_worker())
}
