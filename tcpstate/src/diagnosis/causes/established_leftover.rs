//! `established_leftover`: accepted connections of an earlier server are still
//! open in a process that survived it.

use crate::event::{Applies, Cause};

use super::super::facts::Facts;
use super::super::fixes::{self, fix};
use super::super::roles::{self, Role};
use super::super::text;
use super::{Answer, Explanation, Rule, reuseaddr_clause};

pub(super) const RULE: Rule = Rule {
    cause: Cause::EstablishedLeftover,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    facts.leads(Role::Leftover).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let leaders = facts.leaders();
    let who =
        roles::names(&leaders).unwrap_or_else(|| "a process that could not be seen".to_owned());
    let they_last = if leaders.len() == 1 {
        "it lasts"
    } else {
        "they last"
    };

    let mut fixes = vec![
        fixes::set_reuseaddr(facts),
        fixes::stop_holder(facts, &leaders),
        fixes::destroy(facts, fixes::DESTROY_LIVE),
        fix(
            "drain_first",
            Applies::NextTime,
            "Have the old server close its connections before the new one starts",
        ),
    ];
    fixes.sort_by_key(|fix| fix.applies != Applies::Now);

    Explanation {
        summary: format!(
            "Port {} is still held by {} of an earlier server, open in {who}; {they_last} until \
             one side closes{}.",
            facts.port,
            text::count(leaders.len(), "accepted connection"),
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}
