//! What the program said, held against what it had to say.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use serde_json::Value;

use super::ask::{Change, Made};
use super::feed::Heard;
use super::oracle::{Expected, ExpectedHolder};

/// The calls of one socket, with what is expected about each.
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) cookie: u64,
    pub(crate) calls: Vec<Made>,
}

/// Each thing that is wrong, in words.
pub(crate) fn complaints(trial: &Trial, heard: &[Heard]) -> Vec<String> {
    let mut wrong = Vec::new();
    if heard.len() != trial.calls.len() {
        wrong.push(format!(
            "{} calls were made, {} were told",
            trial.calls.len(),
            heard.len()
        ));
        return wrong;
    }
    for (made, heard) in trial.calls.iter().zip(heard) {
        check_call(&mut wrong, made.call, made.errno, heard);
        if let (Some(expected), Some(diagnosis)) = (&made.expected, &heard.diagnosis) {
            check_answer(&mut wrong, expected, diagnosis);
            check_people(&mut wrong, diagnosis);
        }
        if let Some(diagnosis) = &heard.diagnosis {
            check_tripped_over(&mut wrong, made.errno, diagnosis);
        }
    }
    wrong
}

fn check_call(wrong: &mut Vec<String>, call: &str, errno: Option<Errno>, heard: &Heard) {
    let mut check = |what: &str, is: &Value, should: Value| {
        if *is != should {
            wrong.push(format!("{call}: {what} is {is}, should be {should}"));
        }
    };
    check("event", &heard.call["event"], call.into());
    check("ok", &heard.call["ok"], errno.is_none().into());
    let raw = errno.map_or(Value::Null, |errno| errno.raw_os_error().into());
    check("errno", &heard.call["errno"], raw);
    match (errno, &heard.diagnosis) {
        (Some(Errno::NETUNREACH), None) => {}
        (Some(_), None) => wrong.push(format!("{call}: no diagnosis")),
        (None, Some(diagnosis)) => {
            wrong.push(format!(
                "{call}: succeeded, and has a diagnosis: {diagnosis}"
            ));
        }
        _ => {}
    }
}

/// With function hooks the socket that the kernel tripped over is known, and is
/// one of those that are named.
fn check_tripped_over(wrong: &mut Vec<String>, errno: Option<Errno>, diagnosis: &Value) {
    let has_function_hooks =
        std::env::var("TCPSTATE_CAPTURE").is_ok_and(|capture| capture == "functions");
    // Where the kernel has searched for a free port, it tripped over all of them.
    let has_searched = diagnosis["cause"] == "ephemeral_exhausted";
    if !has_function_hooks || errno != Some(Errno::ADDRINUSE) || has_searched {
        return;
    }
    let holders = diagnosis["holders"].as_array().cloned().unwrap_or_default();
    let tripped_over = holders
        .iter()
        .filter(|holder| holder["is_tripped_over"] == true)
        .count();
    if tripped_over != 1 {
        wrong.push(format!(
            "{tripped_over} of the holders are the one that the kernel tripped over: {diagnosis}"
        ));
    }
}

/// Holds a diagnosis, or an answer beforehand, against what is expected.
pub(crate) fn check_answer(wrong: &mut Vec<String>, expected: &Expected, diagnosis: &Value) {
    let Expected {
        cause,
        words,
        is_proven,
        holders,
        clears_ms,
        would_work,
    } = expected;
    if diagnosis["cause"] != *cause {
        wrong.push(format!(
            "the cause is {}, should be {cause}: {}",
            diagnosis["cause"], diagnosis["summary"]
        ));
    }
    if !diagnosis["summary"]
        .as_str()
        .is_some_and(|summary| summary.contains(words))
    {
        wrong.push(format!("{} lacks: {words}", diagnosis["summary"]));
    }
    let is_certain =
        diagnosis["certainty"] == "proven" && diagnosis["missing"] == Value::Array(Vec::new());
    if *is_proven && !is_certain {
        wrong.push(format!(
            "it is {}, should be proven: {}",
            diagnosis["certainty"], diagnosis["missing"]
        ));
    }
    check_holders(wrong, holders, diagnosis);
    let clears = diagnosis["clears_ms"].as_u64();
    let is_plausible = match (clears, clears_ms) {
        (Some(ms), Some(range)) => range.contains(&ms),
        (None, None) => true,
        _ => false,
    };
    if !is_plausible {
        wrong.push(format!(
            "clears_ms is {clears:?}, should be in {clears_ms:?}"
        ));
    }
    if let Some(worked) = would_work {
        for (change, worked) in Change::ALL.into_iter().zip(worked) {
            let said = &diagnosis["would_work"][change.name()];
            let should = if *worked { "yes" } else { "no" };
            if *said != should && *said != "unknown" {
                wrong.push(format!(
                    "would_work.{} is {said}, and the kernel says {should}",
                    change.name()
                ));
            }
        }
    }
}

fn check_holders(wrong: &mut Vec<String>, expected: &[ExpectedHolder], diagnosis: &Value) {
    let said = diagnosis["holders"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<ExpectedHolder> = said.iter().filter_map(read_holder).collect();
    // Where no peer is expected any will do.
    for holder in &mut found {
        if expected.iter().any(|other| {
            other.peer.is_none() && other.local == holder.local && other.state == holder.state
        }) {
            holder.peer = None;
        }
    }
    found.sort();
    if found != expected || said.len() != expected.len() {
        wrong.push(format!("the holders are {found:?}, should be {expected:?}"));
    }
}

/// All sockets are this process's.
fn check_people(wrong: &mut Vec<String>, diagnosis: &Value) {
    let said = diagnosis["holders"].as_array().cloned().unwrap_or_default();
    let me = std::process::id();
    for holder in &said {
        // Who has these is read from /proc, and by then they are closed: one that is
        // bound, and, where hooks are given no cookies, one that no peer has answered.
        let is_nameless = holder["state"] == "syn_sent" && holder["sock"]["cookie"] == 0;
        if holder["state"] == "bound" || is_nameless {
            continue;
        }
        if holder["process"]["pid"] != me && holder["left_by"]["pid"] != me {
            wrong.push(format!(
                "whose it is, or who left it, is not said: {holder}"
            ));
        }
    }
}

fn read_holder(holder: &Value) -> Option<ExpectedHolder> {
    let endpoint = |value: &Value| -> Option<SocketAddr> {
        let addr: IpAddr = value["addr"].as_str()?.parse().ok()?;
        Some(SocketAddr::new(
            addr,
            value["port"].as_u64()?.try_into().ok()?,
        ))
    };
    let word = |value: &Value, words: &[&'static str]| {
        let text = value.as_str()?;
        words.iter().copied().find(|word| *word == text)
    };
    let option = |name: &str| holder["reuse"][name].as_bool();
    Some(ExpectedHolder {
        local: endpoint(&holder["local"])?,
        peer: endpoint(&holder["peer"]).filter(|peer| peer.port() != 0),
        state: word(
            &holder["state"],
            &tcpstate::event::State::ALL.map(tcpstate::event::State::name),
        )?,
        overlap: word(&holder["overlap"], &["exact", "wildcard", "dual_stack"])?,
        options: [
            option("reuseaddr")?,
            option("reuseport")?,
            option("v6only")?,
        ],
    })
}
