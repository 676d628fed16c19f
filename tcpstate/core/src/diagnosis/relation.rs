//! Who a holder of the port is to the process that asked for it.

use crate::event::{Halted, HeldIn, Process};

use super::language::Language;
use super::text;

/// Whoever has lost its parent is its child.
const INIT: u32 = 1;

/// The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The process that asked.
    Itself,
    /// It started the process that asked, and lives.
    Parent,
    /// The process that asked started it.
    Child,
    /// Another start of the same command.
    SameCommand,
    /// The same program with other arguments.
    SameProgram,
    /// Nothing of these is known.
    Other,
}

impl Relation {
    pub(super) fn of(holder: &Process, caller: &Process) -> Self {
        let is_program = |path: &str| holder.exe.as_deref() == Some(path);
        if holder.pid == caller.pid {
            Self::Itself
        } else if caller.ppid == Some(holder.pid) && holder.pid != INIT {
            Self::Parent
        } else if holder.ppid == Some(caller.pid) {
            Self::Child
        } else if !caller.exe.as_deref().is_some_and(is_program) {
            Self::Other
        } else if is_same_argv(holder, caller) == Some(true) {
            Self::SameCommand
        } else if Language::of(holder).is_interpreted() {
            // What it runs is in the arguments.
            Self::Other
        } else {
            Self::SameProgram
        }
    }

    /// `the parent of web[12]`.
    fn phrase(self, caller: &Process) -> Option<String> {
        let caller = text::process(caller);
        match self {
            Self::Parent => Some(format!("the parent of {caller}")),
            Self::Child => Some(format!("a child of {caller}")),
            Self::SameCommand => Some(format!("which runs the same command as {caller}")),
            Self::SameProgram => Some(format!("which runs the same program as {caller}")),
            Self::Itself | Self::Other => None,
        }
    }
}

/// `, the parent of web[12], which is stopped,` behind the name of the one process that
/// holds the port; nothing where there are several, or nothing is to be said.
pub(super) fn apposition(holders: &[&Process], caller: &Process) -> String {
    let Some((first, others)) = holders.split_first() else {
        return String::new();
    };
    if others.iter().any(|other| other.pid != first.pid) {
        return String::new();
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
        halted,
        held_in(first),
    ];
    let phrases: Vec<String> = phrases.into_iter().flatten().collect();
    if phrases.is_empty() {
        return String::new();
    }
    format!(", {},", phrases.join(", "))
}

/// Where a process has a socket that is not among its descriptors.
pub(super) fn held_in(process: &Process) -> Option<String> {
    let phrase = match process.held_in? {
        HeldIn::IoUring => "which has it in an io_uring (a registered file) and no descriptor",
        HeldIn::Thread => "a thread of which has it among descriptors of its own",
    };
    Some(phrase.to_owned())
}

/// Whether a process runs what another one was when it opened a socket: it is that one's
/// fork. One that has executed another program since, or the same with other arguments, does
/// not. Where neither was read, the name decides.
pub(super) fn is_fork_of(process: &Process, opener: &Process) -> bool {
    let is_same_program = match (&process.exe, &opener.exe) {
        (Some(now), Some(then)) => now == then,
        _ => process.comm == opener.comm,
    };
    is_same_program && is_same_argv(process, opener) != Some(false)
}

/// Whether two processes have the same arguments, as far as each is known: those of a
/// socket's holders are cut ([`Process::with_short_argv`]).
fn is_same_argv(one: &Process, other: &Process) -> Option<bool> {
    let (one, other) = (one.argv.as_deref()?, other.argv.as_deref()?);
    let cut = |argv: &[String]| {
        let (last, before) = argv.split_last()?;
        let begin = last.strip_suffix('…')?;
        Some((begin.to_owned(), before.to_vec()))
    };
    let begins_like = |whole: &[String], (begin, before): (String, Vec<String>)| {
        whole.get(..before.len()) == Some(&before)
            && whole
                .get(before.len())
                .is_some_and(|word| word.starts_with(&begin))
    };
    Some(
        one == other
            || cut(one).is_some_and(|cut| begins_like(other, cut))
            || cut(other).is_some_and(|cut| begins_like(one, cut)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KnownBy;

    fn process(pid: u32, argv: &[&str]) -> Process {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        Process {
            argv: Some(argv.into()),
            exe: Some("/usr/bin/python3".into()),
            ..Process::new(pid, 1, "python3", KnownBy::Proc)
        }
    }

    #[test]
    fn arguments_that_were_cut_are_the_same_as_far_as_they_are_known() {
        let source = "x".repeat(600);
        let opener = process(1, &["python3", "-c", &source, "more"]);
        let child = process(2, &["python3", "-c", &source, "more"]).with_short_argv(512);
        let other = process(3, &["python3", "-c", &source.replace('x', "y")]).with_short_argv(512);

        assert!(is_fork_of(&child, &opener));
        assert!(is_fork_of(&opener, &child));
        assert!(!is_fork_of(&other, &opener));
        assert_eq!(Relation::of(&child, &opener), Relation::SameCommand);
    }
}
