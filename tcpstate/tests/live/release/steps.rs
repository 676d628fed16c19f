//! Each step frees the port, and only what holds it is ended.

mod destroy;
mod not_allowed;

use rustix::process::Signal;
use serde_json::Value;

use super::stage::{Actor, Bystanders, PORT, SERVER, done, is_free, parse, plan, refused, release};
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
    let (answer, code) = parse(&output);

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
    let (answer, code) = parse(&by_path);

    assert_eq!(code, 0, "{answer}");
    assert_eq!(
        done(&answer),
        ["destroy_sockets done", "stop_process done"],
        "{answer}"
    );
    assert!(!there.is_alive() && here.is_alive());
    assert!(!is_free());
}
