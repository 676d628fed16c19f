//! The generated matrix: old state × flags × addresses × families × user ×
//! device × call, on the real kernel, with the program watching.
//!
//! Of every call that is refused the cause, the sockets in the way and what
//! `would_work` says are held against the stage and against the kernel, which
//! is asked again with each option more. A call that succeeds has no diagnosis.
//!
//! `TCPSTATE_CASE=substring` runs the cases whose name has it, `TCPSTATE_EVERY=10`
//! a tenth of them.

mod address;
mod ask;
mod explain;
mod feed;
mod generate;
mod judge;
mod life;
mod options;
mod oracle;
mod others;
mod report;
mod run;
mod servers;
mod stage;

use run::{Case, Runner};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use support::{Program, on_stage};
use tcpstate::demo::namespace;

const CASES_AT_LEAST: usize = 2_000;
/// Runs of the cases that were spoilt by a loss of events: an emulated machine
/// loses some again.
const AGAIN_AT_MOST: usize = 3;
/// All ports that a stage or a client uses.
const LOCAL_PORTS: (u16, u16) = (1_990, 65_000);

#[test]
fn every_refused_call_is_explained_rightly() {
    if !on_stage(&[Program("ip", "iproute2")]) {
        return;
    }
    namespace::set_local_port_range(LOCAL_PORTS.0, LOCAL_PORTS.1).expect("the namespace is ours");
    let has_other_device = add_other_device();
    let cases = cases(has_other_device);

    let mut runner = Runner::start();
    run(&mut runner, &cases, is_wanted);
    for _ in 0..AGAIN_AT_MOST {
        let spoilt = runner.spoilt_by_losses();
        if spoilt.is_empty() {
            break;
        }
        println!("after a loss of events, once more: {spoilt:?}");
        run(&mut runner, &cases, |name| {
            spoilt.iter().any(|spoilt| spoilt.starts_with(name))
        });
    }

    let report = runner.finish();
    support::report_figures(&format!("{report}"));
    report.verdict();
}

fn run(runner: &mut Runner, cases: &[Case], is_wanted: impl Fn(&str) -> bool) {
    for case in cases {
        if is_wanted(&case.to_string()) {
            runner.run(case);
        }
    }
    others::run(runner, is_wanted);
}

#[test]
fn explain_foresees_every_bind() {
    if !on_stage(&[Program("ip", "iproute2")]) {
        return;
    }
    namespace::set_local_port_range(LOCAL_PORTS.0, LOCAL_PORTS.1).expect("the namespace is ours");
    let cases = cases(add_other_device());

    let report = explain::ask_all(wanted(&cases));

    support::report_figures(&format!("explain: {report}"));
    report.verdict();
}

fn cases(has_other_device: bool) -> Vec<Case> {
    let cases = generate::cases(has_other_device);
    assert!(cases.len() >= CASES_AT_LEAST, "{}", cases.len());
    cases
}

/// Those that were asked for.
fn wanted(cases: &[Case]) -> impl Iterator<Item = &Case> {
    cases.iter().filter(|case| is_wanted(&case.to_string()))
}

fn is_wanted(name: &str) -> bool {
    let is_left_out = std::env::var("TCPSTATE_CASE").is_ok_and(|part| !name.contains(&part));
    !is_left_out && is_in_sample(name)
}

/// Of every so many cases one, always the same ones.
fn is_in_sample(name: &str) -> bool {
    let every = std::env::var("TCPSTATE_EVERY").ok();
    let every: u64 = every.and_then(|every| every.parse().ok()).unwrap_or(1);
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish().is_multiple_of(every)
}

/// A second interface with an address; `false`: this kernel has none to give.
fn add_other_device() -> bool {
    let name = options::Device::OTHER;
    let address = format!("{}/24", address::Addr::Other.ip());
    [
        vec![
            "link", "add", name, "type", "veth", "peer", "name", "other1",
        ],
        vec!["address", "add", &address, "dev", name],
        vec!["link", "set", name, "up"],
    ]
    .iter()
    .all(|arguments| {
        std::process::Command::new("ip")
            .args(arguments)
            .status()
            .is_ok_and(|status| status.success())
    })
}
