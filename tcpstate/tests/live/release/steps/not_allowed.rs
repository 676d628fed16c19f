//! What the user or the kernel may not do.

use super::*;

/// Gives up everything that root has.
const NOBODY: [&str; 6] = [
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--inh-caps=-all",
];

/// Frees the port as somebody who may do little.
fn as_nobody(arguments: &[&str]) -> std::process::Output {
    std::process::Command::new("setpriv")
        .args(NOBODY)
        .arg(support::TCPSTATE)
        .args(["release", "8080", "--yes", "--json"])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("setpriv runs")
}

#[test]
fn what_may_not_be_destroyed_is_waited_for_only_if_told() {
    if !on_stage(&[
        PYTHON,
        Program("setpriv", "util-linux"),
        LISTS_BOUND_SOCKETS,
    ]) {
        return;
    }
    // A FIN_WAIT_2 that goes by itself, but not before it was tried at once.
    std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "12").expect("we are root");
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });
    server.end();
    wait_until("it is an orphan", || {
        count_listed(PORT, State::FinWait2) == 1
    });

    let (at_once, code) = parse(&as_nobody(&[]));
    assert_eq!((code, is_free()), (1, false), "{at_once}");
    assert_eq!(done(&at_once), ["destroy_sockets not_allowed"]);
    let (waited, code) = parse(&as_nobody(&["--timeout", "40s"]));

    assert_eq!((code, is_free()), (0, true), "{waited}");
    bystanders.have_noticed_nothing();
}

#[test]
fn a_time_wait_that_the_kernel_cannot_destroy_is_waited_for_only_if_told() {
    if !on_stage(&[PYTHON, Before(6, 0, "destroys a TIME_WAIT")]) {
        return;
    }
    let listening = listener("127.0.0.1:8080", true);
    let (server, client) = connection(&listening, "127.0.0.1:8080");
    drop(server);
    drain(&client);
    drop(client);
    drop(listening);
    wait_for_time_wait(PORT);
    let mut bystanders = Bystanders::without_client();

    let words = |arguments: &[&str]| {
        let output = run(&[&["release", "8080"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        support::report_figures(&text);
        (text, output.status.code())
    };
    let (planned, code) = words(&["--dry-run"]);
    assert_eq!(code, Some(1), "{planned}");
    assert!(planned.contains("cannot destroy a TIME_WAIT"), "{planned}");
    let (at_once, code) = words(&["--yes"]);
    // A step has failed.
    assert_eq!(code, Some(2), "{at_once}");
    assert!(at_once.contains("TIME_WAIT needs Linux 6.0"), "{at_once}");
    assert!(at_once.contains("--timeout 70s"), "{at_once}");
    // As long as it is told to, and no longer.
    let (bounded, code) = release(&["--timeout", "1s"]);
    assert_eq!((code, &bounded["free"]), (2, &Value::from("no")));
    assert_eq!(done(&bounded), ["destroy_sockets failed"], "{bounded}");
    assert_eq!((count_listed(PORT, State::TimeWait), is_free()), (1, false));
    let (waited, code) = release(&["--timeout", "90s"]);

    assert_eq!((code, is_free()), (0, true), "{waited}");
    assert_eq!(waited["free"], "yes");
    assert_eq!(count_listed(PORT, State::TimeWait), 0);
    bystanders.have_noticed_nothing();
}

#[test]
fn without_root_one_s_own_is_stopped_and_the_rest_is_said() {
    if !on_stage(&[
        Program("/usr/bin/python3", "python3"),
        Program("setpriv", "util-linux"),
        LISTS_BOUND_SOCKETS,
    ]) {
        return;
    }
    let server = || {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(NOBODY)
            .args(["/usr/bin/python3", "-c", &Actor::script(SERVER)]);
        Actor::play_by(&mut command).0
    };
    let mut own = server();
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });

    let (answer, code) = parse(&as_nobody(&[]));

    // The connection lingers, and root alone may destroy that.
    assert_eq!((code, is_free()), (1, false), "{answer}");
    assert_eq!(
        done(&answer),
        ["stop_process done", "destroy_sockets not_allowed"],
        "{answer}"
    );
    let command = answer["done"][1]["command"].as_str().expect("a command");
    assert!(command.contains("ss -Kt"), "{command}");
    assert!(!own.is_alive());
    bystanders.have_noticed_nothing();
    drop(bystanders);

    assert_eq!(release(&[]).1, 0);
    let mut of_root = Actor::play(SERVER);
    let (answer, code) = parse(&as_nobody(&[]));
    assert_eq!((code, refused(&answer)), (2, vec!["not_seen"]), "{answer}");
    assert!(of_root.is_alive());
}
