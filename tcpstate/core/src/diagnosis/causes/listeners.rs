//! What the four causes about a live listener share.

use crate::event::Overlap;

use crate::diagnosis::CallKind;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::roles::{Blocker, HolderRole};

/// What is special about a listener in the way; the first that is present
/// names the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listener {
    Active,
    Inherited,
    ReuseportMismatch,
    DualStack,
}

/// The cause, where a listener stands in the way.
pub(super) fn leading(facts: &Facts<'_>) -> Option<Listener> {
    if !facts.leads(HolderRole::Listener) {
        return None;
    }
    facts
        .leaders()
        .iter()
        .map(|blocker| classify(facts, blocker))
        .min()
}

/// The listeners that are why.
pub(super) fn of_kind<'f, 'a>(facts: &'f Facts<'a>, kind: Listener) -> Vec<&'f Blocker<'a>> {
    let mut blockers = facts.leaders();
    blockers.retain(|blocker| classify(facts, blocker) == kind);
    blockers
}

/// `on 0.0.0.0:8080`, with a count where there are more.
pub(super) fn endpoints(blockers: &[&Blocker<'_>]) -> String {
    let Some(first) = blockers.first() else {
        return String::new();
    };
    let device = match first.seen.bound_dev_if {
        Some(index) if index != 0 => format!(" (interface {index} only)"),
        _ => String::new(),
    };
    let more = match blockers.len() - 1 {
        0 => String::new(),
        1 => " and one more socket".to_owned(),
        more => format!(" and {more} more sockets"),
    };
    format!("on {}{device}{more}", first.seen.local)
}

fn classify(facts: &Facts<'_>, blocker: &Blocker<'_>) -> Listener {
    let new = facts.call().reuse;
    let is_dual = blocker.overlap == Overlap::DualStack;
    if blocker.departed_owner().is_some() {
        Listener::Inherited
    } else if facts.failure.kind == CallKind::Listen || blocker.has_unread_options() {
        Listener::Active
    } else if blocker.seen.reuse.is_some_and(|reuse| reuse.reuseport) && (new.reuseport || !is_dual)
    {
        Listener::ReuseportMismatch
    } else if is_dual {
        Listener::DualStack
    } else {
        Listener::Active
    }
}
