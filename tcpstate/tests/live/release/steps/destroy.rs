//! Sockets that are destroyed.

use super::*;

#[test]
fn a_time_wait_is_destroyed_and_not_that_of_another_port() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    for port in [8080, 8081] {
        let address = format!("127.0.0.1:{port}");
        let listening = listener(&address, true);
        let (server, client) = connection(&listening, &address);
        drop(server);
        drain(&client);
        drop(client);
        drop(listening);
        wait_for_time_wait(port);
    }
    let mut bystanders = Bystanders::without_client();

    // It does not stand in the way of who sets SO_REUSEADDR, and is left alone.
    let (reusing, code) = release(&["--reuseaddr"]);
    assert_eq!((code, &reusing["plan"]), (0, &serde_json::json!([])));
    assert_eq!(count_listed(PORT, State::TimeWait), 1);
    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert_eq!(count_listed(PORT, State::TimeWait), 0);
    assert_eq!(count_listed(8081, State::TimeWait), 1);
    bystanders.have_noticed_nothing();
}

#[test]
fn what_an_ipv6_socket_left_that_takes_ipv4_too_is_destroyed_by_either_address() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    for (address, option) in [("127.0.0.1", ""), ("::1", "--ipv6")] {
        let mut gone = Actor::play(&format!(
            "
s = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)
c = socket.create_connection(('{address}', 8080)); d = s.accept()[0]; d.close()
c.recv(1); c.close(); ready()
"
        ));
        gone.wait();
        wait_for_time_wait(PORT);
        let arguments: &[&str] = if option.is_empty() { &[] } else { &[option] };

        let (answer, code) = release(arguments);

        assert_eq!(code, 0, "{address}: {answer}");
        assert_eq!(done(&answer), ["destroy_sockets done"], "{address}");
        assert_eq!(count_listed(PORT, State::TimeWait), 0);
    }
}

#[test]
fn what_an_ipv6_server_leaves_is_destroyed_while_its_ipv4_client_lives() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(
        "
s = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)
ready(); kept = []
while True: kept.append(s.accept()[0])
",
    );
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["stop_process done", "destroy_sockets done"]);
    assert!(!server.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn what_a_socket_of_one_interface_left_is_destroyed() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut gone = Actor::play(
        "
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, 25, b'lo')
s.bind(('127.0.0.1', 8080)); s.listen()
c = socket.create_connection(('127.0.0.1', 8080)); d = s.accept()[0]; d.close()
c.recv(1); c.close(); ready()
",
    );
    gone.wait();
    wait_for_time_wait(PORT);
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"], "{answer}");
}

#[test]
fn hundreds_of_time_waits_are_destroyed_one_by_one() {
    if !on_stage(&[DESTROYS_TIME_WAITS, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let listening = listener("127.0.0.1:8080", true);
    for _ in 0..400 {
        let (server, client) = connection(&listening, "127.0.0.1:8080");
        drop(server);
        drain(&client);
    }
    drop(listening);
    wait_for_time_wait(PORT);
    let before = count_listed(PORT, State::TimeWait);
    assert!(before > 192, "more than one look at a bind bucket takes");

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(count_listed(PORT, State::TimeWait), 0);
    assert_eq!(answer["done"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn what_an_ended_server_left_half_closed_is_destroyed() {
    if !on_stage(&[PYTHON, DESTROYS_TIME_WAITS]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::take_the_stage();
    wait_until("it has accepted", || {
        count_listed(PORT, State::Established) > 0
    });
    server.end();
    // The client does not close: an orphan in FIN_WAIT_2.
    wait_until("it is an orphan", || {
        count_listed(PORT, State::FinWait2) == 1
    });
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    bystanders.have_noticed_nothing();
}

/// Accepts, and closes the listener: only the connection holds the port.
const LEAKS: &str = "
s = listening(8080); ready()
c = s.accept()[0]; s.close(); ready('accepted')
sleep()
";

#[test]
fn a_leaked_connection_is_destroyed_and_its_process_goes_on() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut leaking = Actor::play(LEAKS);
    let mut client = Actor::play(
        "c = socket.create_connection(('127.0.0.1', 8080)); ready(); sys.stdin.readline()
c.close(); sleep()",
    );
    assert_eq!(leaking.next(), "accepted");
    client.go_on();
    wait_until("it leaks", || count_listed(PORT, State::CloseWait) == 1);
    let mut bystanders = Bystanders::without_client();

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(leaking.is_alive() && client.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn a_connection_of_an_earlier_server_is_destroyed_and_its_worker_goes_on() {
    if !on_stage(&[PYTHON]) {
        return;
    }
    let mut worker = Actor::play(LEAKS);
    let mut bystanders = Bystanders::take_the_stage();
    assert_eq!(worker.next(), "accepted");

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(worker.is_alive());
    bystanders.have_noticed_nothing();
}

#[test]
fn the_connection_of_a_client_that_took_the_port_is_destroyed_and_the_client_goes_on() {
    if !on_stage(&[PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let mut bystanders = Bystanders::without_client();
    tcpstate::demo::namespace::set_local_port_range(PORT, PORT).expect("we are root");
    let mut client =
        Actor::play("c = socket.create_connection(('127.0.0.1', 9090)); ready(); sleep()");
    tcpstate::demo::namespace::set_local_port_range(32_768, 60_999).expect("we are root");
    assert!(!is_free());

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer), ["destroy_sockets done"]);
    assert!(client.is_alive());
    bystanders.have_noticed_nothing();
}
