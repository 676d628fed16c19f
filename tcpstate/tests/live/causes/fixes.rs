//! The fixes do what they say: exact commands, run in the private namespace,
//! and the call that failed then works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use serde_json::Value;
use tcpstate::demo::namespace;
use tcpstate::event::State;

use super::stage::Actor;
use super::{SERVER, command, leave_time_wait, refused_bind, refused_bind_at};
use support::{
    DESTROYS_TIME_WAITS, Program, TCPSTATE, Watch, at, connection, drain, listener, on_stage,
    port_of, socket, try_bind, wait_for_time_wait, wait_until_gone,
};

/// Runs the command of a fix.
#[track_caller]
fn carry_out(diagnosis: &Value, id: &str) -> String {
    let command = command(diagnosis, id);
    let output = Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .output()
        .expect("sh is there");
    assert!(output.status.success(), "{command}: {output:?}");
    command
}

/// Something that holds the port, made before the eyes of the watch, and what
/// of it has to stay open.
type Hold = fn(&mut Watch) -> Vec<std::os::fd::OwnedFd>;

#[test]
fn destroying_frees_the_port_whatever_state_holds_it() {
    if !on_stage(&[DESTROYS_TIME_WAITS, Program("ss", "iproute2")]) {
        return;
    }
    let holds: [(&str, Hold); 4] = [
        ("time_wait_left_without_reuse", |_| {
            drop(leave_time_wait(false));
            Vec::new()
        }),
        ("closing", |watch| {
            let listening = listener(SERVER, false);
            let (server, client) = connection(&listening, SERVER);
            drop(server);
            watch.wait_for("the orphan", |event| event["mini"]["state"] == "fin_wait_2");
            vec![client]
        }),
        ("close_wait_leak", |_| {
            let listening = listener(SERVER, false);
            let (server, client) = connection(&listening, SERVER);
            drop(client);
            drain(&server);
            vec![server]
        }),
        ("established_leftover", |_| {
            let listening = listener(SERVER, false);
            let (server, client) = connection(&listening, SERVER);
            vec![server, client]
        }),
    ];
    for (cause, hold) in holds {
        let mut watch = Watch::start(&["--port", "8080"]);
        let held = hold(&mut watch);
        let diagnosis = refused_bind(&mut watch, true);
        assert_eq!(diagnosis["cause"], cause, "{diagnosis}");

        let command = carry_out(&diagnosis, "destroy_sockets");

        assert!(try_bind(SERVER, false).is_ok(), "{cause}: {command}");
        drop(held);
        watch.finish();
    }
}

#[test]
fn waiting_ends_when_the_port_is_free() {
    if !on_stage(&[Program("ss", "iproute2")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(false));
    let diagnosis = refused_bind(&mut watch, true);
    let wait = command(&diagnosis, "wait");
    assert!(
        wait.starts_with("tcpstate wait 8080 --addr 127.0.0.1 --reuseaddr --timeout 6"),
        "{wait}"
    );
    let wait = wait.replacen("tcpstate", TCPSTATE.path(), 1);

    let mut waiting = Command::new("sh")
        .args(["-c", &format!("exec {wait}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("sh is there");
    std::thread::sleep(Duration::from_secs(1));
    let too_early = waiting.try_wait().expect("it is our child");
    carry_out(&diagnosis, "destroy_sockets");
    let status = waiting.wait().expect("it is our child");

    assert!(too_early.is_none(), "{too_early:?}: the port was held");
    assert!(status.success(), "{status}");
    assert!(try_bind(SERVER, true).is_ok());
    watch.finish();
}

#[test]
fn a_reserved_port_is_left_alone_and_what_was_reserved_stays() {
    if !on_stage(&[Program("sysctl", "procps")]) {
        return;
    }
    let reserved = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    fs::write(reserved, "9000-9010").expect("the namespace is ours");
    namespace::set_local_port_range(8080, 8081).expect("the namespace is ours");
    let elsewhere = listener("127.0.0.1:5432", true);
    let mut watch = Watch::start(&[]);
    let connections: Vec<_> = (0..2)
        .map(|_| connection(&elsewhere, "127.0.0.1:5432"))
        .collect();
    let diagnosis = refused_bind(&mut watch, false);
    assert_eq!(diagnosis["cause"], "ephemeral_collision", "{diagnosis}");

    carry_out(&diagnosis, "reserve_port");

    let now = fs::read_to_string(reserved).expect("the namespace is ours");
    assert_eq!(now.trim(), "8080,9000-9010");
    for (_, client) in &connections {
        sockopt::set_socket_linger(client, Some(Duration::ZERO)).expect("open");
    }
    drop(connections);
    for port in [8080, 8081] {
        wait_until_gone(port, State::Established);
    }
    let (_server, client) = connection(&elsewhere, "127.0.0.1:5432");
    assert_eq!(port_of(&client), 8081);
    let second = socket(at(SERVER));
    assert_eq!(
        rustix::net::connect(&second, &at("127.0.0.1:5432")).expect_err("8080 is reserved"),
        Errno::ADDRNOTAVAIL
    );
    assert!(try_bind(SERVER, false).is_ok(), "bind may have it");
    watch.finish();
}

/// socat on port 80 as a user without capabilities; a program with file
/// capabilities may get them.
fn server_of_nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .args([program, "TCP-LISTEN:80,bind=127.0.0.1", "EXEC:true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn each_way_to_a_low_port_leads_there() {
    if !on_stage(&[Program("socat", "socat"), Program("setcap", "libcap2-bin")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let program = directory.path().join("server");
    let socat = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|path| path.join("socat"))
        .find(|path| path.exists())
        .expect("it was found before");
    // The capability goes first: the other way opens the port for everybody.
    for id in ["grant_capability", "lower_unprivileged_port_start"] {
        fs::copy(&socat, &program).expect("there is room");
        let program = program.to_str().expect("a temporary path is text");
        let mut watch = Watch::start(&["--port", "80"]);
        let refused = server_of_nobody(program).status().expect("setpriv runs");
        assert!(!refused.success());
        let diagnosis = watch.diagnosis("bind", 80);
        assert_eq!(diagnosis["cause"], "privileged_port", "{diagnosis}");
        let failed = watch.wait_for("the call", |event| event["seq"] == diagnosis["of"]);
        if id == "grant_capability" && failed["process"]["is_exe_here"] != true {
            // It was gone before its executable could be looked at; one that stays is
            // in the table of all advice.
            assert!(
                super::fix(&diagnosis, id)["command"].is_null(),
                "{diagnosis}"
            );
            continue;
        }

        carry_out(&diagnosis, id);

        let server = Actor::start(&mut server_of_nobody(program));
        watch.wait_for("the listen", |event| {
            event["event"] == "listen"
                && event["ok"] == true
                && event["process"]["pid"] == server.pid()
        });
        drop(server);
        watch.finish();
    }
}

#[test]
fn each_sysctl_that_is_advised_lets_the_call_through() {
    if !on_stage(&[Program("sysctl", "procps")]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    assert_eq!(
        try_bind("192.0.2.1:8080", false).expect_err("no such address here"),
        Errno::ADDRNOTAVAIL
    );
    carry_out(&watch.diagnosis("bind", 8080), "nonlocal_bind");
    assert!(try_bind("192.0.2.1:8080", false).is_ok());

    assert_eq!(
        try_bind("[2001:db8::1]:8081", false).expect_err("no such address here"),
        Errno::ADDRNOTAVAIL
    );
    carry_out(&watch.diagnosis("bind", 8081), "nonlocal_bind");
    assert!(try_bind("[2001:db8::1]:8081", false).is_ok());

    namespace::set_local_port_range(40_000, 40_000).expect("the namespace is ours");
    let _taken = try_bind("127.0.0.1:0", false).expect("one port is free");
    assert_eq!(
        try_bind("127.0.0.1:0", false).expect_err("none is left"),
        Errno::ADDRINUSE
    );
    carry_out(&watch.diagnosis("bind", 0), "widen_range");
    assert!(try_bind("127.0.0.1:0", false).is_ok());

    let both = listener("[::]:8082", true);
    let diagnosis = refused_bind_at(&mut watch, "0.0.0.0:8082", true);
    assert_eq!(diagnosis["cause"], "dual_stack", "{diagnosis}");
    carry_out(&diagnosis, "bindv6only");
    drop(both);
    let _only_ipv6 = listener("[::]:8082", true);
    assert!(try_bind("0.0.0.0:8082", true).is_ok());
    watch.finish();
}

#[test]
fn useless_advice_is_useless() {
    if !on_stage(&[Program("sysctl", "procps")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    drop(leave_time_wait(false));
    let diagnosis = refused_bind(&mut watch, true);

    for (id, setting) in [
        ("tcp_tw_reuse", "net.ipv4.tcp_tw_reuse=1"),
        ("tcp_fin_timeout", "net.ipv4.tcp_fin_timeout=1"),
    ] {
        assert_eq!(super::fix(&diagnosis, id)["applies"], "no");
        let set = Command::new("sysctl")
            .args(["-qw", setting])
            .status()
            .expect("sysctl runs");
        assert!(set.success());
    }
    assert_eq!(super::fix(&diagnosis, "tcp_tw_recycle")["applies"], "no");
    assert!(
        !std::path::Path::new("/proc/sys/net/ipv4/tcp_tw_recycle").exists(),
        "there is none"
    );
    std::thread::sleep(Duration::from_millis(1500));

    assert_eq!(
        try_bind(SERVER, true).expect_err("it is still there"),
        Errno::ADDRINUSE
    );
    watch.finish();
}

#[test]
fn a_connection_in_the_way_of_another_is_destroyed_alone() {
    if !on_stage(&[DESTROYS_TIME_WAITS, Program("ss", "iproute2")]) {
        return;
    }
    fs::write("/proc/sys/net/ipv4/tcp_timestamps", "0").expect("the namespace is ours");
    let fixed = "127.0.0.1:45000";
    let other = "127.0.0.1:8081";
    let listening = [listener(SERVER, true), listener(other, true)];
    let mut watch = Watch::start(&[]);
    for (listening, address) in listening.iter().zip([SERVER, other]) {
        let client = try_bind(fixed, true).expect("both set SO_REUSEADDR");
        rustix::net::connect(&client, &at(address)).expect("somebody listens");
        let server =
            rustix::net::accept_with(listening, SocketFlags::CLOEXEC).expect("a connection waits");
        drop(client);
        drain(&server);
    }
    wait_for_time_wait(45_000);
    let again = try_bind(fixed, true).expect("both set SO_REUSEADDR");
    assert_eq!(
        rustix::net::connect(&again, &at(SERVER)).expect_err("the pair is in TIME_WAIT"),
        Errno::ADDRNOTAVAIL
    );
    let diagnosis = watch.diagnosis("connect", 8080);

    carry_out(&diagnosis, "destroy_sockets");

    rustix::net::connect(&again, &at(SERVER)).expect("the pair is free");
    let kept = support::ss(&["state", "time-wait", "sport", "=", ":45000"]);
    assert_eq!(kept.len(), 1, "the other one was let alone: {kept:?}");
    watch.finish();
}
