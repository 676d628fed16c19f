//! `time_wait_left_without_reuse`: a TIME_WAIT was left by a socket without
//! SO_REUSEADDR, so setting it on the new socket cannot help this time.

use crate::event::Cause;

use super::super::facts::Facts;
use super::super::fixes;
use super::super::roles::Role;
use super::time_wait_no_reuse::{held_by, until};
use super::{Answer, Explanation, Rule};

pub(super) const RULE: Rule = Rule {
    cause: Cause::TimeWaitLeftWithoutReuse,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    (facts.leads(Role::TimeWait) && facts.blockers.iter().any(|b| b.lacks_reuseaddr())).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let without = facts
        .blockers
        .iter()
        .filter(|b| b.lacks_reuseaddr())
        .count();
    let share = match (without, facts.blockers.len()) {
        (_, 1) => "and left without SO_REUSEADDR".to_owned(),
        (some, all) if some == all => "and left without SO_REUSEADDR, all of them".to_owned(),
        (some, _) => format!("{some} of them left without SO_REUSEADDR"),
    };
    let mut doubts = facts.all_doubts();
    if facts.blockers.iter().any(|b| b.has_unread_options()) {
        doubts.push(
            "whether SO_REUSEADDR was set on what holds the port could not be read".to_owned(),
        );
    }
    let fixes = [
        fixes::wait(facts),
        fixes::destroy(facts, fixes::DESTROY_TIME_WAIT),
        fixes::set_reuseaddr(facts),
    ];
    Explanation {
        summary: format!(
            "Port {} is still held by {}, {share}; {}, and SO_REUSEADDR on the new socket cannot \
             help before that, because both sides need it.",
            facts.port,
            held_by(facts),
            until(facts),
        ),
        fixes: fixes.into_iter().chain(fixes::time_wait_myths()).collect(),
        doubts,
    }
}
