//! When what made a call fail is gone, judged by what is known now.
//!
//! A diagnosis is true for the moment of the call. Sockets that held the port
//! then may have ended since, or run on a new timer.

use std::collections::HashSet;

use crate::engine::Failure;
use crate::model::SocketId;
use crate::tui::state::view::View;
use crate::units::NS_PER_MS;

/// Holders that are followed one by one; with more, the diagnosis's own time
/// stands.
const MAX_FOLLOWED: usize = 1_000;

/// What becomes of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clearance {
    /// The last of the holders goes by itself.
    Clears {
        /// In this time; 0: it is due.
        left_ns: u64,
    },
    /// Every holder has been seen to go.
    Gone,
    /// A holder stays until somebody acts.
    Stays,
    /// Not known.
    Unknown,
}

impl Clearance {
    /// What becomes of the port on which this call failed.
    pub(crate) fn of(view: &View<'_>, failure: &Failure) -> Self {
        let then = Self::as_diagnosed(view, failure);
        let holders = &failure.diagnosis.holders;
        if holders.is_empty() || holders.len() > MAX_FOLLOWED {
            return then;
        }
        let mut until_ns = 0;
        let mut missing = Vec::new();
        for holder in holders {
            let id = SocketId::of(&holder.sock, holder.local, holder.peer);
            match view.table.get(&id) {
                Some(socket) => match socket.expires_at_ns {
                    Some(at_ns) => until_ns = until_ns.max(at_ns),
                    None => return then,
                },
                None => missing.push(id),
            }
        }
        // What is in neither list was never known, and may be there still.
        let closed: HashSet<SocketId> = if missing.is_empty() {
            HashSet::new()
        } else {
            view.table.closed().map(crate::model::Socket::id).collect()
        };
        if !missing.iter().all(|id| closed.contains(id)) {
            return then;
        }
        if until_ns == 0 {
            return Self::Gone;
        }
        Self::Clears {
            left_ns: until_ns.saturating_sub(view.now_ns),
        }
    }

    fn as_diagnosed(view: &View<'_>, failure: &Failure) -> Self {
        match failure.diagnosis.clears_ms {
            Some(clears_ms) => {
                let after_ns = clears_ms.saturating_mul(NS_PER_MS);
                let at_ns = failure.mono_ns.saturating_add(after_ns);
                Self::Clears {
                    left_ns: at_ns.saturating_sub(view.now_ns),
                }
            }
            None if failure.diagnosis.holders.is_empty() => Self::Unknown,
            None => Self::Stays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::screens::scenario::{PORT, Scenario, process};
    use crate::units::NS_PER_S;

    /// A listener that stands in the way, and the failure.
    fn refused() -> (Scenario, crate::event::Sock) {
        let mut scenario = Scenario::begun();
        let listener = scenario.listen(PORT, &process("nginx", 4711));
        scenario.wait_ms(1_000);
        scenario.bind_fails(PORT, &process("nginx", 4712), vec![]);
        (scenario, listener)
    }

    fn clearance_of(scenario: &Scenario, held_by: crate::event::Sock) -> Clearance {
        let view = View::live(&scenario.engine, scenario.now_ns);
        let failure = view.failures.last().expect("a call failed");
        let socket = view
            .socket(&SocketId::Cookie(held_by.cookie))
            .expect("it was seen");
        let mut diagnosis = (*failure.diagnosis).clone();
        diagnosis.clears_ms = None;
        diagnosis.holders = vec![crate::event::Holder {
            sock: held_by,
            local: socket.local,
            peer: socket.peer,
            state: socket.state,
            overlap: crate::event::Overlap::Exact,
            reuse: Some(failure.call.reuse),
            process: None,
            processes: None,
            processes_more: 0,
            relation: None,
            left_by: None,
            expires_ms: None,
            alike: 0,
            is_tripped_over: false,
            evidence: vec![],
        }];
        let failure = Failure {
            diagnosis: std::sync::Arc::new(diagnosis),
            ..(*failure).clone()
        };
        Clearance::of(&view, &failure)
    }

    #[test]
    fn a_listener_stays_until_it_is_seen_to_go() {
        let (mut scenario, listener) = refused();
        assert_eq!(clearance_of(&scenario, listener), Clearance::Stays);

        scenario.stop_listening(listener, PORT, &process("nginx", 4711));

        assert_eq!(clearance_of(&scenario, listener), Clearance::Gone);
    }

    #[test]
    fn the_timer_of_the_socket_as_it_is_now_counts() {
        let (mut scenario, listener) = refused();
        let sock = scenario.accept(listener, PORT, 40_001);
        assert_eq!(clearance_of(&scenario, sock), Clearance::Stays);

        scenario.close_first(sock, PORT, 40_001, &process("nginx", 4711));

        let Clearance::Clears { left_ns } = clearance_of(&scenario, sock) else {
            panic!("TIME_WAIT ends by itself");
        };
        assert!(left_ns > 50 * NS_PER_S && left_ns <= 60 * NS_PER_S);
    }
}
