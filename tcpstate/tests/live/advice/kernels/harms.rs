//! Harm that printed commands did once: each is first seen done by the line that
//! was printed then, and then not by those that are printed now.

use std::any::Any;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tcpstate::event::State;

use crate::advice::fault::{SERVER, Scenery, bind, python, set};
use crate::advice::{commands, paste};
use crate::elsewhere::Elsewhere;
use support::{Program, Watch, connection, count_listed, listener, on_stage};

/// What was printed for an established connection in the way.
const OLD_DESTROY: &str = "ss -Kt state established sport = :8080";
/// What was printed for an address that is not there.
const OLD_NONLOCAL: &str = "sysctl -w net.ipv4.ip_nonlocal_bind=1";

/// Five connections, without a listener, that have nothing to do with the fault.
fn five_connections(address: &str) -> Box<dyn Any + Send> {
    let listening = listener(address, true);
    let open: Vec<_> = (0..5).map(|_| connection(&listening, address)).collect();
    Box::new(open)
}

fn established() -> usize {
    count_listed(8080, State::Established)
}

/// Somebody without any privilege, in a user namespace of his own with a network of
/// its own: five connections are in the way, an address is not there, and he says
/// what becomes of his calls.
struct Nobody {
    child: Child,
    said: BufReader<ChildStdout>,
}

const NOBODY: &str = r#"
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 8080)); s.listen()
kept = []
for _ in range(5):
    c = socket.create_connection(("127.0.0.1", 8080)); kept.append((c, s.accept()[0]))
s.close()
print("ready", flush=True)
for line in sys.stdin:
    address, port = line.split()
    try: socket.socket().bind((address, int(port))); print("ok", flush=True)
    except OSError as error: print(error.errno, flush=True)
"#;

impl Nobody {
    fn start() -> Self {
        let mut child = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["unshare", "--user", "--map-root-user", "--net"])
            .args([python(), "-c", NOBODY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("setpriv runs");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut nobody = Self { child, said };
        assert_eq!(nobody.hear(), "ready");
        nobody
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it is text");
        line.trim().to_owned()
    }

    /// `ok`, or the error's number.
    fn bind(&mut self, address: &str, port: u16) -> String {
        let mut stdin = self.child.stdin.as_ref().expect("it is piped");
        writeln!(stdin, "{address} {port}").expect("it listens");
        self.hear()
    }

    fn netns(&self) -> u32 {
        let path = format!("/proc/{}/ns/net", self.child.id());
        let link = std::fs::read_link(path).expect("it runs");
        let link = link.to_string_lossy();
        let digits = link.trim_start_matches("net:[").trim_end_matches(']');
        digits.parse().expect("a number")
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The lines that do more than look.
fn acting(diagnosis: &Value) -> Vec<(String, String)> {
    commands(diagnosis)
        .into_iter()
        .filter(|(.., effect)| effect != "reads")
        .map(|(id, line, _)| (id, line))
        .collect()
}

#[test]
fn what_a_user_does_in_a_namespace_of_his_own_harms_nobody_in_ours() {
    if !on_stage(&[Program("ss", "iproute2"), Program("setpriv", "util-linux")]) {
        return;
    }
    // This is the host, where root pastes.
    set("ipv4/ip_local_reserved_ports", "9000-9010");
    let innocent = five_connections(SERVER);
    assert_eq!(established(), 5);
    assert!(paste(OLD_DESTROY).status.success());
    assert_eq!(established(), 0, "the harm");
    drop(innocent);
    assert!(paste(OLD_NONLOCAL).status.success());
    assert_eq!(bind("192.0.2.1:8080", false), Ok(()), "the harm");
    set("ipv4/ip_nonlocal_bind", "0");

    let _innocent = five_connections(SERVER);
    let before = Scenery::look();
    let mut nobody = Nobody::start();
    let mut watch = Watch::start_in(&nobody.netns().to_string(), &[]);
    for (address, port, errno) in [("127.0.0.1", 8080, "98"), ("192.0.2.1", 8081, "99")] {
        assert_eq!(nobody.bind(address, port), errno);
        let diagnosis = watch.diagnosis("bind", port);
        let acting = acting(&diagnosis);
        assert!(!acting.is_empty(), "{diagnosis}");
        for (id, line) in acting {
            let output = paste(&line);

            assert!(output.status.success(), "{id}: $ {line}: {output:?}");
            assert_eq!(established(), 5, "{id}: $ {line}");
            assert!(
                before.changed(&Scenery::look()).is_empty(),
                "{id}: $ {line}"
            );
        }
        assert_eq!(nobody.bind(address, port), "ok", "{diagnosis}");
    }
    watch.finish();
}

#[test]
fn a_line_for_our_own_namespace_does_nothing_in_another() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let holder = five_connections(SERVER);
    let _innocent = five_connections("127.0.0.2:8080");
    let other = Elsewhere::new();
    let _same = other.inside(|| five_connections(SERVER));
    let before = other.inside(Scenery::look);
    bind(SERVER, false).expect_err("it is held");
    let in_the_way = watch.diagnosis("bind", 8080);
    bind("192.0.2.1:8081", false).expect_err("it is nowhere");
    let not_there = watch.diagnosis("bind", 8081);

    let lines: Vec<_> = [&in_the_way, &not_there]
        .into_iter()
        .flat_map(acting)
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (id, line) in lines {
        let pasted = line.clone();
        let refused = other.inside(move || paste(&pasted));
        assert!(!refused.status.success(), "{id}: $ {line}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stdout);
        assert!(said.starts_with("not in netns "), "{id}: {said}");
        assert_eq!(other.inside(established), 5, "{id}: $ {line}");
        let now = other.inside(Scenery::look);
        assert!(before.changed(&now).is_empty(), "{id}: $ {line}");

        let done = paste(&line);
        assert!(done.status.success(), "{id}: $ {line}: {done:?}");
    }
    // The holder's five are gone, the innocent's on the other address are not.
    assert_eq!(established(), 5);
    assert_eq!(bind(SERVER, false), Ok(()));
    assert_eq!(bind("192.0.2.1:8081", false), Ok(()));
    assert!(paste(OLD_DESTROY).status.success());
    assert_eq!(established(), 0, "the harm: one port, another server");
    drop(holder);
    watch.finish();
}

/// The kernel gives a namespace's number to another one when it is gone: the line
/// finds that one, and leaves it alone.
#[test]
fn a_number_that_was_given_again_does_nothing() {
    if !on_stage(&[Program("sysctl", "procps")]) {
        return;
    }
    let first = Elsewhere::new();
    let mut watch = Watch::start_in(&first.inode.to_string(), &[]);
    first
        .inside(|| bind("192.0.2.1:8081", false))
        .expect_err("it is nowhere");
    let diagnosis = watch.diagnosis("bind", 8081);
    let [(_, line)] = <[_; 1]>::try_from(acting(&diagnosis)).expect("one line");
    let second = Elsewhere::new();
    // As it will be when the second has the number of the first.
    let given_again = line.replace(
        &format!(" {}.", first.inode),
        &format!(" {}.", second.inode),
    );
    assert_ne!(given_again, line);
    let is_set = |place: &Elsewhere| {
        place.inside(|| {
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind").expect("it is there")
        })
    };

    let refused = paste(&given_again);
    assert!(!refused.status.success(), "$ {given_again}: {refused:?}");
    assert_eq!([is_set(&first), is_set(&second)], ["0\n", "0\n"]);
    assert!(paste(&line).status.success(), "$ {line}");
    assert_eq!([is_set(&first), is_set(&second)], ["1\n", "0\n"]);

    watch.finish();
    drop(first);
    let gone = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let output = paste(&line);
        (!output.status.success()).then_some(output)
    });
    let gone = gone.expect("the namespace is gone");
    let said = String::from_utf8_lossy(&gone.stdout);
    assert!(said.starts_with("no netns "), "{gone:?}");
}
