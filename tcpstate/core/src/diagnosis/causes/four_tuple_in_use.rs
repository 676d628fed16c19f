//! `four_tuple_in_use`: `connect` from a fixed local port, while a connection
//! between the same two addresses and ports is there.

use crate::event::{Applies, Cause, Endpoint, Errno};

use super::{CauseText, Rule, Verdict};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::{self, Blocker, HolderRole};
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::FourTupleInUse,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (facts.failure.kind == CallKind::Connect
        && matches!(facts.errno, Errno::AddrNotAvail | Errno::AddrInUse)
        && facts.port != 0)
        .into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let call = facts.call();
    let from = call
        .local
        .map_or(String::new(), |local| format!(" from {local}"));
    let to = call.requested.addr.map_or(String::new(), |addr| {
        let port = call.requested.port;
        format!(" to {}", Endpoint { addr, port })
    });
    let mut doubts = facts.doubts.clone();
    let blockers: Vec<&Blocker<'_>> = facts.blockers.iter().collect();
    let same = match blockers.as_slice() {
        [] => {
            doubts.push(
                "the connection between the same addresses was not seen: concluded from the \
                 error and the fixed local port"
                    .to_owned(),
            );
            " is still there".to_owned()
        }
        [first, ..] => {
            let names = roles::names(&blockers);
            let state = text::state(first.seen.state);
            let until = match facts.clears_ms() {
                Some(ms) => format!(" and goes away {}", text::in_seconds(ms)),
                None => String::new(),
            };
            match (names, first.role) {
                (Some(names), HolderRole::TimeWait) => {
                    format!(", which {names} closed first, is kept in {state}{until}")
                }
                (None, HolderRole::TimeWait) => format!(" is kept in {state}{until}"),
                (Some(names), _) => format!(" of {names} is there ({state}){until}"),
                (None, _) => format!(" is there ({state}){until}"),
            }
        }
    };

    let mut fixes = vec![
        fix(
            "free_local_port",
            Applies::Now,
            "Do not bind the client's socket to a fixed port: connect then chooses a free one",
        )
        .because(
            "a fixed local port allows one connection to each peer at a time, TIME_WAIT included",
        ),
    ];
    let is_time_wait = blockers
        .iter()
        .any(|blocker| blocker.role == HolderRole::TimeWait);
    if is_time_wait {
        fixes.push(fixes::wait(facts));
    }
    if !blockers.is_empty() {
        fixes.push(destroy::destroy(facts));
    }
    fixes.push(
        fix("tcp_tw_reuse", Applies::No, "Set net.ipv4.tcp_tw_reuse").because(
            "it is for ports that connect chooses; from a fixed port TIME_WAIT is taken over whenever TCP timestamps allow it",
        ),
    );

    CauseText {
        summary: format!(
            "The connection{from}{to} could not be opened, because one between the same addresses \
             and ports{same}."
        ),
        fixes,
        doubts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, endpoint, holder, left_by, mini, owned};
    use crate::event::{Certainty, State};

    fn fixture() -> Fixture {
        Fixture::connect(("127.0.0.1", 5000), ("10.0.0.9", 443))
    }

    #[test]
    fn time_wait_between_the_same_ends_is_named() {
        let mut other = holder(State::Established, "127.0.0.1", 5000, PLAIN);
        other.peer = endpoint("10.0.0.8", 443);
        let diagnosis = fixture()
            .with(other, owned(1, "other", Origin::Outgoing))
            .with(
                mini(State::TimeWait, 5000, PLAIN, 30_000),
                left_by(900, "server", Origin::Outgoing),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::FourTupleInUse);
        assert_eq!(
            diagnosis.summary,
            "The connection from 127.0.0.1:5000 to 10.0.0.9:443 could not be opened, because one between the same addresses and ports, which server[900] closed first, is kept in TIME_WAIT and goes away in 30 s."
        );
        assert_eq!(diagnosis.clears_ms, Some(30_000));
        assert_eq!(diagnosis.holders.len(), 1);
        assert_eq!(diagnosis.certainty, Certainty::Proven);
    }

    #[test]
    fn a_socket_whose_connection_has_ended_is_not_in_the_way_of_a_connect() {
        let mut ended = holder(State::Bound, "127.0.0.1", 5000, PLAIN);
        ended.peer = endpoint("10.0.0.9", 443);
        let diagnosis = fixture()
            .with(ended, owned(900, "server", Origin::Outgoing))
            .with(
                mini(State::TimeWait, 5000, PLAIN, 30_000),
                left_by(900, "server", Origin::Outgoing),
            )
            .diagnose();

        assert_eq!(diagnosis.holders.len(), 1);
        assert_eq!(diagnosis.holders[0].state, State::TimeWait);
        assert_eq!(diagnosis.clears_ms, Some(30_000));
    }

    #[test]
    fn a_connection_that_was_not_seen_is_concluded() {
        let diagnosis = fixture().diagnose();

        assert_eq!(diagnosis.cause, Cause::FourTupleInUse);
        assert_eq!(diagnosis.certainty, Certainty::Likely);
    }
}
