//! What `run` costs: at most 5 ms of a start, 0.2 ms of a bind.

use super::*;
use support::{RealTime, on_stage, report_figures};

const STARTS: usize = 41;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_start_is_at_most_5_ms_later() {
    if !on_stage(&[SETPRIV, RealTime("a start")]) {
        return;
    }
    // The time from the start of `run` to the program's first word, beside that without it.
    let first_word = |is_below_run: bool| {
        let began_ns = clock::monotonic_ns();
        let mut command = Command::new(if is_below_run { TCPSTATE.path() } else { "env" });
        if is_below_run {
            command.args(["run", "--keep", "1", "--"]);
        }
        let mut running = Running::start({
            command.args(["echo", "up"]).stdout(Stdio::piped());
            command
        });
        assert_eq!(running.line(), "up\n");
        let took = since(began_ns);
        running.finish(None);
        took
    };
    first_word(true);
    // In turn: what else the machine does slows both.
    let times = (0..STARTS).map(|_| (first_word(true), first_word(false)));
    let (with, without) = times.unzip();
    let (with, without) = (median(with), median(without));

    let later = with.saturating_sub(without);
    report_figures(&format!(
        "run: a start {with:?}, without it {without:?}: {later:?} later"
    ));
    assert!(later < Duration::from_millis(5), "{later:?}");
}

#[test]
fn a_bind_takes_at_most_200_us_longer() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, RealTime("a bind")]) {
        return;
    }
    let source = "import socket, time\n\
                  took = []\n\
                  for n in range(2000):\n\
                  \x20   s = socket.socket()\n\
                  \x20   at = time.perf_counter_ns()\n\
                  \x20   s.bind(('127.0.0.1', 10000 + n))\n\
                  \x20   took.append(time.perf_counter_ns() - at)\n\
                  \x20   s.close()\n\
                  took.sort()\n\
                  print(took[1000])\n";
    let mut plain = as_user(User::Nobody, PYTHON);
    plain.args(["-c", source]);
    let ns = |output: Output| -> u64 { text(&output.stdout).trim().parse().expect("a number") };
    let without = ns(output(plain));
    for options in [&[][..], &["--reuseaddr"], &["--wait"]] {
        let with = ns(output(run(User::Nobody, options, &[PYTHON, "-c", source])));
        let longer_us = with.saturating_sub(without) / 1000;
        report_figures(&format!(
            "run {options:?}: a bind {} us, without it {} us",
            with / 1000,
            without / 1000
        ));
        assert!(longer_us < 200, "{longer_us} us");
    }
}
