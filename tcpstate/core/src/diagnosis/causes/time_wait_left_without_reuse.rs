//! `time_wait_left_without_reuse`: a `TIME_WAIT` was left by a socket without
//! `SO_REUSEADDR`, so setting it on the new socket cannot help this time.

use crate::event::Cause;

use super::time_wait_no_reuse::{held_by, until};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes;
use crate::diagnosis::roles::{Blocker, HolderRole};

pub(super) const RULE: Rule = Rule {
    cause: Cause::TimeWaitLeftWithoutReuse,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (facts.leads(HolderRole::TimeWait)
        && facts
            .blockers
            .iter()
            .any(|blocker| is_at_fault(facts, blocker)))
    .into()
}

/// Whether it was left without `SO_REUSEADDR`: read, or concluded because it
/// stood in the way of a socket that sets it.
fn is_at_fault(facts: &Facts<'_>, blocker: &Blocker<'_>) -> bool {
    blocker.lacks_reuseaddr() || facts.call().reuse.reuseaddr
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let without: usize = facts
        .blockers
        .iter()
        .filter(|blocker| is_at_fault(facts, blocker))
        .map(Blocker::count)
        .sum();
    let share = match (without, facts.blocker_count()) {
        (_, 1) => "without".to_owned(),
        (some, all) if some == all => "all of them without".to_owned(),
        (some, _) => format!("{some} of them without"),
    };
    let fixes = [
        fixes::wait(facts),
        destroy::destroy(facts),
        fixes::set_reuseaddr(facts),
    ];
    CauseText {
        summary: format!(
            "Port {} is still held by {}, {share} SO_REUSEADDR; {}, and SO_REUSEADDR on the new socket cannot \
             help before that, because both sides need it.",
            facts.port,
            held_by(facts),
            until(facts),
        ),
        fixes: fixes.into_iter().chain(fixes::time_wait_myths()).collect(),
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, left_by, mini};
    use crate::event::{Applies, State, YesNo};

    #[test]
    fn one_without_so_reuseaddr_is_enough() {
        let python = || left_by(4711, "python3", Origin::Accepted);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(mini(State::TimeWait, 8080, REUSE, 41_000), python())
            .with(mini(State::TimeWait, 8080, PLAIN, 20_000), python())
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitLeftWithoutReuse);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 2 connections in TIME_WAIT that python3[4711] closed first, 1 of them without SO_REUSEADDR; the kernel keeps such a connection for 60 s, so they go away in 41 s, and SO_REUSEADDR on the new socket cannot help before that, because both sides need it."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
    }

    #[test]
    fn a_socket_that_sets_it_is_told_to_keep_it() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .reuse(REUSE)
            .with(
                mini(State::TimeWait, 8080, PLAIN, 20_000),
                left_by(4711, "python3", Origin::Accepted),
            )
            .with(
                mini(State::TimeWait, 8080, REUSE, 50_000),
                left_by(4711, "python3", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitLeftWithoutReuse);
        assert_eq!(diagnosis.holders.len(), 1);
        assert_eq!(diagnosis.clears_ms, Some(20_000));
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 1 connection in TIME_WAIT that python3[4711] closed first, without SO_REUSEADDR; the kernel keeps such a connection for 60 s, so it goes away in 20 s, and SO_REUSEADDR on the new socket cannot help before that, because both sides need it."
        );
        let set = diagnosis
            .fixes
            .iter()
            .find(|fix| &*fix.id == "set_reuseaddr");
        assert_eq!(set.map(|fix| fix.applies), Some(Applies::NextTime));
    }
}
