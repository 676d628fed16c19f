//! Calls that go on in their own process, with root's hooks: the kernel's own word.

use std::io::Write as _;

use super::passed::REFUSED;
use super::*;
use serde_json::Value;
use support::{Linux, RealTime, listener, on_stage};

/// What came of a program that went on once the hooks were on.
struct Came {
    words: String,
    events: Vec<Value>,
    ended: Option<i32>,
}

impl Came {
    fn of(&self, event: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|line| line["event"] == event)
            .collect()
    }
}

/// Runs a program as root that begins with `before`, and goes on with `source` once the hooks
/// are on.
#[track_caller]
fn with_hooks(wrapper: &[&str], before: &str, source: &str) -> Came {
    each_with_hooks(wrapper, before, &[source])
}

/// The same with several: each goes on once the hooks are on again.
#[track_caller]
fn each_with_hooks(wrapper: &[&str], before: &str, sources: &[&str]) -> Came {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("text");
    // What it says is for people who look whether it was right.
    let mut source = format!("{before}\nimport sys\n");
    for next in sources {
        source.push_str("sys.stdin.readline()\n");
        source.push_str(next);
    }
    let mut program = wrapper.to_vec();
    program.extend([PYTHON, "-c", &source]);
    let mut command = run(User::Root, &["-v", "--json", path], &program);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);

    let mut stderr = BufReader::new(running.0.stderr.take().expect("it is piped"));
    let mut stdin = running.0.stdin.take().expect("it is piped");
    let mut words = String::new();
    for times in 1..=sources.len() {
        while words.matches("hooks on after").count() < times {
            let read = stderr.read_line(&mut words).expect("it is text");
            assert!(read > 0 && !words.contains("no hooks"), "{words}");
        }
        writeln!(stdin).expect("it reads");
    }
    stderr.read_to_string(&mut words).expect("it is text");

    let ended = running.0.wait().expect("it ends").code();
    let recorded = std::fs::read_to_string(file.path()).expect("it was written");
    let events = recorded
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    Came {
        words,
        events,
        ended,
    }
}

/// It gives up its rights, so that its calls are its own.
const OTHER: &str = "import os, socket, time\n\
                     os.setgroups([]); os.setresgid(99, 99, 99); os.setresuid(99, 99, 99)\n";

/// Whose errors are the exit code, and who is there to be looked at.
fn binds(address: &str) -> String {
    format!(
        "try: s = socket.socket(); s.bind({address})\n\
         except OSError as error: time.sleep(1); os._exit(error.errno)\n"
    )
}

#[test]
fn what_another_user_may_not_bind_is_proven() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    for (address, errno, name, cause) in REFUSED {
        let came = with_hooks(&[], OTHER, &binds(address));

        let words = &came.words;
        assert_eq!(came.ended, Some(errno), "{words}");
        assert!(words.contains(&format!("FAILED {name}")), "{words}");
        assert!(!words.contains("inferred"), "{words}");
        let [call] = came.of("bind")[..] else {
            panic!("it is told once: {words}");
        };
        assert_eq!(call["errno"], errno);
        assert_eq!(call["errno_inferred"], Value::Null);
        assert_eq!(call["process"]["comm"], "python3");
        assert_eq!(call["process"]["uid"], 99);
        let [diagnosis] = came.of("diagnosis")[..] else {
            panic!("it is explained once: {words}");
        };
        assert_eq!(diagnosis["cause"], cause, "{words}");
        assert_eq!(diagnosis["certainty"], "proven", "{words}");
    }
}

#[test]
fn what_a_process_in_another_namespace_may_not_bind_is_proven() {
    if !on_stage(&[NEEDS_PYTHON, Program("unshare", "util-linux")]) {
        return;
    }
    // It is free here, and held there by a process of its own.
    let before = "import fcntl, os, socket, struct, time\n\
                  u = socket.socket(2, 2)\n\
                  fcntl.ioctl(u, 0x8914, struct.pack('16sh14x', b'lo', 1))\n\
                  a = socket.socket(); a.bind(('127.0.0.1', 8080)); a.listen()\n";

    let came = with_hooks(&["unshare", "--net"], before, &binds("('127.0.0.1', 8080)"));

    let words = &came.words;
    assert_eq!(came.ended, Some(98), "{words}");
    let [diagnosis] = came.of("diagnosis")[..] else {
        panic!("it is explained once: {words}");
    };
    assert_eq!(diagnosis["cause"], "active_listener", "{words}");
    assert_eq!(diagnosis["certainty"], "proven", "{words}");
    assert_eq!(
        diagnosis["holders"][0]["local"]["addr"], "127.0.0.1",
        "{words}"
    );
    assert!(!words.contains("inferred"), "{words}");
}

#[test]
fn a_listen_of_a_group_that_fails_is_proven() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    // It would join a group that there is not.
    let before = "import os, socket, time\n\
                  def bound(group):\n\
                  \x20   s = socket.socket(); s.setsockopt(1, 2, 1); s.setsockopt(1, 15, group)\n\
                  \x20   s.bind(('127.0.0.1', 8080)); return s\n\
                  a, b = bound(0), bound(1)\n\
                  a.listen(5)\n";
    // An emulated machine takes seconds to explain it.
    let source = "try: b.listen(5)\n\
                  except OSError as error: time.sleep(4); os._exit(error.errno)\n";

    let came = with_hooks(&[], before, source);

    let words = &came.words;
    assert_eq!(came.ended, Some(98), "{words}");
    assert!(
        words.contains("listen       127.0.0.1:8080  FAILED EADDRINUSE  "),
        "{words}"
    );
    let [diagnosis] = came.of("diagnosis")[..] else {
        panic!("it is explained once: {words}");
    };
    assert_eq!(diagnosis["certainty"], "proven", "{words}");
}

/// No rule about ports explains it, and without the error nothing would.
#[test]
fn what_a_landlock_domain_refuses_is_known_to_be_refused_by_a_policy() {
    if !on_stage(&[NEEDS_PYTHON, Linux(6, 7, "has Landlock's rules for ports")]) {
        return;
    }
    // No port is allowed: landlock_create_ruleset, landlock_restrict_self.
    let before = "import ctypes, os, socket, struct, time\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  fd = libc.syscall(444, struct.pack('QQ', 0, 1), 16, 0)\n\
                  libc.prctl(38, 1, 0, 0, 0)\n\
                  has_none = fd < 0 or libc.syscall(446, fd, 0)\n";
    let source = format!(
        "if has_none: os._exit(77)\n{}",
        binds("('127.0.0.1', 8080)")
    );

    let came = with_hooks(&[], before, &source);

    let words = &came.words;
    if came.ended == Some(77) {
        support::skip_for(support::Lacking {
            what: "Landlock is off here",
            since: None,
        });
        return;
    }
    assert_eq!(came.ended, Some(13), "{words}");
    let [diagnosis] = came.of("diagnosis")[..] else {
        panic!("it is explained once: {words}");
    };
    assert_eq!(diagnosis["cause"], "denied_by_policy", "{words}");
    assert!(!words.contains("inferred"), "{words}");
}

/// The kernel program tells ten a second of the same call, and `run` counts all of them.
#[test]
fn of_calls_that_fail_again_and_again_the_first_is_told_and_all_are_counted() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    let source = "s = socket.socket()\n\
                  for _ in range(50):\n\
                  \x20   try: s.bind(('127.0.0.1', 8080))\n\
                  \x20   except OSError: pass\n\
                  time.sleep(1)\n";

    let came = with_hooks(&[], OTHER, source);

    let words = &came.words;
    assert_eq!(came.ended, Some(0), "{words}");
    let calls = came.of("bind");
    let count: u64 = calls
        .iter()
        .map(|call| 1 + call["repeated"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(count, 50, "{words}");
    assert_eq!(came.of("diagnosis").len(), 1, "{words}");
    assert!(calls.iter().all(|call| call["errno"] == 98), "{words}");
    assert!(!words.contains("inferred"), "{words}");
}

/// What is made for a process by `run` is told by `run` alone.
#[test]
fn calls_that_run_answers_are_told_once() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    let before = "import os, socket, time";

    let came = with_hooks(&[], before, &binds("('127.0.0.1', 8080)"));

    let words = &came.words;
    assert_eq!(came.ended, Some(98), "{words}");
    assert_eq!(came.of("bind").len(), 1, "{words}");
    assert_eq!(came.of("diagnosis").len(), 1, "{words}");
}

#[test]
fn where_hooks_are_refused_it_goes_without_them() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    let source = format!("{OTHER}{}", binds("('127.0.0.1', 8080)"));
    let set = "--bounding-set=-sys_admin,-bpf,-perfmon";
    for (options, says_so) in [(&["-v"][..], true), (&[], false)] {
        let mut command = Command::new("setpriv");
        command
            .args([set, "--inh-caps=-all", TCPSTATE.path(), "run"])
            .args(options)
            .args(["--", PYTHON, "-c", &source])
            .stdin(Stdio::null());

        let ended = output(command);

        let words = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(98), "{words}");
        assert!(words.contains("FAILED EADDRINUSE (inferred)"), "{words}");
        assert_eq!(words.contains("no hooks: "), says_so, "{words}");
    }
}

/// They are off when nothing needs them, and on again when something does.
#[test]
#[ignore = "nightly: waits for half a minute"]
fn hooks_go_and_come_with_calls_that_go_on() {
    if !on_stage(&[NEEDS_PYTHON, RealTime("when hooks go off")]) {
        return;
    }
    let _holder = listener(SERVER, false);
    // Longer than hooks stay on with nobody to ask.
    let first = "time.sleep(33)\n\
                 try: socket.socket().bind(('127.0.0.1', 81))\n\
                 except OSError: pass\n";
    let second = "try: socket.socket().bind(('127.0.0.1', 8080))\n\
                  except OSError: pass\n";

    let came = each_with_hooks(&[], OTHER, &[first, second]);

    let words = &came.words;
    let places = [
        "hooks on after",
        "hooks off",
        "FAILED EACCES (inferred)",
        "FAILED EADDRINUSE  ",
    ];
    let places = places.map(|what| {
        words
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {words}"))
    });
    assert!(places.is_sorted(), "{words}");
    assert_eq!(words.matches("hooks on after").count(), 2, "{words}");
}

/// What was raised to load the kernel program is not the program's.
#[test]
fn a_program_that_is_started_again_has_the_limits_that_run_was_given() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    let source = "import resource, time\n\
                  print(resource.getrlimit(resource.RLIMIT_MEMLOCK), flush=True)\n\
                  time.sleep(60)\n";
    let mut command = as_user(User::Root, "sh");
    command
        .args(["-c", "ulimit -l 1234; exec \"$@\"", "sh", TCPSTATE.path()])
        .args(["run", "-v", "--", PYTHON, "-c", source])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(command);
    let first = running.line();
    let mut stderr = BufReader::new(running.0.stderr.take().expect("it is piped"));
    let mut words = String::new();
    while !words.contains("hooks on after") {
        let read = stderr.read_line(&mut words).expect("it is text");
        assert!(read > 0 && !words.contains("no hooks"), "{words}");
    }

    running.signal(Signal::HUP);

    assert_eq!(first, "(1263616, 1263616)\n");
    assert_eq!(running.line(), first);
    running.signal(Signal::TERM);
}
