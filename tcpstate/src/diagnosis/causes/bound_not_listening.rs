//! `bound_not_listening`: a socket has the port and neither listens nor is
//! connected.

use crate::event::{Cause, State};

use super::super::facts::Facts;
use super::super::fixes;
use super::super::roles::{self, Role};
use super::dual_stack::only_bound_ones_are_dual;
use super::listeners::place;
use super::{Answer, Explanation, Rule, reuseaddr_clause};

pub(super) const RULE: Rule = Rule {
    cause: Cause::BoundNotListening,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    (facts.leads(Role::Bound) && !only_bound_ones_are_dual(facts)).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let leaders = facts.leaders();
    let caller = &facts.call().process;
    let is_own = leaders.iter().all(|blocker| {
        blocker
            .people()
            .iter()
            .any(|process| process.pid == caller.pid)
    });
    let who =
        roles::names(&leaders).unwrap_or_else(|| "a process that could not be seen".to_owned());
    let itself = if is_own { " itself" } else { "" };
    let why = if leaders.iter().all(|b| b.seen.state == State::Closed) {
        "its connection has ended, but the socket was bound to the port and is still open"
    } else {
        "it is bound there and neither listens nor is connected"
    };

    Explanation {
        summary: format!(
            "Port {} is taken by a socket of {who}{itself} {}: {why}, which does not end by \
             itself{}.",
            facts.port,
            place(&leaders),
            reuseaddr_clause(facts),
        ),
        fixes: vec![
            fixes::stop_holder(facts, &leaders),
            fixes::other_port(),
            fixes::set_reuseaddr(facts),
        ],
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Origin;
    use super::super::super::test_support::{PLAIN, Scene, holder, owned};
    use super::*;
    use crate::event::YesNo;

    #[test]
    fn a_socket_that_is_only_bound_is_named() {
        let diagnosis = Scene::bind("0.0.0.0", 8080)
            .with(
                holder(State::Bound, "0.0.0.0", 8080, PLAIN),
                owned(5, "python3", Origin::Unknown),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::BoundNotListening);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is taken by a socket of python3[5] on 0.0.0.0:8080: it is bound there and neither listens nor is connected, which does not end by itself, and SO_REUSEADDR on the new socket alone cannot help, because not all sockets that hold the port have it."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
    }

    #[test]
    fn a_reset_socket_that_was_bound_keeps_its_port() {
        let diagnosis = Scene::bind("0.0.0.0", 8080)
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
