//! `time_wait_no_reuse`: only TIME_WAIT and closing sockets hold the port, all
//! left with SO_REUSEADDR, and the new socket does not set it.

use crate::event::{Cause, State};

use super::super::facts::Facts;
use super::super::fixes;
use super::super::roles::{self, Role};
use super::super::text;
use super::{Answer, Explanation, Rule, reuseaddr_clause};

pub(super) const RULE: Rule = Rule {
    cause: Cause::TimeWaitNoReuse,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    (facts.leads(Role::TimeWait) && facts.blockers.iter().all(|b| !b.lacks_reuseaddr())).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let fixes = [
        fixes::set_reuseaddr(facts),
        fixes::wait(facts),
        fixes::destroy(facts, fixes::DESTROY_TIME_WAIT),
    ];
    Explanation {
        summary: format!(
            "Port {} is still held by {}; {}{}.",
            facts.port,
            held_by(facts),
            until(facts),
            reuseaddr_clause(facts),
        ),
        fixes: fixes.into_iter().chain(fixes::time_wait_myths()).collect(),
        doubts: facts.all_doubts(),
    }
}

/// `3 connections in TIME_WAIT that python3[4711] closed first`.
pub(super) fn held_by(facts: &Facts<'_>) -> String {
    let leaders = facts.leaders();
    let closing = facts
        .blockers
        .iter()
        .filter(|b| b.role == Role::Closing)
        .count();
    let outgoing = facts
        .blockers
        .iter()
        .filter(|b| b.role == Role::TimeWait && b.is_outgoing)
        .count();
    let mut text = format!(
        "{} in {}",
        text::count(leaders.len(), "connection"),
        text::state(State::TimeWait)
    );
    if let Some(names) = roles::names(&leaders) {
        text.push_str(&format!(" that {names} closed first"));
    }
    if outgoing > 0 {
        text.push_str(&format!(
            ", {} in TIME_WAIT",
            text::count(outgoing, "outgoing one")
        ));
    }
    if closing > 0 {
        text.push_str(&format!(" and {closing} still closing"));
    }
    text
}

/// `they go away in 57 s`.
pub(super) fn until(facts: &Facts<'_>) -> String {
    let (they_go, they_last) = if facts.blockers.len() == 1 {
        ("it goes", "it lasts")
    } else {
        ("they go", "they last")
    };
    match facts.clears_ms() {
        Some(ms) => format!("{they_go} away {}", text::in_seconds(ms)),
        None => format!("{they_last} up to 60 s after closing"),
    }
}
