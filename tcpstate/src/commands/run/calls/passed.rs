//! Calls that went on as they are, until it shows whether they took effect.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Calls;
use super::ask::Asked;
use super::event::name;
use crate::clock;
use crate::commands::run::explainer::Job;
use crate::diagnosis::CallKind;
use crate::event::Call;
use crate::snapshot::rights;
use crate::supervise::{caller, proc, socket};

/// A call that goes on has taken effect after so long.
const TAKES_EFFECT_NS: u64 = 10_000_000;
/// The same of a thread that waits for a processor, or has one.
const TAKES_EFFECT_AT_LAST_NS: u64 = 1_000_000_000;
/// Calls that are looked after at one time.
pub(super) const MAX_PASSED: usize = 64;

/// A call that went on.
pub(super) struct Passed {
    /// A duplicate of its socket.
    pub(super) socket: OwnedFd,
    pub(super) tid: u32,
    pub(super) since_ns: u64,
    pub(super) kind: CallKind,
    pub(super) call: Box<Call>,
}

impl Passed {
    /// The call has returned, whatever came of it.
    fn is_over(&self, now_ns: u64) -> bool {
        let since = |time_ns: u64| now_ns >= self.since_ns.saturating_add(time_ns);
        let state = proc::stat(self.tid).map(|stat| stat.state);
        // Whose bind has failed often ends at once.
        if self.kind == CallKind::Bind && matches!(state, None | Some('Z')) {
            return true;
        }
        // On a busy machine its thread may not have had a processor yet.
        since(TAKES_EFFECT_NS) && (since(TAKES_EFFECT_AT_LAST_NS) || state != Some('R'))
    }

    fn has_taken_effect(&self) -> bool {
        match self.kind {
            CallKind::Listen => socket::is_listening(&self.socket),
            _ => socket::local(&self.socket).is_some(),
        }
    }

    /// Whether its socket would be missed by whoever calls next: a port that its owner has
    /// given up is held by our duplicate.
    fn may_hold_port(&self) -> bool {
        socket::local(&self.socket).is_some()
    }
}

impl Calls {
    /// A bind of a process that may do something else than we may: it goes on, and is looked
    /// after.
    pub(super) fn pass_and_look(&mut self, asked: Asked) {
        let mut call = self.call(&asked, Ok(()));
        let process = name(asked.tid);
        if let Some(sock) = &mut call.sock {
            sock.netns = caller::netns(asked.tid).unwrap_or(sock.netns);
            call.rights = rights::of(process.pid, sock.netns);
        }
        call.process = Arc::new(process);
        let why = "a bind goes on as it is: its process has other rights than `tcpstate run`";
        self.pass(&asked.listener, asked.id, asked.tid, Some(why));
        if self.passed.len() < MAX_PASSED && asked.address.endpoint.port != 0 {
            self.passed.push(Passed {
                socket: asked.socket,
                tid: asked.tid,
                since_ns: clock::monotonic_ns(),
                kind: CallKind::Bind,
                call: Box::new(call),
            });
        }
    }

    /// Sees which calls have taken effect. `next`: this thread makes another call, so that
    /// those before it have returned, and sockets that we have may be in its way.
    pub(super) fn look_after_passed(&mut self, next: Option<u32>) {
        let now_ns = clock::monotonic_ns();
        let mut at = 0;
        while let Some(passed) = self.passed.get(at) {
            // In this order: what has returned has taken effect.
            let is_over = next == Some(passed.tid) || passed.is_over(now_ns);
            let has_taken_effect = passed.has_taken_effect();
            let is_in_the_way = next.is_some() && passed.may_hold_port();
            if !has_taken_effect && !is_over && !is_in_the_way {
                at += 1;
                continue;
            }
            let has_failed = match passed.kind {
                // One that is bound to nothing had its port chosen, or was killed.
                CallKind::Listen => is_over && passed.may_hold_port(),
                _ => is_over,
            };
            let Passed { kind, call, .. } = self.passed.swap_remove(at);
            if has_taken_effect {
                if self.explainer.is_recording {
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind,
                        call,
                        answer: None,
                    });
                }
            } else if has_failed {
                self.fail(kind, *call, None);
            }
        }
    }
}
