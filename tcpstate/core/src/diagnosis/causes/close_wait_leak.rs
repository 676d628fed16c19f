//! `close_wait_leak`: the peers of connections have closed, and the process
//! that has them open does not.

use crate::event::{Applies, Cause};

use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::{self, HolderRole};
use crate::diagnosis::stop;
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::CloseWaitLeak,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    facts.leads(HolderRole::CloseWait).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let leaders = facts.leaders();
    let who = roles::names(&leaders).unwrap_or_else(|| "the process that has them open".to_owned());
    let has = if roles::are_several(&leaders) {
        "have"
    } else {
        "has"
    };
    let (peers, they_stay) = if roles::count(&leaders) == 1 {
        ("its peer has", "it stays")
    } else {
        ("their peers have", "they stay")
    };

    let mut fixes = stop::stop_holder(facts, &leaders);
    fixes.extend([
        fixes::set_reuseaddr(facts),
        fix(
            "close_connections",
            Applies::NextTime,
            format!("Make {who} close a connection once reading from it returns 0 bytes"),
        )
        .because("CLOSE_WAIT has no timer: it waits for the program, not for the network"),
        destroy::destroy(facts),
    ]);

    CauseText {
        summary: format!(
            "Port {} is still held by {} in CLOSE_WAIT: {peers} closed, but {who} {has} not; {they_stay} until \
             then{}.",
            facts.port,
            text::count(roles::count(&leaders), "connection"),
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, REUSE, held_by, holder, owned};
    use crate::event::{State, YesNo};

    #[test]
    fn the_process_that_does_not_close_is_named() {
        let leaked = || {
            held_by(
                holder(State::CloseWait, "127.0.0.1", 8080, REUSE),
                &[(99, "java")],
            )
        };
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(leaked(), owned(99, "java", Origin::Accepted))
            .with(leaked(), owned(99, "java", Origin::Accepted))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::CloseWaitLeak);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 2 connections in CLOSE_WAIT: their peers have closed, but java[99] has not; they stay until then, and SO_REUSEADDR on the new socket would have let it bind at once."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Yes);
        assert_eq!(diagnosis.clears_ms, None);
    }
}
