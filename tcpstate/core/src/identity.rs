//! One line that distinguishes a process from others of its name.

use crate::event::{Halted, Process};
use crate::printable::printable;
use crate::units::{self, NS_PER_S};

/// Characters of a command line; what is longer loses its middle.
const MAX_COMMAND: usize = 72;
/// The same of a working directory.
const MAX_CWD: usize = 40;
/// Ancestors that are named.
const MAX_ANCESTORS: usize = 4;

/// `python3 server.py, stopped, for 4m12s, user app, on pts/3, in /srv/app, started by bash[9],
/// sshd[3]`; `None`: nothing is known but its name and number.
#[must_use]
pub fn identity(process: &Process) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(command(process));
    let state = match process.halted {
        Some(Halted::Stopped) => Some("stopped (SIGSTOP or ctrl-z)"),
        Some(Halted::Traced) => Some("stopped by a debugger"),
        Some(Halted::Frozen) => Some("frozen (cgroup.freeze)"),
        Some(Halted::Defunct) => Some("its first thread has ended"),
        None => None,
    };
    parts.extend(state.map(str::to_owned));
    if let Some(known) = process.identity.as_deref() {
        let age = known.age_s.map(|s| units::age(s.saturating_mul(NS_PER_S)));
        parts.extend(age.map(|age| format!("for {age}")));
        parts.push(match &known.user {
            Some(user) => format!("user {}", printable(user)),
            None => format!("user {}", process.uid),
        });
        let terminal = known.terminal.as_deref();
        parts.extend(terminal.map(|name| format!("on {}", printable(name))));
        let cwd = known.cwd.as_deref();
        parts.extend(cwd.map(|path| format!("in {}", shortened(&printable(path), MAX_CWD))));
        parts.extend(
            known
                .is_orphan
                .then(|| "outlived what started it".to_owned()),
        );
        let above = known.ancestors.iter().take(MAX_ANCESTORS);
        let above: Vec<String> = above
            .map(|above| format!("{}[{}]", printable(&above.comm), above.pid))
            .collect();
        if !above.is_empty() {
            parts.push(format!("below {}", above.join(" < ")));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The command line without empty arguments, and the program's own name where the line does
/// not have it: a process may write over its line.
fn command(process: &Process) -> Option<String> {
    let words = process.argv.as_deref()?.iter();
    let mut words: Vec<&str> = words
        .map(|word| word.trim())
        .filter(|word| !word.is_empty())
        .collect();
    // The folder of the program says less than what comes behind it.
    if let Some(first) = words.first_mut().filter(|first| !first.contains(' ')) {
        *first = first.rsplit('/').next().unwrap_or_default();
    }
    let line = words.join(" ");
    let first = words.first().copied().unwrap_or_default();
    let program = process
        .exe
        .as_deref()
        .and_then(|path| path.rsplit('/').next());
    // `python3` is `python3.11`.
    let is_named =
        |name: &str| line.contains(name) || (!first.is_empty() && name.starts_with(first));
    let program = program.filter(|name| !name.is_empty() && !is_named(name));
    let line = shortened(&printable(&line), MAX_COMMAND);
    match program {
        Some(program) if line.is_empty() => Some(printable(program).into_owned()),
        Some(program) => Some(format!("{line} ({})", printable(program))),
        None => (!line.is_empty()).then_some(line),
    }
}

/// With `…` for the middle of what is too long.
fn shortened(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let tail = max / 2;
    let head = max - tail - 1;
    let begin: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ancestor, Identity, KnownBy};

    fn process(argv: &[&str]) -> Process {
        Process {
            argv: Some(argv.iter().map(|word| (*word).to_owned()).collect()),
            exe: Some("/usr/bin/python3.11".into()),
            ..Process::new(7, 1000, "python3", KnownBy::Proc)
        }
    }

    #[test]
    fn it_is_one_line_with_what_is_known() {
        let mut server = process(&["python3.11", "", "server.py", "--port", "8080"]);
        server.halted = Some(Halted::Stopped);
        server.identity = Some(
            Identity {
                age_s: Some(252),
                user: Some("app".into()),
                terminal: Some("pts/3".into()),
                cwd: Some("/srv/app".into()),
                ancestors: vec![
                    Ancestor {
                        pid: 9,
                        comm: "bash".into(),
                        supervisor: None,
                    },
                    Ancestor {
                        pid: 3,
                        comm: "sshd".into(),
                        supervisor: None,
                    },
                ],
                is_orphan: true,
            }
            .into(),
        );

        assert_eq!(
            identity(&server).unwrap(),
            "python3.11 server.py --port 8080, stopped (SIGSTOP or ctrl-z), for 4m12s, user app, \
             on pts/3, in /srv/app, outlived what started it, \
             below bash[9] < sshd[3]"
        );
    }

    #[test]
    fn a_title_that_was_written_over_is_told_by_the_program() {
        assert_eq!(
            identity(&process(&["master: web "])).unwrap(),
            "master: web (python3.11)"
        );
        assert_eq!(
            identity(&process(&["/usr/bin/python3", "-m", "http.server"])).unwrap(),
            "python3 -m http.server"
        );
        assert_eq!(identity(&Process::new(7, 0, "x", KnownBy::Proc)), None);
    }

    #[test]
    fn long_lines_keep_both_ends_and_nothing_that_a_terminal_obeys() {
        let line = identity(&process(&[
            "python3.11",
            &"\u{1b}[31m".repeat(60),
            "--port=8080",
        ]));
        let line = line.unwrap();

        assert_eq!(line.chars().count(), MAX_COMMAND);
        assert!(line.starts_with("python3.11 ") && line.ends_with("--port=8080"));
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
