//! `active_listener`: another socket listens on the address and port.

use crate::event::{Applies, Cause};

use super::super::CallKind;
use super::super::facts::Facts;
use super::super::fixes::{self, fix};
use super::super::roles;
use super::listeners::{self, Listener};
use super::{Answer, Explanation, Rule};

pub(super) const RULE: Rule = Rule {
    cause: Cause::ActiveListener,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    (listeners::leading(facts) == Some(Listener::Active)).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let listeners = listeners::of_kind(facts, Listener::Active);
    let caller = &facts.call().process;
    let place = listeners::place(&listeners);
    let is_own = listeners.iter().all(|listener| {
        listener
            .people()
            .iter()
            .any(|process| process.pid == caller.pid)
    });
    let who =
        roles::names(&listeners).unwrap_or_else(|| "a process that could not be seen".to_owned());
    let itself = if is_own { " itself already" } else { "" };
    let port = facts.port;
    let summary = match facts.failure.kind {
        CallKind::Listen => format!(
            "Port {port} could be bound but not listened on, because {who}{itself} listens \
             {place} and only one socket may."
        ),
        _ => format!(
            "Port {port} is taken: {who}{itself} listens {place}, and that does not end by itself."
        ),
    };

    Explanation {
        summary,
        fixes: vec![
            fixes::stop_holder(facts, &listeners),
            fixes::other_port(),
            fix(
                "set_reuseport",
                Applies::NextTime,
                "If both are meant to share the port, set SO_REUSEPORT on both before bind",
            )
            .why("every one of them must set it and belong to the same user"),
            fixes::set_reuseaddr(facts),
        ],
        doubts: facts.all_doubts(),
    }
}
