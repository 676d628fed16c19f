//! `established_leftover`: accepted connections of an earlier server are still
//! open in a process that survived it.

use crate::event::{Applies, Cause};

use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::{self, HolderRole};
use crate::diagnosis::stop;
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::EstablishedLeftover,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    facts.leads(HolderRole::Leftover).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let leaders = facts.leaders();
    let who = roles::names_or_owner(&leaders);
    let they_last = if roles::count(&leaders) == 1 {
        "it lasts"
    } else {
        "they last"
    };

    let mut fixes = vec![fixes::set_reuseaddr(facts)];
    fixes.extend(stop::stop_holder(facts, &leaders));
    fixes.extend([
        destroy::destroy(facts),
        fix(
            "drain_first",
            Applies::NextTime,
            "Have the old server close its connections before the new one starts",
        ),
    ]);

    CauseText {
        summary: format!(
            "Port {} is still held by {} of an earlier server, open in {who}; {they_last} until \
             one side closes{}.",
            facts.port,
            text::count(roles::count(&leaders), "accepted connection"),
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, held_by, holder, owned};
    use crate::diagnosis::{KnownHolder, Origin};
    use crate::event::{Certainty, State};

    #[test]
    fn accepted_connections_outlive_their_server() {
        let open = holder(State::Established, "127.0.0.1", 8080, REUSE);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                held_by(open, &[(12, "worker")]),
                owned(10, "server", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EstablishedLeftover);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 1 accepted connection of an earlier server, open in worker[12]; it lasts until one side closes, and SO_REUSEADDR on the new socket would have let it bind at once."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
    }

    #[test]
    fn an_unknown_origin_is_judged_by_the_port_and_said_to_be() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                holder(State::Established, "127.0.0.1", 8080, PLAIN),
                KnownHolder::default(),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EstablishedLeftover);
        assert_eq!(diagnosis.certainty, Certainty::Likely);
        assert!(diagnosis.missing[0].contains("outside of the range"));
    }
}
