//! Network namespaces: each has its own ports, they come and go, and they can
//! be named in many ways.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tcpstate::clock;
use tcpstate::demo::namespace;
use tcpstate::snapshot::netns::has_handles;

use crate::elsewhere::{Elsewhere, Mounted};
use support::{
    Program, TCPSTATE, Watch, connection, drain, listener, listing, on_stage, run, try_bind,
};

/// Leaves one TIME_WAIT on the server's side in the calling thread's namespace.
fn leave_time_wait(port: u16) {
    let address = format!("127.0.0.1:{port}");
    let listening = listener(&address, true);
    let (server, client) = connection(&listening, &address);
    drop(server);
    drain(&client);
    drop(client);
}

/// An event about a socket in a namespace with this port on its side.
fn is_at(event: &Value, name: &str, inode: u32, port: u16) -> bool {
    event["event"] == name && event["sock"]["netns"] == inode && event["local"]["port"] == port
}

fn open_files(watch: &Watch) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", watch.pid()))
        .expect("it runs")
        .count()
}

#[test]
fn a_namespace_that_ends_takes_its_time_waits_along() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start_in("all", &["--port", "9300-9320"]);
    let files = open_files(&watch);

    for port in 9300..9306 {
        let elsewhere = Elsewhere::new();
        let inode = elsewhere.inode;
        elsewhere.inside(move || leave_time_wait(port));
        watch.wait_for("the TIME_WAIT", |event| {
            is_at(event, "tcp.time_wait.enter", inode, port)
        });
        drop(elsewhere);
        let exit = watch.wait_for("its end", |event| {
            is_at(event, "tcp.time_wait.exit", inode, port)
        });

        // Long before its minute is over, however slow the machine.
        assert!(
            exit["lived_ms"].as_u64().is_some_and(|ms| ms < 30_000),
            "{exit}"
        );
        // It was destroyed. Whether the namespace could be found while it was there is
        // a matter of luck: if not, that cannot be told.
        assert!(
            exit["reason"] == "unknown" || exit["reason"] == "destroyed",
            "{exit}"
        );
    }

    // Some are open for a moment, while a list is read.
    let deadline_ns = clock::monotonic_ns() + 10_000_000_000;
    while open_files(&watch) > files + 1 {
        assert!(
            clock::monotonic_ns() < deadline_ns,
            "descriptors pile up: {files} -> {}",
            open_files(&watch)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    watch.finish();
}

#[test]
fn the_end_of_a_namespace_that_was_found_is_certain() {
    if !on_stage(&[Program("mount", "mount")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let mut watch = Watch::start_in("all", &["--port", "9310"]);
    let elsewhere = Elsewhere::new();
    let inode = elsewhere.inode;
    let mounted = elsewhere.mount_at(&directory.path().join("netns"));
    elsewhere.inside(|| leave_time_wait(9310));
    watch.wait_for("the TIME_WAIT", |event| {
        is_at(event, "tcp.time_wait.enter", inode, 9310)
    });
    // It lives on without a process, reachable through the mount.
    drop(elsewhere);
    std::thread::sleep(Duration::from_millis(1500));
    drop(mounted);

    let exit = watch.wait_for("its end", |event| {
        is_at(event, "tcp.time_wait.exit", inode, 9310)
    });

    // It was destroyed. A handle to the namespace or a function hook tells so for certain;
    // so does another namespace with its number, which another test may have made.
    let is_certain = has_handles() || exit["source"] == "kernel";
    assert!(
        exit["reason"] == "destroyed" || (!is_certain && exit["reason"] == "unknown"),
        "{exit}"
    );
    assert!(
        exit["lived_ms"].as_u64().is_some_and(|ms| ms >= 1_400),
        "as long as the mount was there: {exit}"
    );
    watch.finish();
}

/// Listens, fails to bind a second time, and is gone.
const HASTY: &str = "
import errno, socket, sys
a = socket.socket(); a.bind(('127.0.0.1', 9311)); a.listen()
b = socket.socket()
try: b.bind(('127.0.0.1', 9311))
except OSError as e: sys.exit(0 if e.errno == errno.EADDRINUSE else 1)
sys.exit(1)
";

#[test]
fn processes_that_exit_at_once_are_explained_by_their_own_namespace_alone() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    // The same port is listened on in the test's own namespace, too.
    let _here = listener("127.0.0.1:9311", false);
    let mut watch = Watch::start_in("all", &["--port", "9311"]);

    let hasty: Vec<_> = (0..12)
        .map(|_| {
            Command::new("unshare")
                .args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
                .args(["python3", "-c", HASTY])
                .spawn()
                .expect("unshare is part of util-linux")
        })
        .collect();
    let pids: Vec<u32> = hasty.iter().map(std::process::Child::id).collect();
    for mut child in hasty {
        assert!(child.wait().expect("it ends").success(), "EADDRINUSE");
    }

    // Where the kernel preempts programs in the midst of their work some are lost, and counted.
    let lost = |events: &[Value]| -> u64 {
        let losses = events.iter().filter(|event| event["event"] == "loss");
        losses.filter_map(|loss| loss["count"].as_u64()).sum()
    };
    let told = |events: &[Value]| -> Vec<(u32, Value)> {
        let refused = |pid: u32| {
            let is_it = |event: &&Value| {
                event["event"] == "bind" && event["ok"] == false && event["process"]["pid"] == pid
            };
            events.iter().find(is_it).cloned()
        };
        pids.iter()
            .filter_map(|pid| Some((*pid, refused(*pid)?)))
            .collect()
    };
    watch.read_until(|events| told(events).len() as u64 + lost(events) >= pids.len() as u64);
    let events = watch.finish();

    let told = told(&events);
    assert!(!told.is_empty(), "{}", listing(&events));
    assert!(
        told.len() == pids.len() || lost(&events) > 0,
        "{}",
        listing(&events)
    );
    for (pid, failed) in told {
        let diagnosis = events
            .iter()
            .find(|event| event["event"] == "diagnosis" && event["of"] == failed["seq"])
            .unwrap_or_else(|| panic!("no diagnosis: {}", listing(&events)));
        assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
        let holders = diagnosis["holders"].as_array().expect("a list");
        assert_eq!(holders.len(), 1, "{diagnosis}");
        assert_eq!(holders[0]["sock"]["netns"], failed["sock"]["netns"]);
        assert_eq!(failed["process"]["comm"], "python3", "{failed}");
        // What made the holder known may be among what was lost; then that is said.
        let missing = diagnosis["missing"].as_array().expect("a list");
        let is_lossy = |why: &Value| why.as_str().is_some_and(|why| why.contains("were lost"));
        if missing.iter().any(is_lossy) {
            assert!(lost(&events) > 0, "{diagnosis}");
            let holder = &holders[0]["process"]["pid"];
            assert!(holder.is_null() || *holder == pid, "{diagnosis}");
        } else {
            assert_eq!(diagnosis["certainty"], "proven", "{diagnosis}");
            assert_eq!(holders[0]["process"]["pid"], pid, "{diagnosis}");
        }
    }
}

#[test]
fn conflicts_do_not_cross_namespaces() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start_in("all", &["--port", "9312"]);
    let (one, other) = (Elsewhere::new(), Elsewhere::new());
    let sockets: Vec<_> = [&one, &other]
        .map(|namespace| namespace.inside(|| listener("127.0.0.1:9312", true)))
        .into();

    // The kernel lets both listen, and each stands only in the way of its own.
    for namespace in [&one, &other] {
        let inode = namespace.inode;
        assert!(namespace.inside(|| try_bind("127.0.0.1:9312", true).is_err()));
        let failed = watch.wait_for("the failed bind", |event| {
            event["event"] == "bind" && event["ok"] == false && event["sock"]["netns"] == inode
        });
        let diagnosis = watch.wait_for("its diagnosis", |event| {
            event["event"] == "diagnosis" && event["of"] == failed["seq"]
        });
        let holders = diagnosis["holders"].as_array().expect("a list");
        assert_eq!(holders.len(), 1, "{diagnosis}");
        assert_eq!(holders[0]["sock"]["netns"], inode, "{diagnosis}");
    }
    drop(sockets);
    watch.finish();
}

/// Fails to bind in the namespace at a path, and is gone.
const FAILS_THERE: &str = "
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
if libc.setns(os.open(sys.argv[1], os.O_RDONLY), 0x40000000): sys.exit(2)
b = socket.socket()
try: b.bind(('127.0.0.1', 9313))
except OSError: os._exit(0)
os._exit(1)
";

#[test]
fn settings_are_read_in_the_namespace_of_a_process_that_is_gone() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("with a space");
    let elsewhere = Elsewhere::new();
    let mounted = elsewhere.mount_at(&path);
    let inode = elsewhere.inode;
    let socket = elsewhere.inside(|| {
        namespace::set_local_port_range(20_000, 20_100).expect("the namespace is ours");
        listener("127.0.0.1:9313", true)
    });
    let mut watch = Watch::start_in("all", &["--port", "9313"]);
    // From now on only the mount and the listener refer to it.
    drop(elsewhere);

    let status = Command::new("python3")
        .args(["-c", FAILS_THERE])
        .arg(&path)
        .status()
        .expect("python3 starts");

    assert!(status.success(), "EADDRINUSE");
    let failed = watch.wait_for("the failed bind", |event| {
        event["event"] == "bind" && event["ok"] == false
    });
    assert_eq!(failed["sock"]["netns"], inode);
    assert_eq!(
        failed["sysctls"]["ip_local_port_range"],
        serde_json::json!([20_000, 20_100]),
        "{failed}"
    );
    drop((socket, mounted));
    watch.finish();
}

#[test]
fn sockets_from_before_are_found_in_namespaces_without_a_process() {
    if !on_stage(&[Program("mount", "mount")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let elsewhere = Elsewhere::new();
    let mounted = elsewhere.mount_at(&directory.path().join("netns"));
    let inode = elsewhere.inode;
    elsewhere.inside(|| leave_time_wait(9314));
    drop(elsewhere);

    let mut watch = Watch::start_in("all", &["--port", "9314"]);
    let seen = watch.wait_for("the TIME_WAIT", |event| is_at(event, "socket", inode, 9314));

    assert_eq!(seen["state"], "time_wait");
    drop(mounted);
    watch.finish();
}

/// Keeps a namespace in a view of the file system of its own, where nobody
/// else sees the mount.
const HIDDEN: &str = "mount -t tmpfs none \"$1\" && : > \"$1/netns\" && \
    unshare --net sh -c 'mount --bind /proc/$$/ns/net \"$1/netns\"; readlink /proc/$$/ns/net' sh \"$1\"; \
    echo done; read line";

#[test]
fn a_namespace_can_be_named_in_every_way_there_is() {
    if !on_stage(&[Program("ip", "iproute2")]) {
        return;
    }
    let name = format!("tcpstate-test-{}", std::process::id());
    let ip = |verb: &str| Command::new("ip").args(["netns", verb, &name]).status();
    assert!(ip("add").expect("ip runs").success());
    let named = Mounted(PathBuf::from(format!("/run/netns/{name}")));
    let inode =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&named.0).expect("just made"));
    let short = ["--duration", "100ms"];
    let filtered = |netns: &str| {
        let output = run(&[&["watch", "--json", "--netns", netns], &short[..]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{netns}: {output:?}");
        let header: Value =
            serde_json::from_str(text.lines().next().expect("a header")).expect("JSON");
        header["filters"]["netns"].clone()
    };

    assert_eq!(filtered(&name), inode);
    assert_eq!(filtered(&format!("/run/netns/{name}")), inode);
    assert_eq!(filtered(&inode.to_string()), inode);
    assert_eq!(filtered("all"), Value::Null);
    assert_eq!(
        filtered("self"),
        namespace::current_inode().expect("there is one")
    );
    drop(named);
    assert!(ip("delete").expect("ip runs").success());

    // Once more in a place that only one process can see.
    let directory = tempfile::tempdir().expect("there is room");
    let mut keeper = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HIDDEN,
            "sh",
        ])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare is part of util-linux");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        keeper.stdout.take().expect("piped"),
    ));
    let link = lines.next().expect("a link").expect("text");
    let hidden = link.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    assert_eq!(lines.next().expect("done").expect("text"), "done");
    assert!(!directory.path().join("netns").exists(), "hidden from us");

    let found = filtered(&hidden);
    drop(keeper.stdin.take());
    let _ = keeper.wait();
    assert_eq!(found, hidden.parse::<u64>().expect("a number"));
}

/// Holds a port twice, or nearly.
const TAKEN_IN_A_NAMED: &str = "
import socket
s = socket.socket(); s.bind(('0.0.0.0', 8080)); s.listen()
try: socket.socket().bind(('0.0.0.0', 8080))
except OSError: pass
";

#[test]
fn a_call_in_a_namespace_with_a_name_is_told_with_it() {
    if !on_stage(&[Program("ip", "iproute2"), Program("python3", "python3")]) {
        return;
    }
    let name = format!("tcpstate-test-{}.a", std::process::id());
    let ip = |arguments: &[&str]| Command::new("ip").arg("netns").args(arguments).status();
    assert!(ip(&["add", &name]).expect("ip runs").success());
    let named = Mounted(PathBuf::from(format!("/run/netns/{name}")));
    let inode =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&named.0).expect("just made"));
    let unnamed = Elsewhere::new();
    let mut watch = Watch::start_in("all", &["--port", "8080"]);

    let ran = ip(&["exec", &name, "python3", "-c", TAKEN_IN_A_NAMED]);
    assert!(ran.expect("ip runs").success());
    unnamed.inside(|| {
        let _listening = listener("127.0.0.1:8080", false);
        assert!(try_bind("127.0.0.1:8080", false).is_err());
    });
    let _listening = listener("127.0.0.1:8080", false);
    assert!(try_bind("127.0.0.1:8080", false).is_err());

    let mut name_in = |inode: u64| {
        let failed = watch.wait_for("the failed bind", |event| {
            event["event"] == "bind" && event["ok"] == false && event["sock"]["netns"] == inode
        });
        failed["netns_name"].clone()
    };
    assert_eq!(name_in(inode), name);
    assert_eq!(name_in(unnamed.inode.into()), Value::Null);
    let own = namespace::current_inode().expect("there is one");
    assert_eq!(name_in(own.into()), Value::Null);
    watch.finish();
    drop(named);
    assert!(ip(&["delete", &name]).expect("ip runs").success());
}

#[test]
fn what_names_no_namespace_is_refused_in_one_sentence() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("there is room");
    let file = file.to_str().expect("text");
    let cases = [
        (
            "no-such-name",
            "there is no network namespace `no-such-name`",
        ),
        ("", "there is no network namespace ``"),
        ("1", "there is no network namespace `1`"),
        ("99999999999999", "there is no network namespace"),
        (
            "/no/such/path",
            "cannot open the network namespace /no/such/path",
        ),
        ("/proc/self/ns/mnt", "is not a network namespace"),
        ("..", "there is no network namespace `..`"),
        (file, "is not a network namespace"),
    ];

    for (netns, expected) in cases {
        let output = Command::new(TCPSTATE)
            .args(["watch", "--json", "--netns", netns, "--duration", "10ms"])
            .output()
            .expect("tcpstate starts");
        let message = String::from_utf8_lossy(&output.stderr);

        assert_eq!(output.status.code(), Some(2), "{netns}: {output:?}");
        assert!(message.contains(expected), "{netns}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
}

#[test]
fn a_namespace_that_is_made_while_watching_is_watched() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start_in("all", &["--port", "9315"]);
    let elsewhere = Elsewhere::new();
    let inode = elsewhere.inode;

    let kept = elsewhere.inside(|| {
        let listening = listener("127.0.0.1:9315", true);
        let pair = connection(&listening, "127.0.0.1:9315");
        (listening, pair)
    });
    watch.wait_for("the connection", |event| {
        event["new"] == "established" && event["sock"]["netns"] == inode
    });
    drop(kept);
    drop(elsewhere);

    let events = watch.finish();
    assert!(
        events
            .iter()
            .all(|event| event["event"] != "loss" || event["count"] == 0),
        "{}",
        listing(&events)
    );
}

#[test]
fn a_namespace_with_the_number_of_one_that_ended_is_no_restart_of_it() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start_in("all", &["--port", "9316"]);
    let mut inodes = Vec::new();
    for _ in 0..20 {
        let elsewhere = Elsewhere::new();
        inodes.push(elsewhere.inode);
        drop(elsewhere.inside(|| listener("127.0.0.1:9316", true)));
        drop(elsewhere);
        std::thread::sleep(Duration::from_millis(30));
    }
    watch.wait_for("a tick", |event| event["event"] == "tick");

    let events = watch.finish();
    inodes.sort_unstable();
    let all = inodes.len();
    inodes.dedup();
    assert!(inodes.len() < all, "the kernel gives numbers again");
    let restarts = events.iter().filter(|event| event["event"] == "restart");
    assert_eq!(restarts.count(), 0, "{}", listing(&events));
}
