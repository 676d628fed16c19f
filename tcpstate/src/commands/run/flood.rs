//! Failed calls that are not explained one by one: of the same process, port and error only
//! the first for a while, and of all only so many.

use std::collections::HashMap;
use std::sync::Arc;

use super::explainer::{self, Explainer, Job};
use crate::diagnosis::CallKind;
use crate::event::{Call, CallName, Process};

/// The same call is explained again after so long.
const EXPLAIN_EVERY_NS: u64 = 10_000_000_000;
/// Calls of different processes or ports that are told apart.
const MAX_KEYS: usize = 256;
/// How often it is said what was not.
const REPORT_EVERY_NS: u64 = 1_000_000_000;

/// Process, port and error number.
type Key = (CallName, u32, u16, u32);

#[derive(Debug)]
struct Like {
    explained_ns: u64,
    counted: u64,
    call: Arc<Call>,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Flood {
    like: HashMap<Key, Like>,
    unexplained: Option<(CallName, Arc<Process>, u64)>,
    reported_ns: u64,
}

/// What becomes of a failed call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is explained, and stands for so many more.
    Explain { repeated: u64 },
    /// It is counted.
    Count,
}

fn name(kind: CallKind) -> CallName {
    match kind {
        CallKind::Bind => CallName::Bind,
        CallKind::Listen => CallName::Listen,
        CallKind::Connect => CallName::Connect,
    }
}

impl Flood {
    /// Decides, and counts.
    pub(super) fn decide(&mut self, kind: CallKind, call: &Call, now_ns: u64) -> Decision {
        let key = (
            name(kind),
            call.process.pid,
            call.requested.port,
            call.errno.unwrap_or(0),
        );
        if let Some(like) = self.like.get_mut(&key) {
            if now_ns < like.explained_ns.saturating_add(EXPLAIN_EVERY_NS) {
                like.counted += 1;
                return Decision::Count;
            }
            like.explained_ns = now_ns;
            return Decision::Explain {
                repeated: std::mem::take(&mut like.counted),
            };
        }
        if self.like.len() >= MAX_KEYS {
            self.count_unexplained(kind, call);
            return Decision::Count;
        }
        self.like.insert(
            key,
            Like {
                explained_ns: now_ns,
                counted: 0,
                call: Arc::new(call.clone()),
            },
        );
        Decision::Explain { repeated: 0 }
    }

    /// Counts one that the hooks were on for and have not reported. `false`: there was none like
    /// it, for whose repetitions the kernel program says nothing any more.
    pub(super) fn count_unreported(&mut self, kind: CallKind, call: &Call) -> bool {
        let of = (name(kind), call.process.pid, call.requested.port);
        let like = self
            .like
            .iter_mut()
            .find(|((name, pid, port, errno), _)| *errno != 0 && (*name, *pid, *port) == of);
        like.map(|(_, like)| like.counted += 1).is_some()
    }

    /// One that could not be explained for want of time or room.
    pub(super) fn count_unexplained(&mut self, kind: CallKind, call: &Call) {
        if let Some((_, _, count)) = &mut self.unexplained {
            *count += 1;
        } else {
            let pid = call.process.pid;
            let process = explainer::process(pid, call.process.tid.unwrap_or(pid));
            self.unexplained = Some((name(kind), Arc::new(process), 1));
        }
    }

    /// Says what has come to rest. A time of `u64::MAX`: at the end.
    pub(super) fn report(&mut self, now_ns: u64, explainer: &Explainer) {
        if now_ns < self.reported_ns.saturating_add(REPORT_EVERY_NS) {
            return;
        }
        self.reported_ns = now_ns;
        if let Some((call, process, count)) = self.unexplained.take() {
            explainer.hand(Job::Flood {
                call,
                process: Box::new((*process).clone()),
                count,
            });
        }
        self.like.retain(|(kind, ..), like| {
            let is_at_rest = now_ns >= like.explained_ns.saturating_add(EXPLAIN_EVERY_NS);
            if is_at_rest && like.counted > 0 {
                let mut call = (*like.call).clone();
                call.is_sum = true;
                call.repeated = like.counted - 1;
                explainer.hand(Job::Call {
                    mono_ns: crate::clock::monotonic_ns(),
                    kind: match kind {
                        CallName::Bind => CallKind::Bind,
                        CallName::Listen => CallKind::Listen,
                        CallName::Connect => CallKind::Connect,
                    },
                    call: Box::new(call),
                    answer: None,
                });
            }
            !is_at_rest
        });
    }
}
