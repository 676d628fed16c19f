//! Whether two processes run the same, by the file, the arguments, and what an interpreter runs.

use super::super::language::Language;
use super::super::program::Program;
use crate::event::{Process, RelationName};

/// Programs that open their ports to test their configuration, and the options for it.
const CONFIG_TESTS: &[(&str, &[&str])] = &[
    ("nginx", &["-t", "-T", "-tq"]),
    ("openresty", &["-t", "-T"]),
    ("angie", &["-t", "-T"]),
    ("freenginx", &["-t", "-T"]),
];

/// By what they run; with the option that both have, where that is it.
pub(super) fn likeness(
    holder: &Process,
    caller: &Process,
) -> Option<(RelationName, Option<String>)> {
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
pub(in super::super) fn is_same_program(one: &Process, other: &Process) -> bool {
    match (&one.exe, &other.exe) {
        (Some(one), Some(other)) => one == other,
        _ => one.has_pid() && other.has_pid() && one.comm == other.comm,
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

/// Whether a process runs what another one was when it opened a socket: it is that one's
/// fork. One that has executed another program since, or the same with other arguments, does
/// not. Where neither was read, the name decides.
pub(in super::super) fn is_fork_of(process: &Process, opener: &Process) -> bool {
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
