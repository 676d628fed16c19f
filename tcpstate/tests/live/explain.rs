//! `explain` and `wait`, held against what the kernel does when the call is
//! made.

mod hazards;
mod unprivileged;
mod wait;

use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use serde_json::Value;

use support::{
    DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS, Program, TCPSTATE, at, connection, drain, listener,
    on_stage, run, socket, ss, try_bind, wait_for_time_wait, wait_until_gone,
};
use tcpstate::clock;
use tcpstate::event::State;

const SERVER: &str = "127.0.0.1:8080";

/// The answer, with its exit code checked against it.
#[track_caller]
fn explain(arguments: &[&str]) -> Value {
    answer(&run(&[&["explain", "8080", "--json"], arguments].concat()))
}

#[track_caller]
fn answer(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{output:?}"));
    assert_eq!(answer["event"], "explain");
    let code = match answer["would_bind"].as_str() {
        Some("yes") => 0,
        Some("no") => 1,
        _ => 2,
    };
    assert_eq!(output.status.code(), Some(code), "{answer}");
    let schema = tcpstate::export::schema::schema();
    let validator = jsonschema::validator_for(schema.as_value()).expect("the schema is one");
    assert!(validator.is_valid(&answer), "not of the schema: {answer}");
    answer
}

/// What the kernel does with this bind.
fn kernel_says(address: &str, reuseaddr: bool) -> &'static str {
    match try_bind(address, reuseaddr) {
        Ok(_) => "yes",
        Err(_) => "no",
    }
}

/// Leaves a TIME_WAIT on the server's side.
fn leave_time_wait(reuseaddr: bool) {
    let listening = listener(SERVER, reuseaddr);
    let (server, client) = connection(&listening, SERVER);
    drop(server);
    drain(&client);
    drop(client);
    drop(listening);
    wait_for_time_wait(8080);
}

#[test]
fn a_free_port_is_free() {
    if !on_stage(&[]) {
        return;
    }
    let free = explain(&[]);

    assert_eq!(free["would_bind"], kernel_says("0.0.0.0:8080", false));
    assert_eq!(
        (&free["would_listen"], &free["certainty"]),
        (&Value::from("yes"), &Value::from("proven"))
    );
    assert_eq!(free["cause"], Value::Null);
}

#[test]
fn a_listener_is_named_with_its_process_and_others_are_told_apart() {
    if !on_stage(&[]) {
        return;
    }
    let _listening = listener(SERVER, true);

    let held = explain(&["--reuseaddr"]);
    let beside = explain(&["--addr", "127.0.0.2"]);

    assert_eq!(held["would_bind"], kernel_says("0.0.0.0:8080", true));
    assert_eq!(held["cause"], "active_listener");
    assert_eq!(
        (
            &held["holders"][0]["processes"][0]["pid"],
            &held["holders"][0]["reuse"]["reuseaddr"]
        ),
        (&Value::from(std::process::id()), &Value::from(true))
    );
    assert_eq!(beside["would_bind"], kernel_says("127.0.0.2:8080", false));
    assert_eq!(beside["would_bind"], "yes");
    assert_eq!(beside["others"][0]["state"], "listen");
}

#[test]
fn so_reuseaddr_of_a_time_wait_is_read_and_decides() {
    if !on_stage(&[DESTROYS_TIME_WAITS]) {
        return;
    }
    for left_with in [true, false] {
        let left_ns = clock::monotonic_ns();
        leave_time_wait(left_with);
        for reuseaddr in [false, true] {
            let options: &[&str] = if reuseaddr { &["--reuseaddr"] } else { &[] };
            let answer = explain(options);
            assert_eq!(
                answer["would_bind"],
                kernel_says("0.0.0.0:8080", reuseaddr),
                "left with {left_with}, asked with {reuseaddr}: {answer}"
            );
        }
        let plain = explain(&[]);
        assert_eq!(
            plain["cause"],
            if left_with {
                "time_wait_no_reuse"
            } else {
                "time_wait_left_without_reuse"
            }
        );
        assert_eq!(
            plain["would_work"]["reuseaddr"],
            if left_with { "yes" } else { "no" }
        );
        let clears_ms = plain["clears_ms"].as_u64().expect("it clears by itself");
        let passed_ms = (clock::monotonic_ns() - left_ns) / 1_000_000;
        assert!(
            clears_ms <= 62_000 && clears_ms + passed_ms >= 59_900,
            "{clears_ms} ms, {passed_ms} ms after it began"
        );
        let destroyed = Command::new("ss")
            .args(["-Kt", "state", "time-wait", "sport", "=", ":8080"])
            .output()
            .expect("ss runs");
        assert!(destroyed.status.success());
        assert_eq!(explain(&[])["would_bind"], kernel_says(SERVER, false));
    }
}

#[test]
fn a_socket_that_no_table_lists_is_found() {
    if !on_stage(&[]) {
        return;
    }
    // Bound, connected, reset by its peer, still open: no state of TCP any more.
    let listening = listener("127.0.0.1:9090", false);
    let client = try_bind(SERVER, false).expect("the port is free");
    rustix::net::connect(&client, &at("127.0.0.1:9090")).expect("somebody listens");
    let server = rustix::net::accept_with(&listening, rustix::net::SocketFlags::CLOEXEC)
        .expect("a connection waits");
    sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("an option of sockets");
    drop(server);
    wait_until_gone(8080, State::Established);

    let answer = explain(&["--reuseaddr"]);

    assert_eq!(answer["would_bind"], kernel_says("0.0.0.0:8080", true));
    assert_eq!(
        (&answer["would_bind"], &answer["cause"]),
        (&Value::from("no"), &Value::from("bound_not_listening"))
    );
    assert_eq!(
        answer["holders"][0]["processes"][0]["pid"],
        std::process::id()
    );
    drop(client);
}

#[test]
fn ipv6_and_mapped_addresses_are_asked_as_the_kernel_takes_them() {
    if !on_stage(&[]) {
        return;
    }
    let _listening = listener("[::]:8080", false);

    assert_eq!(explain(&[])["would_bind"], "no");
    assert_eq!(
        explain(&["--ipv6", "--addr", "127.0.0.1"])["would_bind"],
        "no"
    );
    let no_address = explain(&["--addr", "::ffff:127.0.0.1", "--v6only"]);
    assert_eq!(no_address["would_bind"], "no");
    assert!(
        no_address["summary"]
            .as_str()
            .is_some_and(|text| text.contains("EINVAL")),
        "{no_address}"
    );
    let link_local = run(&["explain", "8080", "--addr", "fe80::1%nowhere"]);
    assert_eq!(link_local.status.code(), Some(2));
}

#[test]
fn what_comes_before_the_port_is_asked_of_the_kernel() {
    if !on_stage(&[]) {
        return;
    }
    let nowhere = explain(&["--addr", "10.1.2.3"]);
    assert_eq!(nowhere["cause"], "address_not_local");
    assert_eq!(nowhere["would_bind"], kernel_says("10.1.2.3:8080", false));

    let low = answer(&run(&["explain", "80", "--json", "--uid", "1000", "--try"]));
    assert_eq!(low["cause"], "privileged_port");
    assert_eq!(
        low["tried"]["errno_name"], "EACCES",
        "the kernel agrees: {low}"
    );
    let of_root = answer(&run(&["explain", "80", "--json", "--try"]));
    assert_eq!(
        (&of_root["would_bind"], &of_root["tried"]["ok"]),
        (&Value::from("yes"), &Value::from(true))
    );
}

#[test]
fn so_reuseport_is_compared_with_the_users_of_both_sockets() {
    if !on_stage(&[]) {
        return;
    }
    let holder = socket(at("0.0.0.0:8080"));
    sockopt::set_socket_reuseport(&holder, true).expect("an option of sockets");
    rustix::net::bind(&holder, &at("0.0.0.0:8080")).expect("the port is free");
    rustix::net::listen(&holder, 8).expect("nobody else listens");

    for (uid, would) in [("0", "yes"), ("1000", "no")] {
        let answer = explain(&["--reuseport", "--uid", uid, "--try"]);
        assert_eq!(answer["would_bind"], would, "{answer}");
        let untried = explain(&["--reuseport", "--uid", uid]);
        assert_eq!(untried["would_bind"], would, "{untried}");
    }
    assert_eq!(
        explain(&["--reuseport", "--uid", "1000"])["cause"],
        "reuseport_mismatch"
    );
}

#[test]
fn a_socket_of_another_interface_does_not_stand_in_the_way() {
    if !on_stage(&[]) {
        return;
    }
    let made = Command::new("ip")
        .args(["link", "add", "red", "type", "veth", "peer", "name", "blue"])
        .status()
        .expect("ip runs");
    assert!(made.success());
    let held = answer(&run(&["explain", "8080", "--json", "--device", "red"]));
    assert_eq!(held["would_bind"], "yes");
    let holder = socket(at("0.0.0.0:8080"));
    socket2::SockRef::from(&holder)
        .bind_device(Some(b"red"))
        .expect("root may");
    rustix::net::bind(&holder, &at("0.0.0.0:8080")).expect("the port is free");

    for (arguments, would) in [
        (vec!["--device", "red"], "no"),
        (vec!["--device", "blue"], "yes"),
        (vec![], "no"),
    ] {
        let arguments = [&arguments[..], &["--try"]].concat();
        let tried = explain(&arguments);
        let told = explain(&arguments[..arguments.len() - 1]);
        assert_eq!(
            (&tried["would_bind"], &told["would_bind"]),
            (&Value::from(would), &Value::from(would)),
            "{arguments:?}: {tried}"
        );
    }
}

#[test]
fn a_port_with_more_sockets_than_the_walk_takes_is_answered_all_the_same() {
    if !on_stage(&[LISTS_BOUND_SOCKETS, Program("ss", "iproute2")]) {
        return;
    }
    let listening = listener(SERVER, true);
    for _ in 0..400 {
        let (server, client) = connection(&listening, SERVER);
        drop(server);
        drain(&client);
    }
    drop(listening);
    wait_for_time_wait(8080);

    // On a slow machine the first ones end meanwhile.
    let listed = || ss(&["state", "time-wait", "sport", "=", ":8080"]).len() as u64;
    let at_most = listed();
    let plain = explain(&[]);
    let at_least = listed();
    let reusing = explain(&["--reuseaddr"]);

    assert_eq!(
        (&plain["would_bind"], &plain["cause"]),
        (&Value::from("no"), &Value::from("time_wait_no_reuse"))
    );
    let holders = plain["holders"].as_array().expect("there are holders");
    let count: u64 = holders
        .iter()
        .map(|holder| 1 + holder["alike"].as_u64().unwrap_or(0))
        .sum();
    assert!(at_most > 192, "the walk takes {at_most}");
    assert!(
        (at_least..=at_most).contains(&count),
        "{count}, and ss has {at_most}, then {at_least}"
    );
    assert_eq!(reusing["would_bind"], kernel_says("0.0.0.0:8080", true));
    assert_eq!(reusing["would_bind"], "yes");
}

#[test]
fn a_namespace_is_named_by_path_and_the_fix_runs_in_it() {
    if !on_stage(&[DESTROYS_TIME_WAITS]) {
        return;
    }
    leave_time_wait(true);
    let path = format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        rustix::thread::gettid().as_raw_nonzero()
    );
    // Asked from the namespace that the test program was started in.
    let asked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let own = std::fs::File::open("/proc/self/ns/net").expect("it can be opened");
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&own),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .expect("root may");
                run(&["explain", "8080", "--json", "--netns", &path])
            })
            .join()
            .expect("it answers")
    });

    let answer = answer(&asked);

    assert_eq!(answer["cause"], "time_wait_no_reuse");
    let destroy = answer["fixes"]
        .as_array()
        .and_then(|fixes| fixes.iter().find(|fix| fix["id"] == "destroy_sockets"))
        .and_then(|fix| fix["command"].as_str())
        .expect("there is a command");
    assert!(
        destroy.contains("nsenter --net=/proc/self/fd/9"),
        "{destroy}"
    );
    let killed = Command::new("sh")
        .args(["-c", destroy])
        .output()
        .expect("sh runs");
    assert!(killed.status.success(), "{killed:?}");
    assert_eq!(explain(&[])["would_bind"], "yes");
    assert_eq!(kernel_says("0.0.0.0:8080", false), "yes");
}

#[test]
fn bad_questions_are_refused_with_a_hint() {
    for (arguments, hint) in [
        (&["explain", "0"][..], "ports are 1 to 65535"),
        (
            &["explain", "8080", "--addr", "localhost"],
            "not an IP address",
        ),
        (&["explain", "8080", "--v6only"], "--ipv6"),
        (&["explain", "8080", "--netns", "all"], "names none"),
        (
            &["explain", "8080", "--netns", "no-such"],
            "no network namespace",
        ),
        (&["explain", "8080", "--device", "no-such0"], "no interface"),
        (&["wait", "8080", "--timeout", "soon"], "invalid value"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}
