//! Each fault has its verdict, its exit code, its cause and its fix.

use super::*;
use support::{LISTS_BOUND_SOCKETS, on_stage};

#[test]
fn a_server_without_any_fault_restarts_at_once_in_every_way() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        let answer = restart_test(user, &[], &server(FINE));

        answer.assert("at_once", 0);
        let rounds = answer.json["rounds"].as_array().expect("rounds");
        assert_eq!(rounds.len(), 6);
        for round in rounds {
            assert_eq!(round["at_once"], true, "{round}");
            assert_eq!(round["failed_binds"], 0, "{round}");
            assert!(round["downtime_ms"].as_u64() > Some(0), "{round}");
        }
        assert_eq!(answer.json["skipped"][0]["way"], "child_left");
        assert_eq!(answer.fixes(), [""; 0]);
    }
}

#[test]
fn a_server_without_reuseaddr_fails_where_its_side_closes_first() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    for user in USERS {
        let answer = restart_test(user, &[], &server("serve(listener(0))"));

        answer.assert("fails", 1);
        for way in ["idle", "client_closes_first", "unread_data"] {
            assert_eq!(answer.outcome(way), "at_once", "{way}");
        }
        for way in ["server_closes_first", "sigkill"] {
            assert_eq!(answer.outcome(way), "fails", "{way}");
            // Without root nobody can see that the old one had none either.
            let expected = match user {
                User::Root => "time_wait_left_without_reuse",
                User::Nobody => "time_wait_no_reuse",
            };
            assert_eq!(answer.cause(way), expected);
            let round = answer.round(way);
            assert_eq!(round["failed_binds"], 1);
            assert!(round["downtime_ms"].is_null());
            assert!(round["refused"].as_u64() > Some(0), "{round}");
        }
        assert_eq!(answer.cause("half_closed"), "closing");
        assert_eq!(answer.fixes(), ["set_reuseaddr"]);
    }
}

#[test]
fn an_option_that_only_the_new_start_sets_comes_too_late() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    for user in USERS {
        let folder = open_folder();
        let starts = folder.path().join("starts");
        // Each second start is a restart.
        let program = server(&format!(
            "f = open('{}', 'a+'); f.seek(0); count = len(f.read()); f.write('x'); f.close()\n\
             serve(listener(count % 2))",
            starts.display()
        ));

        let answer = restart_test(user, &["--ways=server_closes_first"], &program);

        answer.assert("fails", 1);
        assert_eq!(
            answer.cause("server_closes_first"),
            "time_wait_left_without_reuse"
        );
    }
}

#[test]
fn a_child_that_keeps_the_listener_is_named_and_ended() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let heir = server(
        "s = listener(1); s.set_inheritable(True)\n\
         subprocess.Popen(['sleep', '1000'], close_fds=False)\n\
         serve(s)",
    );
    let worker = server(
        "s = listener(1)\n\
         if os.fork() == 0: time.sleep(1000)\n\
         serve(s)",
    );
    for user in USERS {
        for (program, cause, comm, fixes) in [
            (&heir, "inherited_listener", "sleep", vec!["close_on_exec"]),
            (
                &worker,
                "active_listener",
                "python3",
                vec!["end_children", "children_end_with_parent"],
            ),
        ] {
            let answer = restart_test(user, &["--ways=idle,sigkill,child_left"], program);

            answer.assert("fails", 1);
            for way in ["idle", "child_left"] {
                assert_eq!(answer.outcome(way), "fails", "{way}");
                assert_eq!(answer.cause(way), cause);
                let leftover = &answer.round(way)["leftover"];
                assert_eq!(leftover[0]["comm"], comm, "{leftover}");
            }
            // All processes of it are killed there.
            assert_eq!(answer.outcome("sigkill"), "at_once");
            assert_eq!(answer.fixes(), fixes, "{}", answer.json);
        }
    }
}

#[test]
fn connections_that_a_child_leaves_in_close_wait_are_told() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    let program = server(
        "s = listener(0)\n\
         while True:\n\
         \x20   c, _ = s.accept()\n\
         \x20   if os.fork() == 0:\n\
         \x20       s.close()\n\
         \x20       time.sleep(1000)\n\
         \x20   c.close()",
    );
    for user in USERS {
        let ways = "--ways=idle,server_closes_first,client_closes_first";
        let answer = restart_test(user, &[ways, "--clients=3"], &program);

        answer.assert("fails", 1);
        assert_eq!(answer.outcome("idle"), "at_once");
        assert_eq!(answer.cause("client_closes_first"), "close_wait_leak");
        assert_eq!(answer.cause("server_closes_first"), "established_leftover");
        let leftover = answer.round("client_closes_first")["leftover"].as_array();
        assert_eq!(leftover.map(Vec::len), Some(3));
    }
}

#[test]
fn a_server_that_tries_again_until_the_port_is_free_waits() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, LISTS_BOUND_SOCKETS]) {
        return;
    }
    // Longer than a start takes.
    let held_s = if is_real_time() { 0.4 } else { 10.0 };
    let program = server(&format!(
        "def again():\n\
         \x20   while True:\n\
         \x20       try: return listener(1)\n\
         \x20       except OSError: time.sleep(0.05)\n\
         s = again()\n\
         parent = os.getpid()\n\
         if os.fork() == 0:\n\
         \x20   while os.getppid() == parent: time.sleep(0.01)\n\
         \x20   time.sleep({held_s})\n\
         \x20   os._exit(0)\n\
         serve(s)",
    ));
    for user in USERS {
        let answer = restart_test(user, &["--ways=idle"], &program);

        answer.assert("waits", 1);
        let round = answer.round("idle");
        assert_eq!(round["at_once"], false);
        assert!(round["failed_binds"].as_u64() > Some(0), "{round}");
        assert!(round["downtime_ms"].as_u64() >= Some(400), "{round}");
        assert_eq!(answer.cause("idle"), "active_listener");
    }
}
