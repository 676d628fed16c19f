//! Refusals that are not about who has the port.

use std::process::{Command, Stdio};

use super::stage::{Denial, Hook};
use super::{fix, summary};
use support::{Cgroup, Lacking, Program, Watch, listener, on_stage, skip_for};

/// Runs socat as a user without any capability.
fn socat_as_nobody(arguments: &[&str]) -> bool {
    Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "socat",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setpriv is part of util-linux")
        .success()
}

#[test]
fn privileged_port() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "80"]);

    assert!(!socat_as_nobody(&[
        "TCP-LISTEN:80,bind=127.0.0.1",
        "EXEC:true"
    ]));

    let diagnosis = watch.diagnosis("bind", 80);
    assert_eq!(diagnosis["cause"], "privileged_port");
    assert_eq!(diagnosis["would_work"]["reuseaddr"], "no");
    assert!(!summary(&diagnosis).contains("listens"), "{diagnosis}");
    watch.finish();
}

#[test]
fn a_privileged_port_that_is_also_held_is_told_as_both() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let _listening = listener("127.0.0.1:80", true);
    let mut watch = Watch::start(&["--port", "80"]);

    assert!(!socat_as_nobody(&[
        "TCP-LISTEN:80,bind=127.0.0.1",
        "EXEC:true"
    ]));

    let diagnosis = watch.diagnosis("bind", 80);
    assert_eq!(diagnosis["cause"], "privileged_port");
    let own = std::process::id();
    assert_eq!(diagnosis["holders"][0]["state"], "listen", "{diagnosis}");
    assert_eq!(diagnosis["holders"][0]["process"]["pid"], own);
    assert!(
        summary(&diagnosis).contains(&format!("[{own}] listens on 127.0.0.1:80")),
        "{diagnosis}"
    );
    fix(&diagnosis, "stop_holder");
    watch.finish();
}

#[test]
fn denied_by_policy() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let listening = listener("127.0.0.1:8081", true);
    for (hook, call, port, arguments) in [
        (
            Hook::Bind4,
            "bind",
            8080,
            ["TCP-LISTEN:8080,bind=127.0.0.1", "EXEC:true"],
        ),
        (Hook::Connect4, "connect", 8081, ["-", "TCP:127.0.0.1:8081"]),
    ] {
        let Some(cgroup) = Cgroup::make(&format!("tcpstate-{call}-{}", std::process::id())) else {
            return;
        };
        let _denial = match Denial::on(&cgroup, hook) {
            Ok(denial) => denial,
            Err(error) => {
                return skip_for(Lacking {
                    what: &format!("no BPF program on a control group: {error}"),
                    since: None,
                });
            }
        };
        let mut watch = Watch::start(&[]);

        let status = cgroup
            .command("socat", &arguments)
            .stderr(Stdio::null())
            .status()
            .expect("sh is there");

        assert!(!status.success(), "{call} was refused");
        let diagnosis = watch.diagnosis(call, port);
        assert_eq!(diagnosis["cause"], "denied_by_policy", "{diagnosis}");
        assert_eq!(diagnosis["certainty"], "proven");
        assert_eq!(
            diagnosis["would_work"],
            serde_json::json!({"reuseaddr": "no", "reuseport": "no", "v6only": "no"})
        );
        let failed = watch.wait_for("the call", |event| event["seq"] == diagnosis["of"]);
        assert_eq!(failed["errno_name"], "EPERM");
        let cgroup_of_caller = failed["process"]["cgroup"].as_str().map(str::to_owned);
        assert_eq!(
            cgroup_of_caller.as_deref(),
            Some(&*format!("/tcpstate-{call}-{}", std::process::id())),
            "{failed}"
        );
        assert!(
            fix(&diagnosis, "check_cgroup_programs")["text"]
                .as_str()
                .is_some_and(|text| text.contains(&format!("tcpstate-{call}-"))),
            "the group is named: {diagnosis}"
        );
        watch.finish();
    }
    drop(listening);
}
