//! A connection of ssh that others share, and the ports that it forwards.

use crate::event::{Applies, Fix, Process};

use super::fixes::fix;
use super::text;

/// How to take the port back from a master connection that everybody who has it open is;
/// `None`: it is none.
///
/// For which host it is, is in its arguments, which whoever started it chose: the command is
/// left to be completed.
pub(super) fn leave_master(processes: &[&Process]) -> Option<Fix> {
    if processes.is_empty() || !processes.iter().all(|process| is_master(process)) {
        return None;
    }
    let names = text::processes(processes.iter().copied())?;
    let fix = fix(
        "stop_holder",
        Applies::Now,
        format!("End the shared ssh connection of {names}: ssh -O exit HOST"),
    );
    Some(fix.because(
        "its sessions end with it; ssh -O cancel with the forwarding as it was given takes only the port back",
    ))
}

/// What the end of a process of `sshd` costs that holds the port for a session's `ssh -R`;
/// `None`: it is none.
pub(super) fn cost_of_remote_forward(processes: &[&Process]) -> Option<&'static str> {
    let serves_session = |process: &&Process| {
        let words = process.argv.as_deref().unwrap_or_default();
        // `sshd: root@pts/0`; the one that waits for all is `sshd: /usr/sbin/sshd [listener] …`.
        let title = words.first().and_then(|title| {
            let title = title.strip_prefix("sshd-session: ");
            title.or_else(|| words.first()?.strip_prefix("sshd: "))
        });
        matches!(&*process.comm, "sshd" | "sshd-session")
            && title.is_some_and(|title| !title.starts_with('/') && !title.contains("[listener]"))
    };
    (!processes.is_empty() && processes.iter().all(serves_session)).then_some(
        "it serves an ssh connection that forwards the port to its client (ssh -R), and ends that \
         connection with all its sessions; the client may come back",
    )
}

/// Options of `ssh` that take no value, and may stand before another one in one word.
const FLAGS: &str = "46AaCfGgKkMNnqsTtVvXxYy";

/// `ssh -M`, `ssh -o ControlMaster=auto`, or one that stays in the background for others
/// (`ControlPersist`), which is called `ssh: SOCKET [mux]`.
fn is_master(process: &Process) -> bool {
    let words = process.argv.as_deref().unwrap_or_default();
    let Some((title, options)) = words.split_first() else {
        return false;
    };
    let is_named = title.starts_with("ssh: ") && title.ends_with("[mux]");
    let mut following = options.iter().skip(1);
    let is_asked = options.iter().any(|word| {
        let next = following.next();
        let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else {
            return false;
        };
        let letters = cluster.trim_start_matches(|letter| FLAGS.contains(letter));
        let flags = cluster.strip_suffix(letters).unwrap_or_default();
        let option = match letters.strip_prefix('o') {
            Some("") => next.map(String::as_str),
            other => other,
        };
        flags.contains('M') || option.is_some_and(asks_to_be_master)
    });
    &*process.comm == "ssh" && (is_named || is_asked)
}

/// `ControlMaster=auto`, in any case of letters, as `ssh_config` has it.
fn asks_to_be_master(option: &str) -> bool {
    let option = option.trim().to_ascii_lowercase();
    let value = option.strip_prefix("controlmaster");
    let value = value.map(|rest| rest.trim_matches(|c: char| c == '=' || c.is_whitespace()));
    matches!(value, Some("yes" | "auto" | "ask" | "autoask"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::KnownHolder;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, process};
    use crate::event::State;

    fn ssh(comm: &str, words: &[&str]) -> Process {
        let argv: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Process {
            argv: Some(argv.into()),
            ..process(7, comm)
        }
    }

    #[test]
    fn a_master_is_known_by_its_title_or_its_option() {
        for (comm, words, expected) in [
            ("ssh", &["ssh: /root/.ssh/cm-web:22 [mux]"][..], true),
            ("ssh", &["ssh", "-fNM", "-S", "/tmp/s", "web"], true),
            ("ssh", &["ssh", "-M", "web"], true),
            ("ssh", &["ssh", "-o", "ControlMaster=auto", "web"], true),
            ("ssh", &["ssh", "-fNoControlMaster yes", "web"], true),
            ("ssh", &["ssh", "-o", "ControlMaster=no", "web"], false),
            ("ssh", &["ssh", "-o", "User=controlmaster", "web"], false),
            ("ssh", &["ssh", "-N", "-L", "8080:M:80", "web"], false),
            ("ssh", &["ssh", "-lMary", "web"], false),
            ("ssh", &["ssh", "--M", "web"], false),
            ("sshd", &["ssh: x [mux]"], false),
            ("ssh", &[], false),
        ] {
            assert_eq!(is_master(&ssh(comm, words)), expected, "{words:?}");
        }
    }

    #[test]
    fn a_process_of_sshd_is_known_to_serve_a_session_by_its_title() {
        for (comm, words, expected) in [
            ("sshd", &["sshd: root@pts/0"][..], true),
            ("sshd", &["sshd: web"], true),
            ("sshd-session", &["sshd-session: web@notty"], true),
            (
                "sshd",
                &["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"],
                false,
            ),
            ("sshd", &["/usr/sbin/sshd", "-D"], false),
            ("web", &["sshd: web"], false),
            ("sshd", &[], false),
        ] {
            let process = ssh(comm, words);
            let cost = cost_of_remote_forward(&[&process]);
            assert_eq!(cost.is_some(), expected, "{words:?}");
        }
        assert_eq!(cost_of_remote_forward(&[]), None);
    }

    #[test]
    fn ending_the_shared_connection_comes_first_and_names_no_word_of_it() {
        let mut listener = holder(State::Listen, "127.0.0.1", 8080, PLAIN);
        let words = ["ssh: $(reboot) [mux]"];
        listener.processes = Some(vec![ssh("ssh", &words).into()]);
        let fixture = Fixture::bind("127.0.0.1", 8080).fails(98, "EADDRINUSE");

        let diagnosis = fixture.with(listener, KnownHolder::default()).diagnose();

        let first = &diagnosis.fixes[0];
        assert!(first.text.contains("ssh -O exit HOST"), "{first:?}");
        assert_eq!(first.command, None);
        assert!(!first.text.contains("reboot"));
        assert!(diagnosis.fixes.len() > 1, "{diagnosis:?}");
    }
}
