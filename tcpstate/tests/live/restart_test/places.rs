//! Where it is tested, and that nothing else is touched.

use std::fs;

use super::*;
use support::{LISTS_BOUND_SOCKETS, listener, on_stage, ss};

/// Port 8080, on either side.
const PORT: [&str; 5] = ["( sport", "=", ":8080 or dport = :8080", ")", ""];

fn on_the_port() -> Vec<String> {
    let [before @ .., _] = PORT;
    ss(&[&before.join(" ")])
}

#[test]
fn what_holds_the_port_outside_does_not_matter_and_is_not_touched() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _outside = listener("127.0.0.1:8080", false);
    let before = on_the_port();
    assert_eq!(before.len(), 1);
    for user in USERS {
        let answer = restart_test(user, &["--ways=server_closes_first"], &server(FINE));

        answer.assert("at_once", 0);
        assert_eq!(answer.json["private"], true);
        assert_eq!(on_the_port(), before);
    }
}

#[test]
fn on_the_host_a_held_port_is_refused_and_nothing_is_started() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener("127.0.0.1:8080", false);
    let folder = open_folder();
    let started = folder.path().join("started");
    let program = server(&format!("open('{}', 'w')", started.display()));
    for user in USERS {
        let output = command(user, &["--host", "--json"], &program, &mark())
            .output()
            .expect("it starts");

        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(
            said.contains("not free before the first start: Port 8080 is taken"),
            "{said}"
        );
        assert!(!started.exists());
    }
}

#[test]
fn on_the_host_each_restart_finds_the_port_free_and_nothing_is_left() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    // The TIME_WAITs of a restart end by its clients' RSTs.
    fs::write("/proc/sys/net/ipv4/tcp_rfc1337", "0").expect("it is our namespace");
    for user in USERS {
        let ways = "--ways=idle,server_closes_first,half_closed,sigkill";
        let answer = restart_test(user, &["--host", ways], &server("serve(listener(0))"));

        answer.assert("fails", 1);
        assert_eq!(answer.json["private"], false);
        assert_eq!(answer.outcome("idle"), "at_once");
        for way in ["server_closes_first", "half_closed", "sigkill"] {
            assert_eq!(answer.outcome(way), "fails", "{}", answer.json);
        }
        assert_eq!(ss(&["sport", "=", ":8080"]), [""; 0]);
    }
}

#[test]
fn on_the_host_what_a_restart_left_is_waited_for_and_said() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    // Nothing ends a TIME_WAIT before its time here.
    fs::write("/proc/sys/net/ipv4/tcp_rfc1337", "1").expect("it is our namespace");
    let timeout = if is_real_time() { "500ms" } else { "10s" };
    let timeout = format!("--timeout={timeout}");
    let options = ["--host", &timeout, "--ways=sigkill", "--times=2"];
    let answer = restart_test(User::Root, &options, &server("serve(listener(0))"));

    answer.assert("fails", 1);
    let rounds = answer.json["rounds"].as_array().expect("rounds");
    assert_eq!(rounds[1]["outcome"], "unknown");
    let note = rounds[1]["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("still held"), "{note}");
}

#[test]
fn the_private_namespace_has_the_settings_of_the_host() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let settings = [
        ("ipv4/ip_local_port_range", "20000\\t30000"),
        ("ipv4/tcp_fin_timeout", "17"),
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/ip_nonlocal_bind", "1"),
        ("ipv4/ip_unprivileged_port_start", "8080"),
        ("ipv6/bindv6only", "1"),
    ];
    for (name, value) in settings {
        let value = value.replace("\\t", " ");
        fs::write(format!("/proc/sys/net/{name}"), value).expect("it is our namespace");
    }
    let program = server(&format!(
        "for name, value in {settings:?}:\n\
         \x20   found = open('/proc/sys/net/' + name).read().strip()\n\
         \x20   if found != value.replace('\\\\t', '\\t'): sys.exit(name + ' is ' + found)\n\
         serve(listener(1))"
    ));
    for user in USERS {
        let answer = restart_test(user, &["--ways=idle"], &program);

        answer.assert("at_once", 0);
        assert_eq!(answer.json["notes"], Value::Null);
    }
}

#[test]
fn the_server_is_who_it_is_outside_and_has_no_right_more() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server(
        "status = open('/proc/self/status').read().split('\\n')\n\
         rights = next(line for line in status if line.startswith('CapEff')).split()[1]\n\
         if os.getuid() != 65534 or os.getgid() != 65534 or int(rights, 16): sys.exit(rights)\n\
         serve(listener(1))",
    );
    let answer = restart_test(User::Nobody, &["--ways=idle"], &program);
    answer.assert("at_once", 0);

    // A low port is refused as it is outside.
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "9000").expect("it is ours");
    let answer = restart_test(User::Nobody, &["--ways=idle"], &server(FINE));
    answer.assert("unknown", 2);
    assert_eq!(answer.cause("idle"), "privileged_port");
}

#[test]
fn where_no_namespace_can_be_made_it_says_what_to_do() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Who is in a changed root makes no user namespace (user_namespaces(7)).
    let folder = open_folder();
    let root = folder.path().display();
    // A shell may have one of its own.
    let setpriv = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("setpriv"))
        .find(|path| path.exists())
        .expect("it is installed");
    let setpriv = setpriv.display();
    let script = format!(
        "mount --rbind / {root} && exec chroot {root} {setpriv} --reuid 65534 --regid 65534 \
         --clear-groups --inh-caps=-all {} restart-test --port 8080 -- true",
        TCPSTATE.path()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .expect("unshare is installed");

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--host"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn below_another_supervisor_a_cause_is_likely_and_failed_binds_are_not_counted() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    for user in USERS {
        let mut command = as_user(user, TCPSTATE.path());
        command.args(["run", "--", TCPSTATE.path(), "restart-test"]);
        command.args(["--port=8080", "--ways=idle,sigkill", "--json", "--"]);
        let output = command
            .args(server("serve(listener(0))"))
            .output()
            .expect("it starts");

        let answer = answer(&output);
        answer.assert("fails", 1);
        let round = answer.round("sigkill");
        assert!(round["failed_binds"].is_null(), "{round}");
        assert!(answer.cause("sigkill").starts_with("time_wait"), "{round}");
        assert_eq!(round["diagnosis"]["certainty"], "likely");
        assert_eq!(answer.outcome("idle"), "at_once");
        let note = answer.json["notes"][0].as_str().unwrap_or_default();
        assert!(note.contains("could not be seen"), "{note}");
    }
}
