//! A kept socket: nobody is refused while the program is started again.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use super::*;
use support::{on_stage, report_figures};

/// How a client fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Answered,
    Refused,
    /// Reset, or closed without an answer.
    CutOff,
    Other,
}

/// Clients that connect one after the other until they are told to end.
struct Clients {
    threads: Vec<std::thread::JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    fates: Arc<Mutex<BTreeMap<Fate, usize>>>,
    began_ns: u64,
}

impl Clients {
    fn start(addrs: &[&str], count: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let fates: Arc<Mutex<BTreeMap<Fate, usize>>> = Arc::default();
        let threads = (0..count)
            .map(|number| {
                let addr: SocketAddr = addrs[number % addrs.len()].parse().expect("an address");
                let (is_over, fates) = (Arc::clone(&is_over), Arc::clone(&fates));
                std::thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let fate = visit(addr);
                        *fates.lock().expect("not poisoned").entry(fate).or_default() += 1;
                    }
                })
            })
            .collect();
        Self {
            threads,
            is_over,
            fates,
            began_ns: clock::monotonic_ns(),
        }
    }

    /// Ends them; gives how they fared, and how many connected in a second.
    fn finish(self) -> (BTreeMap<Fate, usize>, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        let fates = self.fates.lock().expect("not poisoned").clone();
        let per_second =
            fates.values().sum::<usize>() as u128 * 1000 / since(self.began_ns).as_millis().max(1);
        (fates, usize::try_from(per_second).expect("a number"))
    }
}

fn visit(addr: SocketAddr) -> Fate {
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(20));
    let answer = stream.and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    match answer {
        Ok(answer) if answer.is_empty() => Fate::CutOff,
        Ok(_) => Fate::Answered,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Fate::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Fate::CutOff,
            _ => Fate::Other,
        },
    }
}

/// The program that `tcpstate run` runs now.
#[track_caller]
fn program_of(running: &Running) -> u32 {
    let pid = running.0.id();
    wait_until("the program runs", || !children(pid).is_empty());
    children(pid)[0]
}

#[track_caller]
fn restart(running: &Running, is_killed: bool) {
    let before = program_of(running);
    if is_killed {
        let pid = Pid::from_raw(i32::try_from(before).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it runs");
    } else {
        running.signal(Signal::HUP);
    }
    wait_until("another one runs", || {
        let now = children(running.0.id());
        !now.is_empty() && !now.contains(&before)
    });
}

const RESTARTS: usize = 20;

#[test]
fn nobody_is_refused_in_twenty_restarts_under_load() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // A port each: the server closes first, and leaves TIME_WAITs.
    for (user, port) in USERS.into_iter().zip(["8080", "8081"]) {
        let program = plain_server(&format!("0.0.0.0:{port}"));
        let options = ["--keep", port, "--respawn"];
        let running = Running::start(run(user, &options, &words(&program)));
        let server = format!("127.0.0.1:{port}");
        wait_until_serving(&server);
        let clients = Clients::start(&[&server], 8);

        for round in 0..RESTARTS {
            restart(&running, round % 2 == 1);
            std::thread::sleep(Duration::from_millis(100));
        }

        let (fates, per_second) = clients.finish();
        let (code, said) = running.finish(Some(Signal::TERM));
        report_figures(&format!(
            "run --keep: {RESTARTS} restarts as {user:?}, {per_second} connections/s, {fates:?}"
        ));
        assert_eq!(code, Some(143), "{said}");
        let count = |fate| fates.get(&fate).copied().unwrap_or(0);
        assert_eq!(
            (count(Fate::Refused), count(Fate::Other)),
            (0, 0),
            "{fates:?}"
        );
        // The server serves one at a time.
        assert!(count(Fate::CutOff) <= RESTARTS, "{fates:?}");
        assert!(
            per_second >= 500 || !is_real_time(),
            "{per_second} a second is no load"
        );
    }
}

#[test]
fn both_families_and_several_sockets_of_a_port_are_kept_in_their_order() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import os, selectors, socket\n\
                  def listen(family, address, n):\n\
                  \x20   s = socket.socket(family)\n\
                  \x20   s.setsockopt(1, 15, 1)\n\
                  \x20   if family == socket.AF_INET6: s.setsockopt(41, 26, 1)\n\
                  \x20   s.bind(address); s.listen(64); s.setblocking(False)\n\
                  \x20   return s\n\
                  ss = [listen(2, ('0.0.0.0', 8080), 0), listen(2, ('0.0.0.0', 8080), 1),\n\
                  \x20     listen(10, ('::', 8080), 2)]\n\
                  e = selectors.DefaultSelector()\n\
                  for s in ss: e.register(s, 1)\n\
                  while True:\n\
                  \x20   for key, _ in e.select():\n\
                  \x20       try: c, _ = key.fileobj.accept()\n\
                  \x20       except BlockingIOError: continue\n\
                  \x20       c.sendall(b'x'); c.close()\n";
    for user in USERS {
        let running = Running::start(run(user, &["--keep", "8080"], &[PYTHON, "-c", source]));
        wait_until_serving("[::1]:8080");
        let inodes = |running: &Running| open_sockets(program_of(running));
        // The connection that has shown it may not be closed yet.
        wait_until("its listeners alone are open", || {
            inodes(&running).len() == 3
        });
        let before = inodes(&running);
        let clients = Clients::start(&[SERVER, "[::1]:8080"], 4);

        for _ in 0..4 {
            restart(&running, false);
            wait_until("it has the same in the same order", || {
                inodes(&running) == before
            });
        }

        let (fates, _) = clients.finish();
        let (_, said) = running.finish(Some(Signal::TERM));
        assert_eq!(fates.get(&Fate::Refused), None, "{fates:?} {said}");
        assert_eq!(fates.get(&Fate::Other), None, "{fates:?} {said}");
        assert_eq!(said, "");
    }
}

/// Inodes of a process's TCP sockets in the order of their descriptors.
fn open_sockets(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/fd");
    let mut fds: Vec<u32> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    fds.sort_unstable();
    fds.into_iter()
        .filter_map(|fd| std::fs::read_link(format!("{folder}/{fd}")).ok())
        .filter_map(|link| link.to_str().map(str::to_owned))
        .filter(|link| link.starts_with("socket:"))
        .collect()
}

#[test]
fn a_program_that_asks_for_something_else_gets_its_own() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // The second start asks for another option, the third for another address.
    let source = "import os, socket\n\
                  path = os.environ['COUNT']\n\
                  n = os.path.getsize(path)\n\
                  open(path, 'a').write('x')\n\
                  s = socket.socket()\n\
                  if n >= 1: s.setsockopt(1, 2, 1)\n\
                  s.bind(('0.0.0.0' if n < 2 else '127.0.0.1', 8080))\n\
                  s.listen(8 + n)\n\
                  print(s.getsockname()[0], s.getsockopt(1, 2), flush=True)\n\
                  while True: s.accept()[0].close()\n";
    for user in USERS {
        let count = tempfile::NamedTempFile::new().expect("a file");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(count.path(), open).expect("it is ours");
        let mut command = run(user, &["--keep", "8080"], &[PYTHON, "-c", source]);
        command.env("COUNT", count.path());
        let mut running = Running::start(command);

        assert_eq!(running.line(), "0.0.0.0 0\n");
        restart(&running, false);
        assert_eq!(running.line(), "0.0.0.0 1\n");
        restart(&running, false);
        assert_eq!(running.line(), "127.0.0.1 1\n");

        let (_, said) = running.finish(Some(Signal::TERM));
        assert_eq!(
            said.matches("with other options or another address")
                .count(),
            2,
            "{said}"
        );
    }
}

#[test]
fn what_nobody_accepts_from_is_closed() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Serves no more after its first start.
    let source = "import os, socket, sys, time\n\
                  path = os.environ['COUNT']\n\
                  n = os.path.getsize(path)\n\
                  open(path, 'a').write('x')\n\
                  if n > 0: time.sleep(60)\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()\n\
                  print('serving', flush=True)\n\
                  time.sleep(60)\n";
    for user in USERS {
        let count = tempfile::NamedTempFile::new().expect("a file");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(count.path(), open).expect("it is ours");
        let options = ["--keep", "8080", "--keep-for", "2s"];
        let mut command = run(user, &options, &[PYTHON, "-c", source]);
        command.env("COUNT", count.path());
        let mut running = Running::start(command);
        assert_eq!(running.line(), "serving\n");
        std::thread::sleep(Duration::from_millis(2500));
        assert!(TcpStream::connect(SERVER).is_ok(), "a process has it open");

        restart(&running, false);
        let began_ns = clock::monotonic_ns();
        assert!(TcpStream::connect(SERVER).is_ok(), "it is kept for a while");
        wait_until("clients are refused", || {
            TcpStream::connect(SERVER).is_err()
        });

        assert!(since(began_ns) < Duration::from_secs(5));
        let (_, said) = running.finish(Some(Signal::TERM));
        assert!(
            said.contains("nobody accepts connections on 127.0.0.1:8080"),
            "{said}"
        );
    }
}

#[test]
fn a_program_that_closes_and_binds_again_while_it_runs_is_not_in_its_own_way() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let source = "import socket\n\
                  for n in range(5):\n\
                  \x20   s = socket.socket()\n\
                  \x20   if n == 3: s.setsockopt(1, 15, 1)\n\
                  \x20   s.bind(('127.0.0.1', 8080)); s.listen(); s.close()\n\
                  a = socket.socket(); a.bind(('127.0.0.1', 8080)); a.listen()\n\
                  b = socket.socket()\n\
                  try: b.bind(('127.0.0.1', 8080))\n\
                  except OSError as error: print(error.errno)\n";
    for user in USERS {
        let ended = output(run(user, &["--keep", "8080"], &[PYTHON, "-c", source]));
        assert_eq!(text(&ended.stdout), "98\n", "{}", text(&ended.stderr));
    }
}
