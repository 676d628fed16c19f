//! What a thread of the churn does. An act that finds nothing to act on does
//! nothing.

use std::process::{Command, Stdio};

use rustix::net::{SendFlags, Shutdown, connect_unspec, send, shutdown, sockopt};

use super::ends::{
    accept, die_of_silence, fill, free_socket, linger, listen, local_of, pair, take_in, tcp_option,
};
use super::worker::Worker;
use support::at;

/// How often, called what, does what.
type Act = (usize, &'static str, fn(&mut Worker));

pub(super) const ACTS: &[Act] = &[
    (300, "open", open),
    (40, "open and leave unaccepted", open_unaccepted),
    (40, "open from a fixed port", open_from_a_fixed_port),
    (60, "accept what waits", accept_what_waits),
    (120, "half-close", half_close),
    (20, "shut both ways", shut_both_ways),
    (120, "send", send_some),
    (80, "read", read_some),
    (300, "close", close),
    (40, "reset", reset),
    (20, "linger", close_with_linger),
    (20, "no linger in FIN_WAIT_2", close_without_fin_wait_2),
    (20, "close with unread data", close_with_unread_data),
    (10, "close both at once", close_both_at_once),
    (30, "connect to a closed port", connect_to_a_closed_port),
    (
        10,
        "listener closed with children",
        close_listener_with_children,
    ),
    (10, "late data", late_data),
    (10, "data to an orphan", data_to_an_orphan),
    (10, "reconnect", reconnect),
    (10, "bind only", bind_only),
    (4, "held by a process that is killed", hold_in_a_child),
    (2, "destroy", destroy),
    (2, "destroy TIME_WAITs", destroy_time_waits),
    (2, "silence", fall_silent),
    (2, "no room for TIME_WAITs", leave_no_room_for_time_waits),
];

fn open(worker: &mut Worker) {
    let address = worker.some_address();
    let Some(client) = worker.connect(free_socket(address), address) else {
        return;
    };
    worker.ends.push(client);
    accept_what_waits(worker);
}

fn open_unaccepted(worker: &mut Worker) {
    let address = worker.some_address();
    if let Some(client) = worker.connect(free_socket(address), address) {
        worker.ends.push(client);
    }
}

/// The same pair of addresses comes back soon: over TIME_WAITs of either side.
fn open_from_a_fixed_port(worker: &mut Worker) {
    let address = worker.some_address();
    let socket = free_socket(address);
    sockopt::set_socket_reuseaddr(&socket, true).expect("open");
    let port = 20_000
        + 100 * u16::from(worker.number)
        + u16::try_from(worker.random.below(20)).expect("small");
    let mut own = address;
    own.set_port(port);
    if rustix::net::bind(&socket, &own).is_err() {
        return;
    }
    if let Some(client) = worker.connect(socket, address) {
        worker.ends.push(client);
        accept_what_waits(worker);
    }
}

fn accept_what_waits(worker: &mut Worker) {
    for (listener, _) in &worker.listeners {
        worker.ends.extend(accept(listener));
    }
}

fn half_close(worker: &mut Worker) {
    worker.with_end(|end| {
        let _ = shutdown(end, Shutdown::Write);
    });
}

fn shut_both_ways(worker: &mut Worker) {
    worker.with_end(|end| {
        let _ = shutdown(end, Shutdown::Both);
    });
}

fn send_some(worker: &mut Worker) {
    worker.with_end(|end| {
        let _ = send(end, b"some bytes", SendFlags::NOSIGNAL);
    });
}

fn read_some(worker: &mut Worker) {
    worker.with_end(take_in);
}

fn close(worker: &mut Worker) {
    worker.take_end();
}

fn reset(worker: &mut Worker) {
    if let Some(end) = worker.take_end() {
        linger(&end, 0);
    }
}

fn close_with_linger(worker: &mut Worker) {
    if let Some(end) = worker.take_end() {
        let _ = send(&end, b"last words", SendFlags::NOSIGNAL);
        linger(&end, 1);
    }
}

fn close_without_fin_wait_2(worker: &mut Worker) {
    let seconds = if worker.random.is_one_in(2) { -1 } else { 1 };
    if let Some(end) = worker.take_end() {
        tcp_option(&end, libc::TCP_LINGER2, seconds);
    }
}

fn close_with_unread_data(worker: &mut Worker) {
    let Some((server, client)) = own_pair(worker) else {
        return;
    };
    let _ = send(&client, b"never read", SendFlags::NOSIGNAL);
    drop(server);
    worker.ends.push(client);
}

/// Each FIN waits behind data, so that they cross when both sides read.
fn close_both_at_once(worker: &mut Worker) {
    let Some((server, client)) = own_pair(worker) else {
        return;
    };
    for end in [&server, &client] {
        fill(end);
        let _ = shutdown(end, Shutdown::Write);
    }
    for _ in 0..50 {
        take_in(&server);
        take_in(&client);
    }
    if worker.random.is_one_in(2) {
        worker.ends.extend([server, client]);
    }
}

fn connect_to_a_closed_port(worker: &mut Worker) {
    let address = if worker.random.is_one_in(2) {
        at("127.0.0.1:7")
    } else {
        at("[::1]:7")
    };
    worker.connect(free_socket(address), address);
}

fn close_listener_with_children(worker: &mut Worker) {
    let address = format!("127.0.0.1:{}", 30_000 + worker.next_own());
    let Some(listener) = listen(&address, true, 8) else {
        return;
    };
    for _ in 0..3 {
        let client = worker.connect(free_socket(at(&address)), at(&address));
        worker.ends.extend(client);
    }
    drop(listener);
}

/// One side wants to hear nothing more, and the other one speaks.
fn late_data(worker: &mut Worker) {
    let Some((server, client)) = own_pair(worker) else {
        return;
    };
    let _ = shutdown(&server, Shutdown::Both);
    let _ = send(&client, b"too late", SendFlags::NOSIGNAL);
    worker.ends.extend([server, client]);
}

fn data_to_an_orphan(worker: &mut Worker) {
    let Some((server, client)) = own_pair(worker) else {
        return;
    };
    drop(server);
    let _ = send(&client, b"too late", SendFlags::NOSIGNAL);
    worker.ends.push(client);
}

/// A socket's second life, under the cookie of its first.
fn reconnect(worker: &mut Worker) {
    let Some(end) = worker.take_end() else {
        return;
    };
    let _ = connect_unspec(&end);
    let address = worker.some_address();
    if let Some(client) = worker.connect(end, address) {
        worker.ends.push(client);
    }
}

fn bind_only(worker: &mut Worker) {
    let address = at(&format!("127.0.0.1:{}", 30_000 + worker.next_own()));
    let socket = free_socket(address);
    if rustix::net::bind(&socket, &address).is_ok() {
        worker.ends.push(socket);
    }
}

fn hold_in_a_child(worker: &mut Worker) {
    let mut command = Command::new("sleep");
    command.arg("600").stderr(Stdio::null());
    if let Some(end) = worker.take_end() {
        command.stdin(end);
    }
    if let Some(end) = worker.take_end() {
        command.stdout(end);
    }
    worker.children.push(command.spawn().expect("sleep starts"));
}

fn destroy(worker: &mut Worker) {
    let mut port = 0;
    worker.with_end(|end| port = local_of(end).map_or(0, |address| address.port()));
    if port != 0 {
        ss_kill(&["state", "all", &format!("sport = :{port}")]);
    }
}

fn destroy_time_waits(worker: &mut Worker) {
    let port = worker.some_address().port();
    ss_kill(&["state", "time-wait", &format!("sport = :{port}")]);
}

fn ss_kill(filter: &[&str]) {
    let _ = Command::new("ss")
        .arg("-Ktn")
        .args(filter)
        .stdin(Stdio::null())
        .output()
        .expect("ss runs");
}

/// No packet comes through any more: the route is taken away.
fn fall_silent(worker: &mut Worker) {
    let fresh = worker.next_fresh() % 200 + 1;
    let host = format!("127.9.{}.{fresh}", worker.number);
    let Some((server, client)) = pair(&format!("{host}:8080")) else {
        return;
    };
    worker.connections += 1;
    die_of_silence(&server);
    sockopt::set_tcp_user_timeout(&client, 1_000).expect("open");
    let is_silent = Command::new("ip")
        .args(["route", "replace", "blackhole", &host, "table", "local"])
        .status()
        .is_ok_and(|status| status.success());
    assert!(is_silent, "ip takes the route away");
    let _ = send(&client, b"anybody there?", SendFlags::NOSIGNAL);
    // Whose packets nobody gets stays in SYN_SENT or LAST_ACK for a while.
    let address = at(&format!("{host}:8080"));
    let lost = worker.connect(free_socket(address), address);
    worker.ends.extend(lost);
    worker.ends.extend([server, client]);
}

fn leave_no_room_for_time_waits(worker: &mut Worker) {
    const SETTING: &str = "/proc/sys/net/ipv4/tcp_max_tw_buckets";
    let before = std::fs::read_to_string(SETTING).expect("Linux");
    std::fs::write(SETTING, "0").expect("the namespace is ours");
    for _ in 0..5 {
        close(worker);
    }
    if before.trim() != "0" {
        std::fs::write(SETTING, before).expect("the namespace is ours");
    }
}

/// A connection through a listener of its own.
fn own_pair(worker: &mut Worker) -> Option<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    worker.connections += 1;
    let host = match worker.random.below(3) {
        0 => "127.0.0.1",
        1 => "[::1]",
        _ => "[::ffff:127.0.0.1]",
    };
    let port = 30_000 + worker.next_own();
    pair(&format!("{host}:{port}"))
}

impl Worker {
    /// A port of this thread's own that was not used for a while.
    fn next_own(&mut self) -> u16 {
        500 * u16::from(self.number) + self.next_fresh() % 50
    }
}
