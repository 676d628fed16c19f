//! Why a call failed: from the failed call, the sockets that were on its port
//! and what the history knows about them, to a cause, a sentence and fixes.
//!
//! ```text
//! Failure ─ facts ─ conflict   which of the seen sockets the kernel refuses for
//!             └──── causes/    one rule per file; the one that applies explains
//! ```
//!
//! Pure: no IO, no clock. The same failure always gives the same diagnosis.

mod bounds;
mod causes;
mod command;
pub mod conflict;
mod destroy;
mod explain;
mod facts;
mod fixes;
mod hazards;
mod language;
mod managers;
mod program;
mod relation;
pub mod release;
pub mod restart_test;
mod roles;
mod service;
mod ssh;
mod stop;
mod supervisors;
mod text;
mod would_work;

#[cfg(test)]
pub(crate) mod test_support;

use std::sync::Arc;

use crate::event::{Call, Cause, Certainty, Diagnosis, Process, Sysctls};

pub use crate::model::Origin;
pub use explain::{Question, explain};
use facts::Facts;
pub use supervisors::supervisor;

/// Which call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// `bind`.
    Bind,
    /// `listen`.
    Listen,
    /// `connect`.
    Connect,
}

/// What the history knows about one seen holder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KnownHolder {
    /// Who made it: called `listen`, `connect` or `accept`.
    pub owner: Option<Arc<Process>>,
    /// Who closed it, where it is closing or in `TIME_WAIT`.
    pub left_by: Option<Arc<Process>>,
    /// How it came to be.
    pub origin: Origin,
    /// Positions of the events that show this.
    pub evidence: Vec<u64>,
    /// The process that held the port for the same parent in an earlier failure, and is
    /// not the one that holds it now: the parent starts it again.
    pub predecessor: Option<Arc<Process>>,
}

/// The last socket that listened on the port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PastListener {
    /// Whose it was.
    pub process: Option<Arc<Process>>,
    /// Milliseconds between its end and the failed call.
    pub closed_ms_ago: u64,
    /// Position of the event that shows its end.
    pub seq: u64,
}

/// Settings of the failed call's network namespace; absent: not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `net.ipv4.ip_local_port_range`, first and last port.
    pub local_port_range: Option<[u16; 2]>,
    /// `net.ipv4.ip_local_reserved_ports`, as the kernel writes it.
    pub local_reserved_ports: Option<String>,
    /// `net.ipv4.ip_unprivileged_port_start`, where the call did not bring it.
    pub unprivileged_port_start: Option<u32>,
    /// `net.ipv4.ip_nonlocal_bind`.
    pub ip_nonlocal_bind: Option<bool>,
    /// Inode number of the network namespace that the observer runs in.
    pub own_netns: Option<u32>,
    /// Inode number of the kernel's rtnetlink socket in the call's namespace.
    pub rtnetlink_inode: Option<u64>,
    /// Name that `ip netns` has for the call's namespace, where that is another.
    pub netns_name: Option<String>,
}

impl From<&Sysctls> for Environment {
    fn from(sysctls: &Sysctls) -> Self {
        Self {
            local_port_range: sysctls.ip_local_port_range,
            local_reserved_ports: sysctls.ip_local_reserved_ports.clone(),
            unprivileged_port_start: sysctls
                .ip_unprivileged_port_start
                .and_then(|start| start.try_into().ok()),
            ip_nonlocal_bind: sysctls.ip_nonlocal_bind.map(|value| value != 0),
            own_netns: None,
            rtnetlink_inode: None,
            netns_name: None,
        }
    }
}

/// A failed call and all that is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    /// Position of the call.
    pub seq: u64,
    /// Which call.
    pub kind: CallKind,
    /// The call, with the holders that were seen.
    pub call: &'a Call,
    /// What is known about each of `call.seen.holders`, in the same order; may
    /// be shorter.
    pub known: &'a [KnownHolder],
    /// Settings of its namespace.
    pub environment: &'a Environment,
    /// Whether the process had `CAP_NET_BIND_SERVICE`.
    pub has_net_bind_service: Option<bool>,
    /// Who listened on the port last.
    pub last_listener: Option<&'a PastListener>,
    /// What could not be seen, such as `12 events were lost`.
    pub missing: &'a [String],
    /// Nothing has failed: somebody asks whether it would.
    pub is_question: bool,
}

/// Says why `failure` happened, what would have prevented it and what to do.
#[must_use]
pub(crate) fn diagnose(failure: &Failure<'_>) -> Diagnosis {
    let facts = Facts::new(failure);
    let mut finding = causes::judge(&facts);
    // What would help now comes first; each rule gives its own by usefulness.
    finding.fixes.sort_by_key(|fix| fix.applies);

    let certainty = if finding.cause == Cause::Unknown {
        Certainty::Unknown
    } else if finding.doubts.is_empty() && !failure.call.errno_inferred {
        Certainty::Proven
    } else {
        Certainty::Likely
    };
    let mut missing = finding.doubts;
    if failure.call.errno_inferred {
        missing.push(text::INFERRED.to_owned());
    }
    let unread = failure
        .call
        .seen
        .as_ref()
        .and_then(|seen| seen.processes_unread);
    missing.extend(unread.map(text::unread).map(str::to_owned));
    for text in failure.missing {
        if !missing.contains(text) {
            missing.push(text.clone());
        }
    }

    let mut diagnosis = Diagnosis {
        of: failure.seq,
        cause: finding.cause,
        summary: finding.summary,
        holders: facts
            .blockers
            .iter()
            .chain(&facts.behind)
            .map(|blocker| blocker.holder(&failure.call.process))
            .collect(),
        holders_more: failure
            .call
            .seen
            .as_ref()
            .map_or(0, |seen| seen.holders_more),
        clears_ms: facts.clears_ms(),
        would_work: would_work::evaluate(&facts),
        fixes: finding.fixes,
        certainty,
        missing,
    };
    bounds::keep(&mut diagnosis);
    diagnosis
}

#[cfg(test)]
mod tests {
    use super::test_support::{Fixture, PLAIN, every_fixture, left_by, mini};
    use super::*;
    use crate::event::State;

    #[test]
    fn odd_input_gets_a_whole_answer_and_always_the_same() {
        let fixtures = every_fixture();
        let mut causes: Vec<Cause> = Vec::new();
        for fixture in &fixtures {
            let diagnosis = fixture.diagnose();

            assert_eq!(diagnosis, fixture.diagnose());
            assert!(diagnosis.summary.ends_with('.'), "{}", diagnosis.summary);
            assert!(!diagnosis.summary.contains("  "), "{}", diagnosis.summary);
            assert!(!diagnosis.fixes.is_empty());
            assert_eq!(
                diagnosis.missing.is_empty(),
                diagnosis.certainty == Certainty::Proven,
                "{diagnosis:?}"
            );
            causes.push(diagnosis.cause);
        }
        causes.sort_unstable();
        causes.dedup();
        // SO_REUSEPORT is not among the combinations.
        assert_eq!(causes.len(), Cause::ALL.len() - 1);
    }

    #[test]
    fn names_that_processes_chose_are_harmless_in_every_text() {
        let evil = "a\u{1b}[2J'$(x)\n";
        let mut fixture = Fixture::bind("0.0.0.0", 8080).with(
            mini(State::TimeWait, 8080, PLAIN, 1),
            left_by(1, evil, Origin::Accepted),
        );
        let mut process = (*fixture.call.process).clone();
        process.comm = evil.into();
        process.exe = Some(evil.into());
        process.cgroup = Some(format!("/{evil}.service").into());
        fixture.call.process = process.into();

        for errno in [1, 13, 22, 98, 99, 111] {
            for port in [80, 8080, 0] {
                let mut fixture = fixture.clone();
                fixture.call.requested.port = port;
                let diagnosis = fixture.fails(errno, "").no_errno_name().diagnose();
                let json = format!("{diagnosis:?}");
                let texts = diagnosis
                    .fixes
                    .iter()
                    .flat_map(|fix| [Some(&fix.text), fix.command.as_ref(), fix.why.as_ref()]);
                for text in texts.flatten().chain([&diagnosis.summary]) {
                    assert!(!text.chars().any(char::is_control), "{json}");
                }
            }
        }
    }

    #[test]
    fn what_the_reader_missed_is_handed_on() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080).with(
            mini(State::TimeWait, 8080, PLAIN, 1),
            left_by(1, "old", Origin::Accepted),
        );
        fixture.missing = vec!["12 events were lost".to_owned()];

        let diagnosis = fixture.diagnose();

        assert_eq!(diagnosis.missing, ["12 events were lost"]);
        assert_eq!(diagnosis.certainty, Certainty::Proven);
    }
}
