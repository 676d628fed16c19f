//! `inherited_listener`: who opened the listening socket has gone, and another
//! process still has its descriptor.

use crate::event::{Applies, Cause};

use super::listeners::{self, Listener};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles;
use crate::diagnosis::stop;
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::InheritedListener,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (listeners::leading(facts) == Some(Listener::Inherited)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let listeners = listeners::of_kind(facts, Listener::Inherited);
    let owners = listeners
        .iter()
        .filter_map(|listener| listener.departed_owner());
    let owner = text::processes(owners).unwrap_or_default();
    let keep = if roles::are_several(&listeners) {
        "keep"
    } else {
        "keeps"
    };
    let now = roles::names(&listeners).unwrap_or_default();

    CauseText {
        summary: format!(
            "Port {} still has a listener {}: {owner} opened it and no longer has it, but {now} \
             inherited the descriptor and {keep} it open.",
            facts.port,
            listeners::endpoints(&listeners),
        ),
        fixes: stop::stop_holder(facts, &listeners)
            .into_iter()
            .chain([
            fix(
                "close_on_exec",
                Applies::NextTime,
                "Open the listening socket with SOCK_CLOEXEC, or close it in child processes",
            )
            .because(
                "a child that the server starts keeps every descriptor that is not closed on exec",
            ),
            fixes::set_reuseaddr(facts),
        ])
        .collect(),
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, held_by, holder, owned};
    use crate::event::State;

    #[test]
    fn the_process_that_holds_it_now_is_named_beside_the_one_that_opened_it() {
        let listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                held_by(listener, &[(101, "sleep")]),
                owned(100, "python3", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::InheritedListener);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 still has a listener on 0.0.0.0:8080: python3[100] opened it and no longer has it, but sleep[101] inherited the descriptor and keeps it open."
        );
        let holder = &diagnosis.holders[0];
        assert_eq!(
            holder.process.as_ref().map(|process| process.pid),
            Some(100)
        );
        assert_eq!(
            diagnosis.fixes[0].command.as_deref(),
            Some("ps -o pid,ppid,stat,lstart,args -p 101")
        );
    }

    #[test]
    fn an_owner_that_still_has_it_did_not_leave_it_behind() {
        let listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                held_by(listener, &[(100, "systemd"), (101, "web")]),
                owned(100, "systemd", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ActiveListener);
    }

    #[test]
    fn a_server_that_forks_into_the_background_serves() {
        let listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                held_by(listener, &[(101, "web")]),
                owned(100, "web", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ActiveListener);
        assert!(
            diagnosis
                .fixes
                .iter()
                .all(|fix| &*fix.id != "close_on_exec")
        );
    }
}
