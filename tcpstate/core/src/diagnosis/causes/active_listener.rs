//! `active_listener`: another socket listens on the address and port.

use crate::event::{Applies, Cause, Process};

use super::listeners::{self, Listener};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::CallKind;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::Blocker;
use crate::diagnosis::stop;
use crate::diagnosis::{relation, roles, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::ActiveListener,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (listeners::leading(facts) == Some(Listener::Active)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let listeners = listeners::of_kind(facts, Listener::Active);
    let caller = &facts.call().process;
    let endpoints = listeners::endpoints(&listeners);
    let who = if roles::are_all_of(&listeners, caller) {
        let held_in = listeners
            .iter()
            .flat_map(|listener| listener.open_in())
            .find_map(relation::held_in)
            .map_or_else(String::new, |phrase| format!(", {phrase},"));
        format!("{} itself{held_in} already listens", text::process(caller))
    } else {
        let listens = if roles::are_several(&listeners) {
            "listen"
        } else {
            "listens"
        };
        match (roles::names(&listeners), nobody(&listeners)) {
            (Some(names), _) => {
                let holders: Vec<&Process> = listeners.iter().flat_map(|b| b.processes()).collect();
                let who = relation::apposition(&holders, caller);
                format!("{names}{who} {listens}")
            }
            (None, Some(nobody)) => format!("{nobody} {listens}"),
            (None, None) => format!("{} {listens}", roles::names_or_owner(&listeners)),
        }
    };
    let again = again(&listeners);
    let port = facts.port;
    let summary = match facts.failure.kind {
        CallKind::Listen => format!(
            "Port {port} could be bound but not listened on, because {who} {endpoints} and only one socket may."
        ),
        _ => {
            format!(
                "Port {port} is taken: {who} {endpoints}, and that does not end by itself{again}."
            )
        }
    };
    let doubts = facts.all_doubts();

    CauseText {
        summary,
        fixes: stop::stop_holder(facts, &listeners)
            .into_iter()
            .chain([
                fixes::other_port(),
                fix(
                    "set_reuseport",
                    Applies::NextTime,
                    "If both are meant to share the port, set SO_REUSEPORT on both before bind",
                )
                .because("every one of them must set it and belong to the same user"),
                fixes::set_reuseaddr(facts),
            ])
            .collect(),
        doubts,
    }
}

/// `a socket that web[12] made and no process has open`.
fn nobody(listeners: &[&Blocker<'_>]) -> Option<String> {
    let owners: Option<Vec<&Process>> = listeners
        .iter()
        .map(|listener| listener.owner_without_descriptor())
        .collect();
    let names = text::processes(owners?)?;
    Some(format!(
        "a socket that {names} made, and that no process was found to have open any more,"
    ))
}

/// That the parent starts the holder again, where that was seen.
fn again(listeners: &[&Blocker<'_>]) -> String {
    let [listener] = listeners else {
        return String::new();
    };
    listener.predecessor().map_or_else(String::new, |before| {
        format!(
            "; {} had it before and has ended, so its parent has started it again",
            text::process(before)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, held_by, holder, owned};
    use crate::event::{Certainty, State, YesNo};

    fn listener() -> crate::event::SeenHolder {
        holder(State::Listen, "0.0.0.0", 8080, REUSE)
    }

    #[test]
    fn a_live_listener_is_named() {
        let diagnosis = Fixture::bind("127.0.0.1", 8080)
            .with(
                held_by(listener(), &[(12, "nginx")]),
                owned(12, "nginx", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ActiveListener);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is taken: nginx[12] listens on 0.0.0.0:8080, and that does not end by itself."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        assert_eq!(diagnosis.clears_ms, None);
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
        assert_eq!(diagnosis.would_work.reuseport, YesNo::No);
        assert_eq!(diagnosis.holders.len(), 1);
        assert_eq!(diagnosis.holders[0].evidence, [3]);
        let reuseaddr = diagnosis
            .fixes
            .iter()
            .find(|fix| &*fix.id == "set_reuseaddr");
        assert_eq!(reuseaddr.map(|fix| fix.applies), Some(Applies::No));
    }

    #[test]
    fn a_process_in_its_own_way_is_told_so() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(listener(), owned(900, "server", Origin::Listener))
            .diagnose();

        assert_eq!(
            diagnosis.summary,
            "Port 8080 is taken: server[900] itself already listens on 0.0.0.0:8080, and that does not end by itself."
        );
        assert_eq!(
            diagnosis.fixes[0].text,
            "Close the other socket in server[900] before the bind, or use that one"
        );
    }

    #[test]
    fn listen_loses_to_whoever_listened_first() {
        let mut own = holder(State::Bound, "0.0.0.0", 8080, REUSE);
        own.sock.cookie = 1;
        let diagnosis = Fixture::listen("0.0.0.0", 8080)
            .reuse(REUSE)
            .with(own, owned(900, "server", Origin::Unknown))
            .with(listener(), owned(12, "nginx", Origin::Listener))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ActiveListener);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 could be bound but not listened on, because nginx[12] listens on 0.0.0.0:8080 and only one socket may."
        );
        assert_eq!(diagnosis.holders.len(), 1);
        assert_eq!(diagnosis.certainty, Certainty::Proven);
    }

    #[test]
    fn a_live_listener_comes_before_everything_else() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                holder(State::CloseWait, "127.0.0.1", 8080, PLAIN),
                owned(12, "nginx", Origin::Accepted),
            )
            .with(listener(), owned(12, "nginx", Origin::Listener))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ActiveListener);
        assert_eq!(diagnosis.holders.len(), 2);
    }
}
