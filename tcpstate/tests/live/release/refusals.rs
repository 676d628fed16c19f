//! Holders that are left alone, and nothing else is done where they have the port.

use std::process::{Command, Stdio};

use super::stage::{Actor, Bystanders, PORT, done, is_free, parse, plan, refused, release};
use support::{
    Lacking, Program, TCPSTATE, connection, count_listed, drain, listener, on_stage, run, skip_for,
    wait_until, wait_until_gone,
};
use tcpstate::event::State;

#[test]
fn without_a_terminal_and_without_yes_nothing_is_done() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut server = Actor::play(super::stage::SERVER);

    let output = run(&["release", "8080"]);

    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("--yes") && said.contains("--dry-run"),
        "{said}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("  step 1     Stop python3["));
    assert!(server.is_alive());
}

#[test]
fn what_it_was_started_from_is_left_alone_and_so_is_all_else() {
    if !on_stage(&[]) {
        return;
    }
    // The test itself, which starts it, listens and has left a TIME_WAIT.
    let listening = listener("127.0.0.1:8080", false);
    let (server, client) = connection(&listening, "127.0.0.1:8080");
    drop(server);
    drain(&client);
    drop(client);
    wait_until("it waits", || count_listed(PORT, State::TimeWait) == 1);

    let (answer, code) = release(&["--force"]);

    assert_eq!((code, refused(&answer)), (2, vec!["ancestor"]), "{answer}");
    assert_eq!(answer["plan"], serde_json::json!([]), "nothing would help");
    assert_eq!(count_listed(PORT, State::Listen), 1);
    assert_eq!(count_listed(PORT, State::TimeWait), 1);
    drop(listening);
}

#[test]
fn process_1_is_left_alone() {
    if !on_stage(&[
        Program("python3", "python3"),
        Program("unshare", "util-linux"),
    ]) {
        return;
    }
    let (mut init, codes) = Actor::play_by(
        Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", "python3", "-c"])
            .arg(Actor::script(
                "
s = listening(8080)
# Not its child: whose parent has ended is the child of process 1 in any case.
ran = subprocess.run([sys.argv[1], 'release', '8080', '--yes', '--force', '--json'], capture_output=True)
ready(os.getpid(), ran.returncode)
ready(ran.stdout.decode())
sleep()
",
            ))
            .arg(TCPSTATE),
    );
    let answer: serde_json::Value = serde_json::from_str(&init.next()).expect("JSON");

    assert_eq!(codes, [1, 2], "{answer}");
    assert_eq!(refused(&answer), ["init"]);
    assert!(init.is_alive());
}

#[test]
fn a_socket_of_the_kernel_is_left_alone() {
    if !on_stage(&[Program("ip", "iproute2")]) {
        return;
    }
    let is_made = Command::new("ip")
        .args([
            "mptcp",
            "endpoint",
            "add",
            "127.0.0.1",
            "port",
            "8080",
            "signal",
        ])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_made {
        return skip_for(Lacking {
            what: "this kernel opens no socket of its own for an MPTCP endpoint",
            since: Some((6, 1)),
        });
    }
    assert!(!is_free());

    let (answer, code) = release(&["--force"]);

    assert_eq!((code, refused(&answer)), (2, vec!["kernel"]), "{answer}");
    assert!(answer["refused"][0]["text"].to_string().contains("MPTCP"));
    assert_eq!(count_listed(PORT, State::Listen), 1);
}

#[test]
fn a_client_that_bound_the_port_keeps_it() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut bystanders = Bystanders::without_client();
    let mut client = Actor::play(
        "
c = bound(8080, reuse=False); c.connect(('127.0.0.1', 9090)); ready(); sleep()
",
    );
    let (answer, code) = release(&["--force"]);

    assert_eq!((code, refused(&answer)), (2, vec!["outgoing"]), "{answer}");
    assert!(client.is_alive());
    assert_eq!(
        count_listed(PORT, State::Established),
        1,
        "nor is it cut off"
    );
    // The kernel agrees that it would not have helped.
    let destroyed = Command::new("ss")
        .args(["-Kt", "state", "established", "sport", "=", ":8080"])
        .output()
        .expect("ss runs");
    assert!(destroyed.status.success());
    wait_until_gone(PORT, State::Established);
    assert!(!is_free());
    let (answer, code) = release(&["--force"]);
    assert_eq!((code, refused(&answer)), (2, vec!["outgoing"]), "{answer}");
    assert!(client.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_proxy_of_docker_s_is_left_alone() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut proxy = Actor::play(
        "
open('/proc/self/comm', 'w').write('docker-proxy')
s = listening(8080); ready(); sleep()
",
    );
    let (answer, code) = release(&["--force"]);

    assert_eq!(
        (code, refused(&answer)),
        (2, vec!["held_for_another"]),
        "{answer}"
    );
    assert_eq!(
        answer["refused"][0]["command"],
        "docker ps --filter publish=8080"
    );
    assert!(proxy.is_alive());
}

#[test]
fn a_client_of_the_port_is_in_no_plan_even_if_it_is_all_there_is() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    // Its connection has the port as its peer's, in a namespace where nobody serves it.
    let (mut server, _) = Actor::play_by(
        Command::new("unshare")
            .args(["--net", "python3", "-c"])
            .arg(Actor::script("ready(); sleep()")),
    );
    let mut client = Actor::play(
        "
s = listening(8080, '127.0.0.2')
c = socket.create_connection(('127.0.0.2', 8080)); d = s.accept()[0]; s.close()
ready(); sleep()
",
    );
    // It is the server of its own connection as well: that end goes, the process stays.
    let planned = plan();
    let (answer, code) = release(&[]);

    assert_eq!(code, 0, "{answer}");
    assert_eq!(planned["plan"].as_array().map(Vec::len), Some(1));
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(client.is_alive() && server.is_alive());
}

#[test]
fn a_plan_for_two_ports_frees_the_one_that_may_be() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _ours = listener("127.0.0.1:8081", false);
    let mut server = Actor::play(super::stage::SERVER);

    let (answer, code) = parse(&run(&["release", "8080", "8081", "--yes", "--json"]));

    assert_eq!((code, refused(&answer)), (2, vec!["ancestor"]), "{answer}");
    assert_eq!(answer["ports"][0]["free"], "yes");
    assert_eq!(answer["ports"][1]["free"], "no");
    assert_eq!(answer["free"], "no");
    assert!(!server.is_alive());
}
