//! The program is stopped and started again.

use rustix::process::Signal;

use super::*;
use support::on_stage;

#[test]
fn sighup_restarts_it_and_what_it_left() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    // Ignores SIGTERM, and so does its child.
    let stubborn = "trap '' TERM; sleep 1000 & echo $$; wait";
    for user in USERS {
        let options = ["--grace", "300ms"];
        let mut running = Running::start(run(user, &options, &["sh", "-c", stubborn]));
        let first: u32 = running.line().trim().parse().expect("a pid");
        wait_until("it has a child", || children(first).len() == 1);
        let child = children(first)[0];

        running.signal(Signal::HUP);
        let second: u32 = running.line().trim().parse().expect("a pid");

        assert_ne!(first, second);
        for pid in [first, child] {
            assert!(
                !std::path::Path::new(&format!("/proc/{pid}")).exists(),
                "{pid}"
            );
        }
        let left = children(second);
        let pid = Pid::from_raw(i32::try_from(second).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it runs");
        // Afterwards: it ends by itself when its child has.
        for child in left {
            let pid = Pid::from_raw(i32::try_from(child).expect("a pid")).expect("a pid");
            let _ = kill_process(pid, Signal::KILL);
        }
        assert_eq!(running.finish(None).0, Some(137));
    }
}

#[test]
fn a_crash_loop_is_slowed_down_and_said() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    for user in USERS {
        let began_ns = clock::monotonic_ns();
        let crashes = ["sh", "-c", "echo x; kill -SEGV $$"];
        let mut command = run(user, &["--respawn"], &crashes);
        command.stdout(Stdio::null());
        let running = Running::start(command);
        // 0.1 + 0.2 + 0.4 + 0.8 s of pauses before the fifth end.
        std::thread::sleep(Duration::from_millis(2500));
        let (code, said) = running.finish(Some(Signal::TERM));

        assert!(since(began_ns) < Duration::from_secs(10));
        assert_eq!(code, Some(143), "{said}");
        assert!(
            said.contains("5 starts in a row ended at once, the last by signal 11"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn who_is_told_to_end_is_not_started_again() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    for user in USERS {
        let mut running = Running::start(run(
            user,
            &["--respawn"],
            &["sh", "-c", "echo up; exec sleep 1000"],
        ));
        assert_eq!(running.line(), "up\n");
        assert_eq!(running.finish(Some(Signal::TERM)).0, Some(143));
    }
}
