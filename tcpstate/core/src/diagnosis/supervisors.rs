//! Programs that start others and start them again: how each is known by its command line,
//! and what stops what it runs.
//!
//! Whoever runs a process gives it its command line. So nothing of it goes into a command:
//! what is printed names numbers, or the supervisor's own look, and the rest is a placeholder.

use crate::event::{Ancestor, Fix, Process, Supervisor};

use super::command::Command;
use super::facts::Facts;
use super::fixes::fix;
use super::program::Program;
use super::text;
use crate::event::Applies;

/// How one of them is recognised, and what stops what it runs.
struct Row {
    is: Supervisor,
    /// What it is called.
    name: &'static str,
    is_it: fn(&Program<'_>) -> bool,
    stop: Stop,
}

/// What stops what a supervisor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of the supervisor, which ends what it runs.
    Parent,
    /// The end of both: what it runs outlives it.
    Both,
    /// The supervisor's own verb; what it is given has to be looked up.
    Verb {
        /// The command with a placeholder.
        verb: &'static str,
        /// What shows what goes there.
        shown_by: &'static str,
    },
}

const TABLE: &[Row] = &[
    Row {
        is: Supervisor::Pm2,
        name: "pm2",
        // `PM2 v5.3.0: God Daemon (/root/.pm2)`
        is_it: |program| program.word.starts_with("PM2 v") && program.word.contains("God Daemon"),
        stop: Stop::Verb {
            verb: "pm2 stop ID",
            shown_by: "pm2 list shows the ID",
        },
    },
    Row {
        is: Supervisor::Supervisord,
        name: "supervisord",
        is_it: |program| matches!(program.name, "supervisord" | "supervisor.supervisord"),
        stop: Stop::Verb {
            verb: "supervisorctl stop NAME",
            shown_by: "supervisorctl status shows the NAME",
        },
    },
    Row {
        is: Supervisor::Runit,
        name: "runit",
        is_it: |program| program.name == "runsv",
        stop: Stop::Verb {
            verb: "sv down SERVICE",
            shown_by: "SERVICE is the argument of runsv",
        },
    },
    Row {
        is: Supervisor::S6,
        name: "s6",
        is_it: |program| program.name == "s6-supervise",
        stop: Stop::Verb {
            verb: "s6-svc -d SERVICE",
            shown_by: "SERVICE is the folder of s6-supervise",
        },
    },
    Row {
        is: Supervisor::Gunicorn,
        name: "gunicorn",
        // With `setproctitle` it is `gunicorn: master [app]`.
        is_it: |program| {
            program.name == "gunicorn" || program.word.starts_with("gunicorn: master ")
        },
        stop: Stop::Parent,
    },
    Row {
        is: Supervisor::Uvicorn,
        name: "uvicorn",
        is_it: |program| program.name == "uvicorn",
        stop: Stop::Parent,
    },
    Row {
        is: Supervisor::Flask,
        name: "Flask's reloader",
        is_it: |program| {
            program.name == "flask" && program.arguments.iter().any(|word| word == "run")
        },
        stop: Stop::Both,
    },
    Row {
        is: Supervisor::Nodemon,
        name: "nodemon",
        is_it: |program| matches!(program.name, "nodemon" | "nodemon.js"),
        stop: Stop::Parent,
    },
    // What runs in a container that no control group of root's names: one of a user's.
    Row {
        is: Supervisor::Podman,
        name: "podman",
        is_it: |program| {
            let hands_on = |word: &String| word == "podman" || word.ends_with("/podman");
            program.name == "conmon" && program.arguments.iter().any(hands_on)
        },
        stop: Stop::Verb {
            verb: "podman stop CONTAINER",
            shown_by: "podman ps shows the CONTAINER",
        },
    },
];

/// Which one a process is by its command line.
#[must_use]
pub fn supervisor(argv: &[String]) -> Option<Supervisor> {
    let program = Program::of(argv)?;
    let row = TABLE.iter().find(|row| (row.is_it)(&program))?;
    Some(row.is)
}

fn row(supervisor: Supervisor) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.is == supervisor)
}

/// The one that all these processes are run by: each is below it, or it itself.
pub(super) fn of<'a>(processes: &[&'a Process]) -> Option<(&'a Ancestor, Supervisor)> {
    let (ancestor, supervisor) = processes.iter().find_map(|process| nearest(process))?;
    let is_below = |process: &&Process| {
        process.pid == ancestor.pid
            || process
                .identity
                .as_deref()
                .is_some_and(|known| known.ancestors.iter().any(|one| one.pid == ancestor.pid))
    };
    processes
        .iter()
        .all(is_below)
        .then_some((ancestor, supervisor))
}

fn nearest(process: &Process) -> Option<(&Ancestor, Supervisor)> {
    let known = process.identity.as_deref()?;
    let mut above = known.ancestors.iter();
    above.find_map(|ancestor| Some((ancestor, ancestor.supervisor?)))
}

/// How what these processes run is stopped; `None`: no supervisor is known.
pub(super) fn stop(facts: &Facts<'_>, processes: &[&Process]) -> Option<(Stop, Fix)> {
    let (ancestor, supervisor) = of(processes)?;
    let row = row(supervisor)?;
    let below = processes
        .iter()
        .copied()
        .filter(|process| process.pid != ancestor.pid);
    let names = text::processes(below)?;
    let comm = text::safe(&ancestor.comm);
    let above = if comm == row.name {
        format!("{comm}[{}]", ancestor.pid)
    } else {
        format!("{comm}[{}] ({})", ancestor.pid, row.name)
    };
    let mut pids: Vec<u32> = vec![ancestor.pid];
    pids.extend(processes.iter().map(|process| process.pid));
    pids.sort_unstable();
    pids.dedup();
    let check = Command::show_processes(&pids);
    let stop = |id: &str, text: String| fix(id, Applies::Now, text).run(facts, &check);
    Some((
        row.stop,
        match row.stop {
            Stop::Parent => stop(
                "stop_parent",
                format!(
                    "Stop {above}, which runs {names}: kill {}; look first",
                    ancestor.pid
                ),
            )
            .because("what is stopped below it is started again"),
            Stop::Both => {
                let others = processes.iter().map(|process| process.pid);
                let mut all: Vec<u32> = [ancestor.pid].into_iter().chain(others).collect();
                all.sort_unstable();
                all.dedup();
                let all: Vec<String> = all.iter().map(u32::to_string).collect();
                stop(
                    "stop_parent",
                    format!(
                        "Stop {above} and {names}, which it runs: kill {}; look first",
                        all.join(" ")
                    ),
                )
                .because("what is stopped below it is started again, and what it runs outlives it")
            }
            Stop::Verb { verb, shown_by } => stop(
                "stop_parent",
                format!(
                    "Stop {names} through {above}, which runs it: {verb} ({shown_by}), as that \
                     one's user"
                ),
            )
            .because(match row.is {
                Supervisor::Podman => "the first process of a container may take no notice of \
                     SIGTERM, and is started again where podman was told to"
                    .to_owned(),
                _ => format!("{} starts again what is stopped in another way", row.name),
            }),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(words: &[&str]) -> Option<Supervisor> {
        let argv: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        supervisor(&argv)
    }

    #[test]
    fn each_is_known_by_its_command_line() {
        for (words, expected) in [
            (
                &["PM2 v5.3.0: God Daemon (/root/.pm2)"][..],
                Supervisor::Pm2,
            ),
            (
                &["/usr/bin/python3", "/usr/bin/supervisord", "-c", "x"],
                Supervisor::Supervisord,
            ),
            (&["runsv", "web"], Supervisor::Runit),
            (&["s6-supervise", "web"], Supervisor::S6),
            (
                &["/venv/bin/python3", "/venv/bin/gunicorn", "app:app"],
                Supervisor::Gunicorn,
            ),
            (&["gunicorn: master [app:app]"], Supervisor::Gunicorn),
            (
                &["python3", "-m", "uvicorn", "app:app", "--reload"],
                Supervisor::Uvicorn,
            ),
            (
                &["python3", "-m", "flask", "run", "--debug"],
                Supervisor::Flask,
            ),
            (
                &["node", "/usr/local/bin/nodemon", "app.js"],
                Supervisor::Nodemon,
            ),
            (
                &[
                    "/usr/bin/conmon",
                    "-c",
                    "4f",
                    "--exit-command",
                    "/usr/bin/podman",
                ],
                Supervisor::Podman,
            ),
        ] {
            assert_eq!(known(words), Some(expected), "{words:?}");
        }
        assert!(
            TABLE
                .iter()
                .enumerate()
                .all(|(index, row)| TABLE[..index].iter().all(|other| other.is != row.is))
        );
    }

    #[test]
    fn what_only_has_the_word_somewhere_is_none() {
        for words in [
            &["vim", "gunicorn"][..],
            &[
                "/usr/bin/conmon",
                "-c",
                "4f",
                "--exit-command",
                "/usr/bin/crio",
            ],
            &["python3", "-c", "import gunicorn"],
            &["python3", "-m", "flask", "shell"],
            &["gunicorn: worker [app:app]"],
            &["python3", "-c", "/gunicorn"],
            &["bash", "-c", "supervisord"],
        ] {
            assert_eq!(known(words), None, "{words:?}");
        }
    }
}
