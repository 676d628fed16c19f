//! Programs that mean no good: no hang, no wrong socket, no privilege.

use super::*;
use support::{RealTime, on_stage, wait_until_gone};

/// Runs it to its end, which must come soon.
#[track_caller]
fn ends(user: User, options: &[&str], source: &str) -> Output {
    let began_ns = clock::monotonic_ns();
    let most = if is_real_time() { 60 } else { 400 };
    let program = ["timeout", &most.to_string(), PYTHON, "-c", source];
    let ended = output(run(user, options, &program));
    assert!(since(began_ns) < Duration::from_secs(most), "it hangs");
    assert_ne!(ended.status.code(), Some(124), "it hangs");
    ended
}

#[test]
fn a_thousand_processes_that_bind_at_once_are_answered() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Processes, each of which fails and succeeds many times.
    let count = if is_real_time() { 300 } else { 40 };
    let source = format!(
        "import os, socket\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()\n\
                  for n in range({count}):\n\
                  \x20   if os.fork() == 0:\n\
                  \x20       code = 0\n\
                  \x20       for m in range(10):\n\
                  \x20           a = socket.socket(); a.bind(('127.0.0.1', 0)); a.close()\n\
                  \x20           b = socket.socket()\n\
                  \x20           try: b.bind(('127.0.0.1', 8080)); code = 1\n\
                  \x20           except OSError as error: code |= error.errno != 98\n\
                  \x20       os._exit(code)\n\
                  print(sum(os.wait()[1] != 0 for n in range({count})))\n"
    );
    for user in USERS {
        let ended = ends(user, &[], &source);
        let said = text(&ended.stderr);
        assert_eq!(text(&ended.stdout), "0\n", "{said}");
        // All are told of, most of them by their number.
        assert!(said.contains("WHY"), "{said}");
        assert!(
            said.contains("more calls of bind failed") || !is_real_time(),
            "{said}"
        );
        assert!(said.len() < 1_000_000, "{}", said.len());
    }
}

#[test]
fn an_address_that_is_rewritten_during_the_call_is_bound_as_it_was_read() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // A thread turns the port in the structure all the time, and the descriptor's number
    // into something else. Whatever is bound is one of the two ports, and only on sockets.
    let source = "import ctypes, os, socket, struct, threading\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  def address(port): return struct.pack('=H', 2) + struct.pack('!H', port) + bytes([127, 0, 0, 1]) + bytes(8)\n\
                  buf = ctypes.create_string_buffer(address(8080), 16)\n\
                  over = False\n\
                  def turn():\n\
                  \x20   while not over:\n\
                  \x20       ctypes.memmove(buf, address(8081), 16); ctypes.memmove(buf, address(8080), 16)\n\
                  threading.Thread(target=turn).start()\n\
                  wrong = 0\n\
                  for n in range(500):\n\
                  \x20   s = socket.socket()\n\
                  \x20   s.setsockopt(1, 2, 0)\n\
                  \x20   result = libc.bind(s.fileno(), buf, 16)\n\
                  \x20   name = s.getsockname()\n\
                  \x20   wrong += result == 0 and name[1] not in (8080, 8081)\n\
                  \x20   wrong += result != 0 and name[1] != 0\n\
                  \x20   s.close()\n\
                  over = True\n\
                  print(wrong)\n";
    for user in USERS {
        for options in [&[][..], &["--reuseaddr", "--keep", "8080"]] {
            let ended = ends(user, options, source);
            assert_eq!(text(&ended.stdout), "0\n", "{}", text(&ended.stderr));
        }
    }
}

#[test]
fn descriptors_that_are_closed_meanwhile_give_errors_and_no_other_socket() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import ctypes, os, socket, struct, threading\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  addr = struct.pack('=H', 2) + struct.pack('!H', 8080) + bytes([127, 0, 0, 1]) + bytes(8)\n\
                  over = False\n\
                  def churn():\n\
                  \x20   null = os.open('/dev/null', 0)\n\
                  \x20   while not over:\n\
                  \x20       s = socket.socket(); os.dup2(s.fileno(), 50); s.close()\n\
                  \x20       os.dup2(null, 50)\n\
                  \x20       try: os.close(50)\n\
                  \x20       except OSError: pass\n\
                  threading.Thread(target=churn).start()\n\
                  seen = set()\n\
                  for n in range(1000):\n\
                  \x20   result = libc.bind(50, addr, 16)\n\
                  \x20   seen.add(0 if result == 0 else ctypes.get_errno())\n\
                  \x20   libc.listen(50, 1)\n\
                  over = True\n\
                  print(seen <= {0, 9, 22, 88, 98}, seen)\n";
    for user in USERS {
        for options in [&[][..], &["--keep", "8080"]] {
            let ended = ends(user, options, source);
            assert!(
                text(&ended.stdout).starts_with("True"),
                "{} {}",
                text(&ended.stdout),
                text(&ended.stderr)
            );
        }
        wait_until_gone(8080, tcpstate::event::State::Listen);
    }
}

#[test]
fn odd_addresses_and_descriptors_fail_as_they_do_without_run() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import ctypes, os, socket\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  def bind(fd, addr, len):\n\
                  \x20   result = libc.bind(fd, addr, len)\n\
                  \x20   return result and ctypes.get_errno()\n\
                  buf = ctypes.create_string_buffer(bytes([2, 0, 31, 144, 127, 0, 0, 1]) + bytes(200))\n\
                  six = ctypes.create_string_buffer(bytes([10, 0, 31, 144]) + bytes(200))\n\
                  def t(f=2): return socket.socket(f).detach()\n\
                  null = os.open('/dev/null', 0)\n\
                  print([bind(*it) for it in ((-1, buf, 16), (9999, buf, 16), (null, buf, 16),\n\
                  \x20   (t(), None, 16), (t(), ctypes.c_void_p(8), 16), (t(), buf, 0), (t(), buf, 15),\n\
                  \x20   (t(), buf, 129), (t(), buf, ctypes.c_int(-1)), (t(), buf, 128), (t(), six, 28),\n\
                  \x20   (t(10), buf, 16), (t(10), six, 23), (t(10), six, 28))],\n\
                  \x20   [libc.listen(fd, n) and ctypes.get_errno() for fd, n in ((-1, 1), (null, 1), (t(), -5))])\n";
    for user in USERS {
        let mut plain = as_user(user, PYTHON);
        plain.args(["-c", source]);
        let without = text(&output(plain).stdout);
        assert!(
            without.starts_with("[9, 9, 88, 14, 14, 22, 22, 22, 22,"),
            "{without}"
        );
        for options in [
            &[][..],
            &["--reuseaddr", "--reuseport", "--wait=1s", "--keep", "8080"],
        ] {
            let ended = output(run(user, options, &[PYTHON, "-c", source]));
            // With SO_REUSEPORT both of the last ones may have the port.
            if options.is_empty() {
                assert_eq!(text(&ended.stdout), without, "{}", text(&ended.stderr));
            } else {
                let head = |text: &str| text.split(", 22, 22, 22, 22,").next().map(str::to_owned);
                assert_eq!(head(&text(&ended.stdout)), head(&without));
            }
        }
    }
}

#[test]
fn run_below_run_is_refused_in_a_sentence() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    for user in USERS {
        let nested = [TCPSTATE.path(), "run", "--", "true"];
        let ended = output(run(user, &[], &nested));
        assert_eq!(ended.status.code(), Some(2));
        let said = text(&ended.stderr);
        assert!(
            said.contains("another supervisor") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn set_user_id_programs_gain_nothing_from_it() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // A set-user-id copy of a shell that binds a low port: without run it may.
    let folder = folder_for_programs();
    let mode = |path: &std::path::Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("it is ours");
    };
    mode(folder.path(), 0o755);
    let python = folder.path().join("python");
    std::fs::copy("/usr/bin/python3", &python).expect("there is room");
    mode(&python, 0o4755);
    let program = python.to_str().expect("text");
    let source = "import os, socket\n\
                  s = socket.socket()\n\
                  try: s.bind(('127.0.0.1', 81)); print('bound', os.geteuid())\n\
                  except OSError as error: print(error.errno, os.geteuid())\n";
    let mut plain = as_user(User::Nobody, program);
    plain.args(["-c", source]);
    assert_eq!(text(&output(plain).stdout), "bound 0\n", "it has the right");

    let ended = output(run(User::Nobody, &[], &[program, "-c", source]));
    assert_eq!(text(&ended.stdout), "13 65534\n", "{}", text(&ended.stderr));
    // Root's own filter sets no no_new_privs: there it stays what it is, by itself.
    let dropped = format!(
        "import os; os.setgroups([]); os.setresgid(99, 99, 99); os.setresuid(99, 99, 99)\n\
         os.execv({program:?}, ['python', '-c', {source:?}])\n"
    );
    let ended = output(run(User::Root, &[], &[PYTHON, "-c", &dropped]));
    assert_eq!(text(&ended.stdout), "bound 0\n", "{}", text(&ended.stderr));
}

#[test]
fn a_stderr_that_nobody_reads_holds_no_call_up() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, RealTime("hundreds of diagnoses")]) {
        return;
    }
    // The program fails on port after port, which is more text than a pipe takes.
    let source = "import os, socket, sys\n\
                  os.dup2(1, 2)\n\
                  s = [socket.socket() for _ in range(150)]\n\
                  for n, it in enumerate(s): it.bind(('127.0.0.1', 9000 + n)); it.listen()\n\
                  failed = 0\n\
                  for n in range(150):\n\
                  \x20   try: socket.socket().bind(('127.0.0.1', 9000 + n))\n\
                  \x20   except OSError: failed += 1\n\
                  print(failed, flush=True)\n";
    let mut running = Running::start(run(User::Nobody, &[], &[PYTHON, "-c", source]));
    let began_ns = clock::monotonic_ns();

    assert_eq!(running.line(), "150\n");

    assert!(since(began_ns) < patience());
}
