//! A relation in words, behind the name of the holder.

use super::super::text;
use super::{Relation, is_orphan};
use crate::event::{Halted, HeldIn, Process, RelationName};

impl Relation {
    /// `the parent of web[12]`.
    fn phrase(&self, asked_by: &Process) -> Option<String> {
        let caller = text::process(asked_by);
        let siblings = self.parent.as_ref().map_or_else(String::new, |parent| {
            format!(" and has its parent, {parent}")
        });
        Some(match self.name? {
            RelationName::Itself => return None,
            RelationName::Parent | RelationName::Ancestor if !asked_by.has_pid() => {
                "which this very program was started from".to_owned()
            }
            RelationName::Parent => format!("the parent of {caller}"),
            RelationName::Ancestor => format!("an ancestor of {caller}"),
            RelationName::Child => format!("a child of {caller}"),
            RelationName::Descendant => format!("a descendant of {caller}"),
            RelationName::ConfigTested => format!("whose configuration {caller} tests"),
            RelationName::SameCommand => {
                format!("which runs the same command as {caller}{siblings}")
            }
            RelationName::SameOption => format!(
                "which was started with the option {} like {caller}",
                text::safe(self.option.as_deref().unwrap_or_default())
            ),
            RelationName::SameProgram => {
                format!("which runs the same program as {caller}{siblings}")
            }
            RelationName::Sibling => format!(
                "which has the same parent as {caller}, {}",
                self.parent.as_deref().unwrap_or_default()
            ),
        })
    }
}

/// `, the parent of web[12], which is stopped,` behind the name of the one process that
/// holds the port; nothing where there are several, or nothing is to be said.
pub(in super::super) fn apposition(holders: &[&Process], caller: &Process) -> String {
    let Some((first, others)) = holders.split_first() else {
        return String::new();
    };
    let is_one = others.iter().all(|other| other.pid == first.pid);
    if !is_one {
        return of_one_among(holders, caller).map_or_else(String::new, |said| format!(", {said},"));
    }
    let halted = match first.halted {
        Some(Halted::Stopped) => Some("which is stopped (SIGSTOP or ctrl-z)".to_owned()),
        Some(Halted::Traced) => Some("which a debugger has stopped".to_owned()),
        Some(Halted::Frozen) => Some("whose control group is frozen".to_owned()),
        Some(Halted::Defunct) => Some("whose first thread has ended while others go on".to_owned()),
        None => None,
    };
    let phrases = [
        Relation::of(first, caller).phrase(caller),
        is_orphan(first).then(|| "which outlived what started it".to_owned()),
        halted,
        held_in(first),
    ];
    let phrases: Vec<String> = phrases.into_iter().flatten().collect();
    if phrases.is_empty() {
        return String::new();
    }
    format!(", {},", phrases.join(", "))
}

/// `of which web[11] is the parent of web[12]`: what decides what is to be done.
fn of_one_among(holders: &[&Process], caller: &Process) -> Option<String> {
    let (holder, relation) = holders
        .iter()
        .map(|holder| (holder, Relation::of(holder, caller)))
        .filter(|(_, relation)| relation.name.is_some())
        .min_by_key(|(_, relation)| relation.name)?;
    let is_significant = relation.is_above()
        || matches!(
            relation.name,
            Some(RelationName::ConfigTested | RelationName::SameCommand | RelationName::SameOption)
        );
    let phrase = relation.phrase(caller).filter(|_| is_significant)?;
    let said = match phrase.strip_prefix("which ") {
        Some(verb) => verb.to_owned(),
        None => match phrase.strip_prefix("whose ") {
            Some(_) => return Some(phrase),
            None => format!("is {phrase}"),
        },
    };
    Some(format!("of which {} {said}", text::process(holder)))
}

/// Where a process has a socket that is not among its descriptors.
pub(in super::super) fn held_in(process: &Process) -> Option<String> {
    let phrase = match process.held_in? {
        HeldIn::IoUring => "which has it in an io_uring (a registered file) and no descriptor",
        HeldIn::Thread => "a thread of which has it among descriptors of its own",
        HeldIn::Accept => "a thread of which is still inside accept, its descriptor closed",
    };
    Some(phrase.to_owned())
}
