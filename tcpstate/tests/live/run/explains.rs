//! What fails is explained at once, and what is asked for helps.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tcpstate::clock;

use super::*;
use support::{LISTS_BOUND_SOCKETS, listener, on_stage, port_of, wait_for_time_wait};

const SOCAT: [&str; 3] = ["socat", "tcp4-listen:5555", "-"];
const NEEDS_SOCAT: Requirement = Program("socat", "socat");

/// Runs the listener of the seed story, interrupts it with a connection, and gives what the
/// next run of it needs to know: the port is in TIME_WAIT.
#[track_caller]
fn interrupt_with_a_connection(user: User, options: &[&str]) {
    // A segment that is late on a slow machine would end the TIME_WAIT.
    fs::write("/proc/sys/net/ipv4/tcp_rfc1337", "1").expect("it is our namespace");
    let mut command = run(user, options, &SOCAT);
    command.stdin(Stdio::piped());
    let server = Running::start(command);
    wait_until("socat listens", || {
        support::count_listed(5555, tcpstate::event::State::Listen) == 1
    });
    let client = TcpStream::connect("127.0.0.1:5555").expect("socat listens");
    wait_until("it is accepted", || {
        support::count_listed(5555, tcpstate::event::State::Listen) == 0
    });

    let (code, said) = server.finish(Some(Signal::INT));
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(said, "", "run is silent where nothing fails");
    drop(client);
    wait_for_time_wait(5555);
}

#[test]
fn an_interrupted_listener_that_does_not_start_again_is_told_why() {
    if !on_stage(&[SETPRIV, NEEDS_SOCAT, LISTS_BOUND_SOCKETS]) {
        return;
    }
    for user in USERS {
        interrupt_with_a_connection(user, &[]);

        let again = output(run(user, &[], &SOCAT));

        let said = text(&again.stderr);
        assert_eq!(again.status.code(), Some(1), "{said}");
        let why = said.find("tcpstate: WHY").expect("it is explained");
        let own_words = said.find("Address already in use").expect("socat says so");
        assert!(why < own_words, "the reason stands above: {said}");
        assert!(said.contains("tcpstate: bind         0.0.0.0:5555  FAILED EADDRINUSE"));
        assert!(said.contains("time_wait"), "{user:?}: {said}");
        assert!(
            said.contains("fix") && said.contains("SO_REUSEADDR"),
            "{said}"
        );
        assert_eq!(said.contains("not seen"), user == User::Nobody, "{said}");
        destroy_time_waits();
    }
}

#[test]
fn with_reuseaddr_from_the_first_run_on_the_listener_starts_again() {
    if !on_stage(&[SETPRIV, NEEDS_SOCAT]) {
        return;
    }
    for user in USERS {
        for _ in 0..3 {
            interrupt_with_a_connection(user, &["--reuseaddr"]);
        }
        destroy_time_waits();
    }
}

#[test]
fn a_bind_that_waits_is_made_as_soon_as_the_port_is_free() {
    if !on_stage(&[SETPRIV, NEEDS_SOCAT, support::DESTROYS_TIME_WAITS]) {
        return;
    }
    for user in USERS {
        interrupt_with_a_connection(user, &[]);
        let mut command = run(user, &["--wait"], &SOCAT);
        command.stdin(Stdio::piped());
        let server = Running::start(command);
        // It has asked by then.
        let asks = if is_real_time() { 500 } else { 8_000 };
        std::thread::sleep(Duration::from_millis(asks));
        let listening = || support::count_listed(5555, tcpstate::event::State::Listen);
        assert_eq!(listening(), 0, "the port is not free yet");

        destroy_time_waits();
        wait_until("socat listens", || listening() == 1);

        let (code, said) = server.finish(Some(Signal::TERM));
        assert_eq!(code, Some(143), "{said}");
        assert!(
            said.contains("waiting to bind 0.0.0.0:5555 (about 5"),
            "{said}"
        );
        assert!(said.contains("bound 0.0.0.0:5555 after "), "{said}");
    }
}

/// A whole minute of TIME_WAIT, by itself.
#[test]
#[ignore = "nightly: waits for a TIME_WAIT's minute"]
fn a_bind_that_waits_outlasts_a_time_wait() {
    if !on_stage(&[SETPRIV, NEEDS_SOCAT]) {
        return;
    }
    interrupt_with_a_connection(User::Nobody, &[]);
    let began_ns = clock::monotonic_ns();
    let mut command = run(User::Nobody, &["--wait"], &SOCAT);
    command.stdin(Stdio::piped());
    let server = Running::start(command);

    while support::count_listed(5555, tcpstate::event::State::Listen) == 0 {
        assert!(since(began_ns) < Duration::from_secs(70));
        std::thread::sleep(Duration::from_millis(50));
    }

    assert!(since(began_ns) > Duration::from_secs(50));
    server.finish(Some(Signal::TERM));
}

#[test]
fn a_wait_ends_at_its_time_and_with_its_program() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    let program = plain_server(SERVER);
    for user in USERS {
        let failed = output(run(user, &["--wait=300ms"], &words(&program)));
        let said = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(
            said.contains("waiting to bind") && said.contains("WHY"),
            "{said}"
        );

        // Handled signals interrupt the call that waits; others end the program.
        for (signal, handler, code) in [
            (Signal::TERM, "", 143),
            (Signal::INT, "", 130),
            (Signal::TERM, "signal.signal(15, lambda *a: sys.exit(7))", 7),
        ] {
            let source = format!(
                "import signal, socket, sys, threading\n\
                 signal.signal(2, signal.SIG_DFL)\n\
                 {handler}\n\
                 print('waiting', flush=True)\n\
                 s = socket.socket()\n\
                 s.bind(('127.0.0.1', 8080))\n"
            );
            let mut server = Running::start(run(user, &["--wait"], &[PYTHON, "-c", &source]));
            assert_eq!(server.line(), "waiting\n");
            std::thread::sleep(Duration::from_millis(300));
            let began_ns = clock::monotonic_ns();
            let (ended, said) = server.finish(Some(signal));
            assert_eq!(ended, Some(code), "{user:?} {signal:?}: {said}");
            assert!(since(began_ns) < Duration::from_secs(5).max(patience() / 6));
        }
    }
}

#[test]
fn signals_that_begin_the_call_again_do_not_bind_twice() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // A timer with SA_RESTART rains on every call, as Go's scheduler does.
    let source = "import signal, socket, sys\n\
                  signal.signal(signal.SIGALRM, lambda *a: None)\n\
                  signal.siginterrupt(signal.SIGALRM, False)\n\
                  signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)\n\
                  for port in range(20000, 20400):\n\
                  \x20   s = socket.socket()\n\
                  \x20   s.bind(('127.0.0.1', port))\n\
                  \x20   s.close()\n\
                  print('all', flush=True)\n";
    for user in USERS {
        for options in [&[][..], &["--wait"]] {
            let bound = output(run(user, options, &[PYTHON, "-c", source]));
            assert_eq!(text(&bound.stdout), "all\n", "{}", text(&bound.stderr));
        }
    }
}

#[test]
fn options_are_set_before_each_bind_to_a_port_and_nothing_else_is_touched() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import socket, os\n\
                  def options(kind, family, address):\n\
                  \x20   s = socket.socket(family, kind)\n\
                  \x20   s.bind(address)\n\
                  \x20   return s.getsockopt(1, 2), s.getsockopt(1, 15)\n\
                  print(options(1, 2, ('127.0.0.1', 8080)), options(1, 10, ('::1', 8080)),\n\
                  \x20   options(1, 2, ('127.0.0.1', 0)), options(2, 2, ('127.0.0.1', 8080)),\n\
                  \x20   options(1, 1, '\\0x'))\n\
                  if os.fork() == 0: print(options(1, 2, ('127.0.0.1', 8081)))\n\
                  else: os.wait()\n";
    for user in USERS {
        for (option, set) in [("--reuseaddr", "(1, 0)"), ("--reuseport", "(0, 1)")] {
            let got = output(run(user, &[option], &[PYTHON, "-u", "-c", source]));
            let none = "(0, 0)";
            assert_eq!(
                text(&got.stdout),
                format!("{set} {set} {none} {none} {none}\n{set}\n"),
                "{}",
                text(&got.stderr)
            );
        }
    }
}

#[test]
fn a_recording_of_it_is_a_recording_like_any_other() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let holder = listener("127.0.0.1:0", false);
    let port = port_of(&holder);
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), open).expect("it is ours");
    let source = format!(
        "import socket\n\
         s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()\n\
         t = socket.socket()\n\
         for _ in range(20):\n\
         \x20   try: t.bind(('127.0.0.1', {port}))\n\
         \x20   except OSError: pass\n"
    );
    let schema = tcpstate::export::schema::schema();
    let validator = jsonschema::validator_for(schema.as_value()).expect("the schema is one");
    for user in USERS {
        let file = folder.path().join(format!("{user:?}.jsonl"));
        let path = file.to_str().expect("text");

        let ended = output(run(user, &["--json", path], &[PYTHON, "-c", &source]));

        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        let recorded = fs::read_to_string(&file).expect("it was written");
        let lines: Vec<Value> = recorded
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let names: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["event"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "header",
                "bind",
                "listen",
                "bind",
                "diagnosis",
                "bind",
                "footer"
            ],
            "{recorded}"
        );
        for (seq, line) in lines.iter().enumerate() {
            assert_eq!(line["seq"], seq);
            assert!(validator.is_valid(line), "not of the schema: {line}");
        }
        assert_eq!(lines[1]["ok"], true);
        assert_eq!(lines[4]["cause"], "active_listener");
        assert_eq!(
            (&lines[5]["is_sum"], &lines[5]["repeated"]),
            (&true.into(), &18.into())
        );
        let report = support::run(&["report", "--format", "md", path]);
        assert!(
            text(&report.stdout).contains("active_listener"),
            "{report:?}"
        );
        let replay = support::run(&["replay", "--format", "json", path]);
        assert_eq!(text(&replay.stdout), recorded);
    }
}

#[test]
fn under_github_actions_it_is_an_annotation_and_a_summary() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    let summary = tempfile::NamedTempFile::new().expect("a file");
    let program = plain_server(SERVER);
    let mut command = run(User::Root, &[], &words(&program));
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", summary.path());

    let failed = output(command);

    let said = text(&failed.stderr);
    assert!(
        said.contains("\n::error title=tcpstate: active_listener::Port 8080"),
        "{said}"
    );
    let summary = fs::read_to_string(summary.path()).expect("it is there");
    assert!(
        summary.starts_with("### tcpstate: active_listener\n"),
        "{summary}"
    );
    let plain = output(run(User::Root, &[], &words(&program)));
    assert!(!text(&plain.stderr).contains("::error"));
}

fn destroy_time_waits() {
    let destroyed = Command::new("ss")
        .args(["-Kt", "state", "time-wait"])
        .output()
        .expect("ss runs");
    assert!(destroyed.status.success());
}
