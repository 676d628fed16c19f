//! Sockets that have no cookie yet.

use super::*;

#[test]
fn a_socket_without_a_cookie_is_the_same_once_the_kernel_has_made_one() {
    let mut engine = engine();
    let server = process(10, "server");
    engine.observe(
        MS,
        by(
            change(0, CLIENT, SERVER, State::SynSent, State::Established),
            &server,
        ),
    );
    engine.observe(
        2 * MS,
        by(
            change(0, CLIENT, SERVER, State::Established, State::FinWait1),
            &server,
        ),
    );
    engine.observe(
        3 * MS,
        into_mini(
            change(0, CLIENT, SERVER, State::FinWait2, State::Closed),
            State::FinWait2,
            60_000,
            false,
        ),
    );

    engine.observe(
        SECOND,
        Body::Socket(seen(9, CLIENT, SERVER, State::TimeWait, Some(59_000))),
    );

    assert_eq!(table(&engine), [(State::TimeWait, true, 9)]);
    let socket = engine.socket(&SocketId::Cookie(9)).unwrap();
    assert_eq!(socket.left_by.as_ref().unwrap().pid, 10);
}

#[test]
fn two_connects_without_cookie_and_port_are_not_taken_for_one() {
    let mut engine = engine();
    let step = |local, old, new| change(0, local, SERVER, old, new);
    for pid in [1, 2] {
        engine.observe(
            MS,
            by(
                step("10.0.0.2:0", State::Closed, State::SynSent),
                &process(pid, "client"),
            ),
        );
    }

    engine.observe(
        2 * MS,
        Body::State(step(CLIENT, State::SynSent, State::Established)),
    );

    assert_eq!(table(&engine), [(State::Established, false, 0)]);
    let socket = engine.table().iter().next().unwrap();
    assert_eq!(socket.owner, None);
}

#[test]
fn one_that_begins_to_listen_is_not_the_nameless_one_that_listens_already() {
    let mut engine = engine();
    for (at_ms, cookie, old, new) in [
        (1, 0, State::Closed, State::Listen),
        (2, 7, State::Closed, State::Listen),
        (3, 7, State::Listen, State::Closed),
    ] {
        let change = change(cookie, ANY, NOBODY, old, new);
        engine.observe(at_ms * MS, Body::State(change));
    }

    assert_eq!(table(&engine), [(State::Listen, false, 0)]);
}
