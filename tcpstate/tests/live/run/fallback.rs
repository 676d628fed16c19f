//! `--reuseaddr` where calls may not be supervised: the kernel sets the option itself.

use std::path::PathBuf;

use rustix::process::Signal;
use tcpstate::event::State;

use super::*;
use support::{Linux, count_listed, on_stage, wait_for_time_wait};

const SOCAT: [&str; 3] = ["socat", "tcp4-listen:5555", "-"];
const NEEDS_SOCAT: Requirement = Program("socat", "socat");
const SETS_IT: Requirement = Linux(6, 1, "sets SO_REUSEADDR from a cgroup program");

/// `run OPTIONS` of the program below another `run`, which has taken the one filter.
fn nested(user: User, options: &[&str], program: &[&str]) -> Command {
    let mut inner = vec![TCPSTATE.path(), "run"];
    inner.extend(options);
    inner.push("--");
    inner.extend(program);
    run(user, &[], &inner)
}

/// Groups that it has made and not removed.
fn groups() -> Vec<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("Linux");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder.join(own?)).ok())
        .flatten();
    entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.to_string_lossy().contains("/tcpstate-run-"))
        .collect()
}

#[test]
fn below_another_supervisor_the_kernel_sets_reuseaddr() {
    if !on_stage(&[SETPRIV, NEEDS_SOCAT, SETS_IT]) {
        return;
    }
    for _ in 0..3 {
        let mut command = nested(User::Root, &["--reuseaddr"], &SOCAT);
        command.stdin(Stdio::piped());
        let server = Running::start(command);
        wait_until("socat listens", || count_listed(5555, State::Listen) == 1);
        assert_eq!(groups().len(), 1);
        let client = TcpStream::connect("127.0.0.1:5555").expect("socat listens");
        wait_until("it is accepted", || count_listed(5555, State::Listen) == 0);
        let (code, said) = server.finish(Some(Signal::INT));
        drop(client);

        assert_eq!(code, Some(130), "{said}");
        assert!(
            said.contains("the kernel sets SO_REUSEADDR") && said.lines().count() == 1,
            "{said}"
        );
        assert!(groups().is_empty());
        wait_for_time_wait(5555);
    }

    // Without it, it cannot start; and anything else than the option takes supervision.
    let without = output(run(User::Root, &[], &SOCAT));
    assert_eq!(without.status.code(), Some(1), "{}", text(&without.stderr));
    for (user, options) in [
        (User::Root, &["--reuseaddr", "--wait"][..]),
        (User::Nobody, &["--reuseaddr"]),
    ] {
        let refused = output(nested(user, options, &["true"]));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(
            said.contains("another supervisor") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert!(groups().is_empty());
}
