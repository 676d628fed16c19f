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

/// `ssh -M`, or one that stays in the background for others (`ControlPersist`), which is
/// called `ssh: SOCKET [mux]`.
fn is_master(process: &Process) -> bool {
    let words = process.argv.as_deref().unwrap_or_default();
    let Some((title, options)) = words.split_first() else {
        return false;
    };
    let is_named = title.starts_with("ssh: ") && title.ends_with("[mux]");
    // Clusters of single letters; what takes a value comes last in one.
    let is_asked = |word: &String| {
        let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        letters.is_some_and(|letters| {
            let flags = letters
                .chars()
                .take_while(|letter| "46AaCfGgKkMNnqsTtVvXxYy".contains(*letter));
            flags.into_iter().any(|letter| letter == 'M')
        })
    };
    &*process.comm == "ssh" && (is_named || options.iter().any(is_asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::KnownHolder;
    use crate::diagnosis::test_support::{PLAIN, Scene, holder, process};
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
    fn ending_the_shared_connection_comes_first_and_names_no_word_of_it() {
        let mut listener = holder(State::Listen, "127.0.0.1", 8080, PLAIN);
        let words = ["ssh: $(reboot) [mux]"];
        listener.processes = Some(vec![ssh("ssh", &words).into()]);
        let scene = Scene::bind("127.0.0.1", 8080).fails(98, "EADDRINUSE");

        let diagnosis = scene.with(listener, KnownHolder::default()).diagnose();

        let first = &diagnosis.fixes[0];
        assert!(first.text.contains("ssh -O exit HOST"), "{first:?}");
        assert_eq!(first.command, None);
        assert!(!first.text.contains("reboot"));
        assert!(diagnosis.fixes.len() > 1, "{diagnosis:?}");
    }
}
