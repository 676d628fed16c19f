//! `release` beside what is used today, on the same stages: the table of `docs/release.md`.
//!
//! `UPDATE_EXPECT=1` writes what came out into the page.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect_file;
use rustix::process::{Signal, kill_process};

use super::stage::{Actor, PORT, SERVER, is_free};
use support::{
    DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS, Program, TCPSTATE, count_listed, on_stage, wait_until,
};
use tcpstate::event::State;

/// Who is on a stage, by what he is called in the table.
type Cast = Vec<(&'static str, Actor)>;

/// What holds the port, and who sets it.
type Stage = (&'static str, fn() -> Cast);

const STAGES: [Stage; 10] = [
    ("a server", || vec![("server", Actor::play(SERVER))]),
    ("a server with a client", with_client),
    ("a master that replaces its workers", prefork),
    ("TIME_WAIT", time_wait),
    ("FIN_WAIT_2 of a server that has ended", orphan),
    ("CLOSE_WAIT that a process leaks", leak),
    ("an outgoing connection that took the port", outgoing),
    ("a server that ctrl-z has stopped", stopped),
    ("a server that ignores SIGTERM", || {
        let script = format!("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVER}");
        vec![("server", Actor::play(&script))]
    }),
    ("a server that its supervisor starts again", supervised),
];

const TOOLS: [(&str, &str); 3] = [
    (
        "`tcpstate release 8080 --yes`",
        "\"$0\" release 8080 --yes --timeout 1s",
    ),
    ("`fuser -k 8080/tcp`", "fuser -k 8080/tcp"),
    (
        "`lsof -ti :8080 \\| xargs kill`",
        "lsof -nP -ti :8080 | xargs -r kill",
    ),
];

const CLIENT: &str = "c = socket.create_connection(('127.0.0.1', 8080)); ready(); sleep()";

fn with_client() -> Cast {
    let server = Actor::play(SERVER);
    let client = Actor::play(CLIENT);
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) == 1
    });
    vec![("server", server), ("client", client)]
}

fn prefork() -> Cast {
    let master = Actor::play(
        "
s = listening(8080)
def work():
    pid = os.fork()
    if pid: return pid
    # It outlives its master for a moment, as workers do.
    for _ in range(600):
        time.sleep(0.1)
        if os.getppid() != master: os._exit(0)
master = os.getpid()
workers = [work(), work()]
ready()
while True:
    os.wait()
    workers.append(work())
",
    );
    vec![("master", master)]
}

fn time_wait() -> Cast {
    let mut gone = Actor::play(
        "
s = listening(8080)
c = socket.create_connection(('127.0.0.1', 8080)); d = s.accept()[0]; d.close()
c.recv(1); c.close(); ready()
",
    );
    gone.wait();
    support::wait_for_time_wait(PORT);
    Vec::new()
}

fn orphan() -> Cast {
    let mut cast = with_client();
    let (_, mut server) = cast.remove(0);
    server.end();
    wait_until("it is an orphan", || {
        count_listed(PORT, State::FinWait2) == 1
    });
    cast
}

fn leak() -> Cast {
    let leaking = Actor::play(
        "
s = listening(8080)
c = socket.create_connection(('127.0.0.1', 8080)); d = s.accept()[0]; s.close(); c.close()
ready(); sleep()
",
    );
    wait_until("it leaks", || count_listed(PORT, State::CloseWait) == 1);
    vec![("leaking process", leaking)]
}

fn outgoing() -> Cast {
    let served = Actor::play(&SERVER.replace("8080", "9091"));
    tcpstate::demo::namespace::set_local_port_range(PORT, PORT).expect("we are root");
    let client = Actor::play("c = socket.create_connection(('127.0.0.1', 9091)); ready(); sleep()");
    tcpstate::demo::namespace::set_local_port_range(32_768, 60_999).expect("we are root");
    vec![("outgoing client", client), ("its server", served)]
}

fn stopped() -> Cast {
    let server = Actor::play(SERVER);
    server.signal(Signal::STOP);
    let path = format!("/proc/{}/stat", server.pid());
    wait_until("it is stopped", || {
        std::fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "))
    });
    vec![("server", server)]
}

fn supervised() -> Cast {
    let supervisor = Actor::play(
        "
told, tell = os.pipe()
supervisor = os.getpid()
first = True
while True:
    pid = os.fork()
    if pid == 0:
        s = listening(8080)
        os.write(tell, b'1')
        while os.getppid() == supervisor: time.sleep(0.1)
        os._exit(0)
    os.read(told, 1)
    if first: ready()
    first = False
    os.wait()
",
    );
    vec![("supervisor", supervisor)]
}

/// Those who are the two ends of one connection.
const ENDS: [[&str; 2]; 2] = [["server", "client"], ["outgoing client", "its server"]];

/// Frees the port with a tool; gives the cell of the table.
fn try_out(set: fn() -> Cast, line: &str) -> String {
    let mut cast = set();
    cast.push(("bystander", Actor::play(&SERVER.replace("8080", "9090"))));
    assert!(!is_free(), "it is held");
    let status = Command::new("sh")
        .args(["-c", line, TCPSTATE.path()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("sh is there");
    // Whoever is started again is there by then.
    std::thread::sleep(Duration::from_millis(700));
    let mut ended = Vec::new();
    for (name, actor) in &mut cast {
        if !actor.is_alive() {
            ended.push(*name);
        }
    }
    // Then the port is free or in TIME_WAIT, whichever end was the first.
    let is_race = ENDS
        .iter()
        .any(|ends| ends.iter().all(|end| ended.contains(end)));
    let state = match is_free() {
        _ if is_race => "free or **held**",
        true => "free",
        false => "**held**",
    };
    let mut cell = state.to_owned();
    let _ = match ended.as_slice() {
        [] => write!(cell, ", nobody ended"),
        ended => write!(cell, ", ended: {}", ended.join(", ")),
    };
    if line.contains("release") {
        let _ = write!(cell, " (exit {})", status.code().unwrap_or(-1));
    }
    clear(cast);
    cell
}

/// Nothing of one stage is left for the next.
fn clear(cast: Cast) {
    for (_, actor) in &cast {
        // One that is stopped takes no other signal; it may have ended.
        let pid = i32::try_from(actor.pid()).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::CONT));
    }
    drop(cast);
    wait_until("those whom they started have ended", || {
        count_listed(PORT, State::Listen) == 0 && count_listed(PORT, State::Established) == 0
    });
    let destroyed = Command::new("ss")
        .args(["-Kta", "sport", "=", ":8080"])
        .stdout(Stdio::null())
        .status()
        .expect("ss runs");
    assert!(destroyed.success());
    wait_until("the port is free", is_free);
}

#[test]
fn beside_other_port_killers_it_frees_as_much_and_ends_less() {
    if !on_stage(&[
        Program("python3", "python3"),
        Program("fuser", "psmisc"),
        Program("lsof", "lsof"),
        Program("ss", "iproute2"),
        DESTROYS_TIME_WAITS,
        LISTS_BOUND_SOCKETS,
    ]) {
        return;
    }
    let mut table = String::from("| the port is held by |");
    for (name, _) in TOOLS {
        let _ = write!(table, " {name} |");
    }
    table.push_str("\n| --- | --- | --- | --- |\n");
    for (name, set) in STAGES {
        let _ = write!(table, "| {name} |");
        for (_, line) in TOOLS {
            let cell = try_out(set, line);
            assert!(!cell.contains("bystander"), "{name}: {line}: {cell}");
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/release.md");
    let text = std::fs::read_to_string(&page).expect("the page is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (_, after) = rest.split_once(END).expect("the table ends");
    expect_file![page].assert_eq(&format!("{before}{BEGIN}\n{table}{END}{after}"));
}

const BEGIN: &str = "<!-- made by `cargo xtask test --test live -- release::killers` -->";
const END: &str = "<!-- until here -->";
