//! `inherited_listener`: who opened the listening socket has gone, and another
//! process still has its descriptor.

use crate::event::{Applies, Cause};

use super::super::facts::Facts;
use super::super::fixes::{self, fix};
use super::super::roles;
use super::super::text;
use super::listeners::{self, Listener};
use super::{Answer, Explanation, Rule};

pub(super) const RULE: Rule = Rule {
    cause: Cause::InheritedListener,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    (listeners::leading(facts) == Some(Listener::Inherited)).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let listeners = listeners::of_kind(facts, Listener::Inherited);
    let owners = listeners
        .iter()
        .filter_map(|listener| listener.departed_owner());
    let owner = text::processes(owners).unwrap_or_default();
    let now = roles::names(&listeners).unwrap_or_default();

    Explanation {
        summary: format!(
            "Port {} is still listened on {}: {owner}, which opened the socket, no longer has it, \
             but {now} inherited it and keeps it open.",
            facts.port,
            listeners::place(&listeners),
        ),
        fixes: vec![
            fixes::stop_holder(facts, &listeners),
            fix(
                "close_on_exec",
                Applies::NextTime,
                "Open the listening socket with SOCK_CLOEXEC, or close it in child processes",
            )
            .why(
                "a child that the server starts keeps every descriptor that is not closed on exec",
            ),
            fixes::set_reuseaddr(facts),
        ],
        doubts: facts.all_doubts(),
    }
}
