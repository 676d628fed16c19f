//! Who a holder of the port is to the process that asked for it. One judgement: the sentence,
//! the advice, the JSON and the plan of `release` go by it.

use crate::event::{Ancestor, Halted, HeldIn, Process, RelationName};

use super::language::Language;
use super::program::Program;
use super::text;

/// Whoever has lost its parent is its child.
const INIT: u32 = 1;
/// Programs that open their ports to test their configuration, and the options for it.
const CONFIG_TESTS: &[(&str, &[&str])] = &[
    ("nginx", &["-t", "-T", "-tq"]),
    ("openresty", &["-t", "-T"]),
    ("angie", &["-t", "-T"]),
    ("freenginx", &["-t", "-T"]),
];

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

    /// `the parent of web[12]`.
    fn phrase(&self, asked_by: &Process) -> Option<String> {
        let caller = text::process(asked_by);
        let siblings = self.parent.as_ref().map_or_else(String::new, |parent| {
            format!(" and has its parent, {parent}")
        });
        Some(match self.name? {
            RelationName::Itself => return None,
            RelationName::Parent | RelationName::Ancestor if asked_by.pid == 0 => {
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
    if holder.pid == 0 || holder.pid == INIT {
        None
    } else if holder.pid == caller.pid {
        Some(RelationName::Itself)
    } else if caller.ppid == Some(holder.pid) {
        Some(RelationName::Parent)
    } else if is_above(ancestors(caller), holder.pid) {
        Some(RelationName::Ancestor)
    } else if caller.pid == 0 {
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

/// By what they run; with the option that both have, where that is it.
fn likeness(holder: &Process, caller: &Process) -> Option<(RelationName, Option<String>)> {
    if !is_same_program(holder, caller) {
        return None;
    }
    let by_name = |name| Some((name, None));
    let theirs = holder.argv.as_deref().unwrap_or_default();
    let own = caller.argv.as_deref().unwrap_or_default();
    let programs = (Program::of(theirs), Program::of(own));
    let are_apart = |is_relative: bool| is_relative && are_in_two_folders(holder, caller);
    if tests_configuration(caller, own) {
        return by_name(RelationName::ConfigTested);
    }
    if !own.is_empty() && is_same_argv(holder, caller) == Some(true) {
        let is_relative = programs.1.is_some_and(|program| program.is_relative);
        // Two programs of one name.
        return if are_apart(is_relative) {
            None
        } else {
            by_name(RelationName::SameCommand)
        };
    }
    if !Language::of(holder).is_interpreted() {
        return by_name(RelationName::SameProgram);
    }
    // What it runs is in the arguments.
    match programs {
        (Some(one), Some(other))
            if one.word == other.word && !are_apart(one.is_relative || other.is_relative) =>
        {
            shared_option(theirs, own).map_or_else(
                || by_name(RelationName::SameProgram),
                |option| Some((RelationName::SameOption, Some(option))),
            )
        }
        _ => shared_option(theirs, own).map(|option| (RelationName::SameOption, Some(option))),
    }
}

fn are_in_two_folders(holder: &Process, caller: &Process) -> bool {
    let folder = |process: &Process| process.identity.as_deref()?.cwd.clone();
    matches!((folder(holder), folder(caller)), (Some(one), Some(other)) if one != other)
}

/// By the file that it runs or, where that was not read of both, by its name: a short test has
/// ended before anybody looks.
pub(super) fn is_same_program(one: &Process, other: &Process) -> bool {
    match (&one.exe, &other.exe) {
        (Some(one), Some(other)) => one == other,
        _ => one.pid != 0 && other.pid != 0 && one.comm == other.comm,
    }
}

fn tests_configuration(caller: &Process, argv: &[String]) -> bool {
    let exe = caller.exe.as_deref().unwrap_or(&caller.comm);
    let name = exe.rsplit('/').next().unwrap_or_default();
    let options = CONFIG_TESTS.iter().find(|(program, _)| *program == name);
    options.is_some_and(|(_, options)| {
        let mut words = argv.iter().skip(1);
        words.any(|word| options.contains(&word.as_str()))
    })
}

/// An option of a virtual machine that makes it listen by itself, which both were given:
/// `-Dcom.sun.management.jmxremote.port=9010`, `-agentlib:jdwp=…`, `--inspect=9229`.
fn shared_option(theirs: &[String], own: &[String]) -> Option<String> {
    let listens = |word: &&String| {
        word.starts_with("-Dcom.sun.management.jmxremote.port=")
            || word.starts_with("-Dcom.sun.management.jmxremote.rmi.port=")
            || word.starts_with("-agentlib:jdwp=")
            || word.starts_with("-Xrunjdwp:")
            || (word.starts_with("-javaagent:") && word.contains('='))
            || word.starts_with("--inspect")
    };
    own.iter()
        .filter(listens)
        .find(|word| theirs.contains(word))
        .cloned()
}

/// `bash[9]`, where that is the parent of both. What process 1 or a user's systemd has for a
/// child may have been anybody's.
fn common_parent(holder: &Process, caller: &Process) -> Option<String> {
    let parent = holder.ppid.filter(|parent| *parent > INIT)?;
    let is_common = caller.ppid == Some(parent) && holder.pid != caller.pid;
    let name = holder.parent.as_deref().or(caller.parent.as_deref())?;
    (is_common && name != "systemd").then(|| format!("{}[{parent}]", text::safe(name)))
}

/// `, the parent of web[12], which is stopped,` behind the name of the one process that
/// holds the port; nothing where there are several, or nothing is to be said.
pub(super) fn apposition(holders: &[&Process], caller: &Process) -> String {
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
    let is_telling = relation.is_above()
        || matches!(
            relation.name,
            Some(RelationName::ConfigTested | RelationName::SameCommand | RelationName::SameOption)
        );
    let phrase = relation.phrase(caller).filter(|_| is_telling)?;
    let said = match phrase.strip_prefix("which ") {
        Some(verb) => verb.to_owned(),
        None => match phrase.strip_prefix("whose ") {
            Some(_) => return Some(phrase),
            None => format!("is {phrase}"),
        },
    };
    Some(format!("of which {} {said}", text::process(holder)))
}

/// Whether what started it has ended, and it is nobody's daemon: it was in that one's job, or
/// calls itself the worker of a master that is not its parent any more.
pub(super) fn is_orphan(process: &Process) -> bool {
    let known = process.identity.as_deref();
    let title = process.argv.as_deref().and_then(<[String]>::first);
    let is_worker = || title.is_some_and(|title| title.contains(": worker"));
    known.is_some_and(|known| known.is_orphan) || (process.ppid == Some(INIT) && is_worker())
}

/// Where a process has a socket that is not among its descriptors.
pub(super) fn held_in(process: &Process) -> Option<String> {
    let phrase = match process.held_in? {
        HeldIn::IoUring => "which has it in an io_uring (a registered file) and no descriptor",
        HeldIn::Thread => "a thread of which has it among descriptors of its own",
        HeldIn::Accept => "a thread of which is still inside accept, its descriptor closed",
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
    use std::sync::Arc;

    use super::*;
    use crate::diagnosis::test_support::process;
    use crate::event::Identity;

    fn running(pid: u32, ppid: u32, words: &str) -> Process {
        let argv: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Process {
            ppid: Some(ppid),
            parent: Some("sh".into()),
            exe: Some(format!("/usr/bin/{}", argv[0]).into()),
            argv: Some(argv.into()),
            ..process(pid, "web")
        }
    }

    fn below(process: Process, above: &[u32], cwd: &str) -> Process {
        let ancestors = above.iter().map(|&pid| Ancestor {
            pid,
            comm: "sh".into(),
            supervisor: None,
        });
        Process {
            identity: Some(Arc::new(Identity {
                cwd: Some(cwd.into()),
                ancestors: ancestors.collect(),
                ..Identity::default()
            })),
            ..process
        }
    }

    fn name(holder: &Process, caller: &Process) -> Option<RelationName> {
        Relation::of(holder, caller).name
    }

    #[test]
    fn descent_comes_before_likeness() {
        let top = running(10, 1, "web");
        let middle = running(11, 10, "web");
        let caller = below(running(12, 11, "web"), &[11, 10], "/");
        let grandchild = below(running(14, 13, "web"), &[13, 12, 11], "/");

        for (holder, expected) in [
            (&caller, RelationName::Itself),
            (&middle, RelationName::Parent),
            (&top, RelationName::Ancestor),
            (&running(13, 12, "web"), RelationName::Child),
            (&grandchild, RelationName::Descendant),
            (&running(15, 11, "web"), RelationName::SameCommand),
            (&running(15, 11, "other"), RelationName::Sibling),
        ] {
            assert_eq!(name(holder, &caller), Some(expected));
        }
        assert_eq!(name(&running(15, 7, "other"), &caller), None);
        // Whoever lost its parent has process 1.
        assert_eq!(name(&process(1, "init"), &running(12, 1, "web")), None);
        assert_eq!(name(&running(15, 1, "x"), &running(12, 1, "web")), None);
        assert_eq!(
            nearest([&running(15, 7, "other"), &top], &caller),
            Some(RelationName::Ancestor)
        );
    }

    #[test]
    fn what_an_interpreter_runs_is_in_its_arguments() {
        for (holder, caller, expected) in [
            ("nginx -g x", "nginx -t", Some(RelationName::ConfigTested)),
            ("nginx", "nginx -c x", Some(RelationName::SameProgram)),
            ("python3 a.py", "python3 b.py", None),
            (
                "python3 a.py",
                "python3 a.py -v",
                Some(RelationName::SameProgram),
            ),
            (
                "python3 -m http.server 1",
                "python3 -m http.server 1",
                Some(RelationName::SameCommand),
            ),
            (
                "java -Dcom.sun.management.jmxremote.port=9010 Main start",
                "java -Dcom.sun.management.jmxremote.port=9010 Main stop",
                Some(RelationName::SameOption),
            ),
            (
                "node --inspect=9229 server.js",
                "node --inspect=9229 /usr/bin/npm",
                Some(RelationName::SameOption),
            ),
            ("java -Xmx1g Main", "java -Xmx1g Other", None),
        ] {
            let relation = name(&running(10, 1, holder), &running(20, 1, caller));
            assert_eq!(relation, expected, "{holder} / {caller}");
        }
    }

    #[test]
    fn one_name_in_two_folders_is_two_programs() {
        let in_folder = |pid, words: &str, cwd: &str| below(running(pid, 1, words), &[], cwd);
        let relation =
            |words: &str, cwd: &str| name(&in_folder(10, words, "/a"), &in_folder(20, words, cwd));

        assert_eq!(
            relation("node server.js", "/a"),
            Some(RelationName::SameCommand)
        );
        assert_eq!(relation("node server.js", "/b"), None);
        assert_eq!(
            relation("node /a/server.js", "/b"),
            Some(RelationName::SameCommand)
        );
        assert_eq!(relation("nginx", "/b"), Some(RelationName::SameCommand));
    }

    #[test]
    fn a_caller_that_has_ended_is_known_by_its_name() {
        let mut gone = running(20, 1, "nginx -t");
        (gone.exe, gone.comm) = (None, "nginx".into());
        let mut master = running(10, 1, "nginx");
        master.comm = "nginx".into();

        assert_eq!(name(&master, &gone), Some(RelationName::ConfigTested));
        assert_eq!(name(&running(10, 1, "nginx"), &gone), None);
        assert_eq!(name(&Process::kernel(), &Process { pid: 0, ..gone }), None);
    }

    #[test]
    fn a_worker_without_its_master_is_what_that_one_left() {
        let worker = |ppid| Process {
            argv: Some(vec!["nginx: worker process".to_owned()].into()),
            ..running(21, ppid, "nginx")
        };

        assert!(is_orphan(&worker(1)));
        assert!(!is_orphan(&worker(20)));
        assert!(!is_orphan(&running(20, 1, "nginx")));
    }

    #[test]
    fn of_several_the_one_that_matters_is_told() {
        let caller = below(running(12, 11, "web"), &[11, 10], "/");
        let worker = running(30, 10, "worker");
        let top = running(10, 1, "master");

        assert_eq!(
            apposition(&[&worker, &top], &caller),
            ", of which web[10] is an ancestor of web[12],"
        );
        assert_eq!(
            apposition(&[&worker, &running(31, 10, "worker")], &caller),
            ""
        );
        let mut orphan = below(running(40, 1, "x"), &[], "/");
        Arc::make_mut(orphan.identity.as_mut().unwrap()).is_orphan = true;
        assert_eq!(
            apposition(&[&orphan], &caller),
            ", which outlived what started it,"
        );
    }

    #[test]
    fn arguments_that_were_cut_are_the_same_as_far_as_they_are_known() {
        let source = "x".repeat(600);
        let opener = running(1, 9, &format!("python3 -c {source} more"));
        let child = running(2, 9, &format!("python3 -c {source} more")).with_short_argv(512);
        let other = running(3, 9, &format!("python3 -c {}", source.replace('x', "y")));
        let other = other.with_short_argv(512);

        assert!(is_fork_of(&child, &opener));
        assert!(is_fork_of(&opener, &child));
        assert!(!is_fork_of(&other, &opener));
    }
}
