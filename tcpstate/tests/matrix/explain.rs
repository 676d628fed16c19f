//! `tcpstate explain`, asked before each `bind` of the matrix: the kernel does
//! what it said.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use serde_json::Value;

use super::ask::{Ask, Call, Change};
use super::judge;
use super::oracle::{self, Refused};
use super::report::Report;
use super::run::{Case, Ports};
use super::servers::Servers;
use super::stage::{Holder, Side, Stage};
use support::TCPSTATE;

/// Questions under way at a time: each is a process of its own.
const AT_ONCE: usize = 4;

/// Asks about every case, then has the kernel answer.
pub(crate) fn ask_all<'a>(cases: impl Iterator<Item = &'a Case>) -> Report {
    let servers = Servers::start();
    let mut ports = Ports::default();
    let mut report = Report::default();
    let mut asked = VecDeque::new();
    for case in cases {
        let port = ports.next();
        let stage = Stage::build(&servers, port, &case.parts);
        let answer = spawn(case.ask, port);
        asked.push_back((case, port, stage, answer));
        if asked.len() == AT_ONCE
            && let Some(first) = asked.pop_front()
        {
            compare(&servers, &mut ports, &mut report, first);
        }
    }
    for left in asked {
        compare(&servers, &mut ports, &mut report, left);
    }
    report
}

fn spawn(ask: Ask, port: u16) -> Child {
    let mut command = Command::new(TCPSTATE);
    command
        .args(["explain", &port.to_string(), "--json", "--addr"])
        .arg(ask.addr.ip().to_string())
        .args(["--uid", &ask.maker.uid().to_string()]);
    let flags = [
        (ask.flags.reuseaddr, "--reuseaddr"),
        (ask.flags.reuseport, "--reuseport"),
        (ask.v6only, "--v6only"),
    ];
    for (is_set, flag) in flags {
        if is_set {
            command.arg(flag);
        }
    }
    if let Some(name) = ask.device.name() {
        command.args(["--device", name]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpstate starts")
}

fn compare(
    servers: &Servers,
    ports: &mut Ports,
    report: &mut Report,
    (case, mut port, mut stage, child): (&Case, u16, Stage, Child),
) {
    report.cases += 1;
    let output = child.wait_with_output().expect("tcpstate ends");
    let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout) else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        report.wrong.push((case.to_string(), vec![said]));
        return;
    };
    let mut wrong = Vec::new();
    let mut check = |what: &str, is: &Value, works: bool| {
        if *is == "unknown" {
            report.would_work.1 += 1;
        } else if *is != if works { "yes" } else { "no" } {
            wrong.push(format!(
                "{what} is {is}, and the kernel lets it through: {works}"
            ));
        }
        report.would_work.0 += 1;
    };

    let holders: Vec<Holder> = stage.holders.iter().map(|(_, it)| as_read(it)).collect();
    let attempt = case.ask.attempt(&mut stage, port);
    report.calls += attempt.calls.len();
    let bound = attempt.calls[0].errno;
    let is_attempt_refused = attempt.refusal().is_some();
    check("would_bind", &answer["would_bind"], bound.is_none());
    // Whether others will listen first is not foreseen.
    if case.ask.call == Call::Bind {
        check("would_listen", &answer["would_listen"], !is_attempt_refused);
        for change in Change::ALL {
            // What has bound leaves its mark on the port.
            if attempt.calls[0].errno.is_none() {
                (port, stage) = ports.stage(servers, case);
            }
            let with = case.ask.with(change).unwrap_or(case.ask);
            let again = case.ask.can(change).then(|| with.attempt(&mut stage, port));
            let works = again
                .as_ref()
                .is_some_and(|again| again.refusal().is_none());
            check(change.name(), &answer["would_work"][change.name()], works);
            if again.is_some_and(|again| again.calls[0].errno.is_none()) {
                (port, stage) = ports.stage(servers, case);
            }
        }
    }
    let is_refused = bound.is_some() || (case.ask.call == Call::Bind && is_attempt_refused);
    let code = i32::from(is_refused);
    if output.status.code() != Some(code) {
        wrong.push(format!("it ends with {}, should be {code}", output.status));
    }
    if is_refused {
        report.refused += 1;
        let cause = answer["cause"].as_str().unwrap_or("?").to_owned();
        *report.causes.entry(cause).or_default() += 1;
    } else if answer["cause"] != Value::Null {
        wrong.push(format!(
            "nothing is wrong, and it names {}",
            answer["cause"]
        ));
    }
    // Where there is one part, all of it stands in the way.
    if bound == Some(Errno::ADDRINUSE) && case.parts.len() == 1 {
        let refused = Refused {
            call: "bind",
            addr: case.ask.addr.ip(),
            flags: case.ask.flags,
        };
        let mut expected = oracle::expect(refused, &holders);
        // Neither is marked, so that nothing tells the two apart.
        expected.is_proven = expected.cause != "established_leftover";
        judge::check_answer(&mut wrong, &expected, &answer);
    }
    if !wrong.is_empty() {
        wrong.push(answer["summary"].to_string());
        report.wrong.push((case.to_string(), wrong));
    }
}

/// A holder as it looks to somebody who has not seen how it came to be: a
/// client that was bound to port 0 is like an accepted connection.
fn as_read(holder: &Holder) -> Holder {
    let mut read = holder.clone();
    if read.side == Side::BoundToAny && read.state != "syn_sent" {
        read.side = Side::Accepted;
    }
    read
}
