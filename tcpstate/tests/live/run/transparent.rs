//! A program under `run` sees what it would see without it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

use rustix::process::Signal;

use super::*;
use support::on_stage;

/// Says all that a program begins with, except for what must differ. The two signals that
/// glibc keeps for itself are no program's.
const BEGINS_WITH: &str = "import os, resource, signal, sys\n\
     status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n\
     status['SigIgn'] = hex(int(status['SigIgn'], 16) & 0x7fffffff)\n\
     print({name: status[name].strip() for name in\n\
     \x20   ('SigBlk', 'SigIgn', 'SigCgt', 'ShdPnd', 'Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'Umask')})\n\
     print(os.getcwd(), os.getpgrp(), os.getsid(0), sorted(os.environ.items()), sys.argv)\n\
     print({fd: os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd')\n\
     \x20   if os.path.exists('/proc/self/fd/' + fd)})\n\
     print([resource.getrlimit(n) for n in range(16)], os.nice(0))\n\
     print(open('/proc/self/oom_score_adj').read(), open('/proc/self/cgroup').read())\n\
     print(sys.stdin.read())\n";

/// Runs it in a session and group of its own, with a signal ignored, another blocked, a
/// descriptor open and little room for others.
#[track_caller]
fn began_with(user: User, is_below_run: bool) -> Vec<String> {
    let shell = "trap '' PIPE USR1; ulimit -Sn 200; exec 7</etc/passwd; cd /tmp; umask 27; \
                 export MARK=here; printf input | \"$@\"";
    let program = [PYTHON, "-c", BEGINS_WITH, "an argument", "--"];
    let mut command = as_user(user, "sh");
    command.args(["-c", shell, "sh"]);
    if is_below_run {
        command.args([TCPSTATE.path(), "run", "--reuseaddr", "--keep", "1", "--"]);
    }
    command.args(program).process_group(0);
    let output = output(command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let group = regex_free_group(&text(&output.stdout));
    text(&output.stdout)
        .replace(&format!(" {group} "), " GROUP ")
        .lines()
        .map(|line| {
            // Numbers of pipes differ from run to run.
            let mut line = line.to_owned();
            while let Some(at) = line.find("pipe:[") {
                let end = line[at..].find(']').map_or(line.len(), |end| at + end + 1);
                line.replace_range(at..end, "PIPE");
            }
            line
        })
        .collect()
}

/// The process group in the second line.
fn regex_free_group(said: &str) -> String {
    let line = said.lines().nth(1).unwrap_or_default();
    let group = line.split(' ').nth(1).unwrap_or_default();
    group.to_owned()
}

#[test]
fn a_program_begins_with_what_run_was_given() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        let without = began_with(user, false);
        let with = began_with(user, true);
        assert_eq!(without, with, "{user:?}");
        assert!(with[0].contains("'SigIgn': '0x1001200'"), "{}", with[0]);
    }
}

#[test]
fn its_end_is_the_end_of_run() {
    if !on_stage(&[SETPRIV]) {
        return;
    }
    for user in USERS {
        for code in [0, 1, 42, 255] {
            let ended = output(run(user, &[], &["sh", "-c", &format!("exit {code}")]));
            assert_eq!(ended.status.code(), Some(code));
        }
        for number in [1, 2, 9, 11, 15] {
            let kill = format!("kill -{number} $$");
            let ended = output(run(user, &[], &["sh", "-c", &kill]));
            assert_eq!(ended.status.code(), Some(128 + number));
            assert_eq!(ended.status.signal(), None);
        }
        let missing = output(run(user, &[], &["/no/such program"]));
        assert_eq!(missing.status.code(), Some(2));
        let said = text(&missing.stderr);
        assert!(
            said.contains("/no/such program") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn signals_to_run_reach_the_program_once() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import signal, sys, time\n\
                  got = []\n\
                  for n in (2, 3, 10, 12, 15, 28): signal.signal(n, lambda n, _: got.append(n))\n\
                  print('ready', flush=True)\n\
                  while 15 not in got: time.sleep(0.01)\n\
                  time.sleep(0.2)\n\
                  print(got, flush=True)\n";
    for user in USERS {
        let mut running = Running::start(run(user, &[], &[PYTHON, "-c", source]));
        assert_eq!(running.line(), "ready\n");
        for signal in [
            Signal::INT,
            Signal::QUIT,
            Signal::USR1,
            Signal::USR2,
            Signal::WINCH,
            Signal::TERM,
        ] {
            running.signal(signal);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(running.line(), "[2, 3, 10, 12, 28, 15]\n");
        assert_eq!(running.finish(None).0, Some(0));
    }
}

#[test]
fn no_zombie_is_left_and_who_lives_on_may_bind() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Orphans end while the program runs; one of them outlives it and binds later.
    let source = "import os, socket, sys, time\n\
                  for _ in range(20):\n\
                  \x20   if os.fork() == 0:\n\
                  \x20       if os.fork() == 0: time.sleep(0.05)\n\
                  \x20       os._exit(0)\n\
                  for _ in range(20): os.wait()\n\
                  time.sleep(0.4)\n\
                  run = os.getppid()\n\
                  kids = open(f'/proc/{run}/task/{run}/children').read().split()\n\
                  print([kid for kid in kids if int(kid) != os.getpid()], flush=True)\n\
                  if os.fork() == 0:\n\
                  \x20   null = os.open('/dev/null', 2)\n\
                  \x20   for fd in (0, 1, 2): os.dup2(null, fd)\n\
                  \x20   time.sleep(0.5)\n\
                  \x20   s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()\n\
                  \x20   s.accept(); os._exit(0)\n";
    // A port each: who closes first may leave a TIME_WAIT.
    for (user, port) in USERS.into_iter().zip([8080, 8081]) {
        let began_ns = clock::monotonic_ns();
        let number = port.to_string();
        let ended = output(run(user, &[], &[PYTHON, "-c", source, &number]));
        assert_eq!(text(&ended.stdout), "[]\n", "{}", text(&ended.stderr));
        assert!(
            since(began_ns) < Duration::from_secs(20),
            "nobody holds the pipes"
        );

        // Connects, whereupon the one that lives on ends.
        wait_until_serving(&format!("127.0.0.1:{port}"));
        support::wait_until_gone(port, tcpstate::event::State::Listen);
    }
}

#[test]
fn a_process_with_other_rights_binds_for_itself() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Root's program gives up its rights, and gets no port that it may not have.
    let source = "import os, socket\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 80)); s.close()\n\
                  os.setgroups([]); os.setresgid(99, 99, 99); os.setresuid(99, 99, 99)\n\
                  s = socket.socket()\n\
                  try: s.bind(('127.0.0.1', 81))\n\
                  except OSError as error: print(error.errno)\n\
                  s.bind(('127.0.0.1', 8080)); s.listen(); print(s.getsockopt(1, 2))\n";

    let mut command = run(User::Root, &["--reuseaddr"], &[PYTHON, "-c", source]);
    command.arg("-v");
    let ended = output(command);

    assert_eq!(text(&ended.stdout), "13\n1\n", "{}", text(&ended.stderr));
}

#[test]
fn a_landlock_domain_holds_below_run() {
    if !on_stage(&[
        NEEDS_PYTHON,
        support::Linux(6, 7, "has Landlock's rules for ports"),
    ]) {
        return;
    }
    // No port is allowed: landlock_create_ruleset, landlock_restrict_self.
    let source = "import ctypes, socket, struct\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  attr = struct.pack('QQ', 0, 1)\n\
                  fd = libc.syscall(444, attr, 16, 0)\n\
                  libc.prctl(38, 1, 0, 0, 0)\n\
                  if fd < 0 or libc.syscall(446, fd, 0): print('none'); raise SystemExit\n\
                  s = socket.socket()\n\
                  try: s.bind(('127.0.0.1', 8080)); print('bound')\n\
                  except OSError as error: print(error.errno)\n";
    for options in [&[][..], &["--keep", "8080"], &["--wait"]] {
        let ended = output(run(User::Root, options, &[PYTHON, "-c", source]));
        let printed = text(&ended.stdout);
        if printed == "none\n" {
            support::skip_for(support::Lacking {
                what: "Landlock is off on this machine",
                since: None,
            });
            return;
        }
        assert_eq!(printed, "13\n", "{}", text(&ended.stderr));
    }
}

#[test]
fn a_program_goes_on_when_run_is_killed_and_the_kernel_refuses_its_further_binds() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import os, socket, time\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()\n\
                  run = os.getppid()\n\
                  print('serving', flush=True)\n\
                  while os.getppid() == run: time.sleep(0.01)\n\
                  c, _ = s.accept(); c.close()\n\
                  try: socket.socket().bind(('127.0.0.1', 8081))\n\
                  except OSError as error: print(error.errno, flush=True)\n";
    for user in USERS {
        let mut running = Running::start(run(user, &["--reuseaddr"], &[PYTHON, "-c", source]));
        assert_eq!(running.line(), "serving\n");

        running.signal(Signal::KILL);

        wait_until_serving(SERVER);
        // ENOSYS
        assert_eq!(running.line(), "38\n");
        running.finish(None);
    }
}

#[test]
fn what_cannot_be_recorded_is_said_before_anything_starts() {
    let ended = support::run(&["run", "--json", "/no/such/file", "--", "echo", "started"]);

    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("/no/such/file") && said.contains("--json"),
        "{said}"
    );
    assert!(
        !said.contains("--record") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(text(&ended.stdout), "");
}
