//! When a server counts as serving.

use std::time::Duration;

use super::*;
use support::on_stage;

/// Listens at once, and serves only later.
const LATE: &str = "import http.server, threading\n\
                    class Late(http.server.BaseHTTPRequestHandler):\n\
                    \x20   def do_GET(self):\n\
                    \x20       late = time.monotonic() - began > 0.4\n\
                    \x20       self.send_response(200 if late and self.path == '/up' else 503)\n\
                    \x20       self.end_headers()\n\
                    \x20   def log_message(self, *_): pass\n\
                    began = time.monotonic()\n\
                    def say(): print('listening on', 8080, flush=True)\n\
                    threading.Timer(0.4, say).start()\n\
                    http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Late).serve_forever()";

#[test]
fn it_is_ready_when_it_listens_or_says_so_or_answers() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        for (ready, least_ms) in [
            ("listen", 0),
            (r"stdout=listening on \d+", 400),
            ("http=/up", 400),
        ] {
            let options = ["--ways=idle", "--ready", ready];
            let answer = restart_test(user, &options, &server(LATE));

            answer.assert("at_once", 0);
            let round = answer.round("idle");
            for field in ["downtime_ms", "first_start_ms"] {
                let ms = round[field].as_u64().expect("it was measured");
                assert!(ms >= least_ms, "{ready}: {round}");
            }
            // What asked whether it serves has left nothing behind.
            assert_eq!(round["left"], Value::Null, "{ready}");
        }
    }
}

#[test]
fn a_server_that_never_serves_is_unknown_after_the_time_and_its_words_are_told() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let (timeout, late) = if is_real_time() {
        (
            "--timeout=700ms",
            "after 0.7 s; it printed last: listening on 8080",
        )
    } else {
        (
            "--timeout=10s",
            "after 10 s; it printed last: listening on 8080",
        )
    };
    for (options, program, words) in [
        (["--ready=http=/down", timeout], server(LATE), late),
        (
            ["--ready=listen", timeout],
            server("sys.exit('no \x1b[2Jconfiguration')"),
            "it ended with exit code 1; it printed last: no",
        ),
        (
            ["--ready=listen", timeout],
            server("if os.fork(): sys.exit()\nserve(listener(1))"),
            "in the foreground",
        ),
    ] {
        let began_ns = tcpstate::clock::monotonic_ns();
        let answer = restart_test(User::Nobody, &options, &program);
        let took = Duration::from_nanos(tcpstate::clock::monotonic_ns() - began_ns);

        answer.assert("unknown", 2);
        let rounds = answer.json["rounds"].as_array().expect("rounds");
        // Another round would not start either.
        assert_eq!(rounds.len(), 1);
        let note = rounds[0]["notes"][0].as_str().unwrap_or_default();
        assert!(note.contains(words), "{note}");
        let longest = if is_real_time() { 10 } else { 60 };
        assert!(took < Duration::from_secs(longest), "{took:?}");
    }
}

#[test]
fn a_first_start_that_may_not_have_its_port_is_told_why() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let program = server("s = socket.socket(); s.bind(('192.0.2.1', 8080)); s.listen(); serve(s)");
    for user in USERS {
        let answer = restart_test(user, &["--ways=idle"], &program);

        answer.assert("unknown", 2);
        assert_eq!(answer.cause("idle"), "address_not_local");
    }
}
