//! One way for a port to be held, in a network namespace, with bystanders.

use std::any::Any;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::elsewhere::Elsewhere;
use support::{at, connection, drain, listener, try_bind, wait_for_time_wait};

pub(super) const SERVER: &str = "127.0.0.1:8080";
/// A server on the same port that has nothing to do with it.
const INNOCENT: &str = "127.0.0.2:8080";
/// An outgoing connection that has the local port of the one in the way.
const INNOCENT_CLIENT: &str = "127.0.0.3:8083";

/// What a stage keeps open.
pub(crate) type Kept = Box<dyn Any + Send>;

/// One way for a call to fail.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub(super) cause: &'static str,
    /// What tells it from others of the same cause.
    pub(super) kind: &'static str,
    pub(super) call: &'static str,
    /// The port that the call asks for.
    pub(super) port: u16,
    /// Puts what stands in the way on the stage.
    pub(super) hold: fn() -> Kept,
    /// The call. It is made again to see whether it works now.
    pub(super) call_again: fn() -> Result<(), Errno>,
}

/// Sockets and settings of the calling thread's namespace that nobody is to touch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scenery {
    sockets: Vec<String>,
    settings: Vec<(&'static str, String)>,
}

/// What the advice changes where it belongs.
const SETTINGS: [&str; 8] = [
    "ipv6/conf/all/disable_ipv6",
    "ipv4/ip_local_reserved_ports",
    "ipv4/ip_local_port_range",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/ip_nonlocal_bind",
    "ipv6/ip_nonlocal_bind",
    "ipv6/bindv6only",
    "ipv4/tcp_tw_reuse",
];

impl Scenery {
    /// Everything, as it is: of sockets those of the innocent server.
    pub(super) fn look() -> Self {
        let mut sockets: Vec<String> = support::ss(&[])
            .into_iter()
            .filter(|line| line.contains(INNOCENT) || line.contains(INNOCENT_CLIENT))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        sockets.sort();
        let read = |name: &&'static str| {
            let path = format!("/proc/sys/net/{name}");
            (*name, fs::read_to_string(path).unwrap_or_default())
        };
        Self {
            sockets,
            settings: SETTINGS.iter().map(read).collect(),
        }
    }

    /// The settings that another look found changed.
    pub(super) fn changed(&self, now: &Self) -> Vec<&'static str> {
        self.settings
            .iter()
            .zip(&now.settings)
            .filter(|(before, now)| before != now)
            .map(|(before, _)| before.0)
            .collect()
    }

    pub(super) fn has_the_sockets_of(&self, other: &Self) -> bool {
        self.sockets == other.sockets
    }
}

/// An innocent server in the calling thread's namespace: a listener with two
/// connections and a TIME_WAIT, on the port of the fault and another address.
pub(super) fn bystanders() -> Kept {
    let listening = listener(INNOCENT, true);
    let open = [
        connection(&listening, INNOCENT),
        connection(&listening, INNOCENT),
    ];
    let (server, client) = connection(&listening, INNOCENT);
    drop(server);
    drain(&client);
    drop(client);
    wait_for_time_wait(8080);
    Box::new((listening, open))
}

/// A namespace with bystanders in it.
pub(super) fn with_bystanders() -> (Elsewhere, Kept) {
    let place = Elsewhere::new();
    let kept = place.inside(bystanders);
    (place, kept)
}

/// A process that holds the port in one of several ways, ended with its group.
pub(super) struct Holding(Child);

const HOLDER: &str = r#"
import os, socket, subprocess, sys, time
kind, port = sys.argv[1], int(sys.argv[2])
def bound(family=socket.AF_INET, addr="127.0.0.1", options=()):
    s = socket.socket(family)
    for option in options: s.setsockopt(*option)
    s.bind((addr, port))
    return s
def pair():
    s = bound(options=[(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]); s.listen()
    c = socket.create_connection(("127.0.0.1", port)); a, _ = s.accept(); s.close()
    return c, a
if kind == "listener":
    s = bound(); s.listen()
elif kind == "reuseport":
    s = bound(options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]); s.listen()
elif kind == "dual_stack":
    s = bound(socket.AF_INET6, "::", [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)]); s.listen()
elif kind == "bound":
    s = bound()
elif kind == "close_wait":
    c, a = pair(); c.close()
elif kind == "established":
    c, a = pair()
elif kind == "outgoing":
    s = socket.socket(); s.bind(("127.0.0.9", 5432)); s.listen()
    c = socket.create_connection(("127.0.0.9", 5432)); a, _ = s.accept()
elif kind == "inherited":
    s = bound(); s.listen(); s.set_inheritable(True)
    subprocess.Popen(["sleep", "120"], close_fds=False, stdout=subprocess.DEVNULL)
    print("ready", flush=True); sys.exit()
print("ready", flush=True)
time.sleep(120)
"#;

/// The interpreter that every user may run, and not a wrapper that another process
/// runs behind.
pub(super) fn python() -> &'static str {
    const DEBIANS: &str = "/usr/bin/python3";
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        if std::path::Path::new(DEBIANS).exists() {
            return DEBIANS.to_owned();
        }
        let output = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("python3 runs");
        String::from_utf8(output.stdout)
            .expect("a path")
            .trim()
            .to_owned()
    })
}

impl Holding {
    /// Starts it in the calling thread's namespace, and returns once it holds it.
    pub(super) fn start(kind: &str, port: u16) -> Self {
        let mut child = Command::new(python())
            .args(["-c", HOLDER, kind, &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says when it is ready");
        assert_eq!(line, "ready\n", "{kind}");
        let mut holding = Self(child);
        if kind == "inherited" {
            holding.0.wait().expect("it is our child");
        }
        holding
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Binds and lets go again.
pub(super) fn bind(address: &str, reuseaddr: bool) -> Result<(), Errno> {
    try_bind(address, reuseaddr).map(drop)
}

pub(super) fn leave_time_wait(reuseaddr: bool) -> Kept {
    let listening = listener(SERVER, reuseaddr);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drain(&client);
    drop(client);
    drop(listening);
    Box::new(())
}

/// Writes a setting of the calling thread's namespace.
pub(super) fn set(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).expect("the namespace is ours");
}

/// An outgoing connection that took port 8083 of another address.
pub(super) fn innocent_client() -> Kept {
    let elsewhere = listener("127.0.0.10:5432", true);
    let client = try_bind(INNOCENT_CLIENT, false).expect("it is free");
    rustix::net::connect(&client, &at("127.0.0.10:5432")).expect("somebody listens");
    Box::new((elsewhere, client))
}
