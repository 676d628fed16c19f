//! Calls that go on in their own process, and `listen`, whose outcome nobody answers for.

use super::*;
use serde_json::Value;
use support::{LISTS_BOUND_SOCKETS, Watch, listener, on_stage};

/// What it says of one program, which itself says `outcome`. It may end before it is explained;
/// where looking takes seconds, as on an emulated machine, it stays.
#[track_caller]
fn said(user: User, source: &str, outcome: &str) -> String {
    let source = format!("{source}\nimport time; time.sleep({})", stays_s());
    let ended = output(run(user, &[], &[PYTHON, "-c", &source]));
    let said = text(&ended.stderr);
    assert_eq!(text(&ended.stdout), outcome, "{said}");
    said
}

fn stays_s() -> u32 {
    if is_real_time() { 0 } else { 10 }
}

#[test]
fn a_listen_that_fails_has_the_error_that_the_kernel_gives_and_is_told_first() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    // Both may bind as long as neither listens.
    let in_use = "import socket, sys\n\
                  def bound():\n\
                  \x20   s = socket.socket(); s.setsockopt(1, 2, 1)\n\
                  \x20   s.bind(('127.0.0.1', 8080)); return s\n\
                  a, b = bound(), bound()\n\
                  a.listen(5)\n\
                  try: b.listen(5)\n\
                  except OSError as error: print(error.errno); print('own words', file=sys.stderr)\n";
    // Who is connected does not listen.
    let connected = "import socket\n\
                     a = socket.socket(); a.bind(('127.0.0.1', 8081)); a.listen(5)\n\
                     b = socket.socket(); b.bind(('127.0.0.1', 8082)); b.connect(('127.0.0.1', 8081))\n\
                     try: b.listen(5)\n\
                     except OSError as error: print(error.errno)\n\
                     a.listen(7)\n";
    for user in USERS {
        let words = said(user, in_use, "98\n");
        let why = words.find("tcpstate: WHY").expect("it is explained");
        assert!(
            why < words.find("own words").expect("it says so"),
            "{words}"
        );
        assert!(
            words.contains("listen       127.0.0.1:8080  FAILED EADDRINUSE  "),
            "{words}"
        );
        assert!(words.contains("active_listener"), "{words}");

        let words = said(user, connected, "22\n");
        assert!(
            words.contains("listen       127.0.0.1:8082  FAILED EINVAL  "),
            "{words}"
        );
        assert!(!words.contains("8081  FAILED"), "{words}");
    }
}

#[test]
fn a_listen_beside_others_of_the_port_is_the_program_s_own() {
    if !on_stage(&[NEEDS_PYTHON]) {
        return;
    }
    // Both families, another address, a group, and the same socket once more.
    let source = "import socket\n\
                  def listener(family, address, group=0):\n\
                  \x20   s = socket.socket(family)\n\
                  \x20   if family == socket.AF_INET6: s.setsockopt(41, 26, 1)\n\
                  \x20   s.setsockopt(1, 15, group); s.bind((address, 8080)); s.listen(5); return s\n\
                  kept = [listener(2, '127.0.0.1'), listener(10, '::1'), listener(2, '127.0.0.2'),\n\
                  \x20   listener(2, '127.0.0.3', 1), listener(2, '127.0.0.3', 1)]\n\
                  kept[0].listen(9)\n";
    let mut watch = Watch::start(&["--port", "8080"]);
    watch.wait_for("the header", |line| line["event"] == "header");

    let ended = output(run(User::Root, &[], &[PYTHON, "-c", source]));
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));

    for address in ["127.0.0.1", "::1", "127.0.0.2", "127.0.0.3"] {
        watch.wait_for("a listen of the program's own", |line: &Value| {
            line["event"] == "listen"
                && line["requested"]["addr"] == address
                && line["process"]["comm"] == "python3"
        });
    }
}

/// Who ends may shut down first what it listens on, and is gone before anybody looks.
#[test]
fn a_listener_that_is_shut_down_at_once_did_not_fail_to_listen() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for group in [0, 1] {
        // One whose caller goes on, one that does so twice, and one whose caller ends.
        let source = format!(
            "import os, socket, time\n\
             def bound(port):\n\
             \x20   s = socket.socket(); s.setsockopt(1, 15, {group})\n\
             \x20   s.bind(('127.0.0.1', port)); return s\n\
             a = bound(8080); a.listen(5); a.shutdown(2); time.sleep(0.2)\n\
             b = bound(8081); b.listen(5); b.shutdown(2); time.sleep(0.2)\n\
             b.listen(5); b.shutdown(2); time.sleep(0.2)\n\
             c = bound(8083); c.listen(5); c.shutdown(2); os._exit(0)\n"
        );
        for user in USERS {
            let ended = output(run(user, &[], &[PYTHON, "-c", &source]));
            assert_eq!(text(&ended.stderr), "", "{user:?}, SO_REUSEPORT {group}");
            assert_eq!(ended.status.code(), Some(0));
        }
    }
}

#[test]
fn a_listen_whose_answer_is_not_seen_is_told_as_inferred() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    // It would join a group that there is not.
    let source = "import socket, time\n\
                  def bound(group):\n\
                  \x20   s = socket.socket(); s.setsockopt(1, 2, 1); s.setsockopt(1, 15, group)\n\
                  \x20   s.bind(('127.0.0.1', 8080)); return s\n\
                  a, b = bound(0), bound(1)\n\
                  a.listen(5)\n\
                  try: b.listen(5)\n\
                  except OSError as error: print(error.errno, flush=True)\n\
                  time.sleep(0.5)\n";
    // Root's hooks may be on by then.
    let words = said(User::Nobody, source, "98\n");
    assert!(
        words.contains("listen       127.0.0.1:8080  FAILED EADDRINUSE (inferred)"),
        "{words}"
    );
    assert!(words.contains("it was only seen that the call"), "{words}");
}

/// What a user may not bind while somebody listens on port 8080: the address as Python has it,
/// the error, its name, and the cause.
pub(super) const REFUSED: [(&str, i32, &str, &str); 3] = [
    ("('127.0.0.1', 8080)", 98, "EADDRINUSE", "active_listener"),
    ("('127.0.0.1', 81)", 13, "EACCES", "privileged_port"),
    (
        "('192.0.2.1', 8080)",
        99,
        "EADDRNOTAVAIL",
        "address_not_local",
    ),
];

/// As another user than `run`: the call is its own, and goes on.
const OTHER: &str = "import os, socket, sys\n\
                     os.setgroups([]); os.setresgid(99, 99, 99); os.setresuid(99, 99, 99)\n\
                     def bind(address):\n\
                     \x20   s = socket.socket()\n\
                     \x20   try: s.bind(address); s.listen(); print('ok', flush=True); return s\n\
                     \x20   except OSError as error: print(error.errno, flush=True)\n";

#[test]
fn root_is_told_why_a_process_with_other_rights_may_not_bind() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let _holder = listener(SERVER, false);
    for (address, errno, name, cause) in REFUSED {
        let words = said(
            User::Root,
            &format!("{OTHER}bind({address})"),
            &format!("{errno}\n"),
        );
        // Inferred, where the hooks are not on yet.
        assert!(words.contains(&format!("FAILED {name}")), "{words}");
        assert!(words.contains(cause), "{words}");
        assert!(words.contains("python3"), "who it was: {words}");
    }
    // What succeeds, and what is tried next at once, is told apart.
    let words = said(
        User::Root,
        &format!(
            "{OTHER}bind(('127.0.0.1', 8080))\na = bind(('127.0.0.1', 8081))\nb = bind(('127.0.0.1', 8082))"
        ),
        "98\nok\nok\n",
    );
    assert_eq!(words.matches("FAILED").count(), 1, "{words}");
    assert!(words.contains("127.0.0.1:8080  FAILED"), "{words}");
}

#[test]
fn root_is_told_why_a_process_in_another_namespace_may_not_bind() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, Program("unshare", "util-linux")]) {
        return;
    }
    // It is free here, and held there by a process of its own.
    let source = "import fcntl, os, socket, struct\n\
                  u = socket.socket(2, 2)\n\
                  fcntl.ioctl(u, 0x8914, struct.pack('16sh14x', b'lo', 1))\n\
                  a = socket.socket(); a.bind(('127.0.0.1', 8080)); a.listen()\n\
                  try: socket.socket().bind(('127.0.0.1', 8080))\n\
                  except OSError as error: print(error.errno, flush=True)\n\
                  import time; time.sleep(2 + stays_s)\n";
    let source = format!("stays_s = {}\n{source}", stays_s());
    let ended = output(run(
        User::Root,
        &[],
        &["unshare", "--net", PYTHON, "-c", &source],
    ));

    let words = text(&ended.stderr);
    assert_eq!(text(&ended.stdout), "98\n", "{words}");
    assert!(
        words.contains("127.0.0.1:8080  FAILED EADDRINUSE"),
        "{words}"
    );
    assert!(words.contains("active_listener"), "{words}");
}
