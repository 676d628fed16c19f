//! Users without privileges who want an observer to wait for them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tcpstate::clock;

use support::{Lacking, Program, Watch, listener, on_stage, report_figures, skip_for, try_bind};

/// Ends with the value.
struct Attacker(Child);

impl Attacker {
    /// `None`: he has no user namespaces here, so that he can do no harm.
    fn start(seconds: u32) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/strangers/fifo.py");
        let text = std::fs::read_to_string(script).expect("it is there");
        let mut child = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["/usr/bin/python3", "-c", &text, "16", &seconds.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .spawn()
            .expect("setpriv runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says something or ends");
        let attacker = Self(child);
        (line.trim() == "ready").then_some(attacker)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An unprivileged user mounted a FIFO over the file of a namespace between the look at
/// it and its opening, and every watcher waited in `wait_for_partner` for ever.
#[test]
fn a_fifo_over_the_file_of_a_namespace_makes_nobody_wait() {
    if !on_stage(&[
        Program("setpriv", "util-linux"),
        Program("python3", "python3"),
    ]) {
        return;
    }
    let mut watch = Watch::start_in("all", &[]);
    let Some(attacker) = Attacker::start(10) else {
        skip_for(Lacking {
            what: "users without privileges have no user namespaces here",
            since: None,
        });
        return;
    };
    std::thread::sleep(Duration::from_secs(9));

    let _holding = listener("127.0.0.1:8123", true);
    let before_ns = clock::monotonic_ns();
    assert!(try_bind("127.0.0.1:8123", false).is_err());
    watch.diagnosis("bind", 8123);
    let diagnosed = Duration::from_nanos(clock::monotonic_ns() - before_ns);
    let before_ns = clock::monotonic_ns();
    watch.finish();
    let ended = Duration::from_nanos(clock::monotonic_ns() - before_ns);

    // Some 50 ms; the machine may have other work. Who waited, waited for ever.
    report_figures(&format!(
        "diagnosed after {diagnosed:?}, ended after {ended:?}"
    ));
    assert!(diagnosed < Duration::from_secs(20), "{diagnosed:?}");
    assert!(ended < Duration::from_secs(10), "{ended:?}");
    drop(attacker);
}
