//! Failed calls that nobody has got over yet, one per port.

use crate::diagnosis::CallKind;
use crate::engine::Failure;
use crate::event::Cause;
use crate::model::{Phase, PortKey};
use crate::tui::state::view::View;

/// A port on which calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem<'a> {
    /// Which port; `netns` 0: not known.
    pub(crate) port: PortKey,
    /// The latest failure.
    pub(crate) latest: &'a Failure,
    /// Failures since the port was last listened on, as far as they are kept.
    pub(crate) count: u64,
    first_ns: u64,
}

impl Problem<'_> {
    /// What it is recognised by when it was put away: the same port failing for
    /// the same reason is no news.
    pub(crate) fn mark(&self) -> (PortKey, Cause) {
        (self.port, self.latest.diagnosis.cause)
    }
}

/// Problems that were not put away.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    pub(crate) problems: Vec<Problem<'a>>,
    pub(crate) chosen: usize,
}

impl<'a> Banner<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problem that is shown.
    pub(crate) fn shown(&self) -> Option<Problem<'a>> {
        self.problems.get(self.chosen).copied()
    }
}

/// The problems, the newest first; retries do not change their order.
pub(crate) fn problems<'a>(view: &View<'a>) -> Vec<Problem<'a>> {
    let mut problems: Vec<Problem<'a>> = Vec::new();
    for failure in view
        .failures
        .iter()
        .copied()
        .filter(|failure| is_a_problem(view, failure))
    {
        let port = port_of(failure);
        match problems.iter_mut().find(|problem| problem.port == port) {
            Some(problem) => {
                problem.latest = failure;
                problem.count = problem.count.saturating_add(failure.count);
            }
            None => problems.push(Problem {
                port,
                latest: failure,
                count: failure.count,
                first_ns: failure.mono_ns,
            }),
        }
    }
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.first_ns));
    problems
}

/// The local port that a failed call was about.
pub(crate) fn port_of(failure: &Failure) -> PortKey {
    let call = &failure.call;
    let port = match failure.kind {
        CallKind::Bind => call.requested.port,
        CallKind::Listen => call.local.map_or(call.requested.port, |local| local.port),
        CallKind::Connect => call.local.map_or(0, |local| local.port),
    };
    PortKey {
        port,
        netns: call.sock.map_or(0, |sock| sock.netns),
    }
}

/// A refused connection says nothing about a local port; and what was listened
/// on since has been got over.
fn is_a_problem(view: &View<'_>, failure: &Failure) -> bool {
    let is_about_a_port =
        failure.kind != CallKind::Connect || failure.diagnosis.cause != Cause::Unknown;
    let is_over = view
        .ports
        .get(&port_of(failure))
        .is_some_and(|story| match &story.phase {
            Phase::Listening { since_ns, .. } => *since_ns > failure.mono_ns,
            Phase::NeverListened | Phase::Down { .. } => false,
        });
    is_about_a_port && !is_over
}
