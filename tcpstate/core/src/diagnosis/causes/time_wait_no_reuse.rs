//! `time_wait_no_reuse`: only `TIME_WAIT` and closing sockets hold the port, all
//! left with `SO_REUSEADDR`, and the new socket does not set it.

use std::fmt::Write as _;

use crate::event::{Cause, Family, Overlap, State};

use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, TIME_WAIT_S};
use crate::diagnosis::roles::{self, Blocker, HolderRole};
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::TimeWaitNoReuse,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (facts.leads(HolderRole::TimeWait)
        && !facts.call().reuse.reuseaddr
        && !facts.blockers.iter().any(Blocker::lacks_reuseaddr))
    .into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let fixes = [
        fixes::set_reuseaddr(facts),
        fixes::wait(facts),
        destroy::destroy(facts),
    ];
    CauseText {
        summary: format!(
            "Port {} is still held by {}; {}{}.",
            facts.port,
            held_by(facts),
            until(facts),
            reuseaddr_clause(facts),
        ),
        fixes: fixes.into_iter().chain(fixes::time_wait_myths()).collect(),
        doubts: doubts(facts),
    }
}

fn doubts(facts: &Facts<'_>) -> Vec<String> {
    let mut doubts = facts.all_doubts();
    if facts.blockers.iter().any(Blocker::has_unread_options) {
        doubts.push(
            "whether what holds the port was left with SO_REUSEADDR could not be read".to_owned(),
        );
    }
    doubts
}

/// `3 connections in TIME_WAIT that python3[4711] closed first`.
pub(super) fn held_by(facts: &Facts<'_>) -> String {
    let leaders = facts.leaders();
    let closing = facts
        .blockers
        .iter()
        .filter(|b| b.role == HolderRole::Closing)
        .count();
    let outgoing = facts
        .blockers
        .iter()
        .filter(|b| b.role == HolderRole::TimeWait && b.is_outgoing)
        .count();
    let connection = if are_of_ipv6(facts) {
        "IPv6 connection"
    } else {
        "connection"
    };
    let mut held = format!(
        "{} in {}",
        text::count(roles::count(&leaders), connection),
        text::state(State::TimeWait)
    );
    if let Some(names) = roles::names(&leaders) {
        let _ = write!(held, " that {names} closed first");
    }
    if outgoing > 0 {
        let _ = write!(held, ", {} too", text::count(outgoing, "outgoing one"));
    }
    if closing > 0 {
        let _ = write!(held, " and {closing} still closing");
    }
    held
}

/// Whether IPv6 connections stand in the way of an IPv4 socket, where nobody
/// looks for them: `ss -4` does not show them.
fn are_of_ipv6(facts: &Facts<'_>) -> bool {
    facts
        .binder
        .is_some_and(|binder| binder.family == Family::Ipv4)
        && facts
            .leaders()
            .iter()
            .all(|blocker| blocker.overlap == Overlap::DualStack)
}

/// `the kernel keeps such a connection for 60 s, so they go away in 57 s`.
pub(super) fn until(facts: &Facts<'_>) -> String {
    let (it_was, they_go) = if facts.blocker_count() == 1 {
        ("it was", "it goes")
    } else {
        ("they were", "they go")
    };
    let why_ipv6 = if are_of_ipv6(facts) {
        format!(
            "{it_was} made through a socket that took IPv4 too, so 0.0.0.0 is not free either; "
        )
    } else {
        String::new()
    };
    let keeps = format!("{why_ipv6}the kernel keeps such a connection for {TIME_WAIT_S} s");
    match facts.clears_ms() {
        Some(ms) => format!("{keeps}, so {they_go} away {}", text::in_seconds(ms)),
        None => keeps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, here, left_by, mini};
    use crate::diagnosis::{KnownHolder, Origin};
    use crate::event::{Applies, Certainty, SeenSource, YesNo};

    fn fixture() -> Fixture {
        let time_wait = |ms| mini(State::TimeWait, 8080, REUSE, ms);
        let python = || left_by(4711, "python3", Origin::Accepted);
        Fixture::bind("0.0.0.0", 8080)
            .with(time_wait(41_000), python())
            .with(time_wait(56_300), python())
            .with(time_wait(2_000), python())
    }

    #[test]
    fn so_reuseaddr_alone_would_have_helped() {
        let diagnosis = fixture().diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitNoReuse);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 3 connections in TIME_WAIT that python3[4711] closed first; the kernel keeps such a connection for 60 s, so they go away in 57 s, and SO_REUSEADDR on the new socket would have let it bind at once."
        );
        assert_eq!(diagnosis.clears_ms, Some(56_300));
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Yes);
        assert_eq!(diagnosis.would_work.reuseport, YesNo::No);
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        let left_by = diagnosis.holders[0]
            .left_by
            .as_ref()
            .map(|process| process.pid);
        assert_eq!(left_by, Some(4711));
        assert_eq!(diagnosis.fixes[0].applies, Applies::Now);
        assert_eq!(
            diagnosis.fixes[2].command.as_deref(),
            Some(&*here(
                "ss -Kt state time-wait src 127.0.0.1:8080 dst 10.0.0.9:443 dev = 0"
            ))
        );
        let myths = &diagnosis.fixes[3..];
        assert!(
            myths
                .iter()
                .all(|fix| fix.applies == Applies::No && fix.why.is_some())
        );
    }

    #[test]
    fn listen_after_clearing_so_reuseaddr_says_listen() {
        let mut fixture = fixture();
        fixture.kind = crate::diagnosis::CallKind::Listen;

        let summary = fixture.diagnose().summary;

        assert!(
            summary.ends_with("would have let it listen at once."),
            "{summary}"
        );
    }

    #[test]
    fn a_list_that_is_cut_short_promises_nothing() {
        let diagnosis = fixture().incomplete().diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitNoReuse);
        assert_eq!(diagnosis.certainty, Certainty::Likely);
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Unknown);
        assert_eq!(diagnosis.clears_ms, None);
        assert_eq!(
            diagnosis.missing,
            [
                "only 3 of the sockets on the port could be looked at; others may stand in the way too"
            ]
        );
    }

    #[test]
    fn a_snapshot_is_no_proof() {
        let mut fixture = fixture();
        fixture.seen().source = SeenSource::Snapshot;

        assert_eq!(fixture.diagnose().certainty, Certainty::Likely);
    }

    #[test]
    fn options_that_could_not_be_read_are_not_made_up() {
        let unread = crate::event::SeenHolder {
            reuse: None,
            ..mini(State::TimeWait, 8080, PLAIN, 1_000)
        };
        let accepted = KnownHolder {
            origin: Origin::Accepted,
            ..KnownHolder::default()
        };
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(unread, accepted)
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitNoReuse);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 1 connection in TIME_WAIT; the kernel keeps such a connection for 60 s, so it goes away in 1 s."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Unknown);
        assert_eq!(diagnosis.certainty, Certainty::Likely);
    }
}
