//! The faults whose commands are run: what holds the port, and the call that fails.

use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use support::{
    at, connection, count_listed, drain, listener, socket, try_bind, wait_for_time_wait, wait_until,
};
use tcpstate::event::State;

use crate::elsewhere::Elsewhere;

pub(crate) use super::fault::Kept;
use super::fault::{Fault, Holding, SERVER, bind, innocent_client, leave_time_wait, set};

pub(super) fn faults() -> Vec<Fault> {
    let plain: fn() -> Result<(), Errno> = || bind(SERVER, false);
    let reusing: fn() -> Result<(), Errno> = || bind(SERVER, true);
    let fault = |cause, kind, hold, call_again| Fault {
        cause,
        kind,
        call: "bind",
        port: 8080,
        hold,
        call_again,
    };
    vec![
        fault(
            "active_listener",
            "",
            || Box::new(Holding::start("listener", 8080)),
            reusing,
        ),
        fault(
            "inherited_listener",
            "",
            || Box::new(Holding::start("inherited", 8080)),
            reusing,
        ),
        fault(
            "reuseport_mismatch",
            "",
            || Box::new(Holding::start("reuseport", 8080)),
            plain,
        ),
        fault(
            "bound_not_listening",
            "",
            || Box::new(Holding::start("bound", 8080)),
            plain,
        ),
        fault(
            "close_wait_leak",
            "",
            || Box::new(Holding::start("close_wait", 8080)),
            plain,
        ),
        fault(
            "established_leftover",
            "",
            || Box::new(Holding::start("established", 8080)),
            plain,
        ),
        fault("time_wait_no_reuse", "", || leave_time_wait(true), plain),
        fault(
            "time_wait_left_without_reuse",
            "",
            || leave_time_wait(false),
            reusing,
        ),
        fault("closing", "FIN_WAIT_2", orphan_in_fin_wait_2, plain),
        Fault {
            port: 8082,
            ..fault(
                "dual_stack",
                "",
                || Box::new(Holding::start("dual_stack", 8082)),
                || bind("0.0.0.0:8082", true),
            )
        },
        Fault {
            port: 8083,
            ..fault("ephemeral_collision", "open", outgoing, || {
                bind("127.0.0.1:8083", false)
            })
        },
        Fault {
            port: 8083,
            ..fault(
                "ephemeral_collision",
                "TIME_WAIT",
                outgoing_in_time_wait,
                || bind("127.0.0.1:8083", false),
            )
        },
        Fault {
            port: 8081,
            ..fault(
                "address_not_local",
                "IPv4",
                || Box::new(()),
                || bind("192.0.2.1:8081", false),
            )
        },
        Fault {
            port: 8081,
            ..fault(
                "address_not_local",
                "IPv6",
                || Box::new(()),
                || bind("[2001:db8::1]:8081", false),
            )
        },
        Fault {
            port: 8081,
            ..fault("address_unusable", "IPv6 off", ipv6_off, || {
                bind("[::1]:8081", false)
            })
        },
        Fault {
            port: 8081,
            ..fault("address_unusable", "tentative", tentative, || {
                bind("[2001:db8::1]:8081", false)
            })
        },
        Fault {
            port: 8081,
            ..fault("address_unusable", "duplicate", duplicate, || {
                bind("[2001:db8::1]:8081", false)
            })
        },
        Fault {
            call: "connect",
            port: 443,
            ..fault("address_unusable", "no source", no_address, || {
                rustix::net::connect(socket(at("[2001:db8::9]:443")), &at("[2001:db8::9]:443"))
            })
        },
        Fault {
            port: 0,
            ..fault("ephemeral_exhausted", "bind", one_port_taken, || {
                bind("127.0.0.1:0", false)
            })
        },
        Fault {
            call: "connect",
            port: 5432,
            ..fault(
                "ephemeral_exhausted",
                "connect",
                one_port_in_time_wait,
                || connect(None),
            )
        },
        Fault {
            call: "connect",
            port: 5432,
            ..fault("four_tuple_in_use", "", fixed_port_in_time_wait, || {
                connect(Some("127.0.0.1:45000"))
            })
        },
        Fault {
            port: 80,
            ..fault(
                "privileged_port",
                "",
                || Box::new(()),
                || bind_as_nobody("127.0.0.1:80"),
            )
        },
        Fault {
            port: 80,
            ..fault(
                "privileged_port",
                "taken besides",
                || Box::new(Holding::start("listener", 80)),
                || bind_as_nobody("127.0.0.1:80"),
            )
        },
    ]
}

fn orphan_in_fin_wait_2() -> Kept {
    let listening = listener(SERVER, true);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drop(listening);
    wait_until("an orphan in FIN_WAIT_2", || {
        count_listed(8080, State::FinWait2) == 1
    });
    Box::new(client)
}

fn outgoing() -> Kept {
    set("ipv4/ip_local_reserved_ports", "9000-9010");
    set("ipv4/ip_local_port_range", "8083 8083");
    let holding = Holding::start("outgoing", 8083);
    set("ipv4/ip_local_port_range", "32768 60999");
    Box::new((holding, innocent_client()))
}

fn outgoing_in_time_wait() -> Kept {
    set("ipv4/ip_local_reserved_ports", "9000-9010");
    let elsewhere = listener("127.0.0.9:5432", true);
    set("ipv4/ip_local_port_range", "8083 8083");
    let (server, client) = connection(&elsewhere, "127.0.0.9:5432");
    set("ipv4/ip_local_port_range", "32768 60999");
    drop(client);
    drain(&server);
    drop(server);
    wait_for_time_wait(8083);
    Box::new((elsewhere, innocent_client()))
}

fn one_port_taken() -> Kept {
    set("ipv4/ip_local_port_range", "40000 40000");
    Box::new(try_bind("127.0.0.1:0", false).expect("one is free"))
}

pub(crate) fn ipv6_off() -> Kept {
    set("ipv6/conf/all/disable_ipv6", "1");
    Box::new(())
}

/// Duplicate address detection that asks for a minute.
pub(crate) fn tentative() -> Kept {
    two_ends_of_a_link();
    set("ipv6/conf/end0/dad_transmits", "60");
    ip("-6 address add 2001:db8::1/64 dev end0");
    Box::new(())
}

/// A host at the other end of the link has the address already.
pub(crate) fn duplicate() -> Kept {
    let host = Elsewhere::new();
    let thread = host.inside(|| rustix::thread::gettid().as_raw_nonzero());
    two_ends_of_a_link();
    ip(&format!("link set end1 netns {thread}"));
    host.inside(|| {
        ip("link set end1 up");
        ip("-6 address add 2001:db8::1/64 dev end1 nodad")
    });
    ip("-6 address add 2001:db8::1/64 dev end0");
    wait_until("duplicate address detection finds the other", || {
        ip("-6 address show dev end0").contains("dadfailed")
    });
    Box::new(host)
}

/// A way to everywhere, and no address to go from but a tentative one.
fn no_address() -> Kept {
    let tentative = tentative();
    ip("-6 route add default dev end0");
    ip("-6 address flush dev lo");
    tentative
}

fn two_ends_of_a_link() {
    ip("link add end0 type veth peer name end1");
    ip("link set end0 addrgenmode none");
    ip("link set end1 addrgenmode none");
    ip("link set end0 up");
    ip("link set end1 up");
}

fn ip(line: &str) -> String {
    let output = Command::new("ip")
        .args(line.split(' '))
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Of the one port that connect may choose, a TIME_WAIT that is older than the second
/// after which it may be taken over.
fn one_port_in_time_wait() -> Kept {
    set("ipv4/tcp_tw_reuse", "0");
    set("ipv4/ip_local_port_range", "40000 40000");
    let elsewhere = listener("127.0.0.9:5432", true);
    let (server, client) = connection(&elsewhere, "127.0.0.9:5432");
    drop(client);
    drain(&server);
    drop(server);
    std::thread::sleep(Duration::from_millis(1200));
    Box::new(elsewhere)
}

/// With TCP timestamps a TIME_WAIT is taken over from a fixed port.
fn fixed_port_in_time_wait() -> Kept {
    set("ipv4/tcp_timestamps", "0");
    let elsewhere = listener("127.0.0.9:5432", true);
    let client = try_bind("127.0.0.1:45000", true).expect("it is free");
    rustix::net::connect(&client, &at("127.0.0.9:5432")).expect("somebody listens");
    let server = rustix::net::accept(&elsewhere).expect("a connection waits");
    drop(client);
    drain(&server);
    drop(server);
    wait_for_time_wait(45_000);
    Box::new(elsewhere)
}

fn connect(from: Option<&str>) -> Result<(), Errno> {
    let client = match from {
        Some(from) => try_bind(from, true)?,
        None => socket(at("127.0.0.9:5432")),
    };
    rustix::net::connect(&client, &at("127.0.0.9:5432"))?;
    // No second TIME_WAIT.
    sockopt::set_socket_linger(&client, Some(Duration::ZERO))
}

/// A program of its own, of a user without capabilities, which lingers a moment so
/// that it can be looked at.
fn bind_as_nobody(address: &str) -> Result<(), Errno> {
    const BIND: &str = "import socket, sys, time
try: socket.socket().bind(('127.0.0.1', int(sys.argv[1])))
except OSError as error: time.sleep(1); sys.exit(error.errno)";
    let port = at(address).port().to_string();
    let status = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .args([&*program(), "-c", BIND, &port])
        .status()
        .expect("setpriv runs");
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Errno::from_raw_os_error(code.unwrap_or(0))),
    }
}

/// A copy of the interpreter that may be given capabilities.
pub(super) fn program() -> String {
    let name = format!("tcpstate-advice-python-{}", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}

/// Takes the copy away when the test is over.
pub(super) struct ProgramCopy;

impl Drop for ProgramCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(program());
    }
}
