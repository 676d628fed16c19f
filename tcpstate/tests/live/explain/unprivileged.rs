//! Without privileges.

use super::*;

/// Runs it as a user without any privilege, in this namespace.
fn run_as_nobody(arguments: &[&str]) -> Output {
    Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg(TCPSTATE)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("setpriv runs")
}

#[test]
fn root_that_may_not_look_at_others_does_not_say_that_nobody_has_the_port() {
    if !on_stage(&[Program("setpriv", "util-linux")]) {
        return;
    }
    let _held = listener(SERVER, false);

    // As in a container: root, and without what it takes to look into who has more.
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"])
        .arg(TCPSTATE)
        .args(["explain", "8080", "--json"])
        .output()
        .expect("setpriv runs");
    let answer = answer(&output);

    assert_eq!(answer["cause"], "active_listener");
    let missing = answer["missing"].to_string();
    assert!(missing.contains("may not be looked at here"), "{missing}");
    assert!(!missing.contains("no process was found"), "{missing}");
    assert_ne!(answer["fixes"][0]["effect"], "ends", "{answer}");
}

#[test]
fn without_privilege_what_can_be_known_is_said_and_what_cannot_is_said_too() {
    if !on_stage(&[LISTS_BOUND_SOCKETS, Program("setpriv", "util-linux")]) {
        return;
    }
    let ask = |arguments: &[&str]| {
        answer(&run_as_nobody(
            &[&["explain", "8080", "--json"], arguments].concat(),
        ))
    };

    let free = ask(&[]);
    assert_eq!(
        (&free["would_bind"], &free["certainty"]),
        (&Value::from("yes"), &Value::from("proven"))
    );

    leave_time_wait(true);
    let plain = ask(&[]);
    assert_eq!(
        plain["would_bind"], "no",
        "without SO_REUSEADDR the holder's does not matter"
    );
    assert_eq!(
        plain["holders"][0]["reuse"],
        Value::Null,
        "it cannot be read"
    );
    assert_eq!(plain["would_work"]["reuseaddr"], "unknown");
    let reusing = ask(&["--reuseaddr"]);
    assert_eq!(reusing["would_bind"], "unknown");
    assert!(
        reusing["missing"].to_string().contains("--try"),
        "{reusing}"
    );
    let tried = ask(&["--reuseaddr", "--try"]);
    assert_eq!(
        (&tried["would_bind"], &tried["tried"]["ok"]),
        (&Value::from("yes"), &Value::from(true))
    );

    let low = answer(&run_as_nobody(&["explain", "80", "--json"]));
    assert_eq!(low["cause"], "privileged_port");
}

#[test]
fn without_privilege_an_ipv6_listener_that_leaves_ipv4_alone_is_recognised() {
    if !on_stage(&[LISTS_BOUND_SOCKETS, Program("setpriv", "util-linux")]) {
        return;
    }
    for v6only in [true, false] {
        let holder = socket(at("[::]:8080"));
        sockopt::set_ipv6_v6only(&holder, v6only).expect("an option of IPv6 sockets");
        rustix::net::bind(&holder, &at("[::]:8080")).expect("the port is free");
        rustix::net::listen(&holder, 8).expect("nobody else listens");

        let answer = answer(&run_as_nobody(&["explain", "8080", "--json"]));

        assert_eq!(
            answer["would_bind"],
            kernel_says("0.0.0.0:8080", false),
            "{answer}"
        );
    }
}
