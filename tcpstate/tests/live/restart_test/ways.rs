//! Each way leaves the port in the state that it says; what cannot be staged is said.

use super::*;
use support::on_stage;

/// How many sockets in that state were on the port at the second start.
fn left(round: &Value, state: &str) -> u64 {
    let left = round["left"].as_array().into_iter().flatten();
    left.filter(|left| left["state"] == state)
        .filter_map(|left| left["count"].as_u64())
        .sum()
}

#[test]
fn the_kernel_is_in_the_state_that_the_way_says() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        let answer = restart_test(user, &["--clients=6"], &server(FINE));

        answer.assert("at_once", 0);
        let none = ["idle", "client_closes_first", "unread_data"];
        for way in none {
            assert_eq!(answer.round(way)["left"], Value::Null, "{way}");
        }
        for way in ["server_closes_first", "sigkill"] {
            assert_eq!(left(answer.round(way), "time_wait"), 6, "{way}");
        }
        // Of those that had closed their direction nothing is left.
        let half = answer.round("half_closed");
        assert_eq!(left(half, "fin_wait_1") + left(half, "fin_wait_2"), 3);
        assert_eq!(answer.round("unread_data")["reset"], 6);
        assert_eq!(answer.round("server_closes_first")["reset"], 0);
    }
}

#[test]
fn a_server_that_closes_at_once_stands_still_until_its_clients_have_closed() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server(
        "s = listener(1)\n\
         while True:\n\
         \x20   c, _ = s.accept()\n\
         \x20   c.sendall(b'now')\n\
         \x20   c.close()",
    );
    let answer = restart_test(User::Root, &[], &program);

    answer.assert("at_once", 0);
    assert!(left(answer.round("server_closes_first"), "time_wait") > 0);
}

#[test]
fn a_server_that_reads_before_it_ends_is_killed_with_data_unread() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server(
        "import signal, select\n\
         ended = []\n\
         signal.signal(signal.SIGTERM, lambda *_: ended.append(1))\n\
         s = listener(1)\n\
         while True:\n\
         \x20   ready, _, _ = select.select([s] + kept, [], [], 0.05)\n\
         \x20   for one in ready:\n\
         \x20       if one is s: kept.append(s.accept()[0])\n\
         \x20       elif not one.recv(100): kept.remove(one); one.close()\n\
         \x20   if ended and not select.select([s] + kept, [], [], 0)[0]: sys.exit()",
    );
    let answer = restart_test(User::Nobody, &["--ways=unread_data"], &program);

    answer.assert("at_once", 0);
    let round = answer.round("unread_data");
    assert_eq!(round["reset"], 4);
    let note = round["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("SIGKILL"), "{round}");
}

#[test]
fn a_state_that_cannot_be_reached_is_unknown_and_not_counted() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    // Nothing is ever accepted.
    let program = server("s = listener(1); time.sleep(1000)");
    let answer = restart_test(User::Nobody, &["--ways=server_closes_first"], &program);

    answer.assert("unknown", 2);
    let round = answer.round("server_closes_first");
    assert_eq!(round["at_once"], false);
    let note = round["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("could not be staged"), "{round}");
}

#[test]
fn a_server_that_does_not_end_in_its_time_is_killed_and_that_is_said() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server(
        "import signal\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         serve(listener(1))",
    );
    let options = ["--ways=server_closes_first", "--grace=200ms"];
    let answer = restart_test(User::Nobody, &options, &program);

    answer.assert("at_once", 0);
    let round = answer.round("server_closes_first");
    assert!(round["downtime_ms"].as_u64() >= Some(200), "{round}");
    let note = round["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("was killed"), "{round}");
}

#[test]
fn each_way_is_tried_as_often_as_it_is_asked_for() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let options = ["--ways=sigkill,idle", "--times=3", "--clients=1"];
    let answer = restart_test(User::Nobody, &options, &server(FINE));

    answer.assert("at_once", 0);
    let rounds = answer.json["rounds"].as_array().expect("rounds");
    let numbers: Vec<_> = rounds
        .iter()
        .map(|round| (round["way"].as_str(), round["number"].as_u64()))
        .collect();
    let each = |way| (1..=3).map(move |number| (Some(way), Some(number)));
    let expected: Vec<_> = each("idle").chain(each("sigkill")).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn many_clients_take_no_time() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server(
        "s = socket.socket()\n\
         s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', 8080)); s.listen(2000)\n\
         serve(s)",
    );
    let began_ns = tcpstate::clock::monotonic_ns();
    let options = ["--clients=800", "--ways=server_closes_first,unread_data"];
    let answer = restart_test(User::Nobody, &options, &program);

    answer.assert("at_once", 0);
    // On a busy machine a client may not have closed its side yet.
    let left = |state| left(answer.round("server_closes_first"), state);
    assert_eq!(
        left("time_wait") + left("fin_wait_2"),
        800,
        "{}",
        answer.json
    );
    assert!(left("time_wait") > 700, "{}", answer.json);
    assert_eq!(answer.round("unread_data")["reset"], 800);
    let took_ms = (tcpstate::clock::monotonic_ns() - began_ns) / 1_000_000;
    assert!(took_ms < 10_000 || !is_real_time(), "{took_ms} ms");
}
