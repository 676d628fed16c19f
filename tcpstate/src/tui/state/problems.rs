//! Ports on which calls fail until somebody listens, one problem per port.

use crate::diagnosis::CallKind;
use crate::engine::Failure;
use crate::event::{Cause, RelationName};
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
    /// The same port failing for the same reason is the same problem.
    fn mark(&self) -> Mark {
        (self.port, self.latest.diagnosis.cause)
    }
}

/// What a problem is recognised by.
type Mark = (PortKey, Cause);

/// Which problems the banner shows, and what was copied of them.
#[derive(Debug, Default)]
pub(crate) struct Banner {
    /// The port whose problem was chosen.
    chosen: Option<PortKey>,
    dismissed: Vec<Mark>,
    /// The fix that was copied last, and of which problem.
    copied_fix: Option<(Mark, String)>,
}

/// Problems that were not dismissed.
#[derive(Debug)]
pub(crate) struct OpenProblems<'a> {
    pub(crate) problems: Vec<Problem<'a>>,
    pub(crate) chosen: usize,
}

impl Banner {
    /// The problems that were not dismissed, and which of them is shown.
    pub(crate) fn open<'a>(&self, view: &'a View<'_>) -> OpenProblems<'a> {
        let mut problems = problems(view);
        problems.retain(|problem| !self.dismissed.contains(&problem.mark()));
        let chosen = problems
            .iter()
            .position(|problem| Some(problem.port) == self.chosen);
        OpenProblems {
            chosen: chosen.unwrap_or(0),
            problems,
        }
    }

    /// Forgets that problems were dismissed that are over.
    pub(crate) fn sync(&mut self, view: &View<'_>) {
        let marks: Vec<Mark> = problems(view).iter().map(Problem::mark).collect();
        self.dismissed.retain(|mark| marks.contains(mark));
    }

    /// Shows the problem of this port.
    pub(crate) fn choose(&mut self, port: PortKey) {
        self.chosen = Some(port);
    }

    /// Dismisses all problems that there are.
    pub(crate) fn dismiss(&mut self, view: &View<'_>) {
        self.dismissed = problems(view).iter().map(Problem::mark).collect();
        self.chosen = None;
    }

    /// Brings dismissed problems back.
    pub(crate) fn restore(&mut self) {
        self.dismissed.clear();
    }

    /// The fix to copy now: of the problem whose fix was copied last the next one,
    /// else the first. Retries fail for the same reason and have the same fixes.
    pub(crate) fn next_fix(&mut self, failure: &Failure, fixes: &[&str]) -> usize {
        let mark = (port_of(failure), failure.diagnosis.cause);
        let at = match &self.copied_fix {
            Some((of, last)) if *of == mark => fixes
                .iter()
                .position(|fix| fix == last)
                .map_or(0, |at| at + 1),
            _ => 0,
        };
        let at = at % fixes.len().max(1);
        self.copied_fix = fixes.get(at).map(|fix| (mark, (*fix).to_owned()));
        at
    }
}

impl<'a> OpenProblems<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problem that is shown.
    pub(crate) fn shown(&self) -> Option<Problem<'a>> {
        self.problems.get(self.chosen).copied()
    }
}

/// All problems, the newest first; retries do not change their order.
fn problems<'a>(view: &'a View<'_>) -> Vec<Problem<'a>> {
    let mut problems: Vec<Problem<'a>> = Vec::new();
    for failure in view
        .failures
        .iter()
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

/// A refused connection says nothing about a local port; and where somebody has
/// listened since, the problem is solved.
fn is_a_problem(view: &View<'_>, failure: &Failure) -> bool {
    let is_about_a_port =
        failure.kind != CallKind::Connect || failure.diagnosis.cause != Cause::Unknown;
    let is_over = view
        .ports
        .get(&port_of(failure))
        .is_some_and(|scenario| match &scenario.phase {
            Phase::Listening { since_ns, .. } => *since_ns > failure.mono_ns,
            Phase::NeverListened | Phase::Down { .. } => false,
        });
    is_about_a_port && !is_over && !is_test(failure)
}

/// Whether only the configuration of the server that has the port was tested.
fn is_test(failure: &Failure) -> bool {
    let holders = failure.diagnosis.holders.iter();
    let mut relations = holders.filter_map(|holder| holder.relation);
    relations.any(|relation| relation == RelationName::ConfigTested)
}

/// Whether what listens on a port was last found to be in the hands of one that never opened
/// it: nobody may accept there.
pub(crate) fn is_left_over(view: &View<'_>, key: PortKey, since_ns: u64) -> bool {
    let mut latest = view.failures.iter().rev();
    latest
        .find(|failure| port_of(failure) == key)
        .is_some_and(|failure| {
            failure.mono_ns >= since_ns && failure.diagnosis.cause == Cause::InheritedListener
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Diagnosis, State};
    use crate::tui::screens::scenario::{PORT, Scenario, process};

    /// A view of a bind that fails while somebody listens, with what is said of it changed.
    fn view_of(scenario: &Scenario, change: impl Fn(&mut Diagnosis)) -> View<'_> {
        let mut view = View::live(&scenario.engine, scenario.now_ns);
        for failure in &mut view.failures {
            change(Arc::make_mut(&mut failure.diagnosis));
        }
        view
    }

    fn refused() -> Scenario {
        let mut scenario = Scenario::begun();
        let nginx = process("nginx", 4711);
        scenario.find(1, State::TimeWait, Some(&nginx));
        let held_by = scenario.held_by_time_wait(PORT);
        scenario.bind_fails(PORT, &process("nginx", 4900), held_by);
        scenario
    }

    #[test]
    fn a_test_of_the_configuration_is_no_problem_of_the_server() {
        let scenario = refused();
        let with = |relation| {
            let view = view_of(&scenario, |diagnosis| {
                for holder in &mut diagnosis.holders {
                    holder.relation = relation;
                }
            });
            problems(&view).len()
        };

        assert_eq!(with(Some(RelationName::SameCommand)), 1);
        assert_eq!(with(Some(RelationName::ConfigTested)), 0);
    }

    #[test]
    fn a_leftover_is_told_from_a_listener() {
        let scenario = refused();
        let key = PortKey {
            port: PORT,
            netns: View::live(&scenario.engine, scenario.now_ns)
                .failures
                .first()
                .map(port_of)
                .expect("a call failed")
                .netns,
        };
        let is_left = |cause, since_ns| {
            let view = view_of(&scenario, |diagnosis| diagnosis.cause = cause);
            is_left_over(&view, key, since_ns)
        };

        assert!(is_left(Cause::InheritedListener, 0));
        assert!(!is_left(Cause::ActiveListener, 0));
        assert!(!is_left(Cause::InheritedListener, u64::MAX));
    }
}
