//! Words for processes: harmless names, counts, durations, quoted arguments.

use crate::event::{Process, State, Unread};
use crate::printable::is_harmless;

/// Longest text of a foreign hand that goes into a sentence.
const MAX_NAME_CHARS: usize = 64;
/// Processes that a sentence names before it counts.
const MAX_NAMED: usize = 3;

/// `text` without anything that a terminal or a reader could trip over.
pub(super) fn safe(text: &str) -> String {
    let mut safe: String = text
        .chars()
        .take(MAX_NAME_CHARS)
        .map(|c| if is_harmless(c) { c } else { '?' })
        .collect();
    if text.chars().nth(MAX_NAME_CHARS).is_some() {
        safe.push('…');
    }
    if safe.trim().is_empty() {
        return "?".to_owned();
    }
    safe
}

/// What is missing where nobody has seen the call's answer.
pub(super) const INFERRED: &str = "the error itself: it was only seen that the call has not taken \
                                   effect, and the rest follows from the kernel's rule";

/// Why nobody is named who has a socket open.
pub(super) fn unread(why: Unread) -> &'static str {
    match why {
        Unread::Undisclosed => {
            "who has what is in no list of descriptors: registered files of an io_uring and \
             descriptors of single threads took longer to look through than there was time"
        }
        Unread::Denied => {
            "the processes that have the sockets open: the descriptors of some processes may not be \
             looked at here, which takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH and no user \
             namespace in between"
        }
        Unread::NoTime => {
            "the processes that have the sockets open: finding them took longer than there was time"
        }
        Unread::Late => {
            "the processes that have the sockets open: so many failed calls were waiting that they \
             were not looked for"
        }
    }
}

/// `nginx[4711]`; a process that is only thought of has no number.
pub(super) fn process(process: &Process) -> String {
    if process.is_kernel() {
        return "the kernel".to_owned();
    }
    if !process.has_pid() {
        return safe(&process.comm);
    }
    format!("{}[{}]", safe(&process.comm), process.pid)
}

/// `root`, `user 1001`.
pub(super) fn user(uid: u32) -> String {
    if uid == 0 {
        "root".to_owned()
    } else {
        format!("user {uid}")
    }
}

/// The container's name, or the first digits of its id as container tools show
/// it; not yet safe for a terminal.
pub(super) fn container_id(process: &Process) -> Option<String> {
    let id = process.container.as_deref()?;
    let is_long = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_long {
        id.chars().take(12).collect()
    } else {
        id.to_owned()
    })
}

/// `nginx[4711]`, with the container that it runs in. Whoever has a delegated
/// control group gives himself any name there.
fn located(known: &Process) -> String {
    let Some(id) = container_id(known) else {
        return process(known);
    };
    let is_claim = known.container_uid.is_some_and(|uid| uid != 0);
    let claim = if is_claim {
        "calls itself container"
    } else {
        "container"
    };
    format!("{} ({claim} {})", process(known), safe(&id))
}

/// `a[1], b[2] and c[3]`; more than three are counted.
pub(super) fn processes<'a>(all: impl IntoIterator<Item = &'a Process>) -> Option<String> {
    listed(all, located)
}

/// The same where the container is named already.
pub(super) fn names<'a>(all: impl IntoIterator<Item = &'a Process>) -> Option<String> {
    listed(all, process)
}

fn listed<'a>(
    all: impl IntoIterator<Item = &'a Process>,
    name: impl Fn(&Process) -> String,
) -> Option<String> {
    let mut seen: Vec<&Process> = Vec::new();
    for candidate in all {
        if seen.iter().all(|other| other.pid != candidate.pid) {
            seen.push(candidate);
        }
    }
    let mut names: Vec<String> = seen
        .iter()
        .take(MAX_NAMED)
        .map(|known| name(known))
        .collect();
    if seen.len() > MAX_NAMED {
        names.push(format!("{} more", seen.len() - MAX_NAMED));
    }
    join(names)
}

/// `a, b and c`.
pub(super) fn join(mut items: Vec<String>) -> Option<String> {
    let last = items.pop()?;
    if items.is_empty() {
        return Some(last);
    }
    Some(format!("{} and {last}", items.join(", ")))
}

/// `1 connection`, `3 connections`.
pub(super) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// `in 57 s`; a timer that is overdue is late by up to two seconds.
pub(super) fn in_seconds(ms: u64) -> String {
    if ms == 0 {
        "within about 2 s".to_owned()
    } else {
        format!("in {} s", ms.div_ceil(1000))
    }
}

/// `TIME_WAIT`.
pub(super) fn state(state: State) -> String {
    state.name().to_uppercase()
}

/// First letter in upper case.
pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_a_terminal_would_obey() {
        assert_eq!(safe("a\u{1b}[31mb\n"), "a?[31mb?");
        assert_eq!(safe("\u{202e}txt"), "?txt");
        assert_eq!(safe(""), "?");
        assert_eq!(safe(&"x".repeat(80)).chars().count(), 65);
    }

    #[test]
    fn lists_and_times_read_as_prose() {
        let names = |n: u32| join((0..n).map(|i| i.to_string()).collect());
        assert_eq!(names(0), None);
        assert_eq!(names(2).as_deref(), Some("0 and 1"));
        assert_eq!(names(3).as_deref(), Some("0, 1 and 2"));
        assert_eq!(in_seconds(56_001), "in 57 s");
        assert_eq!(in_seconds(0), "within about 2 s");
        assert_eq!(count(1, "socket"), "1 socket");
    }
}
