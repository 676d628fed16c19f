//! The causes: one rule per file. A rule says whether it applies and, if so,
//! explains the failure in one sentence and lists what to do.
//!
//! Rules do not compete: at most one applies to a failure. Where several
//! sockets stand in the way, [`Facts::lead`] has picked the one that decides.

mod active_listener;
mod address_not_local;
mod address_unusable;
mod already_bound;
mod bound_not_listening;
mod close_wait_leak;
mod closing;
mod denied_by_policy;
mod dual_stack;
mod ephemeral_collision;
mod ephemeral_exhausted;
mod established_leftover;
mod four_tuple_in_use;
mod holder_gone;
mod inherited_listener;
mod listeners;
mod privileged_port;
mod reuseport_mismatch;
mod time_wait_left_without_reuse;
mod time_wait_no_reuse;
mod unknown;

pub(super) use address_unusable::why_unusable;

use crate::event::{Cause, Fix, YesNo};

use super::facts::Facts;
use super::would_work;

/// What a rule says about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// This is why.
    Yes,
    /// This is not why.
    No,
    /// Something that it would take was not read; the text says what.
    CannotJudge(String),
}

impl From<bool> for Verdict {
    fn from(applies: bool) -> Self {
        if applies { Self::Yes } else { Self::No }
    }
}

/// A rule's words for a failure.
struct CauseText {
    summary: String,
    /// Most useful first.
    fixes: Vec<Fix>,
    /// What had to be assumed.
    doubts: Vec<String>,
}

struct Rule {
    cause: Cause,
    applies: fn(&Facts<'_>) -> Verdict,
    explain: fn(&Facts<'_>) -> CauseText,
}

/// What the rules found together.
pub(super) struct Finding {
    pub(super) cause: Cause,
    pub(super) summary: String,
    pub(super) fixes: Vec<Fix>,
    pub(super) doubts: Vec<String>,
}

/// In the order of the contract; `unknown` is what remains.
const RULES: [Rule; 19] = [
    active_listener::RULE,
    inherited_listener::RULE,
    time_wait_no_reuse::RULE,
    time_wait_left_without_reuse::RULE,
    closing::RULE,
    close_wait_leak::RULE,
    established_leftover::RULE,
    ephemeral_collision::RULE,
    bound_not_listening::RULE,
    dual_stack::RULE,
    reuseport_mismatch::RULE,
    privileged_port::RULE,
    address_not_local::RULE,
    already_bound::RULE,
    denied_by_policy::RULE,
    address_unusable::RULE,
    ephemeral_exhausted::RULE,
    four_tuple_in_use::RULE,
    holder_gone::RULE,
];

pub(super) fn judge(facts: &Facts<'_>) -> Finding {
    let mut unjudged = Vec::new();
    for rule in &RULES {
        match (rule.applies)(facts) {
            Verdict::Yes => return finding(rule.cause, (rule.explain)(facts)),
            Verdict::No => {}
            Verdict::CannotJudge(why) => unjudged.push(why),
        }
    }
    finding(Cause::Unknown, unknown::explain(facts, unjudged))
}

fn finding(cause: Cause, explanation: CauseText) -> Finding {
    Finding {
        cause,
        summary: explanation.summary,
        fixes: explanation.fixes,
        doubts: explanation.doubts,
    }
}

/// Second half of a sentence about sockets that `SO_REUSEADDR` may pass.
fn reuseaddr_clause(facts: &Facts<'_>) -> String {
    match would_work::evaluate(facts).reuseaddr {
        YesNo::Yes => format!(
            ", and SO_REUSEADDR on the new socket {} let it {} at once",
            facts.would_have(),
            facts.verb()
        ),
        YesNo::No => {
            let lacking = if facts.blocker_count() == 1 {
                "what holds the port does not have it"
            } else {
                "some of what holds the port does not have it"
            };
            format!(", and SO_REUSEADDR on the new socket cannot help, because {lacking}")
        }
        YesNo::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::every_fixture;

    #[test]
    fn at_most_one_rule_applies_and_exactly_one_where_a_socket_is_in_the_way() {
        for fixture in every_fixture() {
            fixture.with_failure(|failure| {
                let facts = Facts::new(failure);
                let causes: Vec<Cause> = RULES
                    .iter()
                    .filter(|rule| (rule.applies)(&facts) == Verdict::Yes)
                    .map(|rule| rule.cause)
                    .collect();
                assert!(causes.len() <= 1, "{causes:?}: {failure:?}");
                if facts.is_port_in_use() && !facts.blockers.is_empty() {
                    assert_eq!(causes.len(), 1, "{failure:?}");
                }
            });
        }
    }

    #[test]
    fn rules_are_listed_in_the_order_of_the_contract() {
        let listed: Vec<Cause> = RULES.iter().map(|rule| rule.cause).collect();

        assert_eq!(listed, Cause::ALL[..Cause::ALL.len() - 1]);
    }

    #[test]
    fn every_cause_is_described_in_the_docs() {
        let docs = include_str!("../../../../docs/causes.md");
        for cause in Cause::ALL {
            assert!(
                docs.contains(&format!("\n## {}\n", cause.name())),
                "{}",
                cause.name()
            );
        }
    }
}
