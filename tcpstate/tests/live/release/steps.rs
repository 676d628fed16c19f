//! Each step frees the port, and only what holds it is ended.

use rustix::process::Signal;
use serde_json::Value;

use super::stage::{Actor, Bystanders, PORT, SERVER, done, is_free, plan, refused, release};
use support::{
    Before, DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS, Program, Requirement, connection,
    count_listed, drain, listener, on_stage, run, wait_for_time_wait, wait_until,
};
use tcpstate::event::State;

const PYTHON: Requirement = Program("python3", "python3");

#[test]
fn a_port_that_is_free_is_left_as_it_is() {
    if !on_stage(&[]) {
        return;
    }
    let (answer, code) = release(&[]);

    assert_eq!((code, &answer["free"]), (0, &Value::from("yes")));
    assert_eq!(answer["plan"], serde_json::json!([]));
    assert_eq!(answer["done"], serde_json::json!([]));
}

#[test]
fn a_server_is_stopped_and_its_client_and_its_neighbour_live_on() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });

    let planned = plan();
    assert!(server.is_alive(), "a plan changes nothing");
    assert_eq!(planned["free"], "no");
    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(
        done(&answer),
        ["stop_process done", "destroy_sockets done"],
        "{answer}"
    );
    let step = &answer["plan"][0];
    assert_eq!(step["target"], format!("python3[{}]", server.pid()));
    assert_eq!(
        step["loses"],
        "1 established connection, and whatever else it does"
    );
    assert_eq!(planned["plan"], answer["plan"], "the same plan");
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_time_wait_is_destroyed_and_not_that_of_another_port() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    for port in [8080, 8081] {
        let address = format!("127.0.0.1:{port}");
        let listening = listener(&address, true);
        let (server, client) = connection(&listening, &address);
        drop(server);
        drain(&client);
        drop(client);
        drop(listening);
        wait_for_time_wait(port);
    }
    let mut bystanders = Bystanders::without_client();

    // It does not stand in the way of who sets SO_REUSEADDR, and is left alone.
    let (reusing, code) = release(&["--reuseaddr"]);
    assert_eq!((code, &reusing["plan"]), (0, &serde_json::json!([])));
    assert_eq!(count_listed(PORT, State::TimeWait), 1);
    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert_eq!(count_listed(PORT, State::TimeWait), 0);
    assert_eq!(count_listed(8081, State::TimeWait), 1);
    bystanders.have_noticed_nothing();
}

#[test]
fn what_an_ipv6_socket_left_that_takes_ipv4_too_is_destroyed_by_either_address() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    for (address, option) in [("127.0.0.1", ""), ("::1", "--ipv6")] {
        let mut gone = Actor::play(&format!(
            "
s = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)
c = socket.create_connection(('{address}', 8080)); d = s.accept()[0]; d.close()
c.recv(1); c.close(); ready()
"
        ));
        gone.wait();
        wait_for_time_wait(PORT);
        let arguments: &[&str] = if option.is_empty() { &[] } else { &[option] };

        let (answer, code) = release(arguments);

        assert_eq!(code, 0, "{address}: {answer}");
        assert_eq!(done(&answer), ["destroy_sockets done"], "{address}");
        assert_eq!(count_listed(PORT, State::TimeWait), 0);
    }
}

#[test]
fn what_an_ipv6_server_leaves_is_destroyed_while_its_ipv4_client_lives() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(
        "
s = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)
ready(); kept = []
while True: kept.append(s.accept()[0])
",
    );
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["stop_process done", "destroy_sockets done"]);
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn what_a_socket_of_one_interface_left_is_destroyed() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut gone = Actor::play(
        "
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, 25, b'lo')
s.bind(('127.0.0.1', 8080)); s.listen()
c = socket.create_connection(('127.0.0.1', 8080)); d = s.accept()[0]; d.close()
c.recv(1); c.close(); ready()
",
    );
    gone.wait();
    wait_for_time_wait(PORT);
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"], "{answer}");
}

#[test]
fn hundreds_of_time_waits_are_destroyed_one_by_one() {
    if !on_stage(&[DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let listening = listener("127.0.0.1:8080", true);
    for _ in 0..400 {
        let (server, client) = connection(&listening, "127.0.0.1:8080");
        drop(server);
        drain(&client);
    }
    drop(listening);
    wait_for_time_wait(PORT);
    let before = count_listed(PORT, State::TimeWait);
    assert!(before > 192, "more than one look at a bind bucket takes");

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(count_listed(PORT, State::TimeWait), 0);
    assert_eq!(answer["done"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn what_an_ended_server_left_half_closed_is_destroyed() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });
    server.end();
    // The client does not close: an orphan in FIN_WAIT_2.
    wait_until("it is an orphan", || {
        count_listed(PORT, State::FinWait2) == 1
    });
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    bystanders.have_noticed_nothing();
}

/// Accepts, and closes the listener: only the connection holds the port.
const LEAKS: &str = "
s = listening(8080); ready()
c = s.accept()[0]; s.close(); ready('accepted')
sleep()
";

#[test]
fn a_leaked_connection_is_destroyed_and_its_process_goes_on() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut leaking = Actor::play(LEAKS);
    let mut client = Actor::play(
        "c = socket.create_connection(('127.0.0.1', 8080)); ready(); sys.stdin.readline()
c.close(); sleep()",
    );
    assert_eq!(leaking.next(), "accepted");
    client.go_on();
    wait_until("it leaks", || count_listed(PORT, State::CloseWait) == 1);
    let mut bystanders = Bystanders::without_client();

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(leaking.is_alive() && client.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_connection_of_an_earlier_server_is_destroyed_and_its_worker_goes_on() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut worker = Actor::play(LEAKS);
    let mut bystanders = Bystanders::take_the_stage();
    assert_eq!(worker.next(), "accepted");

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(worker.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn the_connection_of_a_client_that_took_the_port_is_destroyed_and_the_client_goes_on() {
    if !on_stage(&[PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let mut bystanders = Bystanders::without_client();
    tcpstate::demo::namespace::set_local_port_range(PORT, PORT).expect("we are root");
    let mut client =
        Actor::play("c = socket.create_connection(('127.0.0.1', 9090)); ready(); sleep()");
    tcpstate::demo::namespace::set_local_port_range(32_768, 60_999).expect("we are root");
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(client.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_master_comes_before_its_workers_and_all_go() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    // Workers that outlive their master.
    let (mut master, pids) = Actor::tell(
        "
s = listening(8080)
pids = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        sleep(); os._exit(0)
    pids.append(pid)
ready(os.getpid(), *pids)
sleep()
",
    );
    let mut bystanders = Bystanders::take_the_stage();

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    let targets: Vec<&str> = answer["done"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|step| step["step"] == "stop_process")
        .map(|step| step["target"].as_str().expect("text"))
        .collect();
    let expected: Vec<String> = pids.iter().map(|pid| format!("python3[{pid}]")).collect();
    assert_eq!(targets, expected, "{answer}");
    assert!(!master.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_process_that_is_stopped_is_continued_so_that_it_ends() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::without_client();
    server.signal(Signal::STOP);
    let path = format!("/proc/{}/stat", server.pid());
    wait_until("it is stopped", || {
        std::fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "))
    });

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    let text = answer["plan"][0]["text"].as_str().expect("text");
    assert!(text.contains("SIGCONT"), "{text}");
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn who_ignores_sigterm_is_killed_only_if_told_and_only_after_its_time() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut server = Actor::play(&format!(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVER}"
    ));
    let mut bystanders = Bystanders::without_client();

    let (asked, code) = release(&["--timeout", "300ms"]);
    assert_eq!((code, &asked["free"]), (1, &Value::from("no")), "{asked}");
    assert_eq!(done(&asked), ["stop_process timed_out"]);
    assert_eq!(asked["diagnosis"]["cause"], "active_listener");
    assert!(server.is_alive());
    let (forced, code) = release(&["--timeout", "300ms", "--force"]);

    assert_eq!((code, is_free()), (0, true), "{forced}");
    let step = &forced["done"][0];
    assert!(
        step["took_ms"].as_u64().is_some_and(|ms| ms >= 300),
        "{step}"
    );
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_server_that_finishes_what_it_serves_has_the_time_for_it() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    // It closes its listener at once, and answers the last request a second later.
    let mut server = Actor::play(
        "
def drain(*_):
    s.close()
    time.sleep(1)
    c.sendall(b'answer'); c.close()
    os._exit(0)
signal.signal(signal.SIGTERM, drain)
s = listening(8080); ready()
c = s.accept()[0]
sleep()
",
    );
    let mut client = Actor::play(
        "
c = socket.create_connection(('127.0.0.1', 8080)); ready()
ready(c.recv(100).decode()); c.close()
sleep()
",
    );
    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(client.next(), "answer");
    assert!(client.is_alive() && !server.is_alive());
}

#[test]
fn a_socket_that_is_bound_only_goes_with_its_process() {
    if !on_stage(&[PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let mut holder = Actor::play("s = bound(8080); ready(); sleep()");

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["stop_process done"]);
    assert!(!holder.is_alive());
}

#[test]
fn several_ports_are_freed_at_once_and_one_process_is_stopped_once() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut both = Actor::play("s = listening(8080); t = listening(8081); ready(); sleep()");
    let mut bystanders = Bystanders::without_client();

    let output = run(&["release", "8081", "8080", "--yes", "--json"]);
    let (answer, code) = super::stage::parse(&output);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(
        answer["ports"][0],
        serde_json::json!({"port": 8080, "free": "yes"})
    );
    assert_eq!(
        answer["ports"][1],
        serde_json::json!({"port": 8081, "free": "yes"})
    );
    assert_eq!(
        done(&answer)
            .iter()
            .filter(|done| *done == "stop_process done")
            .count(),
        1,
        "{answer}"
    );
    assert!(!both.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_port_of_another_address_is_freed_only_if_it_is_asked_for() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut one = Actor::play("s = listening(8080, '127.0.0.1'); ready(); sleep()");
    let mut other = Actor::play("s = listening(8080, '127.0.0.2'); ready(); sleep()");

    let (answer, code) = release(&["--addr", "127.0.0.1"]);

    assert_eq!(code, 0, "{answer}");
    assert!(!one.is_alive() && other.is_alive());
    assert!(support::try_bind("127.0.0.1:8080", false).is_ok());
}

#[test]
fn a_port_in_another_namespace_is_freed_there_and_not_here() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut here = Actor::play(SERVER);
    let (mut there, _) = Actor::play_by(
        std::process::Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up; exec python3 -c \"$0\"",
            ])
            .arg(Actor::script(
                "
s = listening(8080)
c = socket.create_connection(('127.0.0.1', 8080)); d = s.accept()[0]; d.close(); c.close()
ready(); sleep()
",
            )),
    );
    let path = format!("/proc/{}/ns/net", there.pid());
    let by_path = run(&["release", "8080", "--yes", "--json", "--netns", &path]);
    let (answer, code) = super::stage::parse(&by_path);

    assert_eq!(code, 0, "{answer}");
    assert_eq!(
        done(&answer),
        ["destroy_sockets done", "stop_process done"],
        "{answer}"
    );
    assert!(!there.is_alive() && here.is_alive());
    assert!(!is_free());
}

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

    let (at_once, code) = super::stage::parse(&as_nobody(&[]));
    assert_eq!((code, is_free()), (1, false), "{at_once}");
    assert_eq!(done(&at_once), ["destroy_sockets not_allowed"]);
    let (waited, code) = super::stage::parse(&as_nobody(&["--timeout", "40s"]));

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

    let (answer, code) = super::stage::parse(&as_nobody(&[]));

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
    let (answer, code) = super::stage::parse(&as_nobody(&[]));
    assert_eq!((code, refused(&answer)), (2, vec!["not_seen"]), "{answer}");
    assert!(of_root.is_alive());
}
