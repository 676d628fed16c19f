//! `bound_not_listening`: a socket has the port and neither listens nor is
//! connected.

use crate::event::{Cause, State};

use super::dual_stack::only_bound_ones_are_dual;
use super::listeners::endpoints;
use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes;
use crate::diagnosis::roles::{self, HolderRole};
use crate::diagnosis::stop;
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::BoundNotListening,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (facts.leads(HolderRole::Bound) && !only_bound_ones_are_dual(facts)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let leaders = facts.leaders();
    let caller = &facts.call().process;
    let who = if roles::are_all_of(&leaders, caller) {
        format!("{} itself", text::process(caller))
    } else {
        roles::names_or_owner(&leaders)
    };
    // The kernel keeps the peer of a connection that was reset.
    let has_been_connected =
        |b: &&roles::Blocker<'_>| b.seen.state == State::Closed || b.seen.peer.has_port();
    let why = if leaders.iter().all(has_been_connected) {
        "its connection has ended, but the socket was bound to the port and is still open"
    } else {
        "it is bound there and neither listens nor is connected"
    };

    CauseText {
        summary: format!(
            "Port {} is taken by a socket of {who} {}: {why}, which does not end by \
             itself{}.",
            facts.port,
            endpoints(&leaders),
            reuseaddr_clause(facts),
        ),
        fixes: stop::stop_holder(facts, &leaders)
            .into_iter()
            .chain([fixes::other_port(), fixes::set_reuseaddr(facts)])
            .collect(),
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, owned};
    use crate::event::YesNo;

    #[test]
    fn a_socket_that_is_only_bound_is_named() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                holder(State::Bound, "0.0.0.0", 8080, PLAIN),
                owned(5, "python3", Origin::Unknown),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::BoundNotListening);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is taken by a socket of python3[5] on 0.0.0.0:8080: it is bound there and neither listens nor is connected, which does not end by itself, and SO_REUSEADDR on the new socket cannot help, because what holds the port does not have it."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
    }

    #[test]
    fn a_reset_socket_that_was_bound_keeps_its_port() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                holder(State::Closed, "127.0.0.1", 8080, PLAIN),
                owned(900, "server", Origin::Outgoing),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::BoundNotListening);
        assert!(diagnosis.summary.starts_with(
            "Port 8080 is taken by a socket of server[900] itself on 127.0.0.1:8080: its connection has ended"
        ));
    }
}
