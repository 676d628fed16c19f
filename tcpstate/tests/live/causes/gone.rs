//! What stood in the way was gone when it was looked at, and failures that no
//! rule explains.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::io::Errno;
use serde_json::Value;
use tcpstate::clock;

use super::{SERVER, summary};
use support::{Processors, Requirement, Watch, at, listener, on_stage, patience, socket, try_bind};

/// Rounds between two looks at what was told; each gives one failed call at
/// most, and looking up the holder of one takes the program a while.
const ROUNDS: u32 = 40;

/// One after the other, so that no failure is like the one before: of those that are alike
/// ten a second are explained.
const PORTS: u32 = 50;
const WATCHED: &str = "8080-8129";

fn address(round: u32) -> String {
    format!("127.0.0.1:{}", 8080 + round % PORTS)
}

/// The holder must be closed between the kernel's answer and the kernel program's
/// look, which comes microseconds later: on one processor nobody is there to do it.
const RACE: Requirement = Processors(2);

/// One thread opens a socket on the port and closes it while another one binds,
/// a little sooner or later each time, until a call fails whose holder was
/// closed before the kernel program came to look.
fn race(watch: &mut Watch, cause: &str, listens: bool) -> Value {
    let round = AtomicU32::new(0);
    let addresses: Vec<String> = (0..PORTS).map(address).collect();
    let of_round = |round: u32| addresses[(round % PORTS) as usize].as_str();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut done = 0;
            while !is_over.load(Ordering::Relaxed) {
                let Ok(socket) = try_bind(of_round(done + 1), false) else {
                    continue;
                };
                if listens {
                    let _ = rustix::net::listen(&socket, 1);
                }
                done += 1;
                round.store(done, Ordering::Release);
                for _ in 0..done % 97 * 16 {
                    std::hint::spin_loop();
                }
                drop(socket);
                std::thread::yield_now();
            }
        });
        // Also when this thread panics: the other one is waited for.
        let _over = Over(&is_over);
        let deadline_ns =
            clock::monotonic_ns() + 3 * u64::try_from(patience().as_nanos()).expect("seconds");
        let mut told = Value::Null;
        while told.is_null() && clock::monotonic_ns() < deadline_ns {
            for _ in 0..ROUNDS {
                let socket = socket(at(SERVER));
                let before = round.load(Ordering::Acquire);
                let next = at(of_round(before + 1));
                while round.load(Ordering::Acquire) == before {
                    std::hint::spin_loop();
                }
                if let Err(error) = rustix::net::bind(&socket, &next) {
                    assert_eq!(error, Errno::ADDRINUSE);
                }
            }
            told = watch
                .read_for(std::time::Duration::from_millis(20))
                .iter()
                .find(|event| event["event"] == "diagnosis" && event["cause"] == cause)
                .cloned()
                .unwrap_or_default();
        }
        assert!(!told.is_null(), "no {cause}");
        told
    })
}

/// Says so when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn holder_gone() {
    if !on_stage(&[RACE]) {
        return;
    }
    let mut watch = Watch::start(&["--port", WATCHED]);

    let diagnosis = race(&mut watch, "holder_gone", true);

    assert_eq!(diagnosis["certainty"], "likely", "{diagnosis}");
    assert_eq!(diagnosis["holders"], serde_json::json!([]));
    assert_eq!(diagnosis["clears_ms"], Value::Null);
    assert!(
        summary(&diagnosis).contains(&format!("[{}]", std::process::id())),
        "the last listener is named: {diagnosis}"
    );
    assert!(
        (0..PORTS).all(|round| try_bind(&address(round), false).is_ok()),
        "trying again helps"
    );
    watch.finish();
}

#[test]
fn a_holder_that_nobody_knew_is_unknown_and_says_why() {
    if !on_stage(&[RACE]) {
        return;
    }
    let mut watch = Watch::start(&["--port", WATCHED]);

    let diagnosis = race(&mut watch, "unknown", false);

    assert_eq!(diagnosis["certainty"], "unknown", "{diagnosis}");
    assert!(
        diagnosis["missing"]
            .to_string()
            .contains("none was known to have listened"),
        "{diagnosis}"
    );
    watch.finish();
}

#[test]
fn errors_that_are_not_about_ports_are_unknown_and_say_what_was_wrong() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    // A link-local address without its interface.
    assert_eq!(
        try_bind("[fe80::1]:8080", false).expect_err("which interface?"),
        Errno::INVAL
    );
    let diagnosis = watch.diagnosis("bind", 8080);
    assert_eq!(diagnosis["cause"], "unknown", "{diagnosis}");
    assert!(summary(&diagnosis).contains("link-local"), "{diagnosis}");

    // A connection cannot listen.
    let listening = listener(SERVER, true);
    let client = socket(at(SERVER));
    rustix::net::connect(&client, &at(SERVER)).expect("somebody listens");
    assert_eq!(
        rustix::net::listen(&client, 1).expect_err("it is connected"),
        Errno::INVAL
    );
    let failed = watch.wait_for("the failed listen", |event| {
        event["event"] == "listen" && event["ok"] == false
    });
    let diagnosis = watch.wait_for("its diagnosis", |event| {
        event["event"] == "diagnosis" && event["of"] == failed["seq"]
    });
    assert_eq!(diagnosis["cause"], "unknown", "{diagnosis}");
    assert!(summary(&diagnosis).contains("connected"), "{diagnosis}");
    drop(listening);
    watch.finish();
}
